//! The loopback link of a new network namespace.

use std::os::fd::AsRawFd;

use rustix::io::Result;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::clone::last_errno;

/// Brings up `lo` in the caller's network namespace. The kernel then gives it its addresses.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` there.
///
/// See [`netdevice(7)`](https://man7.org/linux/man-pages/man7/netdevice.7.html).
pub fn bring_up() -> Result<()> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: the request lives across the call and is of the type that SIOCSIFFLAGS takes.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
