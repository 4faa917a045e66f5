//! Owners, permissions, extended attributes and times.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

/// The largest list of names and the largest value of an extended attribute, see xattr(7).
const LARGEST: usize = 64 * 1024;
/// How many names of attributes that are left out are told of; a hostile tree has another one at each file.
pub const MOST_LOST: usize = 50;
/// Stands for all further names.
pub const OTHERS: &str = "(others)";

/// Whether a file system does not take an attribute that it may do without: it has none, not that one, or no place for one of that
/// size, which ext4 tells of as if it were full. `room` says whether it has space.
pub fn is_refusal(errno: Errno, room: impl FnOnce() -> bool) -> bool {
    match errno {
        Errno::OPNOTSUPP | Errno::PERM | Errno::INVAL => true,
        Errno::NOSPC | Errno::TOOBIG | Errno::RANGE => room(),
        _ => false,
    }
}

/// Whether there is space on the file system of an open file.
pub fn has_room(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatvfs(file).is_ok_and(|space| space.f_bavail > 0)
}

/// Something whose attributes are read or set.
pub(super) enum Subject<'a> {
    /// A file or directory, open for reading or writing.
    Open(BorrowedFd<'a>),
    /// Anything else. The path begins with the link to an open directory, and its last part is not followed.
    Named(PathBuf),
    /// Something opened with `O_PATH`, by the link to it, which is followed.
    Linked(PathBuf),
}

impl<'a> Subject<'a> {
    pub(super) fn named(directory: BorrowedFd<'_>, name: &CStr) -> Self {
        let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
        Self::Named(path.join(std::ffi::OsStr::from_bytes(name.to_bytes())))
    }

    pub(super) fn linked(fd: BorrowedFd<'_>) -> Self {
        Self::Linked(PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())))
    }

    fn has_room(&self) -> bool {
        match self {
            Self::Open(fd) => has_room(*fd),
            // Its directory's is the same: what is named is no mount.
            Self::Named(path) => {
                path.parent().is_some_and(|parent| rustix::fs::statvfs(parent).is_ok_and(|space| space.f_bavail > 0))
            }
            Self::Linked(path) => rustix::fs::statvfs(path).is_ok_and(|space| space.f_bavail > 0),
        }
    }

    fn list(&self, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Open(fd) => rustix::fs::flistxattr(fd, buffer),
            Self::Named(path) => rustix::fs::llistxattr(path, buffer),
            Self::Linked(path) => rustix::fs::listxattr(path, buffer),
        }
    }

    fn get(&self, name: &CStr, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Open(fd) => rustix::fs::fgetxattr(fd, name, buffer),
            Self::Named(path) => rustix::fs::lgetxattr(path, name, buffer),
            Self::Linked(path) => rustix::fs::getxattr(path, name, buffer),
        }
    }

    fn set(&self, name: &CStr, value: &[u8]) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(path) => rustix::fs::lsetxattr(path, name, value, XattrFlags::empty()),
            Self::Linked(path) => rustix::fs::setxattr(path, name, value, XattrFlags::empty()),
        }
    }

    fn change_owner(&self, uid: Uid, gid: Gid) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fchown(fd, Some(uid), Some(gid)),
            Self::Named(path) => rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW),
            Self::Linked(path) => rustix::fs::chownat(CWD, path, Some(uid), Some(gid), AtFlags::empty()),
        }
    }

    /// Symbolic links have no permissions of their own; the caller leaves them out.
    fn change_mode(&self, mode: Mode) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::fchmod(fd, mode),
            // What is there was made here, by us, and is no link.
            Self::Named(path) | Self::Linked(path) => rustix::fs::chmodat(CWD, path, mode, AtFlags::empty()),
        }
    }

    fn change_times(&self, times: &Timestamps) -> rustix::io::Result<()> {
        match self {
            Self::Open(fd) => rustix::fs::futimens(fd, times),
            Self::Named(path) => rustix::fs::utimensat(CWD, path, times, AtFlags::SYMLINK_NOFOLLOW),
            Self::Linked(path) => rustix::fs::utimensat(CWD, path, times, AtFlags::empty()),
        }
    }
}

/// Tells whether an extended attribute of this name is copied.
pub type Wanted = fn(&CStr) -> bool;

