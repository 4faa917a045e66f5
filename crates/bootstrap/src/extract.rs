//! Puts the entries of an archive into a [`Tree`]. Nothing that exists is ever written to or replaced here, and no path
//! or link, whatever the archive says, leads out of the tree.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::tar_reader::{Entry, Kind};
use crate::tree::{BEING_MADE, Error, Tree, is_being_made, owner, parts, set_mode, shown};

/// The highest user and group id: the one above means "no change" to the kernel.
const HIGHEST_ID: u32 = u32::MAX - 1;

/// What became of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there now, as the archive says.
    Made,
    /// A directory, or a link that already leads to the same place, was there before.
    Kept,
    /// Something else has its name; nothing was done.
    InTheWay,
}

/// Which archive has given each directory its owner and mode: the one with the lowest number, however many unpack at
/// the same time.
#[derive(Debug, Default)]
pub struct Directories(Mutex<HashMap<Inode, Claim>>);

/// A directory: its file system, and its number there.
type Inode = (u64, u64);

/// Whose a directory's owner and mode are.
#[derive(Debug, Clone, Copy)]
struct Claim {
    archive: usize,
    mode: u32,
}

/// A directory of an archive, as it is in the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    inode: Inode,
    mode: u32,
}

impl Directories {
    /// Whether the archive of that number may set the directory's mode, which it then has to.
    fn claim(&self, inode: Inode, archive: usize, mode: u32) -> bool {
        let mut claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let claim = claims.entry(inode).or_insert(Claim { archive: usize::MAX, mode });
        let first = archive < claim.archive;
        if first {
            *claim = Claim { archive, mode };
        }
        first
    }

    /// The permissions of a directory when all archives have been unpacked: those that the first archive says that has it,
    /// or those that it had before.
    pub fn mode(&self, found: Found) -> u32 {
        let claims = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        claims.get(&found.inode).map_or(found.mode, |claim| claim.mode)
    }
}

/// Unpacks one archive.
#[derive(Debug)]
pub struct Extractor<'a> {
    tree: &'a Tree,
    directories: &'a Directories,
    /// The archive's number among those that unpack into the tree.
    number: usize,
    /// The directory used last: entries come sorted.
    last: Option<(Vec<u8>, Arc<OwnedFd>)>,
    /// Take the place of files that other archives have put there.
    replace: bool,
}

impl<'a> Extractor<'a> {
    /// For the archive with that number; the lower, the more its directories' owners and modes count.
    pub fn new(tree: &'a Tree, directories: &'a Directories, number: usize) -> Self {
        Self { tree, directories, number, last: None, replace: false }
    }

    /// Files and links (not directories) that are in the way are removed first.
    #[must_use]
    pub fn replacing(mut self) -> Self {
        self.replace = true;
        self
    }

    /// From now on, files and links (not directories) that are in the way are removed first, or are not.
    pub fn set_replacing(&mut self, replace: bool) {
        self.replace = replace;
    }

