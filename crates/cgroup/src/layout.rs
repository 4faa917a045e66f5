//! Where cgroup2 is: alone at `/sys/fs/cgroup`, beside version 1 at `/sys/fs/cgroup/unified`, or not mounted at all.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::group::COMMON;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// What statfs(2) says of a cgroup2 file system.
pub(crate) const CGROUP2_MAGIC: rustix::fs::FsWord = 0x6367_7270;

/// The usual places, the first one on unified, the second one on hybrid hosts.
pub(crate) const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The group of the supervisor in a unit.
pub(crate) const SUPERVISOR: &CStr = c"supervisor";

/// The cgroup2 hierarchy, seen from the caller's own group.
#[derive(Debug)]
pub struct Layout {
    /// The directory of the caller's own group.
    pub(crate) own: OwnedFd,
    /// Its path, for messages.
    pub(crate) path: PathBuf,
    /// The caller's own group, as the kernel names it.
    group: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Layout {
    /// The path of a machine's group.
    #[must_use]
    pub fn machine(&self, machine: &str) -> PathBuf {
        let name = crate::group::file_name(machine).unwrap_or_default();
        self.path.join(OsStr::from_bytes(COMMON.to_bytes())).join(OsStr::from_bytes(name.to_bytes()))
    }

    /// The path of the caller's own group; of no use to open it where cgroup2 is not mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks for it. Where cgroup2 is not mounted, a mount is made that nobody else sees.
    ///
    /// # Errors
    /// Those of the system calls; `ENODEV` where the kernel has no cgroup2.
    pub fn probe() -> rustix::io::Result<Self> {
        let group = own_group()?;
        let relative = group.strip_prefix("/").unwrap_or(&group);
        for place in PLACES {
            if rustix::fs::statfs(place).is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC) {
                let path = Path::new(place).join(relative);
                let own = rustix::fs::openat(CWD, &path, DIRECTORY, Mode::empty())?;
                return Ok(Self { own, path, group });
            }
        }
        Self::detached(group)
    }

    /// With a mount of our own.
    pub(crate) fn detached(group: PathBuf) -> rustix::io::Result<Self> {
        let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let relative = group.strip_prefix("/").unwrap_or(&group);
        let below = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        let own = rustix::fs::openat(&root, below, DIRECTORY, Mode::empty())?;
        Ok(Self { own, path: group.clone(), group })
    }

    /// Opens a group by the path that messages and records have, `None` if it is not there.
    pub(crate) fn open(path: &Path) -> rustix::io::Result<Option<OwnedFd>> {
        let opened = if PLACES.iter().any(|place| path.starts_with(place)) {
            rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())
        } else {
            Self::detached(path.to_owned()).map(|layout| layout.own)
        };
        match opened {
            Ok(group) => Ok((rustix::fs::fstatfs(&group)?.f_type == CGROUP2_MAGIC).then_some(group)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// The controllers that the caller's group has and can hand on.
    #[must_use]
    pub fn controllers(&self) -> Vec<String> {
        let mut buffer = [0; 512];
        let text = crate::subtree::read(&self.own, "cgroup.controllers", &mut buffer).unwrap_or_default();
        String::from_utf8_lossy(text).split_ascii_whitespace().map(str::to_owned).collect()
    }

    /// The path of the payload's group in the caller's unit.
    #[must_use]
    pub fn in_unit(&self) -> PathBuf {
        self.unit_path().join("payload")
    }

    /// The caller is in no group but the root, as where the service manager uses version 1.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.group == Path::new("/")
    }

    /// The caller is in this unit of the service manager's.
    #[must_use]
    pub fn is_in(&self, unit: &str) -> bool {
        let group = if self.in_supervisor() { self.group.parent() } else { Some(self.group.as_path()) };
        group.and_then(Path::file_name) == Some(OsStr::new(unit))
    }

    /// The caller has moved, or was moved, to the group of the supervisor already.
    pub(crate) fn in_supervisor(&self) -> bool {
        self.group.file_name().is_some_and(|name| name.as_bytes() == SUPERVISOR.to_bytes())
    }

    /// The path of the caller's unit.
    pub(crate) fn unit_path(&self) -> PathBuf {
        let unit = if self.in_supervisor() { self.path.parent() } else { None };
        unit.unwrap_or(&self.path).to_owned()
    }
}

/// The caller's own group, from the line `0::PATH` of `/proc/self/cgroup` (cgroups(7)).
fn own_group() -> rustix::io::Result<PathBuf> {
    let text = std::fs::read("/proc/self/cgroup").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    Ok(line.map_or_else(|| PathBuf::from("/"), |path| PathBuf::from(OsStr::from_bytes(path))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(group: &str) -> Layout {
        let own = rustix::fs::open("/", DIRECTORY, Mode::empty()).expect("directory");
        let path = Path::new("/sys/fs/cgroup").join(group.trim_start_matches('/'));
        Layout { own, path, group: group.into() }
    }

    #[test]
    fn the_unit_is_known_before_and_after_the_supervisor_has_moved() {
        for group in ["/machine.slice/machine-x.scope", "/machine.slice/machine-x.scope/supervisor"] {
            let layout = layout(group);
            assert!(layout.is_in("machine-x.scope") && !layout.is_in("machine.slice") && !layout.is_root());
            assert_eq!(layout.unit_path(), Path::new("/sys/fs/cgroup/machine.slice/machine-x.scope"));
        }
        assert!(layout("/").is_root() && !layout("/").is_in("machine-x.scope"));
    }

    #[test]
    fn a_mount_of_our_own_shows_the_same_groups() {
        testkit::requires!(root, cgroup2);
        let inode = |fd: &OwnedFd| rustix::fs::fstat(fd).expect("stat").st_ino;
        let found = Layout::probe().expect("cgroup2");
        let own = Layout::detached(found.group.clone()).expect("mount");
        assert_eq!(inode(&found.own), inode(&own.own));
        for path in [&found.path, &found.group] {
            assert_eq!(inode(&Layout::open(path).expect("open").expect("found")), inode(&own.own));
        }
        assert!(Layout::open(&found.path.join("no-such-group")).expect("open").is_none());
        assert!(Layout::open(&found.group.join("no-such-group")).expect("open").is_none());
    }
}
