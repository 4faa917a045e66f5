//! What stays while a container runs: it carries bytes between our terminal and the container's console, and turns
//! signals into requests to its first process.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use plan::Supervision;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, WaitIdStatus, waitid};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, Termios, Winsize, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use spec::ConsoleMode;

/// The key that, three times within a second, ends the container: `^]`.
const ESCAPE: u8 = 0x1d;

/// How the container ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It asked for a reboot.
    Rebooted,
    /// It asked for a power-off.
    PoweredOff,
}

/// Our terminal in raw mode, until this is dropped.
struct RawMode {
    before: Termios,
}

impl RawMode {
    fn enter() -> Option<Self> {
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Flush, &raw).ok()?;
        Some(Self { before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // On the way out nothing is left to do about a terminal that is gone.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Watches over the container until it ends.
///
/// # Errors
/// Those of the system calls; the container is killed when the caller drops its group.
pub fn watch(
    plan: &Supervision,
    child: BorrowedFd<'_>,
    master: Option<&OwnedFd>,
    notify: &OwnedFd,
    signals: &OwnedFd,
) -> rustix::io::Result<Outcome> {
    let interactive = plan.console == ConsoleMode::Interactive;
    // Held open, because the master reports an error as long as nobody has the other side open, and an init system
    // opens and closes it all the time.
    let _slave = match master {
        Some(master) => Some(rustix::pty::ioctl_tiocgptpeer(master, OpenptFlags::RDWR | OpenptFlags::NOCTTY)?),
        None => None,
    };
    let raw = if interactive { RawMode::enter() } else { None };
    follow_window_size(interactive, master);
    let mut state = Loop { plan, child, asked: false, escapes: 0, since: Instant::now() };
    let mut input_open = interactive;
    let mut master_open = master.is_some();
    let outcome = loop {
        let mut fds = vec![
            PollFd::new(&child, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
            PollFd::new(notify, PollFlags::IN),
        ];
        let input = rustix::stdio::stdin();
        if let (true, Some(master)) = (master_open, master) {
            fds.push(PollFd::new(master, PollFlags::IN));
            if input_open {
                fds.push(PollFd::new(&input, PollFlags::IN));
            }
        }
        rustix::io::retry_on_intr(|| poll(&mut fds, None))?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        if let (true, Some(master)) = (ready.get(3) == Some(&true), master) {
            master_open = copy_output(plan, master);
        }
        if let (true, Some(master)) = (ready.get(4) == Some(&true), master) {
            input_open = state.copy_input(master);
        }
        if ready[2] {
            // Read, so that no sender waits for ever.
            let mut message = [0; 4096];
            let _ = rustix::io::read(notify, &mut message);
        }
        if ready[1] {
            state.signalled(signals, interactive, master)?;
        }
        if ready[0] {
            break reap(child)?;
        }
    };
    if let Some(master) = master {
        drain(plan, master);
    }
    drop(raw);
    Ok(outcome)
}

struct Loop<'a> {
    plan: &'a Supervision,
    child: BorrowedFd<'a>,
    asked: bool,
    escapes: u8,
    since: Instant,
}

impl Loop<'_> {
    /// Keys go to the container, except three `^]` within a second.
    fn copy_input(&mut self, master: &OwnedFd) -> bool {
        let mut bytes = [0; 1024];
        let length = match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) => {
                // The end of our input is the end of the container's.
                let _ = rustix::io::write(master, &[4]);
                return false;
            }
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => return true,
            Err(_) => return false,
        };
        for byte in &bytes[..length] {
            if *byte != ESCAPE {
                self.escapes = 0;
                continue;
            }
            if self.escapes == 0 || self.since.elapsed().as_secs() >= 1 {
                self.escapes = 0;
                self.since = Instant::now();
            }
            self.escapes += 1;
            if self.escapes == 3 {
                let _ = rustix::process::pidfd_send_signal(self.child, Signal::KILL);
            }
        }
        let _ = super::stage::files::write_all(master.as_fd(), &bytes[..length]);
        true
    }

    /// SIGTERM asks, a second one kills (systemd-nspawn(1), `--kill-signal=`).
    fn signalled(&mut self, signals: &OwnedFd, interactive: bool, master: Option<&OwnedFd>) -> rustix::io::Result<()> {
        let number = sys::process::next_signal(signals)?;
        if number == Signal::WINCH.as_raw() {
            follow_window_size(interactive, master);
            return Ok(());
        }
        if number == Signal::CHILD.as_raw() {
            return Ok(());
        }
        let signal = match self.plan.kill_signal.filter(|_| !self.asked) {
            Some(signal) => signal,
            None => Signal::KILL.as_raw(),
        };
        self.asked = true;
        sys::process::send_signal(self.child, signal)
    }
}

fn follow_window_size(interactive: bool, master: Option<&OwnedFd>) {
    let size: Option<Winsize> = tcgetwinsize(rustix::stdio::stdout()).ok().filter(|_| interactive);
    if let (Some(size), Some(master)) = (size, master) {
        let _ = tcsetwinsize(master, size);
    }
}

/// False once the container has let go of its side.
fn copy_output(plan: &Supervision, master: &OwnedFd) -> bool {
    let mut bytes = [0; 4096];
    match rustix::io::read(master, &mut bytes) {
        Ok(0) => false,
        Ok(length) => {
            if plan.console != ConsoleMode::Passive {
                // A reader that is gone stops the showing, not the container.
                let _ = super::stage::files::write_all(rustix::stdio::stdout(), &bytes[..length]);
            }
            true
        }
        Err(Errno::INTR | Errno::AGAIN) => true,
        // All its ends are closed for now. An init system may open it again: that is seen when the child ends.
        Err(_) => false,
    }
}

fn drain(plan: &Supervision, master: &OwnedFd) {
    loop {
        let mut fds = [PollFd::new(master, PollFlags::IN)];
        let nothing = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut fds, Some(&nothing)).unwrap_or(0) > 0 && fds[0].revents().contains(PollFlags::IN);
        if !ready || !copy_output(plan, master) {
            return;
        }
    }
}

/// reboot(2) in a PID namespace shows as a death of its first process by SIGHUP or SIGINT (pid_namespaces(7)).
fn reap(child: BorrowedFd<'_>) -> rustix::io::Result<Outcome> {
    let status: Option<WaitIdStatus> =
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child), WaitIdOptions::EXITED))?;
    let status = status.ok_or(Errno::CHILD)?;
    Ok(match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Outcome::Exited(code),
        (None, Some(signal)) if signal == Signal::HUP.as_raw() => Outcome::Rebooted,
        (None, Some(signal)) if signal == Signal::INT.as_raw() => Outcome::PoweredOff,
        (None, signal) => Outcome::Killed(signal.unwrap_or(Signal::KILL.as_raw())),
    })
}
