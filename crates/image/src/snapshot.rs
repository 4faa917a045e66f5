//! btrfs snapshots of trees with the subvolumes nested in them.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, unlinkat};
use rustix::io::Errno;
use sys::open::openat2;

use crate::Tree;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
#[error("cannot take a snapshot of {path}", path = .path.display())]
pub struct Error {
    /// The subvolume.
    pub path: PathBuf,
    /// Why.
    pub source: Errno,
}

/// Makes a writable snapshot `name` of the tree, which is a subvolume, in the directory `at`, open for reading. Nested
/// subvolumes are in it as snapshots of their own; what is mounted in the tree is not.
///
/// # Errors
/// [`Error`]; what was made before it is left for the caller to remove.
pub fn take(tree: &Tree, at: BorrowedFd<'_>, name: &OsStr) -> Result<(), Error> {
    let error = |source| Error { path: tree.path.clone(), source };
    let source = tree.reopen().map_err(error)?;
    subvolume(&source, at, name, &tree.path)
}

fn subvolume(source: &OwnedFd, at: BorrowedFd<'_>, name: &OsStr, path: &Path) -> Result<(), Error> {
    let error = |source| Error { path: path.to_owned(), source };
    sys::btrfs::snapshot(source.as_fd(), at, name, false).map_err(error)?;
    let nested = match sys::btrfs::nested(source.as_fd()) {
        // A kernel before 4.18: there are placeholders instead.
        Err(Errno::NOTTY) => Vec::new(),
        other => other.map_err(error)?,
    };
    if nested.is_empty() {
        return Ok(());
    }
    let copy = openat2(at, name, DIRECTORY, Mode::empty(), RESOLVE).map_err(error)?;
    for inner in nested {
        let error = |source| Error { path: path.join(&inner), source };
        let (parent, name) = (inner.parent().unwrap_or(Path::new("")), inner.file_name().ok_or(error(Errno::INVAL))?);
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        let from = openat2(source, &inner, DIRECTORY, Mode::empty(), RESOLVE).map_err(error)?;
        let into = openat2(&copy, parent, DIRECTORY, Mode::empty(), RESOLVE).map_err(error)?;
        unlinkat(&into, name, AtFlags::REMOVEDIR).map_err(error)?;
        subvolume(&from, into.as_fd(), name, &path.join(&inner))?;
    }
    Ok(())
}
