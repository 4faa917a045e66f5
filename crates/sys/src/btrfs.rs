//! Subvolumes, see [`btrfs-ioctl(3)`](https://btrfs.readthedocs.io/en/latest/btrfs-ioctl.html).
//!
//! All descriptors must be open for reading (not `O_PATH`).

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::io::{Errno, Result};
use rustix::ioctl::{Getter, Opcode, Setter, Updater, ioctl, opcode};

/// The inode number of every subvolume's root.
pub const SUBVOLUME_ROOT_INODE: u64 = 256;
/// The inode number of the empty directory that stands for a nested subvolume in a snapshot.
pub const PLACEHOLDER_INODE: u64 = 2;

const MAGIC: u8 = 0x94;
const READ_ONLY: u64 = 1 << 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct VolumeArgs {
    fd: i64,
    name: [u8; 4088],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct VolumeArgsV2 {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; 4040],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RootReference {
    tree: u64,
    directory: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RootReferences {
    min_tree: u64,
    items: [RootReference; 255],
    count: u8,
    align: [u8; 7],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct LookupArgs {
    directory: u64,
    tree: u64,
    name: [u8; 256],
    path: [u8; 3824],
}

const CREATE: Opcode = opcode::write::<VolumeArgs>(MAGIC, 14);
const DESTROY: Opcode = opcode::write::<VolumeArgs>(MAGIC, 15);
const SNAPSHOT: Opcode = opcode::write::<VolumeArgsV2>(MAGIC, 23);
const GET_FLAGS: Opcode = opcode::read::<u64>(MAGIC, 25);
const SET_FLAGS: Opcode = opcode::write::<u64>(MAGIC, 26);
const ROOT_REFERENCES: Opcode = opcode::read_write::<RootReferences>(MAGIC, 61);
const LOOKUP: Opcode = opcode::read_write::<LookupArgs>(MAGIC, 62);

/// Copies a name into a field, with its terminating NUL.
fn fill<const N: usize>(name: &OsStr) -> Result<[u8; N]> {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() >= N || bytes.contains(&0) || bytes.contains(&b'/') {
        return Err(Errno::INVAL);
    }
    let mut field = [0; N];
    field[..bytes.len()].copy_from_slice(bytes);
    Ok(field)
}

fn text(field: &[u8]) -> Result<&OsStr> {
    let text = CStr::from_bytes_until_nul(field).map_err(|_| Errno::INVAL)?;
    Ok(OsStr::from_bytes(text.to_bytes()))
}

/// Makes an empty subvolume `name` in the directory.
///
/// # Errors
/// `EEXIST`, `ENOTTY` where the directory is not on btrfs, and others of `BTRFS_IOC_SUBVOL_CREATE`.
pub fn create(directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let args = VolumeArgs { fd: 0, name: fill(name)? };
    // SAFETY: the opcode takes a btrfs_ioctl_vol_args, which VolumeArgs is laid out as.
    unsafe { ioctl(directory, Setter::<CREATE, VolumeArgs>::new(args)) }
}

/// Makes a snapshot `name` in the directory, of the subvolume whose root is `source`; one that is read-only is so from its first
/// moment. Nested subvolumes are not part of it: empty directories ([`PLACEHOLDER_INODE`]) stand in their places.
///
/// # Errors
/// `EXDEV` when the directory is on another file system, `EINVAL` when the source is no subvolume, and others of
/// `BTRFS_IOC_SNAP_CREATE_V2`.
pub fn snapshot(source: BorrowedFd<'_>, directory: BorrowedFd<'_>, name: &OsStr, read_only: bool) -> Result<()> {
    let flags = if read_only { READ_ONLY } else { 0 };
    let args =
        VolumeArgsV2 { fd: i64::from(source.as_raw_fd()), transaction: 0, flags, unused: [0; 4], name: fill(name)? };
    // SAFETY: the opcode takes a btrfs_ioctl_vol_args_v2, which VolumeArgsV2 is laid out as; the descriptor in it is
    // borrowed for the call.
    unsafe { ioctl(directory, Setter::<SNAPSHOT, VolumeArgsV2>::new(args)) }
}

/// Deletes the subvolume `name` in the directory, in constant time.
///
/// # Errors
/// `ENOTEMPTY` when other subvolumes are nested in it, `EPERM` without privilege, `EBUSY` when it is a mount point, and
/// others of `BTRFS_IOC_SNAP_DESTROY`.
pub fn destroy(directory: BorrowedFd<'_>, name: &OsStr) -> Result<()> {
    let args = VolumeArgs { fd: 0, name: fill(name)? };
    // SAFETY: the opcode takes a btrfs_ioctl_vol_args, which VolumeArgs is laid out as.
    unsafe { ioctl(directory, Setter::<DESTROY, VolumeArgs>::new(args)) }
}

/// Whether a subvolume is read-only; `subvolume` is its root.
///
/// # Errors
/// `EINVAL` when it is no subvolume.
pub fn is_read_only(subvolume: BorrowedFd<'_>) -> Result<bool> {
    // SAFETY: the opcode writes a u64.
    let flags = unsafe { ioctl(subvolume, Getter::<GET_FLAGS, u64>::new())? };
    Ok(flags & READ_ONLY != 0)
}

/// Makes a subvolume read-only or writable; `subvolume` is its root.
///
/// # Errors
/// `EINVAL` when it is no subvolume, `EROFS` on a read-only mount.
pub fn set_read_only(subvolume: BorrowedFd<'_>, read_only: bool) -> Result<()> {
    // SAFETY: the opcode writes a u64.
    let flags = unsafe { ioctl(subvolume, Getter::<GET_FLAGS, u64>::new())? };
    let wanted = if read_only { flags | READ_ONLY } else { flags & !READ_ONLY };
    if wanted == flags {
        return Ok(());
    }
    // SAFETY: the opcode takes a u64.
    unsafe { ioctl(subvolume, Setter::<SET_FLAGS, u64>::new(wanted)) }
}

/// The subvolumes nested directly in a subvolume, as paths relative to `subvolume`, which is its root.
///
/// # Errors
/// Those of `BTRFS_IOC_GET_SUBVOL_ROOTREF` and `BTRFS_IOC_INO_LOOKUP_USER` (Linux 4.18).
pub fn nested(subvolume: BorrowedFd<'_>) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    let mut min_tree = 0;
    loop {
        let mut references =
            RootReferences { min_tree, items: [RootReference { tree: 0, directory: 0 }; 255], count: 0, align: [0; 7] };
        // SAFETY: the opcode reads and writes a btrfs_ioctl_get_subvol_rootref_args, which RootReferences is laid out as.
        let result = unsafe { ioctl(subvolume, Updater::<ROOT_REFERENCES, RootReferences>::new(&mut references)) };
        let more = match result {
            Ok(()) => false,
            // The array is full; the minimum has been moved on.
            Err(Errno::OVERFLOW) => true,
            Err(error) => return Err(error),
        };
        for item in &references.items[..usize::from(references.count)] {
            match lookup(subvolume, *item) {
                // Deleted in the meantime.
                Err(Errno::NOENT) => {}
                other => paths.push(other?),
            }
        }
        if !more {
            return Ok(paths);
        }
        min_tree = references.min_tree;
    }
}

fn lookup(subvolume: BorrowedFd<'_>, item: RootReference) -> Result<PathBuf> {
    let mut args = LookupArgs { directory: item.directory, tree: item.tree, name: [0; 256], path: [0; 3824] };
    // SAFETY: the opcode reads and writes a btrfs_ioctl_ino_lookup_user_args, which LookupArgs is laid out as.
    unsafe { ioctl(subvolume, Updater::<LOOKUP, LookupArgs>::new(&mut args))? };
    // The path is empty or ends in a slash.
    let mut path: OsString = text(&args.path)?.to_owned();
    path.push(text(&args.name)?);
    Ok(PathBuf::from(path))
}

const _: () = assert!(size_of::<VolumeArgs>() == 4096 && size_of::<VolumeArgsV2>() == 4096);
const _: () = assert!(size_of::<RootReferences>() == 4096 && size_of::<LookupArgs>() == 4096);
