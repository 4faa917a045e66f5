//! Inodes, of 14 kinds.

use image::disk::storage::Storage;

use super::metadata::{Metadata, Position};
use crate::bytes::{le16, le32, le64};
use crate::reader::{Error, Kind, Node, Result};

/// The longest target of a link that the kernel takes.
const LONGEST_TARGET: u32 = 4096;
/// Stands for none: of fragments, and of attributes.
const NONE: u32 = u32::MAX;

/// What is known of a file.
#[derive(Clone, Debug)]
pub struct Inode {
    pub(super) node: Node,
    /// The number of its attributes.
    pub(super) attributes: Option<u32>,
    pub(super) more: More,
}

/// What only some have.
#[derive(Clone, Debug)]
pub(super) enum More {
    Nothing,
    Target(Vec<u8>),
    /// A directory: where its entries are, relative to their table, and how many bytes they take.
    Listing {
        block: u32,
        offset: u16,
        length: u32,
    },
    /// A file: where its blocks begin, where the list of their sizes is, the fragment with its end and the place there.
    Content {
        start: u64,
        sizes: Position,
        fragment: Option<(u32, u32)>,
    },
}

/// One whose owners are still numbers in a table.
pub(super) struct Raw {
    pub(super) inode: Inode,
    pub(super) owner: (u16, u16),
}

pub(super) fn read<S: Storage + ?Sized>(metadata: &mut Metadata<'_, S>, mut at: Position) -> Result<Raw> {
    let header = metadata.array::<16>(&mut at)?;
    let sort = le16(&header, 0);
    let kind = match sort {
        1 | 8 => Kind::Directory,
        2 | 9 => Kind::File,
        3 | 10 => Kind::Symlink,
        4 | 11 => Kind::BlockDevice,
        5 | 12 => Kind::CharacterDevice,
        6 | 13 => Kind::Fifo,
        7 | 14 => Kind::Socket,
        _ => return Err(Error::Damaged("an inode is of no known kind")),
    };
    let mut node = Node {
        number: u64::from(le32(&header, 12)),
        kind,
        mode: u32::from(le16(&header, 2)) & 0o7777,
        uid: 0,
        gid: 0,
        modified: (i64::from(le32(&header, 8)), 0),
        links: 1,
        size: 0,
        device: (0, 0),
    };
    let mut attributes = NONE;
    let more = match sort {
        1 => {
            let rest = metadata.array::<16>(&mut at)?;
            node.links = le32(&rest, 4);
            More::Listing { block: le32(&rest, 0), offset: le16(&rest, 10), length: u32::from(le16(&rest, 8)) }
        }
        8 => {
            let rest = metadata.array::<24>(&mut at)?;
            (node.links, attributes) = (le32(&rest, 0), le32(&rest, 20));
            More::Listing { block: le32(&rest, 8), offset: le16(&rest, 18), length: le32(&rest, 4) }
        }
        2 => {
            let rest = metadata.array::<16>(&mut at)?;
            node.size = u64::from(le32(&rest, 12));
            More::Content { start: u64::from(le32(&rest, 0)), sizes: at, fragment: fragment(&rest, 4) }
        }
        9 => {
            let rest = metadata.array::<40>(&mut at)?;
            node.size = le64(&rest, 8);
            (node.links, attributes) = (le32(&rest, 24), le32(&rest, 36));
            More::Content { start: le64(&rest, 0), sizes: at, fragment: fragment(&rest, 28) }
        }
        3 | 10 => {
            let rest = metadata.array::<8>(&mut at)?;
            (node.links, node.size) = (le32(&rest, 0), u64::from(le32(&rest, 4)));
            if le32(&rest, 4) > LONGEST_TARGET {
                return Err(Error::Damaged("a link is too long"));
            }
            let mut target = vec![0; le32(&rest, 4) as usize];
            metadata.read(&mut at, &mut target)?;
            if sort == 10 {
                attributes = le32(&metadata.array::<4>(&mut at)?, 0);
            }
            More::Target(target)
        }
        _ => {
            node.links = le32(&metadata.array::<4>(&mut at)?, 0);
            if matches!(kind, Kind::BlockDevice | Kind::CharacterDevice) {
                node.device = device(le32(&metadata.array::<4>(&mut at)?, 0));
            }
            if sort >= 11 {
                attributes = le32(&metadata.array::<4>(&mut at)?, 0);
            }
            More::Nothing
        }
    };
    let attributes = (attributes != NONE).then_some(attributes);
    Ok(Raw { inode: Inode { node, attributes, more }, owner: (le16(&header, 4), le16(&header, 6)) })
}

fn fragment(bytes: &[u8], at: usize) -> Option<(u32, u32)> {
    let number = le32(bytes, at);
    (number != NONE).then(|| (number, le32(bytes, at + 4)))
}

/// The kernel's number of a device: 12 bits of the major one amid 20 of the minor one.
pub(crate) fn device(number: u32) -> (u32, u32) {
    ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xf_ff00))
}

#[cfg(test)]
mod tests {
    #[test]
    fn devices() {
        assert_eq!(super::device(0x0103), (1, 3));
        assert_eq!(super::device(0x1231_0345), (0x103, 0x1_2345));
    }
}
