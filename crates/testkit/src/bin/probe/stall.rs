//! A file system that never answers: served by this program, and by way of an overlay in the place where an init system of System V
//! has its pipe. Whoever opens that waits until this program has ended, and does not hear any signal meanwhile.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;

use crate::kernel::mount_at;
use crate::{say, stay};

/// The name that is never found, and never not found.
const SILENT: &[u8] = b"initctl\0";

/// What is asked, by number, see `<linux/fuse.h>`.
mod asked {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const STATFS: u32 = 17;
    pub(super) const INIT: u32 = 26;
    pub(super) const BATCH_FORGET: u32 = 42;
}
const NOT_THERE: i32 = -2;
const NOT_KNOWN: i32 = -38;
/// Of a request and of an answer.
const HEADERS: (usize, usize) = (40, 16);

/// Serves it, mounts it, says so and stays.
pub(crate) fn run() {
    match mounted() {
        Ok(()) => say("ready"),
        Err(what) => say(&format!("error={what}")),
    }
    stay()
}

fn mounted() -> Result<(), String> {
    let failed = |what: &'static str| move |error: std::io::Error| format!("{what}: {error}");
    let device = File::options().read(true).write(true).open("/dev/fuse").map_err(failed("open"))?;
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0,allow_other", device.as_raw_fd());
    for place in ["silent", "empty", "o"] {
        std::fs::create_dir(format!("/run/{place}")).map_err(failed("directory"))?;
    }
    let errno = |what: &'static str| move |errno: i32| format!("{what}: {errno}");
    mount_at("fuse", "/run/silent", "fuse", 0, &options).map_err(errno("fuse"))?;
    std::thread::spawn(move || serve(device));
    // Others than the users of this container may not enter the former, but what an overlay does it does as who has mounted it.
    let layers = "lowerdir=/run/silent:/run/empty";
    mount_at("overlay", "/run/o", "overlay", 0, layers).map_err(errno("overlay"))?;
    std::os::unix::fs::symlink("o/initctl", "/run/initctl").map_err(failed("link"))
}

fn serve(mut device: File) {
    let mut request = vec![0; 1 << 18];
    while let Ok(length) = device.read(&mut request) {
        let Some(body) = request.get(HEADERS.0..length) else { continue };
        let operation = u32::from_ne_bytes([request[4], request[5], request[6], request[7]]);
        let answer = match operation {
            asked::LOOKUP if body == SILENT => continue,
            asked::FORGET | asked::BATCH_FORGET => continue,
            asked::LOOKUP => Err(NOT_THERE),
            asked::INIT => Ok(numbers(64, &[(0, 7), (4, 31), (20, 4096), (24, 1)])),
            // A directory that root has, at byte 16 the attributes: inode, mode, links.
            asked::GETATTR => Ok(numbers(104, &[(16, 1), (16 + 60, 0o40_755), (16 + 64, 2), (16 + 80, 4096)])),
            asked::STATFS => Ok(numbers(80, &[(40, 4096), (44, 255), (48, 4096)])),
            _ => Err(NOT_KNOWN),
        };
        let (error, body) = answer.map_or_else(|error| (error, Vec::new()), |body| (0, body));
        let mut bytes = ((HEADERS.1 + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(error.to_ne_bytes());
        bytes.extend(&request[8..16]);
        bytes.extend(body);
        if device.write(&bytes).is_err() {
            continue;
        }
    }
}

/// So many bytes, with these numbers of 32 bits at these places.
fn numbers(length: usize, fields: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; length];
    for (place, number) in fields {
        bytes[*place..place + 4].copy_from_slice(&number.to_ne_bytes());
    }
    bytes
}
