//! Whose OpenPGP signatures are accepted (RFC 9580). rPGP does the mathematics; this is the policy: what a signature, a
//! key and what binds a key to its certificate must be like today.
//!
//! Refused are: keys that are not in the keyring, have expired, are revoked or weak (RSA below 2048 bits, DSA, version
//! 3); keys that the certificate's own key has not certified, and subkeys that it has not bound for signing or that do
//! not sign back; MD5, SHA-1 and RIPEMD-160 (and all else below 256 bits) anywhere on the way; signatures that have
//! expired, are from the future, say not whose they are, or have critical parts that are not understood.

mod certificate;
mod cleartext;
mod merge;
pub(crate) mod signatures;

use std::io::{BufRead, BufReader, Read};
use std::time::{SystemTime, UNIX_EPOCH};

use pgp::armor::Dearmor;
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Packet, PacketParser, Signature, SignatureType, SignatureVersion, SubpacketData};

pub(crate) use certificate::{Certificate, is_issuer};

/// By how much a clock may be slow, in seconds: what was made later than that is from the future.
const CLOCK_TOLERANCE: u64 = 3600;
/// A keyring has at most so many packets: many times what those of the distributions have.
const MOST_PACKETS: usize = 100_000;
/// A signature says at most so often whose it is: a fingerprint and a key id, each also where it is not signed. What is
/// signed is read for every key that is named.
const MOST_ISSUERS: usize = 4;

/// Why a signature is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nobody in the keyring made it.
    #[error("key {0} is not in the keyring")]
    UnknownKey(String),
    /// The key's time is over.
    #[error("key {0} has expired")]
    KeyExpired(String),
    /// The key, its certificate or its user id is revoked.
    #[error("key {0} is revoked")]
    KeyRevoked(String),
    /// The key can be broken.
    #[error("key {0} is too weak: {1}")]
    WeakKey(String, &'static str),
    /// The primary key has not certified itself.
    #[error("key {0} has no valid signature on itself")]
    NoSelfSignature(String),
    /// The primary key has not bound the subkey, or the subkey has not signed back.
    #[error("subkey {0} is not bound to its certificate: {1}")]
    Unbound(String, &'static str),
    /// The key is for something else.
    #[error("key {0} is not meant for signing")]
    NotForSigning(String),
    /// The signature's hash can be broken.
    #[error("it uses the weak hash {0}")]
    WeakHash(String),
    /// The signature's time is over.
    #[error("it has expired")]
    Expired,
    /// The signature will be made later.
    #[error("it is from the future")]
    FromTheFuture,
    /// The signature was made before its key.
    #[error("it is older than its key")]
    OlderThanKey,
    /// The signature is not one over this text by this key.
    #[error("it does not fit the text and key {0}")]
    Bad(String),
    /// Something that is not understood.
    #[error("it is of a kind that is not supported: {0}")]
    Unsupported(&'static str),
}

/// Why a signed text is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not exactly one signed text.
    #[error("not a clear-signed text: {0}")]
    Framing(&'static str),
    /// The signature cannot be read.
    #[error("the signature cannot be read: {0}")]
    Unreadable(String),
    /// No signature is good.
    #[error("no signature is accepted: {}", list(.0))]
    Refused(Vec<Refusal>),
    /// The keyring cannot be used.
    #[error("the keyring cannot be used: {0}")]
    Keyring(String),
    /// The keyring is longer than any is. A part of it would lack keys, and what revokes others.
    #[error("the keyring has more than {} packets in it", MOST_PACKETS)]
    TooManyPackets,
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Framing(_) | Self::Unreadable(_) => {
                Some("the mirror, or a network login page before it, sends something else: check the mirror's address")
            }
            Self::Refused(refusals) if refusals.iter().any(|r| matches!(r, Refusal::FromTheFuture)) => {
                Some("check this machine's clock")
            }
            Self::Refused(refusals) if refusals.iter().any(|r| matches!(r, Refusal::Bad(_))) => {
                Some("the mirror is out of step or tampered with: try later, or another one with --mirror")
            }
            Self::Refused(_) => Some("if the archive is the right one, give its current keyring with --keyring"),
            Self::Keyring(_) => Some("--keyring takes a file of OpenPGP certificates, plain or armoured"),
            Self::TooManyPackets => {
                Some("give a keyring of only the keys that are needed: gpg --export KEY… writes one")
            }
        }
    }
}