/// Copies attributes and counts those that are not wanted and those that the target does not take.
pub(super) struct Attributes {
    names: Vec<u8>,
    value: Vec<u8>,
    /// What is added to all ids.
    shift: u32,
    /// Which extended attributes are copied at all.
    wanted: Wanted,
    pub(super) lost: Vec<(String, u64)>,
}

impl Attributes {
    pub(super) fn new() -> Self {
        Self::of(|_| true)
    }

    /// Only those that are wanted.
    pub(super) fn of(wanted: Wanted) -> Self {
        Self { names: vec![0; LARGEST], value: vec![0; LARGEST], shift: 0, wanted, lost: Vec::new() }
    }

    /// The owner comes first, because the kernel takes set-user-id bits and capabilities away with a change of it; the
    /// times come last.
    pub(super) fn copy(&mut self, from: &Subject<'_>, to: &Subject<'_>, status: &Stat) -> rustix::io::Result<()> {
        to.change_owner(Uid::from_raw(status.st_uid), Gid::from_raw(status.st_gid))?;
        if FileType::from_raw_mode(status.st_mode) != FileType::Symlink {
            to.change_mode(Mode::from_raw_mode(status.st_mode & 0o7777))?;
        }
        self.extended(from, to)?;
        to.change_times(&times(status))
    }

    fn extended(&mut self, from: &Subject<'_>, to: &Subject<'_>) -> rustix::io::Result<()> {
        let length = match from.list(&mut self.names) {
            Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
            other => other?,
        };
        let names: Vec<CString> = self.names[..length]
            .split(|byte| *byte == 0)
            .filter(|name| !name.is_empty())
            .filter_map(|name| CString::new(name).ok())
            .collect();
        for name in names {
            if !(self.wanted)(&name) {
                self.lose(&name);
                continue;
            }
            let length = match from.get(&name, &mut self.value) {
                // Taken away meanwhile, or one that only its own name space can read.
                Err(Errno::NODATA) => continue,
                other => other?,
            };
            if self.shift != 0 && name.to_bytes().starts_with(b"system.posix_acl_") {
                let shift = self.shift;
                crate::access_list::map_ids(&mut self.value[..length], |id| id.wrapping_add(shift));
            }
            match to.set(&name, &self.value[..length]) {
                Ok(()) => {}
                Err(errno) if is_refusal(errno, || to.has_room()) => self.lose(&name),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn lose(&mut self, name: &CStr) {
        let name = name.to_string_lossy();
        let is_new = !self.lost.iter().any(|(known, _)| *known == name);
        let name = if is_new && self.lost.len() >= MOST_LOST { OTHERS.into() } else { name };
        match self.lost.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => self.lost.push((name.into_owned(), 1)),
        }
    }
}

/// Gives a new directory, open for reading, what the root of a tree, opened with `O_PATH`, has: owner, permissions,
/// extended attributes without those of overlayfs, and times. `shift` is added to all ids, beyond the last one from zero
/// on.
///
/// # Errors
/// Those of the system calls; attributes that the directory's file system does not take are left out.
pub fn of_root(from: BorrowedFd<'_>, to: BorrowedFd<'_>, shift: u32) -> rustix::io::Result<()> {
    let status = rustix::fs::fstat(from)?;
    let present = rustix::fs::fstat(to)?;
    let (uid, gid) = (status.st_uid.wrapping_add(shift), status.st_gid.wrapping_add(shift));
    if (present.st_uid, present.st_gid) != (uid, gid) {
        rustix::fs::fchown(to, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    rustix::fs::fchmod(to, Mode::from_raw_mode(status.st_mode & 0o7777))?;
    let source = Subject::linked(from);
    let mut few = [0; 64];
    // Most trees have none, so the large buffers are not made for nothing.
    if source.list(&mut few).is_ok_and(|length| length == 0) {
        return rustix::fs::futimens(to, &times(&status));
    }
    let mut attributes = Attributes::of(|name| {
        ![&b"trusted.overlay."[..], b"user.overlay."].iter().any(|prefix| name.to_bytes().starts_with(prefix))
    });
    attributes.shift = shift;
    attributes.extended(&source, &Subject::Open(to))?;
    rustix::fs::futimens(to, &times(&status))
}

#[allow(clippy::unnecessary_cast)] // the fields' types differ between architectures
fn times(status: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: status.st_atime as _, tv_nsec: status.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: status.st_mtime as _, tv_nsec: status.st_mtime_nsec as _ },
    }
}
