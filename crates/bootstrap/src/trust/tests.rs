use std::sync::LazyLock;
use std::time::Duration;

use pgp::composed::{KeyType, SignedKeyDetails, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::packet::{
    KeyFlags, PubKeyInner, PublicKey, PublicSubkey, RevocationCode, SecretKey, SecretSubkey, SignatureConfig,
    Subpacket, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{
    KeyDetails, KeyVersion, Password, PublicParams, RevocationKey, RevocationKeyClass, SecretParams, SignedUser,
    SigningKey, Tag, Timestamp,
};
use proptest::prelude::*;

use super::*;

/// The tests' today: 2026-01-01.
pub(crate) const NOW: u64 = 1_767_225_600;
pub(crate) const DAY: u64 = 24 * 3600;

pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

pub(crate) fn flags(sign: bool) -> SubpacketData {
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(sign);
    SubpacketData::KeyFlags(flags)
}

pub(crate) fn lasts(seconds: u64) -> pgp::types::Duration {
    pgp::types::Duration::from_secs(seconds as u32)
}

/// How a signature is made.
#[derive(Clone)]
pub(crate) struct Recipe {
    made: u64,
    hash: HashAlgorithm,
    parts: Vec<Subpacket>,
}

impl Recipe {
    pub(crate) fn at(made: u64) -> Self {
        Self { made, hash: HashAlgorithm::Sha256, parts: Vec::new() }
    }

    pub(crate) fn hash(mut self, hash: HashAlgorithm) -> Self {
        self.hash = hash;
        self
    }

    pub(crate) fn with(mut self, part: SubpacketData) -> Self {
        self.parts.push(Subpacket::regular(part).unwrap());
        self
    }

    pub(crate) fn critical(mut self, part: SubpacketData) -> Self {
        self.parts.push(Subpacket::critical(part).unwrap());
        self
    }

    pub(crate) fn configuration(&self, kind: SignatureType, key: &impl SigningKey) -> SignatureConfig {
        let mut config = SignatureConfig::v4(kind, key.algorithm(), self.hash);
        let time = SubpacketData::SignatureCreationTime(Timestamp::from_secs(self.made as u32));
        config.hashed_subpackets = vec![
            Subpacket::regular(time).unwrap(),
            Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint())).unwrap(),
        ];
        config.hashed_subpackets.extend(self.parts.iter().cloned());
        // GnuPG does without the fingerprint, but not without this.
        config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id())).unwrap()];
        config
    }
}

/// A certificate with its secret keys, put together by hand so that each part can be wrong.
#[derive(Clone)]
pub(crate) struct Signer {
    pub(crate) primary: SecretKey,
    pub(crate) subkey: Option<SecretSubkey>,
    pub(crate) certificate: SignedPublicKey,
}

fn key_pair(kind: &KeyType, made: u64) -> (PubKeyInner, SecretParams) {
    // RSA keys take long to make; that two tests have the same one does no harm.
    static RSA: LazyLock<(PublicParams, SecretParams)> =
        LazyLock::new(|| KeyType::Rsa(2048).generate(rand::thread_rng()).unwrap());
    let (public, secret) = match kind {
        KeyType::Rsa(2048) => RSA.clone(),
        kind => kind.generate(rand::thread_rng()).unwrap(),
    };
    let made = Timestamp::from_secs(made as u32);
    (PubKeyInner::new(KeyVersion::V4, kind.to_alg(), made, None, public).unwrap(), secret)
}

impl Signer {
    /// A certificate that is fine, a year old.
    pub(crate) fn new() -> Self {
        Self::of(&KeyType::Ed25519Legacy)
    }

    pub(crate) fn of(kind: &KeyType) -> Self {
        Self::with(kind, &Recipe::at(NOW - 365 * DAY).with(flags(true)))
    }

