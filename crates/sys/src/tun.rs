//! Links whose other end is a process:
//! [tun](https://www.kernel.org/doc/html/latest/networking/tuntap.html).

use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result};

use crate::clone::last_errno;

const NODE: &CStr = c"/dev/net/tun";
/// `TUNSETIFF`: `_IOW('T', 202, int)`.
const SET_LINK: libc::c_ulong = 0x4004_54ca;

/// Makes a link of this name in the caller's network namespace. It goes away with the descriptor, which is close-on-exec.
///
/// # Errors
/// Those of opening `/dev/net/tun`, `ENODEV` where the kernel has none behind it; `EPERM` without `CAP_NET_ADMIN`;
/// `EINVAL` for a name that is too long for a link.
pub fn create(name: &CStr) -> Result<OwnedFd> {
    let fd = openat(CWD, NODE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    // SAFETY: an all-zero ifreq is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let bytes = name.to_bytes_with_nul();
    if bytes.len() > request.ifr_name.len() {
        return Err(Errno::INVAL);
    }
    for (to, from) in request.ifr_name.iter_mut().zip(bytes) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: the request lives across the call and is of the type that TUNSETIFF takes.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), SET_LINK as _, &raw mut request) };
    if result < 0 { Err(last_errno()) } else { Ok(fd) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_too_long_is_refused() {
        let refused = create(c"sixteen-letters-").unwrap_err();
        // Where there is no such device, that is said first.
        assert!(
            matches!(refused, Errno::INVAL | Errno::NOENT | Errno::NODEV | Errno::ACCESS | Errno::PERM),
            "{refused}"
        );
    }
}
