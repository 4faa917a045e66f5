//! The GUID partition table, see the UEFI specification, "GUID Partition Table (GPT) Disk Layout".
//!
//! A table counts if all its checksums are right; where the first one is damaged, the one at the end of the disk is
//! used. Sizes in it are believed only after they have been compared with what is there.

use std::io;

use super::storage::{Storage, array, le16, le32, le64};

/// The largest table that is read. The usual one has 16 KiB.
const LARGEST: u64 = 1024 * 1024;

/// Attributes of a partition (Discoverable Partitions Specification, "Partition Attribute Flags").
const NO_BLOCK_IO: u64 = 1 << 1;
const GROW: u64 = 1 << 59;
const READ_ONLY: u64 = 1 << 60;
const NO_AUTO: u64 = 1 << 63;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Bytes in a sector.
    pub(super) sector: u32,
    /// The first one is damaged, and this is the one at the end.
    pub(super) backup: bool,
    pub(super) entries: Vec<Entry>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// From one on.
    pub(super) number: u32,
    /// Its type.
    pub(super) kind: u128,
    /// Its name, in the units that it is written in.
    pub(super) name: Vec<u16>,
    attributes: u64,
    first: u64,
    last: u64,
}

impl Entry {
    /// Where it begins and how long it is, in bytes; none where that is no range.
    pub(super) fn range(&self, sector: u32) -> Option<(u64, u64)> {
        let offset = self.first.checked_mul(u64::from(sector))?;
        let sectors = self.last.checked_sub(self.first)?.checked_add(1)?;
        let size = sectors.checked_mul(u64::from(sector))?;
        offset.checked_add(size).map(|_| (offset, size))
    }

    pub(super) fn no_auto(&self) -> bool {
        self.attributes & NO_AUTO != 0
    }

    /// Firmware is not to look at it, which is what boot partitions have instead of the above.
    pub(super) fn no_block_io(&self) -> bool {
        self.attributes & NO_BLOCK_IO != 0
    }

    pub(super) fn read_only(&self) -> bool {
        self.attributes & READ_ONLY != 0
    }

    pub(super) fn grow(&self) -> bool {
        self.attributes & GROW != 0
    }
}

/// What was found of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// No trace of one.
    None,
    /// One that is whole.
    Whole(Table),
    /// One that cannot be used, and why.
    Damaged(&'static str),
}

/// Reads the table of a disk whose first sector says that there is one.
pub(super) fn read(storage: &(impl Storage + ?Sized)) -> io::Result<Found> {
    let mut why = None;
    for sector in [512u32, 4096, 2048, 1024] {
        let sectors = storage.size() / u64::from(sector);
        match table(storage, sector, 1)? {
            Ok(entries) => return Ok(Found::Whole(Table { sector, backup: false, entries })),
            Err(reason) => why = why.or(reason),
        }
        if let Some(last) = sectors.checked_sub(1).filter(|last| *last > 1) {
            match table(storage, sector, last)? {
                Ok(entries) => return Ok(Found::Whole(Table { sector, backup: true, entries })),
                Err(reason) => why = why.or(reason),
            }
        }
    }
    Ok(why.map_or(Found::None, Found::Damaged))
}

/// The entries of the table whose header is in that sector; else why there are none, or nothing where there is no
/// header either.
fn table(
    storage: &(impl Storage + ?Sized),
    sector: u32,
    at: u64,
) -> io::Result<Result<Vec<Entry>, Option<&'static str>>> {
    let Some(place) = at.checked_mul(u64::from(sector)) else { return Ok(Err(None)) };
    // All fields that are read lie in the first 512 bytes of a sector; the rest is zero.
    let Some(header) = array::<512>(storage, place)? else { return Ok(Err(None)) };
    if !header.starts_with(b"EFI PART") {
        return Ok(Err(None));
    }
    let size = le32(&header, 12) as usize;
    if !(92..=512).contains(&size) {
        return Ok(Err(Some("the size of its header is none")));
    }
    let mut summed = header;
    summed[16..20].fill(0);
    if crc32(&summed[..size]) != le32(&header, 16) {
        return Ok(Err(Some("the checksum of its header is wrong")));
    }
    if le64(&header, 24) != at {
        return Ok(Err(Some("its header is in another place than it says")));
    }
    let (count, length) = (le32(&header, 80), le32(&header, 84));
    if length < 128 || length % 8 != 0 || length > 4096 {
        return Ok(Err(Some("the size of its entries is none")));
    }
    let bytes = u64::from(count) * u64::from(length);
    let start = le64(&header, 72).checked_mul(u64::from(sector));
    let end = start.and_then(|start| start.checked_add(bytes));
    let (Some(start), Some(end)) = (start, end) else { return Ok(Err(Some("its entries lie beyond all sizes"))) };
    if bytes > LARGEST || end > storage.size() {
        return Ok(Err(Some("its entries do not fit into the image")));
    }
    let mut all = vec![0; bytes as usize];
    storage.read(start, &mut all)?;
    if crc32(&all) != le32(&header, 88) {
        return Ok(Err(Some("the checksum of its entries is wrong")));
    }
    Ok(Ok(all.chunks_exact(length as usize).zip(1..).filter_map(|(bytes, number)| entry(bytes, number)).collect()))
}

/// An entry that is in use.
fn entry(bytes: &[u8], number: u32) -> Option<Entry> {
    let kind = guid(bytes);
    let units = (0..36).map(|unit| le16(bytes, 56 + 2 * unit));
    (kind != 0).then(|| Entry {
        number,
        kind,
        first: le64(bytes, 32),
        last: le64(bytes, 40),
        attributes: le64(bytes, 48),
        name: units.take_while(|unit| *unit != 0).collect(),
    })
}

/// A GUID as it is written for people: the first three fields are little endian on disk.
fn guid(bytes: &[u8]) -> u128 {
    let tail = bytes[8..16].iter().fold(0u128, |all, byte| all << 8 | u128::from(*byte));
    u128::from(le32(bytes, 0)) << 96 | u128::from(le16(bytes, 4)) << 80 | u128::from(le16(bytes, 6)) << 64 | tail
}

/// The checksum of UEFI, which is that of Ethernet.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table_of_remainders();
    !bytes.iter().fold(!0, |sum, byte| TABLE[((sum ^ u32::from(*byte)) & 0xff) as usize] ^ (sum >> 8))
}

const fn table_of_remainders() -> [u32; 256] {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { 0xEDB8_8320 ^ (value >> 1) } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_range_is_none_where_it_overflows_or_is_upside_down() {
        let entry = |first, last| Entry { number: 1, kind: 1, name: Vec::new(), attributes: 0, first, last };
        assert_eq!(entry(2, 3).range(512), Some((1024, 1024)));
        assert_eq!(entry(3, 2).range(512), None);
        assert_eq!(entry(0, u64::MAX).range(512), None);
        assert_eq!(entry(u64::MAX / 4, u64::MAX / 4).range(4096), None);
    }
}
