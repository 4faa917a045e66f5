//! The partitions of a disk image, mounted anew for each start: a mount that belongs to nobody's namespace cannot be
//! copied by every kernel.

use std::os::fd::{AsFd, OwnedFd};

use image::disk::{Disk, Role};
use plan::{MountFlags, PartitionRole};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use sys::clone::Namespaces;
use sys::open::openat2;

use super::files::{About, Failure, place_on_host, restrict, take_mount};
use super::{assembly, delegated_mount};

/// A mount of the root, or of a directory in it.
///
/// # Errors
/// The kernel's reason and what it was about.
pub(super) fn root(disk: &Disk, subdirectory: Option<&str>) -> Result<OwnedFd, Failure> {
    let mount = take(disk, Role::Root)?;
    let Some(name) = subdirectory else { return Ok(mount) };
    // Only what is mounted somewhere can be taken in part, and only by who sees it there.
    delegated_mount::by(|| {
        sys::clone::unshare(Namespaces::MOUNT)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).about("/")?;
        place_on_host(mount.as_fd(), assembly()).about(assembly().display())?;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat2(&mount, name, flags, Mode::empty(), resolve).about(name)?;
        take_mount(directory.as_fd(), false).about(name)
    })
}

/// A mount of another partition.
///
/// # Errors
/// The kernel's reason and what it was about.
pub(super) fn other(disk: &Disk, role: PartitionRole) -> Result<OwnedFd, Failure> {
    let role = match role {
        PartitionRole::Usr => Role::Usr,
        PartitionRole::Home => Role::Home,
        PartitionRole::Srv => Role::Srv,
        PartitionRole::Var => Role::Var,
        PartitionRole::Tmp => Role::Tmp,
        PartitionRole::Esp => Role::Esp,
        PartitionRole::Xbootldr => Role::Xbootldr,
    };
    take(disk, role)
}

fn take(disk: &Disk, role: Role) -> Result<OwnedFd, Failure> {
    let mount = disk.mount(role).map_err(|error| told(&error))?;
    restrict(mount.as_fd(), MountFlags { no_dev: true, ..MountFlags::NONE }, false)?;
    Ok(mount)
}

fn told(error: &image::disk::attach::Error) -> Failure {
    use image::disk::attach::Error;
    let errno = match error {
        Error::Mount { source, .. } | Error::Memory { source, .. } => *source,
        Error::Unknown { .. } => Errno::NODEV,
        _ => Errno::IO,
    };
    Failure { errno, detail: error.to_string() }
}

/// The root directory of an overlay is that of its upper layer, which is made like the partition's. `shift` is what ids
/// become by the map of the mount.
///
/// # Errors
/// Those of copying owners, modes and access lists.
pub(super) fn prepare_layer(mount: &OwnedFd, around: &OwnedFd, shift: u32) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let upper = rustix::fs::openat(around, "upper", flags, Mode::empty()).about("the upper layer")?;
    let root = rustix::fs::openat(mount, ".", flags, Mode::empty())?;
    image::copy::attributes_of_root(root.as_fd(), upper.as_fd(), shift).about("the upper layer")
}
