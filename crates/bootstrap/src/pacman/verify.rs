//! Whether a file may be used: what `SigLevel` asks for, against its signature.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

use super::keyring::{Signer, Validity, Web};
use super::sig_level::{Check, Demand, Trust};
use crate::trust::{self, Refusal};

/// The longest file of signatures that is read, in bytes: as pacman.
pub const LONGEST_SIGNATURE: u64 = 16 * 1024;

/// A file that may not be used.
#[derive(Debug, thiserror::Error)]
#[error("'{file}' is not accepted")]
pub struct Error {
    /// What it is called.
    pub file: String,
    /// Why not.
    pub source: Fault,
}

/// Why a file may not be used.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// There is no signature, and there has to be one.
    #[error("it is not signed")]
    Unsigned,
    /// The signature is not good, whoever made it.
    #[error(transparent)]
    Signature(trust::Error),
    /// The signature is good, but nobody knows by whom.
    #[error("it is signed with key {} of '{}', which {}", .0.key, .0.user, doubt(.0.validity))]
    Untrusted(Signer),
    /// The signature is good, but its key is not used any more.
    #[error("it is signed with key {} of '{}', which is disabled in the keyring", .0.key, .0.user)]
    Disabled(Signer),
    /// The file cannot be read.
    #[error("it cannot be read")]
    Io(#[source] io::Error),
}

fn doubt(validity: Validity) -> &'static str {
    match validity {
        Validity::Marginal => "too few of the trusted keys have certified (it is of marginal trust)",
        _ => "none of the trusted keys has certified (it is of unknown trust)",
    }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        const NEWER: &str = "a newer keyring may know better: install the distribution's newest keyring package on this \
                             host, or give its keyring with --keyring";
        Some(match &self.source {
            Fault::Unsigned => {
                "sign it, or say in the repository's section of pacman.conf that it need not be: SigLevel = Optional"
            }
            Fault::Signature(trust::Error::Refused(refusals)) => match refusals.first() {
                Some(Refusal::FromTheFuture) => "check this machine's clock",
                Some(
                    Refusal::UnknownKey(_)
                    | Refusal::KeyExpired(_)
                    | Refusal::NoSelfSignature(_)
                    | Refusal::Unbound(..)
                    | Refusal::NotForSigning(_),
                ) => NEWER,
                Some(Refusal::KeyRevoked(_) | Refusal::Expired) => {
                    "the mirror is far behind, or somebody misuses the key: use another mirror"
                }
                Some(Refusal::Bad(_) | Refusal::OlderThanKey) => {
                    "the mirror is out of step or tampered with: try later, or use another one"
                }
                _ => "whoever made the package has to sign it with a key and a hash of today",
            },
            Fault::Signature(_) => "the mirror is broken or tampered with: use another one",
            Fault::Untrusted(_) => NEWER,
            Fault::Disabled(_) => "the distribution has taken the key out of use: use a mirror that is up to date",
            Fault::Io(_) => return None,
        })
    }
}

/// Looks at a file's signature as it is asked for. Gives who signed it; nobody where signatures are not looked at, or
/// where there is none and need not be.
///
/// # Errors
/// A file that may not be used; it is called `name`.
pub fn check(
    web: &Web<'_>,
    demand: Demand,
    name: &str,
    signature: Option<&[u8]>,
    content: Signed<'_>,
) -> Result<Vec<Signer>, Error> {
    let refused = |source| Error { file: name.to_owned(), source };
    let signature = match (demand.check, signature) {
        (Check::Never, _) | (Check::Optional, None) => return Ok(Vec::new()),
        (Check::Required, None) => return Err(refused(Fault::Unsigned)),
        (_, Some(signature)) => signature,
    };
    let signers = content.verify(web, signature).map_err(refused)?;
    for signer in &signers {
        if signer.disabled {
            return Err(refused(Fault::Disabled(signer.clone())));
        }
        if demand.trust == Trust::TrustedOnly && signer.validity < Validity::Full {
            return Err(refused(Fault::Untrusted(signer.clone())));
        }
    }
    Ok(signers)
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub enum Signed<'a> {
    /// Some bytes.
    Bytes(&'a [u8]),
    /// A file, all of it.
    File(&'a File),
}

impl Signed<'_> {
    fn verify(self, web: &Web<'_>, signature: &[u8]) -> Result<Vec<Signer>, Fault> {
        let failure = Mutex::new(None);
        let result = web.verify(signature, &|| match self {
            Self::Bytes(bytes) => Box::new(bytes),
            Self::File(file) => Box::new(FromStart { file, position: 0, failure: &failure }),
        });
        // A file that cannot be read is not one with a bad signature.
        match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(Fault::Io(error)),
            None => result.map_err(Fault::Signature),
        }
    }
}

/// Reads a file from its start, wherever somebody else has left its position.
struct FromStart<'a> {
    file: &'a File,
    position: u64,
    failure: &'a Mutex<Option<io::Error>>,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read_at(buffer, self.position) {
            Ok(count) => {
                self.position += count as u64;
                Ok(count)
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Err(e),
            Err(e) => {
                let copy = e.raw_os_error().map_or_else(|| io::Error::from(e.kind()), io::Error::from_raw_os_error);
                *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(copy);
                Err(e)
            }
        }
    }
}
