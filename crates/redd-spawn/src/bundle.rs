//! The `config.json` of an OCI bundle, as it lies on the host.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use spec::SpecPatch;
use spec::oci::{BUNDLE_LIMIT, BundleError};

/// Why a bundle cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Its configuration cannot be read.
    #[error("cannot read the OCI bundle's {path}", path = .path.display())]
    Read {
        /// Where it should be.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No configuration is that large.
    #[error("{path} has more than {BUNDLE_LIMIT} bytes", path = .0.display())]
    Large(PathBuf),
    /// What it says.
    #[error("the OCI bundle {directory} is not run", directory = .directory.display())]
    Bundle {
        /// The bundle.
        directory: PathBuf,
        /// Why.
        source: BundleError,
    },
}

/// Reads the configuration of the bundle in `directory`.
pub(crate) fn read(directory: &Path) -> Result<SpecPatch, Error> {
    let path = directory.join("config.json");
    let failed = |source| Error::Read { path: path.clone(), source };
    let mut json = Vec::new();
    File::open(&path).and_then(|file| file.take(BUNDLE_LIMIT + 1).read_to_end(&mut json)).map_err(failed)?;
    if json.len() as u64 > BUNDLE_LIMIT {
        return Err(Error::Large(path));
    }
    spec::oci::read(&json, directory).map_err(|source| Error::Bundle { directory: directory.to_owned(), source })
}
