//! A directory tree that becomes an operating system, reached by file descriptors alone: whatever links it holds, no
//! path leads out of it.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, ResolveFlags, Stat, Uid};
use rustix::io::Errno;

mod file;

pub(crate) use file::{irregular, part_path};

/// The mode of a directory until it has its owner and its own mode: one that nobody wants of a directory, so that what a
/// killed run has left is known from what people have made.
pub(crate) const BEING_MADE: u32 = 0o1700;

/// How deep a path may be; the kernel's limit on their length alone would allow 2048.
const DEEPEST: usize = 256;

/// Why something in the tree cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} '/{path}' in the tree")]
pub struct Error {
    /// What was tried.
    pub action: &'static str,
    /// With what, as seen from the tree's root.
    pub path: String,
    /// Why not.
    pub source: io::Error,
}

impl Error {
    /// Whether there is no room left.
    #[must_use]
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

/// Whether an error means that a file system or a quota is full.
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The root of a tree.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

impl Tree {
    /// The tree in `directory`.
    ///
    /// # Errors
    /// Where it cannot be opened or is no directory.
    pub fn open(directory: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        Ok(Self { root: rustix::fs::open(directory, flags, Mode::empty())? })
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Opens what is at `path`; links are followed inside the tree, the last one too unless the flags forbid it.
    ///
    /// # Errors
    /// Those of `openat2(2)`.
    pub fn open_at(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            // A rename anywhere on the system can make the kernel give up with EAGAIN.
            match rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
    }

    /// Opens a directory, made together with its parents where it is missing: owned by root, mode 0755.
    ///
    /// # Errors
    /// Where something else is in the way.
    pub fn make_directories(&self, path: &[u8]) -> Result<OwnedFd, Error> {
        let open = |path: &[u8]| self.open_at(path, OFlags::PATH | OFlags::DIRECTORY);
        let error = |source: Errno| Error { action: "make directory", path: shown(path), source: source.into() };
        match open(path) {
            Err(Errno::NOENT) => {}
            other => return other.map_err(error),
        }
        let parts = parts(path).map_err(error)?;
        let mut prefix: Vec<u8> = Vec::with_capacity(path.len());
        let mut parent = open(b"").map_err(error)?;
        for part in parts {
            if !prefix.is_empty() {
                prefix.push(b'/');
            }
            prefix.extend_from_slice(part);
            parent = match open(&prefix) {
                Err(Errno::NOENT) => match rustix::fs::mkdirat(&parent, part, Mode::from_raw_mode(0o755)) {
                    Ok(()) => opened_with_mode(parent.as_fd(), part, 0o755).map_err(error)?,
                    Err(Errno::EXIST) => open(&prefix).map_err(error)?,
                    Err(other) => return Err(error(other)),
                },
                other => other.map_err(error)?,
            };
        }
        Ok(parent)
    }

    /// Makes a directory of that mode, and those above it as [`Tree::make_directories`] does. One that is there keeps its
    /// mode.
    ///
    /// # Errors
    /// Where something else is in the way.
    pub(crate) fn make_directory(&self, path: &str, mode: u32) -> Result<(), Error> {
        let error = |errno: Errno| Error { action: "make directory", path: path.to_owned(), source: errno.into() };
        let open = || self.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY);
        let (directory, made) = match open() {
            Err(Errno::NOENT) => {
                let (parent, name) = self.parent(path.as_bytes())?;
                let made = match rustix::fs::mkdirat(&parent, name, Mode::from_raw_mode(BEING_MADE)) {
                    Ok(()) => true,
                    Err(Errno::EXIST) => false,
                    Err(other) => return Err(error(other)),
                };
                (open().map_err(error)?, made)
            }
            other => (other.map_err(error)?, false),
        };
        if made || is_being_made(&rustix::fs::fstat(&directory).map_err(error)?, 0) {
            to_root(directory.as_fd())
                .and_then(|()| rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode)))
                .map_err(error)?;
        }
        Ok(())
    }

    /// Makes a symbolic link, in place of whatever file or link has that name; directories above it are made.
    ///
    /// # Errors
    /// Where it cannot be made, or a directory has that name.
    pub fn link(&self, target: &str, path: &str) -> Result<(), Error> {
        let error = |errno: Errno| Error { action: "make link", path: path.to_owned(), source: errno.into() };
        let (parent, name) = self.parent(path.as_bytes())?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(other) => return Err(error(other)),
        }
        rustix::fs::symlinkat(target, &parent, name).map_err(error)?;
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let (uid, gid) = owner(0, 0);
        rustix::fs::chownat(&parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW).map_err(error)
    }

    /// Gives a file or a link another name, in place of whatever file or link has that.
    ///
    /// # Errors
    /// Where it is not there, or the new name cannot be had.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.rename_bytes(from.as_bytes(), to.as_bytes())
    }

    /// As [`Tree::rename`], of names that are no text.
    pub(crate) fn rename_bytes(&self, from: &[u8], to: &[u8]) -> Result<(), Error> {
        let error = |errno: Errno| Error { action: "rename", path: shown(from), source: errno.into() };
        let (directory, name) = split(from).map_err(error)?;
        let directory = self.open_at(&directory, OFlags::PATH | OFlags::DIRECTORY).map_err(error)?;
        let (new_directory, new_name) = self.parent(to)?;
        rustix::fs::renameat(&directory, name, &new_directory, new_name).map_err(error)
    }

    /// Removes a file or a link. That it is not there, or is a directory, is fine.
    pub(crate) fn remove_bytes(&self, path: &[u8]) -> Result<(), Error> {
        self.unlink(path, AtFlags::empty(), &[Errno::ISDIR])
    }

    /// Removes a directory, if it is empty and one at all.
    pub(crate) fn remove_if_empty(&self, path: &[u8]) -> Result<(), Error> {
        self.unlink(path, AtFlags::REMOVEDIR, &[Errno::NOTEMPTY, Errno::EXIST, Errno::BUSY])
    }

    fn unlink(&self, path: &[u8], flags: AtFlags, fine: &[Errno]) -> Result<(), Error> {
        let error = |errno: Errno| Error { action: "remove", path: shown(path), source: errno.into() };
        let (directory, name) = split(path).map_err(error)?;
        let directory = match self.open_at(&directory, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other.map_err(error)?,
        };
        match rustix::fs::unlinkat(&directory, name, flags) {
            Ok(()) | Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            Err(errno) if fine.contains(&errno) => Ok(()),
            Err(errno) => Err(error(errno)),
        }
    }

    /// Removes a file, a link or a directory with all that is in it; links are not followed at the end of the path.
    ///
    /// # Errors
    /// Where it cannot be removed. That it is not there is fine.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        let error = |errno: Errno| Error { action: "remove", path: path.to_owned(), source: errno.into() };
        let (directory, name) = split(path.as_bytes()).map_err(error)?;
        match self.open_at(&directory, OFlags::PATH | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
            other => remove_at(other.map_err(error)?.as_fd(), name, 0).map_err(error),
        }
    }

    /// Removes everything in a directory, which stays. That it is not there is fine.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub fn empty(&self, path: &str) -> Result<(), Error> {
        for name in self.list(path)? {
            self.remove(&format!("{path}/{}", name.to_string_lossy()))?;
        }
        Ok(())
    }

    /// The names in a directory, sorted; none if it is not there. Names that are no UTF-8 are left out.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn list(&self, path: &str) -> Result<Vec<std::ffi::OsString>, Error> {
        let error = |errno: Errno| Error { action: "list", path: path.to_owned(), source: errno.into() };
        let directory = match self.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            other => other.map_err(error)?,
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(directory).map_err(error)? {
            let entry = entry.map_err(error)?;
            if let Ok(name) = entry.file_name().to_str()
                && !matches!(name, "." | "..")
            {
                names.push(OsStr::new(name).to_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The names in a directory, whatever they are made of; none if it is not there.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn names(&self, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
        let error = |errno: Errno| Error { action: "list", path: shown(path), source: errno.into() };
        let directory = match self.open_at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            other => other.map_err(error)?,
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::new(directory).map_err(error)? {
            let name = entry.map_err(error)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Where a link leads, as it says; `None` if there is no link at the path.
    pub(crate) fn link_target(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let error = |errno: Errno| Error { action: "read link", path: path.to_owned(), source: errno.into() };
        let link = match self.open_at(path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(error)?,
        };
        match rustix::fs::readlinkat(&link, "", Vec::new()) {
            Ok(target) => Ok(Some(target.into_bytes())),
            // It is something else.
            Err(Errno::NOENT | Errno::INVAL) => Ok(None),
            Err(other) => Err(error(other)),
        }
    }

    /// Whether something is at the path; a link counts by itself.
    pub fn exists(&self, path: &str) -> bool {
        self.open_at(path.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW).is_ok()
    }

    /// The directory of a path (made where missing) and the last part's name.
    fn parent<'a>(&self, path: &'a [u8]) -> Result<(OwnedFd, &'a OsStr), Error> {
        let (directory, name) =
            split(path).map_err(|errno| Error { action: "use", path: shown(path), source: errno.into() })?;
        Ok((self.make_directories(&directory)?, name))
    }
}

/// The parts of a path below the root. `..` is refused with `EXDEV`, as the kernel does for paths that lead out.
pub(crate) fn parts(path: &[u8]) -> rustix::io::Result<Vec<&[u8]>> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    if parts.contains(&&b".."[..]) || path.contains(&0) {
        return Err(Errno::XDEV);
    }
    if parts.len() > DEEPEST {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(parts)
}

/// A path's directory and last part.
fn split(path: &[u8]) -> rustix::io::Result<(Vec<u8>, &OsStr)> {
    let mut parts = parts(path)?;
    let name = parts.pop().ok_or(Errno::INVAL)?;
    Ok((parts.join(&b'/'), OsStr::from_bytes(name)))
}

pub(crate) fn shown(path: &[u8]) -> String {
    let path = path.strip_prefix(b".").filter(|rest| rest.first() == Some(&b'/')).unwrap_or(path);
    crate::tar_reader::lossy(path.strip_prefix(b"/").unwrap_or(path))
}

/// Removes whatever has that name in a directory, without ever following a link.
///
/// # Errors
/// Those of `unlinkat(2)` and `openat(2)`; that it is not there is fine.
pub fn remove_at(directory: BorrowedFd<'_>, name: &OsStr, depth: usize) -> rustix::io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR) => {}
        Err(other) => return Err(other),
    }
    if depth > 2048 {
        return Err(Errno::NAMETOOLONG);
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inner = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let names: Vec<_> = rustix::fs::Dir::read_from(&inner)?
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect::<Result<_, _>>()?;
    for name in names {
        if !matches!(name.to_bytes(), b"." | b"..") {
            remove_at(inner.as_fd(), OsStr::from_bytes(name.to_bytes()), depth + 1)?;
        }
    }
    rustix::fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
}

/// Opens a directory that was made a moment ago and gives it its mode, whatever the umask is; what has come in its place
/// since then is not touched.
fn opened_with_mode(parent: BorrowedFd<'_>, name: &[u8], mode: u32) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    to_root(directory.as_fd())?;
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(mode))?;
    Ok(directory)
}

/// Whether a directory is one that a killed run was about to give its mode, which comes after its owner.
pub(crate) fn is_being_made(status: &Stat, owner: u32) -> bool {
    // The set-group-ID bit comes from the directory above.
    status.st_mode & 0o5777 == BEING_MADE && [owner, rustix::process::geteuid().as_raw()].contains(&status.st_uid)
}

/// Sets the permissions of what has that name in a directory, never of what a link there leads to.
///
/// # Errors
/// Those of `openat(2)` and `chmod(2)`.
pub(crate) fn set_mode(parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> rustix::io::Result<()> {
    // Without its being opened: it can be a device.
    let found = rustix::fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::chmod(format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::from_raw_mode(mode))
}

/// Gives what was made a moment ago to root: in a directory with a set-group-ID bit it has another group. For other users
/// it stays theirs.
fn to_root(file: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let status = rustix::fs::fstat(file)?;
    if (status.st_uid, status.st_gid) == (0, 0) || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (uid, gid) = owner(0, 0);
    rustix::fs::fchown(file, uid, gid)
}

/// Owner and group as the kernel takes them.
pub(crate) fn owner(uid: u32, gid: u32) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
}

#[cfg(test)]
mod tests;
