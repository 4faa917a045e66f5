//! Locks of open file descriptions, "Open file description locks (non-POSIX)" in
//! [`fcntl_locking(2)`](https://man7.org/linux/man-pages/man2/fcntl_locking.2.html).
//!
//! Such a lock belongs to the open file, not to the process: the kernel releases it when the last descriptor of that
//! open file is closed, which a violent death does too.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

use crate::clone::last_errno;

/// Whom a lock keeps out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Only those who want it exclusively.
    Shared,
    /// Everybody else.
    Exclusive,
}

/// A request over the whole file.
fn request(kind: libc::c_int) -> libc::flock {
    // SAFETY: an all-zero flock is valid: the whole file, and the pid 0 that these commands demand.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

fn kind(mode: Mode) -> libc::c_int {
    match mode {
        Mode::Shared => libc::F_RDLCK,
        Mode::Exclusive => libc::F_WRLCK,
    }
}

/// Takes the lock, or converts the one held, without waiting; `false` if another open file is in the way (a lock already
/// held then stays as it was). The file must be open for reading, and for writing if `mode` is exclusive.
///
/// # Errors
/// Those of `F_OFD_SETLK`, among them `ENOLCK` on a file system without locks.
pub fn try_lock(file: BorrowedFd<'_>, mode: Mode) -> Result<bool> {
    match set(file, kind(mode)) {
        Ok(()) => Ok(true),
        Err(Errno::AGAIN | Errno::ACCESS) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Gives the lock up, also for other descriptors of the same open file.
///
/// # Errors
/// Those of `F_OFD_SETLK`.
pub fn unlock(file: BorrowedFd<'_>) -> Result<()> {
    set(file, libc::F_UNLCK)
}

fn set(file: BorrowedFd<'_>, kind: libc::c_int) -> Result<()> {
    let lock = request(kind);
    // SAFETY: F_OFD_SETLK reads a flock, which lives across the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Whether another open file holds a lock that keeps `mode` out.
///
/// # Errors
/// Those of `F_OFD_GETLK`.
pub fn would_conflict(file: BorrowedFd<'_>, mode: Mode) -> Result<bool> {
    let mut lock = request(kind(mode));
    // SAFETY: F_OFD_GETLK reads and writes a flock, which lives across the call.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    if result < 0 { Err(last_errno()) } else { Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK) }
}
