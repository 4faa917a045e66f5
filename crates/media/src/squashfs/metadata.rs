//! Blocks of 8 KiB in which all is that is no content, and tables that are found through lists of such blocks.

use std::collections::HashMap;
use std::sync::Arc;

use image::disk::storage::Storage;

use super::compression::Compression;
use crate::bytes::{le16, read};
use crate::reader::{Error, Result};

/// How much a block has, decompressed.
const SIZE: usize = 8192;
/// How many blocks are kept.
const KEPT: usize = 512;
/// The bit of blocks that are not compressed.
const PLAIN: u16 = 0x8000;

/// A place among the blocks: where a block begins in the file, and the byte in it, decompressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) block: u64,
    pub(super) offset: usize,
}

impl Position {
    /// What a reference of 48 bits means, relative to where a table begins.
    pub(super) fn of_reference(table: u64, reference: u64) -> Result<Self> {
        let block = table.checked_add(reference >> 16).ok_or(Error::CutOff)?;
        Ok(Self { block, offset: (reference & 0xffff) as usize })
    }
}

/// A block: its bytes, and where the next one begins.
type Block = Arc<(Vec<u8>, u64)>;

/// Reads blocks.
#[derive(Debug)]
pub(super) struct Metadata<'a, S: ?Sized> {
    pub(super) storage: &'a S,
    pub(super) compression: Compression,
    kept: HashMap<u64, Block>,
}

impl<'a, S: Storage + ?Sized> Metadata<'a, S> {
    pub(super) fn new(storage: &'a S, compression: Compression) -> Self {
        Self { storage, compression, kept: HashMap::new() }
    }

    fn block(&mut self, at: u64) -> Result<Block> {
        if let Some(block) = self.kept.get(&at) {
            return Ok(Arc::clone(block));
        }
        let header = le16(&read(self.storage, at, 2)?, 0);
        let length = usize::from(header & !PLAIN);
        if length == 0 || length > SIZE {
            return Err(Error::Damaged("a block of metadata has no size that there is"));
        }
        let raw = read(self.storage, at + 2, length)?;
        let bytes = if header & PLAIN != 0 { raw } else { self.compression.decompress(&raw, SIZE)? };
        if self.kept.len() >= KEPT {
            self.kept.clear();
        }
        let block = Arc::new((bytes, at + 2 + length as u64));
        self.kept.insert(at, Arc::clone(&block));
        Ok(block)
    }

    /// Fills the buffer with what is at the position, and moves that behind it.
    pub(super) fn read(&mut self, at: &mut Position, buffer: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            let block = self.block(at.block)?;
            let (bytes, next) = &*block;
            let there = bytes.get(at.offset..).ok_or(Error::Damaged("a place is behind its block"))?;
            if there.is_empty() {
                *at = Position { block: *next, offset: 0 };
                continue;
            }
            let length = there.len().min(buffer.len() - done);
            buffer[done..done + length].copy_from_slice(&there[..length]);
            (at.offset, done) = (at.offset + length, done + length);
        }
        Ok(())
    }

    /// The same as an array.
    pub(super) fn array<const N: usize>(&mut self, at: &mut Position) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        Ok(bytes)
    }

    /// The entry of this number in a table whose list of blocks begins at `list`.
    pub(super) fn entry<const N: usize>(&mut self, list: u64, number: u64) -> Result<[u8; N]> {
        let in_block = (SIZE / N) as u64;
        let place = list.checked_add(number / in_block * 8).ok_or(Error::CutOff)?;
        let block = crate::bytes::le64(&read(self.storage, place, 8)?, 0);
        let offset = (number % in_block) as usize * N;
        self.array(&mut Position { block, offset })
    }
}
