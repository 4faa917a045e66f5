//! The control group of a machine, for what the host wants to limit and count, and in it the one that is given to the
//! container.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, chownat, mkdirat, statat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};

use crate::Layout;
use crate::layout::SUPERVISOR;
use crate::subtree::{self, open_directory, populated, remove_below};

/// The directory that all groups of a caller that no service manager looks after are in.
pub(crate) const COMMON: &CStr = c"redd";
/// The group that the container gets, inside of the machine's.
const PAYLOAD: &CStr = c"payload";
/// The files by which a group is delegated, see cgroups(7), where the kernel does not list them.
const DELEGATED: &str = "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n";

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody runs under this name, or in this unit.
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
    machine: OwnedFd,
    payload: OwnedFd,
    path: PathBuf,
    /// The directory that it is in and its name there; absent where it belongs to the service manager, which removes
    /// it.
    place: Option<(OwnedFd, CString)>,
}

impl Group {
    /// Makes the group below the caller's own. What a dead run has left of one of this name is removed first.
    ///
    /// # Errors
    /// [`Error::InUse`] if processes are in a group of this name.
    pub fn create(layout: &Layout, machine: &str) -> Result<Self, Error> {
        let path = layout.machine(machine);
        let name = file_name(machine).map_err(|errno| system_error("name", &path, errno))?;
        let common = match open_directory(&layout.own, COMMON) {
            Err(Errno::NOENT) => make(&layout.own, COMMON).and_then(|()| open_directory(&layout.own, COMMON)),
            other => other,
        }
        .map_err(|errno| system_error("make", &path, errno))?;
        if let Err(errno) = mkdirat(&common, &name, Mode::from_raw_mode(0o755)) {
            if errno != Errno::EXIST {
                return Err(system_error("make", &path, errno));
            }
            let old = open_directory(&common, &name).map_err(|errno| system_error("open", &path, errno))?;
            clear(&old, &path)?;
        }
        let machine = open_directory(&common, &name).map_err(|errno| system_error("open", &path, errno))?;
        let payload = make(&machine, PAYLOAD)
            .and_then(|()| open_directory(&machine, PAYLOAD))
            .map_err(|errno| system_error("make", &path, errno))?;
        Ok(Self { machine, payload, path, place: Some((common, name)) })
    }

    /// Makes the payload's group in the unit that the caller is in. The caller itself moves to a group beside it,
    /// because groups with processes cannot hand on controllers (cgroups(7), "no internal processes").
    ///
    /// # Errors
    /// [`Error::InUse`] if there is a container in the unit already.
    pub fn create_in_unit(layout: &Layout) -> Result<Self, Error> {
        let path = layout.unit_path();
        let failed = |what| move |errno| system_error(what, &layout.unit_path(), errno);
        let unit = if layout.in_supervisor() {
            open_directory(&layout.own, c"..").map_err(failed("open"))?
        } else {
            let unit = open_directory(&layout.own, c".").map_err(failed("open"))?;
            make(&unit, SUPERVISOR)
                .and_then(|()| open_directory(&unit, SUPERVISOR))
                .and_then(|group| subtree::write(&group, "cgroup.procs", b"0"))
                .map_err(failed("move the supervisor below"))?;
            unit
        };
        if let Err(errno) = mkdirat(&unit, PAYLOAD, Mode::from_raw_mode(0o755)) {
            if errno != Errno::EXIST {
                return Err(system_error("make a group in", &path, errno));
            }
            let old = open_directory(&unit, PAYLOAD).map_err(failed("open"))?;
            clear(&old, &path)?;
        }
        let payload = open_directory(&unit, PAYLOAD).map_err(failed("open"))?;
        Ok(Self { machine: unit, payload, path, place: None })
    }

