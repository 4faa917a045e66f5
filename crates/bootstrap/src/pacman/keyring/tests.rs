//! Keys and signatures made on the spot, each with one thing wrong.

mod gnupg;

use std::sync::LazyLock;

use pgp::composed::{ArmorOptions, DetachedSignature, KeyType};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{PacketTrait, Signature, SignatureConfig, SignatureType, Subpacket, SubpacketData, UserId};
use pgp::types::{KeyDetails, Password, SigningKey, Tag};

use super::*;
use crate::pacman::sig_level::{Check, Demand, Trust};
use crate::pacman::verify::{self, Signed};
use crate::trust::tests::{DAY, NOW, Recipe, Signer, flags, lasts, now};

const CONTENT: &[u8] = b"a package";

const REQUIRED: Demand = Demand { check: Check::Required, trust: Trust::TrustedOnly };
const OPTIONAL: Demand = Demand { check: Check::Optional, trust: Trust::TrustedOnly };
const TRUST_ALL: Demand = Demand { check: Check::Required, trust: Trust::TrustAll };
const NEVER: Demand = Demand { check: Check::Never, trust: Trust::TrustedOnly };

/// Master keys, a packager and what is said of them.
struct World {
    masters: Vec<Signer>,
    packager: Signer,
    trust: u8,
    revoked: String,
}

fn of(key: &Signer) -> String {
    crate::trust::name(key.primary.public_key())
}

fn yesterday() -> Recipe {
    Recipe::at(NOW - DAY)
}

fn certificate() -> Recipe {
    Recipe::at(NOW - 100 * DAY)
}

/// What is said for a day.
fn for_a_day(made: u64) -> Recipe {
    Recipe::at(made).with(SubpacketData::SignatureExpirationTime(lasts(DAY)))
}

/// A signature that says these parts are who makes it, and nothing else.
fn naming(recipe: &Recipe, kind: SignatureType, key: &impl SigningKey, parts: Vec<SubpacketData>) -> SignatureConfig {
    let mut config = recipe.configuration(kind, key);
    config.hashed_subpackets.retain(|part| !matches!(part.data, SubpacketData::IssuerFingerprint(_)));
    config.unhashed_subpackets = parts.into_iter().map(|part| Subpacket::regular(part).unwrap()).collect();
    config
}

/// What one key says of another one, and these parts are who says it.
fn certify_naming(of: &Signer, by: &Signer, recipe: &Recipe, parts: Vec<SubpacketData>) -> Signature {
    let config = naming(recipe, SignatureType::CertPositive, &by.primary, parts);
    let (signee, id) = (of.primary.public_key(), &of.certificate.details.users[0].id);
    config.sign_certification_third_party(&by.primary, &Password::empty(), signee, Tag::UserId, id).unwrap()
}

/// What one key says of another one.
fn certify(of: &Signer, by: &Signer, kind: SignatureType, recipe: &Recipe) -> Signature {
    let config = recipe.configuration(kind, &by.primary);
    let (signee, id) = (of.primary.public_key(), &of.certificate.details.users[0].id);
    config.sign_certification_third_party(&by.primary, &Password::empty(), signee, Tag::UserId, id).unwrap()
}

fn sign_with(key: &impl SigningKey, kind: SignatureType, recipe: &Recipe) -> Signature {
    recipe.configuration(kind, key).sign(key, &Password::empty(), CONTENT).unwrap()
}

fn packets(signatures: &[Signature]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for signature in signatures {
        signature.to_writer_with_header(&mut bytes).unwrap();
    }
    bytes
}

impl World {
    /// Three masters that are trusted marginally have certified the packager.
    fn new() -> Self {
        Self::certified_by(3)
    }

    fn certified_by(count: usize) -> Self {
        // Keys take long to make; that tests have the same ones does no harm.
        static KEYS: LazyLock<Vec<Signer>> = LazyLock::new(|| (0..6).map(|_| Signer::new()).collect());
        let mut world =
            Self { masters: KEYS[..5].to_vec(), packager: KEYS[5].clone(), trust: 4, revoked: String::new() };
        for nr in 0..count {
            world.say(nr, SignatureType::CertPositive, &certificate());
        }
        world
    }

    /// A master says something of the packager.
    fn say(&mut self, master: usize, kind: SignatureType, recipe: &Recipe) {
        let signature = certify(&self.packager, &self.masters[master], kind, recipe);
        self.packager.certificate.details.users[0].signatures.push(signature);
    }

