//! What no tool makes.

use std::os::fd::AsFd;

use testkit::fixture;

use super::*;
use crate::unpack;

const BLOCK: usize = 4096;
/// How many blocks each listing has; how far inodes are apart, in their units of 32 bytes: one and its chunks.
const BLOCKS: usize = 1024;
const APART: usize = (32 + BLOCKS * 4) / 32;

/// A block of a listing, of so many entries.
fn block(count: usize, name: u8, place: u64) -> Vec<u8> {
    let mut block = Vec::new();
    for number in 0..count {
        block.extend_from_slice(&place.to_le_bytes());
        block.extend_from_slice(&((count * 12 + number) as u16).to_le_bytes());
        block.extend_from_slice(&[2, 0]);
    }
    block.resize(block.len() + count, name);
    block.resize(BLOCK, 0);
    block
}

/// Directories in one another, whose listings are a block of their own with the next one, and a thousand times the same.
fn overlapping(levels: usize) -> Vec<u8> {
    let inodes = (levels * APART * 32).div_ceil(BLOCK) + 1;
    let shared = 1 + inodes;
    let mut image = vec![0; (shared + 1 + levels) * BLOCK];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(1024, &MAGIC.to_le_bytes());
    put(1024 + 12, &[12]);
    put(1024 + 40, &1u32.to_le_bytes());
    put(1024 + 80, &feature::CHUNKED.to_le_bytes());
    put(shared * BLOCK, &block(300, b'x', 0));
    for level in 0..levels {
        let at = BLOCK + level * APART * 32;
        // A small inode in chunks of a block: format, mode, links, size.
        put(at, &[4 << 1, 0, 0, 0, 0xed, 0x41, 2, 0]);
        put(at + 8, &((BLOCKS * BLOCK) as u32).to_le_bytes());
        let chunks = (0..BLOCKS).map(|number| if number == 0 { shared + 1 + level } else { shared });
        put(at + 32, &chunks.flat_map(|chunk| (chunk as u32).to_le_bytes()).collect::<Vec<_>>());
        put((shared + 1 + level) * BLOCK, &block(1, b'd', ((level + 1) * APART) as u64));
    }
    image
}

/// Each listing alone may be read; those of all levels together may not be held.
#[test]
fn listings_that_overlap_do_not_add_up() {
    let image = overlapping(12);
    let mut erofs = Erofs::open(&image[..]).expect("an image");
    let root = erofs.root().expect("a root");
    assert_eq!(erofs.entries(&root, crate::reader::ROOM).expect("entries").len(), 300 * (BLOCKS - 1) + 1);
    let target = fixture::empty();
    let directory = std::fs::File::open(target.path()).expect("a directory");
    let error = unpack::unpack(&mut erofs, directory.as_fd(), &mut |_| true).expect_err("too many");
    let unpack::Error::Read { path, source: Error::Damaged("its directories have too many entries") } = &error else {
        panic!("{error:?}")
    };
    assert!(path.starts_with("d/d/d/"), "{path}");
}

/// Files that are nothing but many holes take no space, and would take for ever.
#[test]
fn who_watches_is_asked_amid_holes() {
    const CHUNKS: usize = 4096;
    let listing = 8;
    let mut image = vec![0; (listing + 1) * BLOCK];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(1024, &MAGIC.to_le_bytes());
    put(1024 + 12, &[12]);
    put(1024 + 40, &1u32.to_le_bytes());
    put(1024 + 80, &feature::CHUNKED.to_le_bytes());
    put(BLOCK, &[0, 0, 0, 0, 0xed, 0x41, 2, 0]);
    put(BLOCK + 8, &(BLOCK as u32).to_le_bytes());
    put(BLOCK + 16, &(listing as u32).to_le_bytes());
    put(listing * BLOCK, &block(1, b'h', 2));
    put(BLOCK + 64, &[4 << 1, 0, 0, 0, 0xa4, 0x81, 1, 0]);
    put(BLOCK + 64 + 8, &((CHUNKS * BLOCK) as u32).to_le_bytes());
    put(BLOCK + 64 + 32, &[0xff; CHUNKS * 4]);
    let mut erofs = Erofs::open(&image[..]).expect("an image");
    let target = fixture::empty();
    let directory = std::fs::File::open(target.path()).expect("a directory");
    let mut asked = 0;
    let done = unpack::unpack(&mut erofs, directory.as_fd(), &mut |progress| {
        (asked, _) = (asked + 1, assert_eq!(progress.bytes, 0));
        asked < 3
    });
    assert!(matches!(done, Err(unpack::Error::Interrupted)), "{done:?}");
    assert_eq!(asked, 3);
}