    /// Where a new process starts with `CLONE_INTO_CGROUP`.
    #[must_use]
    pub fn payload(&self) -> BorrowedFd<'_> {
        self.payload.as_fd()
    }

    /// The machine's group, which the limits are on.
    pub(crate) fn machine(&self) -> &OwnedFd {
        &self.machine
    }

    /// The groups that have to hand a controller on before the machine's has it, from above.
    pub(crate) fn above<'a>(&'a self, layout: &'a Layout) -> impl Iterator<Item = &'a OwnedFd> {
        self.place.iter().flat_map(|(common, _)| [&layout.own, common])
    }

    /// How often the kernel killed a process because the memory was used up; `None` where it does not tell.
    #[must_use]
    pub fn killed_for_memory(&self) -> Option<u64> {
        let mut buffer = [0; 256];
        let text = subtree::read(&self.machine, "memory.events", &mut buffer).ok()?;
        subtree::field(text, b"oom_kill ")
    }

    /// The path of the payload's group, as the host has it mounted.
    #[must_use]
    pub fn payload_path(&self) -> PathBuf {
        self.path.join(OsStr::from_bytes(PAYLOAD.to_bytes()))
    }

    /// Its path, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Hands the controllers that the group has on to the payload's, as far as the kernel lets it: it does not where
    /// processes are in a group on the way.
    ///
    /// # Errors
    /// Those of reading which there are.
    pub fn hand_on_controllers(&self, layout: &Layout) -> Result<(), Error> {
        let failed = |errno| system_error("read the controllers of", &self.path, errno);
        let mut buffer = [0; 512];
        let mut groups: Vec<&OwnedFd> = Vec::with_capacity(3);
        if let Some((common, _)) = &self.place {
            groups.extend([&layout.own, common]);
        }
        groups.push(&self.machine);
        for group in groups {
            let available = subtree::read(group, "cgroup.controllers", &mut buffer).map_err(failed)?;
            for name in available.split(u8::is_ascii_whitespace).filter(|name| !name.is_empty()) {
                // One by one: that one cannot be had says nothing about the others.
                let _ = subtree::write(group, "cgroup.subtree_control", &[b"+", name].concat());
            }
        }
        Ok(())
    }

    /// Gives the payload's group to a user: itself, and the files that the kernel lists for this.
    ///
    /// # Errors
    /// Those of chown(2).
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<(), Error> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        let listed = std::fs::read_to_string("/sys/kernel/cgroup/delegate").unwrap_or_else(|_| DELEGATED.to_owned());
        // A part of the listed files belongs to controllers that are not there.
        let give = |file: &str| match chownat(&self.payload, file, uid, gid, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            other => other,
        };
        chownat(&self.machine, PAYLOAD, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| listed.lines().try_for_each(give))
            .map_err(|errno| system_error("delegate", &self.path, errno))
    }

    /// Ends it: whoever is still in it is killed, and it is removed with all that is in it. What belongs to the service
    /// manager stays.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn end(self) -> Result<(), Error> {
        // The kernel removes a group only if nobody is in it, so where that works there was nobody to kill.
        if unlinkat(&self.machine, PAYLOAD, AtFlags::REMOVEDIR).is_ok() {
            let Some((common, name)) = &self.place else { return Ok(()) };
            // Or somebody has removed it, in which nobody was.
            if matches!(unlinkat(common, name, AtFlags::REMOVEDIR), Ok(()) | Err(Errno::NOENT)) {
                return Ok(());
            }
        }
        if self.is_gone() {
            return Ok(());
        }
        self.kill()?;
        self.remove()
    }

    /// Whether somebody who shares the hierarchy and not `/run` has removed it: nobody was in it, and it was not new.
    fn is_gone(&self) -> bool {
        self.place.is_some() && statat(&self.machine, "cgroup.procs", AtFlags::empty()).err() == Some(Errno::NOENT)
    }

    /// Kills every process in it, at once (`cgroup.kill`, Linux 5.14).
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn kill(&self) -> Result<(), Error> {
        let group = if self.place.is_some() { &self.machine } else { &self.payload };
        match subtree::write(group, "cgroup.kill", b"1") {
            // It is gone already.
            Ok(()) | Err(Errno::NODEV) => Ok(()),
            Err(errno) => Err(system_error("kill the processes in", &self.path, errno)),
        }
    }

    /// Removes it with all groups that were made in it, once its processes are gone.
    ///
    /// # Errors
    /// Those of the system calls; `EBUSY` if processes stay.
    pub fn remove(self) -> Result<(), Error> {
        let removed = match &self.place {
            Some((common, name)) => remove_below(&self.machine).and_then(|()| subtree::remove(common, name)),
            None => match open_directory(&self.machine, PAYLOAD) {
                Ok(payload) => remove_below(&payload).and_then(|()| subtree::remove(&self.machine, PAYLOAD)),
                Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            },
        };
        removed.map_err(|errno| system_error("remove", &self.path, errno))
    }
}

/// Empties a group that a dead run has left.
fn clear(old: &OwnedFd, path: &Path) -> Result<(), Error> {
    if populated(old).map_err(|errno| system_error("read", path, errno))? {
        return Err(Error::InUse(path.to_owned()));
    }
    remove_below(old).map_err(|errno| system_error("remove what is in", path, errno))
}

/// A machine's name as a file's: with a dot in it, it could be one of the kernel's, such as `memory.max`, so those and
/// what could be mistaken for them get a letter in front that no machine's name begins with.
pub(crate) fn file_name(machine: &str) -> rustix::io::Result<CString> {
    let escaped = if machine.contains('.') || machine.starts_with('_') { "_" } else { "" };
    if machine.is_empty() || machine.contains('/') {
        return Err(Errno::INVAL);
    }
    CString::new(format!("{escaped}{machine}")).map_err(|_| Errno::INVAL)
}

pub(crate) fn system_error(what: &'static str, path: &Path, source: Errno) -> Error {
    Error::System { what, path: path.to_owned(), source }
}

fn make(at: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    match mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
