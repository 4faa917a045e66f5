//! `--template=`: a new tree made from another one.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::holder::{self, Holder, Purpose};
use crate::tree::FileSystem;
use crate::{Tree, copy, snapshot};

/// What the tree is called in the holder's directory while it is made.
pub(crate) const TREE: &str = "root";

/// Why there is no new tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Where it is to be made.
    #[error(transparent)]
    Holder(#[from] holder::Error),
    /// The copy.
    #[error("cannot copy the template {path}", path = .path.display())]
    Copy {
        /// The template.
        path: PathBuf,
        /// Why.
        source: copy::Error,
    },
    /// Something has come to be there meanwhile.
    #[error("{0} was made by somebody else while it was being copied; start again")]
    Exists(PathBuf),
    /// The new tree could not be put in its place.
    #[error("cannot make {path}", path = .path.display())]
    Place {
        /// The new tree.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// How the new tree was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Made {
    /// As a btrfs snapshot.
    Snapshot,
    /// As a copy, whose contents may be shared.
    Copy(copy::Report),
}

/// Makes the tree `target`, which does not exist, from the template. It shows up complete or not at all.
///
/// # Errors
/// [`Error`]; nothing is left then, unless the removal fails too, which the next start or `--cleanup` makes up for.
pub fn make(template: &Tree, target: &Path, machine: &str, observe: copy::Observer<'_>) -> Result<Made, Error> {
    make_and(template, target, machine, observe, |holder, name| {
        renameat_with(holder.fd(), TREE, holder.place(), name, RenameFlags::NOREPLACE)
    })
}

/// The same for one who gives it its name: it is called [`TREE`] in the holder's directory.
///
/// # Errors
/// [`Error`], as [`make`].
pub(crate) fn make_and(
    template: &Tree,
    target: &Path,
    machine: &str,
    observe: copy::Observer<'_>,
    publish: impl FnOnce(&Holder, &OsStr) -> rustix::io::Result<()>,
) -> Result<Made, Error> {
    let place_error = |source| Error::Place { path: target.to_owned(), source };
    let (Some(place), Some(name)) = (target.parent(), target.file_name()) else {
        return Err(place_error(Errno::INVAL));
    };
    let holder = Holder::create(place, machine, Purpose::Copy)?;
    let result = fill(template, &holder, observe).and_then(|made| match publish(&holder, name) {
        Ok(()) => Ok(made),
        Err(Errno::EXIST) => Err(Error::Exists(target.to_owned())),
        Err(source) => Err(place_error(source)),
    });
    let removed = holder.remove();
    let made = result?;
    removed.map_err(holder::Error::from)?;
    Ok(made)
}

fn fill(template: &Tree, holder: &Holder, observe: copy::Observer<'_>) -> Result<Made, Error> {
    let name = OsStr::new(TREE);
    if template.is_subvolume && snapshot::take(template, holder.fd(), name).is_ok() {
        return Ok(Made::Snapshot);
    }
    // What a failed snapshot has left.
    crate::remove::tree(holder.fd(), name).map_err(holder::Error::from)?;
    if FileSystem::of(holder.fd().as_fd()) == Ok(FileSystem::Btrfs) {
        // So that later copies of it are snapshots. Where that is refused it is a plain directory.
        let _ = sys::btrfs::create(holder.fd(), name);
    }
    let report = copy::directory(template, holder.fd(), name, observe)
        .map_err(|source| Error::Copy { path: template.path.clone(), source })?;
    Ok(Made::Copy(report))
}