    /// With that signature of the primary key on itself.
    pub(crate) fn with(kind: &KeyType, own: &Recipe) -> Self {
        let (public, secret) = key_pair(kind, NOW - 365 * DAY);
        let primary = SecretKey::new(PublicKey::from_inner(public).unwrap(), secret).unwrap();
        let id = UserId::from_str(Default::default(), "Archive <archive@example.org>").unwrap();
        let mut signer = Self {
            certificate: SignedPublicKey {
                primary_key: primary.public_key().clone(),
                details: SignedKeyDetails::new(vec![], vec![], vec![], vec![]),
                public_subkeys: vec![],
            },
            primary,
            subkey: None,
        };
        signer.certificate.details.users.push(SignedUser { id, signatures: vec![] });
        let signature = signer.certify(SignatureType::CertPositive, own);
        signer.certificate.details.users[0].signatures.push(signature);
        signer
    }

    pub(crate) fn certify(&self, kind: SignatureType, recipe: &Recipe) -> Signature {
        let id = &self.certificate.details.users[0].id;
        let public = self.primary.public_key();
        let config = recipe.configuration(kind, &self.primary);
        config.sign_certification(&self.primary, public, &Password::empty(), Tag::UserId, id).unwrap()
    }

    pub(crate) fn on_key(&self, kind: SignatureType, recipe: &Recipe) -> Signature {
        let config = recipe.configuration(kind, &self.primary);
        config.sign_key(&self.primary, &Password::empty(), self.primary.public_key()).unwrap()
    }

    /// Adds a subkey, bound by `binding`; `back` is what it signs back with.
    pub(crate) fn with_subkey(mut self, kind: &KeyType, binding: &Recipe, back: Option<&Recipe>) -> Self {
        let (public, secret) = key_pair(kind, NOW - 300 * DAY);
        let subkey = SecretSubkey::new(PublicSubkey::from_inner(public).unwrap(), secret).unwrap();
        let mut binding = binding.clone();
        if let Some(back) = back {
            let config = back.configuration(SignatureType::KeyBinding, &subkey);
            let (public, primary) = (subkey.public_key(), self.primary.public_key());
            let back = config.sign_primary_key_binding(&subkey, &public, &Password::empty(), primary).unwrap();
            binding = binding.with(SubpacketData::EmbeddedSignature(Box::new(back)));
        }
        let signature = self.on_subkey(&subkey, SignatureType::SubkeyBinding, &binding);
        let key = subkey.public_key().clone();
        self.certificate.public_subkeys.push(SignedPublicSubKey { key, signatures: vec![signature] });
        self.subkey = Some(subkey);
        self
    }

    /// With a subkey that is fine.
    pub(crate) fn with_good_subkey() -> Self {
        let recipe = Recipe::at(NOW - 300 * DAY);
        Self::new().with_subkey(&KeyType::Ed25519Legacy, &recipe.clone().with(flags(true)), Some(&recipe))
    }

    fn on_subkey(&self, subkey: &SecretSubkey, kind: SignatureType, recipe: &Recipe) -> Signature {
        let config = recipe.configuration(kind, &self.primary);
        let public = self.primary.public_key();
        config.sign_subkey_binding(&self.primary, public, &Password::empty(), &subkey.public_key()).unwrap()
    }

    /// The certificate as a keyring.
    pub(crate) fn keyring(&self) -> Vec<u8> {
        self.certificate.to_bytes().unwrap()
    }

    fn certificates(&self) -> Certificates {
        Certificates::parse(&self.keyring()).unwrap()
    }

    /// Signs a text as the archives do.
    pub(crate) fn sign(&self, text: &str) -> String {
        self.sign_at(text, now() - Duration::from_secs(DAY))
    }

    /// Signs a text at a given time.
    pub(crate) fn sign_at(&self, text: &str, made: SystemTime) -> String {
        self.sign_by(text, &Recipe::at(seconds(made)))
    }

    fn sign_by(&self, text: &str, recipe: &Recipe) -> String {
        match &self.subkey {
            Some(subkey) => frame(text, &[sign(text, recipe, SignatureType::Text, subkey)]),
            None => frame(text, &[sign(text, recipe, SignatureType::Text, &self.primary)]),
        }
    }
}

/// Signs a text as RFC 9580, 7.2, says: without the last line's end and the space before every line's end.
fn sign(text: &str, recipe: &Recipe, kind: SignatureType, key: &impl SigningKey) -> Signature {
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    recipe.configuration(kind, key).sign(key, &Password::empty(), lines.join("\r\n").as_bytes()).unwrap()
}

