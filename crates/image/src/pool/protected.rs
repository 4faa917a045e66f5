//! A new tree that is read-only from the moment on that it is seen.
//!
//! A subvolume is made so by the kernel in one step. A directory cannot be: with the flag "immutable" it cannot be given its name.
//! So its wish for the flag stands beside it until it has it, in the holder's directory, and counts as the flag does. Whoever removes
//! what a dead holder has left grants it first.

use std::ffi::OsStr;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, IFlags, Mode, OFlags, RenameFlags, ioctl_getflags, ioctl_setflags, openat, renameat_with};
use rustix::io::Errno;

use crate::holder::Holder;
use crate::template::TREE;
use crate::tree::FileSystem;

/// The file in the holder's directory: the inode's number, and the name that the tree gets.
const WISH: &str = "read-only";
/// More than a number and a name.
const LONGEST: u64 = 512;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Gives the tree in the holder its name, read-only.
///
/// # Errors
/// `EEXIST`, `EOPNOTSUPP` and the like where directories cannot be marked; nothing is there then.
pub(super) fn publish(holder: &Holder, name: &OsStr) -> rustix::io::Result<()> {
    let tree = openat(holder.fd(), TREE, DIRECTORY, Mode::empty())?;
    let inode = rustix::fs::fstat(&tree)?.st_ino;
    let is_subvolume =
        inode == sys::btrfs::SUBVOLUME_ROOT_INODE && FileSystem::of(tree.as_fd()) == Ok(FileSystem::Btrfs);
    if is_subvolume && sys::btrfs::nested(tree.as_fd()).is_ok_and(|nested| nested.is_empty()) {
        return sys::btrfs::snapshot(tree.as_fd(), holder.place(), name, true);
    }
    if !is_subvolume {
        // Where that cannot be done it is not begun.
        let flags = ioctl_getflags(&tree)?;
        ioctl_setflags(&tree, flags | IFlags::IMMUTABLE)?;
        ioctl_setflags(&tree, flags)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let wish = openat(holder.fd(), WISH, flags, Mode::RUSR | Mode::WUSR)?;
    let text = [inode.to_string().as_bytes(), b" ", name.as_bytes()].concat();
    if rustix::io::retry_on_intr(|| rustix::io::write(&wish, &text))? != text.len() {
        return Err(Errno::IO);
    }
    renameat_with(holder.fd(), TREE, holder.place(), name, RenameFlags::NOREPLACE)?;
    let marked = mark(&tree);
    if marked.is_err() {
        // It goes with the holder.
        let _ = renameat_with(holder.place(), name, holder.fd(), TREE, RenameFlags::NOREPLACE);
    }
    marked
}

fn mark(tree: &OwnedFd) -> rustix::io::Result<()> {
    if rustix::fs::fstat(tree)?.st_ino == sys::btrfs::SUBVOLUME_ROOT_INODE
        && FileSystem::of(tree.as_fd()) == Ok(FileSystem::Btrfs)
    {
        return sys::btrfs::set_read_only(tree.as_fd(), true);
    }
    let flags = ioctl_getflags(tree)?;
    ioctl_setflags(tree, flags | IFlags::IMMUTABLE)
}

/// The wish that stands in a holder's directory: for which inode, and under which name.
fn wish(holder: BorrowedFd<'_>) -> Option<(u64, Vec<u8>)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(holder, WISH, flags, Mode::empty()).ok()?;
    let mut text = Vec::new();
    std::fs::File::from(file).take(LONGEST).read_to_end(&mut text).ok()?;
    let space = text.iter().position(|byte| *byte == b' ')?;
    let inode = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
    Some((inode, text[space + 1..].to_vec()))
}

/// Whether a tree of this name and inode waits for its mark, in the directory that it is in.
pub(super) fn is_wished(place: BorrowedFd<'_>, name: &str, inode: u64) -> bool {
    let holder = crate::holder::name(super::hold::machine(name).as_str(), crate::holder::Purpose::Copy);
    crate::holder::likely_in(place, holder).into_iter().any(|holder| {
        let Ok(holder) = openat(place, holder, DIRECTORY, Mode::empty()) else { return false };
        wish(holder.as_fd()).is_some_and(|(wished, whose)| wished == inode && whose == name.as_bytes())
    })
}

/// Grants the wish in a dead holder's directory, before that is removed. Without one there is nothing to do.
///
/// # Errors
/// Those of marking.
pub(crate) fn grant(place: BorrowedFd<'_>, holder: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let Some((inode, name)) = wish(holder) else { return Ok(()) };
    let name = OsStr::from_bytes(&name);
    if name.as_bytes().contains(&b'/') || rustix::fs::statat(holder, TREE, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    match openat(place, name, DIRECTORY, Mode::empty()) {
        Ok(tree) if rustix::fs::fstat(&tree)?.st_ino == inode => mark(&tree),
        // Renamed or removed since.
        _ => Ok(()),
    }
}
