//! The contents of files that are not compressed.

use image::disk::storage::Storage;

use super::inode::Layout;
use super::{Erofs, Inode, compressed};
use crate::bytes::{le16, le32, read};
use crate::reader::{Error, Piece, Result, Sink};

/// How much is read at once.
const AT_ONCE: u64 = 256 << 10;
/// Stands for a block that there is not.
const NOWHERE: u32 = u32::MAX;
/// Bits of the format of chunks.
const CHUNK_BITS: u16 = 0x1f;
const INDEXED: u16 = 0x20;

/// All of a file, or of anything else that has contents.
pub(super) fn content<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, inode: &Inode, sink: Sink<'_>) -> Result<()> {
    let size = inode.node.size;
    match inode.layout {
        _ if size == 0 => Ok(()),
        Layout::Plain(block) => span(erofs, u64::from(block) << erofs.bits, size, sink),
        Layout::Inline(block) => {
            let tail = size % erofs.block_size();
            span(erofs, u64::from(block) << erofs.bits, size - tail, sink)?;
            span(erofs, inode.end(), tail, sink)
        }
        Layout::Chunks(format) => chunks(erofs, inode, format, sink),
        Layout::Full | Layout::Compact => compressed::content(erofs, inode, sink),
    }
}

fn span<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, start: u64, size: u64, sink: Sink<'_>) -> Result<()> {
    let mut done = 0;
    while done < size {
        let length = (size - done).min(AT_ONCE);
        let at = start.checked_add(done).ok_or(Error::CutOff)?;
        sink(Piece::Data(&read(erofs.storage, at, length as usize)?))?;
        done += length;
    }
    Ok(())
}

fn chunks<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, inode: &Inode, format: u16, sink: Sink<'_>) -> Result<()> {
    if format & !(CHUNK_BITS | INDEXED) != 0 {
        return Err(Error::Unsupported("chunks of a newer format".to_owned()));
    }
    let bits = erofs.bits + u32::from(format & CHUNK_BITS);
    let indexed = format & INDEXED != 0;
    let width: u64 = if indexed { 8 } else { 4 };
    let mut at = inode.end().next_multiple_of(width);
    let mut left = inode.node.size;
    while left > 0 {
        let length = 1u64.checked_shl(bits).map_or(left, |chunk| chunk.min(left));
        let entry = read(erofs.storage, at, width as usize)?;
        let block = if indexed { le32(&entry, 4) } else { le32(&entry, 0) };
        if block == NOWHERE {
            sink(Piece::Hole(length))?;
        } else if indexed && le16(&entry, 2) != 0 {
            return Err(Error::Unsupported("contents on other devices".to_owned()));
        } else {
            span(erofs, u64::from(block) << erofs.bits, length, sink)?;
        }
        (at, left) = (at + width, left - length);
    }
    Ok(())
}
