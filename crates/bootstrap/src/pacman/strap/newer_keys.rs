//! Keys of the distribution that are newer than those one has.

use std::io::{self, BufReader};

use super::super::archive::reopened;
use super::super::config::Repository;
use super::super::database::SyncDatabase;
use super::super::decoder::decoder;
use super::super::fetch::{self, Fetched, Fetcher, PackageCache};
use super::super::keyring::{self, Keyring, Signer, Validity};
use super::super::package::Candidate;
use super::Error;
use crate::tar_reader::TarReader;

/// The package that brings the newest keys of Arch Linux.
const PACKAGE: &str = "archlinux-keyring";

/// Where it can be had, and where it is kept.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    pub(super) databases: &'a [SyncDatabase],
    pub(super) repositories: &'a [Repository],
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) caches: &'a [PackageCache],
}

impl Sources<'_> {
    /// These keys with those of the distribution's package of keys, which these have to have signed. The first repository
    /// counts that has a package of which that is true. Where it cannot be had, nothing is lost yet: the other packages may
    /// do all the same; if not, that is told then.
    ///
    /// # Errors
    /// Where it cannot be kept on this machine, or it was asked to stop.
    pub(super) fn newer(&self, keyring: &Keyring) -> Result<Option<Keyring>, Error> {
        for candidate in self.databases.iter().filter_map(|database| database.find(PACKAGE)) {
            match self.take(candidate, keyring) {
                Ok(newer) => return Ok(Some(newer)),
                Err(Error::Fetch(error)) if error.is_local() => return Err(error.into()),
                Err(error) => {
                    let place = &self.repositories[candidate.repository].name;
                    let text = format!("newer keys of '{place}' are not taken: {}", fetch::chain(&error));
                    self.fetcher.progress.notice(&text);
                }
            }
        }
        Ok(None)
    }

    fn take(&self, candidate: &Candidate, keyring: &Keyring) -> Result<Keyring, Error> {
        let repository = &self.repositories[candidate.repository];
        let mut newer = keyring.clone();
        for package in self.fetcher.packages(&[(candidate, repository)], self.caches)? {
            // Whatever is enough for packages of that repository.
            let certain = |signer: &Signer| signer.validity == Validity::Full && !signer.disabled;
            if package.signers.is_empty() || !package.signers.iter().all(certain) {
                return Err(Error::Keys(package.name));
            }
            populate(&mut newer, &package)?;
        }
        Ok(newer)
    }
}

/// Adds the keys of a package that has been verified.
fn populate(keyring: &mut Keyring, package: &Fetched) -> Result<(), Error> {
    let failed = |source: io::Error| keyring::Error::Package { place: package.name.clone(), source: source.into() };
    let content = reopened(&package.file).and_then(|file| decoder(BufReader::new(file))).map_err(failed)?;
    keyring.populate_from(&package.name, &mut TarReader::new(content))?;
    Ok(())
}

#[cfg(test)]
mod tests;
