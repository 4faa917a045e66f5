//! A new name for an image, and for the files that belong to it.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};
use rustix::io::Errno;

use super::{Error, Image, Kind, Pool, companion, failed, hold, image, mark};

impl Pool {
    /// Renames an image where it is, with its settings files. A symbolic link to an image is renamed itself. Killed at any moment
    /// it leaves an image that has its settings, under the one name or the other.
    ///
    /// # Errors
    /// [`Error`]; it is called as before then.
    pub fn rename(&self, image: &Image, new: &str) -> Result<(), Error> {
        image.refuse_protected()?;
        if !image::is_name(new) || new.ends_with(".raw") || new.ends_with(".v") {
            return Err(Error::Name(new.to_owned()));
        }
        let (place, file) = image.place()?;
        if place.extension().is_some_and(|ending| ending == "v") {
            return Err(Error::Unsupported {
                name: image.name.clone(),
                kind: image.kind,
                problem: "it is one version of several in a directory; rename that",
            });
        }
        let _held = hold::Held::exclusively(self, image)?;
        let _name = hold::Name::take(self, new)?;
        self.refuse_existing(new)?;
        let companions = companion::pairs(self, (place, &image.name), (place, new));
        companion::refuse_existing(&companions)?;
        let target = if image.kind == Kind::Raw { format!("{new}.raw") } else { new.to_owned() };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let at: OwnedFd = openat(CWD, place, flags, Mode::empty()).map_err(failed("open", place))?;
        let linked = companion::link(&companions)?;
        let protection = mark::Lifted::lift(&at, file);
        let renamed = renameat_with(&at, file, &at, &target, RenameFlags::NOREPLACE);
        protection.restore();
        renamed.inspect_err(|_| companion::take_back(&linked)).map_err(|source| match source {
            Errno::EXIST => Error::Exists { name: new.to_owned(), path: place.join(&target) },
            source => failed("rename", &image.path)(source),
        })?;
        companion::settle(&companions)
    }
}
