//! What can be done with trees on the file system that holds the machines, and which file systems images may have.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use image::holder::Holder;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen, open_tree,
};
use sys::clone::Namespaces;
use sys::mount::{Change, set_attributes};

use crate::Context;
use crate::attempt::{
    Attempt, Doing, MAKE_USERS, MAP_USERS, Refused, Uninterrupted, in_child, in_namespaces, map_users, with_cause,
    with_users,
};
use crate::caller::Caller;
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::place::{Place, shown};

const fn feature(name: &'static str, need: Need, why: &'static str) -> Feature {
    Feature { name, topic: Topic::Storage, need, why }
}

static MACHINES: Feature = feature(
    "machines directory",
    Need::Useful,
    "Machines that have a name are looked for there, and new ones are put there.",
);

static OVERLAYS: Feature = feature(
    "overlayfs",
    Need::Useful,
    "A throw-away copy of a tree (-x, 'redd run') is made at once, however large the tree is; without, all of it is copied.",
);

static ID_MAPS: Feature = feature(
    "idmapped mounts",
    Need::Useful,
    "The files of a tree are shown to a container with users of its own as its own files, and nothing changes on disk; \
     without, their owners are changed one by one at the first start.",
);

static FORMATS: Feature = feature(
    "file systems of images",
    Need::Optional,
    "Disk images and installation media have file systems that the kernel must know to mount them.",
);

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    let mut all = Vec::new();
    let Some(place) = &context.place else {
        let none = "this user has no home directory, and so no place for machines";
        all.push(MACHINES.is(State::Missing, none).advise("Set HOME or XDG_DATA_HOME to a directory."));
        all.extend([&OVERLAYS, &ID_MAPS].map(|feature| {
            feature
                .is(State::Unknown, "there is no place to try it")
                .advise("Set HOME or XDG_DATA_HOME to a directory.")
        }));
        all.push(formats(context));
        return all;
    };
    all.push(machines(place));
    let _uninterrupted = Uninterrupted::begin();
    match place.hold() {
        Ok((holder, _)) => {
            all.push(overlays(context, place, &holder));
            all.push(id_maps(&context.caller, place, holder.path()));
            if let Err(error) = holder.remove() {
                all[0] = MACHINES
                    .is(State::Limited, with_cause(&error))
                    .advise("Remove that directory: it is left of this check.");
            }
        }
        Err(error) => {
            let advice = format!("Make {} a directory that this user can write to.", shown(&place.machines));
            let unknown =
                |feature: &'static Feature| feature.is(State::Unknown, with_cause(&error)).advise(advice.clone());
            all.extend([unknown(&OVERLAYS), unknown(&ID_MAPS)]);
        }
    }
    all.push(formats(context));
    all
}

fn machines(place: &Place) -> Finding {
    let path = shown(&place.machines);
    let file_system = place.file_system();
    if place.is_made() {
        return MACHINES.is(State::Works, format!("{path}, on {file_system}"));
    }
    let near = shown(&place.present);
    MACHINES
        .is(State::Missing, format!("there is no {path} (yet); {near} is on {file_system}"))
        .advise(format!("Nothing, if machines are to be elsewhere; else: mkdir -p {path}"))
}

/// An overlay is mounted, nowhere, over directories that are there, and written to.
fn overlays(context: &Context, place: &Place, holder: &Holder) -> Finding {
    let caller = &context.caller;
    let on = place.file_system();
    let attempt = layers(holder.fd()).and_then(|()| {
        let work = || overlay(holder, !caller.is_privileged());
        if caller.is_privileged() { in_child(work) } else { in_namespaces(caller, Namespaces::MOUNT, work) }
    });
    let refused = match attempt {
        Ok(_) => return OVERLAYS.is(State::Works, format!("wrote to one whose layers are on {on}")),
        Err(refused) => refused,
    };
    match (refused.doing.as_str(), refused.errno) {
        (MAKE_USERS | MAP_USERS, _) => OVERLAYS
            .is(State::Denied, "takes root or a user namespace, and this caller has neither")
            .advise("Run this as root, or see user namespaces above."),
        (OPEN_OVERLAY, Errno::NODEV) => OVERLAYS
            .is(State::Missing, context.with_option("OVERLAY_FS", "the kernel has none"))
            .advise(context.module_advice("OVERLAY_FS", "overlay")),
        (MOUNT_OVERLAY, Errno::INVAL | Errno::OPNOTSUPP) => OVERLAYS
            .is(State::Missing, format!("no upper layer can be on {on}"))
            .advise("Have the machines on ext4, xfs, btrfs or tmpfs; copies are made elsewhere or file by file until then."),
        _ => OVERLAYS.is(refused.state(), format!("{refused} (layers on {on})")).advise(
            "What refuses it is the file system, or a container that this runs in: have the machines on ext4, xfs or btrfs.",
        ),
    }
}

const OPEN_OVERLAY: &str = "ask for an overlay";
const MOUNT_OVERLAY: &str = "mount an overlay";
const FLAGS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);

/// The layers, with a file in the lower one.
fn layers(holder: BorrowedFd<'_>) -> Result<(), Refused> {
    const MAKE: &str = "make the layers of an overlay";
    for name in ["lower", "upper", "work"] {
        mkdirat(holder, name, Mode::RWXU).doing(MAKE)?;
    }
    openat(holder, "lower/old", OFlags::CREATE | OFlags::WRONLY | FLAGS, Mode::RUSR | Mode::WUSR).doing(MAKE)?;
    Ok(())
}

