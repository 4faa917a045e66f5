//! Images that go.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, renameat, statat, unlinkat};

use super::{Error, Image, Pool, companion, failed, hold, mark};
use crate::holder::{Holder, Purpose};

impl Pool {
    /// Removes an image with its settings files, read-only ones too. It goes in one step: what a violent death leaves of it is
    /// hidden, and removed by [`Pool::clean`]. A symbolic link to an image is removed itself, and not what it leads to.
    ///
    /// # Errors
    /// [`Error`]: it is in use, or something of it stays.
    pub fn remove(&self, image: &Image) -> Result<(), Error> {
        image.refuse_protected()?;
        let (place, file) = image.place()?;
        let held = hold::Held::exclusively(self, image)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at: OwnedFd = openat(CWD, place, flags, Mode::empty()).map_err(failed("open", place))?;
        let status = statat(&at, file, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("examine", &image.path))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                hold::refuse_mounted(&image.path)?;
                let protection = mark::Lifted::lift_to_move(&at, file);
                let taken = match self.take_away(&at, place, image) {
                    Ok(taken) => taken,
                    Err(error) => {
                        protection.restore();
                        return Err(error);
                    }
                };
                // Before all that is in it, which takes its time: nobody who is called so later gets these settings.
                let companions = companion::remove(self, place, &image.name);
                taken.remove()?;
                return companions;
            }
            _ => unlinkat(&at, file, AtFlags::empty()).map_err(failed("remove", &image.path))?,
        }
        drop(held);
        companion::remove(self, place, &image.name)
    }

    /// Moves it to a temporary directory, which goes with it.
    fn take_away(&self, at: &OwnedFd, place: &Path, image: &Image) -> Result<Holder, Error> {
        let (_, file) = image.place()?;
        let holder = Holder::create(place, hold::machine(&image.name).as_str(), Purpose::Copy)?;
        match renameat(at, file, holder.fd(), "root") {
            Ok(()) => Ok(holder),
            Err(source) => {
                let _ = holder.remove();
                Err(failed("remove", &image.path)(source))
            }
        }
    }
}