    fn of_packager(packager: Signer) -> Self {
        let mut world = Self { packager, ..Self::certified_by(0) };
        for nr in 0..3 {
            world.say(nr, SignatureType::CertPositive, &certificate());
        }
        world
    }

    fn keyring(&self) -> Keyring {
        let all = self.masters.iter().chain([&self.packager]).flat_map(Signer::keyring).collect::<Vec<_>>();
        let trusted: String = self.masters.iter().map(|master| format!("{}:{}:\n", of(master), self.trust)).collect();
        let mut keyring = Keyring::default();
        keyring.populate("of the test", &all, &trusted, &self.revoked).unwrap();
        keyring
    }

    fn sign(&self) -> Vec<u8> {
        self.sign_by(&yesterday())
    }

    fn sign_by(&self, recipe: &Recipe) -> Vec<u8> {
        packets(&[sign_with(&self.packager.primary, SignatureType::Binary, recipe)])
    }

    fn check(&self, demand: Demand, signature: Option<&[u8]>) -> Result<Vec<Signer_>, verify::Error> {
        check(&self.keyring(), demand, signature, CONTENT)
    }

    #[track_caller]
    fn accepted(&self) {
        self.check(REQUIRED, Some(&self.sign())).unwrap_or_else(|e| panic!("{}", full(&e)));
    }

    /// Why a signature is refused.
    fn refusal(&self, signature: &[u8]) -> String {
        full(&self.check(REQUIRED, Some(signature)).unwrap_err())
    }

    /// Why the packager's signature is refused.
    fn refused(&self) -> String {
        self.refusal(&self.sign())
    }
}

use super::Signer as Signer_;

fn check(
    keyring: &Keyring,
    demand: Demand,
    signature: Option<&[u8]>,
    content: &[u8],
) -> Result<Vec<Signer_>, verify::Error> {
    verify::check(&Web::new(keyring, now()), demand, "a-1-1-any.pkg.tar.zst", signature, Signed::Bytes(content))
}

