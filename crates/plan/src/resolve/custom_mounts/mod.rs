//! Mounts beside the root: `--bind=`, `--bind-ro=`, `--tmpfs=`, `--overlay=`, `--overlay-ro=`, `--inaccessible=`.

mod overlay;

use std::path::Path;

use spec::{BindSource, CustomMount, IdMapping};

use super::{Context, Error, limits, unit};
use crate::{
    DeviceRule, FileStep, FileSystem, IdLine, LaunchStep, MountFlags, MountIds, NodeKind, OuterStep, ParentStep,
    RootIds, SourceFacts, SourceNumber,
};

/// The directories that are made for the container alone.
pub(super) fn parent(context: &Context<'_>, steps: &mut Vec<ParentStep>) {
    let owner = context.user.map_or(0, |user| user.range.start());
    for (number, mount) in context.spec.mounts().iter().enumerate() {
        if let CustomMount::Bind { source: BindSource::Temporary, .. } = mount {
            steps.push(ParentStep::MakeTemporary { number, owner });
        }
        if let Some(wanted) = wanted_overlay(number, mount) {
            steps.extend(overlay::parent(context, wanted, owner));
        }
    }
}

/// What a person should know.
pub(super) fn notices(context: &Context<'_>) -> Vec<String> {
    let overlays = context.spec.mounts().iter().enumerate().filter_map(|(number, mount)| wanted_overlay(number, mount));
    overlays.filter_map(|wanted| overlay::notice(context, wanted)).collect()
}

/// The mounts that are taken from the host.
pub(super) fn sources(context: &Context<'_>, steps: &mut Vec<LaunchStep>) {
    for (number, mount) in context.spec.mounts().iter().enumerate() {
        if let Some(wanted) = wanted_overlay(number, mount) {
            overlay::sources(context, wanted, steps);
        }
        let CustomMount::Bind { source, recursive, .. } = mount else { continue };
        match source {
            BindSource::Host(path) => steps.push(LaunchStep::TakeSource {
                path: path.clone(),
                recursive: *recursive,
                number: SourceNumber::Custom(number),
            }),
            BindSource::Temporary => steps.push(LaunchStep::TakeTemporary(number)),
            BindSource::Tree(_) => {}
        }
    }
}

/// When a mount is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Time {
    /// Before all others: it takes the tree's place, and they lie in it.
    Root,
    /// When the tree, `/dev` and `/run` are there.
    Usual,
    /// When sysfs is there, which with a network of its own is late.
    InSysfs,
}

/// What is made by the container itself, late, and would hide what is mounted there; or what cannot be hidden without
/// harm.
fn reserved(path: &Path) -> bool {
    let whole = ["/proc", "/dev/pts", "/sys/fs/cgroup"];
    let alone = ["/dev", "/run", "/run/host"];
    whole.iter().any(|place| path.starts_with(place)) || alone.iter().any(|place| path == Path::new(place))
}

fn time(context: &Context<'_>, mount: &CustomMount) -> Result<Time, Error> {
    let path = destination(mount).as_path();
    let sysfs = context.private_network() && path.starts_with("/sys");
    let possible = path != Path::new("/sys") && !matches!(mount, CustomMount::Overlay { .. });
    match (path.parent(), reserved(path) || sysfs && !possible) {
        (None, _) => Ok(Time::Root),
        (_, true) => Err(Error::Reserved(path.display().to_string())),
        (_, false) if sysfs => Ok(Time::InSysfs),
        (_, false) => Ok(Time::Usual),
    }
}

/// Something is mounted at this place.
pub(super) fn covers(context: &Context<'_>, place: &str) -> bool {
    context.spec.mounts().iter().any(|mount| destination(mount).as_path() == Path::new(place))
}

/// The devices that are bound, and what may be done with them. A read-only mount alone would keep nobody from writing to
/// them, and their nodes are there and need not be made. For those that `DeviceAllow=` names, too, that counts.
pub(super) fn devices(context: &Context<'_>) -> Vec<DeviceRule> {
    let spec = context.spec;
    let named = if spec.property().keep_unit { Vec::new() } else { limits::named(unit::asked(context)) };
    let bound = spec.mounts().iter().zip(&context.facts.sources).enumerate();
    let device = |(number, (mount, facts)): (usize, (&CustomMount, &Option<SourceFacts>))| {
        let CustomMount::Bind { source: BindSource::Host(path), read_only, .. } = mount else { return None };
        let (block, major, minor) = match facts.as_ref()?.kind {
            NodeKind::CharacterDevice { major, minor } => (false, major, minor),
            NodeKind::BlockDevice { major, minor } => (true, major, minor),
            NodeKind::Directory | NodeKind::File => return None,
        };
        let write = !read_only && !super::bundle::is_read_only(context, number);
        let rule = DeviceRule { block, major, minor: Some(minor), read: true, write, make: false };
        (!named.iter().any(|(name, _)| Path::new(name) == path)).then_some(rule)
    };
    bound.filter_map(device).collect()
}

