//! What a certificate must be like for its keys to sign.

use pgp::composed::{SignedPublicKey, SignedPublicSubKey};
use pgp::packet::{KeyFlags, Signature, SignatureType, SubpacketData};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyVersion, PublicParams, Tag, VerifyingKey};

use super::{Content, Refusal, name, sound};

/// RSA keys with fewer bits are refused.
const FEWEST_RSA_BITS: u16 = 2048;

/// A certificate at a point in time.
pub(crate) struct Certificate<'a> {
    certificate: &'a SignedPublicKey,
    now: u64,
}

impl<'a> Certificate<'a> {
    pub(crate) fn new(certificate: &'a SignedPublicKey, now: u64) -> Self {
        Self { certificate, now }
    }

    /// Judges a signature over `signed` whose own form has been found good: `None` where none of the certificate's keys
    /// is said to have made it, else the key that did or why it is refused.
    pub(super) fn judge(&self, signature: &Signature, signed: &Content<'_>) -> Option<Result<String, Refusal>> {
        let primary = &self.certificate.primary_key;
        if is_issuer(signature, primary) {
            return Some(self.by_primary(signature, signed));
        }
        let subkey = self.certificate.public_subkeys.iter().find(|subkey| is_issuer(signature, &subkey.key))?;
        Some(self.by_subkey(subkey, signature, signed))
    }

    fn by_primary(&self, signature: &Signature, signed: &Content<'_>) -> Result<String, Refusal> {
        let primary = &self.certificate.primary_key;
        fits(signature, primary, signed)?;
        let own = self.primary()?;
        // Keys without flags, from before there were any, are for everything.
        if flags(own).is_some_and(|flags| !flags.sign()) {
            return Err(Refusal::NotForSigning(name(primary)));
        }
        Ok(name(primary))
    }

    fn by_subkey(
        &self,
        subkey: &SignedPublicSubKey,
        signature: &Signature,
        signed: &Content<'_>,
    ) -> Result<String, Refusal> {
        fits(signature, &subkey.key, signed)?;
        self.primary()?;
        self.subkey(subkey)?;
        Ok(name(&subkey.key))
    }

    /// Judges the primary key; gives its newest signature on itself.
    pub(crate) fn primary(&self) -> Result<&'a Signature, Refusal> {
        let key = &self.certificate.primary_key;
        is_strong(key)?;
        if self.is_revoked() {
            return Err(Refusal::KeyRevoked(name(key)));
        }
        let own = self.newest_self_signature()?;
        if self.has_expired(key, own) {
            return Err(Refusal::KeyExpired(name(key)));
        }
        Ok(own)
    }

    /// Revocations count however weak or old they are. One by another key counts if this key has named it for that; it
    /// is not verified, as that key need not be at hand.
    fn is_revoked(&self) -> bool {
        let key = &self.certificate.primary_key;
        let details = &self.certificate.details;
        let own = details.direct_signatures.iter().chain(details.users.iter().flat_map(|user| &user.signatures));
        let revokers: Vec<_> = own.filter_map(Signature::revocation_key).collect();
        details.revocation_signatures.iter().any(|signature| {
            signature.verify_key(key).is_ok()
                || revokers.iter().any(|revoker| {
                    let made_it = |fingerprint: &[u8]| fingerprint == revoker.fingerprint.as_slice();
                    signature.issuer_fingerprint().iter().any(|fingerprint| made_it(fingerprint.as_bytes()))
                        || signature
                            .issuer_key_id()
                            .iter()
                            .any(|id| revoker.fingerprint.len() >= 8 && revoker.fingerprint.ends_with(id.as_ref()))
                })
        })
    }

    /// The newest signature by which the key certifies itself: on the key, or on a user id that is not revoked.
    fn newest_self_signature(&self) -> Result<&'a Signature, Refusal> {
        let key = &self.certificate.primary_key;
        let mut newest: Option<(u64, &Signature)> = None;
        let mut refusal = Refusal::NoSelfSignature(name(key));
        let mut take = |signature: &'a Signature| match sound(signature, self.now) {
            Ok(made) if newest.is_none_or(|(than, _)| made > than) => newest = Some((made, signature)),
            Ok(_) => {}
            Err(e) => refusal = e,
        };
        for signature in &self.certificate.details.direct_signatures {
            if signature.typ() == Some(SignatureType::Key) && signature.verify_key(key).is_ok() {
                take(signature);
            }
        }
        let mut revoked = false;
        for user in &self.certificate.details.users {
            let own = |signature: &&Signature| signature.verify_certification(key, Tag::UserId, &user.id).is_ok();
            if user.signatures.iter().filter(own).any(|s| s.typ() == Some(SignatureType::CertRevocation)) {
                revoked = true;
                continue;
            }
            user.signatures.iter().filter(own).for_each(&mut take);
        }
        match newest {
            Some((_, signature)) => Ok(signature),
            None if revoked => Err(Refusal::KeyRevoked(name(key))),
            None => Err(refusal),
        }
    }

    fn subkey(&self, subkey: &SignedPublicSubKey) -> Result<(), Refusal> {
        let (primary, key) = (&self.certificate.primary_key, &subkey.key);
        is_strong(key)?;
        let of_kind = |kind| subkey.signatures.iter().filter(move |signature| signature.typ() == Some(kind));
        if of_kind(SignatureType::SubkeyRevocation).any(|s| s.verify_subkey_binding(primary, key).is_ok()) {
            return Err(Refusal::KeyRevoked(name(key)));
        }
        let mut refusal = Refusal::Unbound(name(key), "the primary key has not signed it");
        let mut newest: Option<(u64, &Signature)> = None;
        for signature in of_kind(SignatureType::SubkeyBinding) {
            if signature.verify_subkey_binding(primary, key).is_err() {
                continue;
            }
            match sound(signature, self.now) {
                Ok(made) if newest.is_none_or(|(than, _)| made > than) => newest = Some((made, signature)),
                Ok(_) => {}
                Err(e) => refusal = e,
            }
        }
        let Some((_, binding)) = newest else { return Err(refusal) };
        if !flags(binding).is_some_and(|flags| flags.sign()) {
            return Err(Refusal::NotForSigning(name(key)));
        }
        if self.has_expired(key, binding) {
            return Err(Refusal::KeyExpired(name(key)));
        }
        let back = binding.embedded_signature().ok_or(Refusal::Unbound(name(key), "it has not signed back"))?;
        back.verify_primary_key_binding(key, primary)
            .map_err(|_| Refusal::Unbound(name(key), "its signature back is false"))?;
        sound(back, self.now).map(|_| ())
    }

    fn has_expired(&self, key: &impl KeyDetails, binding: &Signature) -> bool {
        let made = u64::from(key.created_at().as_secs());
        binding
            .key_expiration_time()
            .map(|lasts| u64::from(lasts.as_secs()))
            .is_some_and(|lasts| lasts != 0 && made + lasts <= self.now)
    }
}