/// An error as a person sees it; there is always something to do about it.
fn full(error: &verify::Error) -> String {
    use std::error::Error;
    assert!(error.hint().is_some(), "{error:?}");
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

#[test]
fn what_is_accepted() {
    World::new().accepted();
    // One that is trusted fully is enough.
    World { trust: 5, ..World::certified_by(1) }.accepted();
    // Any key, if that is what is asked for.
    let world = World::certified_by(0);
    let signers = world.check(TRUST_ALL, Some(&world.sign())).unwrap();
    assert_eq!((signers[0].key.clone(), signers[0].validity), (of(&world.packager), Validity::Unknown));
    assert_eq!(signers[0].user, "Archive <archive@example.org>");
    // No signature where there need not be one, a broken one where nobody looks.
    assert!(world.check(OPTIONAL, None).unwrap().is_empty());
    assert!(world.check(NEVER, Some(b"rubbish")).unwrap().is_empty());
    // A key that signs for the packager, and a master itself.
    let world = World::of_packager(Signer::with_good_subkey());
    let subkey = world.packager.subkey.as_ref().unwrap();
    let by_subkey = packets(&[sign_with(subkey, SignatureType::Binary, &yesterday())]);
    assert_eq!(world.check(REQUIRED, Some(&by_subkey)).unwrap()[0].key, of(&world.packager));
    let by_master = packets(&[sign_with(&world.masters[0].primary, SignatureType::Binary, &yesterday())]);
    world.check(REQUIRED, Some(&by_master)).unwrap();
}

#[test]
fn armour_and_several_signatures() {
    let world = World::new();
    let sign = |key: &Signer| sign_with(&key.primary, SignatureType::Binary, &yesterday());
    let armoured = DetachedSignature::new(sign(&world.packager)).to_armored_string(ArmorOptions::default()).unwrap();
    world.check(REQUIRED, Some(armoured.as_bytes())).unwrap();
    let both = packets(&[sign(&world.packager), sign(&world.masters[1])]);
    assert_eq!(world.check(REQUIRED, Some(&both)).unwrap().len(), 2);
    // Two blocks, or something around one, leave open which one counts.
    for odd in [format!("{armoured}\n{armoured}"), format!("x\n{armoured}"), format!("{armoured}\nx")] {
        assert!(world.refusal(odd.as_bytes()).contains("no OpenPGP signature"));
    }
}

#[test]
fn a_certificate_that_was_taken_back_and_given_again() {
    let mut world = World::new();
    world.say(0, SignatureType::CertRevocation, &Recipe::at(NOW - 50 * DAY));
    world.say(0, SignatureType::CertPositive, &Recipe::at(NOW - 40 * DAY));
    world.accepted();
}

#[test]
fn a_certificate_that_expired_and_was_given_again() {
    let mut world = World::new();
    let ended = for_a_day(NOW - 50 * DAY);
    world.say(0, SignatureType::CertPositive, &ended);
    world.say(0, SignatureType::CertPositive, &Recipe::at(NOW - 40 * DAY));
    // What somebody else says in a master's name ends nothing.
    let claim = vec![SubpacketData::IssuerFingerprint(world.masters[0].primary.fingerprint())];
    let forged = certify_naming(&world.packager, &Signer::new(), &for_a_day(NOW - 30 * DAY), claim);
    world.packager.certificate.details.users[0].signatures.push(forged);
    world.accepted();
    // What the packager says of itself may end: an older word holds then.
    let mut world = World::new();
    let own = world.packager.certify(SignatureType::CertPositive, &ended.with(flags(true)));
    world.packager.certificate.details.users[0].signatures.push(own);
    world.accepted();
}

#[test]
fn a_newer_keyring_adds_to_an_older_one() {
    let own = Recipe::at(NOW - 365 * DAY).with(flags(true));
    let short = own.clone().with(SubpacketData::KeyExpirationTime(lasts(30 * DAY)));
    let world = World::of_packager(Signer::with(&KeyType::Ed25519Legacy, &short));
    assert!(world.refused().contains("has expired"));
    let mut keyring = world.keyring();
    // The same key, that lives longer now.
    let mut longer = world.packager.certificate.clone();
    let recipe = Recipe::at(NOW - 20 * DAY).with(flags(true));
    longer.details.users[0].signatures = vec![world.packager.certify(SignatureType::CertPositive, &recipe)];
    let newer = pgp::ser::Serialize::to_bytes(&longer).unwrap();
    keyring.populate("newer", &newer, "", "").unwrap();
    check(&keyring, REQUIRED, Some(&world.sign()), CONTENT).unwrap();
    // And revoked in the end: that is not lost among older copies.
    longer.details.revocation_signatures = vec![world.packager.on_key(SignatureType::KeyRevocation, &yesterday())];
    let newest = pgp::ser::Serialize::to_bytes(&longer).unwrap();
    keyring.populate("newest", &newest, "", "").unwrap();
    keyring.populate("older", &newer, "", "").unwrap();
    let error = check(&keyring, REQUIRED, Some(&world.sign()), CONTENT).unwrap_err();
    assert!(full(&error).contains("is revoked"), "{}", full(&error));
}

#[test]
fn signatures_that_are_refused() {
    let world = World::new();
    let good = world.sign();
    let of_key = |kind, recipe: &Recipe| packets(&[sign_with(&world.packager.primary, kind, recipe)]);
    let stranger = Signer::new();
    let strange = packets(&[sign_with(&stranger.primary, SignatureType::Binary, &yesterday())]);
    let expires = yesterday().with(SubpacketData::SignatureExpirationTime(lasts(3600)));
    let unknown = SubpacketData::Experimental(105, vec![1].into());
    let not_there = format!("key {} is not in the keyring", of(&stranger));
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "no OpenPGP signature"),
        ("a page", b"<html>log in here</html>".to_vec(), "no OpenPGP signature"),
        ("rubbish", vec![0x89; 200], "cannot be read"),
        ("cut off", good[..good.len() - 9].to_vec(), "cannot be read"),
        ("followed by rubbish", [&good[..], b"x"].concat(), "cannot be read"),
        ("a clear-signed text", world.packager.sign("a package\n").into_bytes(), "no OpenPGP signature"),
        ("a certificate", world.packager.keyring(), "something else in it"),
        ("too many", good.repeat(33), "more than 32"),
        ("by a stranger", strange.clone(), &not_there),
        ("also by a stranger", [&good[..], &strange].concat(), "is not in the keyring"),
        ("also by a stranger, first", [&strange[..], &good].concat(), "is not in the keyring"),
        ("expired", world.sign_by(&expires), "it has expired"),
        ("from the future", world.sign_by(&Recipe::at(NOW + 2 * DAY)), "from the future"),
        ("older than its key", world.sign_by(&Recipe::at(NOW - 400 * DAY)), "older than its key"),
        ("of a text", of_key(SignatureType::Text, &yesterday()), "not a signature over a file"),
        (
            "of a key",
            packets(&[certify(&world.packager, &world.packager, SignatureType::CertPositive, &yesterday())]),
            "not a signature over a file",
        ),
        ("with a part that nobody knows", world.sign_by(&yesterday().critical(unknown)), "critical part"),
    ];
    for (name, signature, reason) in cases {
        for demand in [REQUIRED, OPTIONAL, TRUST_ALL] {
            let error = full(&world.check(demand, Some(&signature)).expect_err(name));
            assert!(error.contains(reason), "{name}: {error}");
            assert!(error.starts_with("'a-1-1-any.pkg.tar.zst' is not accepted"), "{name}: {error}");
        }
    }
    assert!(full(&world.check(REQUIRED, None).unwrap_err()).ends_with("it is not signed"));
    for changed in [&b"a package."[..], b"a packag", b"", b"A package"] {
        let error = check(&world.keyring(), REQUIRED, Some(&good), changed).unwrap_err();
        assert!(full(&error).contains("it does not fit the text and key"), "{}", full(&error));
    }
}

