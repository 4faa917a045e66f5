//! New instances of file systems.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use plan::{FileSystem, MountFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_fd, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, mount,
};

use super::files::{About, Failure, attributes};

/// Mounts a new file system on an open directory by mount(2): one call in place of one for each option and five more, which is
/// much of a start's time. The working directory is `root` then.
///
/// # Errors
/// The kernel's reason, without the option that it is about: who wants to know tries again with [`new_mount`]. Nothing is mounted
/// then.
pub(super) fn at_once(
    at: &OwnedFd,
    root: &OwnedFd,
    (file_system, options, flags): (FileSystem, &[String], MountFlags),
) -> rustix::io::Result<()> {
    if flags.read_only {
        // Here it would be the file system's, too, and not the mount's alone.
        return Err(Errno::INVAL);
    }
    let name = file_system.name();
    let data = CString::new(options.join(",")).map_err(|_| Errno::INVAL)?;
    // By way of the working directory: mount(2) takes a path, and this one needs no walk.
    rustix::process::fchdir(at)?;
    let mounted = mount(name, ".", name, by_number(flags), data.as_c_str());
    rustix::process::fchdir(root)?;
    mounted
}

/// The flags as mount(2) has them.
fn by_number(flags: MountFlags) -> rustix::mount::MountFlags {
    use rustix::mount::MountFlags as Flags;
    const NO_SYMFOLLOW: Flags = Flags::from_bits_retain(0x100);
    [
        (flags.no_suid, Flags::NOSUID),
        (flags.no_dev, Flags::NODEV),
        (flags.no_exec, Flags::NOEXEC),
        (flags.no_symfollow, NO_SYMFOLLOW),
        (flags.strict_atime, Flags::STRICTATIME),
        (flags.no_atime, Flags::NOATIME),
        (flags.no_diratime, Flags::NODIRATIME),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(Flags::empty(), |all, (_, one)| all | one)
}

/// A new, detached instance of a file system.
///
/// # Errors
/// The kernel's reason and the option it was about.
pub(super) fn new_mount(file_system: FileSystem, options: &[String], flags: MountFlags) -> Result<OwnedFd, Failure> {
    any_mount(file_system.name(), None, options, flags)
}

/// A new file system of any kind, which mounts the source if it takes one.
pub(super) fn any_mount(
    kind: &str,
    source: Option<&str>,
    options: &[String],
    flags: MountFlags,
) -> Result<OwnedFd, Failure> {
    let source = source.unwrap_or(kind);
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).about(kind)?;
    fsconfig_set_string(&context, "source", source).about(source)?;
    for option in options {
        match option.split_once('=') {
            Some((key, value)) => fsconfig_set_string(&context, key, value),
            None => fsconfig_set_flag(&context, option.as_str()),
        }
        .about(option)?;
    }
    fsconfig_create(&context).about(kind)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes(flags).bits() as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).about(kind)
}

/// proc of another PID namespace, detached (`pidns=` of proc, Linux 6.17).
///
/// # Errors
/// `EINVAL` where the kernel does not know the option.
pub(super) fn mount_proc_of(processes: BorrowedFd<'_>, flags: MountFlags) -> Result<OwnedFd, Failure> {
    let name = FileSystem::Proc.name();
    let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC).about(name)?;
    fsconfig_set_fd(&context, "pidns", processes).about("pidns")?;
    fsconfig_set_string(&context, "source", name)?;
    fsconfig_create(&context).about(name)?;
    let attributes = MountAttrFlags::from_bits_retain(attributes(flags).bits() as u32);
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).about(name)
}
