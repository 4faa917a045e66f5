//! Whose signatures count: pacman's keyring, and how far each key in it is trusted.
//!
//! Trust is GnuPG's classic web, as pacman-key(8) spins it: the keyring has a key of its own that is trusted ultimately
//! and has signed the distribution's master keys, which are trusted marginally; a packager's key is valid when three of
//! those (or one that is trusted fully) have certified it.

mod copy;
mod host;
mod initialise;
pub mod keybox;
mod master_key;
mod new_directory;
mod owner_trust;
mod package;
pub mod trust_database;
mod web;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;

use crate::tar_reader;
use crate::trust::{self, Certificates};

pub use copy::copy;
pub use initialise::initialise;

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
    /// There is no keyring.
    #[error("there is no keyring at '{}'", .0.display())]
    Missing(PathBuf),
    /// The keyring is in a database of GnuPG's that only its own daemon reads.
    #[error("the keyring in '{}' is kept by GnuPG's keybox daemon", .0.display())]
    KeyboxDaemon(PathBuf),
    /// A file cannot be read.
    #[error("cannot read '{}'", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A keybox cannot be read.
    #[error("cannot use '{}'", path.display())]
    Keybox {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: keybox::Error,
    },
    /// A trust database cannot be read.
    #[error("cannot use '{}'", path.display())]
    TrustDatabase {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: trust_database::Error,
    },
    /// A package of a keyring cannot be read.
    #[error("the keyring of {place} cannot be read")]
    Package {
        /// Which package.
        place: String,
        /// What is wrong.
        source: tar_reader::Error,
    },
    /// A new keyring's key cannot be made.
    #[error("cannot make the key of a new keyring: {0}")]
    Key(String),
    /// A keyring cannot be written to a tree.
    #[error(transparent)]
    Tree(#[from] crate::tree::Error),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some(
                "check its path, or make it with pacman-key --init and pacman-key --populate. Where no keyring is named, by \
                 --keyring or GPGDir, and there is no /etc/pacman.d/gnupg, the one that is built in is used",
            ),
            Self::KeyboxDaemon(_) => Some("export it with gpg --export, and give that file with --keyring"),
            Self::Io { .. } => Some("check the mode of the keyring's directory and files"),
            Self::Keybox { .. } | Self::TrustDatabase { .. } => Some(
                "the keyring on this host is damaged: make it anew with pacman-key --init and pacman-key --populate",
            ),
            Self::Package { .. } => {
                Some("the package is broken: remove it from the cache, so that it is fetched again")
            }
            Self::Key(_) => None,
            Self::Tree(e) if e.is_full() => Some("make room there"),
            Self::Tree(_) => Some("something in the tree is in the way: look at it, and remove it"),
            Self::Certificates { source: source @ trust::Error::TooManyPackets, .. } => source.hint(),
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