#[test]
fn a_signature_says_whose_it_is() {
    let world = World::new();
    let (keyring, opened) = (world.keyring(), std::cell::Cell::new(0));
    let verify = |parts| {
        opened.set(0);
        let web = Web::new(&keyring, now());
        let key = &world.packager.primary;
        let config = naming(&yesterday(), SignatureType::Binary, key, parts);
        web.verify(&packets(&[config.sign(key, &Password::empty(), CONTENT).unwrap()]), &|| {
            opened.set(opened.get() + 1);
            Box::new(CONTENT)
        })
    };
    let by = |key: &Signer| SubpacketData::IssuerFingerprint(key.primary.fingerprint());
    let id = |key: &Signer| SubpacketData::IssuerKeyId(key.primary.legacy_key_id());
    let own = || vec![by(&world.packager), id(&world.packager)];
    verify(own()).unwrap();
    assert_eq!(opened.get(), 1);
    verify([own(), own()].concat()).unwrap();
    // A file may be long: it is not read for every key there is.
    let error = verify(Vec::new()).unwrap_err();
    assert!(error.to_string().contains("does not say which key made it"), "{error}");
    assert_eq!(opened.get(), 0);
    let error = verify(world.masters.iter().map(by).chain(own()).collect()).unwrap_err();
    assert!(error.to_string().contains("names too many keys"), "{error}");
    assert_eq!(opened.get(), 0);
}

#[test]
fn keys_that_are_refused() {
    let own = Recipe::at(NOW - 365 * DAY).with(flags(true));
    let with = |own: &Recipe| World::of_packager(Signer::with(&KeyType::Ed25519Legacy, own)).refused();
    let expired = with(&own.clone().with(SubpacketData::KeyExpirationTime(lasts(30 * DAY))));
    assert!(expired.contains("has expired"), "{expired}");
    let not_for_signing = with(&Recipe::at(NOW - 365 * DAY).with(flags(false)));
    assert!(not_for_signing.contains("not meant for signing"), "{not_for_signing}");

    let mut world = World::new();
    world.revoked = format!("{}\n", of(&world.packager));
    assert!(world.refused().contains("is disabled in the keyring"), "{}", world.refused());
    let error = full(&world.check(TRUST_ALL, Some(&world.sign())).unwrap_err());
    assert!(error.contains("is disabled in the keyring"), "{error}");

    let mut world = World::new();
    let revocation = world.packager.on_key(SignatureType::KeyRevocation, &yesterday());
    world.packager.certificate.details.revocation_signatures.push(revocation);
    assert!(world.refused().contains("is revoked"), "{}", world.refused());

    let mut world = World::new();
    let revocation = world.packager.certify(SignatureType::CertRevocation, &yesterday());
    world.packager.certificate.details.users[0].signatures.push(revocation);
    assert!(world.refused().contains("is revoked"), "{}", world.refused());

    // Subkeys: one that is not bound for signing, one that has not signed back.
    let binding = Recipe::at(NOW - 300 * DAY);
    for (binding, back, reason) in [
        (binding.clone(), Some(&binding), "not meant for signing"),
        (binding.clone().with(flags(true)), None, "has not signed back"),
    ] {
        let world = World::of_packager(Signer::new().with_subkey(&KeyType::Ed25519Legacy, &binding, back));
        let subkey = world.packager.subkey.as_ref().unwrap();
        let refused = world.refusal(&packets(&[sign_with(subkey, SignatureType::Binary, &yesterday())]));
        assert!(refused.contains(reason), "{refused}");
    }
}

