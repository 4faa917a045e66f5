//! The key that a new keyring has of its own: everything that is trusted is trusted because this key has signed it.

use pgp::composed::KeyType;
use pgp::crypto::hash::HashAlgorithm;
use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::errors::{Error, Result};
use pgp::packet::{
    Features, KeyFlags, PacketTrait, PubKeyInner, PublicKey, RevocationCode, SecretKey, SignatureConfig, SignatureType,
    Subpacket, SubpacketData, UserId,
};
use pgp::ser::Serialize;
use pgp::types::{
    CompressionAlgorithm, Fingerprint, KeyDetails, KeyVersion, Password, PlainSecretParams, PublicParams, SecretParams,
    Tag, Timestamp,
};
use sha1::{Digest, Sha1};

/// Whose it is.
const USER: &str = "Pacman Keyring Master Key <pacman@localhost>";
/// The RIPEMD-160 of that.
pub(super) const USER_HASH: [u8; 20] = [
    0x79, 0x31, 0x1e, 0xde, 0xa0, 0x13, 0x02, 0xe0, 0xdb, 0xbb, 0x2f, 0x33, 0xae, 0x79, 0x9f, 0x8b, 0xb6, 0x77, 0x65,
    0x2f,
];
/// How long it is, in bits.
const LENGTH: u32 = 4096;
/// After how many characters GnuPG breaks the lines of its key files.
const LINE: usize = 64;

/// A new key.
pub(super) struct MasterKey {
    /// Its fingerprint.
    pub(super) fingerprint: [u8; 20],
    /// The certificate, as packets.
    pub(super) certificate: Vec<u8>,
    /// The signature that revokes it, armoured.
    pub(super) revocation: String,
    /// The name of the secret key's file: its keygrip, in upper-case hexadecimal.
    pub(super) keygrip: String,
    /// The content of the secret key's file.
    pub(super) secret: String,
}

/// The numbers of an RSA key, as GnuPG has them: `p` is smaller than `q`, `u` is the inverse of `p` modulo `q`.
struct Numbers {
    n: Vec<u8>,
    e: Vec<u8>,
    d: Vec<u8>,
    p: Vec<u8>,
    q: Vec<u8>,
    u: Vec<u8>,
}

impl MasterKey {
    /// Makes one; `now` is in seconds since the epoch.
    pub(super) fn generate(now: u32) -> Result<Self> {
        let (public, secret) = KeyType::Rsa(LENGTH).generate(rand::rngs::OsRng)?;
        let numbers = Numbers::of(&public, &secret)?;
        let created = Timestamp::from_secs(now);
        let inner = PubKeyInner::new(KeyVersion::V4, PublicKeyAlgorithm::RSA, created, None, public)?;
        let key = SecretKey::new(PublicKey::from_inner(inner)?, secret)?;
        let Fingerprint::V4(fingerprint) = key.fingerprint() else {
            return Err(Error::from("not a key of version 4".to_owned()));
        };
        Ok(Self {
            fingerprint,
            certificate: certificate(&key, created)?,
            revocation: revocation(&key, created)?,
            keygrip: hexadecimal(&Sha1::digest(signed(&numbers.n))),
            secret: secret_file(&numbers, now)?,
        })
    }
}

/// A signature's configuration with what all of them have.
fn configuration(key: &SecretKey, kind: SignatureType, created: Timestamp) -> Result<SignatureConfig> {
    let mut config = SignatureConfig::v4(kind, PublicKeyAlgorithm::RSA, HashAlgorithm::Sha512);
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint()))?,
        Subpacket::regular(SubpacketData::SignatureCreationTime(created))?,
    ];
    config.unhashed_subpackets = vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id()))?];
    Ok(config)
}

/// The public key, its user id and the signature on both, with the preferences that GnuPG gives new keys.
fn certificate(key: &SecretKey, created: Timestamp) -> Result<Vec<u8>> {
    use CompressionAlgorithm::{BZip2, ZIP, ZLIB};
    use HashAlgorithm::{Sha1, Sha224, Sha256, Sha384, Sha512};
    use SymmetricKeyAlgorithm::{AES128, AES192, AES256, TripleDES};
    let mut flags = KeyFlags::default();
    flags.set_certify(true);
    flags.set_sign(true);
    let mut features = Features::new();
    features.set_seipd_v1(true);
    /// Nobody but the owner is to change the key on a server.
    const NO_MODIFY: u8 = 0x80;
    let mut config = configuration(key, SignatureType::CertPositive, created)?;
    for part in [
        SubpacketData::KeyFlags(flags),
        SubpacketData::PreferredSymmetricAlgorithms([AES256, AES192, AES128, TripleDES].into_iter().collect()),
        SubpacketData::PreferredHashAlgorithms([Sha512, Sha384, Sha256, Sha224, Sha1].into_iter().collect()),
        SubpacketData::PreferredCompressionAlgorithms([ZLIB, BZip2, ZIP].into_iter().collect()),
        SubpacketData::Features(features),
        SubpacketData::KeyServerPreferences([NO_MODIFY].into_iter().collect()),
    ] {
        config.hashed_subpackets.push(Subpacket::regular(part)?);
    }
    let user = UserId::from_str(Default::default(), USER)?;
    let signature = config.sign_certification(key, key.public_key(), &Password::empty(), Tag::UserId, &user)?;
    let mut packets = Vec::new();
    key.public_key().to_writer_with_header(&mut packets)?;
    user.to_writer_with_header(&mut packets)?;
    signature.to_writer_with_header(&mut packets)?;
    Ok(packets)
}

