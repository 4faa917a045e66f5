//! squashfs 4.0, read as its format is documented (Documentation/filesystems/squashfs.rst of the kernel's source): every
//! kind of inode, fragments, extended attributes, and all compressions but LZO and the old LZMA.

mod compression;
mod data;
mod directory;
mod inode;
mod metadata;
mod xattr;

use image::disk::storage::Storage;

use crate::bytes::{le16, le32, le64, read};
use crate::reader::{Attribute, Entry, Error, Kind, Node, Reader, Result, Sink};

use compression::Compression;
pub use inode::Inode;
pub(crate) use inode::device;
use metadata::{Metadata, Position};

/// What it begins with.
pub const MAGIC: &[u8; 4] = b"hsqs";
/// Stands for a table that there is not.
const NONE: u64 = u64::MAX;
/// The largest block of data that the format has.
const LARGEST_BLOCK: u32 = 1 << 20;

/// A file system that is read.
#[derive(Debug)]
pub struct Squashfs<'a, S: ?Sized> {
    metadata: Metadata<'a, S>,
    block_size: u32,
    inodes: u64,
    directories: u64,
    root: u64,
    /// The fragments: where their table is, how many there are, and the last one that was read.
    fragments: (u64, u32),
    fragment: Option<(u32, Vec<u8>)>,
    /// Owners: where their table is, and how many there are.
    ids: (u64, u16),
    xattrs: Option<xattr::Table>,
}

impl<'a, S: Storage + ?Sized> Squashfs<'a, S> {
    /// Opens one.
    ///
    /// # Errors
    /// Where it is none, a damaged one, or one that is compressed in a way that is not read here.
    pub fn open(storage: &'a S) -> Result<Self> {
        let block = read(storage, 0, 96)?;
        if !block.starts_with(MAGIC) {
            return Err(Error::Damaged("it is no squashfs"));
        }
        if (le16(&block, 28), le16(&block, 30)) != (4, 0) {
            return Err(Error::Unsupported(format!("squashfs {}.{}", le16(&block, 28), le16(&block, 30))));
        }
        let (block_size, logarithm) = (le32(&block, 12), u32::from(le16(&block, 22)));
        let good = block_size.is_power_of_two() && (4096..=LARGEST_BLOCK).contains(&block_size);
        if !good || block_size.trailing_zeros() != logarithm {
            return Err(Error::Damaged("the size of its blocks is none"));
        }
        if le64(&block, 40) > storage.size() {
            return Err(Error::CutOff);
        }
        let mut metadata = Metadata::new(storage, Compression::of_number(le16(&block, 20))?);
        let xattrs = match le64(&block, 56) {
            NONE => None,
            at => Some(xattr::Table::open(&mut metadata, at)?),
        };
        Ok(Self {
            block_size,
            inodes: le64(&block, 64),
            directories: le64(&block, 72),
            root: le64(&block, 32),
            fragments: (le64(&block, 80), le32(&block, 16)),
            fragment: None,
            ids: (le64(&block, 48), le16(&block, 26)),
            xattrs,
            metadata,
        })
    }

    fn owner(&mut self, index: u16) -> Result<u32> {
        if index >= self.ids.1 {
            return Err(Error::Damaged("an owner is not in its table"));
        }
        let entry = self.metadata.entry::<4>(self.ids.0, u64::from(index))?;
        Ok(u32::from_le_bytes(entry))
    }
}

impl<S: Storage + ?Sized> Reader for Squashfs<'_, S> {
    type Inode = Inode;

    fn root(&mut self) -> Result<Inode> {
        let root = self.inode(self.root)?;
        if root.node.kind == Kind::Directory { Ok(root) } else { Err(Error::Damaged("its root is no directory")) }
    }

    fn inode(&mut self, place: u64) -> Result<Inode> {
        let at = Position::of_reference(self.inodes, place)?;
        let raw = inode::read(&mut self.metadata, at)?;
        let (uid, gid) = (self.owner(raw.owner.0)?, self.owner(raw.owner.1)?);
        Ok(Inode { node: Node { uid, gid, ..raw.inode.node }, ..raw.inode })
    }

    fn node<'a>(&self, inode: &'a Inode) -> &'a Node {
        &inode.node
    }

    fn entries(&mut self, directory: &Inode, room: usize) -> Result<Vec<Entry>> {
        directory::entries(&mut self.metadata, self.directories, directory, room)
    }

    fn target(&mut self, link: &Inode) -> Result<Vec<u8>> {
        match &link.more {
            inode::More::Target(target) => Ok(target.clone()),
            _ => Err(Error::Damaged("what is no link is to lead somewhere")),
        }
    }

    fn attributes(&mut self, inode: &Inode) -> Result<Vec<Attribute>> {
        match (inode.attributes, &self.xattrs) {
            (None, _) => Ok(Vec::new()),
            (Some(_), None) => Err(Error::Damaged("attributes are named, and there is no table of them")),
            (Some(index), Some(table)) => table.read(&mut self.metadata, index),
        }
    }

    fn content(&mut self, file: &Inode, sink: Sink<'_>) -> Result<()> {
        self.file(file, sink)
    }
}

#[cfg(test)]
mod tests;