/// What is mounted at `/`.
pub(super) fn root(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    mounts(context, steps, Time::Root)
}

/// What is mounted in sysfs, where that is made late.
pub(super) fn in_sysfs(context: &Context<'_>) -> Result<Vec<FileStep>, Error> {
    let mut steps = Vec::new();
    mounts(context, &mut steps, Time::InSysfs)?;
    let files = steps.into_iter().filter_map(|step| match step {
        OuterStep::File(step) => Some(step),
        _ => None,
    });
    Ok(files.collect())
}

/// The other mounts.
pub(super) fn steps(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    mounts(context, steps, Time::Usual)
}

/// Those nearer to the root first, so that none hides another. At the same place memory covers what is bound there, and
/// what is to be inaccessible covers all, whatever was said first.
fn mounts(context: &Context<'_>, steps: &mut Vec<OuterStep>, wanted: Time) -> Result<(), Error> {
    let mut mounts = Vec::new();
    for (number, mount) in context.spec.mounts().iter().enumerate() {
        if time(context, mount)? == wanted {
            mounts.push((number, mount));
        }
    }
    mounts.sort_by_key(|(_, mount)| (destination(mount).as_path().components().count(), rank(mount)));
    for (number, mount) in mounts {
        steps.push(match wanted_overlay(number, mount) {
            Some(wanted) => OuterStep::Overlay(overlay::step(context, wanted)?),
            None => OuterStep::File(step(context, number, mount)?),
        });
        if !matches!(mount, CustomMount::FileSystem { .. }) {
            steps.extend(super::bundle::changes(context, number, destination(mount)).map(OuterStep::File));
        }
    }
    Ok(())
}

fn destination(mount: &CustomMount) -> &spec::AbsPath {
    match mount {
        CustomMount::Bind { destination, .. }
        | CustomMount::Tmpfs { destination, .. }
        | CustomMount::Overlay { destination, .. }
        | CustomMount::FileSystem { destination, .. } => destination,
        CustomMount::Inaccessible { path } => path,
    }
}

fn rank(mount: &CustomMount) -> u32 {
    match mount {
        CustomMount::Bind { .. } => 0,
        CustomMount::Tmpfs { .. } | CustomMount::FileSystem { .. } => 1,
        CustomMount::Overlay { .. } => 2,
        CustomMount::Inaccessible { .. } => 3,
    }
}

fn wanted_overlay(number: usize, mount: &CustomMount) -> Option<overlay::Wanted<'_>> {
    match mount {
        CustomMount::Overlay { layers, destination, read_only } => {
            Some(overlay::Wanted { number, layers, destination, read_only: *read_only })
        }
        _ => None,
    }
}

fn step(context: &Context<'_>, number: usize, mount: &CustomMount) -> Result<FileStep, Error> {
    Ok(match mount {
        CustomMount::Bind { source, destination, read_only, recursive, ids } => {
            // What is in a tree that is mapped has the same ids inside already.
            let mapped = matches!(source, BindSource::Tree(_)) && context.user.is_some_and(|user| user.map_tree);
            let ids = match ids {
                IdMapping::Same if mapped => None,
                other => mount_ids(context, destination, other)?,
            };
            let attributes = if *read_only { MountFlags::READ_ONLY } else { MountFlags::NONE };
            let target = destination.clone();
            match source {
                BindSource::Host(path) => {
                    let Some(Some(facts)) = context.facts.sources.get(number) else {
                        return Err(Error::NoSource(path.display().to_string()));
                    };
                    let directory = facts.kind == NodeKind::Directory;
                    FileStep::Attach { source: SourceNumber::Custom(number), target, attributes, directory, ids }
                }
                BindSource::Temporary => FileStep::Attach {
                    source: SourceNumber::Temporary(number),
                    target,
                    attributes,
                    directory: true,
                    ids,
                },
                BindSource::Tree(path) => FileStep::Bind {
                    source: path.clone(),
                    target,
                    attributes,
                    recursive: *recursive,
                    attributes_below: true,
                    optional: false,
                    ids,
                },
            }
        }
        CustomMount::Tmpfs { destination, options } => tmpfs(context, destination, options.as_deref())?,
        CustomMount::FileSystem { kind, source, destination, options } => {
            let memory = kind == FileSystem::Tmpfs.name();
            let mut all = if memory { super::api_mounts::owner_options(context) } else { Vec::new() };
            for option in options {
                all.push(if memory { tmpfs_option(context, destination, option)? } else { option.clone() });
            }
            let attributes = super::bundle::attributes(context, number);
            if attributes.read_only {
                all.push("ro".to_owned());
            }
            let (kind, source, target) = (kind.clone(), source.clone(), destination.clone());
            FileStep::MountAny { kind, source, target, options: all, attributes }
        }
        CustomMount::Inaccessible { path } => FileStep::Mask { path: path.clone(), optional: false },
        CustomMount::Overlay { destination, .. } => return Err(Error::Path(destination.to_string())),
    })
}

