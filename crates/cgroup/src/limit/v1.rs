//! Limits in the hierarchies of version 1. Each has a group for the machine, with the limits, right below the caller's
//! own, and in that one a group that the payload is in: what it may do with its own group does not reach the limits.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, unlinkat};
use rustix::io::Errno;

use super::{Error, File};
use crate::group::system_error;
use crate::subtree::{self, open_directory};

/// What statfs(2) says of version 1.
pub(crate) const CGROUP1_MAGIC: rustix::fs::FsWord = 0x0027_e0eb;
/// In front of a machine's name.
const PREFIX: &str = "redd-";
const PAYLOAD: &CStr = c"payload";
/// Limits of memory, which groups themselves take a little of.
const MEMORY: [&str; 2] = ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"];
/// How long processes that were killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Files that a new group has empty, without which nobody can enter it.
const SETS: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// A hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Its controllers.
    pub controllers: Vec<String>,
    /// The directory of the caller's own group.
    pub own: PathBuf,
}

/// The hierarchies that are mounted and that the caller's own group can be seen in.
#[must_use]
pub fn hierarchies() -> Vec<Hierarchy> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
        .into_iter()
        .filter(|one| rustix::fs::statfs(&one.own).is_ok_and(|fs| fs.f_type == CGROUP1_MAGIC))
        .collect()
}

/// The same for the groups that a process is in.
#[must_use]
pub fn hierarchies_of(pid: i32) -> Vec<Hierarchy> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    parse(&read("/proc/self/mountinfo"), &read(&format!("/proc/{pid}/cgroup")))
}

/// From `/proc/PID/mountinfo` (proc_pid_mountinfo(5)) and `/proc/PID/cgroup` (cgroups(7)).
fn parse(mounts: &str, groups: &str) -> Vec<Hierarchy> {
    let groups: Vec<(Vec<&str>, &str)> = groups
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            Some((fields.next()?.split(',').collect(), fields.next()?))
        })
        .collect();
    let mut all: Vec<Hierarchy> = Vec::new();
    for line in mounts.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else { continue };
        let (mut mount, mut kind) = (mount.split(' ').skip(3), kind.split(' '));
        let (Some(root), Some(target), Some("cgroup")) = (mount.next(), mount.next(), kind.next()) else { continue };
        let options: Vec<&str> = kind.nth(1).unwrap_or_default().split(',').collect();
        let Some((controllers, group)) =
            groups.iter().find(|(names, _)| names.iter().any(|name| options.contains(name)))
        else {
            continue;
        };
        let Ok(below) = Path::new(group).strip_prefix(root) else { continue };
        let controllers: Vec<String> = controllers.iter().map(|name| (*name).to_owned()).collect();
        if !all.iter().any(|one| one.controllers == controllers) {
            all.push(Hierarchy { controllers, own: Path::new(target).join(below) });
        }
    }
    all
}

/// The path of a machine's group, for the record of what is made.
#[must_use]
pub fn path(own: &Path, machine: &str) -> PathBuf {
    own.join(format!("{PREFIX}{machine}"))
}

/// The machines that have groups in these hierarchies, alive or not.
#[must_use]
pub fn machines(hierarchies: &[Hierarchy]) -> Vec<String> {
    let entries = hierarchies.iter().filter_map(|one| std::fs::read_dir(&one.own).ok()).flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned)).collect()
}

/// A machine's groups in one hierarchy.
#[derive(Debug)]
pub struct Group {
    own: OwnedFd,
    name: CString,
    payload: OwnedFd,
    path: PathBuf,
}