fn overlay(holder: &Holder, by_user: bool) -> Attempt {
    const USE: &str = "write to an overlay";
    // So that no path has to be written in a way that overlayfs understands. What was opened before is of another mount
    // namespace, which cannot be in an overlay of this one.
    rustix::process::chdir(holder.path()).doing(MOUNT_OVERLAY)?;
    let holder = holder.fd();
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).doing(OPEN_OVERLAY)?;
    for (key, value) in [("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work")] {
        fsconfig_set_string(&context, key, value).doing(MOUNT_OVERLAY)?;
    }
    if by_user {
        fsconfig_set_flag(&context, "userxattr").doing(MOUNT_OVERLAY)?;
    }
    fsconfig_create(&context).doing(MOUNT_OVERLAY)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).doing(MOUNT_OVERLAY)?;
    openat(&root, "new", OFlags::CREATE | OFlags::WRONLY | FLAGS, Mode::RUSR | Mode::WUSR).doing(USE)?;
    unlinkat(&root, "old", AtFlags::empty()).doing(USE)?;
    // What was removed is marked in the upper layer, and stays in the lower one.
    statat(holder, "lower/old", AtFlags::SYMLINK_NOFOLLOW).doing(USE)?;
    statat(holder, "upper/new", AtFlags::SYMLINK_NOFOLLOW).doing(USE)?;
    let mark = statat(holder, "upper/old", AtFlags::SYMLINK_NOFOLLOW).doing(USE)?;
    match FileType::from_raw_mode(mark.st_mode) {
        FileType::CharacterDevice => Ok(String::new()),
        _ => Err(Errno::OPNOTSUPP).doing(USE),
    }
}

/// A detached mount of a directory is mapped, and its owner looked at.
fn id_maps(caller: &Caller, place: &Place, holder: &Path) -> Finding {
    let on = place.file_system();
    let owner = caller.uid;
    let other = if owner == 1 { 2 } else { 1 };
    let attempt: Attempt = if caller.is_privileged() {
        in_child(|| mapped(holder, &format!("{owner} {other} 1\n"), other))
    } else {
        // In a user namespace of its own there is but one id.
        in_namespaces(caller, Namespaces::MOUNT, || mapped(holder, "1 0 1\n", 0))
    };
    let refused = match attempt {
        Ok(_) => return ID_MAPS.is(State::Works, format!("mapped a directory on {on}")),
        Err(refused) => refused,
    };
    match (refused.doing.as_str(), refused.errno) {
        (MAKE_USERS | MAP_USERS, _) => ID_MAPS
            .is(State::Unknown, "needs user namespaces")
            .advise("See user namespaces above."),
        (MAP_MOUNT, Errno::INVAL) => ID_MAPS.is(State::Missing, format!("{on} cannot map ids")).advise(
            "Have the machines on ext4, xfs, btrfs or tmpfs. Until then redd changes the owners of a tree's files at the first \
             start with -U.",
        ),
        (MAP_MOUNT, Errno::NOSYS) => {
            ID_MAPS.is(State::Missing, "the kernel cannot map ids of mounts").advise("Use Linux 5.12 or newer.")
        }
        (_, Errno::PERM) if !caller.is_privileged() => ID_MAPS
            .is(State::Denied, format!("only root of the host can, on {on}"))
            .advise("Run redd as root."),
        (_, Errno::PERM) if !caller.has_all_ids => ID_MAPS
            .is(State::Denied, format!("only root of the host around this can, on {on}"))
            .advise("Run redd on the host, or have the machines on a tmpfs of this container."),
        _ => ID_MAPS
            .is(refused.state(), format!("{refused} (on {on})"))
            .advise("What refuses it is a container that this runs in: run redd on the host."),
    }
}

const MAP_MOUNT: &str = "map the ids of a mount";

fn mapped(directory: &Path, map: &str, seen: u32) -> Attempt {
    with_users(|process, users| {
        map_users(process, map)?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(CWD, directory, flags).doing("copy a mount")?;
        set_attributes(mount.as_fd(), &Change { idmap: Some(users), ..Change::default() }).doing(MAP_MOUNT)?;
        match rustix::fs::fstat(&mount).doing(MAP_MOUNT)?.st_uid == seen {
            true => Ok(String::new()),
            false => Err(Errno::OPNOTSUPP).doing(MAP_MOUNT),
        }
    })
}

/// Which of the file systems that images usually have the kernel knows, also as modules that it loads when asked.
fn formats(context: &Context) -> Finding {
    const ALL: [&str; 6] = ["ext4", "xfs", "btrfs", "vfat", "squashfs", "erofs"];
    let attempt = in_namespaces(&context.caller, Namespaces::MOUNT, || {
        let known = ALL.into_iter().map(|name| match fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(_) => Ok(name),
            Err(Errno::NODEV) => Ok(""),
            Err(errno) => Err(errno).doing("ask for a file system"),
        });
        Ok(known
            .collect::<Result<Vec<_>, _>>()?
            .into_iter()
            .filter(|name| !name.is_empty())
            .collect::<Vec<_>>()
            .join(" "))
    });
    match attempt {
        Ok(known) => {
            let lacking: Vec<&str> = ALL.into_iter().filter(|name| !known.split(' ').any(|one| one == *name)).collect();
            if lacking.is_empty() {
                return FORMATS.is(State::Works, known);
            }
            let state = if known.is_empty() { State::Missing } else { State::Limited };
            FORMATS.is(state, format!("{known}; no {}", lacking.join(" "))).advise(format!(
                "If images have them, load the modules: modprobe {}. Else nothing.",
                lacking.join(", modprobe ")
            ))
        }
        Err(refused) => {
            FORMATS.is(State::Unknown, refused.to_string()).advise("Run this as root, or see user namespaces above.")
        }
    }
}