/// Packets that are to be armoured.
struct Packets(Vec<u8>);

impl Serialize for Packets {
    fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> pgp::errors::Result<()> {
        Ok(writer.write_all(&self.0)?)
    }

    fn write_len(&self) -> usize {
        self.0.len()
    }
}

/// A clear-signed message.
fn frame(text: &str, signatures: &[Signature]) -> String {
    let mut packets = Vec::new();
    for signature in signatures {
        pgp::packet::PacketTrait::to_writer_with_header(signature, &mut packets).unwrap();
    }
    let mut armour = Vec::new();
    pgp::armor::write(&Packets(packets), pgp::armor::BlockType::Signature, &mut armour, None, true).unwrap();
    let escaped: String = text
        .lines()
        .map(|line| format!("{}{line}\n", if line.starts_with('-') || line.starts_with("From ") { "- " } else { "" }))
        .collect();
    let armour = String::from_utf8(armour).unwrap();
    format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{escaped}{armour}")
}

const TEXT: &str = "Origin: Test\n- dash\nFrom here \n\nend\n";
/// What of it is signed.
const SIGNED: &str = "Origin: Test\n- dash\nFrom here\n\nend\n";

fn refusal(signer: &Signer, message: &str) -> Refusal {
    match signer.certificates().verify_cleartext(message.as_bytes(), now()) {
        Err(Error::Refused(mut refusals)) if refusals.len() == 1 => refusals.remove(0),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn accepted(signer: &Signer, message: &str) -> String {
    let (text, accepted) = signer.certificates().verify_cleartext(message.as_bytes(), now()).unwrap();
    assert_eq!(text.trim_end(), SIGNED.trim_end());
    accepted.key
}

#[test]
fn good_signatures() {
    for kind in [KeyType::Ed25519Legacy, KeyType::Ed25519, KeyType::ECDSA(ECCCurve::P256)] {
        let signer = Signer::of(&kind);
        assert_eq!(accepted(&signer, &signer.sign(TEXT)), name(signer.primary.public_key()));
    }
    let signer = Signer::with_good_subkey();
    assert_eq!(accepted(&signer, &signer.sign(TEXT)), name(&signer.certificate.public_subkeys[0].key));
    let message = signer.sign(TEXT).replace('\n', "\r\n");
    accepted(&signer, &message);
    // Space at a line's end is not signed.
    accepted(&signer, &signer.sign(TEXT).replace("From here ", "From here\t \t"));
}

#[test]
fn armoured_keyrings() {
    let (first, second) = (Signer::new(), Signer::new());
    let armour = |signer: &Signer| signer.certificate.to_armored_string(Default::default()).unwrap();
    let keyring = format!("a comment\n{}\n{}", armour(&first), armour(&second));
    let certificates = Certificates::parse(keyring.as_bytes()).unwrap();
    assert_eq!(certificates.fingerprints().len(), 2);
    for signer in [first, second] {
        certificates.verify_cleartext(signer.sign(TEXT).as_bytes(), now()).unwrap();
    }
    for bad in [&b""[..], b"KBXf", b"\x99\x00", b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nxxxx\n"] {
        assert!(matches!(Certificates::parse(bad), Err(Error::Keyring(_))));
    }
}

#[test]
fn one_good_signature_of_several_is_enough() {
    let (known, unknown) = (Signer::new(), Signer::new());
    let sign = |signer: &Signer| sign(TEXT, &Recipe::at(NOW - DAY), SignatureType::Text, &signer.primary);
    accepted(&known, &frame(TEXT, &[sign(&unknown), sign(&known)]));
    let result = known.certificates().verify_cleartext(frame(TEXT, &[]).as_bytes(), now());
    assert!(matches!(result, Err(Error::Refused(refusals)) if refusals.is_empty()));
}

#[test]
fn changed_text() {
    let signer = Signer::new();
    let message = signer.sign(TEXT).replace("Origin: Test", "Origin: Fest");
    assert!(matches!(refusal(&signer, &message), Refusal::Bad(_)));
}

#[test]
fn unknown_key() {
    let refused = refusal(&Signer::new(), &Signer::new().sign(TEXT));
    assert!(matches!(refused, Refusal::UnknownKey(_)), "{refused}");
}

#[test]
fn signatures_of_another_time() {
    let signer = Signer::new();
    let message = signer.sign_by(TEXT, &Recipe::at(NOW + 2 * DAY));
    assert_eq!(refusal(&signer, &message), Refusal::FromTheFuture);
    let message =
        signer.sign_by(TEXT, &Recipe::at(NOW - 2 * DAY).with(SubpacketData::SignatureExpirationTime(lasts(DAY))));
    assert_eq!(refusal(&signer, &message), Refusal::Expired);
    let message =
        signer.sign_by(TEXT, &Recipe::at(NOW - DAY).with(SubpacketData::SignatureExpirationTime(lasts(2 * DAY))));
    accepted(&signer, &message);
    let message = signer.sign_by(TEXT, &Recipe::at(NOW - 400 * DAY));
    assert_eq!(refusal(&signer, &message), Refusal::OlderThanKey);
}

#[test]
fn weak_hashes() {
    let signer = Signer::of(&KeyType::Rsa(2048));
    for hash in [HashAlgorithm::Sha1, HashAlgorithm::Sha224] {
        let message = signer.sign_by(TEXT, &Recipe::at(NOW - DAY).hash(hash));
        assert_eq!(refusal(&signer, &message), Refusal::WeakHash(hash.to_string()));
    }
    for hash in [HashAlgorithm::Md5, HashAlgorithm::Ripemd160, HashAlgorithm::None, HashAlgorithm::Other(99)] {
        assert!(!is_strong(hash));
    }
    for hash in [HashAlgorithm::Sha384, HashAlgorithm::Sha512] {
        accepted(&signer, &signer.sign_by(TEXT, &Recipe::at(NOW - DAY).hash(hash)));
    }
    // The key's signature on itself counts as well.
    let own = Recipe::at(NOW - 365 * DAY).with(flags(true)).hash(HashAlgorithm::Sha1);
    let signer = Signer::with(&KeyType::Rsa(2048), &own);
    assert_eq!(refusal(&signer, &signer.sign(TEXT)), Refusal::WeakHash("SHA1".into()));
    // And the subkey's binding, and its signature back.
    let (strong, weak) = (Recipe::at(NOW - 300 * DAY), Recipe::at(NOW - 300 * DAY).hash(HashAlgorithm::Sha1));
    let kind = KeyType::Rsa(2048);
    for (binding, back) in [(&weak, &strong), (&strong, &weak)] {
        let signer = Signer::of(&kind).with_subkey(&kind, &binding.clone().with(flags(true)), Some(back));
        assert_eq!(refusal(&signer, &signer.sign(TEXT)), Refusal::WeakHash("SHA1".into()));
    }
}

#[test]
fn weak_keys() {
    let signer = Signer::of(&KeyType::Rsa(1024));
    let refused = refusal(&signer, &signer.sign(TEXT));
    assert!(matches!(refused, Refusal::WeakKey(_, "RSA with fewer than 2048 bits")), "{refused}");
    let recipe = Recipe::at(NOW - 300 * DAY);
    let signer = Signer::new().with_subkey(&KeyType::Rsa(1024), &recipe.clone().with(flags(true)), Some(&recipe));
    let refused = refusal(&signer, &signer.sign(TEXT));
    assert!(matches!(refused, Refusal::WeakKey(_, "RSA with fewer than 2048 bits")), "{refused}");
    let signer = Signer::of(&KeyType::Dsa(pgp::composed::DsaKeySize::B1024));
    let refused = refusal(&signer, &signer.sign(TEXT));
    assert!(matches!(refused, Refusal::WeakKey(_, "DSA")), "{refused}");
}

#[test]
fn strong_rsa() {
    let signer = Signer::of(&KeyType::Rsa(2048));
    accepted(&signer, &signer.sign(TEXT));
}

#[test]
fn expired_keys() {
    let own = |lifetime| {
        Recipe::at(NOW - 365 * DAY).with(flags(true)).with(SubpacketData::KeyExpirationTime(lasts(lifetime)))
    };
    let signer = Signer::with(&KeyType::Ed25519Legacy, &own(360 * DAY));
    assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::KeyExpired(_)));
    for lifetime in [370 * DAY, 0] {
        let signer = Signer::with(&KeyType::Ed25519Legacy, &own(lifetime));
        accepted(&signer, &signer.sign(TEXT));
    }

    // The newest signature on the key decides, in both directions.
    let mut signer = Signer::with(&KeyType::Ed25519Legacy, &own(360 * DAY));
    let longer = Recipe::at(NOW - 30 * DAY).with(flags(true)).with(SubpacketData::KeyExpirationTime(lasts(700 * DAY)));
    let renewed = signer.certify(SignatureType::CertPositive, &longer);
    signer.certificate.details.users[0].signatures.insert(0, renewed);
    accepted(&signer, &signer.sign(TEXT));
    let shorter = Recipe::at(NOW - 20 * DAY).with(SubpacketData::KeyExpirationTime(lasts(360 * DAY)));
    let shortened = signer.on_key(SignatureType::Key, &shorter);
    signer.certificate.details.direct_signatures.push(shortened);
    assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::KeyExpired(_)));

    let back = Recipe::at(NOW - 300 * DAY);
    let binding = back.clone().with(flags(true)).with(SubpacketData::KeyExpirationTime(lasts(299 * DAY)));
    let signer = Signer::new().with_subkey(&KeyType::Ed25519Legacy, &binding, Some(&back));
    let refused = refusal(&signer, &signer.sign(TEXT));
    assert_eq!(refused, Refusal::KeyExpired(name(&signer.certificate.public_subkeys[0].key)));
    // A subkey does not outlive its primary key.
    let good = Recipe::at(NOW - 300 * DAY);
    let signer = Signer::with(&KeyType::Ed25519Legacy, &own(360 * DAY));
    let signer = signer.with_subkey(&KeyType::Ed25519Legacy, &good.clone().with(flags(true)), Some(&good));
    assert_eq!(refusal(&signer, &signer.sign(TEXT)), Refusal::KeyExpired(name(signer.primary.public_key())));
}

