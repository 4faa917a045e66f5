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

/// The longest path that is shown whole, and what is shown of each end of a longer one.
const SHOWN: usize = 256;
const END: usize = 100;

/// Why there is no snapshot.
#[derive(Debug, thiserror::Error)]
#[error("cannot take a snapshot of {}", shown(.path))]
pub struct Error {
    /// The subvolume.
    pub path: PathBuf,
    /// Why.
    pub source: Errno,
}

/// Subvolumes can be nested without end.
fn shown(path: &Path) -> String {
    let whole = path.display().to_string();
    let count = whole.chars().count();
    if count <= SHOWN {
        return whole;
    }
    let last: String = whole.chars().skip(count - END).collect();
    whole.chars().take(END).chain("[…]".chars()).chain(last.chars()).collect()
}

/// Makes a writable snapshot `name` of the tree, which is a subvolume, in the directory `at`, open for reading. Nested
/// subvolumes are in it as snapshots of their own; what is mounted in the tree is not.
///
/// # Errors
/// [`Error`]; what was made before it is left for the caller to remove.
pub fn take(tree: &Tree, at: BorrowedFd<'_>, name: &OsStr) -> Result<(), Error> {
    let error = |source| Error { path: tree.path.clone(), source };
    let source = tree.reopen().map_err(error)?;
    let mut waiting = subvolume(&source, at, name).map_err(error)?;
    if waiting.is_empty() {
        return Ok(());
    }
    let copy = openat2(at, name, DIRECTORY, Mode::empty(), RESOLVE).map_err(error)?;
    // Those above come before those below. Only two are open at a time, however deep they are.
    while let Some(inner) = waiting.pop() {
        let nested = nested(&source, &copy, &inner);
        let nested = nested.map_err(|source| Error { path: tree.path.join(&inner), source })?;
        waiting.extend(nested.into_iter().map(|below| inner.join(below)));
    }
    Ok(())
}

/// A snapshot of one that is nested, by its path in the tree, in the place for it in the copy.
fn nested(source: &OwnedFd, copy: &OwnedFd, inner: &Path) -> rustix::io::Result<Vec<PathBuf>> {
    let (Some(above), Some(name)) = (inner.parent(), inner.file_name()) else { return Err(Errno::INVAL) };
    let into = descend(copy, above)?;
    unlinkat(&into, name, AtFlags::REMOVEDIR)?;
    subvolume(&descend(source, inner)?, into.as_fd(), name)
}

/// Opens a directory step by step: its path may be longer than the kernel takes at once.
fn descend(from: &OwnedFd, path: &Path) -> rustix::io::Result<OwnedFd> {
    path.components().try_fold(openat2(from, c".", DIRECTORY, Mode::empty(), RESOLVE)?, |above, component| {
        openat2(above, component.as_os_str(), DIRECTORY, Mode::empty(), RESOLVE)
    })
}

/// A snapshot of one alone. The result is what is nested right in it.
fn subvolume(source: &OwnedFd, at: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Vec<PathBuf>> {
    sys::btrfs::snapshot(source.as_fd(), at, name, false)?;
    match sys::btrfs::nested(source.as_fd()) {
        // A kernel before 4.18: there are placeholders instead.
        Err(Errno::NOTTY) => Ok(Vec::new()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_paths_are_shown_by_their_ends() {
        assert_eq!(shown(Path::new("/trees/one")), "/trees/one");
        let long = shown(&Path::new("/trees").join("ä/".repeat(500)).join("last"));
        assert!(long.starts_with("/trees/ä/") && long.contains("[…]") && long.ends_with("/last"), "{long}");
        assert_eq!(long.chars().count(), 203);
    }
}
