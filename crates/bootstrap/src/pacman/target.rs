//! The directory that packages come to: what has to be there before the first one, and who may change it.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::tree::{self, Tree};

/// The directories that pacstrap(8) makes, with their modes.
const DIRECTORIES: [(&str, u32); 9] = [
    ("var/cache/pacman/pkg", 0o755),
    ("var/lib/pacman", 0o755),
    ("var/log", 0o755),
    ("dev", 0o755),
    ("run", 0o755),
    ("etc/pacman.d", 0o755),
    ("tmp", 0o1777),
    ("sys", 0o555),
    ("proc", 0o555),
];
/// The directory of the databases.
const DATABASES: &str = "var/lib/pacman";
/// What pacman makes while it changes them.
const LOCK: &str = "db.lck";
/// How ours begins, so that one left behind by a run that was killed is known.
const OURS: &[u8] = b"redd ";

/// Why a directory cannot be installed to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or no directory.
    #[error("cannot use '{path}' as root directory")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another one works on it.
    #[error("the package database of '{0}' is in use")]
    Busy(PathBuf),
    /// Another one works on it, or died.
    #[error("the package database of '{0}' is locked by pacman")]
    Locked(PathBuf),
    /// Something in it cannot be made.
    #[error(transparent)]
    Tree(#[from] tree::Error),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("make it first: mkdir {}", path.display()))
            }
            Self::Open { .. } => Some("name a directory".to_owned()),
            Self::Busy(_) => Some("wait until the other installation has ended".to_owned()),
            Self::Locked(path) => {
                Some(format!("if no pacman works on it, remove {}/{DATABASES}/{LOCK}", path.display()))
            }
            Self::Tree(error) => error.is_full().then(|| "make room on that file system".to_owned()),
        }
    }
}

/// A directory that packages are installed to, locked against others as long as this lives.
#[derive(Debug)]
pub struct Target {
    tree: Tree,
    path: PathBuf,
    databases: OwnedFd,
    /// Holds the lock.
    _lock: OwnedFd,
}

impl Target {
    /// Makes the directories that are missing and locks the database. What is there keeps its mode.
    ///
    /// The tree may be hostile: no link in it leads out of it.
    ///
    /// # Errors
    /// Where it is no directory, cannot be written or is in use.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // The directory itself may be named through a link, what is in it not.
        let resolved = path.canonicalize().map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let tree = Tree::open(&resolved).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        for (directory, mode) in DIRECTORIES {
            make(&tree, directory, mode)?;
        }
        let databases = tree.make_directories(DATABASES.as_bytes())?;
        let lock = lock(&databases, path)?;
        Ok(Self { tree, path: resolved, databases, _lock: lock })
    }

    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where it is, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        // One that stays is known as ours by the next run.
        let _ = rustix::fs::unlinkat(&self.databases, LOCK, AtFlags::empty());
    }
}

fn make(tree: &Tree, path: &str, mode: u32) -> Result<(), Error> {
    if tree.open_at(path.as_bytes(), OFlags::PATH | OFlags::DIRECTORY).is_ok() {
        return Ok(());
    }
    tree.make_directories(path.as_bytes())?;
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
    let error = |errno: Errno| tree::Error { action: "make directory", path: path.to_owned(), source: errno.into() };
    let parent = tree.open_at(directory.as_bytes(), OFlags::PATH | OFlags::DIRECTORY).map_err(error)?;
    let name = OsStr::from_bytes(name.as_bytes());
    rustix::fs::chmodat(&parent, name, Mode::from_raw_mode(mode), AtFlags::empty()).map_err(error)?;
    Ok(())
}

/// Makes pacman's own lock file, and locks that: while we live, no pacman begins, and after our death the next run does.
fn lock(databases: &OwnedFd, path: &Path) -> Result<OwnedFd, Error> {
    let error =
        |action, errno: Errno| tree::Error { action, path: format!("{DATABASES}/{LOCK}"), source: errno.into() };
    let flags = OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    loop {
        let made = rustix::fs::openat(databases, LOCK, flags | OFlags::CREATE | OFlags::EXCL, Mode::empty());
        let (file, new) = match made {
            Ok(file) => (file, true),
            Err(Errno::EXIST) => match rustix::fs::openat(databases, LOCK, flags, Mode::empty()) {
                Ok(file) => (file, false),
                Err(Errno::NOENT) => continue,
                Err(other) => return Err(error("open", other).into()),
            },
            Err(other) => return Err(error("make", other).into()),
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(Error::Busy(path.to_owned())),
            Err(other) => return Err(error("lock", other).into()),
        }
        if !is_still(databases, &file).map_err(|errno| error("look at", errno))? {
            continue;
        }
        let mut file = std::fs::File::from(file);
        if new {
            let own = [OURS, std::process::id().to_string().as_bytes(), b"\n"].concat();
            file.write_all(&own).map_err(|source| tree::Error {
                action: "write",
                path: format!("{DATABASES}/{LOCK}"),
                source,
            })?;
        } else if !is_ours(&mut file) {
            return Err(Error::Locked(path.to_owned()));
        }
        return Ok(file.into());
    }
}

/// Whether that name is still this file's: whoever held it before may have removed it before we locked it.
fn is_still(databases: &OwnedFd, file: &OwnedFd) -> rustix::io::Result<bool> {
    let ours = rustix::fs::fstat(file)?;
    match rustix::fs::statat(databases, LOCK, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(there) => Ok((there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)),
        Err(Errno::NOENT) => Ok(false),
        Err(other) => Err(other),
    }
}

fn is_ours(file: &mut std::fs::File) -> bool {
    let mut start = [0; OURS.len()];
    file.read_exact(&mut start).is_ok() && start == OURS
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn directories_are_made_as_pacstrap_makes_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o700)).unwrap();
        let target = Target::open(root.path()).unwrap();
        assert!(target.tree().exists("var/lib/pacman/db.lck"));
        assert_eq!(mode(&root.path().join("proc")), 0o555);
        assert_eq!(mode(&root.path().join("var/cache/pacman/pkg")), 0o755);
        assert_eq!(mode(&root.path().join("tmp")), 0o700, "what is there stays");
        drop(target);
        assert!(!root.path().join("var/lib/pacman/db.lck").exists());
    }

    #[test]
    fn a_target_is_used_once_at_a_time() {
        let root = tempfile::tempdir().unwrap();
        let target = Target::open(root.path()).unwrap();
        assert!(matches!(Target::open(root.path()), Err(Error::Busy(_))));
        drop(target);
        let lock = root.path().join("var/lib/pacman/db.lck");
        fs::write(&lock, "").unwrap();
        let refused = Target::open(root.path()).unwrap_err();
        assert!(matches!(refused, Error::Locked(_)));
        assert!(refused.hint().unwrap().contains("db.lck"));
        assert!(lock.exists());
        fs::write(&lock, "redd 1\n").unwrap();
        Target::open(root.path()).unwrap();
    }

    #[test]
    fn no_link_leads_out_and_only_directories_are_targets() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("var")).unwrap();
        assert!(Target::open(root.path()).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        let missing = Target::open(&root.path().join("missing")).unwrap_err();
        assert!(missing.hint().unwrap().starts_with("make it first"));
    }
}