/// The signature that revokes the key, as an armoured block.
fn revocation(key: &SecretKey, created: Timestamp) -> Result<String> {
    let mut config = configuration(key, SignatureType::KeyRevocation, created)?;
    let reason = SubpacketData::RevocationReason(RevocationCode::NoReason, Vec::new().into());
    config.hashed_subpackets.push(Subpacket::regular(reason)?);
    let signature = config.sign_key(key, &Password::empty(), key.public_key())?;
    let mut armour = Vec::new();
    let kind = pgp::armor::BlockType::PublicKey;
    pgp::armor::write(&Packets(signature), kind, &mut armour, None, true)?;
    Ok(String::from_utf8_lossy(&armour).into_owned())
}

/// A packet with its header, for an armoured block.
struct Packets(pgp::packet::Signature);

impl Serialize for Packets {
    fn to_writer<W: std::io::Write>(&self, writer: &mut W) -> Result<()> {
        self.0.to_writer_with_header(writer)
    }

    fn write_len(&self) -> usize {
        self.0.write_len_with_header()
    }
}

impl Numbers {
    fn of(public: &PublicParams, secret: &SecretParams) -> Result<Self> {
        let SecretParams::Plain(PlainSecretParams::RSA(key)) = secret else {
            return Err(Error::from("not an RSA key".to_owned()));
        };
        let (d, p, q, u) = key.to_bytes();
        let PublicParams::RSA(parameters) = public else { return Err(Error::from("not an RSA key".to_owned())) };
        let mut bytes = Vec::new();
        parameters.to_writer(&mut bytes)?;
        let (n, e) = read_number(&bytes)
            .and_then(|(n, rest)| Some((n, read_number(rest)?.0)))
            .ok_or_else(|| Error::from("the key has no numbers".to_owned()))?;
        if (p.len(), &p) < (q.len(), &q) {
            return Ok(Self { n, e, d, p, q, u });
        }
        // The other way round: whatever reads the key reckons `u` anew. What is given for it is not looked at.
        let bytes = [&d, &q, &p, &u].into_iter().flat_map(|number| written_number(number)).collect::<Vec<u8>>();
        let swapped = PlainSecretParams::try_from_reader_no_checksum(
            &bytes[..],
            KeyVersion::V4,
            PublicKeyAlgorithm::RSA,
            public,
        )?;
        let PlainSecretParams::RSA(swapped) = &swapped else { return Err(Error::from("not an RSA key".to_owned())) };
        let (d, p, q, u) = swapped.to_bytes();
        Ok(Self { n, e, d, p, q, u })
    }
}

/// A multi-precision integer (RFC 9580, 3.2), and what follows it.
fn read_number(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (bits, rest) = bytes.split_first_chunk()?;
    let (number, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*bits)).div_ceil(8))?;
    Some((number.to_vec(), rest))
}

fn written_number(number: &[u8]) -> Vec<u8> {
    let number = &number[number.iter().take_while(|byte| **byte == 0).count()..];
    let bits = number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize);
    [&(bits as u16).to_be_bytes(), number].concat()
}

/// A number as GnuPG's library writes it: with a zero in front where the first bit would make it negative.
fn signed(number: &[u8]) -> Vec<u8> {
    let zero: &[u8] = if number.first().is_some_and(|first| first & 0x80 != 0) { &[0] } else { &[] };
    [zero, number].concat()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// The file of a secret key without a password: GnuPG's extended format for private keys.
fn secret_file(numbers: &Numbers, now: u32) -> Result<String> {
    let number = |name: &str, number: &[u8]| format!("({name} #{}#)", hexadecimal(&signed(number)));
    let Numbers { n, e, d, p, q, u } = numbers;
    let parts = [("n", n), ("e", e), ("d", d), ("p", p), ("q", q), ("u", u)];
    let expression = format!("(private-key (rsa {}))", parts.map(|(name, value)| number(name, value)).concat());
    let created = jiff::Timestamp::from_second(i64::from(now)).map_err(|e| Error::from(e.to_string()))?;
    let mut file = format!("Created: {}\nKey: ", created.strftime("%Y%m%dT%H%M%S"));
    // A line that begins with a space goes on with the one before it.
    for (nr, line) in expression.as_bytes().chunks(LINE).enumerate() {
        if nr > 0 {
            file.push_str("\n ");
        }
        file.push_str(&String::from_utf8_lossy(line));
    }
    file.push('\n');
    Ok(file)
}
