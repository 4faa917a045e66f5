//! Loop devices: a part of a file, or of a block device, as a block device of its own, see
//! [`loop(4)`](https://man7.org/linux/man-pages/man4/loop.4.html).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result};

use crate::clone::last_errno;

const CONTROL: &str = "/dev/loop-control";
const LOOP_GET_STATUS64: libc::c_ulong = 0x4C05;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const READ_ONLY: u32 = 1;
const AUTOCLEAR: u32 = 4;
/// How often a device is tried whose node is not there, or not yet.
const ATTEMPTS: u32 = 100;
/// How long another device is tried where somebody else was faster: the kernel names all who ask at once the same free
/// one, and takes some milliseconds until that is taken.
const PATIENCE: Duration = Duration::from_secs(60);

#[repr(C)]
#[derive(Clone, Copy)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

impl Info {
    const EMPTY: Self = Self {
        device: 0,
        inode: 0,
        rdevice: 0,
        offset: 0,
        size_limit: 0,
        number: 0,
        encrypt_type: 0,
        encrypt_key_size: 0,
        flags: 0,
        file_name: [0; 64],
        crypt_name: [0; 64],
        encrypt_key: [0; 32],
        init: [0; 2],
    };
}

#[repr(C)]
struct Config {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);

/// What part of a file becomes the device, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; to the end of the file where 0.
    pub size: u64,
    /// The logical block size, in bytes.
    pub block_size: u32,
    /// Nothing can be written.
    pub read_only: bool,
}

/// A loop device that the kernel takes apart when nobody has it open or mounted any more.
#[derive(Debug)]
pub struct LoopDevice {
    fd: OwnedFd,
    number: u32,
}

impl LoopDevice {
    /// Makes a device of a part of `backing`. Of several callers that find the same free device one gets it, and the
    /// others try the next one.
    ///
    /// # Errors
    /// `ENOENT` where the host has no loop devices, and those of `LOOP_CONFIGURE`.
    pub fn attach(backing: BorrowedFd<'_>, part: Part) -> Result<Self> {
        let control = openat(CWD, CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
        let end = Instant::now() + PATIENCE;
        let mut attempt = 0u32;
        loop {
            attempt = attempt.saturating_add(1);
            match Self::attempt(control.as_fd(), backing, part) {
                // Taken by somebody else.
                Err(Errno::BUSY | Errno::AGAIN) if Instant::now() < end => {}
                // Its node is only just being made.
                Err(Errno::NXIO | Errno::NOENT | Errno::NODEV) if attempt < ATTEMPTS => {}
                result => return result,
            }
            if attempt > 2 {
                // Not all at the same time again.
                let spread = std::process::id().wrapping_mul(attempt).wrapping_mul(0x9e37_79b9) >> 20;
                std::thread::sleep(Duration::from_micros(500 + u64::from(spread)));
            }
        }
    }

    fn attempt(control: BorrowedFd<'_>, backing: BorrowedFd<'_>, part: Part) -> Result<Self> {
        // SAFETY: the request takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) };
        let Ok(number) = u32::try_from(number) else { return Err(last_errno()) };
        let access = if part.read_only { OFlags::RDONLY } else { OFlags::RDWR };
        let fd = openat(CWD, path(number), access | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
        let flags = AUTOCLEAR | if part.read_only { READ_ONLY } else { 0 };
        let config = Config {
            fd: u32::try_from(backing.as_raw_fd()).map_err(|_| Errno::BADF)?,
            block_size: part.block_size,
            info: Info { offset: part.offset, size_limit: part.size, flags, ..Info::EMPTY },
            reserved: [0; 8],
        };
        // SAFETY: the request takes a loop_config, which Config is laid out as and which lives across the call; the
        // descriptor in it is borrowed for the call.
        let result = unsafe { libc::ioctl(fd.as_raw_fd(), LOOP_CONFIGURE as _, &raw const config) };
        if result < 0 { Err(last_errno()) } else { Ok(Self { fd, number }) }
    }

    /// Its node.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        path(self.number)
    }

    /// Lets go of it, and waits a moment until it is taken apart: somebody may just be looking at it.
    pub fn release(self) {
        let Self { fd, number } = self;
        let over = |number| std::fs::read_to_string(format!("/sys/block/loop{number}/loop/backing_file")).ok();
        let ours = over(number);
        drop(fd);
        for _ in 0..1000 {
            if ours.is_none() || over(number) != ours {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether a file system is mounted from it, or somebody else has it for themselves alone.
    ///
    /// # Errors
    /// Those of `open(2)` but `EBUSY`.
    pub fn is_claimed(&self) -> Result<bool> {
        match openat(CWD, self.path(), OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()) {
            Ok(_) => Ok(false),
            Err(Errno::BUSY) => Ok(true),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for LoopDevice {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn path(number: u32) -> PathBuf {
    PathBuf::from(format!("/dev/loop{number}"))
}

/// A loop device that somebody uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its node.
    pub path: PathBuf,
    /// Nothing is written through it.
    pub read_only: bool,
}

/// The loop devices over a file or block device.
///
/// # Errors
/// Those of looking at the file itself; devices that vanish meanwhile are none.
pub fn users(backing: BorrowedFd<'_>) -> Result<Vec<User>> {
    let status = rustix::fs::fstat(backing)?;
    let block = rustix::fs::FileType::from_raw_mode(status.st_mode).is_block_device();
    let mut users = Vec::new();
    let Ok(entries) = std::fs::read_dir("/sys/block") else { return Ok(users) };
    for entry in entries.flatten() {
        let number = entry.file_name().to_str().and_then(|name| name.strip_prefix("loop")?.parse().ok());
        let Some(number) = number else { continue };
        let Ok(named) = std::fs::read_to_string(entry.path().join("loop/backing_file")) else { continue };
        // A device that is open is not taken apart: those that are known to be others' are left alone.
        if let Ok(other) = rustix::fs::stat(named.trim_end_matches('\n'))
            && (other.st_dev, other.st_ino, other.st_rdev) != (status.st_dev, status.st_ino, status.st_rdev)
        {
            continue;
        }
        let Ok(info) = info(number) else { continue };
        let same = if block {
            info.rdevice == kernel_number(status.st_rdev)
        } else {
            (info.device, info.inode) == (kernel_number(status.st_dev), status.st_ino)
        };
        if same {
            users.push(User { path: path(number), read_only: info.flags & READ_ONLY != 0 });
        }
    }
    Ok(users)
}

fn info(number: u32) -> Result<Info> {
    let fd = openat(CWD, path(number), OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty())?;
    let mut info = Info::EMPTY;
    // SAFETY: the request writes a loop_info64, which Info is laid out as and which lives across the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), LOOP_GET_STATUS64 as _, &raw mut info) };
    if result < 0 { Err(last_errno()) } else { Ok(info) }
}

/// A device number as the kernel's interfaces of 64 bits have it.
fn kernel_number(device: u64) -> u64 {
    let (major, minor) = (u64::from(rustix::fs::major(device)), u64::from(rustix::fs::minor(device)));
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_put_together_as_the_kernel_does() {
        assert_eq!(kernel_number(rustix::fs::makedev(7, 3)), 0x703);
        assert_eq!(kernel_number(rustix::fs::makedev(259, 0x12345)), 0x1231_0345);
    }
}
