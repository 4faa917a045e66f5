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
use crate::tree::{Identity, Tree};

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
        holder::remove_dead_at(&place.join(holder::name(machine(&image.name).as_str(), holder::Purpose::Copy)))?;
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
    let identity = Identity::of(file.as_fd()).map_err(failed("examine", &path))?;
    let lock = TreeLock::of_image(&pool.run, (&path, identity), &holder, shared)?;
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
    let path = real(path)?;
    let io = |error: std::io::Error| rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
    let table = std::fs::read("/proc/self/mountinfo")
        .map_err(|error| failed("read", Path::new("/proc/self/mountinfo"))(io(error)))?;
    let points = table.split(|byte| *byte == b'\n').filter_map(mount_point);
    match points.into_iter().find(|point| point.starts_with(&path)) {
        Some(point) => Err(Error::Mounted(point)),
        None => Ok(()),
    }
}

/// The fifth word of a line, in which spaces and the like stand as `\040`, see proc_pid_mountinfo(5).
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let word = line.split(|byte| *byte == b' ').nth(4)?;
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|digits| *first == b'\\' && digits.iter().all(u8::is_ascii_digit));
        let byte = octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        plain.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &after[3..] } else { after };
    }
    Some(std::ffi::OsString::from_vec(plain).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_read_as_the_kernel_writes_them() {
        let line = br"36 35 98:0 / /var/a\040b\134c rw - ext4 /dev/root rw";
        assert_eq!(mount_point(line), Some(PathBuf::from(r"/var/a b\c")));
        assert_eq!(mount_point(b""), None);
    }
}
