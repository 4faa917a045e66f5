//! Temporary directories that can be found again after a violent death: `.#redd.MACHINE`, beside a tree or in
//! `/var/tmp`.
//!
//! Whether its owner lives is told by two locks that the kernel releases: the one of the machine's name, which the owner
//! takes first, and a `flock(2)` of the directory itself, which is seen also by those who share the directory but not
//! `/run`.
//!
//! Where others can make names, as everybody can in `/var/tmp`, a random number stands behind the name: one that can be foreseen
//! could be taken by anybody. What is another user's is never one of ours.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, flock, mkdirat, openat};
use rustix::io::Errno;

use crate::remove;
use crate::tree::Identity;

/// What all names begin with; image tools take names with `.#` for temporary ones.
const PREFIX: &str = ".#redd.";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Stands before the number.
const BEFORE_NUMBER: char = '#';
const DIGITS: usize = 16;

/// How often a lock is tried again, a millisecond apart.
const PATIENCE: u32 = 50;

/// Why there is no such directory.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is in use.
    #[error("{0} is in use by another run; give this one another name with -M")]
    InUse(PathBuf),
    /// Something of that name is none of ours.
    #[error(
        "{0} is in the way: it is no directory, or another user's; remove it, or give this one another name with -M"
    )]
    Foreign(PathBuf),
    /// The kernel said no.
    #[error("cannot make the directory {path}", path = .path.display())]
    Make {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// A dead one of the same name stays.
    #[error(transparent)]
    Remove(#[from] remove::Error),
}

/// A directory that is ours as long as this lives. Dropping it leaves the directory behind, as a death does.
#[derive(Debug)]
pub struct Holder {
    place: OwnedFd,
    name: OsString,
    fd: OwnedFd,
    path: PathBuf,
}

/// What a directory is for. A machine may have one of each in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A copy of its tree, or its tree while it is being made.
    Copy,
    /// Directories for its mounts.
    Mounts,
}

impl Purpose {
    /// All there are.
    pub const ALL: [Self; 2] = [Self::Copy, Self::Mounts];

    /// No machine's name has a `#` in it.
    fn suffix(self) -> &'static str {
        match self {
            Self::Copy => "",
            Self::Mounts => "#mounts",
        }
    }
}

/// The name that a machine's directory has, up to the number.
#[must_use]
pub fn name(machine: &str, purpose: Purpose) -> OsString {
    format!("{PREFIX}{machine}{}", purpose.suffix()).into()
}

/// The machine that a directory of this name belongs to.
#[must_use]
pub fn machine(name: &OsStr) -> Option<&str> {
    let machine = name.to_str()?.strip_prefix(PREFIX)?.split('#').next()?;
    (!machine.is_empty()).then_some(machine)
}

/// The directories in `place` that have this name, with a number or without.
pub(crate) fn found_in(place: BorrowedFd<'_>, name: &OsStr) -> Vec<OsString> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(listing) = openat(place, ".", flags, Mode::empty()).and_then(rustix::fs::Dir::new) else {
        return Vec::new();
    };
    let names = listing.flatten().map(|entry| OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
    names.filter(|found| is_numbered(found, name) && is_ours(place, found)).collect()
}

/// The same by path.
#[must_use]
pub fn found(path: &Path) -> Vec<PathBuf> {
    let (Some(place), Some(name)) = (path.parent(), path.file_name()) else { return Vec::new() };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(opened) = rustix::fs::open(place, flags, Mode::empty()) else { return Vec::new() };
    found_in(opened.as_fd(), name).into_iter().map(|name| place.join(name)).collect()
}

/// Those that there may be of this name, where all is well.
pub(crate) fn likely_in(place: BorrowedFd<'_>, name: OsString) -> Vec<OsString> {
    if is_shared(place) == Ok(true) { found_in(place, &name) } else { vec![name] }
}

fn is_numbered(found: &OsStr, name: &OsStr) -> bool {
    let Some(rest) = found.as_bytes().strip_prefix(name.as_bytes()) else { return false };
    match std::str::from_utf8(rest).map(|rest| rest.strip_prefix(BEFORE_NUMBER)) {
        Ok(Some(number)) => number.len() == DIGITS && number.bytes().all(|byte| byte.is_ascii_hexdigit()),
        _ => rest.is_empty(),
    }
}

