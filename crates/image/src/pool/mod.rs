//! The images that are installed: what machinectl(1) lists, and what it does with them.
//!
//! | module | holds |
//! |---|---|
//! | [`image`](mod@image) | one image, as it is found |
//! | `hold` | an image kept from others while something is done with it |
//! | `clone` | a new image made from another one |
//! | `rename`, `remove`, `mark`, `limit`, `clean` | what their names say |
//! | `protected` | a new tree that is read-only from the moment on that it is seen |
//! | `companion` | files that belong to an image by their names |
//! | [`metadata`] | what the system in an image calls itself |
//! | `versions` | directories of versions, systemd.v(7) |
//!
//! The directories that hold images are the administrator's: a symbolic link right in one of them is followed, as
//! machinectl(1) says. What is inside an image is hostile.

mod clean;
mod clone;
mod companion;
mod create;
mod hold;
pub mod image;
mod limit;
mod mark;
pub mod metadata;
pub(crate) mod protected;
mod remove;
mod rename;
#[cfg(test)]
mod tests;
pub(crate) mod versions;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

pub use clean::{Clean, Cleaned};
pub use clone::Cloned;
pub use image::{Image, Kind, UNKNOWN};
pub use limit::Usage;
pub use metadata::Metadata;

use crate::locate::SEARCH;
use crate::run_directory::RunDirectory;
use crate::{copy, disk, holder, lock, remove as removal, tree};

/// The name of the image that the host itself runs from.
pub const HOST: &str = ".host";
/// Where new images are made.
const OWN: &str = "/var/lib/machines";
/// Where the administrator's settings files of machines are, systemd.nspawn(5).
const SETTINGS: [&str; 2] = ["/etc/systemd/nspawn", "/run/systemd/nspawn"];

