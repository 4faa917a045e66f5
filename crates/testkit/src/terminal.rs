//! A program on a pseudo-terminal, driven as a person would.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::screen::Screen;

/// A child whose controlling terminal is ours.
#[derive(Debug)]
pub struct Terminal {
    screen: Screen,
    /// The other side, kept open so that its settings can be looked at when the child is gone.
    slave: OwnedFd,
    child: Child,
}

impl Terminal {
    /// Starts the command in a session of its own on a new terminal of 80 columns and 24 lines.
    ///
    /// # Panics
    /// If there is no terminal or the command cannot be started.
    pub fn start(command: &mut Command) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("pseudo-terminal");
        grantpt(&master).expect("pseudo-terminal");
        unlockpt(&master).expect("pseudo-terminal");
        let slave = ioctl_tiocgptpeer(&master, flags).expect("pseudo-terminal");
        tcsetwinsize(&slave, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).expect("window size");
        let side = || Stdio::from(slave.try_clone().expect("descriptor"));
        command.stdin(side()).stdout(side()).stderr(side());
        // SAFETY: between fork and exec only two system calls are made; nothing is allocated or locked.
        unsafe {
            command.pre_exec(|| {
                rustix::process::setsid()?;
                rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
                Ok(())
            });
        }
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { screen: Screen::of_child(master), slave, child }
    }

    /// Reads until `text` comes, and returns all since the last call, including it.
    ///
    /// # Panics
    /// With what came instead, if the text does not come in time.
    #[track_caller]
    pub fn expect(&mut self, text: &str, limit: Duration) -> String {
        self.screen.expect(text, limit)
    }

    /// The same, without a panic.
    pub fn try_expect(&mut self, text: &str, limit: Duration) -> Option<String> {
        self.screen.try_expect(text, limit)
    }

    /// Takes what comes within the time, into the [`Self::transcript`]; false when the other side is closed.
    pub fn read(&mut self, limit: Duration) -> bool {
        self.screen.read(limit)
    }

    /// Types something.
    ///
    /// # Panics
    /// If the terminal takes nothing.
    pub fn write(&mut self, text: &str) {
        self.screen.write(text);
    }

    /// Types a line.
    pub fn write_line(&mut self, text: &str) {
        self.screen.write_line(text);
    }

    /// Changes the window's size, as dragging its corner does.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn resize(&self, columns: u16, lines: u16) {
        let size = Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.screen.master, size).expect("window size");
    }

    /// The settings of the terminal as the child sees them.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn settings(&self) -> rustix::termios::Termios {
        rustix::termios::tcgetattr(self.slave.as_fd()).expect("terminal settings")
    }

    /// Everything that was written so far.
    pub fn transcript(&self) -> &str {
        self.screen.transcript()
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Reads on until the child has ended.
    ///
    /// # Panics
    /// With all that was written, if it does not end in time.
    #[track_caller]
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            let ended = self.child.try_wait().expect("a child of ours");
            while self.screen.pending() && self.screen.read(Duration::ZERO) {}
            match ended {
                Some(status) => return status,
                None if Instant::now() < end => std::thread::sleep(Duration::from_millis(5)),
                None => panic!("it did not end in {limit:?}; there was:\n{}", self.transcript()),
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind; one that did not has waited for it.
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conversation_with_a_shell() {
        let limit = Duration::from_secs(10);
        let mut command = Command::new("sh");
        command.args(["-c", "tty >/dev/null && read x && echo got-$x && stty size && exit 3"]);
        let mut terminal = Terminal::start(&mut command);
        terminal.resize(100, 50);
        terminal.write_line("hello");
        terminal.expect("got-hello", limit);
        terminal.expect("50 100", limit);
        assert_eq!(terminal.wait(limit).code(), Some(3));
    }
}
