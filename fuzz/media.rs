// What is done with media and file systems, which anybody may have made. Shared by the fuzz targets and by the test that
// replays the seeds.

use media::erofs::Erofs;
use media::iso::Iso;
use media::reader::{Error, Kind, Piece, ROOM, Reader};
use media::squashfs::Squashfs;

/// How many files of an image are looked at, and how much of them all.
const MOST_FILES: usize = 200;
const MOST_BYTES: u64 = 4 << 20;

/// A medium: what is found on it lies somewhere, and there is an end to it.
pub(crate) fn iso(data: &[u8]) {
    let Ok(iso) = Iso::open(data) else { return };
    let _ = iso.find("arch/x86_64/airootfs.sfs");
    for (path, entry) in iso.files().unwrap_or_default() {
        assert!(!path.split('/').any(|name| matches!(name, "" | "." | "..")));
        assert!(!entry.parts.is_empty());
    }
}

/// A squashfs.
pub(crate) fn squashfs(data: &[u8]) {
    if let Ok(mut reader) = Squashfs::open(data) {
        let _ = walk(&mut reader);
    }
}

/// An EROFS.
pub(crate) fn erofs(data: &[u8]) {
    if let Ok(mut reader) = Erofs::open(data) {
        let _ = walk(&mut reader);
    }
}

/// Reads what there is, as far as the limits go. No file has more than it says.
fn walk<R: Reader>(reader: &mut R) -> Result<(), Error> {
    let mut next = vec![reader.root()?];
    let (mut files, mut all) = (0, 0u64);
    while let Some(inode) = next.pop() {
        files += 1;
        if files > MOST_FILES {
            return Ok(());
        }
        let _ = reader.attributes(&inode);
        let (kind, size) = (reader.node(&inode).kind, reader.node(&inode).size);
        match kind {
            Kind::Directory => {
                for entry in reader.entries(&inode, ROOM).unwrap_or_default() {
                    next.extend(reader.inode(entry.place));
                }
            }
            Kind::Symlink => drop(reader.target(&inode)),
            Kind::File => {
                let mut read = 0u64;
                let done = reader.content(&inode, &mut |piece| {
                    let length = match piece {
                        Piece::Data(bytes) => bytes.len() as u64,
                        Piece::Hole(length) => length,
                    };
                    read = read.checked_add(length).unwrap_or_else(|| panic!("a file without an end"));
                    assert!(read <= size);
                    all += length.min(MOST_BYTES) + 1;
                    if all > MOST_BYTES { Err(Error::CutOff) } else { Ok(()) }
                });
                assert!(done.is_err() || read == size);
            }
            _ => {}
        }
    }
    Ok(())
}
