//! The processes of a machine, by its control group of version 2, see cgroups(7). What is inside of it is made by the
//! machine: directories below are walked by descriptors, and a process is signalled only if it still is in there once a
//! descriptor holds it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Dir, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open};

use crate::state::State;

/// Who puts the processes of a machine and their supervisor into groups beside each other.
const NSPAWN: &str = "systemd-nspawn";
/// The one of the machine.
const PAYLOAD: &str = "payload";
/// How deep groups are followed. The kernel's own limit can be lower, never needed to be higher.
const DEEPEST: usize = 64;
/// How many processes are held at a time.
const HELD: usize = 64;
/// How often processes that have come meanwhile are looked for.
const ROUNDS: usize = 8;

/// A control group.
#[derive(Debug)]
pub struct Group {
    directory: OwnedFd,
}

impl Group {
    /// The one at this path of the host.
    ///
    /// # Errors
    /// Those of open(2): `ENOENT` where it is gone.
    pub fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { directory: openat(CWD, path, flags, Mode::empty())? })
    }

    /// The numbers of all processes in it and below.
    ///
    /// # Errors
    /// Those of reading it; groups that vanish meanwhile have no processes.
    pub fn processes(&self) -> rustix::io::Result<Vec<i32>> {
        let mut all = Vec::new();
        self.each(&mut |group| {
            all.extend(listed(group)?);
            Ok(())
        })?;
        Ok(all)
    }

    /// Sends a signal to all processes in it and below, also to those that come while it does.
    ///
    /// # Errors
    /// Those of reading it, `EPERM`.
    pub fn signal(&self, signal: i32) -> rustix::io::Result<()> {
        if signal == Signal::KILL.as_raw() {
            match write(&self.directory, "cgroup.kill", b"1") {
                // Linux 5.14.
                Err(Errno::NOENT) => {}
                other => return other,
            }
        }
        let mut done = Vec::new();
        for _ in 0..ROUNDS {
            let before = done.len();
            self.each(&mut |group| signal_in(group, signal, &mut done))?;
            if done.len() == before {
                break;
            }
        }
        Ok(())
    }

    /// Stops all processes where they are, or lets them go on.
    ///
    /// # Errors
    /// `ENOENT` where the kernel cannot (before Linux 5.2).
    pub fn freeze(&self, frozen: bool) -> rustix::io::Result<()> {
        write(&self.directory, "cgroup.freeze", if frozen { b"1" } else { b"0" })
    }

    /// Whether all processes are stopped.
    ///
    /// # Errors
    /// Those of reading it.
    pub fn is_frozen(&self) -> rustix::io::Result<bool> {
        let text = read(&self.directory, "cgroup.events")?;
        Ok(text.split(|byte| *byte == b'\n').any(|line| line == b"frozen 1"))
    }

    /// Whether the kernel can freeze it: not the root of all, and not before Linux 5.2.
    #[must_use]
    pub fn can_freeze(&self) -> bool {
        rustix::fs::accessat(&self.directory, "cgroup.freeze", Access::EXISTS, AtFlags::empty()).is_ok()
    }

    fn each(&self, act: &mut dyn FnMut(&OwnedFd) -> rustix::io::Result<()>) -> rustix::io::Result<()> {
        each_below(&self.directory, DEEPEST, act)
    }
}

/// The path on the host of the group that a service manager has made for a machine, which its first process is in or below;
/// that of the machine's own processes, where its supervisor is in one beside it.
#[must_use]
pub fn of_unit(state: &State) -> Option<PathBuf> {
    let _held = state.leader.open_in_this_boot()?;
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", state.leader.pid)).ok()?;
    let mut mount = PathBuf::from("/sys/fs/cgroup");
    if !mount.join("cgroup.controllers").exists() {
        mount.push("unified");
    }
    let found = mount.join(below(&text, state)?);
    let payload = found.join(PAYLOAD);
    let apart = state.service.as_deref() == Some(NSPAWN) && state.subgroup.is_none() && payload.exists();
    Some(if apart { payload } else { found })
}

/// The group of the unit, on the way to where `/proc/PID/cgroup` says that the process is, and below it the machine's, if that is
/// named.
fn below(text: &str, state: &State) -> Option<PathBuf> {
    let unit = state.unit.as_deref()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let mut found = PathBuf::new();
    for part in Path::new(path) {
        found.push(part);
        if part == unit {
            let plain = |path: &&Path| path.components().all(|part| matches!(part, Component::Normal(_)));
            found.extend(state.subgroup.as_deref().map(Path::new).filter(plain));
            return Some(found);
        }
    }
    None
}

/// What freezes all processes of a machine that others run.
#[derive(Debug)]
pub enum Freezer {
    /// A control group of version 2.
    Unified(Group),
    /// The directory of a group in the freezer's hierarchy of version 1.
    V1(OwnedFd),
}

