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
    fn no_process() {
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(namespace(file.as_fd(), Kind::User).unwrap_err(), Errno::NOTTY);
    }
}
