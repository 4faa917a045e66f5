//! Groups of machines whose supervisors died.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, unlinkat};
use rustix::io::Errno;

use crate::Layout;
use crate::group::{COMMON, Error, open_directory, populated, remove_below, system_error};

/// What statfs(2) says of a cgroup2 file system.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// The machines that have groups below the caller's own group, alive or not.
///
/// # Errors
/// Those of reading the directory; it is no error if there is none.
pub fn machines(layout: &Layout) -> Result<Vec<String>, Error> {
    let path = layout.path.join(COMMON);
    let error = |errno| system_error("read", &path, errno);
    let common = match open_directory(&layout.own, c"redd") {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other.map_err(error)?,
    };
    let mut names = Vec::new();
    for entry in Dir::new(common).map_err(error)? {
        let entry = entry.map_err(error)?;
        let name = entry.file_name().to_string_lossy();
        if entry.file_type() == FileType::Directory && !matches!(&*name, "." | "..") {
            names.push(name.into_owned());
        }
    }
    Ok(names)
}

/// What the caller knows about a group's owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// It is dead, so who is in the group is killed.
    Dead,
    /// There is no trace of it, but it could be one that shares the group's hierarchy and not `/run`. The group stays
    /// while somebody is in it or it is new.
    NoTrace,
}

/// How old a group is at least that nobody is about to put a process into.
const SETTLED: Duration = Duration::from_secs(10);

/// Removes the group of a dead machine with all groups in it. False if there is none, or if it is not certain that it may
/// be removed.
///
/// # Errors
/// Those of the system calls; `EBUSY` if processes stay.
pub fn remove_dead(group: &Path, certainty: Certainty) -> Result<bool, Error> {
    let error = |what| move |errno| system_error(what, group, errno);
    let (Some(parent), Some(name)) = (group.parent(), group.file_name()) else { return Ok(false) };
    let name = CString::new(name.as_bytes()).map_err(|_| error("name")(Errno::INVAL))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::open(parent, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.map_err(error("find"))?,
    };
    let machine = match open_directory(&parent, &name) {
        Err(Errno::NOENT) => return Ok(false),
        other => other.map_err(error("open"))?,
    };
    #[allow(clippy::unnecessary_cast)] // its type differs between architectures
    let magic = rustix::fs::fstatfs(&machine).map_err(error("examine"))?.f_type as i64;
    if magic != CGROUP2_MAGIC {
        return Ok(false);
    }
    if certainty == Certainty::NoTrace && (populated(&machine).map_err(error("read"))? || !is_settled(group)) {
        return Ok(false);
    }
    openat(&machine, "cgroup.kill", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| rustix::io::write(&file, b"1"))
        .map_err(error("kill the processes in"))?;
    remove_below(&machine).map_err(error("remove what is in"))?;
    let mut removed = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
    if removed == Err(Errno::BUSY) {
        crate::group::wait_until_empty(&machine).map_err(error("wait for the processes in"))?;
        removed = unlinkat(&parent, &name, AtFlags::REMOVEDIR);
    }
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(errno) => Err(error("remove")(errno)),
    }
}

fn is_settled(group: &Path) -> bool {
    let made = std::fs::metadata(group).and_then(|status| status.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age >= SETTLED))
}
