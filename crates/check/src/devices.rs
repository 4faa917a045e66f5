//! Devices of the host that redd uses: each is opened, and does what it is there for.

use std::os::fd::AsFd;

use rustix::fs::{MemfdFlags, Mode, OFlags, ftruncate, memfd_create, open};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use sys::clone::Namespaces;
use sys::loop_device::{LoopDevice, Part};

use crate::Context;
use crate::attempt::{Attempt, Doing, MAKE_USERS, MAP_USERS, Refused, in_child, in_namespaces};
use crate::finding::{Feature, Finding, Need, State, Topic};

const fn feature(name: &'static str, need: Need, why: &'static str) -> Feature {
    Feature { name, topic: Topic::Devices, need, why }
}

static LOOP: Feature =
    feature("loop devices", Need::Useful, "Disk images and installation media are mounted through them (--image=).");

static MAPPER: Feature = feature(
    "device mapper",
    Need::Optional,
    "Disk images that are encrypted or verified (LUKS, dm-verity) are read through it.",
);

static FUSE: Feature = feature(
    "fuse",
    Need::Optional,
    "File systems in user space: programs in containers use it (--bind=/dev/fuse), and images can be read without root.",
);

static TUN: Feature =
    feature("tun", Need::Optional, "Links whose other end is a program: VPNs in containers (--bind=/dev/net/tun).");

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    vec![
        judge(&LOOP, context, ("BLK_DEV_LOOP", "loop"), in_child(loop_device)),
        judge(&MAPPER, context, ("BLK_DEV_DM", "dm_mod"), in_child(device_mapper)),
        judge(&FUSE, context, ("FUSE_FS", "fuse"), in_namespaces(&context.caller, Namespaces::MOUNT, fuse)),
        judge(&TUN, context, ("TUN", "tun"), in_namespaces(&context.caller, Namespaces::NETWORK, tun)),
    ]
}

/// A device over a piece of memory, taken apart at once.
fn loop_device() -> Attempt {
    const SIZE: u64 = 64 << 10;
    let memory = memfd_create("check", MemfdFlags::CLOEXEC).doing("get memory")?;
    ftruncate(&memory, SIZE).doing("get memory")?;
    let part = Part { offset: 0, size: SIZE, block_size: 512, read_only: true };
    let device = LoopDevice::attach(memory.as_fd(), part).doing("attach one by /dev/loop-control")?;
    let seen = format!("attached {}", device.path().display());
    device.release();
    Ok(seen)
}

fn device_mapper() -> Attempt {
    let [major, minor, patch] = sys::device_mapper::version().doing("ask /dev/mapper/control")?;
    Ok(format!("version {major}.{minor}.{patch}"))
}

/// A file system that nobody serves: it is mounted nowhere.
fn fuse() -> Attempt {
    const MOUNT: &str = "mount a file system of it";
    let device = open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).doing("open /dev/fuse")?;
    let context = fsopen("fuse", FsOpenFlags::FSOPEN_CLOEXEC).doing(MOUNT)?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&device).to_string();
    for (key, value) in [("fd", number.as_str()), ("rootmode", "40000"), ("user_id", "0"), ("group_id", "0")] {
        fsconfig_set_string(&context, key, value).doing(MOUNT)?;
    }
    fsconfig_create(&context).doing(MOUNT)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).doing(MOUNT)?;
    Ok("opened /dev/fuse and mounted by it".to_owned())
}

fn tun() -> Attempt {
    sys::tun::create(c"check3").doing("make a link by /dev/net/tun")?;
    Ok("made a link by /dev/net/tun".to_owned())
}

fn judge(feature: &'static Feature, context: &Context, (option, module): (&str, &str), attempt: Attempt) -> Finding {
    let refused = match attempt {
        Ok(seen) => return feature.is(State::Works, seen),
        Err(refused) => refused,
    };
    match refused {
        Refused { ref doing, .. } if [MAKE_USERS, MAP_USERS].contains(&doing.as_str()) => feature
            .is(State::Denied, "takes root or a user namespace, and this caller has neither")
            .advise("Run this as root, or see user namespaces above."),
        Refused { errno: Errno::NOENT | Errno::NXIO | Errno::NODEV | Errno::NOTTY, .. } => feature
            .is(State::Missing, context.with_option(option, &refused.to_string()))
            .advise(context.device_advice(option, module)),
        _ if !context.caller.is_privileged() => feature
            .is(refused.state(), refused.to_string())
            .advise("Only root may, or who is in the group of the device: run redd as root."),
        _ => feature.is(refused.state(), refused.to_string()).advise(
            "A container that this runs in keeps the device from it: allow it there (DeviceAllow=), or run redd on the host.",
        ),
    }
}