fn list(refusals: &[Refusal]) -> String {
    if refusals.is_empty() {
        return "there is none".to_owned();
    }
    refusals.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Certificates whose signatures are accepted.
#[derive(Debug, Clone, Default)]
pub struct Certificates {
    certificates: Vec<SignedPublicKey>,
}

/// What is signed: read from its start as often as it takes. A reader that fails makes a signature not fit.
pub(crate) type Content<'a> = dyn Fn() -> Box<dyn Read + 'a> + 'a;

/// A signature that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The fingerprint of the key that made it, in hexadecimal.
    pub key: String,
    /// When it was made.
    pub made: SystemTime,
}

impl Certificates {
    /// Reads certificates: OpenPGP packets, or any number of armoured blocks of them. A certificate that cannot be read
    /// is passed over as long as another one can.
    ///
    /// # Errors
    /// Where there is none that can be read, or far more than any keyring has.
    pub fn parse(keyring: &[u8]) -> Result<Self, Error> {
        let mut certificates = Vec::new();
        let mut failure = "there is no certificate in it".to_owned();
        let mut count = 0;
        let mut take = |packets: &mut dyn BufRead| {
            for certificate in SignedPublicKey::from_packets(packets_of(packets, &mut count).peekable()) {
                match certificate {
                    Ok(certificate) => certificates.push(certificate),
                    Err(e) => failure = e.to_string(),
                }
            }
        };
        if keyring.first().is_some_and(|first| first & 0x80 != 0) {
            take(&mut &*keyring);
        } else {
            const BEGIN: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
            let starts: Vec<usize> = memchr::memmem::find_iter(keyring, BEGIN).collect();
            for (nr, start) in starts.iter().enumerate() {
                let end = starts.get(nr + 1).copied().unwrap_or(keyring.len());
                take(&mut BufReader::new(Dearmor::new(&keyring[*start..end])));
            }
        }
        if count > MOST_PACKETS {
            return Err(Error::TooManyPackets);
        }
        if certificates.is_empty() {
            return Err(Error::Keyring(failure));
        }
        let mut all = Self::default();
        all.add(certificates);
        Ok(all)
    }

    /// Adds certificates. What is new of one that is there already (a revocation, a longer life) is added to it.
    pub(crate) fn add(&mut self, certificates: Vec<SignedPublicKey>) {
        merge::add(&mut self.certificates, certificates);
    }

    /// The certificates.
    pub(crate) fn all(&self) -> &[SignedPublicKey] {
        &self.certificates
    }

    /// The certificates.
    pub(crate) fn into_all(self) -> Vec<SignedPublicKey> {
        self.certificates
    }

    /// The fingerprints of the certificates' primary keys, in hexadecimal.
    pub fn fingerprints(&self) -> Vec<String> {
        self.certificates.iter().map(|certificate| name(&certificate.primary_key)).collect()
    }

    /// Verifies a clear-signed message (RFC 9580, 7) and gives back the text that is signed. Nothing may stand before or
    /// after the message; lines of the text end with a line feed and have no space at their end.
    ///
    /// # Errors
    /// A message in another form, or one without a signature that is accepted at the time `now`.
    pub fn verify_cleartext(&self, message: &[u8], now: SystemTime) -> Result<(String, Accepted), Error> {
        let (text, signatures) = cleartext::split(message)?;
        let signed = text.strip_suffix('\n').unwrap_or(&text).replace('\n', "\r\n");
        let mut refusals = Vec::new();
        for signature in signatures::read_armoured(signatures)? {
            match self.judge(&signature, SignatureType::Text, &|| Box::new(signed.as_bytes()), seconds(now)) {
                Ok((_, accepted)) => return Ok((text, accepted)),
                Err(refusal) => refusals.push(refusal),
            }
        }
        Err(Error::Refused(refusals))
    }

