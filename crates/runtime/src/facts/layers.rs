//! The directories that overlays beside the root are made of.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use image::{FileSystem, Tree};
use plan::LayerFacts;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use spec::{AbsPath, BindSource, CustomMount};
use sys::open::openat2;

use super::Error;

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The layers of an overlay; nothing for other mounts. A path inside the tree is looked at only where it is to be the
/// upper layer, which needs a directory beside it.
pub(super) fn probe(mount: &CustomMount, tree: &Tree) -> Result<Vec<LayerFacts>, Error> {
    let CustomMount::Overlay { layers, read_only, .. } = mount else { return Ok(Vec::new()) };
    let last = layers.len() - 1;
    let one = |(number, source): (usize, &BindSource)| match source {
        BindSource::Temporary => Ok(LayerFacts::Temporary { fits: fits_temporary() }),
        BindSource::Tree(path) if number == last && !read_only => inside(path, tree),
        BindSource::Tree(_) => Ok(LayerFacts::Later),
        BindSource::Host(path) => outside(path, number == last && !read_only),
    };
    layers.iter().enumerate().map(one).collect()
}

/// An overlay is no upper layer. One that cannot be looked at is told of when something is made in it.
fn fits_temporary() -> bool {
    let place = openat(CWD, crate::undo::TEMPORARY, DIRECTORY, Mode::empty());
    !matches!(place.and_then(|place| FileSystem::of(place.as_fd())), Ok(FileSystem::Overlay))
}

fn outside(path: &Path, may_be_missing: bool) -> Result<LayerFacts, Error> {
    let error = |source| Error::Layer { path: path.to_owned(), source };
    match openat(CWD, path, DIRECTORY, Mode::empty()) {
        Err(Errno::NOENT) if may_be_missing => {
            let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
                return Err(error(Errno::NOENT));
            };
            let parent = openat(CWD, parent, DIRECTORY, Mode::empty()).map_err(error)?;
            Ok(LayerFacts::Missing { path: path_of(&parent).map_err(error)?.join(name) })
        }
        Err(errno) => Err(error(errno)),
        Ok(layer) => present(&layer).map_err(error),
    }
}

fn inside(path: &AbsPath, tree: &Tree) -> Result<LayerFacts, Error> {
    let error = |source| Error::Layer { path: format!("+{path}").into(), source };
    let relative = path.as_path().strip_prefix("/").unwrap_or(path.as_path());
    let relative = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let layer = openat2(&tree.fd, relative, DIRECTORY, Mode::empty(), resolve).map_err(error)?;
    present(&layer).map_err(error)
}

fn present(layer: &OwnedFd) -> rustix::io::Result<LayerFacts> {
    let place = |fd: &OwnedFd| {
        let status = statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
        rustix::io::Result::Ok((status.stx_mnt_id, status.stx_dev_major, status.stx_dev_minor))
    };
    let above = openat(layer, "..", DIRECTORY, Mode::empty())?;
    let own_mount = place(layer)? != place(&above)?;
    Ok(LayerFacts::Present { path: path_of(layer)?, owner: rustix::fs::fstat(layer)?.st_uid, own_mount })
}

/// Its path without symbolic links.
fn path_of(directory: &OwnedFd) -> rustix::io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    let link = format!("/proc/self/fd/{}", directory.as_fd().as_raw_fd());
    let path = rustix::fs::readlinkat(CWD, link, Vec::new())?;
    Ok(std::ffi::OsString::from_vec(path.into_bytes()).into())
}