fn numbered(name: &OsStr) -> rustix::io::Result<OsString> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    let mut numbered = name.to_owned();
    numbered.push(format!("{BEFORE_NUMBER}{:0DIGITS$x}", u64::from_ne_bytes(bytes)));
    Ok(numbered)
}

/// Whether others can make names in a directory.
fn is_shared(place: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let status = rustix::fs::fstat(place)?;
    Ok(status.st_mode & 0o022 != 0 || status.st_uid != rustix::process::geteuid().as_raw())
}

fn is_ours(place: BorrowedFd<'_>, name: &OsStr) -> bool {
    rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|status| {
        FileType::from_raw_mode(status.st_mode).is_dir() && status.st_uid == rustix::process::geteuid().as_raw()
    })
}

impl Holder {
    /// Makes the directory in `place`, for root alone. A dead one of the same name is removed.
    ///
    /// # Errors
    /// [`Error`].
    pub fn create(place: &Path, machine: &str, purpose: Purpose) -> Result<Self, Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(place, flags, Mode::empty());
        let opened = opened.map_err(|source| Error::Make { path: place.join(name(machine, purpose)), source })?;
        Self::create_in(opened, place, machine, purpose)
    }

    /// The same in an open directory; `path` is where that is, for messages.
    ///
    /// # Errors
    /// [`Error`].
    pub fn create_in(place: OwnedFd, path: &Path, machine: &str, purpose: Purpose) -> Result<Self, Error> {
        let known = name(machine, purpose);
        let above = path;
        let error = |source| Error::Make { path: above.join(&known), source };
        let shared = is_shared(place.as_fd()).map_err(error)?;
        if shared {
            for dead in found_in(place.as_fd(), &known) {
                remove_dead(place.as_fd(), &dead)?;
            }
        }
        loop {
            let name = if shared { numbered(&known).map_err(error)? } else { known.clone() };
            let path = above.join(&name);
            match mkdirat(&place, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => {
                    if !remove_dead(place.as_fd(), &name)? {
                        let ours = is_ours(place.as_fd(), &name);
                        return Err(if ours { Error::InUse(path) } else { Error::Foreign(path) });
                    }
                    continue;
                }
                Err(errno) => return Err(error(errno)),
            }
            let fd = match openat(&place, &name, DIRECTORY, Mode::empty()) {
                // Somebody took it for a dead one before it was locked.
                Err(Errno::NOENT) => continue,
                other => other.map_err(error)?,
            };
            if lock(&fd).map_err(error)? && is_named(place.as_fd(), &name, &fd) {
                return Ok(Self { place, name, fd, path });
            }
        }
    }

    /// The open directory.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The directory that it is in.
    #[must_use]
    pub fn place(&self) -> BorrowedFd<'_> {
        self.place.as_fd()
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it with all that is in it.
    ///
    /// # Errors
    /// The first thing that stays.
    pub fn remove(self) -> Result<(), remove::Error> {
        remove::tree(self.place.as_fd(), &self.name).map_err(|error| above(error, &self.path))
    }
}

/// Makes an error's path absolute.
fn above(error: remove::Error, holder: &Path) -> remove::Error {
    let path = holder.parent().unwrap_or(holder).join(&error.path);
    remove::Error { path, ..error }
}