/// Whether a signature says that this key made it. One that names nobody is nobody's, as for GnuPG.
pub(crate) fn is_issuer(signature: &Signature, key: &impl KeyDetails) -> bool {
    signature.issuer_fingerprint().iter().any(|fingerprint| **fingerprint == key.fingerprint())
        || signature.issuer_key_id().iter().any(|id| **id == key.legacy_key_id())
}

fn fits(signature: &Signature, key: &impl VerifyingKey, signed: &Content<'_>) -> Result<(), Refusal> {
    signature.verify(key, signed()).map_err(|_| Refusal::Bad(name(key)))?;
    if signature.created().is_some_and(|made| made < key.created_at()) {
        return Err(Refusal::OlderThanKey);
    }
    Ok(())
}

fn is_strong(key: &impl KeyDetails) -> Result<(), Refusal> {
    let weak = |reason| Err(Refusal::WeakKey(name(key), reason));
    if !matches!(key.version(), KeyVersion::V4 | KeyVersion::V6) {
        return weak("its version is not 4 or 6");
    }
    match key.public_params() {
        PublicParams::RSA(params) => {
            // A multi-precision integer begins with its length in bits (RFC 9580, 3.2); the modulus comes first.
            let mut modulus = Vec::new();
            let bits = match params.to_writer(&mut modulus) {
                Ok(()) => modulus.first_chunk().map_or(0, |length| u16::from_be_bytes(*length)),
                Err(_) => 0,
            };
            if bits < FEWEST_RSA_BITS { weak("RSA with fewer than 2048 bits") } else { Ok(()) }
        }
        PublicParams::EdDSALegacy(_) | PublicParams::Ed25519(_) | PublicParams::Ed448(_) | PublicParams::ECDSA(_) => {
            Ok(())
        }
        PublicParams::DSA(_) => weak("DSA"),
        _ => weak("its algorithm is not for signing, or not known"),
    }
}

/// What a key is said to be for; `None` where nothing is said.
fn flags(signature: &Signature) -> Option<&KeyFlags> {
    signature.config()?.hashed_subpackets().find_map(|subpacket| match &subpacket.data {
        SubpacketData::KeyFlags(flags) => Some(flags),
        _ => None,
    })
}
