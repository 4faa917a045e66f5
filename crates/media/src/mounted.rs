//! What the kernel mounts, copied.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use image::copy;
use image::disk::Format;
use image::disk::format::detect;
use image::disk::range::{self, Mounted};
use image::disk::storage::{FileStorage, Storage};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::choose::NESTED;
use crate::extents::Extents;
use crate::unpack::is_kept;

/// The size of the sectors of a loop device.
const SECTOR: u64 = 512;
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// Why it is not copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no part of a file that could become a device.
    #[error("it lies in several pieces")]
    Pieces,
    /// The file.
    #[error("it cannot be examined")]
    Io(#[from] std::io::Error),
    /// The kernel.
    #[error(transparent)]
    Mount(#[from] range::Error),
    /// The file system in the file system.
    #[error("cannot use '{path}' in it")]
    Nested {
        /// Its path.
        path: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// The observer said so.
    #[error("it was interrupted")]
    Interrupted,
    /// It is damaged, or made to harm.
    #[error("'/{path}' of the image is a directory that is elsewhere, too", path = .path.display())]
    Again {
        /// Relative to the root.
        path: PathBuf,
    },
    /// The kernel said no: because of the image, or of where the copy is.
    #[error("cannot {what} '/{path}' of the image", path = .path.display())]
    Copy {
        /// Which step.
        what: &'static str,
        /// Relative to the root.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

impl From<copy::Error> for Error {
    fn from(error: copy::Error) -> Self {
        match error {
            copy::Error::Interrupted => Self::Interrupted,
            copy::Error::Again { path } => Self::Again { path },
            copy::Error::System { what, path, source } => Self::Copy { what, path, source },
        }
    }
}

impl Error {
    /// Whether it is the image that is damaged, as far as that can be told.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Again { .. } => true,
            // A name that is there twice, a loop of directories, and what the kernel says of sums and structures.
            Self::Copy { source, .. } => {
                matches!(*source, Errno::IO | Errno::EXIST | Errno::LOOP | Errno::UCLEAN | Errno::BADMSG)
            }
            _ => false,
        }
    }
}

/// Copies what is in a file system to `name` in the directory `at`.
///
/// # Errors
/// [`Error`]; what was made before it is left for the caller to remove.
pub fn copy(
    image: &Extents<'_>,
    format: Format,
    at: BorrowedFd<'_>,
    name: &OsStr,
    observe: copy::Observer<'_>,
) -> Result<copy::Report, Error> {
    let start = image.start().filter(|start| start.is_multiple_of(SECTOR)).ok_or(Error::Pieces)?;
    // A file system that does not end with a sector is read from the next bytes of the file, too.
    let size = image.size().next_multiple_of(SECTOR);
    let size = if start + image.size() == crate::import::size(image.file())? { image.size() } else { size };
    let outer = Mounted::new(image.file().as_fd(), start, size, format)?;
    let copied = copy_from(&outer, at, name, observe);
    outer.release();
    copied
}

fn copy_from(
    outer: &Mounted,
    at: BorrowedFd<'_>,
    name: &OsStr,
    observe: copy::Observer<'_>,
) -> Result<copy::Report, Error> {
    let Some((path, file)) = nested(outer.root())? else {
        return root(outer.root()).and_then(|root| Ok(copy::opened(root, at, name, wanted, observe)?));
    };
    let error = |source: std::io::Error| Error::Nested { path, source };
    let file = std::fs::File::from(file);
    let size = crate::import::size(&file)?;
    let found = detect(&FileStorage { file: &file, size }, 0, size).map_err(error)?;
    let format = found.map(|found| found.format).filter(|format| format.file_system().is_some());
    let format = format.ok_or_else(|| error(std::io::Error::other("it is no file system")))?;
    let inner = Mounted::new(file.as_fd(), 0, size, format)?;
    let copied = root(inner.root()).and_then(|root| Ok(copy::opened(root, at, name, wanted, observe)?));
    inner.release();
    copied
}

fn wanted(name: &std::ffi::CStr) -> bool {
    is_kept(name.to_bytes())
}

fn root(mount: BorrowedFd<'_>) -> Result<OwnedFd, Error> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = rustix::fs::openat(mount, ".", flags, Mode::empty());
    opened.map_err(|source| Error::Copy { what: "open", path: PathBuf::new(), source })
}

/// The image in it that has the system, if it has none itself.
fn nested(root: BorrowedFd<'_>) -> Result<Option<(&'static str, OwnedFd)>, Error> {
    if ["usr", "bin"].iter().any(|name| rustix::fs::statat(root, *name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).is_ok())
    {
        return Ok(None);
    }
    for path in NESTED {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match sys::open::openat2(root, path, flags, Mode::empty(), RESOLVE) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            Err(errno) => return Err(Error::Nested { path, source: errno.into() }),
            Ok(file) => return Ok(Some((path, file))),
        }
    }
    Ok(None)
}
