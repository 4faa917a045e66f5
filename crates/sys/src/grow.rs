//! File systems are made as large as their block devices.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;
use rustix::ioctl::{Getter, Setter, ioctl, opcode};

use crate::clone::last_errno;

const EXT4_RESIZE: rustix::ioctl::Opcode = opcode::write::<u64>(b'f', 16);
const BTRFS_RESIZE: rustix::ioctl::Opcode = opcode::write::<BtrfsVolume>(0x94, 3);
const XFS_GROW: rustix::ioctl::Opcode = opcode::write::<XfsGrow>(b'X', 110);
const XFS_GEOMETRY: rustix::ioctl::Opcode = opcode::read::<XfsGeometry>(b'X', 100);

#[repr(C)]
#[derive(Clone, Copy)]
struct BtrfsVolume {
    fd: i64,
    name: [u8; 4088],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct XfsGrow {
    blocks: u64,
    most_inodes_percent: u32,
}

/// `struct xfs_fsop_geom_v1`; what is of no interest here is left together.
#[repr(C)]
#[derive(Clone, Copy)]
struct XfsGeometry {
    block_size: u32,
    realtime_extent: u32,
    group_blocks: u32,
    groups: u32,
    log_blocks: u32,
    sector_size: u32,
    inode_size: u32,
    most_inodes_percent: u32,
    blocks: u64,
    rest: [u64; 9],
}

const _: () = assert!(size_of::<XfsGrow>() == 16 && size_of::<XfsGeometry>() == 112);

/// The size of a block device, in bytes.
///
/// # Errors
/// `ENOTTY` for what is none.
pub fn device_size(device: BorrowedFd<'_>) -> Result<u64> {
    let mut size = 0u64;
    // SAFETY: the request writes a u64, which lives across the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::c_ulong::from(BLKGETSIZE64) as _, &raw mut size) };
    if result < 0 { Err(last_errno()) } else { Ok(size) }
}

/// Whether a block device refuses to be written to, which opening it does not tell.
///
/// # Errors
/// `ENOTTY` for what is none.
pub fn device_is_read_only(device: BorrowedFd<'_>) -> Result<bool> {
    let mut set: libc::c_int = 0;
    // SAFETY: the request writes an int, which lives across the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::c_ulong::from(BLKROGET) as _, &raw mut set) };
    if result < 0 { Err(last_errno()) } else { Ok(set != 0) }
}

/// Makes a block device refuse to be written to, or take it again.
///
/// # Errors
/// `ENOTTY` for what is none, `EACCES` without privilege.
pub fn set_device_read_only(device: BorrowedFd<'_>, read_only: bool) -> Result<()> {
    let set = libc::c_int::from(read_only);
    // SAFETY: the request reads an int, which lives across the call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::c_ulong::from(BLKROSET) as _, &raw const set) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

const BLKROSET: u32 = opcode::none(0x12, 93);
const BLKROGET: u32 = opcode::none(0x12, 94);
const BLKGETSIZE64: u32 = opcode::read::<usize>(0x12, 114);

/// Makes ext4 as large as `size` bytes; `root` is its root directory, open for reading.
///
/// # Errors
/// Those of `EXT4_IOC_RESIZE_FS`.
pub fn ext4(root: BorrowedFd<'_>, size: u64) -> Result<()> {
    let block = u64::try_from(rustix::fs::fstatfs(root)?.f_bsize).unwrap_or(0).max(1024);
    // SAFETY: the opcode takes a u64: the number of blocks.
    unsafe { ioctl(root, Setter::<EXT4_RESIZE, u64>::new(size / block)) }
}

/// Makes btrfs of one device as large as that; `root` is its root directory, open for reading.
///
/// # Errors
/// Those of `BTRFS_IOC_RESIZE`.
pub fn btrfs(root: BorrowedFd<'_>) -> Result<()> {
    let mut volume = BtrfsVolume { fd: 0, name: [0; 4088] };
    volume.name[..3].copy_from_slice(b"max");
    // SAFETY: the opcode takes a btrfs_ioctl_vol_args, which BtrfsVolume is laid out as.
    unsafe { ioctl(root, Setter::<BTRFS_RESIZE, BtrfsVolume>::new(volume)) }
}

/// Makes XFS as large as `size` bytes; `root` is its root directory, open for reading.
///
/// # Errors
/// Those of `XFS_IOC_FSGROWFSDATA`.
pub fn xfs(root: BorrowedFd<'_>, size: u64) -> Result<()> {
    // SAFETY: the opcode writes an xfs_fsop_geom_v1, which XfsGeometry is laid out as.
    let geometry = unsafe { ioctl(root, Getter::<XFS_GEOMETRY, XfsGeometry>::new())? };
    let blocks = size / u64::from(geometry.block_size.max(512));
    if blocks <= geometry.blocks {
        return Ok(());
    }
    let grow = XfsGrow { blocks, most_inodes_percent: geometry.most_inodes_percent };
    // SAFETY: the opcode takes an xfs_growfs_data, which XfsGrow is laid out as.
    unsafe { ioctl(root, Setter::<XFS_GROW, XfsGrow>::new(grow)) }
}