#[test]
fn weak_keys_and_hashes_are_refused() {
    let own = Recipe::at(NOW - 365 * DAY).with(flags(true));
    let world = World::of_packager(Signer::with(&KeyType::Rsa(2048), &own));
    world.accepted();
    let refused = world.refusal(&world.sign_by(&yesterday().hash(HashAlgorithm::Sha1)));
    assert!(refused.contains("weak hash SHA1"), "{refused}");
    let weak = World::of_packager(Signer::with(&KeyType::Rsa(2048), &own.clone().hash(HashAlgorithm::Sha1)));
    assert!(weak.refused().contains("weak hash SHA1"), "{}", weak.refused());
    let short = World::of_packager(Signer::with(&KeyType::Rsa(1024), &own));
    assert!(short.refused().contains("fewer than 2048 bits"), "{}", short.refused());
}

#[test]
fn certificates_that_do_not_count() {
    const MARGINAL: &str = "it is of marginal trust";
    const UNKNOWN: &str = "it is of unknown trust";
    type Change = Box<dyn Fn(&mut World)>;
    let cases: Vec<(&str, usize, Change, &str)> = vec![
        ("none", 0, Box::new(|_| {}), UNKNOWN),
        ("too few", 2, Box::new(|_| {}), MARGINAL),
        ("twice by the same", 2, Box::new(|w| w.say(0, SignatureType::CertGeneric, &yesterday())), MARGINAL),
        ("taken back", 3, Box::new(|w| w.say(0, SignatureType::CertRevocation, &yesterday())), MARGINAL),
        (
            "taken back with a weak hash",
            3,
            Box::new(|w| {
                w.masters[0] = Signer::of(&KeyType::Rsa(2048));
                w.say(0, SignatureType::CertPositive, &certificate());
                w.say(0, SignatureType::CertRevocation, &yesterday().hash(HashAlgorithm::Sha1));
            }),
            MARGINAL,
        ),
        ("expired", 2, Box::new(|w| w.say(2, SignatureType::CertPositive, &for_a_day(NOW - 100 * DAY))), MARGINAL),
        // Whoever lets what was said last come to an end does not fall back on what was said before.
        (
            "expired, after one that has not",
            3,
            Box::new(|w| w.say(0, SignatureType::CertPositive, &for_a_day(NOW - 50 * DAY))),
            MARGINAL,
        ),
        ("without verification", 2, Box::new(|w| w.say(2, SignatureType::CertPersona, &certificate())), MARGINAL),
        (
            "from the future",
            2,
            Box::new(|w| w.say(2, SignatureType::CertPositive, &Recipe::at(NOW + 2 * DAY))),
            MARGINAL,
        ),
        (
            "with a weak hash",
            2,
            Box::new(|w| {
                w.masters[2] = Signer::of(&KeyType::Rsa(2048));
                w.say(2, SignatureType::CertPositive, &certificate().hash(HashAlgorithm::Sha1));
            }),
            MARGINAL,
        ),
        (
            "for another key",
            2,
            Box::new(|w| {
                let other = certify(&w.masters[4], &w.masters[2], SignatureType::CertPositive, &certificate());
                w.packager.certificate.details.users[0].signatures.push(other);
            }),
            MARGINAL,
        ),
        (
            "for another user",
            2,
            Box::new(|w| {
                let mut id = w.packager.certificate.details.users[0].clone();
                id.id = UserId::from_str(Default::default(), "Somebody <else@example.org>").unwrap();
                w.packager.certificate.details.users.push(id);
                w.say(2, SignatureType::CertRevocation, &certificate());
            }),
            MARGINAL,
        ),
        (
            "in another's name",
            2,
            Box::new(|w| {
                let claim = vec![SubpacketData::IssuerFingerprint(w.masters[2].primary.fingerprint())];
                let forged = certify_naming(&w.packager, &Signer::new(), &certificate(), claim);
                w.packager.certificate.details.users[0].signatures.push(forged);
            }),
            MARGINAL,
        ),
        (
            "in nobody's name",
            2,
            Box::new(|w| {
                let unnamed = certify_naming(&w.packager, &w.masters[2], &certificate(), Vec::new());
                w.packager.certificate.details.users[0].signatures.push(unnamed);
            }),
            MARGINAL,
        ),
        ("by one that is disabled", 3, Box::new(|w| w.revoked = format!("{}\n", of(&w.masters[1]))), MARGINAL),
        (
            "by one that is revoked",
            3,
            Box::new(|w| {
                let revocation = w.masters[1].on_key(SignatureType::KeyRevocation, &yesterday());
                w.masters[1].certificate.details.revocation_signatures.push(revocation);
            }),
            MARGINAL,
        ),
        (
            "by one that has expired",
            2,
            Box::new(|w| {
                let own = Recipe::at(NOW - 365 * DAY).with(flags(true));
                let own = own.with(SubpacketData::KeyExpirationTime(lasts(300 * DAY)));
                w.masters[2] = Signer::with(&KeyType::Ed25519Legacy, &own);
                w.say(2, SignatureType::CertPositive, &certificate());
            }),
            MARGINAL,
        ),
        ("by some that are never trusted", 5, Box::new(|w| w.trust = 3), UNKNOWN),
        ("by some of whom nothing is said", 5, Box::new(|w| w.trust = 2), UNKNOWN),
    ];
    for (name, count, change, reason) in cases {
        let mut world = World::certified_by(count);
        change(&mut world);
        assert!(world.refused().contains(reason), "{name}: {}", world.refused());
        world.check(TRUST_ALL, Some(&world.sign())).unwrap_or_else(|e| panic!("{name}: {}", full(&e)));
    }
}