impl Group {
    /// Makes them and writes the files of either. What a dead run has left of this name is removed first. Groups for
    /// processors and memory nodes begin with what the caller's has.
    ///
    /// # Errors
    /// [`crate::Error::InUse`] if processes are in a group of this name; [`Error::Value`] where the kernel refuses a value.
    /// Nothing is left then.
    pub fn create(own: &Path, machine: &str, files: &[File<'_>], below: &[File<'_>]) -> Result<Self, Error> {
        let path = path(own, machine);
        let failed = |what| {
            let path = path.clone();
            move |errno| Error::Group(system_error(what, &path, errno))
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let own = rustix::fs::openat(CWD, own, flags, Mode::empty()).map_err(failed("find the caller's group for"))?;
        let name = CString::new(format!("{PREFIX}{machine}")).map_err(|_| failed("name")(Errno::INVAL))?;
        let mut made = mkdirat(&own, &name, Mode::from_raw_mode(0o755));
        if made == Err(Errno::EXIST) {
            if has_processes(&own, &name).map_err(failed("look into"))? {
                return Err(crate::Error::InUse(path).into());
            }
            remove(&own, &name).map_err(failed("remove"))?;
            made = mkdirat(&own, &name, Mode::from_raw_mode(0o755));
        }
        made.map_err(failed("make"))?;
        Self::fill(&own, &name, &path, files, below)
            .inspect_err(|_| {
                // The first error is the one to tell.
                let _ = remove(&own, &name);
            })
            .map(|payload| Self { own, name, payload, path })
    }

    fn fill(own: &OwnedFd, name: &CStr, path: &Path, files: &[File<'_>], below: &[File<'_>]) -> Result<OwnedFd, Error> {
        let failed = |errno| Error::Group(system_error("make", path, errno));
        let machine = open_directory(own, name).map_err(failed)?;
        inherit(own, &machine).map_err(failed)?;
        write(&machine, path, files)?;
        // What the kernel needs for it counts as the machine's.
        mkdirat(&machine, PAYLOAD, Mode::from_raw_mode(0o755)).map_err(|errno| {
            let limit = files.iter().find(|file| MEMORY.contains(&file.name)).filter(|_| errno == Errno::NOMEM);
            limit.map_or_else(|| failed(errno), |file| too_low(file, path))
        })?;
        let payload = open_directory(&machine, PAYLOAD).map_err(failed)?;
        inherit(&machine, &payload).map_err(failed)?;
        write(&payload, &path.join("payload"), below)?;
        Ok(payload)
    }

    /// Moves a process, with all its threads, to the payload's group. The kernel takes some 10 ms for it.
    ///
    /// # Errors
    /// Those of the write.
    pub fn join(&self, pid: i32) -> Result<(), Error> {
        subtree::write(&self.payload, "cgroup.procs", pid.to_string().as_bytes())
            .map_err(|errno| system_error("put the payload into", &self.path, errno).into())
    }

    /// Removes both; their processes have been killed.
    ///
    /// # Errors
    /// `EBUSY` if processes stay.
    pub fn end(self) -> Result<(), Error> {
        remove(&self.own, &self.name).map_err(|errno| system_error("remove", &self.path, errno).into())
    }

    /// How often the kernel killed a process because the memory was used up; `None` where it does not tell.
    #[must_use]
    pub fn killed_for_memory(&self) -> Option<u64> {
        let mut buffer = [0; 256];
        let text = subtree::read(&self.payload, "memory.oom_control", &mut buffer).ok()?;
        crate::subtree::field(text, b"oom_kill ")
    }
}

fn write(group: &OwnedFd, path: &Path, files: &[File<'_>]) -> Result<(), Error> {
    for file in files {
        subtree::write(group, file.name, file.value.as_bytes()).map_err(|source| refused(file, path, source))?;
    }
    Ok(())
}

fn refused(file: &File<'_>, path: &Path, source: Errno) -> Error {
    // More is in use already.
    if source == Errno::BUSY && MEMORY.contains(&file.name) {
        return too_low(file, path);
    }
    Error::Value {
        property: file.property.to_owned(),
        value: file.value.to_owned(),
        file: path.join(file.name).display().to_string(),
        source,
    }
}

fn too_low(file: &File<'_>, path: &Path) -> Error {
    let (property, value) = (file.property.to_owned(), file.value.to_owned());
    Error::TooLow { property, value, group: path.display().to_string() }
}

fn inherit(from: &OwnedFd, to: &OwnedFd) -> rustix::io::Result<()> {
    let mut buffer = [0; 4096];
    for file in SETS {
        match subtree::read(from, file, &mut buffer) {
            Ok(set) => subtree::write(to, file, set)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn has_processes(at: &OwnedFd, name: &CStr) -> rustix::io::Result<bool> {
    let group = open_directory(at, name)?;
    let here = |group: &OwnedFd| subtree::read(group, "cgroup.procs", &mut [0; 16]).map(|text| !text.is_empty());
    match open_directory(&group, PAYLOAD) {
        Ok(payload) if here(&payload)? => return Ok(true),
        Ok(_) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    here(&group)
}

/// Whether processes are in it.
pub(crate) fn is_populated(path: &Path) -> rustix::io::Result<bool> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::openat(CWD, parent, flags, Mode::empty())?;
    let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
    match has_processes(&parent, &name) {
        Err(Errno::NOENT) => Ok(false),
        other => other,
    }
}

/// Removes the group of a dead machine; false if there is none. Its processes are killed by their group of cgroup2.
///
/// # Errors
/// `EBUSY` if processes stay.
pub fn remove_dead(path: &Path) -> Result<bool, crate::Error> {
    let failed = |errno| system_error("remove", path, errno);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(false) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = match rustix::fs::openat(CWD, parent, flags, Mode::empty()) {
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(false),
        other => other.map_err(failed)?,
    };
    if rustix::fs::fstatfs(&parent).map_err(failed)?.f_type != CGROUP1_MAGIC
        || !name.as_bytes().starts_with(PREFIX.as_bytes())
    {
        return Ok(false);
    }
    let name = CString::new(name.as_bytes()).map_err(|_| failed(Errno::INVAL))?;
    match open_directory(&parent, &name) {
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(failed(errno)),
        Ok(_) => remove(&parent, &name).map(|()| true).map_err(failed),
    }
}

/// Whether the path is one of version 1.
pub(crate) fn is_one(path: &Path) -> bool {
    path.parent().is_some_and(|parent| rustix::fs::statfs(parent).is_ok_and(|fs| fs.f_type == CGROUP1_MAGIC))
}

/// Removes a group with all groups in it, the deepest first, without recursion: who is in it decides how deep they are.
/// Going up by `..` is safe, because groups can be renamed only where they are.
fn remove(parent: &OwnedFd, name: &CStr) -> rustix::io::Result<()> {
    let until = Instant::now() + GONE_WITHIN;
    let mut here = match open_directory(parent, name) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let mut names: Vec<CString> = Vec::new();
    loop {
        if let Some(child) = subtree::children(&here)?.next().transpose()? {
            here = open_directory(&here, &child)?;
            names.push(child);
            continue;
        }
        let Some(child) = names.pop() else { break };
        here = open_directory(&here, c"..")?;
        remove_one(&here, &child, until)?;
    }
    drop(here);
    remove_one(parent, name, until)
}

/// Processes that were killed are in their group until they are gone, and version 1 does not tell when that is.
fn remove_one(at: &OwnedFd, name: &CStr, until: Instant) -> rustix::io::Result<()> {
    let mut pause = Duration::from_micros(200);
    loop {
        match unlinkat(at, name, AtFlags::REMOVEDIR) {
            Err(Errno::BUSY) if Instant::now() < until => {
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(20));
            }
            Err(Errno::NOENT) => return Ok(()),
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_where_they_are_mounted() {
        let mounts = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 /own /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory
34 31 0:31 /other /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
35 31 0:32 / /sys/fs/cgroup/net rw - cgroup cgroup rw,net_cls,net_prio
36 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
37 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
38 31 0:29 / /mnt/cpu rw,relatime - cgroup cgroup rw,cpu
nonsense";
        let groups =
            "9:name=systemd:/s\n4:memory:/own/a:b\n3:pids:/elsewhere\n2:net_cls,net_prio:/n\n1:cpu:/\n0::/x\nx";
        let found: Vec<_> = parse(mounts, groups).into_iter().map(|one| (one.controllers.join("+"), one.own)).collect();
        let expected = [
            ("cpu", "/sys/fs/cgroup/cpu/"),
            ("memory", "/sys/fs/cgroup/memory/a:b"),
            ("net_cls+net_prio", "/sys/fs/cgroup/net/n"),
            ("name=systemd", "/sys/fs/cgroup/systemd/s"),
        ];
        assert_eq!(found, expected.map(|(names, path)| (names.to_owned(), PathBuf::from(path))));
    }
}