#[test]
fn revoked_keys() {
    let revocation =
        Recipe::at(NOW - 10 * DAY).with(SubpacketData::RevocationReason(RevocationCode::KeyRetired, Vec::new().into()));
    for hash in [HashAlgorithm::Sha256, HashAlgorithm::Sha1] {
        let mut signer = Signer::of(&KeyType::Rsa(2048));
        let signature = signer.on_key(SignatureType::KeyRevocation, &revocation.clone().hash(hash));
        signer.certificate.details.revocation_signatures.push(signature);
        assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::KeyRevoked(_)));
    }
    // Someone else's revocation means nothing…
    let (mut signer, other) = (Signer::new(), Signer::new());
    let foreign = other.on_key(SignatureType::KeyRevocation, &revocation);
    signer.certificate.details.revocation_signatures.push(foreign.clone());
    accepted(&signer, &signer.sign(TEXT));
    // …unless the key has named them for it.
    let fingerprint = other.primary.fingerprint();
    let revoker = RevocationKey::new(RevocationKeyClass::Default, other.primary.algorithm(), fingerprint.as_bytes());
    let names =
        signer.on_key(SignatureType::Key, &Recipe::at(NOW - 300 * DAY).with(SubpacketData::RevocationKey(revoker)));
    signer.certificate.details.direct_signatures.push(names);
    assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::KeyRevoked(_)));

    let mut signer = Signer::new();
    let signature = signer.certify(SignatureType::CertRevocation, &revocation);
    signer.certificate.details.users[0].signatures.push(signature);
    assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::KeyRevoked(_)));

    let mut signer = Signer::with_good_subkey();
    let signature = signer.on_subkey(signer.subkey.as_ref().unwrap(), SignatureType::SubkeyRevocation, &revocation);
    signer.certificate.public_subkeys[0].signatures.push(signature);
    let refused = refusal(&signer, &signer.sign(TEXT));
    assert_eq!(refused, Refusal::KeyRevoked(name(&signer.certificate.public_subkeys[0].key)));
}

