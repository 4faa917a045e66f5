//! Descriptors that a process is started with by number, as
//! [`sd_listen_fds(3)`](https://www.freedesktop.org/software/systemd/man/latest/sd_listen_fds.html) describes them: passed on to
//! the next program, or taken.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::{Errno, Result};

use crate::clone::last_errno;

/// The first one: those before are the standard streams.
pub const FIRST: RawFd = 3;

/// Sees to it that the next program gets the `count` descriptors from [`FIRST`] on, or that it does not.
///
/// # Errors
/// `EBADF` where one of them is not open; those before it are changed.
pub fn inherit(count: u32, inherited: bool) -> Result<()> {
    let end = RawFd::try_from(count).ok().and_then(|count| FIRST.checked_add(count)).ok_or(Errno::BADF)?;
    for number in FIRST..end {
        let flags = if inherited { 0 } else { libc::FD_CLOEXEC };
        // SAFETY: no memory is passed, and the descriptor stays what it is to whoever owns it: only the flag for the next
        // execve(2) changes.
        if unsafe { libc::fcntl(number, libc::F_SETFD, flags) } < 0 {
            return Err(last_errno());
        }
    }
    Ok(())
}

/// Takes the `count` descriptors from [`FIRST`] on, close-on-exec. They are the caller's from now on: that they are meant for
/// this process (`$LISTEN_PID`), and that it has opened nothing before, is for the caller to know.
///
/// # Errors
/// `EBADF` where one of them is not open, `EALREADY` the second time.
pub fn take(count: u32) -> Result<Vec<OwnedFd>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    inherit(count, false)?;
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Err(Errno::ALREADY);
    }
    let numbers = (FIRST..).take(count as usize);
    // SAFETY: they are open, which inherit() has seen; whoever started this process has given them to it, and nobody takes
    // them twice.
    Ok(numbers.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect())
}

/// Makes [`FIRST`] a copy of `descriptor`; what was there is closed, whoever owns it. For a process that goes on to another
/// program.
///
/// # Errors
/// Those of `dup2(2)`.
pub fn place(descriptor: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: no memory is passed; the caller uses nothing of its own any more, as its documentation asks for.
    if unsafe { libc::dup2(descriptor.as_raw_fd(), FIRST) } < 0 { Err(last_errno()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_open_is_no_descriptor() {
        assert_eq!(inherit(0, true), Ok(()));
        assert_eq!(inherit(u32::MAX, true), Err(Errno::BADF));
        assert_eq!(inherit(100_000, false), Err(Errno::BADF));
    }
}
