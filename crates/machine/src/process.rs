//! A process that is recognised even when its number has become another one's.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{fstat, fstatfs};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The file system that descriptors of processes are on since Linux 6.9: there their inodes are never used again.
const PIDFS_MAGIC: rustix::fs::FsWord = 0x5049_4446;

/// A process as it is written down, see `ProcessId` of `io.systemd.Machine`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Process {
    /// Its number.
    pub pid: i32,
    /// The inode of its descriptors (Linux 6.9).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pidfd_id: Option<u64>,
    /// When it started, in clock ticks since the host did: what recognises it on older kernels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<u64>,
    /// Since when numbers count: the host's boot.
    pub boot_id: Uuid,
}

impl Process {
    /// The process with this number, while that is known to be its own: a child that was not waited for, or the caller.
    ///
    /// # Errors
    /// Those of pidfd_open(2), `EINVAL` where the host's proc has no boot id.
    pub fn of(pid: i32) -> rustix::io::Result<Self> {
        let pidfd = open(pid)?;
        Self::with(pid, &pidfd)
    }

    /// The same with its descriptor.
    ///
    /// # Errors
    /// As [`Process::of`].
    pub fn with(pid: i32, pidfd: &OwnedFd) -> rustix::io::Result<Self> {
        let pidfd_id = inode(pidfd)?;
        let start_time = if pidfd_id.is_none() { Some(start_time(pid)?) } else { None };
        Ok(Self { pid, pidfd_id, start_time, boot_id: boot_id()? })
    }

    /// A descriptor of it, if it is there: alive or not waited for yet.
    #[must_use]
    pub fn open(&self) -> Option<OwnedFd> {
        if boot_id().ok()? != self.boot_id {
            return None;
        }
        self.open_in_this_boot()
    }

    /// The same where the boot is known to be this one, as for all that is written below `/run`.
    #[must_use]
    pub fn open_in_this_boot(&self) -> Option<OwnedFd> {
        let pidfd = open(self.pid).ok()?;
        let same = match (self.pidfd_id, self.start_time) {
            (Some(id), _) => inode(&pidfd).ok()? == Some(id),
            // Looked at after the descriptor was opened: it names the process that proc speaks of, or one that is gone.
            (None, Some(start)) => start_time(self.pid).ok()? == start,
            (None, None) => false,
        };
        same.then_some(pidfd)
    }

    /// Whether it lives: a process that has ended and was not waited for does not.
    #[must_use]
    pub fn lives(&self) -> bool {
        self.open_in_this_boot().is_some_and(|pidfd| !has_ended(&pidfd))
    }
}

/// Whether a process has ended.
#[must_use]
pub fn has_ended(pidfd: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&now)).is_ok_and(|ready| ready > 0)
}

fn open(pid: i32) -> rustix::io::Result<OwnedFd> {
    pidfd_open(Pid::from_raw(pid).ok_or(Errno::SRCH)?, PidfdFlags::empty())
}

fn inode(pidfd: &OwnedFd) -> rustix::io::Result<Option<u64>> {
    // The kernel has it or has it not, for all of them.
    static HAS_PIDFS: OnceLock<bool> = OnceLock::new();
    let has = match HAS_PIDFS.get() {
        Some(has) => *has,
        None => {
            let has = fstatfs(pidfd.as_fd())?.f_type == PIDFS_MAGIC;
            *HAS_PIDFS.get_or_init(|| has)
        }
    };
    if has { Ok(Some(fstat(pidfd.as_fd())?.st_ino)) } else { Ok(None) }
}

/// The 22nd field of `/proc/PID/stat`, see proc_pid_stat(5). The name before it may hold anything.
fn start_time(pid: i32) -> rustix::io::Result<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).map_err(|_| Errno::SRCH)?;
    let behind_name = text.iter().rposition(|byte| *byte == b')').ok_or(Errno::INVAL)? + 1;
    let rest = std::str::from_utf8(&text[behind_name..]).map_err(|_| Errno::INVAL)?;
    rest.split_ascii_whitespace().nth(19).and_then(|field| field.parse().ok()).ok_or(Errno::INVAL)
}

/// The id of the host's boot. It is read once.
///
/// # Errors
/// `EINVAL` where proc does not have it.
pub fn boot_id() -> rustix::io::Result<Uuid> {
    static BOOT: OnceLock<Uuid> = OnceLock::new();
    if let Some(id) = BOOT.get() {
        return Ok(*id);
    }
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").map_err(|_| Errno::INVAL)?;
    let id = text.trim().parse().map_err(|_| Errno::INVAL)?;
    Ok(*BOOT.get_or_init(|| id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn myself() -> Process {
        Process::of(i32::try_from(std::process::id()).unwrap()).unwrap()
    }

    #[test]
    fn a_process_is_found_again() {
        let me = myself();
        assert!(me.open().is_some());
        assert!(me.lives());
    }

    #[test]
    fn another_one_with_its_number_is_not_it() {
        let me = myself();
        let by_inode = Process { pidfd_id: me.pidfd_id.map(|id| id + 1), start_time: None, ..me.clone() };
        assert!(!by_inode.lives());
        let by_time = Process { pidfd_id: None, start_time: Some(start_time(me.pid).unwrap()), ..me.clone() };
        assert!(by_time.lives());
        assert!(!Process { start_time: by_time.start_time.map(|time| time + 1), ..by_time.clone() }.lives());
        assert!(!Process { start_time: None, ..by_time }.lives(), "a number alone is nobody");
        assert!(Process { boot_id: Uuid::nil(), ..me }.open().is_none());
    }

    #[test]
    fn one_that_has_ended_does_not_live() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = process.open().unwrap();
        while !has_ended(&pidfd) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert!(!process.lives());
        child.wait().unwrap();
        assert!(process.open().is_none());
    }
}
