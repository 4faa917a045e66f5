//! From what the user named to a tree.
//!
//! Machines are searched as [`machinectl(1)`](https://www.freedesktop.org/software/systemd/man/latest/machinectl.html),
//! "Files and Directories", says, and where newer versions of it look as well.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use spec::MachineName;

use crate::pool::image;
use crate::tree::{self, Tree};

/// The directories that are searched for machines, first hit wins.
pub const SEARCH: [&str; 6] = [
    "/etc/machines",
    "/run/machines",
    "/var/lib/machines",
    "/var/lib/container",
    "/usr/local/lib/machines",
    "/usr/lib/machines",
];

/// Why there is no tree to use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place found is no usable tree.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// Nothing of that name in any place.
    #[error("no machine named {name} was found in {}; install one with \"redd bootstrap debian /var/lib/machines/{name}\" or name a directory with -D", .searched.join(", "))]
    NoMachine {
        /// The name asked for.
        name: String,
        /// The directories searched.
        searched: Vec<String>,
    },
    /// A disk image where a tree is wanted.
    #[error("{path} is a disk image and not a directory; use it with --image=", path = .0.display())]
    DiskImage(PathBuf),
    /// A directory of versions, which cannot be picked from yet.
    #[error("{path} is a directory of versions; these are not carried out yet, name one of them with -D", path = .0.display())]
    Versions(PathBuf),
}

/// The tree at a path given with `-D`.
///
/// # Errors
/// [`Error::Tree`] when it is missing or half there, [`Error::DiskImage`] when it is a file or block device.
pub fn directory(path: &Path) -> Result<Tree, Error> {
    match Tree::open(path) {
        Err(tree::Error::NotADirectory(path)) if kind(&path).is_some_and(is_image) && has_raw_suffix(&path) => {
            Err(Error::DiskImage(path))
        }
        other => Ok(other?),
    }
}

/// A directory that need not look like a system: another one in it becomes the root, or it holds nothing but a program.
///
/// # Errors
/// [`Error::Tree`] when it is missing or no directory.
pub fn any_directory(path: &Path) -> Result<Tree, Error> {
    Ok(Tree::open_any(path)?)
}

/// What a machine is kept in.
#[derive(Debug)]
pub enum Machine {
    /// A directory tree.
    Tree(Box<Tree>),
    /// A disk image.
    Image {
        /// The file or block device.
        path: PathBuf,
        /// It is not to be written to, because of where it is, or because it is marked so.
        read_only: bool,
    },
}

impl Machine {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::Tree(tree) => &tree.path,
            Self::Image { path, .. } => path,
        }
    }
}

/// The tree or image of a machine, searched in [`SEARCH`].
///
/// # Errors
/// [`Error`]: not found, or a half tree.
pub fn machine(name: &MachineName) -> Result<Machine, Error> {
    machine_in(name.as_str(), &SEARCH.map(PathBuf::from))
}

/// The same in other places.
fn machine_in(name: &str, places: &[PathBuf]) -> Result<Machine, Error> {
    for place in places {
        let path = place.join(name);
        match kind(&path) {
            Some(FileType::Directory) => {
                let mut tree = Tree::open(&path)?;
                tree.read_only |= image::is_read_only(&tree.fd, name, &path);
                return Ok(Machine::Tree(Box::new(tree)));
            }
            Some(FileType::BlockDevice) => return disk(name, path),
            _ => {}
        }
        let raw = place.join(format!("{name}.raw"));
        if kind(&raw).is_some_and(is_image) {
            return disk(name, raw);
        }
        for versions in [format!("{name}.v"), format!("{name}.raw.v")].map(|file| place.join(file)) {
            if kind(&versions) == Some(FileType::Directory) {
                return Err(Error::Versions(versions));
            }
        }
    }
    let searched = places.iter().map(|place| place.display().to_string()).collect();
    Err(Error::NoMachine { name: name.to_owned(), searched })
}

/// The disk image of a machine.
fn disk(name: &str, path: PathBuf) -> Result<Machine, Error> {
    let opened = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let opened = opened.map_err(|source| tree::Error::Open { path: path.clone(), source })?;
    let read_only = image::is_read_only(&opened, name, &path);
    Ok(Machine::Image { path, read_only })
}

/// What is there, links followed; none if nothing is, or a link leads nowhere.
fn kind(path: &Path) -> Option<FileType> {
    let stat = rustix::fs::statat(CWD, path, AtFlags::empty()).ok()?;
    Some(FileType::from_raw_mode(stat.st_mode))
}

fn is_image(kind: FileType) -> bool {
    matches!(kind, FileType::RegularFile | FileType::BlockDevice)
}

fn has_raw_suffix(path: &Path) -> bool {
    path.extension().is_some_and(|suffix| suffix == "raw") || kind(path) == Some(FileType::BlockDevice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_told_from_what_is_none() {
        let place = std::env::temp_dir().join(format!("redd-locate-{}", std::process::id()));
        std::fs::create_dir_all(place.join("tree/usr")).expect("make");
        std::fs::create_dir_all(place.join("empty")).expect("make");
        assert!(directory(&place.join("tree")).is_ok());
        assert!(directory(&place.join("empty")).is_err());
        assert!(directory(&place.join("none")).is_err());
        std::fs::remove_dir_all(&place).expect("remove");
    }
}
