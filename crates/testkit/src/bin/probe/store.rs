//! A message to the service manager with descriptors, see sd_pid_notify_with_fds(3).

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;

use crate::kernel;

/// The header of a control message, as 64-bit kernels have it, and room for descriptors.
#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    descriptors: [i32; 32],
}

#[repr(C)]
struct Part {
    bytes: *const u8,
    length: usize,
}

#[repr(C)]
struct Header {
    name: usize,
    name_length: u32,
    parts: *const Part,
    part_count: usize,
    control: *const Control,
    control_length: usize,
    flags: i32,
}

/// Sends `message` with copies of these descriptors.
pub(crate) fn send(message: &str, descriptors: &[i32]) -> Result<(), String> {
    let address = std::env::var_os("NOTIFY_SOCKET").unwrap_or_default();
    let socket = UnixDatagram::unbound().map_err(|error| error.to_string())?;
    socket.connect(&address).map_err(|error| error.to_string())?;
    let size = 16 + 4 * descriptors.len();
    let mut control = Control { length: size, level: 1, kind: 1, descriptors: [0; 32] };
    control.descriptors[..descriptors.len()].copy_from_slice(descriptors);
    let part = Part { bytes: message.as_ptr(), length: message.len() };
    let header = Header {
        name: 0,
        name_length: 0,
        parts: &raw const part,
        part_count: 1,
        control: &raw const control,
        control_length: size.next_multiple_of(8),
        flags: 0,
    };
    let header = if descriptors.is_empty() { Header { control_length: 0, ..header } } else { header };
    kernel::attempt(kernel::number::SENDMSG, [socket.as_raw_fd() as usize, &raw const header as usize, 0, 0, 0])
        .map_err(|errno| format!("error {errno}"))
}
