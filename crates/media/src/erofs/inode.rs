//! Inodes, of two sizes.

use image::disk::storage::Storage;

use super::Erofs;
use crate::bytes::{self, le16, le32, le64};
use crate::reader::{Error, Kind, Node, Result};
use crate::squashfs::device;

/// How contents are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// In blocks from here on.
    Plain(u32),
    /// The same, but for the end, which is behind the inode.
    Inline(u32),
    /// Compressed, with an index of 8 bytes for each cluster.
    Full,
    /// Compressed, with a smaller index.
    Compact,
    /// In chunks, by this format.
    Chunks(u16),
}

/// What is known of a file.
#[derive(Clone, Debug)]
pub struct Inode {
    pub(super) node: Node,
    pub(super) layout: Layout,
    /// Where its attributes are, and how many bytes they take; what belongs to its contents comes behind.
    pub(super) attributes: (u64, u64),
}

impl Inode {
    /// Where it ends, with its attributes.
    pub(super) fn end(&self) -> u64 {
        self.attributes.0 + self.attributes.1
    }
}

pub(super) fn read<S: Storage + ?Sized>(erofs: &Erofs<'_, S>, place: u64) -> Result<Inode> {
    let at = place.checked_mul(32).and_then(|offset| offset.checked_add(erofs.inodes)).ok_or(Error::CutOff)?;
    let mut raw = bytes::read(erofs.storage, at, 32)?;
    let format = le16(&raw, 0);
    let extended = format & 1 != 0;
    if extended {
        raw = bytes::read(erofs.storage, at, 64)?;
    }
    let mode = u32::from(le16(&raw, 4));
    let kind = Kind::of_mode(mode).ok_or(Error::Damaged("an inode is of no known kind"))?;
    let number = le32(&raw, 16);
    let layout = match (format >> 1) & 7 {
        0 => Layout::Plain(number),
        1 => Layout::Full,
        2 => Layout::Inline(number),
        3 => Layout::Compact,
        4 => Layout::Chunks((number & 0xffff) as u16),
        _ => return Err(Error::Damaged("contents are stored in no known way")),
    };
    let mut node = Node {
        number: place,
        kind,
        mode: mode & 0o7777,
        uid: u32::from(le16(&raw, 24)),
        gid: u32::from(le16(&raw, 26)),
        modified: erofs.built,
        links: u32::from(le16(&raw, 6)),
        size: u64::from(le32(&raw, 8)),
        device: (0, 0),
    };
    if extended {
        let seconds = i64::try_from(le64(&raw, 32)).map_err(|_| Error::Damaged("a time is none"))?;
        (node.uid, node.gid, node.links) = (le32(&raw, 24), le32(&raw, 28), le32(&raw, 44));
        (node.size, node.modified) = (le64(&raw, 8), (seconds, le32(&raw, 40).min(999_999_999)));
    }
    if matches!(kind, Kind::BlockDevice | Kind::CharacterDevice) {
        node.device = device(number);
    }
    let attributes = match u64::from(le16(&raw, 2)) {
        0 => 0,
        count => 12 + (count - 1) * 4,
    };
    Ok(Inode { node, layout, attributes: (at + raw.len() as u64, attributes) })
}