impl Freezer {
    /// The group of version 1 at this path.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn v1(path: &Path) -> rustix::io::Result<Self> {
        Ok(Self::V1(Group::open(path)?.directory))
    }

    /// Stops all processes where they are, or lets them go on.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn freeze(&self, frozen: bool) -> rustix::io::Result<()> {
        match self {
            Self::Unified(group) => group.freeze(frozen),
            Self::V1(group) => write(group, "freezer.state", if frozen { b"FROZEN" } else { b"THAWED" }),
        }
    }

    /// Whether all processes are stopped.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn is_frozen(&self) -> rustix::io::Result<bool> {
        match self {
            Self::Unified(group) => group.is_frozen(),
            Self::V1(group) => Ok(read(group, "freezer.state")?.starts_with(b"FROZEN")),
        }
    }
}

fn each_below(
    group: &OwnedFd,
    depth: usize,
    act: &mut dyn FnMut(&OwnedFd) -> rustix::io::Result<()>,
) -> rustix::io::Result<()> {
    act(group)?;
    if depth == 0 {
        return Ok(());
    }
    for entry in Dir::read_from(group)? {
        let entry = match entry {
            // It has gone meanwhile.
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            other => other?,
        };
        if entry.file_type() != FileType::Directory || matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match openat(group, entry.file_name(), flags, Mode::empty()) {
            Ok(below) => each_below(&below, depth - 1, act)?,
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The processes that are in this group itself. Those of a threaded group are listed by the one above.
fn listed(group: &OwnedFd) -> rustix::io::Result<Vec<i32>> {
    let text = match read(group, "cgroup.procs") {
        Err(Errno::OPNOTSUPP | Errno::NODEV | Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let numbers = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
    // Those outside our PID namespace are shown as 0.
    Ok(numbers.filter(|number| *number > 0).collect())
}

fn signal_in(group: &OwnedFd, signal: i32, done: &mut Vec<i32>) -> rustix::io::Result<()> {
    let new: Vec<i32> = listed(group)?.into_iter().filter(|pid| !done.contains(pid)).collect();
    for part in new.chunks(HELD) {
        let held: Vec<(i32, OwnedFd)> = part.iter().filter_map(|pid| Some((*pid, open_process(*pid)?))).collect();
        // Whoever is still listed is who is held: its number cannot have been given to another one since.
        let still = listed(group)?;
        for (pid, process) in held.iter().filter(|(pid, _)| still.contains(pid)) {
            match sys::signal::send(process.as_fd(), signal) {
                Ok(()) | Err(Errno::SRCH) => done.push(*pid),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn open_process(pid: i32) -> Option<OwnedFd> {
    pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()
}

fn read(group: &OwnedFd, name: &str) -> rustix::io::Result<Vec<u8>> {
    let file = openat(group, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    let mut text = Vec::new();
    let mut buffer = [0; 2048];
    loop {
        match rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer))? {
            0 => return Ok(text),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
}

fn write(group: &OwnedFd, name: &str, text: &[u8]) -> rustix::io::Result<()> {
    let file = openat(group, name, OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::retry_on_intr(|| rustix::io::write(&file, text)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made of plain files, as the kernel would show it.
    #[test]
    fn the_group_of_a_unit() {
        let text = "1:name=systemd:/x\n0::/machine.slice/m.scope/payload/init.scope\n";
        let state = |unit: &str, subgroup: Option<&str>| State {
            unit: Some(unit.to_owned()),
            subgroup: subgroup.map(str::to_owned),
            ..crate::machines::host()
        };
        let found = |unit, subgroup| below(text, &state(unit, subgroup));
        assert_eq!(found("m.scope", None).as_deref(), Some(Path::new("machine.slice/m.scope")));
        assert_eq!(found("m.scope", Some("payload")).as_deref(), Some(Path::new("machine.slice/m.scope/payload")));
        assert_eq!(found("m.scope", Some("../x")).as_deref(), Some(Path::new("machine.slice/m.scope")));
        assert_eq!(found("other.scope", None), None);
        assert_eq!(below("0::/", &state("m.scope", None)), None);
    }

    #[test]
    fn processes_of_all_groups_below() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("cgroup.procs", "12\n0\n");
        write("a/cgroup.procs", "");
        write("a/b/cgroup.procs", "13\n14\n");
        write("a/b/cgroup.freeze", "0\n");
        write("cgroup.events", "populated 1\nfrozen 0\n");
        let group = Group::open(directory.path()).unwrap();
        let mut all = group.processes().unwrap();
        all.sort_unstable();
        assert_eq!(all, [12, 13, 14]);
        assert!(!group.is_frozen().unwrap());
        assert_eq!(group.freeze(true), Err(Errno::NOENT));
        write("cgroup.events", "populated 1\nfrozen 1\n");
        assert!(group.is_frozen().unwrap());
        assert!(Group::open(&directory.path().join("c")).is_err());
    }

    #[test]
    fn a_signal_reaches_those_that_are_listed() {
        use std::os::unix::process::ExitStatusExt;
        let directory = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        std::fs::write(directory.path().join("cgroup.procs"), format!("{}\n", child.id())).unwrap();
        Group::open(directory.path()).unwrap().signal(Signal::USR1.as_raw()).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::USR1.as_raw()));
    }
}
