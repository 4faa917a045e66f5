//! What a partition holds, told by the magic numbers of file systems and by nothing else.

use std::io;

use super::storage::{Storage, array, be32, be64, le16, le32, le64};

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ext2, ext3 or ext4.
    Ext4,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// squashfs, read-only.
    Squashfs,
    /// EROFS, read-only.
    Erofs,
    /// FAT, of boot partitions.
    Vfat,
    /// Encrypted.
    Luks,
    /// Hashes of dm-verity.
    Verity,
    /// Memory that was paged out.
    Swap,
    /// A part of a volume group.
    Lvm,
}

impl Format {
    /// The kernel's name for the file system; none for what is none.
    #[must_use]
    pub fn file_system(self) -> Option<&'static str> {
        match self {
            Self::Ext4 => Some("ext4"),
            Self::Xfs => Some("xfs"),
            Self::Btrfs => Some("btrfs"),
            Self::Squashfs => Some("squashfs"),
            Self::Erofs => Some("erofs"),
            Self::Vfat => Some("vfat"),
            Self::Luks | Self::Verity | Self::Swap | Self::Lvm => None,
        }
    }

    /// Nothing can be written to it, whoever wants to.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Squashfs | Self::Erofs)
    }

    /// As people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Luks => "an encrypted LUKS volume",
            Self::Verity => "hashes of dm-verity",
            Self::Swap => "swap space",
            Self::Lvm => "a part of an LVM volume group",
            other => other.file_system().unwrap_or_default(),
        }
    }
}

/// A format, and how many bytes it says that it takes, where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub format: Format,
    /// What its own description says, which need not be true.
    pub claimed: Option<u64>,
}

/// Looks at the bytes from `offset` on. Reads beyond the partition are none: `size` is its length.
///
/// # Errors
/// Those of reading.
pub fn detect(storage: &(impl Storage + ?Sized), offset: u64, size: u64) -> io::Result<Option<Found>> {
    let Some(start) = part::<512>(storage, offset, size, 0)? else { return Ok(None) };
    if start.starts_with(b"LUKS\xba\xbe") {
        return found(Format::Luks, None);
    }
    if start.starts_with(b"verity\0\0") {
        return found(Format::Verity, None);
    }
    if start.starts_with(b"hsqs") {
        return found(Format::Squashfs, Some(le64(&start, 40)));
    }
    if start.starts_with(b"XFSB") {
        return found(Format::Xfs, u64::from(be32(&start, 4)).checked_mul(be64(&start, 8)));
    }
    if let Some(second) = part::<512>(storage, offset, size, 512)?
        && second.starts_with(b"LABELONE")
        && &second[24..32] == b"LVM2 001"
    {
        return found(Format::Lvm, None);
    }
    if let Some(block) = part::<512>(storage, offset, size, 1024)? {
        if le32(&block, 0) == 0xE0F5_E1E2 {
            let bits = u32::from(block[12]);
            let blocks = u64::from(le32(&block, 36));
            return found(Format::Erofs, blocks.checked_mul(1u64.checked_shl(bits).unwrap_or(0)).filter(|_| bits < 32));
        }
        if le16(&block, 56) == 0xEF53 {
            return found(Format::Ext4, ext4_size(&block));
        }
    }
    if let Some(block) = part::<128>(storage, offset, size, 0x1_0000)?
        && &block[64..72] == b"_BHRfS_M"
    {
        return found(Format::Btrfs, Some(le64(&block, 112)));
    }
    if is_swap(storage, offset, size)? {
        return found(Format::Swap, None);
    }
    if is_fat(&start) { found(Format::Vfat, None) } else { Ok(None) }
}

#[allow(clippy::unnecessary_wraps, reason = "the end of a function that returns this")]
fn found(format: Format, claimed: Option<u64>) -> io::Result<Option<Found>> {
    Ok(Some(Found { format, claimed }))
}

fn part<const N: usize>(
    storage: &(impl Storage + ?Sized),
    offset: u64,
    size: u64,
    at: u64,
) -> io::Result<Option<[u8; N]>> {
    match (at + N as u64 <= size, offset.checked_add(at)) {
        (true, Some(place)) => array(storage, place),
        _ => Ok(None),
    }
}

fn ext4_size(block: &[u8]) -> Option<u64> {
    /// `EXT4_FEATURE_INCOMPAT_64BIT`: the upper half of the number of blocks counts.
    const WIDE: u32 = 0x80;
    let upper = if le32(block, 96) & WIDE == 0 { 0 } else { u64::from(le32(block, 336)) << 32 };
    let blocks = upper | u64::from(le32(block, 4));
    let shift = le32(block, 24);
    if shift > 6 { None } else { blocks.checked_mul(1024 << shift) }
}

/// The signature is at the end of the first page, whose size is the maker's.
fn is_swap(storage: &(impl Storage + ?Sized), offset: u64, size: u64) -> io::Result<bool> {
    for page in [4096u64, 8192, 16384, 65536] {
        if part::<10>(storage, offset, size, page - 10)?.is_some_and(|mark| &mark == b"SWAPSPACE2") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A FAT has no magic number; this is what all of them have in common, and a table of partitions has not.
fn is_fat(start: &[u8; 512]) -> bool {
    let sector = le16(start, 11);
    let jump = (start[0] == 0xEB && start[2] == 0x90) || start[0] == 0xE9;
    let names = &start[54..57] == b"FAT" || &start[82..87] == b"FAT32";
    jump && names
        && le16(start, 510) == 0xAA55
        && matches!(sector, 512 | 1024 | 2048 | 4096)
        && start[13].is_power_of_two()
        && matches!(start[16], 1 | 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn magic_numbers_are_found_where_they_are_and_only_inside_the_partition() {
        let mut image = vec![0u8; 0x2_0000];
        assert_eq!(detect(&image[..], 0, 0x2_0000).expect("read"), None);
        image[0x1_1040..0x1_1048].copy_from_slice(b"_BHRfS_M");
        let btrfs = detect(&image[..], 0x1000, 0x1_f000).expect("read").expect("found");
        assert_eq!((btrfs.format, btrfs.claimed), (Format::Btrfs, Some(0)));
        assert_eq!(detect(&image[..], 0x1000, 0x1_0000).expect("read"), None);
        image[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
        image[0x404..0x408].copy_from_slice(&100u32.to_le_bytes());
        let ext4 = detect(&image[..], 0, 0x2_0000).expect("read").expect("found");
        assert_eq!(ext4, Found { format: Format::Ext4, claimed: Some(102_400) });
        assert_eq!(detect(&image[..], u64::MAX, 4096).expect("read"), None);
    }
}
