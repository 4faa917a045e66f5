//! Makes the built-in keyring of Arch Linux from the distribution's: see `keyrings/README.md`.
//!
//! ```sh
//! cargo run -p redd-bootstrap --example strip_keyring -- archlinux.gpg archlinux-trusted >archlinux.pgp
//! ```
//! What stays are the keys that sign, all revocations, and of each other kind of signature the newest by the key itself
//! and by each master key. What goes are keys for encryption and logins, pictures, signatures that newer ones have taken
//! the place of, and those by other people.

use std::fs::File;
use std::io::{BufReader, Write};

use pgp::armor::Dearmor;
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::packet::{Packet, PacketParser, Signature, SignatureType};
use pgp::ser::Serialize;
use pgp::types::{KeyDetails, KeyId};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [keyring, trusted] = &std::env::args().skip(1).collect::<Vec<_>>()[..] else {
        return Err("two files: keyring and trusted".into());
    };
    let trusted = std::fs::read_to_string(trusted)?.to_lowercase();
    let packets: Vec<_> = PacketParser::new(BufReader::new(Dearmor::new(BufReader::new(File::open(keyring)?))))
        .filter(|packet| !matches!(packet, Ok(Packet::Trust(_) | Packet::UserAttribute(_))))
        .collect();
    let certificates: Vec<_> =
        SignedPublicKey::from_packets(packets.into_iter().peekable()).collect::<Result<_, _>>()?;
    let ids = certificates.iter().map(|certificate| certificate.primary_key.legacy_key_id());
    let is_master = |id: &KeyId| trusted.lines().any(|line| line.contains(&format!("{id}:").to_lowercase()));
    let masters: Vec<_> = ids.filter(is_master).collect();
    let mut stripped = Vec::new();
    for mut certificate in certificates {
        strip(&mut certificate, &masters);
        certificate.to_writer(&mut stripped)?;
    }
    std::io::stdout().write_all(&stripped)?;
    Ok(())
}

fn strip(certificate: &mut SignedPublicKey, masters: &[KeyId]) {
    let own = certificate.primary_key.legacy_key_id();
    certificate.details.user_attributes.clear();
    keep_newest(&mut certificate.details.direct_signatures, &[own]);
    for user in &mut certificate.details.users {
        keep_newest(&mut user.signatures, &[masters, &[own]].concat());
    }
    certificate.details.users.retain(|user| user.signatures.iter().any(|signature| signer(signature) == Some(own)));
    for subkey in &mut certificate.public_subkeys {
        keep_newest(&mut subkey.signatures, &[own]);
    }
    certificate.public_subkeys.retain(|subkey| subkey.signatures.iter().any(|signature| signature.key_flags().sign()));
}

/// Who says to have made a signature.
fn signer(signature: &Signature) -> Option<KeyId> {
    let by_fingerprint = || {
        let fingerprint = signature.issuer_fingerprint().first()?.as_bytes().to_vec();
        Some(KeyId::new(*fingerprint.last_chunk()?))
    };
    signature.issuer_key_id().first().map(|id| **id).or_else(by_fingerprint)
}

fn keep_newest(signatures: &mut Vec<Signature>, signers: &[KeyId]) {
    let (mut kept, mut revocations): (Vec<Signature>, Vec<Signature>) = (Vec::new(), Vec::new());
    for signature in signatures.drain(..) {
        let by = signer(&signature);
        if !by.is_some_and(|by| signers.contains(&by)) {
            continue;
        }
        if matches!(signature.typ(), Some(SignatureType::CertRevocation | SignatureType::SubkeyRevocation)) {
            revocations.push(signature);
        } else {
            match kept.iter_mut().find(|other| signer(other) == by) {
                Some(older) if older.created() < signature.created() => *older = signature,
                Some(_) => {}
                None => kept.push(signature),
            }
        }
    }
    signatures.extend(kept);
    signatures.extend(revocations);
}
