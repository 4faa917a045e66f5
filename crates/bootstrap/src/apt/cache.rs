//! The directory in which fetched files are kept for later runs.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::package::Sha256;

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is neither `XDG_CACHE_HOME` nor `HOME`.
    #[error("no place for the cache is known: neither XDG_CACHE_HOME nor HOME is set")]
    NoPlace,
    /// A file or directory of the cache cannot be used.
    #[error("cannot {action} '{path}' in the cache")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// A directory of files by their SHA-256. Any number of runs may share it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache in `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// Where it can be neither found nor made.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        for path in [directory.to_owned(), directory.join("by-hash"), directory.join("partial")] {
            fs::create_dir_all(&path).map_err(|source| Error::Io { action: "make", path, source })?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// Where the cache is by default: `/var/cache/redd` for root, `$XDG_CACHE_HOME/redd` or `~/.cache/redd` for others.
    ///
    /// # Errors
    /// Where a user has neither variable.
    pub fn default_directory() -> Result<PathBuf, Error> {
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/cache/redd"));
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|path| path.join("redd"))
            .ok_or(Error::NoPlace)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a file of that hash is or will be. It is not said that it is there.
    pub fn path(&self, hash: &Sha256) -> PathBuf {
        self.directory.join("by-hash").join(hash.to_string())
    }
}
