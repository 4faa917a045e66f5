//! What only an OCI bundle can ask for.

use spec::oci::{AccessTimes, BundleDevice, BundleDeviceKind, MountAttributes, OwnFileSystem};
use spec::{AbsPath, Property, PropertyValue};

use super::{Context, Error};
use crate::{DeviceRule, FileStep, InnerStep, MountFlags, OuterStep, SpecialKind};

/// Kernel parameters, while `/proc/sys` can still be written.
pub(super) fn parameters(context: &Context<'_>, steps: &mut Vec<InnerStep>) {
    for (path, value) in &context.spec.bundle().sysctls {
        steps.push(InnerStep::SetParameter { path: path.clone(), value: value.clone() });
    }
}

/// The network of the host's that it uses. Before anything else: the path is the host's.
pub(super) fn network(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    let Some(path) = &context.spec.bundle().network else { return Ok(()) };
    if context.user.is_some() {
        return Err(Error::NetworkOfHost(path.display().to_string()));
    }
    steps.push(OuterStep::EnterNetwork { path: path.clone() });
    Ok(())
}

/// What is closed, when everything else is in place.
pub(super) fn paths(context: &Context<'_>, steps: &mut Vec<FileStep>) {
    let bundle = context.spec.bundle();
    for path in &bundle.read_only {
        steps.push(FileStep::Bind {
            source: path.clone(),
            target: path.clone(),
            attributes: MountFlags::READ_ONLY,
            recursive: true,
            attributes_below: true,
            optional: true,
            ids: None,
        });
    }
    for path in &bundle.masked {
        steps.push(FileStep::Mask { path: path.clone(), optional: true });
    }
}

/// Nodes of devices, once everything that they may be in is in place.
pub(super) fn devices(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    for device in &context.spec.bundle().devices {
        let on_host = |id: Option<u32>| {
            let id = id.unwrap_or(0);
            let Some(user) = context.user else { return Ok(id) };
            if id < user.range.count() {
                return Ok(user.range.start() + id);
            }
            Err(Error::DeviceOwner { path: device.path.to_string(), last: user.range.count() - 1 })
        };
        let kind = match device.kind {
            BundleDeviceKind::Device { block: false, major, minor } => SpecialKind::Character { major, minor },
            BundleDeviceKind::Device { block: true, major, minor } => SpecialKind::Block { major, minor },
            BundleDeviceKind::Fifo => SpecialKind::Fifo,
        };
        let (uid, gid) = (on_host(device.uid)?, on_host(device.gid)?);
        let path = device.path.clone();
        steps.push(OuterStep::File(FileStep::Device { path, mode: device.mode, kind, uid, gid }));
    }
    Ok(())
}

/// The devices that nodes are made of; they may be opened.
pub(super) fn nodes<'a>(context: &Context<'a>) -> impl Iterator<Item = DeviceRule> + use<'a> {
    context.spec.bundle().devices.iter().filter_map(|device: &BundleDevice| match device.kind {
        BundleDeviceKind::Device { block, major, minor } => {
            Some(DeviceRule { block, major, minor: Some(minor), read: true, write: true, make: true })
        }
        BundleDeviceKind::Fifo => None,
    })
}

/// A device or a group of them, as `DeviceAllow=` names it, and whether it may be read, written to, and made.
pub(super) struct Allowed {
    name: String,
    rights: [bool; 3],
}

/// What the rules allow beside that; what they refuse is refused by our own program. `None` where the unit is to refuse
/// nothing.
pub(super) fn unit_devices(context: &Context<'_>) -> Option<Vec<Allowed>> {
    let rules = &context.spec.bundle().device_rules;
    let mut allowed = rules.iter().filter(|rule| rule.allow).peekable();
    allowed.peek()?;
    allowed
        .map(|rule| {
            // There is no word for devices of both kinds.
            let name = name(rule.block?, rule.major, rule.minor);
            Some(Allowed { name, rights: [rule.read, rule.write, rule.make] })
        })
        .collect()
}