#[test]
fn keys_that_have_not_certified_themselves() {
    let mut signer = Signer::new();
    let foreign = Signer::new().certify(SignatureType::CertPositive, &Recipe::at(NOW - 300 * DAY).with(flags(true)));
    signer.certificate.details.users[0].signatures = vec![foreign];
    assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::NoSelfSignature(_)));
    signer.certificate.details.users.clear();
    assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::NoSelfSignature(_)));
    // A signature on the key itself will do.
    let direct = signer.on_key(SignatureType::Key, &Recipe::at(NOW - 300 * DAY).with(flags(true)));
    signer.certificate.details.direct_signatures.push(direct);
    accepted(&signer, &signer.sign(TEXT));
    // One from the future, or one that has expired, will not.
    let signer = Signer::with(&KeyType::Ed25519Legacy, &Recipe::at(NOW + 9 * DAY).with(flags(true)));
    assert_eq!(refusal(&signer, &signer.sign(TEXT)), Refusal::FromTheFuture);
    let own = Recipe::at(NOW - 300 * DAY).with(flags(true)).with(SubpacketData::SignatureExpirationTime(lasts(DAY)));
    let signer = Signer::with(&KeyType::Ed25519Legacy, &own);
    assert_eq!(refusal(&signer, &signer.sign(TEXT)), Refusal::Expired);
}

