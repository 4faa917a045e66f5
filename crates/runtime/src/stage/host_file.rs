//! Files of the host's configuration that get inside: copied, mounted on top, removed (systemd-nspawn(1),
//! `--resolv-conf=`, `--timezone=`).
//!
//! The tree is hostile: in place of the file there may be a link, a fifo, a device, a directory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use plan::MountFlags;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, Result};

use super::files::{Files, place_at, restrict, write_all};

/// How a copy is called until it is complete.
const STAGED: &str = ".#redd.staged";

/// Writes the file unless it says the same already. One that is no regular file is left alone, as is a missing
/// directory.
pub(super) fn copy(files: &mut Files, target: &Path, contents: &[u8]) -> Result<()> {
    let Some((directory, name)) = existing_parent(files, target)? else { return Ok(()) };
    let kind = match kind(directory, name) {
        Err(Errno::NOENT) => None,
        other => Some(other?),
    };
    let open = |access| {
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))
    };
    match kind {
        None => return write_all(open(OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?.as_fd(), contents),
        Some(FileType::RegularFile) => {}
        // Not even looked into: opening a device or a fifo can do things by itself.
        Some(_) => return Ok(()),
    }
    // Read only: opening it for writing already copies it to the upper layer of an overlay.
    let file = open(OFlags::RDONLY)?;
    let is_regular = |file: &OwnedFd| Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode).is_file());
    if !is_regular(&file)? || says(&file, contents)? {
        return Ok(());
    }
    let file = open(OFlags::WRONLY)?;
    if !is_regular(&file)? {
        return Ok(());
    }
    rustix::fs::ftruncate(&file, 0)?;
    write_all(file.as_fd(), contents)
}

/// Puts the file in place of whatever is there, at once, unless it says the same already.
pub(super) fn replace(files: &mut Files, target: &Path, contents: &[u8]) -> Result<()> {
    let Some((directory, name)) = existing_parent(files, target)? else { return Ok(()) };
    if kind(directory, name) == Ok(FileType::RegularFile) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
        if says(&file, contents)? {
            return Ok(());
        }
    }
    let staged = || {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(directory, STAGED, flags, Mode::from_raw_mode(0o644))
    };
    let file = match staged() {
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(directory, STAGED, AtFlags::empty())?;
            staged()
        }
        other => other,
    }?;
    let moved =
        write_all(file.as_fd(), contents).and_then(|()| rustix::fs::renameat(directory, STAGED, directory, name));
    if moved.is_err() {
        // Nothing half done stays; why it failed counts more than why this does.
        let _ = rustix::fs::unlinkat(directory, STAGED, AtFlags::empty());
    }
    moved
}

/// Removes the file, or the link, if there is one.
pub(super) fn delete(files: &mut Files, target: &Path) -> Result<()> {
    let Some((directory, name)) = existing_parent(files, target)? else { return Ok(()) };
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Points `/etc/localtime` to the zone if the container has it and is not set to it yet.
pub(super) fn link_timezone(files: &mut Files, zone: &str) -> Result<()> {
    let target = format!("../usr/share/zoneinfo/{zone}");
    match files.open(&Path::new("/usr/share/zoneinfo").join(zone), OFlags::PATH) {
        Err(Errno::NOENT) => return Ok(()),
        other => drop(other?),
    }
    let Some((directory, name)) = existing_parent(files, Path::new("/etc/localtime"))? else { return Ok(()) };
    if let Ok(present) = rustix::fs::readlinkat(directory, name, Vec::new())
        && present.to_bytes().ends_with(&target.as_bytes()[2..])
    {
        return Ok(());
    }
    let link = || rustix::fs::symlinkat(&target, directory, STAGED);
    match link() {
        // Left by a run that died just then, for another zone perhaps.
        Err(Errno::EXIST) => {
            rustix::fs::unlinkat(directory, STAGED, AtFlags::empty())?;
            link()
        }
        other => other,
    }?;
    let moved = rustix::fs::renameat(directory, STAGED, directory, name);
    if moved.is_err() {
        // As above.
        let _ = rustix::fs::unlinkat(directory, STAGED, AtFlags::empty());
    }
    moved
}

/// Puts a mount of the host's file on top of whatever is there, a link itself included, read-only. Where nothing is
/// there an empty file is made.
pub(super) fn bind(files: &mut Files, mount: &OwnedFd, target: &Path) -> Result<()> {
    let (directory, name) = files.parent(target)?;
    let look = || {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(directory, name, flags, Mode::empty())
    };
    let at = match look() {
        Err(Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(0o644))?);
            look()
        }
        other => other,
    }?;
    if FileType::from_raw_mode(rustix::fs::fstat(&at)?.st_mode).is_dir() {
        return Err(Errno::ISDIR);
    }
    restrict(mount.as_fd(), MountFlags { read_only: true, ..MountFlags::NO_SUID_DEV }, false)?;
    place_at(mount, &at)
}

fn existing_parent<'a>(
    files: &'a mut Files,
    target: &'a Path,
) -> Result<Option<(BorrowedFd<'a>, &'a std::ffi::OsStr)>> {
    match files.parent(target) {
        Err(Errno::NOENT) => Ok(None),
        other => other.map(Some),
    }
}

/// Without opening it.
fn kind(directory: BorrowedFd<'_>, name: &std::ffi::OsStr) -> Result<FileType> {
    Ok(FileType::from_raw_mode(rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode))
}

fn says(file: &OwnedFd, contents: &[u8]) -> Result<bool> {
    let mut present = vec![0; contents.len() + 1];
    let length = rustix::io::pread(file, &mut present, 0)?;
    Ok(&present[..length] == contents)
}
