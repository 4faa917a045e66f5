//! Records of directories (ECMA-119, 9.1), and what Rock Ridge (IEEE P1282, over SUSP, P1281) says in them.

use image::disk::storage::Storage;

use super::{Entry, Kind, SECTOR};
use crate::bytes::{self, le16, le32};
use crate::reader::{Error, Result};

/// The flag of directories.
pub(super) const DIRECTORY: u8 = 2;
/// Another part of the same file follows.
const MORE: u8 = 0x80;
/// How many continuations a record may have, and how long a name may be.
const MOST_CONTINUATIONS: usize = 16;
const LONGEST_NAME: usize = 255;

/// Which names count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Those of Rock Ridge; so many bytes come before them in each record.
    RockRidge { skip: usize },
    /// UCS-2.
    Joliet,
    /// Upper case, a point and a version.
    Plain,
}

/// Takes the next record of a sector.
pub(super) fn next<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>> {
    match rest.first() {
        // The rest of a sector is filled up where the next record does not fit.
        None | Some(0) => Ok(None),
        Some(length) => {
            let length = usize::from(*length);
            let record =
                rest.get(..length).filter(|record| record.len() >= 34 && 33 + usize::from(record[32]) <= length);
            let record = record.ok_or(Error::Damaged("a record of a directory is too short"))?;
            *rest = &rest[length..];
            Ok(Some(record))
        }
    }
}

/// What stands behind the name of a record.
fn system_use(record: &[u8]) -> &[u8] {
    let name = usize::from(record[32]);
    record.get(33 + name + usize::from(name.is_multiple_of(2))..).unwrap_or_default()
}

/// Whether the root's own record, which comes first, announces SUSP; how many bytes it wants skipped.
pub(super) fn rock_ridge(first: &[u8]) -> Option<usize> {
    let mut rest = first;
    let area = system_use(next(&mut rest).ok()??);
    let announced = area.len() >= 7 && area.starts_with(b"SP") && area[2] == 7 && area[4..6] == [0xbe, 0xef];
    announced.then(|| usize::from(area[6]))
}

/// What Rock Ridge says of a record.
#[derive(Default)]
struct Said {
    name: Vec<u8>,
    has_name: bool,
    kind: Option<crate::reader::Kind>,
    /// A directory that has been moved to elsewhere: its sector.
    moved_to: Option<u64>,
    moved_here: bool,
    compressed: bool,
}

/// Reads a record, and whether another part follows; none for a directory itself, the one above, and one that is shown
/// elsewhere.
pub(super) fn read(record: &[u8], names: Names, storage: &(impl Storage + ?Sized)) -> Result<Option<(Entry, bool)>> {
    let name = &record[33..33 + usize::from(record[32])];
    if matches!(name, [0] | [1]) {
        return Ok(None);
    }
    // Pieces between which others lie.
    if record[26] != 0 || record[27] != 0 {
        return Err(Error::Damaged("a file is interleaved"));
    }
    let mut kind = if record[25] & DIRECTORY == 0 { Kind::File } else { Kind::Directory };
    // What comes before the content are the attributes of other systems.
    let place = (u64::from(le32(record, 2)) + u64::from(record[1])) * SECTOR;
    let mut parts = vec![(place, u64::from(le32(record, 10)))];
    let mut compressed = false;
    let name = match names {
        Names::RockRidge { skip } => {
            let said = said(system_use(record).get(skip..).unwrap_or_default(), storage)?;
            if said.moved_here {
                return Ok(None);
            }
            match said.kind {
                Some(crate::reader::Kind::Directory | crate::reader::Kind::File) | None => {}
                Some(_) => kind = Kind::Other,
            }
            if let Some(sector) = said.moved_to {
                (kind, parts) = (Kind::Directory, vec![moved(sector, storage)?]);
            }
            compressed = said.compressed;
            if said.has_name { String::from_utf8_lossy(&said.name).into_owned() } else { plain(name) }
        }
        Names::Joliet => {
            let words: Vec<u16> = name.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            without_version(&String::from_utf16_lossy(&words)).to_owned()
        }
        Names::Plain => plain(name),
    };
    if name.is_empty() || name.contains(['/', '\0']) || matches!(&*name, "." | "..") {
        return Err(Error::Damaged("a name cannot be one"));
    }
    Ok(Some((Entry { name, kind, parts, compressed }, record[25] & MORE != 0)))
}

fn plain(name: &[u8]) -> String {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    without_version(&name).trim_end_matches('.').to_owned()
}

fn without_version(name: &str) -> &str {
    match name.rsplit_once(';') {
        Some((name, version)) if version.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

/// A directory that lies elsewhere says itself how long it is, in its first record.
fn moved(sector: u64, storage: &(impl Storage + ?Sized)) -> Result<(u64, u64)> {
    let first = bytes::read(storage, sector * SECTOR, SECTOR as usize)?;
    let own = next(&mut &first[..])?.ok_or(Error::Damaged("a directory that was moved is not there"))?;
    Ok((sector * SECTOR, u64::from(le32(own, 10))))
}

fn said(area: &[u8], storage: &(impl Storage + ?Sized)) -> Result<Said> {
    let mut said = Said::default();
    let mut area = area.to_vec();
    for _ in 0..MOST_CONTINUATIONS {
        let Some((sector, offset, length)) = one_area(&area, &mut said)? else { return Ok(said) };
        if offset + length > SECTOR {
            return Err(Error::Damaged("a continuation is longer than a sector"));
        }
        area = bytes::read(storage, sector * SECTOR + offset, length as usize)?;
    }
    Err(Error::Damaged("a record has too many continuations"))
}

/// Reads the entries of an area; where it goes on: sector, offset and length.
fn one_area(area: &[u8], said: &mut Said) -> Result<Option<(u64, u64, u64)>> {
    let mut next = None;
    let mut rest = area;
    // What is shorter than any entry fills up.
    while rest.len() >= 4 && rest[0] != 0 {
        let length = usize::from(rest[2]);
        let entry = rest.get(..length).filter(|entry| entry.len() >= 4);
        let entry = entry.ok_or(Error::Damaged("what Rock Ridge says of a file is too short"))?;
        match &entry[..2] {
            b"NM" if length >= 5 => {
                said.has_name = true;
                said.name.extend_from_slice(&entry[5..]);
                if said.name.len() > LONGEST_NAME {
                    return Err(Error::Damaged("a name is too long"));
                }
            }
            b"PX" => said.kind = crate::reader::Kind::of_mode(le32(entry, 4)),
            b"SL" => said.kind = Some(crate::reader::Kind::Symlink),
            b"CL" => said.moved_to = Some(u64::from(le32(entry, 4))),
            b"RE" => said.moved_here = true,
            b"ZF" if le16(entry, 4) != 0 => said.compressed = true,
            b"CE" => {
                let field = |at| u64::from(le32(entry, at));
                next = Some((field(4), field(12), field(20)));
            }
            b"ST" => break,
            _ => {}
        }
        rest = &rest[length..];
    }
    Ok(next)
}
