//! What a descriptor of a namespace leads to, see [`ioctl_nsfs(2)`](https://man7.org/linux/man-pages/man2/ioctl_nsfs.2.html).

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Result;

use crate::clone::last_errno;

/// `NS_GET_USERNS`: `_IO(0xb7, 1)`.
const GET_OWNER: libc::c_ulong = 0xb701;

/// The user namespace that owns a namespace: who has capabilities there may use them on it. Close-on-exec.
///
/// # Errors
/// `EPERM` where it is not the caller's own user namespace or one below it; `ENOTTY` for what is no namespace.
pub fn owner(namespace: BorrowedFd<'_>) -> Result<OwnedFd> {
    // SAFETY: the request takes no argument; what it returns is a new descriptor, which nobody else owns.
    unsafe {
        match libc::ioctl(namespace.as_raw_fd(), GET_OWNER as _, 0) {
            -1 => Err(last_errno()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{Mode, OFlags, fstat, open};
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn our_own_mounts_belong_to_a_user_namespace() {
        let mounts = open("/proc/self/ns/mnt", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).unwrap();
        match owner(mounts.as_fd()) {
            Ok(owner) => assert_eq!(fstat(&owner).unwrap().st_dev, fstat(&mounts).unwrap().st_dev),
            // That of a host above.
            Err(errno) => assert_eq!(errno, Errno::PERM),
        }
        let file = std::fs::File::open("/proc/self/status").unwrap();
        assert_eq!(owner(file.as_fd()).unwrap_err(), Errno::NOTTY);
    }
}
