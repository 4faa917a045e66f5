//! From what the user named to a tree.
//!
//! Machines are searched as [`machinectl(1)`](https://www.freedesktop.org/software/systemd/man/latest/machinectl.html),
//! "Files and Directories", says, and where newer versions of it look as well.

use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, openat};
use spec::MachineName;

use crate::pool::image;
use crate::pool::versions::newest;
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
    #[error("{path} is a directory of versions (systemd.v(7)), from which none is picked yet; name one of them{}", example(.newest.as_deref()), path = .path.display())]
    Versions {
        /// The directory, or what in it is to be picked.
        path: PathBuf,
        /// The one that would be.
        newest: Option<PathBuf>,
    },
}

fn example(newest: Option<&Path>) -> String {
    let Some(newest) = newest else { return String::new() };
    let switch = if kind(newest) == Some(FileType::Directory) { "-D" } else { "-i" };
    format!(", such as {switch} {}", newest.display())
}

/// The tree at a path given with `-D`.
///
/// # Errors
/// [`Error::Tree`] when it is missing or half there, [`Error::DiskImage`] when it is a file or block device,
/// [`Error::Versions`] when it is a directory of versions and no tree itself.
pub fn directory(path: &Path) -> Result<Tree, Error> {
    match Tree::open(path) {
        Err(error @ (tree::Error::Half(_) | tree::Error::Missing(_))) => Err(versions(path).unwrap_or(error.into())),
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

/// Looks at a path given with `-i`, which is opened elsewhere.
///
/// # Errors
/// [`Error::Versions`]
pub fn image(path: &Path) -> Result<(), Error> {
    versions(path).map_or(Ok(()), Err)
}

/// What there is to say of `NAME.SUFFIX.v/` and `DIRECTORY.v/NAME___.SUFFIX`, see systemd.v(7); nothing of other paths.
fn versions(path: &Path) -> Option<Error> {
    let name = path.file_name()?.to_str()?;
    let (place, name, suffix) = match (name.strip_suffix(".v"), name.split_once("___")) {
        (Some(name), _) => match name.strip_suffix(".raw") {
            Some(name) => (path, name, ".raw"),
            None => (path, name, ""),
        },
        (None, Some((name, suffix))) => {
            (path.parent().filter(|place| place.extension().is_some_and(|end| end == "v"))?, name, suffix)
        }
        (None, None) => return None,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, place, flags, Mode::empty()).ok()?;
    let newest = newest(&opened, name, suffix).map(|file| place.join(file));
    Some(Error::Versions { path: path.to_owned(), newest })
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
            if let Some(error) = self::versions(&versions) {
                return Err(error);
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

    #[test]
    fn a_directory_of_versions_is_refused_by_name_with_one_of_them() {
        let place = tempfile::tempdir().expect("directory");
        let at = |name: &str| place.path().join(name);
        for tree in ["t.v/t_1/usr", "t.v/t_10/usr", "d.raw.v", "own.v/usr", "empty.v"] {
            std::fs::create_dir_all(at(tree)).expect("make");
        }
        std::fs::write(at("d.raw.v/d_3.raw"), "").expect("write");
        let refused = |error: Result<(), Error>| match error {
            Err(Error::Versions { path, newest }) => (path, newest),
            other => panic!("{other:?}"),
        };
        let directory = |name: &str| super::directory(&at(name)).map(|_| ());
        assert_eq!(refused(directory("t.v")), (at("t.v"), Some(at("t.v/t_10"))));
        assert_eq!(refused(directory("t.v/")).1, Some(at("t.v/t_10")));
        assert_eq!(refused(directory("t.v/t___")).1, Some(at("t.v/t_10")));
        assert_eq!(refused(image(&at("d.raw.v"))).1, Some(at("d.raw.v/d_3.raw")));
        assert_eq!(refused(image(&at("d.raw.v/d___.raw"))).1, Some(at("d.raw.v/d_3.raw")));
        let text = image(&at("d.raw.v")).expect_err("versions").to_string();
        assert!(text.ends_with(&format!("such as -i {}", at("d.raw.v/d_3.raw").display())), "{text}");
        // What is a tree whatever its name is, and what is to become one.
        assert!(directory("own.v").is_ok());
        assert!(matches!(directory("empty.v"), Err(Error::Tree(tree::Error::Empty(_)))));
        assert!(matches!(directory("none.v"), Err(Error::Tree(tree::Error::Missing(_)))));
        assert!(image(&at("d.raw.v/d_3.raw")).is_ok() && image(&at("t.v/t_1")).is_ok());
    }
}
