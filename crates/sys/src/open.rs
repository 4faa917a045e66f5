//! Opening below a directory.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::{self, Errno};
use rustix::path::Arg;

/// How often it is tried: each mount and renaming anywhere on the machine can disturb one attempt.
const ATTEMPTS: u32 = 1000;

/// [openat2(2)](https://man7.org/linux/man-pages/man2/openat2.2.html), again where the kernel could not tell whether a `..`
/// has led outside because something was mounted or renamed at the same time.
///
/// # Errors
/// Those of openat2(2); `EAGAIN` if it was disturbed each time.
pub fn openat2(
    directory: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
    mode: Mode,
    resolve: ResolveFlags,
) -> io::Result<OwnedFd> {
    let mut attempts = 1;
    loop {
        match rustix::fs::openat2(directory.as_fd(), path, flags, mode, resolve) {
            Err(Errno::AGAIN) if attempts < ATTEMPTS => attempts += 1,
            other => return other,
        }
    }
}
