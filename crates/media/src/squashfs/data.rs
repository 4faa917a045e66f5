//! The contents of files: blocks, holes, and fragments that several files share.

use image::disk::storage::Storage;

use super::Squashfs;
use super::inode::{Inode, More};
use crate::bytes::{le32, le64, read};
use crate::reader::{Error, Piece, Result, Sink};

/// The bit of blocks that are not compressed.
const PLAIN: u32 = 1 << 24;

impl<S: Storage + ?Sized> Squashfs<'_, S> {
    pub(super) fn file(&mut self, file: &Inode, sink: Sink<'_>) -> Result<()> {
        let More::Content { start, mut sizes, fragment } = file.more else {
            return Err(Error::Damaged("what is no file is to have contents"));
        };
        let block_size = u64::from(self.block_size);
        let (mut place, mut left) = (start, file.node.size);
        while left >= block_size || (left > 0 && fragment.is_none()) {
            let size = le32(&self.metadata.array::<4>(&mut sizes)?, 0);
            let length = left.min(block_size);
            if size == 0 {
                sink(Piece::Hole(length))?;
            } else {
                let bytes = self.block(place, size)?;
                let wanted = usize::try_from(length).unwrap_or(usize::MAX);
                sink(Piece::Data(bytes.get(..wanted).ok_or(SHORT)?))?;
                place += u64::from(size & !PLAIN);
            }
            left -= length;
        }
        let Some((number, offset)) = fragment.filter(|_| left > 0) else { return Ok(()) };
        let (start, end) = (u64::from(offset), u64::from(offset) + left);
        let bytes = self.fragment(number)?;
        let part = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        sink(Piece::Data(part.and_then(|(start, end)| bytes.get(start..end)).ok_or(SHORT)?))
    }

    fn block(&self, place: u64, size: u32) -> Result<Vec<u8>> {
        let length = size & !PLAIN;
        if length > self.block_size {
            return Err(Error::Damaged("a block is larger than it may be"));
        }
        let raw = read(self.metadata.storage, place, length as usize)?;
        if size & PLAIN != 0 {
            return Ok(raw);
        }
        self.metadata.compression.decompress(&raw, self.block_size as usize)
    }

    fn fragment(&mut self, number: u32) -> Result<&[u8]> {
        if self.fragment.as_ref().is_none_or(|(known, _)| *known != number) {
            let (table, count) = self.fragments;
            if number >= count {
                return Err(Error::Damaged("a fragment is not in its table"));
            }
            let entry = self.metadata.entry::<16>(table, u64::from(number))?;
            self.fragment = Some((number, self.block(le64(&entry, 0), le32(&entry, 8))?));
        }
        Ok(self.fragment.as_ref().map(|(_, bytes)| &bytes[..]).unwrap_or_default())
    }
}

const SHORT: Error = Error::Damaged("a file is shorter than it says");
