//! A file system that lies somewhere in a file, mounted read-only and attached nowhere: nothing of it shows on the host,
//! and it is gone with the process that has opened it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use sys::loop_device::{self, LoopDevice};

use super::attach::message;
use super::format::Format;

/// How long the kernel may take to let go of what is not used any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why there is no mount.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host has no loop devices, or the caller may not use them.
    #[error("cannot make a loop device")]
    Loop(#[source] Errno),
    /// The kernel does not know the file system.
    #[error("this kernel does not know {0}")]
    Unknown(&'static str),
    /// It does not mount it.
    #[error("cannot mount it as {format}{message}")]
    Mount {
        /// The file system.
        format: &'static str,
        /// What the kernel says beside its reason.
        message: String,
        /// Why.
        source: Errno,
    },
}

/// Such a mount.
#[derive(Debug)]
pub struct Mounted {
    root: OwnedFd,
    device: LoopDevice,
}

impl Mounted {
    /// Mounts `size` bytes of the file from `offset` on. Neither devices nor programs in it can be used, and nothing that
    /// would have to be replayed first is.
    ///
    /// # Errors
    /// [`Error`].
    pub fn new(file: BorrowedFd<'_>, offset: u64, size: u64, format: Format) -> Result<Self, Error> {
        let part = loop_device::Part { offset, size, block_size: 512, read_only: true };
        let device = LoopDevice::attach(file, part).map_err(Error::Loop)?;
        let name = format.file_system().unwrap_or_default();
        match mount(&device, name, format) {
            Ok(root) => Ok(Self { root, device }),
            Err((Errno::NODEV, _)) => Err(Error::Unknown(name)),
            Err((source, message)) => Err(Error::Mount { format: name, message, source }),
        }
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Gives it back, and waits until the kernel has done so, too. What is not done in ten seconds is done later.
    pub fn release(self) {
        let Self { root, device } = self;
        drop(root);
        let limit = Instant::now() + PATIENCE;
        while device.is_claimed().unwrap_or(false) && Instant::now() < limit {
            std::thread::sleep(Duration::from_millis(1));
        }
        device.release();
    }
}

fn mount(device: &LoopDevice, name: &str, format: Format) -> Result<OwnedFd, (Errno, String)> {
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| (errno, String::new()))?;
    let attempt = || -> rustix::io::Result<OwnedFd> {
        fsconfig_set_string(&context, "source", device.path())?;
        fsconfig_set_flag(&context, "ro")?;
        match format {
            // An image must not choose that the host panics.
            Format::Ext4 => {
                fsconfig_set_string(&context, "errors", "continue")?;
                fsconfig_set_flag(&context, "norecovery")?;
            }
            Format::Xfs => {
                fsconfig_set_flag(&context, "nouuid")?;
                fsconfig_set_flag(&context, "norecovery")?;
            }
            Format::Btrfs => fsconfig_set_string(&context, "rescue", "nologreplay")?,
            _ => {}
        }
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
            | MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    };
    attempt().map_err(|errno| (errno, message(&context)))
}
