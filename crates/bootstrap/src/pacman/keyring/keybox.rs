//! GnuPG's keybox (`pubring.kbx`), as far as it takes to get the certificates out of it: a file of blobs, each with its
//! length in front and, for OpenPGP, the place of the packets in it.

/// Why a file is no keybox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It begins with something else.
    #[error("it is no keybox")]
    Magic,
    /// It is of a version that nobody knows.
    #[error("it is a keybox of version {0}, which is not known")]
    Version(u8),
    /// A blob does not hold what it says.
    #[error("it is damaged at byte {0}")]
    Damaged(usize),
}

/// The type of the first blob.
const HEADER: u8 = 1;
/// The type of blobs with an OpenPGP certificate; there are also those that were deleted, and those for X.509.
const OPENPGP: u8 = 2;
/// The first blob's flag that says that OpenPGP certificates are or were in the file.
const FOR_OPENPGP: u8 = 2;

/// A keybox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keybox {
    /// Whether GnuPG has it for OpenPGP, however few certificates are in it.
    pub for_openpgp: bool,
    /// The packets of the certificates, one after the other.
    pub packets: Vec<u8>,
}

impl Keybox {
    /// Reads a keybox.
    ///
    /// # Errors
    /// What is none, or damaged.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let (header, mut rest) = blob(bytes).ok_or(Error::Magic)?;
        if header.get(4) != Some(&HEADER) || header.get(8..12) != Some(b"KBXf") {
            return Err(Error::Magic);
        }
        match header.get(5) {
            Some(1) => {}
            version => return Err(Error::Version(version.copied().unwrap_or_default())),
        }
        let for_openpgp = header.get(7).is_some_and(|flags| flags & FOR_OPENPGP != 0);
        let mut packets = Vec::new();
        while !rest.is_empty() {
            let damaged = Error::Damaged(bytes.len() - rest.len());
            let (blob, after) = blob(rest).ok_or(damaged)?;
            if blob.get(4) == Some(&OPENPGP) {
                packets.extend_from_slice(certificate(blob).ok_or(damaged)?);
            }
            rest = after;
        }
        Ok(Self { for_openpgp, packets })
    }
}

/// The first blob and what follows it.
fn blob(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = number(bytes, 0)?;
    // The length counts itself, and the type is always there.
    (length > 4).then(|| bytes.split_at_checked(length)).flatten()
}

/// The packets of a blob: their place and length stand at the bytes 8 and 12.
fn certificate(blob: &[u8]) -> Option<&[u8]> {
    let (start, length) = (number(blob, 8)?, number(blob, 12)?);
    blob.get(start..start.checked_add(length)?)
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let number = bytes.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))?;
    usize::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(flags: u8) -> Vec<u8> {
        let mut header = vec![0, 0, 0, 32, 1, 1, 0, flags];
        header.extend_from_slice(b"KBXf");
        header.resize(32, 0);
        header
    }

    fn blob_of(kind: u8, start: u32, length: u32, content: &[u8]) -> Vec<u8> {
        let mut blob = (16 + content.len() as u32).to_be_bytes().to_vec();
        blob.extend([kind, 1, 0, 0]);
        blob.extend(start.to_be_bytes());
        blob.extend(length.to_be_bytes());
        blob.extend(content);
        blob
    }

    #[test]
    fn certificates_are_found() {
        let file = [
            header(2),
            blob_of(2, 16, 3, b"one"),
            blob_of(0, 16, 3, b"deleted"),
            blob_of(3, 16, 3, b"X.509"),
            blob_of(2, 18, 5, b"xxother"),
        ];
        assert_eq!(Keybox::read(&file.concat()), Ok(Keybox { for_openpgp: true, packets: b"oneother".to_vec() }));
        assert_eq!(Keybox::read(&header(0)), Ok(Keybox { for_openpgp: false, packets: Vec::new() }));
    }

    #[test]
    fn what_is_damaged() {
        for bad in [&b""[..], b"KBXf", &[0; 40], &header(2)[..31], &blob_of(2, 16, 3, b"one")] {
            assert_eq!(Keybox::read(bad), Err(Error::Magic));
        }
        let mut newer = header(2);
        newer[5] = 2;
        assert_eq!(Keybox::read(&newer), Err(Error::Version(2)));
        let blobs = [
            vec![0],
            vec![0, 0, 0, 0],
            vec![0, 0, 0, 4],
            vec![0, 0, 1, 0, 2],
            vec![0xff; 20],
            blob_of(2, 16, 4, b"one"),
            blob_of(2, u32::MAX, 2, b"one"),
            blob_of(2, 19, u32::MAX, b"one"),
        ];
        for blob in blobs {
            assert_eq!(Keybox::read(&[header(2), blob].concat()), Err(Error::Damaged(32)));
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = Keybox::read(&bytes);
            let _ = Keybox::read(&[header(2), bytes].concat());
        }
    }
}
