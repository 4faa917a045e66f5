//! The web of trust at a point in time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use pgp::composed::SignedPublicKey;
use pgp::packet::{Signature, SignatureType};
use pgp::types::{KeyDetails, SignedUser, Tag};

use super::{Keyring, OwnerTrust};
use crate::trust::{self, Certificate, Content, Refusal, is_issuer, name, seconds, signatures, sound};

/// How sure it is that a key belongs to whom it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Validity {
    /// Nobody who counts says so.
    Unknown,
    /// Some say so, but too few.
    Marginal,
    /// Enough say so.
    Full,
}

/// Who made a signature that is good as such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// The fingerprint of the certificate's primary key.
    pub key: String,
    /// The first user id.
    pub user: String,
    /// Whether the certificate is to be used no more.
    pub disabled: bool,
    /// How sure it is that the key is that user's.
    pub validity: Validity,
}

/// A key whose certificates count.
struct Introducer<'a> {
    certificate: &'a SignedPublicKey,
    trust: OwnerTrust,
}

/// The web of trust of a keyring at a point in time.
pub struct Web<'a> {
    keyring: &'a Keyring,
    now: u64,
    introducers: Vec<Introducer<'a>>,
    /// The validity of certificates, by their places, as far as somebody has asked.
    known: Mutex<BTreeMap<usize, Validity>>,
}

impl std::fmt::Debug for Web<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Web({} introducers at {})", self.introducers.len(), self.now)
    }
}

impl<'a> Web<'a> {
    /// Spins the web.
    #[must_use]
    pub fn new(keyring: &'a Keyring, now: SystemTime) -> Self {
        let mut web = Self { keyring, now: seconds(now), introducers: Vec::new(), known: Mutex::default() };
        let mut waiting: Vec<Introducer<'a>> = Vec::new();
        for certificate in keyring.certificates.all() {
            match web.owner(certificate) {
                trust @ OwnerTrust::Ultimate if web.is_usable(certificate) => {
                    web.introducers.push(Introducer { certificate, trust });
                }
                trust @ (OwnerTrust::Marginal | OwnerTrust::Full) if web.is_usable(certificate) => {
                    waiting.push(Introducer { certificate, trust });
                }
                _ => {}
            }
        }
        // A key that is found valid in one round introduces others from the next one on; what the last round finds
        // introduces nobody.
        for _ in 1..keyring.needed.depth {
            let (found, rest): (Vec<_>, Vec<_>) =
                waiting.into_iter().partition(|candidate| web.weigh(candidate.certificate) == Validity::Full);
            waiting = rest;
            if found.is_empty() {
                break;
            }
            web.introducers.extend(found);
        }
        web
    }

    /// Verifies a detached signature, armoured or not. Where a file holds several, every one has to be good and all who
    /// made them are given.
    ///
    /// # Errors
    /// A signature that is not good, whoever made it.
    pub fn verify(&self, signature: &[u8], content: &Content<'_>) -> Result<Vec<Signer>, trust::Error> {
        let signatures = signatures::read(signature)?;
        if signatures.is_empty() {
            return Err(trust::Error::Refused(Vec::new()));
        }
        signatures
            .iter()
            .map(|signature| self.judge(signature, content))
            .collect::<Result<_, _>>()
            .map_err(|refusal| trust::Error::Refused(vec![refusal]))
    }

    fn judge(&self, signature: &Signature, content: &Content<'_>) -> Result<Signer, Refusal> {
        let certificates = &self.keyring.certificates;
        let (place, _) = certificates.judge(signature, SignatureType::Binary, content, self.now)?;
        Ok(self.signer(place))
    }

    /// The owner of the certificate at that place of the keyring.
    pub(super) fn signer(&self, place: usize) -> Signer {
        let certificate = &self.keyring.certificates.all()[place];
        let user = certificate.details.users.first().map(|user| shown(user.id.id()));
        let key = name(&certificate.primary_key);
        Signer {
            disabled: self.keyring.disabled.contains(&key),
            user: user.unwrap_or_default(),
            validity: self.validity(place),
            key,
        }
    }

