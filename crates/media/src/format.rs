//! What a file is, by what it begins with and by nothing else.

use std::io;

use image::disk::Format;
use image::disk::format::detect as file_system;
use image::disk::storage::Storage;

use crate::iso;

/// How much of a file is looked at.
const LOOKED_AT: usize = 1024;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// It is not.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
    /// bzip2.
    Bzip2,
    /// LZ4, in frames.
    Lz4,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// ISO 9660.
    Iso,
    /// A file system.
    FileSystem(Format),
    /// An archive of tar(1), or what is compressed and may be one.
    Archive(Compression),
    /// Something else that is known: what, and what can be done with it.
    Other(&'static str, &'static str),
    /// Nothing that is known.
    Nothing,
}

/// Looks at a file.
///
/// # Errors
/// Those of reading.
pub fn detect(storage: &(impl Storage + ?Sized)) -> io::Result<Found> {
    // A medium has a table of partitions, too, so that it can be written to a stick.
    if iso::is_one(storage)? {
        return Ok(Found::Iso);
    }
    let mut start = vec![0; usize::try_from(storage.size()).unwrap_or(usize::MAX).min(LOOKED_AT)];
    storage.read(0, &mut start)?;
    if let Some(compression) = compression(&start) {
        return Ok(Found::Archive(compression));
    }
    if is_tar(&start) {
        return Ok(Found::Archive(Compression::None));
    }
    if let Some(other) = other(&start) {
        return Ok(other);
    }
    let found = file_system(storage, 0, storage.size())?;
    match found.map(|found| found.format) {
        Some(Format::Squashfs | Format::Erofs | Format::Ext4 | Format::Xfs | Format::Btrfs) => {}
        Some(format) => return Ok(Found::Other(format.name(), "name what has the files of a system")),
        None if start.len() >= 512 && start[510..512] == [0x55, 0xaa] => {
            return Ok(Found::Other("a disk image with partitions", DISK));
        }
        None => return Ok(Found::Nothing),
    }
    Ok(found.map_or(Found::Nothing, |found| Found::FileSystem(found.format)))
}

const DISK: &str = "it can be run as it is: 'redd spawn -b -i FILE', or by its name as /var/lib/machines/NAME.raw";

fn compression(start: &[u8]) -> Option<Compression> {
    const MAGIC: [(&[u8], Compression); 5] = [
        (b"\x1f\x8b", Compression::Gzip),
        (b"\xfd7zXZ\0", Compression::Xz),
        (b"\x28\xb5\x2f\xfd", Compression::Zstd),
        (b"BZh", Compression::Bzip2),
        (b"\x04\x22\x4d\x18", Compression::Lz4),
    ];
    MAGIC.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, compression)| compression)
}

/// A header whose sum is right; the oldest archives have no other mark.
pub(crate) fn is_tar(start: &[u8]) -> bool {
    let Some(header) = start.get(..512) else { return false };
    let digits: String = header[148..156].iter().map(|byte| char::from(*byte)).collect();
    let said = u32::from_str_radix(digits.trim_matches([' ', '\0']), 8);
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    let blank = header[148..156].iter().map(|byte| u32::from(*byte)).sum::<u32>();
    // An empty archive is all zeroes, and so is much else.
    header[0] != 0 && said == Ok(sum - blank + 8 * u32::from(b' '))
}

fn other(start: &[u8]) -> Option<Found> {
    const KNOWN: [(&[u8], &str, &str); 7] = [
        (b"QFI\xfb", "a disk image in QEMU's own format", "'qemu-img convert -O raw' makes a plain one of it"),
        (b"070701", "an archive of cpio(1)", "unpack it into a directory, and run that"),
        (b"PK\x03\x04", "a ZIP archive", "unpack it, and import what is in it"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it, and import what is in it"),
        (b"\x7fELF", "a program", "name an image of a system"),
        (b"-----BEGIN PGP", "a signature", "name the file that it is for"),
        (b"<", "a page of the web, and no image", "download the file itself"),
    ];
    KNOWN.into_iter().find(|(magic, ..)| start.starts_with(magic)).map(|(_, what, hint)| Found::Other(what, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_file_is() {
        let of = |bytes: &[u8]| detect(bytes).expect("read");
        assert_eq!(of(b""), Found::Nothing);
        assert_eq!(of(&[0; 40960]), Found::Nothing);
        assert_eq!(of(b"\x1f\x8b\x08"), Found::Archive(Compression::Gzip));
        assert_eq!(of(b"BZh9"), Found::Archive(Compression::Bzip2));
        assert!(matches!(of(b"QFI\xfb123"), Found::Other(..)));
        let mut iso = vec![0; 40960];
        iso[32769..32774].copy_from_slice(b"CD001");
        iso[510..512].copy_from_slice(&[0x55, 0xaa]);
        assert_eq!(of(&iso), Found::Iso);
        iso[32769] = b'X';
        assert!(matches!(of(&iso), Found::Other("a disk image with partitions", _)));
        let mut squashfs = vec![0; 4096];
        squashfs[..4].copy_from_slice(b"hsqs");
        assert_eq!(of(&squashfs), Found::FileSystem(Format::Squashfs));
    }

    #[test]
    fn archives_by_the_sum_of_their_first_header() {
        let mut header = [0u8; 512];
        header[..4].copy_from_slice(b"file");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        assert_eq!(detect(&header[..]).expect("read"), Found::Archive(Compression::None));
        header[0] = b'F';
        assert_eq!(detect(&header[..]).expect("read"), Found::Nothing);
    }
}
