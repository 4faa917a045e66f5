//! Terminals: whose they are, how large, and descriptors of them that are our own.
//!
//! See [`termios(3)`](https://man7.org/linux/man-pages/man3/termios.3.html) and
//! [`ioctl_tty(2)`](https://man7.org/linux/man-pages/man2/ioctl_tty.2.html).

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, Result};
use rustix::process::getpgrp;
use rustix::termios::{Winsize, isatty, tcgetpgrp, tcgetwinsize, tcsetwinsize};

/// What a terminal is to this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is no terminal.
    NotATerminal,
    /// Our process group is in its foreground, or job control does not reach us there because it is not our controlling
    /// terminal.
    Foreground,
    /// It is our controlling terminal and belongs to another process group at the moment: reading would mean SIGTTIN, changing
    /// its attributes SIGTTOU and a surprise to its owner.
    Background,
}

/// Tells what `terminal` is to this process at the moment.
#[must_use]
pub fn standing(terminal: BorrowedFd<'_>) -> Standing {
    if !isatty(terminal) {
        return Standing::NotATerminal;
    }
    match tcgetpgrp(terminal) {
        Ok(group) if group == getpgrp() => Standing::Foreground,
        // ENOTTY: not our controlling terminal. It was given to us open, so it is ours to use.
        Err(Errno::NOTTY) => Standing::Foreground,
        // Another group; or none in our PID namespace (EOPNOTSUPP in rustix), or hung up (EIO).
        _ => Standing::Background,
    }
}

/// Gives a terminal a window size, in characters.
///
/// # Errors
/// `ENOTTY` where it is none.
pub fn set_window_size(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    tcsetwinsize(terminal, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 })
}

/// Gives `target` the window size of `source`. The processes in the foreground of `target` get SIGWINCH if it changes.
///
/// # Errors
/// `ENOTTY` where one is no terminal.
pub fn copy_window_size(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<()> {
    let Winsize { ws_row, ws_col, .. } = tcgetwinsize(source)?;
    tcsetwinsize(target, Winsize { ws_row, ws_col, ws_xpixel: 0, ws_ypixel: 0 })
}

/// How many characters a line of the terminal has; `None` where it is no terminal or does not know.
#[must_use]
pub fn columns(terminal: BorrowedFd<'_>) -> Option<usize> {
    tcgetwinsize(terminal).ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

/// Opens what is behind a descriptor once more, non-blocking and close-on-exec.
///
/// The result has flags and an offset of its own: setting `O_NONBLOCK` on a descriptor that was inherited would set it for the
/// shell too. Fit for terminals and pipes; a file would begin at its start again.
///
/// # Errors
/// Those of `open(2)`: `EACCES` where the terminal belongs to another user, `ENXIO` for sockets, `ENOENT` without /proc.
pub fn reopen(descriptor: BorrowedFd<'_>, access: OFlags) -> Result<OwnedFd> {
    let name = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    open(name, access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::fcntl_getfl;
    use rustix::pipe::pipe;

    use super::*;
    use crate::pty;

    #[test]
    fn window_sizes_are_copied() {
        let (ours, theirs) = (pty::open().unwrap(), pty::open().unwrap());
        tcsetwinsize(&ours.peer, Winsize { ws_row: 33, ws_col: 111, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        copy_window_size(ours.peer.as_fd(), theirs.master.as_fd()).unwrap();
        let size = tcgetwinsize(&theirs.peer).unwrap();
        assert_eq!((size.ws_row, size.ws_col), (33, 111));
        let (reader, _writer) = pipe().unwrap();
        assert_eq!(copy_window_size(reader.as_fd(), theirs.master.as_fd()), Err(Errno::NOTTY));
    }

    #[test]
    fn a_pipe_is_no_terminal_and_a_foreign_terminal_is_usable() {
        let (reader, _writer) = pipe().unwrap();
        assert_eq!(standing(reader.as_fd()), Standing::NotATerminal);
        let pair = pty::open().unwrap();
        assert_eq!(standing(pair.peer.as_fd()), Standing::Foreground);
    }

    #[test]
    fn reopening_leaves_the_flags_of_the_original_alone() {
        let (reader, _writer) = pipe().unwrap();
        let pty::Pair { master: _master, peer } = pty::open().unwrap();
        for original in [reader, peer] {
            let ours = reopen(original.as_fd(), OFlags::RDONLY).unwrap();
            assert!(fcntl_getfl(&ours).unwrap().contains(OFlags::NONBLOCK));
            assert!(!fcntl_getfl(&original).unwrap().contains(OFlags::NONBLOCK));
        }
    }
}
