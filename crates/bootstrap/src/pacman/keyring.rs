//! Whose signatures count: pacman's keyring, and how far each key in it is trusted.
//!
//! Trust is GnuPG's classic web, as pacman-key(8) spins it: the keyring has a key of its own that is trusted ultimately
//! and has signed the distribution's master keys, which are trusted marginally; a packager's key is valid when three of
//! those (or one that is trusted fully) have certified it.

mod owner_trust;
mod web;

use std::collections::{BTreeMap, BTreeSet};

use crate::trust::{self, Certificates};

pub use owner_trust::{NoOwnerTrust, OwnerTrust};
pub use web::{Signer, Validity, Web};

/// The distribution's own certificates, stripped to what is needed here.
const ARCH: &[u8] = include_bytes!("../../keyrings/archlinux.pgp");
/// Its master keys and how far they are trusted.
const ARCH_TRUSTED: &str = include_str!("../../keyrings/archlinux-trusted");
/// The keys that it takes no more.
const ARCH_REVOKED: &str = include_str!("../../keyrings/archlinux-revoked");

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The certificates cannot be read.
    #[error("the keyring {place} cannot be used")]
    Certificates {
        /// Which keyring.
        place: String,
        /// What is wrong.
        source: trust::Error,
    },
    /// The list of trusted or revoked keys cannot be read.
    #[error("the keyring {place} cannot be used")]
    OwnerTrust {
        /// Which keyring.
        place: String,
        /// What is wrong.
        source: NoOwnerTrust,
    },
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificates { .. } => Some("give a file of OpenPGP certificates, plain or armoured"),
            Self::OwnerTrust { .. } => {
                Some("the list beside the keyring has lines as gpg --export-ownertrust writes them: correct it")
            }
        }
    }
}

/// How much the web asks for before a key is valid: GnuPG's defaults, which pacman-key(8) leaves as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Needed {
    /// So many keys that are trusted fully have to have certified it.
    pub(crate) completes: u32,
    /// Or so many that are trusted marginally.
    pub(crate) marginals: u32,
    /// So many keys may lie between it and one that is trusted ultimately.
    pub(crate) depth: u32,
}

impl Default for Needed {
    fn default() -> Self {
        Self { completes: 1, marginals: 3, depth: 5 }
    }
}

/// Certificates, and what their owners are trusted with. Keys are known by their fingerprints in upper-case hexadecimal.
#[derive(Debug, Clone, Default)]
pub struct Keyring {
    certificates: Certificates,
    /// With what the owners of keys are trusted; those that are not here with nothing.
    owners: BTreeMap<String, OwnerTrust>,
    /// Keys that are valid without anybody's certificate, as if the keyring's own key had signed them.
    anchors: BTreeSet<String>,
    /// Keys that are not to be used.
    disabled: BTreeSet<String>,
    needed: Needed,
}

impl Keyring {
    /// The keys of Arch Linux as they were when this program was made.
    ///
    /// # Errors
    /// Never for a program that has passed its tests.
    pub fn embedded() -> Result<Self, Error> {
        let mut keyring = Self::default();
        keyring.populate("that is built in", ARCH, ARCH_TRUSTED, ARCH_REVOKED)?;
        Ok(keyring)
    }

    /// Keys that are all trusted, as those of a keyring that somebody gives.
    ///
    /// # Errors
    /// What are no certificates; `place` says where they come from.
    pub fn of_trusted(place: &str, certificates: &[u8]) -> Result<Self, Error> {
        let mut keyring = Self::default();
        keyring.import(place, certificates)?;
        keyring.anchors = keyring.certificates.fingerprints().into_iter().collect();
        Ok(keyring)
    }

    /// Adds the keys of a distribution, given as in `/usr/share/pacman/keyrings`: certificates, `NAME-trusted`,
    /// `NAME-revoked`. Those that are trusted become valid, those that are revoked are disabled, as by
    /// `pacman-key --populate`.
    ///
    /// # Errors
    /// What cannot be read; `place` says where it comes from.
    pub fn populate(&mut self, place: &str, certificates: &[u8], trusted: &str, revoked: &str) -> Result<(), Error> {
        let unreadable = |source| Error::OwnerTrust { place: place.to_owned(), source };
        let (trusted, revoked) = (owner_trust::trusted(trusted), owner_trust::revoked(revoked));
        let (trusted, revoked) = (trusted.map_err(unreadable)?, revoked.map_err(unreadable)?);
        self.import(place, certificates)?;
        for (key, trust) in trusted {
            self.anchors.insert(key.clone());
            self.owners.insert(key, trust);
        }
        self.disabled.extend(revoked);
        Ok(())
    }

    fn import(&mut self, place: &str, certificates: &[u8]) -> Result<(), Error> {
        let unreadable = |source| Error::Certificates { place: place.to_owned(), source };
        self.certificates.add(Certificates::parse(certificates).map_err(unreadable)?.into_all());
        Ok(())
    }

    /// The certificates.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }
}

#[cfg(test)]
mod tests;
