//! What no tool makes.

use super::*;
use crate::squashfs::metadata::Metadata;

/// A block of metadata, not compressed, with a listing of so many entries that point to the same.
fn listing(count: u32) -> (Vec<u8>, u32) {
    let mut listing = [count - 1, 0, 1].iter().flat_map(|field| field.to_le_bytes()).collect::<Vec<u8>>();
    (0..count).for_each(|_| listing.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0, b'x']));
    let mut block = (0x8000 | listing.len() as u16).to_le_bytes().to_vec();
    block.extend_from_slice(&listing);
    (block, listing.len() as u32)
}

fn entries(count: u32, room: usize) -> Result<Vec<Entry>> {
    let (block, length) = listing(count);
    let node = Node {
        number: 1,
        kind: Kind::Directory,
        mode: 0o755,
        uid: 0,
        gid: 0,
        modified: (0, 0),
        links: 2,
        size: 0,
        device: (0, 0),
    };
    let more = inode::More::Listing { block: 0, offset: 0, length: length + 3 };
    let mut metadata = Metadata::new(&block[..], Compression::of_number(1)?);
    directory::entries(&mut metadata, 0, &Inode { node, attributes: None, more }, room)
}

#[test]
fn a_listing_takes_no_more_room_than_there_is() {
    let whole = entries(200, crate::reader::ROOM).expect("entries");
    let weight: usize = whole.iter().map(Entry::weight).sum();
    assert_eq!(whole.len(), 200);
    assert_eq!(entries(200, weight).expect("entries").len(), 200);
    assert!(matches!(entries(200, weight - 1), Err(Error::Damaged(_))));
}

/// A file whose attributes are all the same kilobytes, over and over.
#[test]
fn attributes_of_a_file_are_limited_together() {
    let read = |name: u16, value: u32, count: u32| {
        let mut one = [0u16.to_le_bytes(), name.to_le_bytes()].concat();
        one.resize(one.len() + usize::from(name), b'n');
        one.extend_from_slice(&value.to_le_bytes());
        one.resize(one.len() + value as usize, b'v');
        let (mut image, mut blocks) = (Vec::new(), Vec::new());
        // The attributes, then the table of the only file, then the list of its only block, then the header.
        (0..count).for_each(|_| blocks.extend_from_slice(&one));
        for block in blocks.chunks(8192) {
            image.extend_from_slice(&(0x8000 | block.len() as u16).to_le_bytes());
            image.extend_from_slice(block);
        }
        let table = image.len() as u64;
        image.extend_from_slice(&(0x8000 | 16u16).to_le_bytes());
        image.extend_from_slice(&0u64.to_le_bytes());
        image.extend_from_slice(&[count, blocks.len() as u32].map(u32::to_le_bytes).concat());
        let header = image.len() as u64;
        image.extend_from_slice(&0u64.to_le_bytes());
        image.extend_from_slice(&[1u32, 0].map(u32::to_le_bytes).concat());
        image.extend_from_slice(&table.to_le_bytes());
        let mut metadata = Metadata::new(&image[..], Compression::of_number(1).expect("known"));
        let table = xattr::Table::open(&mut metadata, header).expect("a table");
        table.read(&mut metadata, 0)
    };
    assert_eq!(read(10, 65536, 16).expect("attributes").len(), 16);
    assert!(matches!(read(10, 65536, 400), Err(Error::Damaged(_))));
    assert!(matches!(read(300, 1, 1), Err(Error::Damaged(_))));
}
