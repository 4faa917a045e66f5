//! The control group of a payload: an outer group for what the host wants to limit and count, and in it the one that is
//! given to the container.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Dir, Mode, OFlags, chownat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::Layout;

/// The directory that all of redd's groups are in.
pub(crate) const COMMON: &str = "redd";
/// The group that the container gets, inside of the machine's.
const PAYLOAD: &str = "payload";
/// The files by which a group is delegated, see cgroups(7).
const DELEGATED: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"];
/// How long processes that were killed may take to be gone, in milliseconds.
const GONE_WITHIN: i64 = 10_000;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody runs under this name.
    #[error("the control group {path} has processes in it: a machine of this name is running", path = .0.display())]
    InUse(PathBuf),
    /// The kernel said no.
    #[error("cannot {what} the control group {path}", path = .path.display())]
    System {
        /// Which step.
        what: &'static str,
        /// The group.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// The group of one machine.
#[derive(Debug)]
pub struct Group {
    common: OwnedFd,
    name: CString,
    machine: OwnedFd,
    payload: OwnedFd,
    path: PathBuf,
}

impl Group {
    /// Makes the group. What a dead run has left of one of this name is removed first.
    ///
    /// # Errors
    /// [`Error::InUse`] if processes are in a group of this name.
    pub fn create(layout: &Layout, machine: &str) -> Result<Self, Error> {
        let path = layout.machine(machine);
        let name = CString::new(machine).map_err(|_| system_error("name", &path, Errno::INVAL))?;
        let common = match open_directory(&layout.own, c"redd") {
            Err(Errno::NOENT) => make(&layout.own, c"redd").and_then(|()| open_directory(&layout.own, c"redd")),
            other => other,
        }
        .map_err(|errno| system_error("make", &path, errno))?;
        if let Err(errno) = mkdirat(&common, &name, Mode::from_raw_mode(0o755)) {
            if errno != Errno::EXIST {
                return Err(system_error("make", &path, errno));
            }
            let old = open_directory(&common, &name).map_err(|errno| system_error("open", &path, errno))?;
            if populated(&old).map_err(|errno| system_error("read", &path, errno))? {
                return Err(Error::InUse(path));
            }
            remove_below(&old).map_err(|errno| system_error("remove what is in", &path, errno))?;
        }
        let machine_fd = open_directory(&common, &name).map_err(|errno| system_error("open", &path, errno))?;
        let payload = make(&machine_fd, c"payload")
            .and_then(|()| open_directory(&machine_fd, c"payload"))
            .map_err(|errno| system_error("make", &path, errno))?;
        Ok(Self { common, name, machine: machine_fd, payload, path })
    }

    /// Where a new process starts with `CLONE_INTO_CGROUP`.
    #[must_use]
    pub fn payload(&self) -> BorrowedFd<'_> {
        self.payload.as_fd()
    }

    /// Gives the payload's group to a user.
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<(), Error> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        chownat(&self.machine, PAYLOAD, uid, gid, AtFlags::empty())
            .and_then(|()| {
                DELEGATED.iter().try_for_each(|file| chownat(&self.payload, *file, uid, gid, AtFlags::empty()))
            })
            .map_err(|errno| system_error("delegate", &self.path, errno))
    }

    /// Ends it: whoever is still in it is killed, and it is removed with all that is in it.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn end(self) -> Result<(), Error> {
        // The kernel removes a group only if nobody is in it, so where that works there was nobody to kill.
        if unlinkat(&self.machine, PAYLOAD, AtFlags::REMOVEDIR).is_ok()
            && unlinkat(&self.common, &self.name, AtFlags::REMOVEDIR).is_ok()
        {
            return Ok(());
        }
        self.kill()?;
        self.remove()
    }

    /// Kills every process in it, at once (`cgroup.kill`, Linux 5.14).
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn kill(&self) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        openat(&self.machine, "cgroup.kill", flags, Mode::empty())
            .and_then(|file| rustix::io::write(&file, b"1"))
            .map(drop)
            .map_err(|errno| system_error("kill the processes in", &self.path, errno))
    }

    /// Removes it with all groups that were made in it, once its processes are gone.
    ///
    /// # Errors
    /// Those of the system calls; `EBUSY` if processes stay.
    pub fn remove(self) -> Result<(), Error> {
        let error = |errno| system_error("remove", &self.path, errno);
        drop(self.payload);
        remove_below(&self.machine).map_err(error)?;
        drop(self.machine);
        unlinkat(&self.common, &self.name, AtFlags::REMOVEDIR).map_err(error)
    }
}

pub(crate) fn system_error(what: &'static str, path: &std::path::Path, source: Errno) -> Error {
    Error::System { what, path: path.to_owned(), source }
}

pub(crate) fn open_directory(at: &OwnedFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn make(at: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    match mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
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
pub(crate) fn wait_until_empty(group: &OwnedFd) -> rustix::io::Result<()> {
    let events = openat(group, "cgroup.events", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    while is_populated(&events)? {
        let mut watched = [PollFd::new(&events, PollFlags::PRI)];
        let limit = Timespec { tv_sec: GONE_WITHIN / 1000, tv_nsec: 0 };
        if rustix::io::retry_on_intr(|| poll(&mut watched, Some(&limit)))? == 0 {
            return Err(Errno::BUSY);
        }
    }
    Ok(())
}

/// Removes all groups below, the deepest first, without recursion: the container decides how deep they are.
pub(crate) fn remove_below(top: &OwnedFd) -> rustix::io::Result<()> {
    let mut path: Vec<(OwnedFd, CString)> = Vec::new();
    loop {
        let here = path.last().map_or(top, |(fd, _)| fd);
        match first_child(here)? {
            Some(name) => {
                let child = open_directory(here, &name)?;
                path.push((child, name));
            }
            None => {
                let Some((child, name)) = path.pop() else { return Ok(()) };
                let parent = path.last().map_or(top, |(fd, _)| fd);
                let mut removed = unlinkat(parent, &name, AtFlags::REMOVEDIR);
                if removed == Err(Errno::BUSY) {
                    wait_until_empty(&child)?;
                    removed = unlinkat(parent, &name, AtFlags::REMOVEDIR);
                }
                match removed {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
    }
}

fn first_child(group: &OwnedFd) -> rustix::io::Result<Option<CString>> {
    let fresh = openat(group, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    for entry in Dir::new(fresh)? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type() == rustix::fs::FileType::Directory && !matches!(name.to_bytes(), b"." | b"..") {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}