/// What the option means for this container: its root is the host's `start`, and it has `count` ids.
fn mount_ids(context: &Context<'_>, destination: &spec::AbsPath, ids: &IdMapping) -> Result<Option<MountIds>, Error> {
    let (start, count) = context.user.map_or((0, u32::MAX), |user| (user.range.start(), user.range.count()));
    let root = RootIds { host: start, tree: context.user.map_or(0, |user| user.tree_base) };
    Ok(match ids {
        IdMapping::Unmapped => None,
        // With the host's users every id is itself already.
        IdMapping::Same if context.user.is_none() => None,
        IdMapping::Same => Some(MountIds::Lines(vec![IdLine { file_system: 0, host: start, count }])),
        IdMapping::Root => Some(MountIds::OwnerIsRoot(root)),
        IdMapping::Owner => Some(MountIds::OwnerIsTargets(root)),
        IdMapping::Listed(entries) => {
            let lines = entries.iter().map(|entry| {
                if entry.inside.checked_add(entry.count).is_none_or(|end| end > count) {
                    return Err(Error::IdsOutside { mount: destination.to_string(), last: count - 1 });
                }
                Ok(IdLine { file_system: entry.outside, host: start + entry.inside, count: entry.count })
            });
            Some(MountIds::Lines(lines.collect::<Result<_, _>>()?))
        }
    })
}

/// Without options the root of the new file system has mode 0755 and belongs to the container's root; with options
/// all is as they say (systemd-nspawn(1), `--tmpfs=`), in ids of the container.
fn tmpfs(context: &Context<'_>, target: &spec::AbsPath, options: Option<&str>) -> Result<FileStep, Error> {
    let mut attributes = MountFlags { no_dev: true, strict_atime: true, ..MountFlags::NONE };
    let mut data = match options {
        None => super::api_mounts::tmpfs_options(context, "0755", ""),
        Some(_) => super::api_mounts::owner_options(context),
    };
    for word in options.unwrap_or_default().split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" => attributes.read_only = true,
            "rw" => attributes.read_only = false,
            "nosuid" => attributes.no_suid = true,
            "suid" => attributes.no_suid = false,
            "nodev" => attributes.no_dev = true,
            "dev" => attributes.no_dev = false,
            "noexec" => attributes.no_exec = true,
            "exec" => attributes.no_exec = false,
            "nosymfollow" => attributes.no_symfollow = true,
            "symfollow" => attributes.no_symfollow = false,
            "nodiratime" => attributes.no_diratime = true,
            "diratime" => attributes.no_diratime = false,
            "noatime" => (attributes.strict_atime, attributes.no_atime) = (false, true),
            "relatime" | "nostrictatime" => (attributes.strict_atime, attributes.no_atime) = (false, false),
            "strictatime" | "norelatime" | "atime" => (attributes.strict_atime, attributes.no_atime) = (true, false),
            // What mount(8) takes for itself.
            "silent" | "loud" => {}
            other if other.starts_with("x-") || other.starts_with("X-") => {}
            other => data.push(tmpfs_option(context, target, other)?),
        }
    }
    if attributes.read_only {
        // The file system too, so that nobody inside can write to it by way of another mount.
        data.push("ro".to_owned());
    }
    Ok(FileStep::Mount { file_system: FileSystem::Tmpfs, target: target.clone(), options: data, attributes })
}

/// An option as the kernel takes it, with the host's id for that of the container. What is none of ours to judge is left
/// to the kernel.
fn tmpfs_option(context: &Context<'_>, target: &spec::AbsPath, option: &str) -> Result<String, Error> {
    let owner = option.split_once('=').filter(|(key, _)| matches!(*key, "uid" | "gid"));
    let (Some(user), Some((key, Ok(id)))) = (context.user, owner.map(|(key, id)| (key, id.parse::<u32>()))) else {
        return Ok(option.to_owned());
    };
    if id >= user.range.count() {
        return Err(Error::IdsOutside { mount: target.to_string(), last: user.range.count() - 1 });
    }
    Ok(format!("{key}={}", user.range.start() + id))
}