#[test]
fn keys_that_are_not_for_signing() {
    let signer = Signer::with(&KeyType::Ed25519Legacy, &Recipe::at(NOW - 300 * DAY).with(flags(false)));
    assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::NotForSigning(_)));
    let recipe = Recipe::at(NOW - 300 * DAY);
    for binding in [recipe.clone(), recipe.clone().with(flags(false))] {
        let signer = Signer::new().with_subkey(&KeyType::Ed25519Legacy, &binding, Some(&recipe));
        assert!(matches!(refusal(&signer, &signer.sign(TEXT)), Refusal::NotForSigning(_)));
    }
    // Without flags a primary key is for everything.
    let signer = Signer::with(&KeyType::Ed25519Legacy, &recipe);
    accepted(&signer, &signer.sign(TEXT));
}

#[test]
fn unbound_subkeys() {
    let recipe = Recipe::at(NOW - 300 * DAY);
    let signer = Signer::new().with_subkey(&KeyType::Ed25519Legacy, &recipe.clone().with(flags(true)), None);
    let refused = refusal(&signer, &signer.sign(TEXT));
    assert!(matches!(refused, Refusal::Unbound(_, "it has not signed back")), "{refused}");

    // A subkey of another certificate, put into this one with its binding: only its owner has signed it.
    let (mut signer, thief) = (Signer::new(), Signer::with_good_subkey());
    signer.certificate.public_subkeys = thief.certificate.public_subkeys.clone();
    let refused = refusal(&signer, &thief.sign(TEXT));
    assert!(matches!(refused, Refusal::Unbound(_, "the primary key has not signed it")), "{refused}");

    // Another's signing key claimed as one's own subkey: it has signed back, but to its owner.
    let victim = Signer::with_good_subkey();
    let embedded = victim.certificate.public_subkeys[0].signatures[0].embedded_signature().unwrap().clone();
    let binding = recipe.with(flags(true)).with(SubpacketData::EmbeddedSignature(Box::new(embedded)));
    let mut claimer = Signer::new();
    let signature = claimer.on_subkey(victim.subkey.as_ref().unwrap(), SignatureType::SubkeyBinding, &binding);
    let key = victim.certificate.public_subkeys[0].key.clone();
    claimer.certificate.public_subkeys.push(SignedPublicSubKey { key, signatures: vec![signature] });
    let refused = refusal(&claimer, &victim.sign(TEXT));
    assert!(matches!(refused, Refusal::Unbound(_, "its signature back is false")), "{refused}");
}

