//! Removal of trees that somebody hostile may have made.
//!
//! No symbolic link is followed and no mount point is crossed: every directory is opened by name in its opened parent
//! with `openat2(RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV)`. Depth costs neither stack nor descriptors: only the deepest
//! few directories are held open, the way back up goes through `..` and is checked against what was there on the way
//! down. The flags "immutable" and "append only" are taken away where they are in the way. Whatever can be removed is
//! removed, also after an error.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Dir, FileType, IFlags, Mode, OFlags, ResolveFlags, openat, unlinkat};
use rustix::io::Errno;
use sys::open::openat2;

use crate::tree::{FileSystem, Identity};

/// How many directories are held open at the same time.
const HELD_OPEN: usize = 32;
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// What could not be removed.
#[derive(Debug, thiserror::Error)]
#[error("cannot remove {}{}{}", .path.display(), mounted(*.source), others(*.more))]
pub struct Error {
    /// The first thing that stays.
    pub path: PathBuf,
    /// How many more there are.
    pub more: usize,
    /// Why the first one stays.
    pub source: Errno,
}

fn mounted(reason: Errno) -> &'static str {
    if matches!(reason, Errno::XDEV | Errno::BUSY) { ", where something is mounted" } else { "" }
}

fn others(count: usize) -> String {
    if count == 0 { String::new() } else { format!(" and {count} more") }
}

/// Removes `name` in the directory `parent` with everything in it. It is no error if there is nothing.
///
/// # Errors
/// [`Error`]: the first thing that could not be removed; the rest was tried nevertheless.
pub fn tree(parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Error> {
    let name = match CString::new(name.as_bytes()) {
        Ok(plain) if is_plain(name) => plain,
        _ => return Err(Error { path: name.into(), more: 0, source: Errno::INVAL }),
    };
    let mut removal = Removal { parent, levels: Vec::new(), error: None };
    removal.run(name);
    removal.error.map_or(Ok(()), Err)
}

/// One thing in the directory itself: neither the directory, nor the one above, nor anything further away.
fn is_plain(name: &OsStr) -> bool {
    !matches!(name.as_bytes(), b"" | b"." | b"..") && !name.as_bytes().contains(&b'/')
}

/// A directory on the way down.
struct Level {
    /// Its name in the one above.
    name: CString,
    identity: Identity,
    /// Given up where there are many levels below.
    fd: Option<OwnedFd>,
    /// The directories in it that have not been looked at.
    children: Vec<CString>,
}

struct Removal<'a> {
    parent: BorrowedFd<'a>,
    levels: Vec<Level>,
    error: Option<Error>,
}

