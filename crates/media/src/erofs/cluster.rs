//! Indices of compressed files: what each cluster of the decompressed file begins with.

use image::disk::storage::Storage;

use super::{Erofs, Inode};
use crate::bytes::{le16, le32, read};
use crate::reader::{Error, Result};

/// The bit that makes the distance to a head the number of blocks.
const IS_COUNT: u32 = 1 << 11;
/// Indices of two bytes each.
const TWO_BYTES: u16 = 1;
/// Clusters of the first and of the second compression can have several blocks.
const LARGE: u16 = 2 | 4;
/// The compressed end of the file is behind the indices.
const INLINE_END: u16 = 8;
/// Stored parts of several blocks are rotated.
const INTERLACED: u16 = 0x10;

/// What the header before the indices says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    /// Where the indices begin.
    start: u64,
    advice: u16,
    /// The numbers of the compressions.
    pub(super) algorithms: u8,
    /// The size of a cluster of the decompressed file, as a power of two.
    pub(super) bits: u32,
    /// How long the compressed end is that is behind the indices.
    inline: u16,
}

impl Header {
    pub(super) fn read<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, inode: &Inode, full: bool) -> Result<Self> {
        let place = inode.end().next_multiple_of(8);
        let header = read(erofs.storage, place, 8)?;
        let advice = le16(&header, 4);
        if header[7] & 0x80 != 0 || advice & INTERLACED != 0 {
            return Err(Error::Unsupported("ends of files in one place (fragments, dedupe)".to_owned()));
        }
        Ok(Self {
            // Eight bytes more come before the large ones.
            start: place + if full { 16 } else { 8 },
            advice,
            algorithms: header[6],
            bits: erofs.bits + u32::from(header[7] & 7),
            inline: le16(&header, 2),
        })
    }

    /// The clusters can have several blocks.
    fn large(&self) -> bool {
        self.advice & LARGE != 0
    }

    /// The compressed end of the file, behind so many indices: where it is, and how long.
    pub(super) fn inline_end(&self, end: u64) -> Option<(u64, u64)> {
        (self.advice & INLINE_END != 0).then_some((end, u64::from(self.inline)))
    }
}

/// What a cluster begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cluster {
    /// A part of the file begins in it, at this byte of it, and is stored from this block on.
    Head { sort: Sort, offset: u32, block: u32 },
    /// None; the number of blocks of the last part, where that is said here.
    Rest { blocks: Option<u32> },
}

/// How a part is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Stored,
    First,
    Second,
}

impl Sort {
    fn of(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::Stored),
            1 => Some(Self::First),
            3 => Some(Self::Second),
            _ => None,
        }
    }
}

/// All clusters of a file, and where their indices end.
pub(super) fn full<S: Storage + ?Sized>(
    erofs: &Erofs<'_, S>,
    header: &Header,
    count: u64,
) -> Result<(Vec<Cluster>, u64)> {
    let length = count.checked_mul(8).ok_or(Error::CutOff)?;
    let bytes = read(erofs.storage, header.start, usize::try_from(length).map_err(|_| Error::CutOff)?)?;
    let one = |index: &[u8]| match Sort::of(u32::from(le16(index, 0)) & 3) {
        Some(sort) => Cluster::Head { sort, offset: u32::from(le16(index, 2)), block: le32(index, 4) },
        None => {
            let distance = u32::from(le16(index, 4));
            Cluster::Rest { blocks: counted(distance, header) }
        }
    };
    Ok((bytes.chunks_exact(8).map(one).collect(), header.start + length))
}

fn counted(distance: u32, header: &Header) -> Option<u32> {
    (header.large() && distance & IS_COUNT != 0).then_some(distance & !IS_COUNT)
}

/// The same from packs of indices: pairs of 4 bytes each up to where 32 bytes begin, then 16 of 2 bytes each, then pairs
/// again. At the end of each pack there is the block that the numbers in it count from.
pub(super) fn compact<S: Storage + ?Sized>(
    erofs: &Erofs<'_, S>,
    header: &Header,
    count: u64,
) -> Result<(Vec<Cluster>, u64)> {
    if header.bits > 14 {
        return Err(Error::Damaged("clusters are too large for their indices"));
    }
    let first = ((32 - header.start % 32) / 4) & 7;
    let small = if header.advice & TWO_BYTES != 0 && header.bits <= 12 && first < count {
        (count - first) / 16 * 16
    } else {
        0
    };
    let first = if small == 0 { 0 } else { first };
    let mut clusters = Vec::new();
    let mut at = header.start;
    while (clusters.len() as u64) < count {
        let done = clusters.len() as u64;
        let (size, entries) = if done >= first && done < first + small { (32, 16) } else { (8, 2) };
        let pack = read(erofs.storage, at, size)?;
        unpack(&pack, entries, header, &mut clusters);
        at += size as u64;
    }
    clusters.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    Ok((clusters, at))
}

fn unpack(pack: &[u8], entries: usize, header: &Header, clusters: &mut Vec<Cluster>) {
    let width = (pack.len() - 4) * 8 / entries;
    let low = header.bits.max(12);
    let base = le32(pack, pack.len() - 4);
    let value = |number: usize| {
        let (byte, shift) = (number * width / 8, number * width % 8);
        let word = (0..4).map(|index| u32::from(pack.get(byte + index).copied().unwrap_or(0)) << (8 * index));
        word.fold(0, |sum, byte| sum | byte) >> shift
    };
    let decoded: Vec<(u32, u32)> =
        (0..entries).map(value).map(|value| (value & ((1 << low) - 1), (value >> low) & 3)).collect();
    let mut blocks = 0u32;
    for (number, (rest, sort)) in decoded.iter().enumerate() {
        let cluster = match Sort::of(*sort) {
            Some(sort) => {
                // Clusters of one block each are counted from one on.
                if !header.large() {
                    blocks = blocks.wrapping_add(1);
                }
                let block = base.wrapping_add(blocks);
                let counted_next = decoded
                    .get(number + 1)
                    .is_some_and(|(rest, sort)| Sort::of(*sort).is_none() && counted(*rest, header).is_some());
                if header.large() && !counted_next {
                    blocks = blocks.wrapping_add(1);
                }
                Cluster::Head { sort, offset: *rest, block }
            }
            None => {
                let count = counted(*rest, header);
                blocks = blocks.wrapping_add(count.unwrap_or(0));
                Cluster::Rest { blocks: count }
            }
        };
        clusters.push(cluster);
    }
}
