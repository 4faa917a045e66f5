//! Signatures that stand by themselves, armoured or not.

use std::io::{BufRead, BufReader};

use pgp::armor::{BlockType, Dearmor};
use pgp::packet::{Packet, PacketParser, Signature};

use super::Error;

/// At most so many signatures are read: more than an archive has ever had at once.
const MOST: usize = 32;

const BEGIN: &str = "-----BEGIN PGP SIGNATURE-----";
const END: &str = "-----END PGP SIGNATURE-----";

/// The signatures of a file beside the one that they are over.
pub(crate) fn read(signatures: &[u8]) -> Result<Vec<Signature>, Error> {
    if signatures.first().is_some_and(|first| first & 0x80 != 0) {
        return from_packets(signatures);
    }
    let nothing = || Error::Unreadable("it is no OpenPGP signature".to_owned());
    let text = std::str::from_utf8(signatures).map_err(|_| nothing())?.trim();
    // What stands around the block would be passed over, a second block too: then it is not said which one counts.
    if !text.starts_with(BEGIN) || !text.ends_with(END) || text.matches(BEGIN).count() != 1 {
        return Err(nothing());
    }
    read_armoured(text)
}

/// The signatures of an armoured block.
pub(super) fn read_armoured(armour: &str) -> Result<Vec<Signature>, Error> {
    let mut dearmor = Dearmor::new(armour.as_bytes());
    dearmor.read_header().map_err(unreadable)?;
    if dearmor.typ != Some(BlockType::Signature) {
        return Err(Error::Unreadable("it is something else".to_owned()));
    }
    from_packets(BufReader::new(dearmor))
}

fn from_packets(packets: impl BufRead) -> Result<Vec<Signature>, Error> {
    let mut signatures = Vec::new();
    for packet in PacketParser::new(packets) {
        match packet {
            Ok(Packet::Signature(_)) if signatures.len() == MOST => {
                return Err(Error::Unreadable(format!("it has more than {MOST} signatures in it")));
            }
            Ok(Packet::Signature(signature)) => signatures.push(signature),
            Ok(_) => return Err(Error::Unreadable("it has something else in it".to_owned())),
            Err(e) => return Err(unreadable(e)),
        }
    }
    Ok(signatures)
}

fn unreadable(error: pgp::errors::Error) -> Error {
    Error::Unreadable(error.to_string())
}
