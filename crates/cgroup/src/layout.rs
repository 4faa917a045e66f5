//! Where cgroup2 is: alone at `/sys/fs/cgroup`, beside version 1 at `/sys/fs/cgroup/unified`, or not mounted at all.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::group::COMMON;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

/// What statfs(2) says of a cgroup2 file system.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// The usual places, the first one on unified, the second one on hybrid hosts.
const PLACES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// The cgroup2 hierarchy, seen from the caller's own group.
#[derive(Debug)]
pub struct Layout {
    /// The directory of the caller's own group.
    pub(crate) own: OwnedFd,
    /// Its path, for messages.
    pub(crate) path: PathBuf,
}

impl Layout {
    /// The path of a machine's group.
    #[must_use]
    pub fn machine(&self, machine: &str) -> PathBuf {
        self.path.join(COMMON).join(machine)
    }

    /// Looks for it. Where cgroup2 is not mounted, a mount is made that nobody else sees.
    ///
    /// # Errors
    /// Those of the system calls; `ENODEV` where the kernel has no cgroup2.
    pub fn probe() -> rustix::io::Result<Self> {
        let own = own_group()?;
        let relative = own.strip_prefix("/").unwrap_or(&own);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        for place in PLACES {
            if rustix::fs::statfs(place).is_ok_and(|fs| fs.f_type as i64 == CGROUP2_MAGIC) {
                let path = Path::new(place).join(relative);
                return Ok(Self { own: rustix::fs::openat(CWD, &path, flags, Mode::empty())?, path });
            }
        }
        let context = fsopen("cgroup2", FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
        let below = if relative.as_os_str().is_empty() { Path::new(".") } else { relative };
        Ok(Self { own: rustix::fs::openat(&root, below, flags, Mode::empty())?, path: own })
    }
}

/// The caller's own group, from the line `0::PATH` of `/proc/self/cgroup` (cgroups(7)).
fn own_group() -> rustix::io::Result<PathBuf> {
    let text = std::fs::read("/proc/self/cgroup").map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"));
    Ok(line.map_or_else(|| PathBuf::from("/"), |path| PathBuf::from(OsStr::from_bytes(path))))
}
