//! Extended attributes: of one file behind its inode, of several in a place of their own.

use image::disk::storage::Storage;

use super::{Erofs, Inode};
use crate::bytes::{le16, le32, read};
use crate::reader::{Attribute, Error, Result};

const HEADER: usize = 12;
const ENTRY: usize = 4;

pub(super) fn read_all<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, inode: &Inode) -> Result<Vec<Attribute>> {
    let (at, length) = inode.attributes;
    if length == 0 {
        return Ok(Vec::new());
    }
    let bytes = read(erofs.storage, at, usize::try_from(length).map_err(|_| Error::CutOff)?)?;
    let shared = usize::from(bytes[4]);
    let own = HEADER + shared * 4;
    if own > bytes.len() {
        return Err(Error::Damaged("attributes are longer than their place"));
    }
    let mut attributes = Vec::new();
    for number in 0..shared {
        let place = erofs.shared + u64::from(le32(&bytes, HEADER + number * 4)) * 4;
        let header = read(erofs.storage, place, ENTRY)?;
        let whole = read(erofs.storage, place, size(&header))?;
        attributes.push(one(&whole)?);
    }
    let mut rest = &bytes[own..];
    while rest.len() >= ENTRY {
        let size = size(rest);
        // What is left is filled up with zeroes.
        if rest[..ENTRY] == [0; ENTRY] {
            break;
        }
        let entry = rest.get(..size).ok_or(Error::Damaged("an attribute is longer than its place"))?;
        attributes.push(one(entry)?);
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(attributes)
}

/// How long an entry is, as its beginning says.
fn size(header: &[u8]) -> usize {
    ENTRY + usize::from(header[0]) + usize::from(le16(header, 2))
}

fn one(entry: &[u8]) -> Result<Attribute> {
    let mut name = match entry[1] {
        1 => b"user.".to_vec(),
        2 => b"system.posix_acl_access".to_vec(),
        3 => b"system.posix_acl_default".to_vec(),
        4 => b"trusted.".to_vec(),
        6 => b"security.".to_vec(),
        0x80.. => return Err(Error::Unsupported("long prefixes of the names of attributes".to_owned())),
        _ => return Err(Error::Damaged("an attribute is of no known kind")),
    };
    let middle = ENTRY + usize::from(entry[0]);
    name.extend_from_slice(&entry[ENTRY..middle]);
    Ok((name, entry[middle..].to_vec()))
}
