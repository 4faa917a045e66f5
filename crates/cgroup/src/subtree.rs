//! A group and all groups below it, however many and deep the container has made them.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

/// How long processes that were killed may take to be gone, in seconds.
const GONE_WITHIN: i64 = 10;

pub(crate) fn open_directory(at: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Writes to one of a group's files.
pub(crate) fn write(group: &OwnedFd, file: &str, text: &[u8]) -> rustix::io::Result<()> {
    let file = openat(group, file, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text).map(drop)
}

/// Reads the beginning of a file: those that are read here are short.
pub(crate) fn read<'a>(at: &OwnedFd, file: &str, buffer: &'a mut [u8]) -> rustix::io::Result<&'a [u8]> {
    let file = openat(at, file, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let length = rustix::io::read(&file, &mut *buffer)?;
    Ok(&buffer[..length])
}

/// The number behind a word at the beginning of a line.
pub(crate) fn field(text: &[u8], name: &[u8]) -> Option<u64> {
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    std::str::from_utf8(line).ok()?.trim().parse().ok()
}

/// Whether there are processes in the group or below.
pub(crate) fn populated(group: &OwnedFd) -> rustix::io::Result<bool> {
    let file = openat(group, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    is_populated(&file)
}

fn is_populated(events: &OwnedFd) -> rustix::io::Result<bool> {
    let mut text = [0; 128];
    let length = rustix::io::pread(events, &mut text, 0)?;
    Ok(text[..length].split(|byte| *byte == b'\n').any(|line| line == b"populated 1"))
}

/// Waits until the kernel says that nobody is in the group any more.
fn wait_until_empty(group: &OwnedFd) -> rustix::io::Result<()> {
    let events = openat(group, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    while is_populated(&events)? {
        let mut watched = [PollFd::new(&events, PollFlags::PRI)];
        let limit = Timespec { tv_sec: GONE_WITHIN, tv_nsec: 0 };
        if rustix::io::retry_on_intr(|| poll(&mut watched, Some(&limit)))? == 0 {
            return Err(Errno::BUSY);
        }
    }
    Ok(())
}

/// Removes a group that may have processes which were just killed.
pub(crate) fn remove(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    let mut removed = unlinkat(parent, name, AtFlags::REMOVEDIR);
    if removed == Err(Errno::BUSY) {
        wait_until_empty(&open_directory(parent, name)?)?;
        removed = unlinkat(parent, name, AtFlags::REMOVEDIR);
    }
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}

/// Removes all groups below, the deepest first. The container decides how deep they are: there is no recursion, and one
/// descriptor for all levels. Going up by `..` is safe, because groups of cgroup2 cannot be renamed.
pub(crate) fn remove_below(top: &OwnedFd) -> rustix::io::Result<()> {
    let mut here = open_directory(top, c".")?;
    let mut names: Vec<CString> = Vec::new();
    loop {
        if let Some(name) = first_child(&here)? {
            here = open_directory(&here, &name)?;
            names.push(name);
            continue;
        }
        let Some(name) = names.pop() else { return Ok(()) };
        here = open_directory(&here, c"..")?;
        remove(&here, &name)?;
    }
}

fn first_child(group: &OwnedFd) -> rustix::io::Result<Option<CString>> {
    children(group)?.next().transpose()
}

/// The names of the groups in a group.
pub(crate) fn children(
    group: &OwnedFd,
) -> rustix::io::Result<impl Iterator<Item = rustix::io::Result<CString>> + use<>> {
    let fresh = open_directory(group, c".")?;
    Ok(Dir::new(fresh)?.filter_map(|entry| match entry {
        Ok(entry) => {
            let name = entry.file_name();
            let group = entry.file_type() == rustix::fs::FileType::Directory;
            (group && !matches!(name.to_bytes(), b"." | b"..")).then(|| Ok(name.to_owned()))
        }
        Err(errno) => Some(Err(errno)),
    }))
}
