//! Hidden images, and what dead runs have left among them.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Error, Image, Pool, UNKNOWN, failed, hold};
use crate::holder::{self, Purpose};

/// How many directories that dead runs have left are looked for.
const MOST: usize = 100_000;

/// Which images go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clean {
    /// Those whose names begin with a dot.
    Hidden,
    /// All.
    All,
}

/// What has gone.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// The images, and the space that each took for itself, in bytes or [`UNKNOWN`].
    pub removed: Vec<(String, u64)>,
    /// Temporary directories of dead runs: half copies, and what half removals have left.
    pub left_behind: usize,
    /// What stays, and why.
    pub failed: Vec<(String, Error)>,
}

impl Cleaned {
    /// The space that all took for themselves; [`UNKNOWN`] if it is not known of all.
    #[must_use]
    pub fn space(&self) -> u64 {
        let add = |sum: u64, space: u64| if space == UNKNOWN { None } else { sum.checked_add(space) };
        self.removed.iter().try_fold(0, |sum, (_, space)| add(sum, *space)).unwrap_or(UNKNOWN)
    }
}

impl Pool {
    /// Removes images from [`Pool::path`], and what dead runs have left there. Images in use stay.
    ///
    /// # Errors
    /// [`Error::System`] when the directory cannot be read.
    pub fn clean(&self, which: Clean) -> Result<Cleaned, Error> {
        let mut cleaned = Cleaned::default();
        self.remove_left_behind(&mut cleaned)?;
        // Empty files, which are not counted.
        crate::peer::remove_all_dead(&self.own);
        let wanted = |image: &Image| which == Clean::All || image.is_hidden();
        let images: Vec<Image> = super::image::all_in(&self.own)?.into_iter().filter(wanted).collect();
        for image in images {
            match self.remove(&image) {
                Ok(()) => cleaned.removed.push((image.name, image.usage_exclusive)),
                Err(error) => cleaned.failed.push((image.name, error)),
            }
        }
        Ok(cleaned)
    }

    fn remove_left_behind(&self, cleaned: &mut Cleaned) -> Result<(), Error> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let place: OwnedFd = match openat(CWD, &self.own, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(failed("open", &self.own))?,
        };
        let mut machines = holder::list(&self.own, MOST);
        machines.sort();
        machines.dedup();
        for machine in machines {
            // Whose name is in use is alive.
            let Ok(_name) = hold::Name::take(self, &machine) else { continue };
            let files = Purpose::ALL.map(|purpose| holder::found_in(place.as_fd(), &holder::name(&machine, purpose)));
            for file in files.into_iter().flatten() {
                match holder::remove_dead(place.as_fd(), &file) {
                    Ok(removed) => cleaned.left_behind += usize::from(removed),
                    Err(error) => cleaned.failed.push((file.to_string_lossy().into_owned(), error.into())),
                }
            }
        }
        Ok(())
    }
}
