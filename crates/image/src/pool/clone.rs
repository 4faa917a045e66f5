//! A new image made from another one.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, fchmod, openat, renameat_with};
use rustix::io::Errno;
use sys::file_lock;

use super::{Error, Image, Kind, Pool, companion, failed, hold, image, mark, protected};
use crate::copy;
use crate::holder::{Holder, Purpose};
use crate::template::{self, Made};
use crate::tree::Tree;

/// How a new image was made.
#[derive(Debug)]
pub struct Cloned {
    /// The new image.
    pub image: Image,
    /// As a snapshot, or as a copy.
    pub made: Made,
    /// The original was being written to while it was copied file by file: the copy is of no one moment.
    pub in_use: bool,
}

impl Pool {
    /// Makes an image of the name `new` in [`Pool::path`]: a btrfs snapshot where that is possible, else a copy that shares
    /// contents with the original where the file system can. It shows up complete or not at all, and read-only if that is wanted.
    /// Its settings files are copied, too.
    ///
    /// # Errors
    /// [`Error`]; nothing is left then.
    pub fn clone_image(
        &self,
        original: &Image,
        new: &str,
        read_only: bool,
        observe: copy::Observer<'_>,
    ) -> Result<Cloned, Error> {
        if !image::is_name(new) || new.ends_with(".raw") || new.ends_with(".v") {
            return Err(Error::Name(new.to_owned()));
        }
        if original.is_host() {
            return Err(Error::Unsupported {
                name: original.name.clone(),
                kind: original.kind,
                problem: "it is the running system; 'redd run host' runs a throw-away copy of it",
            });
        }
        let name = hold::Name::take(self, new)?;
        self.refuse_existing(new)?;
        let (place, _) = original.place()?;
        let companions = companion::pairs(self, (place, &original.name), (&self.own, new));
        companion::refuse_existing(&companions)?;
        make_directory(&self.own)?;
        // First, so that there is no moment with an image that lacks them.
        let settings = companion::copy(&companions)?;
        let copied = match original.kind {
            Kind::Directory | Kind::Subvolume => self.copy_tree(original, new, read_only, observe),
            Kind::Raw => self.copy_file(original, new, read_only, observe).map(|made| (made, false)),
            Kind::Block => Err(Error::Unsupported {
                name: original.name.clone(),
                kind: original.kind,
                problem: "block devices are not cloned; copy it to a file whose name ends in .raw",
            }),
        };
        let (made, in_use) = copied.inspect_err(|_| companion::take_back(&settings))?;
        drop(name);
        let image = self.find(new)?;
        if let Err(error) = self.count_new(&image) {
            // Nothing that goes uncounted is left; that it could not be counted says more than what else fails then.
            let _ = self.remove(&image);
            return Err(error);
        }
        Ok(Cloned { image, made, in_use })
    }

    fn copy_tree(
        &self,
        original: &Image,
        new: &str,
        read_only: bool,
        observe: copy::Observer<'_>,
    ) -> Result<(Made, bool), Error> {
        let tree = Tree::open_any(&original.path)?;
        let (_lock, in_use) = match hold::lock(self, original, file_lock::Mode::Shared) {
            Ok(lock) => (Some(lock), false),
            // A machine runs from it. A snapshot is of one moment nevertheless.
            Err(Error::InUse { .. }) => (None, true),
            Err(error) => return Err(error),
        };
        let machine = hold::machine(new);
        let target = self.own.join(new);
        let made = if read_only {
            template::make_and(&tree, &target, machine.as_str(), observe, protected::publish)
        } else {
            template::make(&tree, &target, machine.as_str(), observe)
        };
        let made = made.map_err(|error| match error {
            template::Error::Holder(error) => Error::Holder(error),
            template::Error::Copy { source, .. } => Error::Copy { name: original.name.clone(), source },
            template::Error::Exists(path) => Error::Exists { name: new.to_owned(), path },
            template::Error::Place { source: Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL, .. } if read_only => {
                mark::unsupported(new, Kind::Directory)
            }
            template::Error::Place { path, source } => failed("make", &path)(source),
        })?;
        let in_use = in_use && made != Made::Snapshot;
        Ok((made, in_use))
    }

    /// A disk image in use is not copied: its file system would be torn.
    fn copy_file(
        &self,
        original: &Image,
        new: &str,
        read_only: bool,
        observe: copy::Observer<'_>,
    ) -> Result<Made, Error> {
        let _lock = hold::lock(self, original, file_lock::Mode::Shared)?;
        let path = &original.path;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = openat(CWD, path, flags, Mode::empty()).map_err(failed("open", path))?;
        let holder = Holder::create(&self.own, hold::machine(new).as_str(), Purpose::Copy)?;
        let inside = OsStr::new("root");
        let mut fill = || {
            let copied = copy::file(&source, holder.fd(), inside, observe);
            let (target, report) = copied.map_err(|source| Error::Copy { name: original.name.clone(), source })?;
            let status = rustix::fs::fstat(&target).map_err(failed("examine", path))?;
            // A writable clone of a template that is not.
            let mode = if read_only { status.st_mode & 0o555 | 0o400 } else { status.st_mode & 0o777 | 0o600 };
            fchmod(&target, Mode::from_raw_mode(mode)).map_err(failed("make", path))?;
            let file = format!("{new}.raw");
            match renameat_with(holder.fd(), inside, holder.place().as_fd(), &file, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(Made::Copy(report)),
                Err(Errno::EXIST) => Err(Error::Exists { name: new.to_owned(), path: self.own.join(file) }),
                Err(source) => Err(failed("make", &self.own.join(file))(source)),
            }
        };
        let result = fill();
        let removed = holder.remove();
        let made = result?;
        removed?;
        Ok(made)
    }
}

/// For root alone: trees have programs in them that give privileges to who runs them.
pub(super) fn make_directory(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| failed("make", path)(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
}
