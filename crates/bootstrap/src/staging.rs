//! The directory in which a tree is made before it gets its name.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

use crate::tree::remove_at;

/// How the names of such directories begin.
const PREFIX: &str = ".#redd.bootstrap.";

/// Why a tree cannot be begun or finished.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something is there already.
    #[error("'{0}' exists and is not an empty directory")]
    Occupied(PathBuf),
    /// The path has no last part.
    #[error("'{0}' is no name for a new directory")]
    NoName(PathBuf),
    /// The file system says no.
    #[error("cannot {action} '{path}'")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A directory beside the one that is wanted, removed when dropped unless [`Staging::finish`] gave it its name. It is
/// locked for as long as it is used, so that a later run removes what a killed one has left.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    path: PathBuf,
    parent: OwnedFd,
    /// Holds the lock.
    directory: OwnedFd,
    finished: bool,
}

impl Staging {
    /// Whether a tree may be made at `target`: it is missing, or an empty directory.
    ///
    /// # Errors
    /// Where it may not, or cannot be looked at.
    pub fn check(target: &Path) -> Result<(), Error> {
        let io = |source| Error::Io { action: "look at", path: target.to_owned(), source };
        match fs::symlink_metadata(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io(error)),
            Ok(status) if !status.is_dir() => return Err(Error::Occupied(target.to_owned())),
            Ok(_) => {}
        }
        match fs::read_dir(target).map_err(io)?.next() {
            None => Ok(()),
            Some(_) => Err(Error::Occupied(target.to_owned())),
        }
    }

    /// Makes the directory beside `target`; what earlier runs for the same target have left is removed.
    ///
    /// # Errors
    /// As [`Staging::check`], and where the directory cannot be made.
    pub fn begin(target: &Path) -> Result<Self, Error> {
        Self::check(target)?;
        let io = |action, path: &Path, source: io::Error| Error::Io { action, path: path.to_owned(), source };
        let name = target.file_name().ok_or_else(|| Error::NoName(target.to_owned()))?;
        let above = match target.parent() {
            Some(above) if !above.as_os_str().is_empty() => above,
            _ => Path::new("."),
        };
        fs::create_dir_all(above).map_err(|source| io("make", above, source))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = rustix::fs::open(above, flags, Mode::empty()).map_err(|errno| io("open", above, errno.into()))?;
        let mut prefix = OsString::from(PREFIX);
        prefix.push(name);
        prefix.push(".");
        remove_stale(&parent, &prefix).map_err(|errno| io("clean", above, errno.into()))?;
        let mut own = prefix;
        own.push(format!("{:x}-{:x}", std::process::id(), jiff::Timestamp::now().as_nanosecond()));
        let path = above.join(&own);
        fs::DirBuilder::new().mode(0o700).create(&path).map_err(|source| io("make", &path, source))?;
        let directory =
            rustix::fs::openat(&parent, &own, flags, Mode::empty()).map_err(|errno| io("open", &path, errno.into()))?;
        let staging = Self { target: target.to_owned(), path, parent, directory, finished: false };
        flock(&staging.directory, FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| io("lock", &staging.path, errno.into()))?;
        Ok(staging)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the directory its name.
    ///
    /// # Errors
    /// Where something has come to that name meanwhile.
    pub fn finish(mut self) -> Result<(), Error> {
        let io = |action, source| Error::Io { action, path: self.target.clone(), source };
        fs::set_permissions(&self.path, fs::Permissions::from_mode(0o755)).map_err(|e| io("open up", e))?;
        // An empty directory is replaced, anything else is not.
        match fs::rename(&self.path, &self.target) {
            Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory) => {
                return Err(Error::Occupied(self.target.clone()));
            }
            other => other.map_err(|source| io("make", source))?,
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.finished
            && let Some(name) = self.path.file_name()
        {
            // What cannot be removed now is removed by the next run.
            let _ = remove_at(self.parent.as_fd(), name, 0);
        }
    }
}

fn remove_stale(parent: &OwnedFd, prefix: &OsStr) -> rustix::io::Result<()> {
    for entry in rustix::fs::Dir::read_from(parent)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if !name.as_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(parent, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(other) => return Err(other),
            Ok(directory) => match flock(&directory, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) => {}
                Err(other) => return Err(other),
                Ok(()) => remove_at(parent.as_fd(), name, 0)?,
            },
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_appears_whole_or_not_at_all() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("tree");
        let staging = Staging::begin(&target).unwrap();
        fs::write(staging.path().join("file"), "x").unwrap();
        drop(staging);
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 0);
        let staging = Staging::begin(&target).unwrap();
        fs::write(staging.path().join("file"), "x").unwrap();
        assert!(!target.exists());
        staging.finish().unwrap();
        assert_eq!(fs::read(target.join("file")).unwrap(), b"x");
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_is_in_use_is_not() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("tree");
        let left = above.path().join(".#redd.bootstrap.tree.dead");
        fs::create_dir_all(left.join("usr/bin")).unwrap();
        let first = Staging::begin(&target).unwrap();
        assert!(!left.exists());
        let second = Staging::begin(&target).unwrap();
        assert!(first.path().exists());
        second.finish().unwrap();
        fs::write(target.join("file"), "x").unwrap();
        assert!(matches!(first.finish(), Err(Error::Occupied(_))));
        assert_eq!(fs::read_dir(above.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_nothing_or_an_empty_directory_is_replaced() {
        let above = tempfile::tempdir().unwrap();
        let target = above.path().join("tree");
        fs::create_dir(&target).unwrap();
        Staging::begin(&target).unwrap().finish().unwrap();
        fs::write(target.join("file"), "x").unwrap();
        assert!(matches!(Staging::begin(&target), Err(Error::Occupied(_))));
        let file = above.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(matches!(Staging::begin(&file), Err(Error::Occupied(_))));
        let link = above.path().join("link");
        std::os::unix::fs::symlink("/nowhere", &link).unwrap();
        assert!(matches!(Staging::begin(&link), Err(Error::Occupied(_))));
    }
}