#[test]
fn critical_parts_that_are_not_known() {
    let signer = Signer::new();
    let part = SubpacketData::Experimental(105, vec![1].into());
    let message = signer.sign_by(TEXT, &Recipe::at(NOW - DAY).critical(part.clone()));
    assert!(matches!(refusal(&signer, &message), Refusal::Unsupported(_)));
    accepted(&signer, &signer.sign_by(TEXT, &Recipe::at(NOW - DAY).with(part)));
}

#[test]
fn other_kinds_of_signatures() {
    let signer = Signer::new();
    let message = frame(TEXT, &[sign(TEXT, &Recipe::at(NOW - DAY), SignatureType::Binary, &signer.primary)]);
    assert!(matches!(refusal(&signer, &message), Refusal::Unsupported(_)));
}

#[test]
fn framing() {
    let signer = Signer::new();
    let good = signer.sign(TEXT);
    accepted(&signer, &good);
    accepted(&signer, &format!("{good}\n\n"));
    let cases = [
        ("before", format!("Origin: Evil\n{good}")),
        ("an empty line before", format!("\n{good}")),
        ("behind", format!("{good}Origin: Evil\n")),
        ("twice", format!("{good}{good}")),
        ("no signature", TEXT.to_owned()),
        ("empty", String::new()),
        ("cut in the text", good[..good.find("end").unwrap()].to_owned()),
        ("cut in the signature", good[..good.len() - 40].to_owned()),
        ("a header", good.replacen("\n\n", "\nComment: x\n\n", 1)),
        ("text among the headers", good.replacen("\n\n", "\nOrigin: Evil\n\n", 1)),
        ("a dash that is not escaped", good.replace("- - dash", "- dash").replace("- dash", "-dash")),
        ("a lone carriage return", good.replace("Origin: Test\n", "Origin: Test\r")),
        ("a null byte", good.replace("Test", "Te\0st")),
    ];
    for (what, message) in cases {
        assert_ne!(message, good, "{what}");
        let result = signer.certificates().verify_cleartext(message.as_bytes(), now());
        assert!(matches!(result, Err(Error::Framing(_))), "{what}: {result:?}");
    }
    let mut bytes = good.clone().into_bytes();
    bytes[60] = 0xff;
    assert!(matches!(signer.certificates().verify_cleartext(&bytes, now()), Err(Error::Framing(_))));
    let certificate = signer.certificate.to_armored_string(Default::default()).unwrap();
    let start = good.find("-----BEGIN PGP SIGNATURE").unwrap();
    let message = format!("{}{}", &good[..start], certificate.replace("PUBLIC KEY BLOCK", "SIGNATURE"));
    assert!(matches!(signer.certificates().verify_cleartext(message.as_bytes(), now()), Err(Error::Unreadable(_))));
}

/// A text with everything that is escaped or not signed, as GnuPG 2.2 has signed it, and the key as it has exported it.
#[test]
fn a_message_of_gnupg() {
    let message = include_bytes!("fixtures/gnupg.txt.asc");
    let certificates = Certificates::parse(include_bytes!("fixtures/gnupg.pgp.asc")).unwrap();
    let today = UNIX_EPOCH + Duration::from_secs(1_795_700_000);
    let (text, accepted) = certificates.verify_cleartext(message, today).unwrap();
    assert_eq!(text, "Origin: T\n- dash\n-- two\nFrom x\ntrailing\n\n-----BEGIN PGP SIGNATURE-----\nlast\n");
    assert_eq!(accepted.key, "8AD3C4CE9D834E47B1513D2074F4A5B941286BD1");
    assert_eq!(accepted.made, UNIX_EPOCH + Duration::from_secs(1_795_612_885));
}

#[test]
fn gnupgs_trust_packets_are_passed_over() {
    let signer = Signer::new();
    let mut keyring = Vec::new();
    for packet in PacketParser::new(&signer.keyring()[..]) {
        packet.unwrap().to_writer(&mut keyring).unwrap();
        // Tag 12, six bytes, as in a keyring that GnuPG has written.
        keyring.extend([0xb0, 6, 0, 3, b'g', b'p', b'g', 0]);
    }
    let certificates = Certificates::parse(&keyring).unwrap();
    certificates.verify_cleartext(signer.sign(TEXT).as_bytes(), now()).unwrap();
}

