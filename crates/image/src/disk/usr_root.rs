//! The root of an image that has a partition for `/usr` and none for itself: memory, with the directories that a system
//! needs and the links into `/usr` that systems have since `/bin` and `/lib` are in there
//! ([file-hierarchy(7)](https://www.freedesktop.org/software/systemd/man/latest/file-hierarchy.html)).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chmodat, chownat, fstat, mkdirat, statat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

use super::role::Role;

/// What may be in `/usr` alone, and is reached from the root as well.
const LINKS: [&str; 6] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Directories and their modes.
const DIRECTORIES: [(&str, u16); 9] = [
    ("usr", 0o755),
    ("etc", 0o755),
    ("var", 0o755),
    ("root", 0o750),
    ("dev", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("run", 0o755),
    ("tmp", 0o1777),
];

/// A detached mount of a new one around a mount of `/usr`, whose owner has it, with places for partitions of these roles.
///
/// # Errors
/// Those of making it.
pub(super) fn make(usr: BorrowedFd<'_>, roles: impl Iterator<Item = Role>) -> rustix::io::Result<OwnedFd> {
    let owner = fstat(usr)?;
    let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in [("mode", "0755"), ("size", "25%"), ("nr_inodes", "1m")] {
        fsconfig_set_string(&context, key, value)?;
    }
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    // The image is hostile, and so are its ids; the kernel has only valid ones.
    let (uid, gid) = (Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)));
    // A boot partition is mounted only where a system has a place for it.
    let places = roles.filter_map(|role| match role {
        Role::Home => Some(("home", 0o755)),
        Role::Srv => Some(("srv", 0o755)),
        Role::Tmp => Some(("var/tmp", 0o1777)),
        Role::Root | Role::Usr | Role::Var | Role::Esp | Role::Xbootldr => None,
    });
    for (name, mode) in DIRECTORIES.into_iter().chain(places) {
        mkdirat(&root, name, Mode::empty())?;
        chmodat(&root, name, Mode::from_raw_mode(u32::from(mode)), AtFlags::empty())?;
        chownat(&root, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    for name in LINKS {
        match statat(usr, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if is_directory_or_link(found.st_mode) => {}
            Ok(_) | Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno),
        }
        symlinkat(format!("usr/{name}"), &root, name)?;
        chownat(&root, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    chownat(root.as_fd(), c"", uid, gid, AtFlags::EMPTY_PATH)?;
    Ok(root)
}

fn is_directory_or_link(mode: u32) -> bool {
    matches!(FileType::from_raw_mode(mode), FileType::Directory | FileType::Symlink)
}