    /// Makes a directory, unless it was there before any of the archives: then it stays as it is. `None` where something
    /// else is in the way, be it a link to a directory.
    ///
    /// # Errors
    /// Where the entry leads out of the tree or cannot be made.
    pub fn keep_directory(&mut self, entry: &Entry) -> Result<Option<Found>, Error> {
        let error = |errno: Errno| Error { action: action(entry.kind), path: shown(&entry.path), source: errno.into() };
        let mut parts = parts(&entry.path).map_err(error)?;
        let Some(name) = parts.pop() else { return Err(error(Errno::INVAL)) };
        if entry.uid > HIGHEST_ID || entry.gid > HIGHEST_ID {
            return Err(error(Errno::INVAL));
        }
        let parent = self.parent(&parts.join(&b'/'))?;
        let name = OsStr::from_bytes(name);
        // Who makes it and who says its mode is decided at once: others look for it at the same time.
        let mut claims = self.directories.0.lock().unwrap_or_else(PoisonError::into_inner);
        let made = match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(BEING_MADE)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(other) => return Err(error(other)),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(&parent, name, flags, Mode::empty()) {
            Err(Errno::LOOP | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(error)?,
        };
        let status = rustix::fs::fstat(&directory).map_err(error)?;
        let found = Found { inode: inode(&status), mode: status.st_mode & 0o7777 };
        let may = match claims.get(&found.inode) {
            Some(claim) => self.number < claim.archive,
            // A run that was killed here has not come to its owner and mode.
            None => made || is_being_made(&status, entry.uid),
        };
        if may {
            finish(directory.as_fd(), entry).map_err(error)?;
            claims.insert(found.inode, Claim { archive: self.number, mode: entry.mode });
        }
        Ok(Some(found))
    }

    /// Puts an entry into the tree; a file's content is what `content` gives.
    ///
    /// # Errors
    /// Where the entry leads out of the tree or cannot be made.
    pub fn extract(&mut self, entry: &Entry, content: &mut impl Read) -> Result<Outcome, Error> {
        let error = |source: io::Error| Error { action: action(entry.kind), path: shown(&entry.path), source };
        let mut parts = parts(&entry.path).map_err(|errno| match errno {
            Errno::XDEV => error(io::Error::other("its path leads out of the tree")),
            other => error(other.into()),
        })?;
        if entry.uid > HIGHEST_ID || entry.gid > HIGHEST_ID {
            return Err(error(io::Error::other("its owner is out of range")));
        }
        let Some(name) = parts.pop() else {
            // The root itself: its owner and mode are not the archive's to say.
            let root = entry.kind == Kind::Directory;
            return if root { Ok(Outcome::Kept) } else { Err(error(io::Error::other("it would replace the root"))) };
        };
        let parent = self.parent(&parts.join(&b'/'))?;
        let name = OsStr::from_bytes(name);
        if self.replace {
            remove_plain(parent.as_fd(), name).map_err(|errno| error(errno.into()))?;
        }
        match entry.kind {
            Kind::Directory => self.directory(parent.as_fd(), name, entry).map_err(|errno| error(errno.into())),
            Kind::File => file(parent.as_fd(), name, entry, content).map_err(error),
            _ => self.other(parent.as_fd(), name, entry).map_err(error),
        }
    }

    fn parent(&mut self, path: &[u8]) -> Result<Arc<OwnedFd>, Error> {
        if let Some((last, directory)) = &self.last
            && last == path
        {
            return Ok(Arc::clone(directory));
        }
        let directory = Arc::new(self.tree.make_directories(path)?);
        self.last = Some((path.to_vec(), Arc::clone(&directory)));
        Ok(directory)
    }

    fn directory(&self, parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> rustix::io::Result<Outcome> {
        let made = match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(other) => return Err(other),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Ok(directory) => directory,
            // A link to a directory stands for one: /lib for /usr/lib. Where it leads is looked up inside the tree.
            Err(Errno::LOOP | Errno::NOTDIR) if !made => {
                let whole = self.tree.open_at(&entry.path, OFlags::PATH | OFlags::DIRECTORY);
                return Ok(if whole.is_ok() { Outcome::Kept } else { Outcome::InTheWay });
            }
            Err(other) => return Err(other),
        };
        if !self.directories.claim(inode(&rustix::fs::fstat(&directory)?), self.number, entry.mode) {
            return Ok(Outcome::Kept);
        }
        finish(directory.as_fd(), entry)?;
        Ok(if made { Outcome::Made } else { Outcome::Kept })
    }

    fn other(&self, parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> io::Result<Outcome> {
        let made = match entry.kind {
            Kind::Symlink => rustix::fs::symlinkat(&*entry.link, parent, name),
            Kind::HardLink => return self.hard_link(parent, name, entry),
            kind => {
                let (kind, (major, minor)) = match kind {
                    Kind::CharacterDevice => (FileType::CharacterDevice, entry.device),
                    Kind::BlockDevice => (FileType::BlockDevice, entry.device),
                    _ => (FileType::Fifo, (0, 0)),
                };
                rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), rustix::fs::makedev(major, minor))
            }
        };
        match made {
            Ok(()) => {}
            Err(Errno::EXIST) => return Ok(self.same_link(parent, name, entry)),
            Err(other) => return Err(other.into()),
        }
        let (uid, gid) = owner(entry.uid, entry.gid);
        rustix::fs::chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
        if entry.kind != Kind::Symlink {
            set_mode(parent, name, entry.mode)?;
        }
        rustix::fs::utimensat(parent, name, &times(entry), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Outcome::Made)
    }

