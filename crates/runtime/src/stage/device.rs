//! Nodes of devices, in a tree that may be hostile.

use std::os::fd::AsFd;
use std::path::Path;

use plan::SpecialKind;
use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, StatVfsMountFlags, chownat, fstatvfs, makedev, mknodat, statat, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use super::destination;
use super::files::{About, Failure, Files, take_mount};

/// Where a node is for a moment that is then seen elsewhere.
const BETWEEN: &str = "/dev/.redd-device";

/// What is to be there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// The device.
    pub(super) kind: SpecialKind,
    /// Its permissions.
    pub(super) mode: u32,
    /// Its owner and its group, on the host.
    pub(super) owner: (u32, u32),
}

/// As mknod(2) takes it.
pub(super) fn number(kind: SpecialKind) -> (FileType, u64) {
    match kind {
        SpecialKind::Character { major, minor } => (FileType::CharacterDevice, makedev(major, minor)),
        SpecialKind::Block { major, minor } => (FileType::BlockDevice, makedev(major, minor)),
        SpecialKind::Fifo => (FileType::Fifo, 0),
        SpecialKind::Socket => (FileType::Socket, 0),
    }
}

/// Makes it, and the directories above it. A node of the same device that is there is made anew where it has another
/// owner or other permissions: changing those would need a name that is followed.
///
/// # Errors
/// `EEXIST` where something else is there, `EACCES` where a device could not be opened by anybody.
pub(super) fn make(files: &mut Files, path: &Path, wanted: &Wanted) -> Result<(), Failure> {
    let directory = path.parent().ok_or(Errno::INVAL)?;
    if let Err(Errno::NOENT) = files.open(directory, OFlags::PATH | OFlags::DIRECTORY) {
        destination::make(files, directory, true)?;
    }
    let (kind, device) = number(wanted.kind);
    let mode = Mode::from_raw_mode(wanted.mode);
    let (at, name) = files.parent(path)?;
    let is_device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
    if is_device && fstatvfs(at)?.f_flag.contains(StatVfsMountFlags::NODEV) {
        return Err(Errno::ACCESS).about(format_args!("no device can be opened in {}", directory.display()));
    }
    match mknodat(at, name, kind, mode, device) {
        Err(Errno::EXIST) => {
            let there = statat(at, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(there.st_mode) != kind || is_device && there.st_rdev != device {
                return Err(Errno::EXIST).about("something else is there");
            }
            if there.st_mode & 0o7777 == wanted.mode && (there.st_uid, there.st_gid) == wanted.owner {
                return Ok(());
            }
            unlinkat(at, name, AtFlags::empty())?;
            mknodat(at, name, kind, mode, device)?;
        }
        // An overlay of the container's users takes no devices.
        Err(Errno::PERM) if !path.starts_with("/dev") => return cover(files, path, wanted),
        other => other?,
    }
    let (uid, gid) = (Uid::from_raw(wanted.owner.0), Gid::from_raw(wanted.owner.1));
    Ok(chownat(at, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

/// A node in the container's own `/dev`, mounted at the path and then nowhere else.
fn cover(files: &mut Files, path: &Path, wanted: &Wanted) -> Result<(), Failure> {
    let between = Path::new(BETWEEN);
    make(files, between, wanted)?;
    let mount = take_mount(files.open(between, OFlags::PATH | OFlags::NOFOLLOW)?.as_fd(), false)?;
    files.place(&mount, path, false)?;
    let (at, name) = files.parent(between)?;
    Ok(unlinkat(at, name, AtFlags::empty())?)
}
