//! Listings of directories.

use image::disk::storage::Storage;

use super::inode::{Inode, More};
use super::metadata::{Metadata, Position};
use crate::bytes::{le16, le32};
use crate::reader::{Entry, Error, Listing, Result};

/// The largest listing that is read.
const LARGEST: u32 = 64 << 20;
/// How many entries stand behind one header.
const MOST: u32 = 256;
/// What a listing says to be longer than it is: for `.` and `..`, which are not in it.
const NOT_THERE: u32 = 3;

pub(super) fn entries<S: Storage + ?Sized>(
    metadata: &mut Metadata<'_, S>,
    table: u64,
    directory: &Inode,
    room: usize,
) -> Result<Vec<Entry>> {
    let More::Listing { block, offset, length } = directory.more else {
        return Err(Error::Damaged("what is no directory is to have entries"));
    };
    if length > LARGEST {
        return Err(Error::Damaged("a directory is too large"));
    }
    let block = table.checked_add(u64::from(block)).ok_or(Error::CutOff)?;
    let mut at = Position { block, offset: usize::from(offset) };
    let mut left = length.saturating_sub(NOT_THERE);
    let mut entries = Listing::new(room);
    while left > 0 {
        let header = metadata.array::<12>(&mut at)?;
        left = left.checked_sub(12).ok_or(WRONG)?;
        let (count, start) = (le32(&header, 0).saturating_add(1), u64::from(le32(&header, 4)));
        if count > MOST {
            return Err(WRONG);
        }
        for _ in 0..count {
            let entry = metadata.array::<8>(&mut at)?;
            let mut name = vec![0; usize::from(le16(&entry, 6)) + 1];
            left = u32::try_from(name.len()).ok().and_then(|name| left.checked_sub(8 + name)).ok_or(WRONG)?;
            metadata.read(&mut at, &mut name)?;
            entries.push(Entry { name, place: start << 16 | u64::from(le16(&entry, 0)) })?;
        }
    }
    Ok(entries.into_entries())
}

const WRONG: Error = Error::Damaged("the listing of a directory is not as long as it says");