#[test]
fn a_packager_introduces_nobody() {
    let mut world = World::new();
    let (first, mut second) = (world.packager, Signer::new());
    let signature = certify(&second, &first, SignatureType::CertPositive, &certificate());
    second.certificate.details.users[0].signatures.push(signature);
    world.masters.push(first);
    world.packager = second;
    let mut keyring = world.keyring();
    let first = of(&world.masters[5]);
    let refused = |keyring: &Keyring| full(&check(keyring, REQUIRED, Some(&world.sign()), CONTENT).unwrap_err());
    // Valid, and trusted with nothing.
    keyring.anchors.remove(&first);
    keyring.owners.remove(&first);
    assert!(refused(&keyring).contains("unknown trust"));
    // Trusted with everything, but not deeper than GnuPG goes.
    keyring.owners.insert(first.clone(), OwnerTrust::Full);
    check(&keyring, REQUIRED, Some(&world.sign()), CONTENT).unwrap();
    keyring.needed.depth = 1;
    assert!(refused(&keyring).contains("unknown trust"));
}

#[test]
fn the_keyring_that_is_built_in() {
    let keyring = Keyring::embedded().unwrap();
    let masters: Vec<&String> = keyring.owners.keys().collect();
    assert_eq!(masters.len(), 5);
    let known = keyring.certificates.fingerprints();
    assert!(masters.iter().all(|master| known.contains(master)));
    assert!(known.len() > 150, "{}", known.len());
    let documented = include_str!("../../../keyrings/README.md");
    assert!(masters.iter().all(|master| documented.contains(&format!("`{master}`"))), "keyrings/README.md");
}

#[test]
fn keyrings_of_the_host_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let refused = || {
        let error = Keyring::of_host(directory.path()).unwrap_err();
        assert!(error.hint().is_some(), "{error:?}");
        error
    };
    let write = |name: &str, content: &[u8]| std::fs::write(directory.path().join(name), content).unwrap();
    assert!(matches!(refused(), Error::Missing(_)));
    std::fs::create_dir(directory.path().join("public-keys.d")).unwrap();
    assert!(matches!(refused(), Error::KeyboxDaemon(_)));
    write("pubring.kbx", b"rubbish");
    assert!(matches!(refused(), Error::Keybox { .. }));
    std::fs::remove_file(directory.path().join("pubring.kbx")).unwrap();
    write("pubring.gpg", b"");
    assert!(matches!(refused(), Error::Certificates { .. }));
    let world = World::new();
    write("pubring.gpg", &world.packager.keyring());
    let keyring = Keyring::of_host(directory.path()).unwrap();
    assert!(keyring.owners.is_empty(), "nobody is trusted");
    write("trustdb.gpg", b"rubbish");
    assert!(matches!(refused(), Error::TrustDatabase { .. }));
    std::fs::remove_file(directory.path().join("trustdb.gpg")).unwrap();
    std::fs::create_dir(directory.path().join("trustdb.gpg")).unwrap();
    assert!(matches!(refused(), Error::Io { .. }));
}