    /// Judges a signature of that kind over some content: gives the place of the certificate whose key made it.
    pub(crate) fn judge(
        &self,
        signature: &Signature,
        kind: SignatureType,
        signed: &Content<'_>,
        now: u64,
    ) -> Result<(usize, Accepted), Refusal> {
        if signature.typ() != Some(kind) {
            return Err(Refusal::Unsupported(match kind {
                SignatureType::Text => "it is not a signature over a text",
                _ => "it is not a signature over a file",
            }));
        }
        let made = sound(signature, now)?;
        let issuer = issuer(signature)?;
        let mut refusal = None;
        for (place, certificate) in self.certificates.iter().enumerate() {
            let certificate = Certificate::new(certificate, now);
            if let Some(result) = certificate.judge(signature, signed) {
                match result {
                    Ok(key) => {
                        let made = UNIX_EPOCH + std::time::Duration::from_secs(made);
                        return Ok((place, Accepted { key, made }));
                    }
                    Err(e) => refusal = Some(e),
                }
            }
        }
        Err(refusal.unwrap_or(Refusal::UnknownKey(issuer)))
    }
}

/// The packets of certificates: without those that only mean something to the program that wrote them (GnuPG puts its
/// trust packets between a key and its user ids), and without those of a kind or version that is not known. All are
/// counted, and none come where there have been too many.
fn packets_of(reader: &mut dyn BufRead, count: &mut usize) -> impl Iterator<Item = pgp::errors::Result<Packet>> {
    let counted = PacketParser::new(reader).take_while(|_| {
        *count += 1;
        *count <= MOST_PACKETS
    });
    counted.filter(|packet| match packet {
        Ok(Packet::Trust(_) | Packet::Marker(_) | Packet::Padding(_)) => false,
        Err(pgp::errors::Error::Unsupported { .. }) => false,
        Err(pgp::errors::Error::InvalidPacketContent { source }) => {
            !matches!(**source, pgp::errors::Error::Unsupported { .. })
        }
        _ => true,
    })
}

pub(crate) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How a key is called: its fingerprint.
pub(crate) fn name(key: &impl pgp::types::KeyDetails) -> String {
    format!("{:X}", key.fingerprint())
}

/// Who is said to have made a signature. One that names nobody or many would have to be tried with as many keys.
fn issuer(signature: &Signature) -> Result<String, Refusal> {
    let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
    if fingerprints.len() + ids.len() > MOST_ISSUERS {
        return Err(Refusal::Unsupported("it names too many keys"));
    }
    let fingerprint = fingerprints.first().map(|fingerprint| format!("{fingerprint:X}"));
    fingerprint
        .or_else(|| ids.first().map(|id| id.to_string().to_uppercase()))
        .ok_or(Refusal::Unsupported("it does not say which key made it"))
}

/// Whether a hash is one that still holds.
fn is_strong(hash: HashAlgorithm) -> bool {
    use HashAlgorithm::{Sha3_256, Sha3_512, Sha256, Sha384, Sha512};
    matches!(hash, Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512)
}

/// What every signature must be like, whoever made it and whatever it is over: gives when it was made, in seconds since
/// the epoch.
pub(crate) fn sound(signature: &Signature, now: u64) -> Result<u64, Refusal> {
    let config = match (signature.version(), signature.config()) {
        (SignatureVersion::V4 | SignatureVersion::V6, Some(config)) => config,
        _ => return Err(Refusal::Unsupported("its version")),
    };
    if !is_strong(config.hash_alg) {
        return Err(Refusal::WeakHash(config.hash_alg.to_string()));
    }
    let unknown = |data: &SubpacketData| {
        matches!(data, SubpacketData::Other(..) | SubpacketData::Experimental(..) | SubpacketData::Notation(_))
    };
    if config.hashed_subpackets().any(|subpacket| subpacket.is_critical && unknown(&subpacket.data)) {
        return Err(Refusal::Unsupported("it has a critical part that is not known"));
    }
    let made = signature.created().ok_or(Refusal::Unsupported("it has no time"))?;
    let made = u64::from(made.as_secs());
    if made > now + CLOCK_TOLERANCE {
        return Err(Refusal::FromTheFuture);
    }
    match signature.signature_expiration_time() {
        Some(lasts) if lasts.as_secs() != 0 && made + u64::from(lasts.as_secs()) <= now => Err(Refusal::Expired),
        _ => Ok(made),
    }
}

#[cfg(test)]
pub(crate) mod tests;