    fn validity(&self, place: usize) -> Validity {
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(validity) = known().get(&place) {
            return *validity;
        }
        let certificate = &self.keyring.certificates.all()[place];
        let validity = if self.is_usable(certificate) { self.weigh(certificate) } else { Validity::Unknown };
        known().insert(place, validity);
        validity
    }

    fn owner(&self, certificate: &SignedPublicKey) -> OwnerTrust {
        let trust = self.keyring.owners.get(&name(&certificate.primary_key));
        trust.copied().unwrap_or(OwnerTrust::Undefined)
    }

    /// Whether a certificate may count at all: it has not expired and is neither revoked nor disabled.
    fn is_usable(&self, certificate: &SignedPublicKey) -> bool {
        !self.keyring.disabled.contains(&name(&certificate.primary_key))
            && Certificate::new(certificate, self.now).primary().is_ok()
    }

    /// The validity of a certificate that may count: that of its best user id.
    fn weigh(&self, certificate: &SignedPublicKey) -> Validity {
        let anchored = self.keyring.anchors.contains(&name(&certificate.primary_key));
        if anchored || self.owner(certificate) == OwnerTrust::Ultimate {
            return Validity::Full;
        }
        let users = certificate.details.users.iter();
        users.map(|user| self.weigh_user(certificate, user)).max().unwrap_or(Validity::Unknown)
    }

    fn weigh_user(&self, certificate: &SignedPublicKey, user: &SignedUser) -> Validity {
        if !self.stands_by(certificate, certificate, user) {
            return Validity::Unknown;
        }
        let (mut completes, mut marginals) = (0, 0);
        for introducer in &self.introducers {
            if !self.stands_by(introducer.certificate, certificate, user) {
                continue;
            }
            match introducer.trust {
                OwnerTrust::Ultimate => return Validity::Full,
                OwnerTrust::Full => completes += 1,
                _ => marginals += 1,
            }
        }
        let needed = &self.keyring.needed;
        if completes >= needed.completes || marginals >= needed.marginals {
            Validity::Full
        } else if completes + marginals > 0 {
            Validity::Marginal
        } else {
            Validity::Unknown
        }
    }

    /// Whether a key says today that another one (or itself) is that user's: what it has said last counts. To take it
    /// back, any signature is good enough, one with a weak hash too. What it said last of another one may have ended:
    /// nothing counts then, as in GnuPG; of itself, what it said before.
    fn stands_by(&self, signer: &SignedPublicKey, certificate: &SignedPublicKey, user: &SignedUser) -> bool {
        let (signer, key) = (&signer.primary_key, &certificate.primary_key);
        let own = signer.fingerprint() == key.fingerprint();
        let mut last: Option<(u32, bool)> = None;
        for signature in user.signatures.iter().filter(|signature| is_issuer(signature, signer)) {
            let revokes = match signature.typ() {
                Some(SignatureType::CertRevocation) => true,
                // A certificate that says "without verification" (CertPersona) does not count.
                Some(SignatureType::CertGeneric | SignatureType::CertCasual | SignatureType::CertPositive) => false,
                _ => continue,
            };
            let over = match sound(signature, self.now) {
                _ if revokes => true,
                Ok(_) => false,
                Err(Refusal::Expired) if !own => true,
                Err(_) => continue,
            };
            let made = signature.created().map_or(0, |made| made.as_secs());
            if last.is_some_and(|last| (made, over) <= last) {
                continue;
            }
            if signature.verify_third_party_certification(key, signer, Tag::UserId, &user.id).is_ok() {
                last = Some((made, over));
            }
        }
        last.is_some_and(|(_, over)| !over)
    }
}

/// A user id as it may be shown.
fn shown(id: &[u8]) -> String {
    crate::tar_reader::lossy(id).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
