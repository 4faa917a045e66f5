//! GnuPG's trust database (`trustdb.gpg`): records of 40 bytes, the first of which says how the web of trust is reckoned,
//! and those of type 12 with what the owner of a key is trusted. The other ones are for finding these, and what GnuPG has
//! reckoned, which is reckoned anew here.

use super::{Needed, OwnerTrust};

/// The length of a record.
const RECORD: usize = 40;
/// The type of the first record.
const VERSION: u8 = 1;
/// The type of the record that the others' places are hashed in.
const HASH_TABLE: u8 = 10;
/// The type of records with an owner's trust.
const TRUST: u8 = 12;
/// The type of records with what GnuPG has reckoned of a user id.
const VALID: u8 = 13;
/// The bit beside an owner's trust that says that the key is not to be used.
const DISABLED: u8 = 0x80;

/// Why a file is no trust database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It begins with something else.
    #[error("it is no trust database")]
    Magic,
    /// It is of a version that nobody knows.
    #[error("it is a trust database of version {0}, which is not known")]
    Version(u8),
    /// It is not made of whole records.
    #[error("it is cut off")]
    CutOff,
    /// An owner is trusted in a way that nobody knows.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
}

/// A key in a trust database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key's fingerprint, in upper-case hexadecimal.
    pub key: String,
    /// With what its owner is trusted.
    pub trust: OwnerTrust,
    /// Whether it is not to be used.
    pub disabled: bool,
}

/// A trust database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustDatabase {
    pub(super) needed: Needed,
    /// The keys of which something is said.
    pub records: Vec<Record>,
}

impl TrustDatabase {
    /// Reads a trust database.
    ///
    /// # Errors
    /// What is none, or damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let version = bytes.get(..RECORD).filter(|record| record.starts_with(b"\x01gpg")).ok_or(Error::Magic)?;
        if version[4] != 3 {
            return Err(Error::Version(version[4]));
        }
        if !bytes.len().is_multiple_of(RECORD) {
            return Err(Error::CutOff);
        }
        let needed = Needed {
            marginals: u32::from(version[5]).max(1),
            completes: u32::from(version[6]).max(1),
            depth: u32::from(version[7]),
        };
        let mut records = Vec::new();
        for (nr, record) in bytes.chunks_exact(RECORD).enumerate().skip(1) {
            if record[0] != TRUST {
                continue;
            }
            let key = record[2..22].iter().map(|byte| format!("{byte:02X}")).collect();
            let trust = OwnerTrust::from_number(record[22]).ok_or(Error::Damaged(nr * RECORD))?;
            records.push(Record { key, trust, disabled: record[22] & DISABLED != 0 });
        }
        Ok(Self { needed, records })
    }
}

/// How many places of the hash table fit a record.
const PLACES: usize = 9;
/// How many records the hash table has: there is a place for each first byte of a fingerprint.
const TABLE: usize = 256_usize.div_ceil(PLACES);

/// A trust database in which one key, with one user id, is trusted ultimately and valid. `user_hash` is the RIPEMD-160 of
/// that id, `now` in seconds since the epoch.
pub(super) fn with_ultimate(fingerprint: &[u8; 20], user_hash: &[u8; 20], now: u32) -> Vec<u8> {
    const ULTIMATE: u8 = 6;
    let mut bytes = vec![0; RECORD * (TABLE + 3)];
    let mut write = |record: usize, at: usize, content: &[u8]| {
        let start = RECORD * record + at;
        bytes[start..start + content.len()].copy_from_slice(content);
    };
    let number = |record: usize| (record as u32).to_be_bytes();
    let (trust, valid) = (TABLE + 1, TABLE + 2);

    let needed = Needed::default();
    let [marginals, completes, depth] = [needed.marginals, needed.completes, needed.depth].map(|number| number as u8);
    // After the format's version and those: the model of trust, "pgp"; certificates count from level 2 on.
    write(0, 0, &[VERSION, b'g', b'p', b'g', 3, marginals, completes, depth, 1, 2]);
    write(0, 12, &now.to_be_bytes());
    // The hash table's first record.
    write(0, 36, &number(1));
    (1..=TABLE).for_each(|record| write(record, 0, &[HASH_TABLE]));
    let place = usize::from(fingerprint[0]);
    write(1 + place / PLACES, 2 + place % PLACES * 4, &number(trust));

    write(trust, 0, &[TRUST]);
    write(trust, 2, fingerprint);
    write(trust, 22, &[ULTIMATE]);
    write(trust, 26, &number(valid));
    write(valid, 0, &[VALID]);
    write(valid, 2, user_hash);
    write(valid, 22, &[ULTIMATE]);
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bytes = with_ultimate(&[0xab; 20], &[1; 20], 7);
        assert_eq!(bytes.len(), 1280);
        let record = Record { key: "AB".repeat(20), trust: OwnerTrust::Ultimate, disabled: false };
        assert_eq!(
            TrustDatabase::read(&bytes),
            Ok(TrustDatabase { needed: Needed::default(), records: vec![record.clone()] })
        );
        let mut disabled = bytes;
        disabled[RECORD * (TABLE + 1) + 22] |= DISABLED;
        assert_eq!(TrustDatabase::read(&disabled).unwrap().records, [Record { disabled: true, ..record }]);
    }

    #[test]
    fn what_is_damaged() {
        let good = with_ultimate(&[0xab; 20], &[1; 20], 7);
        for bad in [&b""[..], b"\x01gpg", &good[..39], &good[40..]] {
            assert_eq!(TrustDatabase::read(bad), Err(Error::Magic));
        }
        assert_eq!(TrustDatabase::read(&good[..good.len() - 1]), Err(Error::CutOff));
        let mut newer = good.clone();
        newer[4] = 4;
        assert_eq!(TrustDatabase::read(&newer), Err(Error::Version(4)));
        let mut odd = good;
        odd[RECORD * (TABLE + 1) + 22] = 9;
        assert_eq!(TrustDatabase::read(&odd), Err(Error::Damaged(RECORD * (TABLE + 1))));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = TrustDatabase::read(&bytes);
            let _ = TrustDatabase::read(&[&with_ultimate(&[0; 20], &[1; 20], 7), &bytes[..]].concat());
        }
    }
}