/// A device that a container has a node of because it was asked for it.
pub(super) fn own_device(rule: &DeviceRule) -> Allowed {
    Allowed { name: name(rule.block, Some(rule.major), rule.minor), rights: [rule.read, rule.write, rule.make] }
}

/// All of them as one property. What a service manager is told of a name takes the place of what it was told of it before,
/// so each is there once, with all that may be done with it.
pub(super) fn device_allow(all: impl Iterator<Item = Allowed>) -> Property {
    let mut once: Vec<Allowed> = Vec::new();
    for one in all {
        match once.iter_mut().find(|known| known.name == one.name) {
            Some(known) => known.rights.iter_mut().zip(one.rights).for_each(|(known, right)| *known |= right),
            None => once.push(one),
        }
    }
    let letters = |rights: [bool; 3]| -> String {
        rights.into_iter().zip(['r', 'w', 'm']).filter_map(|(may, letter)| may.then_some(letter)).collect()
    };
    let pairs = once.into_iter().map(|one| (one.name, letters(one.rights))).collect();
    Property { setting: "DeviceAllow", name: "DeviceAllow".into(), value: PropertyValue::Pairs(pairs) }
}

fn name(block: bool, major: Option<u32>, minor: Option<u32>) -> String {
    let kind = if block { "block" } else { "char" };
    match (major, minor) {
        (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
        (Some(major), None) => format!("{kind}-{major}"),
        (None, _) => format!("{kind}-*"),
    }
}

/// The bundle has the mount with this number read-only.
pub(super) fn is_read_only(context: &Context<'_>, number: usize) -> bool {
    let mine = context.spec.bundle().changes.iter().filter(|change| change.mount == number);
    mine.fold(false, |before, change| (before || change.set.read_only) && !change.clear.read_only)
}

/// What the bundle says of the mount with this number.
pub(super) fn changes<'a>(
    context: &'a Context<'_>,
    number: usize,
    path: &'a AbsPath,
) -> impl Iterator<Item = FileStep> + 'a {
    let mine = context.spec.bundle().changes.iter().filter(move |change| change.mount == number);
    mine.map(|change| FileStep::Change {
        path: path.clone(),
        set: flags(change.set, change.access_times),
        clear: flags(change.clear, None),
        relative_times: change.access_times == Some(AccessTimes::Relative),
        private: change.private,
        recursive: change.recursive,
    })
}

/// The attributes of a new file system, which has none before.
pub(super) fn attributes(context: &Context<'_>, number: usize) -> MountFlags {
    let mine = context.spec.bundle().changes.iter().find(|change| change.mount == number);
    mine.map_or(MountFlags::NONE, |change| flags(change.set, change.access_times))
}

/// The attributes of a file system that every container has, with what the bundle says of it.
pub(super) fn with(usual: MountFlags, own: &OwnFileSystem) -> MountFlags {
    let said = flags(own.set, own.access_times);
    let times = own.access_times.map_or(usual, |_| said);
    MountFlags {
        no_exec: usual.no_exec || said.no_exec,
        no_symfollow: usual.no_symfollow || said.no_symfollow,
        no_diratime: usual.no_diratime || said.no_diratime,
        strict_atime: times.strict_atime,
        no_atime: times.no_atime,
        ..usual
    }
}

fn flags(attributes: MountAttributes, times: Option<AccessTimes>) -> MountFlags {
    MountFlags {
        read_only: attributes.read_only,
        no_suid: attributes.no_suid,
        no_dev: attributes.no_dev,
        no_exec: attributes.no_exec,
        no_symfollow: attributes.no_symfollow,
        no_diratime: attributes.no_diratime,
        strict_atime: times == Some(AccessTimes::Strict),
        no_atime: times == Some(AccessTimes::Never),
    }
}
