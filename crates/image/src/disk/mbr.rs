//! The partition table of the first sector, as old as the PC.

use std::io;

use super::storage::{Storage, array, le16, le32};

/// How many logical partitions are looked at; the kernel's own limit is 256 partitions.
const LOGICAL: u32 = 256;
const SECTOR: u64 = 512;

/// A partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// From one on; logical ones from five on.
    pub(super) number: u32,
    /// Marked as the one to boot from.
    pub(super) bootable: bool,
    /// Its type.
    pub(super) kind: u8,
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    /// How long it is, in bytes.
    pub(super) size: u64,
}

/// Stands for the table of the other kind.
pub(super) const PROTECTIVE: u8 = 0xEE;

/// The partitions; none where the first sector has no table.
pub(super) fn read(storage: &(impl Storage + ?Sized)) -> io::Result<Option<Vec<Entry>>> {
    let Some(sector) = array::<512>(storage, 0)? else { return Ok(None) };
    if le16(&sector, 510) != 0xAA55 || (0..4).any(|slot| !matches!(sector[446 + 16 * slot], 0 | 0x80)) {
        return Ok(None);
    }
    let mut all = Vec::new();
    for slot in 0..4 {
        let Some(entry) = entry(&sector, slot, 0, slot as u32 + 1) else { continue };
        if is_extended(entry.kind) { logical(storage, entry.offset, &mut all)? } else { all.push(entry) }
    }
    all.sort_by_key(|entry| entry.number);
    Ok(Some(all))
}

fn is_extended(kind: u8) -> bool {
    matches!(kind, 0x05 | 0x0F | 0x85)
}

fn entry(sector: &[u8; 512], slot: usize, base: u64, number: u32) -> Option<Entry> {
    let bytes = &sector[446 + 16 * slot..462 + 16 * slot];
    let (first, count) = (u64::from(le32(bytes, 8)), u64::from(le32(bytes, 12)));
    let used = bytes[4] != 0 && count != 0;
    used.then_some(Entry {
        number,
        bootable: bytes[0] == 0x80,
        kind: bytes[4],
        // Both are of 32 bits, so that nothing overflows.
        offset: base + first * SECTOR,
        size: count * SECTOR,
    })
}

/// A chain of sectors with a partition and the way to the next sector each, which only goes forward.
fn logical(storage: &(impl Storage + ?Sized), start: u64, all: &mut Vec<Entry>) -> io::Result<()> {
    let mut at = start;
    for number in 5..5 + LOGICAL {
        let Some(sector) = array::<512>(storage, at)? else { return Ok(()) };
        if le16(&sector, 510) != 0xAA55 {
            return Ok(());
        }
        all.extend(entry(&sector, 0, at, number).filter(|entry| !is_extended(entry.kind)));
        match entry(&sector, 1, start, 0) {
            Some(next) if is_extended(next.kind) && next.offset > at => at = next.offset,
            _ => return Ok(()),
        }
    }
    Ok(())
}
