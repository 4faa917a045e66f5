//! Files that are small and written by others, such as states of machines, whatever lies in their place: nobody waits for a pipe, and
//! nothing huge is read.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;
use rustix::path::Arg;

use crate::read::{End, read_at_most};

/// Opens it for reading, without following a link in its place and without waiting for anybody.
///
/// # Errors
/// Those of openat(2).
pub(crate) fn open(base: BorrowedFd<'_>, path: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    openat(base, path, flags, Mode::empty())
}

/// What is in it. In the place of a file that is none there is an error or nothing: [`oddness`] tells which.
///
/// # Errors
/// `EFBIG`, and those of openat(2) and read(2).
pub(crate) fn read<'a>(
    base: BorrowedFd<'_>,
    path: impl Arg,
    longest: usize,
    buffer: &'a mut Vec<u8>,
) -> rustix::io::Result<&'a [u8]> {
    let file = open(base, path)?;
    match read_at_most(file.as_fd(), End::Short, longest + 1, buffer)? {
        text if text.len() > longest => Err(Errno::FBIG),
        text => Ok(text),
    }
}

/// What is wrong with what lies there, other than what it says; nothing if it is a file that can be read.
pub(crate) fn oddness(path: &Path, longest: usize) -> Option<String> {
    let status = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let size = u64::try_from(status.st_size).unwrap_or(u64::MAX);
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile if size > longest as u64 => {
            Some(format!("it has {size} bytes, and {longest} are the most"))
        }
        FileType::RegularFile => None,
        FileType::Directory => Some("it is a directory".to_owned()),
        FileType::Symlink => Some("it is a symbolic link".to_owned()),
        FileType::Fifo => Some("it is a pipe".to_owned()),
        _ => Some("it is no regular file".to_owned()),
    }
}