/// Why something cannot be done with an image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of that name.
    #[error("there is no image named {0}")]
    Unknown(String),
    /// No image can be called so.
    #[error("an image cannot be named {0:?}")]
    Name(String),
    /// There is one of that name already.
    #[error("there is an image named {name} already, {path}", path = .path.display())]
    Exists {
        /// The name.
        name: String,
        /// What has it.
        path: PathBuf,
    },
    /// A settings file, or another that belongs to an image of that name, would be replaced.
    #[error("{0} exists already and would belong to the image; move it away first")]
    CompanionExists(PathBuf),
    /// It is the host's own, or one that packages have installed.
    #[error("the image {name} cannot be changed: {}", if .name == HOST { "it is the running system itself" } else { "it is below /usr, where only packages are installed" })]
    Protected {
        /// The image.
        name: String,
    },
    /// What is wanted is not to be had for an image of this type.
    #[error("the image {name} is a {kind}: {problem}", kind = .kind.name())]
    Unsupported {
        /// The image.
        name: String,
        /// Its type.
        kind: Kind,
        /// What is not possible, and what is instead.
        problem: &'static str,
    },
    /// Limits are there on btrfs alone.
    #[error("{path} is not on btrfs, and limits are kept by btrfs only", path = .0.display())]
    NotBtrfs(PathBuf),
    /// A machine of that name runs.
    #[error("a machine named {0} is running; stop it first")]
    Running(String),
    /// Somebody uses the image, or a tree above or below.
    #[error("{path} is in use{}; stop that first", .machine.as_ref().map(|machine| format!(" by machine {machine}")).unwrap_or_default(), path = .path.display())]
    InUse {
        /// The tree or disk image in use.
        path: PathBuf,
        /// The machine that uses it, if known.
        machine: Option<String>,
    },
    /// The locks cannot be used.
    #[error(transparent)]
    Lock(lock::Error),
    /// Somebody has attached a loop device to it.
    #[error("{path} is in use through {device}; detach that first", path = .path.display(), device = .device.display())]
    Attached {
        /// The image.
        path: PathBuf,
        /// The loop device.
        device: PathBuf,
    },
    /// Something is mounted in it.
    #[error("something is mounted at {0}, inside the image; unmount it first")]
    Mounted(PathBuf),
    /// It is no tree that can be opened.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// The directory that it is made or removed in.
    #[error(transparent)]
    Holder(#[from] holder::Error),
    /// A part of it stays.
    #[error(transparent)]
    Remove(#[from] removal::Error),
    /// The copy.
    #[error("cannot copy the image {name}")]
    Copy {
        /// The image.
        name: String,
        /// Why.
        source: copy::Error,
    },
    /// The disk image cannot be looked into.
    #[error(transparent)]
    Disk(#[from] disk::attach::Error),
    /// The kernel said no.
    #[error("cannot {what} {path}", path = .path.display())]
    System {
        /// Which step.
        what: &'static str,
        /// What it was about.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

impl From<lock::Error> for Error {
    fn from(error: lock::Error) -> Self {
        match error {
            lock::Error::TreeBusy { path, machine, .. } | lock::Error::NestedBusy { other: path, machine, .. } => {
                Self::InUse { path, machine }
            }
            lock::Error::NameTaken(name) => Self::Running(name),
            lock::Error::HostRoot => Self::Protected { name: HOST.to_owned() },
            error @ lock::Error::File { .. } => Self::Lock(error),
        }
    }
}

/// Makes an error of a step.
fn failed(what: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    let path = path.to_owned();
    move |source| Error::System { what, path, source }
}

/// Where images are.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Searched in this order, the first of a name wins.
    places: Vec<PathBuf>,
    /// Where new ones are made.
    own: PathBuf,
    /// Where settings files are, apart from those beside images.
    settings: Vec<PathBuf>,
    run: RunDirectory,
}

impl Pool {
    /// Those of the system.
    #[must_use]
    pub fn system() -> Self {
        Self {
            places: SEARCH.map(PathBuf::from).to_vec(),
            own: PathBuf::from(OWN),
            settings: SETTINGS.map(PathBuf::from).to_vec(),
            run: RunDirectory::system(),
        }
    }

    /// Elsewhere; new images are made in the first place. Settings files are looked for in `settings` and beside images.
    #[must_use]
    pub fn at(places: Vec<PathBuf>, settings: Vec<PathBuf>, run: RunDirectory) -> Self {
        Self { own: places.first().cloned().unwrap_or_default(), places, settings, run }
    }

    /// Where new images are made.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.own
    }

    /// Where settings files of machines are, apart from those beside their images; the first is where new ones belong.
    #[must_use]
    pub fn settings(&self) -> &[PathBuf] {
        &self.settings
    }

    /// All images by name, hidden ones and the host's own among them.
    ///
    /// # Errors
    /// [`Error::System`] when a directory of images is there but cannot be read.
    pub fn list(&self) -> Result<Vec<Image>, Error> {
        let mut images = BTreeMap::new();
        for place in &self.places {
            for image in image::all_in(place)? {
                images.entry(image.name.clone()).or_insert(image);
            }
        }
        if let Some(host) = image::host() {
            images.insert(host.name.clone(), host);
        }
        Ok(images.into_values().collect())
    }

    /// The image of this name.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Name`].
    pub fn find(&self, name: &str) -> Result<Image, Error> {
        if name == HOST {
            return image::host().ok_or_else(|| Error::Unknown(name.to_owned()));
        }
        if !image::is_name(name) {
            return Err(Error::Name(name.to_owned()));
        }
        for place in &self.places {
            if let Some(image) = image::named(place, name)? {
                return Ok(image);
            }
        }
        Err(Error::Unknown(name.to_owned()))
    }

    /// Refuses a name that is taken.
    fn refuse_existing(&self, name: &str) -> Result<(), Error> {
        match self.find(name) {
            Ok(image) => Err(Error::Exists { name: name.to_owned(), path: image.path }),
            Err(Error::Unknown(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
