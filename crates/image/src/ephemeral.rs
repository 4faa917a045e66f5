//! `--ephemeral`: a directory beside the tree that takes all changes, as the upper layer of an overlay.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, mkdirat, openat};
use rustix::io::Errno;

use crate::Tree;

/// Why no copy can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel said no.
    #[error("cannot {what} {path}", path = .path.display())]
    System {
        /// Which step.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// It could not be removed.
    #[error("cannot remove {path}", path = .path.display())]
    Remove {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The directory with the layers `upper` and `work`.
#[derive(Debug)]
pub struct Ephemeral {
    holder: OwnedFd,
    path: PathBuf,
}

impl Ephemeral {
    /// The directory of the layers, and its path.
    #[must_use]
    pub fn layers(&self) -> (BorrowedFd<'_>, &Path) {
        (self.holder.as_fd(), &self.path)
    }

    /// Removes all changes.
    ///
    /// # Errors
    /// [`Error::Remove`].
    pub fn remove(self) -> Result<(), Error> {
        std::fs::remove_dir_all(&self.path).map_err(|source| Error::Remove { path: self.path.clone(), source })
    }
}

/// The name that a machine's copy has, beside its tree.
#[must_use]
pub fn holder_name(machine: &str) -> OsString {
    format!(".#redd.{machine}").into()
}

/// Makes the directory: beside the tree where that can be written and is on the same file system, else below
/// `/var/tmp`.
///
/// # Errors
/// Those of the system calls.
pub fn prepare(tree: &Tree, machine: &str) -> Result<Ephemeral, Error> {
    let beside = tree.path.parent().filter(|_| !tree.is_mount_point && !tree.is_host_root);
    let places = beside.into_iter().chain([Path::new("/var/tmp")]);
    let mut last = Errno::NOENT;
    let mut path = PathBuf::new();
    for place in places {
        path = place.join(holder_name(machine));
        match make(tree, &path) {
            Ok(holder) => return Ok(Ephemeral { holder, path }),
            Err(Errno::ROFS | Errno::ACCESS) => last = Errno::ROFS,
            Err(source) => return Err(Error::System { what: "make", path, source }),
        }
    }
    Err(Error::System { what: "make", path, source: last })
}

fn make(tree: &Tree, path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::mkdir(path, Mode::RWXU)?;
    let directory = rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let status = rustix::fs::fstat(&tree.fd)?;
    mkdirat(&directory, "upper", Mode::empty())?;
    chownat(
        &directory,
        "upper",
        Some(Uid::from_raw(status.st_uid)),
        Some(Gid::from_raw(status.st_gid)),
        AtFlags::empty(),
    )?;
    rustix::fs::chmodat(&directory, "upper", Mode::from_raw_mode(status.st_mode & 0o7777), AtFlags::empty())?;
    mkdirat(&directory, "work", Mode::RWXU)?;
    chownat(
        &directory,
        "work",
        Some(Uid::from_raw(status.st_uid)),
        Some(Gid::from_raw(status.st_gid)),
        AtFlags::empty(),
    )?;
    openat(&directory, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
