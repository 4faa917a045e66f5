//! Groups of machines whose supervisors died.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;

use crate::Layout;
use crate::group::{COMMON, Error, system_error};
use crate::subtree::{self, open_directory, populated, remove_below};

/// The machines that have groups below the caller's own group, alive or not.
///
/// # Errors
/// Those of reading the directory; it is no error if there is none.
pub fn machines(layout: &Layout) -> Result<Vec<String>, Error> {
    let path = layout.machine("");
    let error = |errno| system_error("read", &path, errno);
    let common = match open_directory(&layout.own, COMMON) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other.map_err(error)?,
    };
    let mut names = Vec::new();
    for name in subtree::children(&common).map_err(error)? {
        let name = name.map_err(error)?.to_string_lossy().into_owned();
        // See where it is escaped.
        names.push(name.strip_prefix('_').map(str::to_owned).unwrap_or(name));
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

/// How often it is looked again at a group that somebody else is removing.
const TRIES: u32 = 100;

/// Removes the group of a dead machine with all groups in it. False if there is none, or if it is not certain that it may
/// be removed.
///
/// # Errors
/// Those of the system calls; `EBUSY` if processes stay.
pub fn remove_dead(group: &Path, certainty: Certainty) -> Result<bool, Error> {
    let mut tries = 0;
    loop {
        match try_to_remove(group, certainty) {
            // Somebody else is removing it, such as the service manager when a unit has ended. Then it is soon gone.
            Err(Error::System { source: Errno::NOENT | Errno::NODEV, .. }) if tries < TRIES => {
                tries += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return other,
        }
    }
}

/// Whether the group of a machine is there and seems to be left: nobody is in it, and it is not new. Nothing is changed.
#[must_use]
pub fn is_left(group: &Path) -> bool {
    let is_empty = if crate::limit::v1::is_one(group) {
        crate::limit::v1::is_populated(group).map(|populated| !populated)
    } else {
        match Layout::open(group) {
            Ok(Some(machine)) => populated(&machine).map(|populated| !populated),
            _ => return false,
        }
    };
    is_settled(group) && is_empty.unwrap_or(false)
}

fn try_to_remove(group: &Path, certainty: Certainty) -> Result<bool, Error> {
    if crate::limit::v1::is_one(group) {
        let doubt = certainty == Certainty::NoTrace;
        if doubt
            && (!is_settled(group)
                || crate::limit::v1::is_populated(group).map_err(|e| system_error("read", group, e))?)
        {
            return Ok(false);
        }
        return crate::limit::v1::remove_dead(group);
    }
    let error = |what| move |errno| system_error(what, group, errno);
    let Some(machine) = Layout::open(group).map_err(error("open"))? else { return Ok(false) };
    let (Some(parent), Some(name)) = (group.parent(), group.file_name()) else { return Ok(false) };
    let name = CString::new(name.as_bytes()).map_err(|_| error("name")(Errno::INVAL))?;
    let Some(parent) = Layout::open(parent).map_err(error("find"))? else { return Ok(false) };
    if certainty == Certainty::NoTrace && (populated(&machine).map_err(error("read"))? || !is_settled(group)) {
        return Ok(false);
    }
    subtree::write(&machine, "cgroup.kill", b"1").map_err(error("kill the processes in"))?;
    remove_below(&machine).map_err(error("remove what is in"))?;
    subtree::remove(&parent, &name).map_err(error("remove"))?;
    Ok(true)
}

fn is_settled(group: &Path) -> bool {
    let made = std::fs::metadata(group).and_then(|status| status.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age >= SETTLED))
}
