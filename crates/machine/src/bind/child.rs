//! The process that enters the machine and puts the mount in its place.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsmount, fsopen, mount_change, move_mount, open_tree,
};
use rustix::thread::CapabilitySet;
use sys::clone::{Namespaces, unshare};
use sys::open::openat2;

use crate::entrance::{Entrance, Users, keep_capabilities};
use crate::errand::Report;

/// The destination is not there.
pub(super) const MISSING: u8 = 1;
/// One is a directory, the other is not.
pub(super) const KIND: u8 = 2;
/// Something else, which the report's detail says.
const OTHER: u8 = 3;

/// How paths inside are looked up.
const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Where the mount goes.
pub(super) struct Place<'a> {
    /// The path below the machine's root.
    pub(super) destination: &'a Path,
    /// The mount is a directory.
    pub(super) directory: bool,
    /// Make it if it is missing.
    pub(super) make: bool,
}

fn about(action: impl Into<String>) -> impl FnOnce(Errno) -> Report {
    move |errno| Report { step: OTHER, errno, detail: action.into() }
}

/// Enters and does it.
pub(super) fn put(entrance: &Entrance, mount: OwnedFd, place: &Place<'_>) -> Result<(), Report> {
    rustix::process::umask(Mode::empty());
    let mount = match &entrance.users {
        Some(users) if users.own_mounts => {
            lock(entrance, users, mount, place.directory).map_err(about("lock the mount"))?
        }
        _ => mount,
    };
    entrance.enter_mounts().map_err(about("enter the mounts"))?;
    if let Some(users) = entrance.users.as_ref().filter(|users| !users.own_mounts) {
        // What is made belongs to the machine's root, though the mounts are the host's.
        let (uid, gid) = users.root;
        sys::process::set_file_system_ids(uid, gid);
    }
    let keep = CapabilitySet::SYS_ADMIN | CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    keep_capabilities(keep).map_err(about("give up capabilities"))?;
    let mut made = Made::default();
    let put = destination(&entrance.root, place, &mut made).and_then(|at| {
        let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
        move_mount(&mount, "", &at, "", flags).map_err(about(format!("mount on /{}", place.destination.display())))
    });
    if put.is_err() {
        made.remove();
    }
    put
}

/// Becomes the machine's root, and has a copy of the mount whose attributes the kernel has locked: it locks them when mounts are
/// copied into a mount namespace of other users.
fn lock(entrance: &Entrance, users: &Users, mount: OwnedFd, directory: bool) -> rustix::io::Result<OwnedFd> {
    // Mounts of the machine, so that none of the host's are copied; nothing is passed on to it from here.
    entrance.enter_mounts()?;
    unshare(Namespaces::MOUNT)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    // A place that nobody else has.
    let memory = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(memory.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let around = fsmount(memory.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    let from_here = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    move_mount(&around, "", CWD, "/", from_here)?;
    rustix::process::fchdir(&around)?;
    make("x", CWD, directory, 0o755)?;
    move_mount(&mount, "", CWD, "x", from_here)?;
    users.enter()?;
    // The working directory is copied with the mounts.
    unshare(Namespaces::MOUNT)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    open_tree(CWD, "x", flags)
}

/// What was made on the way, to be removed if nothing comes of it.
#[derive(Default)]
struct Made(Vec<(OwnedFd, PathBuf, bool)>);

impl Made {
    fn remove(self) {
        for (parent, name, directory) in self.0.into_iter().rev() {
            let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            // Somebody inside may have begun to use it.
            let _ = unlinkat(parent, &name, flags);
        }
    }
}

fn make(name: impl AsRef<OsStr>, parent: impl AsFd, directory: bool, mode: u32) -> rustix::io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    if directory {
        return mkdirat(parent, name.as_ref(), mode);
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name.as_ref(), flags, mode).map(drop)
}

/// What the mount goes on, held.
fn destination(root: &OwnedFd, place: &Place<'_>, made: &mut Made) -> Result<OwnedFd, Report> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let shown = place.destination.display();
    let open = || openat2(root, place.destination, flags, Mode::empty(), RESOLVE);
    let found = match open() {
        Err(Errno::NOENT) if place.make => {
            make_all(root, place, made)?;
            open()
        }
        other => other,
    };
    let found = found.map_err(|errno| match errno {
        Errno::NOENT if !place.make => Report { step: MISSING, errno, detail: String::new() },
        errno => about(format!("look up /{shown}"))(errno),
    })?;
    let mode = fstat(&found).map_err(about(format!("look at /{shown}")))?.st_mode;
    if (FileType::from_raw_mode(mode) == FileType::Directory) != place.directory {
        return Err(Report { step: KIND, errno: Errno::NOTDIR, detail: String::new() });
    }
    Ok(found)
}

/// Makes what is missing of the path: directories, and in the end what fits the mount.
fn make_all(root: &OwnedFd, place: &Place<'_>, made: &mut Made) -> Result<(), Report> {
    let mut parent = PathBuf::from(".");
    let mut components = place.destination.components().peekable();
    while let Some(component) = components.next() {
        let name = Path::new(component.as_os_str());
        let path = parent.join(name);
        let failed = |action| {
            about(format!("{action} {}", Path::new("/").join(path.strip_prefix(".").unwrap_or(&path)).display()))
        };
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        match openat2(root, &path, flags, Mode::empty(), RESOLVE) {
            Err(Errno::NOENT) => {
                let directory = place.directory || components.peek().is_some();
                let at = openat2(root, &parent, flags | OFlags::DIRECTORY, Mode::empty(), RESOLVE)
                    .map_err(failed("look up what is above"))?;
                make(name, &at, directory, if directory { 0o755 } else { 0o644 }).map_err(failed("make"))?;
                made.0.push((at, name.to_owned(), directory));
            }
            other => drop(other.map_err(failed("look up"))?),
        }
        parent = path;
    }
    Ok(())
}
