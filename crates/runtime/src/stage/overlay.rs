//! Roots that are overlays: the tree below, changes above.
//!
//! With users of its own the container's overlay is mounted by a helper inside the user namespace, with `userxattr`:
//! mounted by the host's root over a mapped upper layer it would come up without an error and be read-only.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use plan::{FileSystem, MountFlags, Plan};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use rustix::thread::LinkNameSpaceType;
use sys::clone::Namespaces;
use sys::mount::{Change, set_attributes};

use super::files::{About, Failure, place_on_host};
use super::launch::{Launched, OverlayDirectory};
use super::new_mount::new_mount;
use super::{assembly, delegated_mount};

/// The upper layer lies on disk, in the ephemeral copy's directory.
pub(super) fn over_tree(
    plan: &Plan,
    launched: &Launched,
    directory: &OverlayDirectory,
    idmap: Option<BorrowedFd<'_>>,
    users: Option<&OwnedFd>,
) -> Result<OwnedFd, Failure> {
    if let Some(idmap) = idmap {
        set_attributes(directory.holder.as_fd(), &Change { idmap: Some(idmap), ..Change::default() })
            .about(directory.path.display())?;
    }
    let bench = workbench(plan)?;
    rustix::fs::mkdirat(&bench, "above", Mode::from_raw_mode(0o755))?;
    place_on_host(directory.holder.as_fd(), &assembly().join("above")).about(directory.path.display())?;
    mount_over(launched, &bench, Path::new("above"), users)
}

/// The upper layer lies in memory.
pub(super) fn over_tree_in_memory(
    plan: &Plan,
    launched: &Launched,
    users: Option<&OwnedFd>,
) -> Result<OwnedFd, Failure> {
    let bench = workbench(plan)?;
    rustix::fs::mkdirat(&bench, "upper", Mode::RWXU)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let upper = rustix::fs::openat(&bench, "upper", flags, Mode::empty())?;
    // The root directory of an overlay is that of its upper layer, and memory is not mapped as the tree is.
    image::copy::attributes_of_root(launched.root_directory.as_fd(), upper.as_fd(), shift(plan))
        .about("the upper layer")?;
    rustix::fs::mkdirat(&bench, "work", Mode::from_raw_mode(0o755))?;
    mount_over(launched, &bench, Path::new("."), users)
}

/// What the map of the tree's mount adds to ids.
pub(super) fn shift(plan: &Plan) -> u32 {
    let user = plan.namespaces.user.filter(|user| user.map_tree);
    user.map_or(0, |user| user.range.start().wrapping_sub(user.tree_base))
}

/// A place to put the layers together: an empty file system in memory, which the container's root can reach, as it
/// could not the directories that the tree lies in on the host.
pub(super) fn workbench(plan: &Plan) -> Result<OwnedFd, Failure> {
    let mut options = ["mode=0755", "size=25%", "nr_inodes=1m"].map(str::to_owned).to_vec();
    options.extend(super::outer::owner(plan));
    let memory = new_mount(FileSystem::Tmpfs, &options, MountFlags { strict_atime: true, ..MountFlags::NONE })?;
    place_on_host(memory.as_fd(), assembly())?;
    Ok(memory)
}

/// `above` is where the layers `upper` and `work` are, on the workbench.
fn mount_over(launched: &Launched, bench: &OwnedFd, above: &Path, users: Option<&OwnedFd>) -> Result<OwnedFd, Failure> {
    rustix::fs::mkdirat(bench, "lower", Mode::from_raw_mode(0o755))?;
    let (lower, above) = (assembly().join("lower"), assembly().join(above));
    place_on_host(launched.tree.as_fd(), &lower)?;
    match users {
        None => mount(&lower, &above, false),
        Some(users) => mount_as(users, &lower, &above),
    }
}

fn mount(lower: &Path, above: &Path, in_user_namespace: bool) -> Result<OwnedFd, Failure> {
    forget_earlier_mount(&above.join("work/work/incompat"))?;
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).about("overlay")?;
    fsconfig_set_string(&context, "source", "overlay")?;
    if in_user_namespace {
        fsconfig_set_flag(&context, "userxattr").about("userxattr")?;
    }
    // Nobody reads the layers after a crash, so that nothing needs to be written out when the container ends: on a busy
    // disk that takes longer than all the rest.
    fsconfig_set_flag(&context, "volatile").about("volatile")?;
    fsconfig_set_string(&context, "lowerdir", lower).about("the tree")?;
    fsconfig_set_string(&context, "upperdir", above.join("upper")).about("the upper layer")?;
    fsconfig_set_string(&context, "workdir", above.join("work")).about("the work directory")?;
    fsconfig_create(&context).about("the overlay")?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).about("the overlay")
}

/// Takes away the mark of an earlier volatile mount, with which the kernel refuses layers that a crash may have left
/// half written. Ours have only lived through a reboot of the container.
pub(super) fn forget_earlier_mount(incompatible: &Path) -> Result<(), Failure> {
    let mark = incompatible.join("volatile");
    let missing_is_well = |result| match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    };
    missing_is_well(rustix::fs::unlink(mark.join("dirty"))).about("the work directory")?;
    missing_is_well(rustix::fs::rmdir(mark)).about("the work directory")?;
    missing_is_well(rustix::fs::rmdir(incompatible)).about("the work directory")
}

/// Has a helper in the user namespace mount it and hand it over.
fn mount_as(users: &OwnedFd, lower: &Path, above: &Path) -> Result<OwnedFd, Failure> {
    delegated_mount::by(|| enter(users).map_err(Failure::from).and_then(|()| mount(lower, above, true)))
}

/// Becomes root of the user namespace, in a mount namespace that belongs to it.
pub(super) fn enter(users: &OwnedFd) -> rustix::io::Result<()> {
    rustix::thread::move_into_link_name_space(users.as_fd(), Some(LinkNameSpaceType::User))?;
    sys::clone::unshare(Namespaces::MOUNT)?;
    become_root()
}

/// Takes on the ids of the user namespace's root.
///
/// # Errors
/// `EINVAL` while the namespace maps no id.
pub(super) fn become_root() -> rustix::io::Result<()> {
    use rustix::process::{Gid, Uid};
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    sys::process::set_file_system_ids(0, 0);
    Ok(())
}
