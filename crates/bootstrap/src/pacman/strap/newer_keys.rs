//! Keys of the distribution that are newer than those one has.

use std::io::BufReader;

use super::super::archive::reopened;
use super::super::config::Repository;
use super::super::database::SyncDatabase;
use super::super::decoder::decoder;
use super::super::fetch::{self, CacheError, Fetched, Fetcher, PackageCache};
use super::super::keyring::Keyring;
use super::Error;
use crate::tar_reader::TarReader;

/// The package that brings the newest keys of Arch Linux.
const PACKAGE: &str = "archlinux-keyring";

/// These keys with those of the distribution's package of keys, which these have to have signed.
pub(super) fn find(
    keyring: &Keyring,
    databases: &[SyncDatabase],
    fetcher: &Fetcher<'_>,
    repositories: &[Repository],
    caches: &[PackageCache],
) -> Result<Option<Keyring>, Error> {
    let found = databases.iter().find_map(|database| database.find(PACKAGE));
    let Some(candidate) = found else { return Ok(None) };
    let fetched = match fetcher.packages(&[(candidate, &repositories[candidate.repository])], caches) {
        Ok(fetched) => fetched,
        // The other packages may do all the same; if not, that is told then.
        Err(fetch::Error::Verify(error)) => {
            fetcher.progress.notice(&format!("newer keys are not taken: {error}: {}", error.source));
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    let mut newer = keyring.clone();
    for one in fetched.iter().filter(|one| !one.signers.is_empty()) {
        populate(&mut newer, one, &caches[one.cache])?;
    }
    Ok(Some(newer))
}

/// Adds the keys of a package that has been verified.
fn populate(keyring: &mut Keyring, package: &Fetched, cache: &PackageCache) -> Result<(), Error> {
    let opened = |source| CacheError { action: "open", path: cache.path().join(&package.name), source };
    let content = reopened(&package.file).and_then(|file| decoder(BufReader::new(file))).map_err(opened)?;
    keyring.populate_from(&package.name, &mut TarReader::new(content))?;
    Ok(())
}