#[test]
fn a_keyring_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("test.gpg");
    assert!(matches!(Keyring::of_file(&path), Err(Error::Missing(_))));
    let world = World::certified_by(2);
    std::fs::write(&path, [world.masters[0].keyring(), world.packager.keyring()].concat()).unwrap();
    // A link in place of a list does not make it one that is not there.
    std::os::unix::fs::symlink("nowhere", directory.path().join("test-trusted")).unwrap();
    assert!(matches!(Keyring::of_file(&path), Err(Error::Io { .. })));
    std::fs::remove_file(directory.path().join("test-trusted")).unwrap();
    // Without a list, all are trusted.
    check(&Keyring::of_file(&path).unwrap(), REQUIRED, Some(&world.sign()), CONTENT).unwrap();
    std::fs::write(directory.path().join("test-trusted"), format!("{}:4:\n", of(&world.masters[0]))).unwrap();
    let error = check(&Keyring::of_file(&path).unwrap(), REQUIRED, Some(&world.sign()), CONTENT).unwrap_err();
    assert!(full(&error).contains("marginal trust"), "{}", full(&error));
    std::fs::write(directory.path().join("test-trusted"), format!("{}:5:\n", of(&world.masters[0]))).unwrap();
    check(&Keyring::of_file(&path).unwrap(), REQUIRED, Some(&world.sign()), CONTENT).unwrap();
    std::fs::write(directory.path().join("test-revoked"), format!("{}\n", of(&world.packager))).unwrap();
    let error = check(&Keyring::of_file(&path).unwrap(), REQUIRED, Some(&world.sign()), CONTENT).unwrap_err();
    assert!(full(&error).contains("is disabled"), "{}", full(&error));
    // A directory is GnuPG's.
    std::fs::write(directory.path().join("pubring.gpg"), world.packager.keyring()).unwrap();
    assert_eq!(Keyring::of_file(directory.path()).unwrap().certificates.fingerprints().len(), 1);
}

#[test]
fn a_package_brings_a_newer_keyring() {
    let world = World::new();
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        archive.append_data(&mut header, name, content).unwrap();
    };
    let all: Vec<u8> = world.masters.iter().chain([&world.packager]).flat_map(Signer::keyring).collect();
    let trusted: String = world.masters.iter().map(|master| format!("{}:4:\n", of(master))).collect();
    add(".PKGINFO", b"pkgname = test-keyring\n");
    add("usr/share/pacman/keyrings/test.gpg", &all);
    add("usr/share/pacman/keyrings/test-trusted", trusted.as_bytes());
    add("usr/share/elsewhere/other.gpg", b"rubbish");
    let archive = archive.into_inner().unwrap();
    let mut keyring = Keyring::embedded().unwrap();
    check(&keyring, REQUIRED, Some(&world.sign()), CONTENT).unwrap_err();
    let names = keyring.populate_from("test-keyring", &mut tar_reader::TarReader::new(&archive[..])).unwrap();
    assert_eq!(names, ["test"]);
    check(&keyring, REQUIRED, Some(&world.sign()), CONTENT).unwrap();
    let cut = keyring.populate_from("test-keyring", &mut tar_reader::TarReader::new(&archive[..3000])).unwrap_err();
    assert!(matches!(cut, Error::Package { .. }) && cut.hint().is_some());
}

#[test]
fn keyrings_that_cannot_be_read() {
    let world = World::new();
    let mut keyring = Keyring::default();
    let error = keyring.populate("x", b"rubbish", "", "").unwrap_err();
    assert_eq!(error.to_string(), "the keyring x cannot be used");
    assert!(error.hint().is_some());
    let error = keyring.populate("x", &world.packager.keyring(), "not a line", "").unwrap_err();
    assert!(matches!(&error, Error::OwnerTrust { .. }) && error.hint().is_some());
    // Every key of a keyring that somebody gives is trusted.
    let keyring = Keyring::of_trusted("x", &world.packager.keyring()).unwrap();
    check(&keyring, REQUIRED, Some(&world.sign()), CONTENT).unwrap();
}
