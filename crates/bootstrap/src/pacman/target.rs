//! The directory that packages come to: what has to be there before the first one.

use std::io;
use std::path::{Path, PathBuf};

use crate::tree::{self, Tree};

/// The directories that pacstrap(8) makes, with their modes.
const DIRECTORIES: [(&str, u32); 9] = [
    ("var/cache/pacman/pkg", 0o755),
    ("var/lib/pacman", 0o755),
    ("var/log", 0o755),
    ("dev", 0o755),
    ("run", 0o755),
    ("etc/pacman.d", 0o755),
    ("tmp", 0o1777),
    ("sys", 0o555),
    ("proc", 0o555),
];

/// Why a directory cannot be installed to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not there, or no directory.
    #[error("cannot use '{path}' as root directory")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something in it cannot be made.
    #[error(transparent)]
    Tree(#[from] tree::Error),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open { path, source } if source.kind() == io::ErrorKind::NotFound => {
                Some(format!("make it first: mkdir {}", path.display()))
            }
            Self::Open { .. } => Some("name a directory".to_owned()),
            Self::Tree(error) => error.is_full().then(|| "make room on that file system".to_owned()),
        }
    }
}

/// A directory that packages are installed to.
#[derive(Debug)]
pub struct Target {
    tree: Tree,
    path: PathBuf,
}

impl Target {
    /// Makes the directories that are missing. What is there keeps its mode.
    ///
    /// The tree may be hostile: no link in it leads out of it.
    ///
    /// # Errors
    /// Where it is no directory or cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        // The directory itself may be named through a link, what is in it not.
        let resolved = path.canonicalize().map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let tree = Tree::open(&resolved).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        for (directory, mode) in DIRECTORIES {
            tree.make_directory(directory, mode)?;
        }
        Ok(Self { tree, path: resolved })
    }

    /// The tree.
    #[must_use]
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Where it is, without links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn directories_are_made_as_pacstrap_makes_them() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("tmp")).unwrap();
        fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o700)).unwrap();
        let target = Target::open(root.path()).unwrap();
        assert!(target.tree().exists("var/lib/pacman"));
        assert_eq!(mode(&root.path().join("proc")), 0o555);
        assert_eq!(mode(&root.path().join("var/cache/pacman/pkg")), 0o755);
        assert_eq!(mode(&root.path().join("tmp")), 0o700, "what is there stays");
        // As a killed run leaves it.
        fs::set_permissions(root.path().join("tmp"), fs::Permissions::from_mode(0o1700)).unwrap();
        Target::open(root.path()).unwrap();
        assert_eq!(mode(&root.path().join("tmp")), 0o1777);
    }

    #[test]
    fn no_link_leads_out_and_only_directories_are_targets() {
        let root = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), root.path().join("var")).unwrap();
        assert!(Target::open(root.path()).is_err());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
        let missing = Target::open(&root.path().join("missing")).unwrap_err();
        assert!(missing.hint().unwrap().starts_with("make it first"));
    }
}
