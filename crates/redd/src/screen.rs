//! The whole terminal for a view that changes: keys one by one, another size, and the terminal as it was in the end, however
//! that comes. Signals that end a program are waited for like keys, so that none of them can come in between.

use std::io::{IsTerminal, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Once;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, read, retry_on_intr};
use rustix::process::{Signal, getpid, kill_process};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use sys::signal::{self, SignalSet};

/// The second screen, without a cursor.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// What ends a program that does not say otherwise.
const ENDING: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];
const RESIZED: Signal = Signal::WINCH;
const STOPPED: Signal = Signal::TSTP;
const CONTINUED: Signal = Signal::CONT;

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A key that is a letter.
    Letter(char),
    /// One of the others that matter.
    Key(Key),
    /// The terminal has another size, or was somebody else's meanwhile.
    Redraw,
    /// A signal asks for the end.
    End(Signal),
    /// Nothing, until the time was over.
    Nothing,
}

/// Keys that are no letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Interrupt,
    Suspend,
}

/// The terminal while it is ours.
#[derive(Debug)]
pub(crate) struct Screen {
    before: Termios,
    mask: SignalSet,
    signals: OwnedFd,
}

impl Screen {
    /// Takes it.
    ///
    /// # Errors
    /// `ENOTTY` where standard input or output is no terminal.
    pub(crate) fn enter() -> rustix::io::Result<Self> {
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            return Err(Errno::NOTTY);
        }
        let all = ENDING.into_iter().chain([RESIZED, STOPPED, CONTINUED]);
        let all: SignalSet = all.map(Signal::as_raw).collect();
        let before = tcgetattr(rustix::stdio::stdin())?;
        let signals = signal::open(&all)?;
        let mask = signal::block(&all)?;
        let screen = Self { before, mask, signals };
        restore_after_panic(&screen.before);
        screen.take()?;
        Ok(screen)
    }

    fn take(&self) -> rustix::io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &raw)?;
        write(ENTER)
    }

    fn give_back(&self) {
        // One that is gone needs nothing.
        let _ = write(LEAVE);
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
    }

    /// Columns and rows.
    pub(crate) fn size(&self) -> (usize, usize) {
        let size =
            tcgetwinsize(rustix::stdio::stdout()).map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        match size {
            Ok((columns @ 1.., rows @ 1..)) => (columns, rows),
            _ => (80, 24),
        }
    }

    /// Shows these lines from the top, and nothing below.
    ///
    /// # Errors
    /// Those of write(2), as when the terminal is gone.
    pub(crate) fn draw(&self, lines: &[String]) -> rustix::io::Result<()> {
        let text = lines.iter().map(|line| format!("{line}\x1b[K")).collect::<Vec<_>>().join("\r\n");
        write(&format!("\x1b[H{text}\x1b[J"))
    }

    /// Waits for something to happen.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn wait(&self, until: Instant) -> rustix::io::Result<Event> {
        let left = until.saturating_duration_since(Instant::now());
        let stdin = rustix::stdio::stdin();
        let mut both = [PollFd::new(&self.signals, PollFlags::IN), PollFd::new(&stdin, PollFlags::IN)];
        if retry_on_intr(|| poll(&mut both, Some(&timespec(left))))? == 0 {
            return Ok(Event::Nothing);
        }
        let [signalled, typed] = both.map(|one| !one.revents().is_empty());
        if signalled {
            return self.signalled();
        }
        let mut bytes = [0; 64];
        match if typed { retry_on_intr(|| read(stdin, &mut bytes))? } else { 1 } {
            // Nobody types there any more.
            0 => Ok(Event::End(Signal::HUP)),
            length => Ok(meaning(&bytes[..length])),
        }
    }

    fn signalled(&self) -> rustix::io::Result<Event> {
        let Some(delivered) = signal::next(self.signals.as_fd())? else { return Ok(Event::Nothing) };
        let ending = ENDING.into_iter().find(|signal| signal.as_raw() == delivered.signal);
        match ending {
            Some(signal) => Ok(Event::End(signal)),
            None if delivered.signal == STOPPED.as_raw() => self.suspend(),
            None => Ok(Event::Redraw),
        }
    }

    /// Stops this program, and takes the terminal again when it goes on.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn suspend(&self) -> rustix::io::Result<Event> {
        self.give_back();
        kill_process(getpid(), Signal::STOP)?;
        self.take()?;
        Ok(Event::Redraw)
    }

    /// Gives the terminal back and lets the signal do what it does.
    pub(crate) fn end_by(self, signal: Signal) {
        drop(self);
        let _ = kill_process(getpid(), signal);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
        // It cannot fail for a mask that was in force before.
        let _ = signal::set_mask(&self.mask);
    }
}

/// A panic may end the process without running destructors.
fn restore_after_panic(before: &Termios) {
    static ONCE: Once = Once::new();
    let before = before.clone();
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = write(LEAVE);
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
            next(panic);
        }));
    });
}

fn write(text: &str) -> rustix::io::Result<()> {
    let mut output = std::io::stdout();
    let written = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    written.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

/// What was typed: the first key of what has come.
fn meaning(bytes: &[u8]) -> Event {
    const INTERRUPT: u8 = 3;
    const SUSPEND: u8 = 26;
    match bytes {
        [b'\x1b', b'[' | b'O', b'A', ..] => Event::Key(Key::Up),
        [b'\x1b', b'[' | b'O', b'B', ..] => Event::Key(Key::Down),
        [b'\x1b', b'[', b'5', b'~', ..] => Event::Key(Key::PageUp),
        [b'\x1b', b'[', b'6', b'~', ..] => Event::Key(Key::PageDown),
        [INTERRUPT, ..] => Event::Key(Key::Interrupt),
        [SUSPEND, ..] => Event::Key(Key::Suspend),
        [letter, ..] if letter.is_ascii_graphic() => Event::Letter(char::from(*letter)),
        _ => Event::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        assert_eq!(meaning(b"q"), Event::Letter('q'));
        assert_eq!(meaning(b"\x1b[A"), Event::Key(Key::Up));
        assert_eq!(meaning(b"\x1bOB"), Event::Key(Key::Down));
        assert_eq!(meaning(b"\x1b[6~"), Event::Key(Key::PageDown));
        assert_eq!(meaning(b"\x03"), Event::Key(Key::Interrupt));
        assert_eq!(meaning(b"\x1b[200~"), Event::Nothing);
    }
}
