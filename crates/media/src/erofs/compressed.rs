//! The contents of compressed files.

use image::disk::storage::Storage;

use super::cluster::{Cluster, Header, Sort, compact, full};
use super::inode::Layout;
use super::{Erofs, Inode, feature};
use crate::bytes::read;
use crate::reader::{Error, Piece, Result, Sink};

/// The largest part of a file that is decompressed at once.
const LARGEST: u64 = 32 << 20;
/// The number of LZ4.
const LZ4: u8 = 0;

/// A part of the file that is compressed by itself.
struct Part {
    sort: Sort,
    /// Where it begins in the file.
    start: u64,
    block: u32,
    blocks: Option<u32>,
}

pub(super) fn content<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, inode: &Inode, sink: Sink<'_>) -> Result<()> {
    let is_full = inode.layout == Layout::Full;
    let header = Header::read(erofs, inode, is_full)?;
    let size = inode.node.size;
    let count = size.div_ceil(1 << header.bits);
    // Each of them takes bytes of the image: what says to be longer than that allows is not reserved for.
    let (clusters, end) = if is_full { full(erofs, &header, count)? } else { compact(erofs, &header, count)? };
    let parts = parts(&clusters, header.bits, size)?;
    for (number, part) in parts.iter().enumerate() {
        let last = number + 1 == parts.len();
        let until = parts.get(number + 1).map_or(size, |next| next.start);
        let length = until - part.start;
        if length > LARGEST {
            return Err(Error::Damaged("a part of a file is too large"));
        }
        let raw = match header.inline_end(end).filter(|_| last) {
            Some((place, length)) => read(erofs.storage, place, length as usize)?,
            None => {
                let bytes = u64::from(part.blocks.unwrap_or(1)) << erofs.bits;
                let bytes = usize::try_from(bytes).map_err(|_| Error::CutOff)?;
                read(erofs.storage, u64::from(part.block) << erofs.bits, bytes)?
            }
        };
        let length = length as usize;
        let algorithm = match part.sort {
            Sort::Stored => {
                sink(Piece::Data(raw.get(..length).ok_or(Error::Damaged("a part of a file is too short"))?))?;
                continue;
            }
            Sort::First => header.algorithms & 0xf,
            Sort::Second => header.algorithms >> 4,
        };
        if algorithm != LZ4 {
            return Err(Error::Unsupported("another compression than LZ4".to_owned()));
        }
        sink(Piece::Data(&decompress(erofs, &raw, length)?))?;
    }
    Ok(())
}

fn parts(clusters: &[Cluster], bits: u32, size: u64) -> Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for (number, cluster) in clusters.iter().enumerate() {
        match *cluster {
            Cluster::Head { sort, offset, block } => {
                let start = ((number as u64) << bits) + u64::from(offset);
                // The last cluster has where the file ends, as if another part followed.
                if start == size && number + 1 == clusters.len() {
                    continue;
                }
                let after = parts.last().map_or(start == 0, |before| start > before.start);
                if !after || start >= size || u64::from(offset) >= 1 << bits {
                    return Err(Error::Damaged("the parts of a file are out of order"));
                }
                parts.push(Part { sort, start, block, blocks: None });
            }
            Cluster::Rest { blocks } => {
                let part = parts.last_mut().ok_or(Error::Damaged("a file has no beginning"))?;
                part.blocks = part.blocks.or(blocks);
            }
        }
    }
    Ok(parts)
}

/// What is compressed stands at the end of its blocks.
fn decompress<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, raw: &[u8], length: usize) -> Result<Vec<u8>> {
    if !erofs.has(feature::ZERO_PADDING) {
        return Err(Error::Unsupported("LZ4 of before Linux 5.3".to_owned()));
    }
    let start = raw.iter().position(|byte| *byte != 0).unwrap_or(raw.len());
    let mut bytes = vec![0; length];
    let done = lz4_flex::block::decompress_into(&raw[start..], &mut bytes)
        .map_err(|error| Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    if done == length { Ok(bytes) } else { Err(Error::Damaged("a part of a file is too short")) }
}
