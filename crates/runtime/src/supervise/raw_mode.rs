//! Our terminal in raw mode: every key reaches the container, `^C` too.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Once;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// Restores the terminal when it is dropped, and when this process panics.
#[derive(Debug)]
pub(super) struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Puts the terminal in raw mode.
    ///
    /// # Errors
    /// `ENOTTY` where it is none, others of tcsetattr(3).
    pub(super) fn enter(terminal: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let terminal = rustix::io::fcntl_dupfd_cloexec(terminal, 3)?;
        let before = tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw)?;
        restore_after_panic(&terminal, &before)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // Now, because a terminal that takes no output must not keep us. One that is gone needs nothing.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// A panic ends the process without running destructors.
fn restore_after_panic(terminal: &OwnedFd, before: &Termios) -> rustix::io::Result<()> {
    static ONCE: Once = Once::new();
    let (terminal, before) = (rustix::io::fcntl_dupfd_cloexec(terminal.as_fd(), 3)?, before.clone());
    ONCE.call_once(|| {
        let next = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let _ = tcsetattr(&terminal, OptionalActions::Now, &before);
            next(panic);
        }));
    });
    Ok(())
}
