//! An image kept from others while something is done with it.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use spec::MachineName;
use sys::file_lock;

use super::{Error, Image, Pool, failed};
use crate::holder;
use crate::lock::{NameLock, TreeLock};
use crate::mounted;
use crate::tree::Tree;

/// The lock of a machine's name. What a dead run has noted in its file stays there for whoever undoes it.
#[derive(Debug)]
pub(super) struct Name(Option<NameLock>);

impl Name {
    /// Takes it. Names that no machine can have need none.
    ///
    /// # Errors
    /// [`Error::Running`].
    pub(super) fn take(pool: &Pool, name: &str) -> Result<Self, Error> {
        let Ok(machine) = MachineName::try_from(name) else { return Ok(Self(None)) };
        Ok(Self(Some(NameLock::take(&pool.run, &machine)?)))
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(lock) = self.0.take_if(|lock| !lock.left().is_empty()) {
            lock.keep();
        }
    }
}

/// The name that a machine from this image would have, for locks and for temporary directories.
pub(super) fn machine(name: &str) -> MachineName {
    let own = MachineName::made_of(name);
    own.unwrap_or_else(|| MachineName::made_of("image").unwrap_or_else(|| unreachable!("it is a machine's name")))
}

/// An image that nobody else uses.
#[derive(Debug)]
pub(super) struct Held {
    _name: Name,
    _lock: TreeLock,
}

impl Held {
    /// Keeps everybody else from the image.
    ///
    /// # Errors
    /// [`Error::Running`], [`Error::Lock`] and [`Error::Attached`] while somebody uses it.
    pub(super) fn exclusively(pool: &Pool, image: &Image) -> Result<Self, Error> {
        let name = Name::take(pool, &image.name)?;
        let lock = lock(pool, image, file_lock::Mode::Exclusive)?;
        // A copy whose maker was killed becomes read-only, if it is to be, before anything else is done with it.
        let (place, _) = image.place()?;
        let copies = place.join(holder::name(machine(&image.name).as_str(), holder::Purpose::Copy));
        for copy in holder::found(&copies) {
            holder::remove_dead_at(&copy)?;
        }
        Ok(Self { _name: name, _lock: lock })
    }
}

/// Locks the tree or disk image.
pub(super) fn lock(pool: &Pool, image: &Image, mode: file_lock::Mode) -> Result<TreeLock, Error> {
    let holder = machine(&image.name);
    let shared = mode == file_lock::Mode::Shared;
    if image.kind.is_tree() {
        let tree = Tree::open_any(&image.path)?;
        let lock = if shared {
            TreeLock::shared(&pool.run, &tree, &holder)
        } else {
            TreeLock::exclusive(&pool.run, &tree, &holder)
        };
        return Ok(lock?);
    }
    let path = real(&image.path)?;
    let file = openat(CWD, &path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
    let file = File::from(file.map_err(failed("open", &path))?);
    let status = rustix::fs::fstat(&file).map_err(failed("examine", &path))?;
    let lock = TreeLock::of_image(&pool.run, (&path, &status), &holder, shared)?;
    let users = sys::loop_device::users(file.as_fd()).map_err(failed("examine", &path))?;
    match users.into_iter().find(|user| !(shared && user.read_only)) {
        Some(user) => Err(Error::Attached { path, device: user.path }),
        None => Ok(lock),
    }
}

/// The path without symbolic links.
pub(super) fn real(path: &Path) -> Result<PathBuf, Error> {
    let canonical = std::fs::canonicalize(path);
    canonical.map_err(|error| {
        failed("find", path)(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
    })
}

/// Refuses a tree that something is mounted on or in.
pub(super) fn refuse_mounted(path: &Path) -> Result<(), Error> {
    let points = mounted::at_or_below(&real(path)?).map_err(failed("read", Path::new(mounted::TABLE)))?;
    points.into_iter().next().map_or(Ok(()), |point| Err(Error::Mounted(point)))
}
