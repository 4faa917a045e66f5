//! Groups as somebody sees them who only looks: what is in them, and what is below.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use rustix::buffer::spare_capacity;
use rustix::fs::{CWD, Mode, OFlags, fgetxattr, flistxattr, fstat, fstatfs, openat};
use rustix::io::Errno;

use crate::layout::{CGROUP2_MAGIC, PLACES};
use crate::limit::v1::CGROUP1_MAGIC;
use crate::subtree::{self, open_directory};

/// Where version 1 has the groups that processes are told apart by, without limits.
const NAMED: &str = "/sys/fs/cgroup/systemd";
/// The longest file of a group that is read, in bytes: a million processes.
const LONGEST: usize = 8 << 20;
/// How deep it is looked for processes in version 1, where the kernel does not say whether there are any.
const DEEPEST: usize = 64;
/// How often a walk begins anew because groups were removed on the way.
const TRIES: u32 = 100;

/// One group.
#[derive(Debug)]
pub struct View {
    directory: OwnedFd,
    unified: bool,
}

impl View {
    /// The root of the groups that all processes are in, and where it is mounted: cgroup2, alone or beside version 1, else the
    /// hierarchy of version 1 without a controller. Where none is mounted, cgroup2 in a mount that nobody else sees.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn root() -> rustix::io::Result<(Self, PathBuf)> {
        let places = PLACES.iter().map(|place| (*place, CGROUP2_MAGIC)).chain([(NAMED, CGROUP1_MAGIC)]);
        for (place, magic) in places {
            if rustix::fs::statfs(place).is_ok_and(|found| found.f_type == magic) {
                return Ok((Self::open(Path::new(place))?, place.into()));
            }
        }
        let layout = crate::Layout::detached("/".into())?;
        Ok((Self { directory: layout.own, unified: true }, "/".into()))
    }

    /// A directory of a mounted hierarchy, whichever version that has.
    ///
    /// # Errors
    /// Those of the system calls; `ENOTSUP` for a directory that is no group.
    pub fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty())?;
        match fstatfs(&directory)?.f_type {
            CGROUP2_MAGIC => Ok(Self { directory, unified: true }),
            CGROUP1_MAGIC => Ok(Self { directory, unified: false }),
            _ => Err(Errno::NOTSUP),
        }
    }

    /// A group by the path that the registry has: that of the mounted hierarchy, or of the group alone where cgroup2 is not
    /// mounted.
    ///
    /// # Errors
    /// Those of the system calls, `ENOENT` if it is gone.
    pub fn of_machine(path: &Path) -> rustix::io::Result<Self> {
        let directory = crate::Layout::open(path)?.ok_or(Errno::NOENT)?;
        Ok(Self { directory, unified: true })
    }

    /// A group below, by its path: `/` and the empty path are this one.
    ///
    /// # Errors
    /// Those of the system calls, `EINVAL` for a path with `..` in it.
    pub fn below(&self, path: &Path) -> rustix::io::Result<Self> {
        let mut here = open_directory(&self.directory, c".")?;
        for part in path.components() {
            match part {
                Component::Normal(name) => here = open_directory(&here, &to_c_string(name)?)?,
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL),
            }
        }
        Ok(Self { directory: here, unified: self.unified })
    }

    /// The processes that are in it itself, in order. Those that have no number where the caller is are left out.
    ///
    /// # Errors
    /// Those of the system calls; `ENODEV` where it has just been removed.
    pub fn processes(&self) -> rustix::io::Result<Vec<i32>> {
        let text = match self.read(c"cgroup.procs") {
            // A group of threads: its processes are listed in the group above that has them all (cgroups(7)).
            Err(Errno::OPNOTSUPP) => return Ok(Vec::new()),
            other => other?,
        };
        let numbers = text.split(|byte| *byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.parse().ok());
        let mut all: Vec<i32> = numbers.filter(|number| *number > 0).collect();
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// The processes in it and in all groups below, in order. A container decides how deep those are, so this goes up by `..`,
    /// which is safe because groups of cgroup2 cannot be renamed.
    ///
    /// # Errors
    /// Those of the system calls; what goes away meanwhile is left out.
    pub fn processes_below(&self) -> rustix::io::Result<Vec<i32>> {
        let mut tries = 0;
        loop {
            match self.walk() {
                // The group that it came from is gone, and with it the way up.
                Err(Errno::NOENT | Errno::NODEV) if tries < TRIES => tries += 1,
                other => return other,
            }
        }
    }

    fn walk(&self) -> rustix::io::Result<Vec<i32>> {
        let mut all = self.processes()?;
        let mut here = self.below(Path::new("."))?;
        let mut waiting = vec![self.children()?];
        while let Some(names) = waiting.last_mut() {
            let Some(name) = names.pop() else {
                waiting.pop();
                if !waiting.is_empty() {
                    here.directory = open_directory(&here.directory, c"..")?;
                }
                continue;
            };
            match here.below(Path::new(&name)) {
                Err(Errno::NOENT | Errno::NODEV) => {}
                child => {
                    here = child?;
                    all.extend(here.processes()?);
                    waiting.push(here.children()?);
                }
            }
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }

    /// The names of the groups in it, in the kernel's order.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn children(&self) -> rustix::io::Result<Vec<OsString>> {
        let names = subtree::children(&self.directory)?;
        names.map(|name| name.map(|name| OsString::from_vec(name.into_bytes()))).collect()
    }

    /// Whether processes are in it or in a group below.
    ///
    /// # Errors
    /// Those of the system calls.
    pub fn is_populated(&self) -> rustix::io::Result<bool> {
        if !self.unified {
            return self.is_populated_within(DEEPEST);
        }
        match subtree::populated(&self.directory) {
            // The root of cgroup2 does not say it: it is never empty.
            Err(Errno::NOENT) => Ok(true),
            other => other,
        }
    }

    fn is_populated_within(&self, depth: usize) -> rustix::io::Result<bool> {
        if !self.processes()?.is_empty() {
            return Ok(true);
        }
        if depth == 0 {
            return Ok(false);
        }
        for name in self.children()? {
            match self.below(Path::new(&name)).and_then(|child| child.is_populated_within(depth - 1)) {
                Err(Errno::NOENT | Errno::NODEV) | Ok(false) => {}
                other => return other,
            }
        }
        Ok(false)
    }

    /// The number by which the kernel tells groups apart.
    ///
    /// # Errors
    /// Those of fstat(2).
    pub fn id(&self) -> rustix::io::Result<u64> {
        Ok(fstat(&self.directory)?.st_ino)
    }

    /// The value of an extended attribute, `None` if it has none of this name.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<Vec<u8>> {
        let mut value = Vec::with_capacity(1 << 16);
        fgetxattr(&self.directory, name, spare_capacity(&mut value)).ok()?;
        Some(value)
    }

    /// The names of its extended attributes.
    #[must_use]
    pub fn attributes(&self) -> Vec<String> {
        let mut names: Vec<u8> = Vec::with_capacity(1 << 16);
        if flistxattr(&self.directory, spare_capacity(&mut names)).is_err() {
            return Vec::new();
        }
        let names = names.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// Whether somebody else manages what is below: a container, or a service of its own.
    #[must_use]
    pub fn is_delegated(&self) -> bool {
        ["trusted.delegate", "user.delegate"].iter().any(|name| self.attribute(name).as_deref() == Some(b"1"))
    }

    /// A file of the group.
    ///
    /// # Errors
    /// Those of the system calls; `ENOENT` without the controller that it belongs to.
    pub fn read(&self, name: &CStr) -> rustix::io::Result<Vec<u8>> {
        let file = openat(&self.directory, name, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
        let mut text = Vec::with_capacity(4096);
        while text.len() < LONGEST {
            if text.capacity() - text.len() < 4096 {
                text.reserve(text.len());
            }
            if rustix::io::retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut text)))? == 0 {
                break;
            }
        }
        Ok(text)
    }
}