impl Removal<'_> {
    fn run(&mut self, name: CString) {
        if self.unlink(&name) {
            self.descend(name);
        }
        while let Some(level) = self.levels.last_mut() {
            match level.children.pop() {
                Some(child) => self.descend(child),
                None => self.ascend(),
            }
        }
    }

    /// Opens a directory, removes what is in it and is none, and goes on with the others.
    fn descend(&mut self, name: CString) {
        let here = self.here();
        let fd = match open_directory(here, &name) {
            Ok(fd) => fd,
            Err(Errno::NOENT) => return,
            Err(errno) => return self.fail(&name, errno),
        };
        let identity = match Identity::of(fd.as_fd()) {
            Ok(identity) => identity,
            Err(errno) => return self.fail(&name, errno),
        };
        if identity.inode == sys::btrfs::SUBVOLUME_ROOT_INODE
            && FileSystem::of(fd.as_fd()) == Ok(FileSystem::Btrfs)
            && destroy(here, &name, fd.as_fd())
        {
            return;
        }
        self.levels.push(Level { name, identity, fd: Some(fd), children: Vec::new() });
        if let Err(errno) = self.scan() {
            self.fail(c".", errno);
        }
        if let Some(far) = self.levels.len().checked_sub(HELD_OPEN + 1) {
            self.levels[far].fd = None;
        }
    }

    /// The deepest directory that is open.
    fn here(&self) -> BorrowedFd<'_> {
        self.levels.last().and_then(|level| level.fd.as_ref()).map_or(self.parent, AsFd::as_fd)
    }

    fn scan(&mut self) -> rustix::io::Result<()> {
        let mut directories = Vec::new();
        for entry in Dir::read_from(self.here())? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            if entry.file_type() == FileType::Directory || self.unlink(name) {
                directories.push(name.to_owned());
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.children = directories;
        }
        Ok(())
    }

    /// Removes something that is no directory; tells whether it is one.
    fn unlink(&mut self, name: &CStr) -> bool {
        let here = self.here();
        let mut result = unlinkat(here, name, AtFlags::empty());
        if matches!(result, Err(Errno::PERM | Errno::ACCESS)) && !is_directory(here, name) {
            self.unprotect(name);
            result = unlinkat(self.here(), name, AtFlags::empty());
        }
        match result {
            Ok(()) | Err(Errno::NOENT) => false,
            Err(Errno::ISDIR) => true,
            Err(_) if is_directory(self.here(), name) => true,
            Err(errno) => {
                self.fail(name, errno);
                false
            }
        }
    }

    /// Removes the deepest directory, which is empty now, and goes on in the one above.
    fn ascend(&mut self) {
        let Some(mut level) = self.levels.pop() else { return };
        if let Err(errno) = self.reopen(&level) {
            // What is above is not what it was: nothing there is touched.
            self.fail(&level.name, errno);
            self.levels.clear();
            return;
        }
        let mut result = unlinkat(self.here(), &level.name, AtFlags::REMOVEDIR);
        if matches!(result, Err(Errno::PERM | Errno::ACCESS)) {
            if let Some(fd) = &level.fd {
                clear_flags(fd.as_fd());
            }
            level.fd = None;
            self.unprotect(&level.name);
            result = unlinkat(self.here(), &level.name, AtFlags::REMOVEDIR);
        }
        if result.is_err() && level.identity.inode == sys::btrfs::SUBVOLUME_ROOT_INODE {
            result = sys::btrfs::destroy(self.here(), OsStr::from_bytes(level.name.to_bytes())).or(result);
        }
        match result {
            Ok(()) | Err(Errno::NOENT) => {}
            // Something in it stays, which has been told.
            Err(Errno::NOTEMPTY) if self.error.is_some() => {}
            Err(errno) => self.fail(&level.name, errno),
        }
    }

    /// Opens the directory above `level` again, if its descriptor was given up.
    fn reopen(&mut self, level: &Level) -> rustix::io::Result<()> {
        let Some(above) = self.levels.last_mut().filter(|above| above.fd.is_none()) else { return Ok(()) };
        let below = level.fd.as_ref().ok_or(Errno::BADF)?;
        let fd = openat(below, "..", DIRECTORY, Mode::empty())?;
        if Identity::of(fd.as_fd())? != above.identity {
            return Err(Errno::STALE);
        }
        above.fd = Some(fd);
        Ok(())
    }

    /// Takes flags away from the directory and from what is to be removed from it.
    fn unprotect(&self, name: &CStr) {
        let here = self.here();
        if let Ok(directory) = openat(here, c".", DIRECTORY, Mode::empty()) {
            clear_flags(directory.as_fd());
        }
        // By a first descriptor that opens nothing, so that no device's driver is called.
        let Ok(object) = openat2(here, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty(), RESOLVE)
        else {
            return;
        };
        let kind = rustix::fs::fstat(&object).map(|stat| FileType::from_raw_mode(stat.st_mode));
        if matches!(kind, Ok(FileType::RegularFile | FileType::Directory)) {
            let path = format!("/proc/self/fd/{}", object.as_raw_fd());
            if let Ok(fd) = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
                clear_flags(fd.as_fd());
            }
        }
    }

    fn fail(&mut self, name: &CStr, source: Errno) {
        if let Some(error) = &mut self.error {
            error.more += 1;
            return;
        }
        let mut path: PathBuf = self.levels.iter().map(|level| OsStr::from_bytes(level.name.to_bytes())).collect();
        if name != c"." {
            path.push(OsStr::from_bytes(name.to_bytes()));
        }
        self.error = Some(Error { path, more: 0, source });
    }
}

/// A subvolume with all that is in it goes in constant time, if no other one is nested in it.
fn destroy(parent: BorrowedFd<'_>, name: &CStr, subvolume: BorrowedFd<'_>) -> bool {
    let writable = sys::btrfs::set_read_only(subvolume, false);
    writable.is_ok() && sys::btrfs::destroy(parent, OsStr::from_bytes(name.to_bytes())).is_ok()
}

fn open_directory(at: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    match openat2(at, name, DIRECTORY, Mode::empty(), RESOLVE) {
        Err(Errno::ACCESS) => {
            // Its owner without privileges may change that. The link that chmodat would follow is no directory above.
            let object = openat2(at, name, OFlags::PATH | DIRECTORY, Mode::empty(), RESOLVE)?;
            rustix::fs::chmod(format!("/proc/self/fd/{}", object.as_raw_fd()), Mode::RWXU)?;
            openat2(at, name, DIRECTORY, Mode::empty(), RESOLVE)
        }
        other => other,
    }
}

fn is_directory(at: BorrowedFd<'_>, name: &CStr) -> bool {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir())
}

/// Best effort: if it does not help, the removal that follows says why.
fn clear_flags(file: BorrowedFd<'_>) {
    let Ok(flags) = rustix::fs::ioctl_getflags(file) else { return };
    let protecting = IFlags::IMMUTABLE | IFlags::APPEND;
    if flags.intersects(protecting) {
        let _ = rustix::fs::ioctl_setflags(file, flags - protecting);
    }
}
