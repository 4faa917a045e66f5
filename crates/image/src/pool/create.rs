//! A new image that is made of something else than another one.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Mode, RenameFlags, mkdirat, renameat_with};
use rustix::io::Errno;

use super::clone::make_directory;
use super::{Error, Image, Kind, Pool, failed, hold, image, mark, protected};
use crate::holder::{Holder, Purpose};
use crate::template::TREE;
use crate::tree::FileSystem;

impl Pool {
    /// Whether an image of this name can be made: it can be called so, and there is none.
    ///
    /// # Errors
    /// [`Error::Name`], [`Error::Exists`].
    pub fn check_new(&self, name: &str) -> Result<(), Error> {
        if !image::is_name(name) || name.ends_with(".raw") || name.ends_with(".v") {
            return Err(Error::Name(name.to_owned()));
        }
        self.refuse_existing(name)
    }

    /// Makes a tree of the name in [`Pool::path`], which `fill` fills: it is given a directory that nobody else reaches, and
    /// the name of an empty directory in it that becomes the tree. The tree shows up complete or not at all, and read-only
    /// if that is wanted. What a killed call leaves behind is removed by the next one for that name, and by
    /// [`Pool::clean`].
    ///
    /// # Errors
    /// [`Error`], and those of `fill`; nothing is left then.
    pub fn create<E: From<Error>>(
        &self,
        name: &str,
        read_only: bool,
        fill: impl FnOnce(BorrowedFd<'_>, &OsStr) -> Result<(), E>,
    ) -> Result<Image, E> {
        self.check_new(name)?;
        let lock = hold::Name::take(self, name)?;
        self.refuse_existing(name)?;
        make_directory(&self.own)?;
        let holder = Holder::create(&self.own, hold::machine(name).as_str(), Purpose::Copy).map_err(Error::from)?;
        let filled = begin(&holder).map_err(|errno| failed("make", holder.path())(errno)).map_err(E::from);
        let made = filled
            .and_then(|()| fill(holder.fd(), OsStr::new(TREE)))
            .and_then(|()| Ok(self.publish(&holder, name, read_only)?));
        let removed = holder.remove();
        made?;
        removed.map_err(|error| Error::Holder(error.into()))?;
        drop(lock);
        let image = self.find(name)?;
        if let Err(error) = self.count_new(&image) {
            // Nothing that goes uncounted is left; that it could not be counted says more than what else fails then.
            let _ = self.remove(&image);
            return Err(error.into());
        }
        Ok(image)
    }

    fn publish(&self, holder: &Holder, name: &str, read_only: bool) -> Result<(), Error> {
        let path = self.own.join(name);
        let published = if read_only {
            protected::publish(holder, OsStr::new(name))
        } else {
            renameat_with(holder.fd(), TREE, holder.place(), name, RenameFlags::NOREPLACE)
        };
        published.map_err(|errno| match errno {
            Errno::EXIST => Error::Exists { name: name.to_owned(), path },
            Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL if read_only => mark::unsupported(name, Kind::Directory),
            errno => failed("make", &path)(errno),
        })
    }
}

/// The empty tree: a subvolume where there are such, so that later copies of it are snapshots.
fn begin(holder: &Holder) -> rustix::io::Result<()> {
    let is_subvolume = FileSystem::of(holder.fd().as_fd()) == Ok(FileSystem::Btrfs)
        && sys::btrfs::create(holder.fd(), OsStr::new(TREE)).is_ok();
    if is_subvolume { Ok(()) } else { mkdirat(holder.fd(), TREE, Mode::RWXU) }
}