    /// Whether what is in a symbolic link's way comes to the same: an equal link, or a directory where it leads to one.
    fn same_link(&self, parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> Outcome {
        if entry.kind != Kind::Symlink {
            return Outcome::InTheWay;
        }
        match rustix::fs::readlinkat(parent, name, Vec::new()) {
            Ok(target) if target.to_bytes() == entry.link => Outcome::Kept,
            _ => Outcome::InTheWay,
        }
    }

    fn hard_link(&self, parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry) -> io::Result<Outcome> {
        let mut target = parts(&entry.link).map_err(|_| io::Error::other("its target leads out of the tree"))?;
        let last = target.pop().ok_or_else(|| io::Error::other("its target is the root"))?;
        let directory = self.tree.open_at(&target.join(&b'/'), OFlags::PATH | OFlags::DIRECTORY)?;
        match rustix::fs::linkat(&directory, last, parent, name, AtFlags::empty()) {
            Ok(()) => Ok(Outcome::Made),
            Err(Errno::EXIST) => Ok(Outcome::InTheWay),
            Err(other) => Err(other.into()),
        }
    }
}

fn inode(status: &Stat) -> Inode {
    (status.st_dev, status.st_ino)
}

fn action(kind: Kind) -> &'static str {
    match kind {
        Kind::File => "write",
        Kind::Directory => "make directory",
        Kind::Symlink | Kind::HardLink => "make link",
        Kind::CharacterDevice | Kind::BlockDevice => "make device",
        Kind::Fifo => "make pipe",
    }
}

/// Removes a file or a link; a directory stays, and its entry will find it in the way.
fn remove_plain(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
        Err(other) => Err(other),
    }
}

fn file(parent: BorrowedFd<'_>, name: &OsStr, entry: &Entry, content: &mut impl Read) -> io::Result<Outcome> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)) {
        Ok(file) => file,
        Err(Errno::EXIST) => return Ok(Outcome::InTheWay),
        Err(other) => return Err(other.into()),
    };
    let mut buffer = [0; 65536];
    loop {
        let filled = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(filled) => filled,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let mut rest = &buffer[..filled];
        while !rest.is_empty() {
            let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest))?;
            rest = &rest[written..];
        }
    }
    finish(file.as_fd(), entry)?;
    Ok(Outcome::Made)
}

/// Owner, attributes, mode and time, in this order: a change of owner takes set-user-ID and capabilities away.
fn finish(file: BorrowedFd<'_>, entry: &Entry) -> rustix::io::Result<()> {
    // What was made in a directory with a set-group-ID bit has its group.
    let status = rustix::fs::fstat(file)?;
    if (status.st_uid, status.st_gid) != (entry.uid, entry.gid) {
        let (uid, gid) = owner(entry.uid, entry.gid);
        rustix::fs::fchown(file, uid, gid)?;
    }
    for (name, value) in &entry.xattrs {
        if !is_taken_over(name) {
            return Err(Errno::NOTSUP);
        }
        rustix::fs::fsetxattr(file, &**name, value, XattrFlags::empty())?;
    }
    rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode))?;
    rustix::fs::futimens(file, &times(entry))
}

/// Whether an extended attribute may come from an archive. Others steer kernels and overlays (`trusted.*`,
/// `user.overlay.*`) or mean nothing outside their system.
pub(crate) fn is_taken_over(name: &[u8]) -> bool {
    matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}

fn times(entry: &Entry) -> Timestamps {
    let time = Timespec { tv_sec: entry.mtime.0, tv_nsec: i64::from(entry.mtime.1) };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests;