/// False if somebody else has it. A file system without locks is taken as having none in the way.
fn lock(directory: &OwnedFd) -> rustix::io::Result<bool> {
    match flock(directory, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The same, with a little patience: a process that is ending gives up the lock of its name a moment before this one.
fn outlive(directory: &OwnedFd) -> rustix::io::Result<bool> {
    for _ in 0..PATIENCE {
        if lock(directory)? {
            return Ok(true);
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    lock(directory)
}

fn is_named(place: BorrowedFd<'_>, name: &OsStr, fd: &OwnedFd) -> bool {
    match (rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW), rustix::fs::fstat(fd)) {
        (Ok(named), Ok(open)) => Identity::from(&named) == Identity::from(&open),
        _ => false,
    }
}

/// Removes a directory whose owner is dead; false if it is alive, or if the directory is another user's and so none of
/// ours. The caller holds the lock of the machine's name.
///
/// # Errors
/// The first thing that stays.
pub fn remove_dead(place: BorrowedFd<'_>, name: &OsStr) -> Result<bool, remove::Error> {
    let error = |source| remove::Error { path: name.into(), more: 0, source };
    let fd = match openat(place, name, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(true),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(false),
        other => other.map_err(error)?,
    };
    let owner = rustix::fs::fstat(&fd).map_err(error)?.st_uid;
    if owner != rustix::process::geteuid().as_raw() || !outlive(&fd).map_err(error)? {
        return Ok(false);
    }
    crate::pool::protected::grant(place, fd.as_fd()).map_err(error)?;
    remove::tree(place, name)?;
    Ok(true)
}

/// The same by path.
///
/// # Errors
/// The first thing that stays.
pub fn remove_dead_at(path: &Path) -> Result<bool, remove::Error> {
    let (Some(place), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    if machine(name).is_none() {
        // None of ours, whatever a record says.
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match rustix::fs::open(place, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(true),
        Err(source) => Err(remove::Error { path: place.to_owned(), more: 0, source }),
        Ok(fd) => remove_dead(fd.as_fd(), name).map_err(|error| above(error, path)),
    }
}

/// Whether it is there and its owner is dead. Nothing is changed.
#[must_use]
pub fn is_dead_at(path: &Path) -> bool {
    let ours = |fd: &OwnedFd| rustix::fs::fstat(fd).is_ok_and(|is| is.st_uid == rustix::process::geteuid().as_raw());
    rustix::fs::open(path, DIRECTORY, Mode::empty()).is_ok_and(|fd| ours(&fd) && outlive(&fd).unwrap_or(false))
}

/// The machines of our directories in `place`, alive or not, at most `limit` of them. A place that cannot be read has none.
#[must_use]
pub fn list(place: &Path, limit: usize) -> Vec<String> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let Ok(fd) = rustix::fs::open(place, flags, Mode::empty()) else { return Vec::new() };
    let Ok(directory) = rustix::fs::Dir::read_from(&fd) else { return Vec::new() };
    let entries =
        directory.flatten().filter(|entry| matches!(entry.file_type(), FileType::Directory | FileType::Unknown));
    let names = entries.filter_map(|entry| {
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        machine(name).filter(|_| is_ours(fd.as_fd(), name)).map(str::to_owned)
    });
    names.take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_told_from_the_living_without_touching_them() {
        let place = tempfile::tempdir().expect("directory");
        let path = place.path().join(name("m", Purpose::Copy));
        assert!(!is_dead_at(&path), "there is none");
        let holder = Holder::create(place.path(), "m", Purpose::Copy).expect("made");
        assert!(!is_dead_at(&path));
        drop(holder);
        assert!(is_dead_at(&path) && is_dead_at(&path));
        assert!(remove_dead_at(&path).expect("removed"));
        assert!(!is_dead_at(&path));
    }

    #[test]
    fn where_others_can_make_names_ours_cannot_be_foreseen_but_found() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let place = tempfile::tempdir().expect("directory");
        std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o1777)).expect("mode");
        let known = place.path().join(name("m", Purpose::Mounts));
        // As anybody can do it, and as an earlier version has left it.
        symlink("/", &known).expect("link");
        let old = place.path().join(name("m", Purpose::Copy));
        std::fs::create_dir(&old).expect("old one");
        let make = || Holder::create(place.path(), "m", Purpose::Mounts).expect("made");
        let (one, other) = (make(), make());
        assert!(one.path() != other.path() && one.path().exists(), "the living stay");
        assert_eq!(list(place.path(), 9), ["m"; 3]);
        assert_eq!(found(&known).len(), 2);
        assert_eq!(found(&old), [old.as_path()]);
        drop(one);
        let next = make();
        assert_eq!(found(&known).len(), 2, "the dead one is gone");
        other.remove().expect("removed");
        next.remove().expect("removed");
        assert!(Holder::create(place.path(), "m", Purpose::Copy).expect("made").remove().is_ok() && !old.exists());
        assert_eq!(std::fs::read_dir(place.path()).expect("list").count(), 1);
    }

    #[test]
    fn what_is_none_of_ours_is_told() {
        let place = tempfile::tempdir().expect("directory");
        std::fs::write(place.path().join(name("m", Purpose::Copy)), "").expect("a file");
        assert!(matches!(Holder::create(place.path(), "m", Purpose::Copy), Err(Error::Foreign(_))));
    }
}