#[test]
fn a_keyring_that_is_too_long_is_not_cut() {
    let (first, last) = (Signer::new(), Signer::new());
    // Packets of a keyring's program count too, however short.
    let trust = [0xb0, 6, 0, 3, b'g', b'p', b'g', 0].repeat(100_000);
    let refused = |keyring: &[u8]| {
        let error = Certificates::parse(keyring).map(drop).unwrap_err();
        assert_eq!(error.to_string(), "the keyring has more than 100000 packets in it");
        assert!(error.hint().is_some());
    };
    refused(&[&first.keyring()[..], &trust, &last.keyring()].concat());
    // Armoured blocks count together.
    let armour = |packets: Vec<u8>| {
        let mut armour = Vec::new();
        let kind = pgp::armor::BlockType::PublicKey;
        pgp::armor::write(&Packets(packets), kind, &mut armour, None, true).unwrap();
        armour
    };
    let half = &trust[..trust.len() / 2];
    let block = |signer: &Signer| armour([&signer.keyring()[..], half].concat());
    refused(&[block(&first), block(&last)].concat());
    assert_eq!(Certificates::parse(&block(&first)).unwrap().fingerprints().len(), 1);
}

#[test]
fn the_archives_own_certificates() {
    use crate::apt::distribution::Distribution;
    let documented = include_str!("../../keyrings/README.md");
    let mut fingerprints = Vec::new();
    for distribution in [Distribution::Debian, Distribution::Ubuntu] {
        fingerprints.extend(Certificates::parse(distribution.keyring()).unwrap().fingerprints());
    }
    assert_eq!(fingerprints.len(), 12);
    for fingerprint in &fingerprints {
        assert!(documented.contains(&format!("`{fingerprint}`")), "{fingerprint} is not in keyrings/README.md");
    }
    // Each key has certified itself in a way that holds; the oldest one of Ubuntu has done so with SHA-1.
    for distribution in [Distribution::Debian, Distribution::Ubuntu] {
        for certificate in &Certificates::parse(distribution.keyring()).unwrap().certificates {
            let key = name(&certificate.primary_key);
            match Certificate::new(certificate, NOW).primary() {
                Err(Refusal::WeakHash(_)) if key == "790BC7277767219C42C86F933B4FE6ACC0B21F32" => {}
                result => assert!(result.is_ok(), "{key}: {result:?}"),
            }
        }
    }
    let (documented, _) = documented.split_once("## Arch Linux").unwrap();
    let table = documented.lines().filter(|line| line.starts_with('|') && line.contains("Key"));
    assert_eq!(table.count(), fingerprints.len());
}

proptest! {
    #[test]
    fn rubbish_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        let certificates = Certificates::parse(crate::apt::distribution::Distribution::Ubuntu.keyring()).unwrap();
        let _ = Certificates::parse(&bytes);
        let _ = certificates.verify_cleartext(&bytes, now());
        let framed = format!("-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{text}\n-----BEGIN PGP SIGNATURE-----\n\n{text}\n-----END PGP SIGNATURE-----\n");
        let _ = certificates.verify_cleartext(framed.as_bytes(), now());
    }

    #[test]
    fn damaged_signatures_are_never_accepted(at in 0..2000_usize, bit in 0..8_u8) {
        static SIGNED: LazyLock<(Certificates, String)> = LazyLock::new(|| {
            let signer = Signer::with_good_subkey();
            (signer.certificates(), signer.sign(TEXT))
        });
        let (certificates, message) = &*SIGNED;
        let mut bytes = message.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        // What is accepted all the same must be the text that was signed.
        if let Ok((text, _)) = certificates.verify_cleartext(&bytes, now()) {
            prop_assert_eq!(text.trim_end(), super::tests::SIGNED.trim_end());
        }
    }

    #[test]
    fn damaged_keyrings_never_panic(at in any::<prop::sample::Index>(), value in any::<u8>()) {
        let mut keyring = crate::apt::distribution::Distribution::Ubuntu.keyring().to_vec();
        let at = at.index(keyring.len());
        keyring[at] = value;
        let _ = Certificates::parse(&keyring);
    }
}
