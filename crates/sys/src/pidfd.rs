//! What a descriptor of a process leads to, see [`pidfd_open(2)`](https://man7.org/linux/man-pages/man2/pidfd_open.2.html).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Result;

use crate::clone::last_errno;

/// A namespace that a process is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Process ids.
    Pid,
    /// User and group ids.
    User,
}

/// A descriptor of the namespace of a process: that process and no other, however old its number is
/// (`PIDFD_GET_USER_NAMESPACE` and the like, Linux 6.11). Close-on-exec.
///
/// # Errors
/// `ENOTTY` or `EINVAL` where the kernel does not know it; `ESRCH` if the process is gone; `EACCES` if the caller may not
/// look at it.
pub fn namespace(process: BorrowedFd<'_>, kind: Kind) -> Result<OwnedFd> {
    // As `_IO(PIDFS_IOCTL_MAGIC, n)` in <linux/pidfd.h>.
    let request = match kind {
        Kind::Pid => 0xff05,
        Kind::User => 0xff09,
    };
    // SAFETY: the request takes no argument; what it returns is a new descriptor, which nobody else owns.
    unsafe {
        match libc::ioctl(process.as_raw_fd(), request, 0) {
            -1 => Err(last_errno()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// What the kernel says of a process, as far as the first kernels with it do: `struct pidfd_info` in <linux/pidfd.h>.
#[repr(C)]
#[derive(Default)]
struct Info {
    /// What is asked for, then what there is.
    mask: u64,
    control_group: u64,
    /// Numbers of process, group and parent, of users and groups.
    ids: [u32; 11],
    /// As waitpid(2) has it.
    exit_code: i32,
}

const _: () = assert!(size_of::<Info>() == 64);

/// `PIDFD_GET_INFO`: `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)`.
const GET_INFO: libc::c_ulong = 0xc040_ff0b;
/// `PIDFD_INFO_EXIT`.
const EXIT: u64 = 1 << 3;

/// How a process ended that somebody else has waited for (`PIDFD_INFO_EXIT`, Linux 6.15), as waitpid(2) has it. The
/// descriptor must be older than that. `None` while nobody has waited for it.
///
/// # Errors
/// `ENOTTY` or `EINVAL` where the kernel does not know it.
pub fn exit_status(process: BorrowedFd<'_>) -> Result<Option<i32>> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // SAFETY: the request writes a pidfd_info of this size, which Info is laid out as and which lives across the call.
    let result = unsafe { libc::ioctl(process.as_raw_fd(), GET_INFO as _, &raw mut info) };
    match result {
        ..0 => match last_errno() {
            // It is gone, and the kernel has not kept how.
            rustix::io::Errno::SRCH => Ok(None),
            errno => Err(errno),
        },
        _ => Ok((info.mask & EXIT != 0).then_some(info.exit_code)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::fstat;
    use rustix::io::{Errno, FdFlags, fcntl_getfd};
    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn our_own_namespaces() {
        let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        for (kind, name) in [(Kind::Pid, "pid"), (Kind::User, "user")] {
            match namespace(own.as_fd(), kind) {
                Ok(found) => {
                    let known = rustix::fs::stat(format!("/proc/self/ns/{name}")).unwrap();
                    assert_eq!(fstat(&found).unwrap().st_ino, known.st_ino);
                    assert!(fcntl_getfd(&found).unwrap().contains(FdFlags::CLOEXEC));
                }
                Err(errno) => assert!(matches!(errno, Errno::NOTTY | Errno::INVAL), "{errno}"),
            }
        }
    }

    #[test]
    fn how_somebody_else_s_child_ended() {
        let mut child = std::process::Command::new("sh").args(["-c", "exit 7"]).spawn().unwrap();
        let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        let before = exit_status(pidfd.as_fd());
        child.wait().unwrap();
        match before {
            // Linux 6.13 and 6.14 do not keep it.
            Ok(status) => {
                assert_eq!(status, None);
                assert!(matches!(exit_status(pidfd.as_fd()).unwrap(), Some(0x700) | None));
            }
            Err(errno) => assert!(matches!(errno, Errno::NOTTY | Errno::INVAL), "{errno}"),
        }
    }

    #[test]
    fn no_process() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(namespace(file.as_fd(), Kind::User).unwrap_err(), Errno::NOTTY);
    }
}
