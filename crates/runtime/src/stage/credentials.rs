//! Credentials in memory. They are never swapped out, and never on disk.

use std::os::fd::AsFd;

use plan::{CredentialsStep, MountFlags};
use rustix::fs::{AtFlags, Gid, Mode, OFlags, Uid, chownat, fchmod, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_reconfigure, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};

use super::files::{About, Failure, Files, restrict, write_all};

/// Makes them and puts them in their place.
pub(super) fn place(step: &CredentialsStep, files: &mut Files) -> Result<(), Failure> {
    let (of_directory, of_file) = if step.for_everybody { (0o555, 0o444) } else { (0o500, 0o400) };
    let context = fsopen("ramfs", FsOpenFlags::FSOPEN_CLOEXEC).about("ramfs")?;
    fsconfig_set_string(&context, "mode", "700").about("ramfs")?;
    fsconfig_create(&context).about("ramfs")?;
    let attributes =
        MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).about("ramfs")?;
    let owner = (Some(Uid::from_raw(step.owner)), Some(Gid::from_raw(step.owner)));
    for (name, contents) in &step.files {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&mount, name.as_str(), flags, Mode::from_raw_mode(of_file)).about(name)?;
        write_all(file.as_fd(), contents.reveal()).about(name)?;
        chownat(&mount, name.as_str(), owner.0, owner.1, AtFlags::SYMLINK_NOFOLLOW).about(name)?;
    }
    chownat(&mount, "", owner.0, owner.1, AtFlags::EMPTY_PATH)?;
    let root = openat(&mount, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    fchmod(&root, Mode::from_raw_mode(of_directory))?;
    drop(root);
    // The file system itself, so that nothing can be added by who takes the attribute off the mount.
    fsconfig_set_flag(&context, "ro").about("ramfs")?;
    fsconfig_reconfigure(&context).about("ramfs, read-only")?;
    restrict(mount.as_fd(), MountFlags::API_READ_ONLY, false)?;
    files.place(&mount, step.target.as_path(), true)
}
