//! Whether the [device mapper](https://docs.kernel.org/admin-guide/device-mapper/) answers.

use std::ffi::CStr;
use std::os::fd::AsRawFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Result;

use crate::clone::last_errno;

const CONTROL: &CStr = c"/dev/mapper/control";
/// `DM_VERSION`: `_IOWR(0xfd, 0, struct dm_ioctl)`.
const ASK_VERSION: libc::c_ulong = 0xc138_fd00;

/// The kernel's `struct dm_ioctl`.
#[repr(C)]
struct Request {
    version: [u32; 3],
    data_size: u32,
    data_start: u32,
    target_count: u32,
    open_count: i32,
    flags: u32,
    event_nr: u32,
    padding: u32,
    dev: u64,
    name: [u8; 128],
    uuid: [u8; 129],
    data: [u8; 7],
}

const _: () = assert!(size_of::<Request>() == 312);

/// The version of its interface: major, minor, patch level.
///
/// # Errors
/// Those of opening `/dev/mapper/control`, `ENODEV` or `ENXIO` where the kernel has nothing behind it; `EACCES` without
/// `CAP_SYS_ADMIN`.
pub fn version() -> Result<[u32; 3]> {
    let fd = openat(CWD, CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    let mut request = Request {
        version: [4, 0, 0],
        data_size: size_of::<Request>() as u32,
        data_start: 0,
        target_count: 0,
        open_count: 0,
        flags: 0,
        event_nr: 0,
        padding: 0,
        dev: 0,
        name: [0; 128],
        uuid: [0; 129],
        data: [0; 7],
    };
    // SAFETY: the request takes a dm_ioctl, which Request is laid out as, of the size that it says; it lives across the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), ASK_VERSION as _, &raw mut request) };
    if result < 0 { Err(last_errno()) } else { Ok(request.version) }
}
