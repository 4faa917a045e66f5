//! Who is at the other end of a socket, see `SO_PEERCRED` in
//! [`unix(7)`](https://man7.org/linux/man-pages/man7/unix.7.html).
//!
//! Not read through rustix, whose type has no room for the process id 0 that the kernel reports for a process outside our
//! PID namespace.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

use crate::clone::last_errno;

/// A process, as it was when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its process id in our namespace, 0 where it has none there.
    pub pid: i32,
    /// Its effective user id in our namespace, 65534 where it has none there.
    pub uid: u32,
}

/// The process that has connected a Unix stream socket.
///
/// # Errors
/// Those of [`getsockopt(2)`](https://man7.org/linux/man-pages/man2/getsockopt.2.html).
pub fn of(socket: BorrowedFd<'_>) -> Result<Peer> {
    let mut credentials = libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of the structure, to which this is the only reference.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut length,
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(Peer { pid: credentials.pid, uid: credentials.uid }) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_other_end_is_ourselves() {
        let (one, _other) = UnixStream::pair().unwrap();
        let expected = Peer { pid: std::process::id().cast_signed(), uid: rustix::process::geteuid().as_raw() };
        assert_eq!(of(one.as_fd()).unwrap(), expected);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(of(file.as_fd()), Err(Errno::NOTSOCK));
    }
}
