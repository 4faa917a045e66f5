//! EROFS, read as its format is documented (Documentation/filesystems/erofs.rst of the kernel's source): plain, inline,
//! in chunks, and compressed with LZ4. Other compressions, and what several files or devices share, are the kernel's.

mod cluster;
mod compressed;
mod data;
mod inode;
mod xattr;

use image::disk::storage::Storage;

use crate::bytes::{le16, le32, le64, read};
use crate::reader::{Attribute, Entry, Error, Kind, Listing, Node, Reader, Result, Sink};

pub use inode::Inode;

/// Where the superblock is, and what it begins with.
const SUPERBLOCK: u64 = 1024;
const MAGIC: u32 = 0xe0f5_e1e2;
/// The largest directory that is read, and the largest target of a link.
const LARGEST_DIRECTORY: u64 = 64 << 20;
const LONGEST_TARGET: u64 = 4096;

/// Features without which the image cannot be read.
mod feature {
    /// Compressed data is at the end of its blocks.
    pub(super) const ZERO_PADDING: u32 = 0x1;
    /// The compressions are described, and a cluster can have several blocks.
    pub(super) const CONFIGURED: u32 = 0x2;
    /// Files in chunks.
    pub(super) const CHUNKED: u32 = 0x4;
    /// A second compression, or more devices.
    pub(super) const SECOND_HEAD: u32 = 0x8;
    /// The end of a file, compressed, is with its inode.
    pub(super) const TAIL_PACKING: u32 = 0x10;
    /// Ends of files are together in one, or parts are the same.
    pub(super) const FRAGMENTS: u32 = 0x20;
    /// All that are read here.
    pub(super) const KNOWN: u32 = ZERO_PADDING | CONFIGURED | CHUNKED | SECOND_HEAD | TAIL_PACKING;
}

/// A file system that is read.
#[derive(Debug)]
pub struct Erofs<'a, S: ?Sized> {
    storage: &'a S,
    /// The size of a block, as a power of two.
    bits: u32,
    /// Where inodes and shared attributes begin, in bytes.
    inodes: u64,
    shared: u64,
    root: u64,
    /// When it was made: the time of files that have none of their own.
    built: (i64, u32),
    features: u32,
}

impl<'a, S: Storage + ?Sized> Erofs<'a, S> {
    /// Opens one.
    ///
    /// # Errors
    /// Where it is none, a damaged one, or one with features that are not read here.
    pub fn open(storage: &'a S) -> Result<Self> {
        let block = read(storage, SUPERBLOCK, 128)?;
        if le32(&block, 0) != MAGIC {
            return Err(Error::Damaged("it is no EROFS"));
        }
        let features = le32(&block, 80);
        let unknown = features & !feature::KNOWN;
        if unknown & feature::FRAGMENTS != 0 {
            return Err(Error::Unsupported("ends of files in one place (fragments, dedupe)".to_owned()));
        }
        if unknown != 0 {
            return Err(Error::Unsupported(format!("features of EROFS with the numbers {unknown:#x}")));
        }
        if le16(&block, 86) != 0 {
            return Err(Error::Unsupported("contents on other devices".to_owned()));
        }
        let (bits, directory_bits) = (u32::from(block[12]), block[90]);
        if !(9..=16).contains(&bits) || directory_bits != 0 {
            return Err(Error::Damaged("the size of its blocks is none"));
        }
        if u64::from(le32(&block, 36)) << bits > storage.size() {
            return Err(Error::CutOff);
        }
        let seconds = i64::try_from(le64(&block, 24)).map_err(|_| Error::Damaged("its time is none"))?;
        Ok(Self {
            storage,
            bits,
            inodes: u64::from(le32(&block, 40)) << bits,
            shared: u64::from(le32(&block, 44)) << bits,
            root: u64::from(le16(&block, 14)),
            built: (seconds, le32(&block, 32).min(999_999_999)),
            features,
        })
    }

    fn block_size(&self) -> u64 {
        1 << self.bits
    }

    fn has(&self, feature: u32) -> bool {
        self.features & feature != 0
    }

    /// All of what is small.
    fn whole(&self, inode: &Inode, limit: u64, problem: &'static str) -> Result<Vec<u8>> {
        if inode.node.size > limit {
            return Err(Error::Damaged(problem));
        }
        let mut bytes = Vec::new();
        data::content(self, inode, &mut |piece| {
            match piece {
                crate::reader::Piece::Data(data) => bytes.extend_from_slice(data),
                crate::reader::Piece::Hole(length) => bytes.resize(bytes.len() + length as usize, 0),
            }
            Ok(())
        })?;
        Ok(bytes)
    }
}

impl<S: Storage + ?Sized> Reader for Erofs<'_, S> {
    type Inode = Inode;

    fn root(&mut self) -> Result<Inode> {
        let root = self.inode(self.root)?;
        if root.node.kind == Kind::Directory { Ok(root) } else { Err(Error::Damaged("its root is no directory")) }
    }

    fn inode(&mut self, place: u64) -> Result<Inode> {
        inode::read(self, place)
    }

    fn node<'a>(&self, inode: &'a Inode) -> &'a Node {
        &inode.node
    }

    fn entries(&mut self, directory: &Inode, room: usize) -> Result<Vec<Entry>> {
        let bytes = self.whole(directory, LARGEST_DIRECTORY, "a directory is too large")?;
        let mut entries = Listing::new(room);
        for block in bytes.chunks(1 << self.bits) {
            listing(block, &mut entries)?;
        }
        Ok(entries.into_entries())
    }

    fn target(&mut self, link: &Inode) -> Result<Vec<u8>> {
        self.whole(link, LONGEST_TARGET, "a link is too long")
    }

    fn attributes(&mut self, inode: &Inode) -> Result<Vec<Attribute>> {
        xattr::read_all(self, inode)
    }

    fn content(&mut self, file: &Inode, sink: Sink<'_>) -> Result<()> {
        data::content(self, file, sink)
    }
}

/// A block of a directory: fixed parts first, then the names that they point to.
fn listing(block: &[u8], entries: &mut Listing) -> Result<()> {
    const WRONG: Error = Error::Damaged("the entries of a directory overlap");
    const FIXED: usize = 12;
    let first = usize::from(le16(block, 8));
    if first < FIXED || first % FIXED != 0 || first > block.len() {
        return Err(WRONG);
    }
    let count = first / FIXED;
    for number in 0..count {
        let entry = &block[number * FIXED..];
        let start = usize::from(le16(entry, 8));
        let end = if number + 1 < count { usize::from(le16(entry, FIXED + 8)) } else { block.len() };
        let name = block.get(start..end).filter(|_| start >= first).ok_or(WRONG)?;
        // The last one ends with the block, or with a zero before that.
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        if !matches!(name, b"." | b"..") {
            entries.push(Entry { name: name.to_vec(), place: le64(entry, 0) })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