/// The name that people know a group by: one that could be mistaken for a file of the kernel's has a `_` in front.
#[must_use]
pub fn shown_name(name: &OsStr) -> String {
    let text = name.to_string_lossy();
    text.strip_prefix('_').unwrap_or(&text).to_owned()
}

fn to_c_string(name: &OsStr) -> rustix::io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_what_keeps_them_apart_from_files() {
        assert_eq!(shown_name(OsStr::new("_memory.max")), "memory.max");
        assert_eq!(shown_name(OsStr::new("__x")), "_x");
        assert_eq!(shown_name(OsStr::new("a_")), "a_");
    }

    #[test]
    fn the_caller_is_somewhere_in_it() {
        testkit::requires!(root, cgroup2);
        let (root, path) = View::root().expect("hierarchy");
        assert!(root.is_populated().expect("populated"));
        assert!(root.id().expect("id") > 0);
        let name = format!("redd-view-{}", std::process::id());
        let group = path.join(&name);
        std::fs::create_dir_all(group.join("below")).expect("group");
        let view = root.below(&Path::new("/").join(&name)).expect("view");
        assert!(!view.is_populated().expect("populated") && view.processes().expect("processes").is_empty());
        assert_eq!(view.children().expect("children"), ["below"]);
        let everywhere = || root.below(&Path::new("/").join(&name)).and_then(|view| view.processes_below());
        assert!(everywhere().expect("processes").is_empty());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep");
        let written = std::fs::write(group.join("below/cgroup.procs"), child.id().to_string());
        let populated = view.is_populated();
        let there = view.below(Path::new("below")).and_then(|view| view.processes());
        let all = everywhere();
        child.kill().expect("kill");
        child.wait().expect("wait");
        std::fs::remove_dir(group.join("below")).expect("remove");
        std::fs::remove_dir(&group).expect("remove");
        written.expect("moved");
        assert!(populated.expect("populated"));
        let expected = [i32::try_from(child.id()).expect("pid")];
        assert_eq!(there.expect("processes"), expected);
        assert_eq!(all.expect("processes"), expected);
        assert_eq!(root.below(Path::new("../b")).err(), Some(Errno::INVAL));
        assert_eq!(root.below(Path::new("no-such-group")).err(), Some(Errno::NOENT));
        assert_eq!(View::open(Path::new("/")).err(), Some(Errno::NOTSUP));
    }
}
