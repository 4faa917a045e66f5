//! What the caller does before each start: takes mounts from the host and makes the payload's control group.
//!
//! Everything taken here is detached: nothing shows on the host, and it is gone when the descriptors are.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use plan::{DeviceAccess, GroupPlace, LaunchStep, Plan, SourceNumber};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sys::mount::{Change, Propagation, set_attributes};

use super::files::{About, Failure, Sources, take_mount};
use super::kept::Kept;
use super::{overlay, partition};
use crate::parent::Acquired;

/// The ephemeral copy's directory: the layers `upper` and `work` are in it.
#[derive(Debug)]
pub struct OverlayDirectory {
    /// A detached mount of it: the host's own cannot be taken in another mount namespace.
    pub holder: OwnedFd,
    /// Its path.
    pub path: PathBuf,
}

/// What one start needs.
#[derive(Debug)]
pub struct Launched {
    /// The mount that becomes the root, or its lowest layer.
    pub tree: OwnedFd,
    /// The tree's root directory.
    pub root_directory: OwnedFd,
    /// The other mounts.
    pub sources: Sources,
    /// What the directories of the work directories are called that lie beside upper layers of the host.
    pub work: Vec<(usize, OsString)>,
    /// Where the upper layer lies on disk.
    pub overlay: Option<OverlayDirectory>,
    /// The payload's control group.
    pub group: cgroup::Group,
    /// Those with limits in hierarchies of version 1.
    pub limits: Vec<cgroup::limit::v1::Group>,
}

impl Launched {
    /// Puts the container's first process under the limits of version 1, and adjusts its score for when memory runs out,
    /// while it is at work for itself. With users of its own it could not do so: its files in proc are not its own yet.
    ///
    /// # Errors
    /// The first that does not work.
    pub fn limit(&self, plan: &Plan, pid: i32) -> Result<(), Error> {
        self.limits.iter().try_for_each(|limit| limit.join(pid))?;
        let Some(adjustment) = plan.limits.oom_score_adjust else { return Ok(()) };
        std::fs::write(format!("/proc/{pid}/oom_score_adj"), adjustment.to_string()).map_err(|error| Error::Step {
            step: format!("adjust the score for when memory runs out by {adjustment}"),
            failure: Failure::from(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        })
    }

    /// Ends the control groups and whoever is in them.
    ///
    /// # Errors
    /// The first that could not be removed.
    pub fn end(self) -> Result<(), Error> {
        end(Some(self.group), self.limits)
    }
}

fn end(group: Option<cgroup::Group>, limits: Vec<cgroup::limit::v1::Group>) -> Result<(), Error> {
    let ended = group.map_or(Ok(()), |group| group.end().map_err(Error::from));
    let removed = limits.into_iter().map(|limit| limit.end().map_err(Error::from));
    removed.fold(ended, Result::and)
}

/// Why a start failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A step.
    #[error("cannot {step}{}", detail(.failure))]
    Step {
        /// In words.
        step: String,
        /// Why.
        failure: Failure,
    },
    /// The record of what is made.
    #[error(transparent)]
    Record(#[from] image::lock::Error),
    /// The control group.
    #[error(transparent)]
    Group(#[from] cgroup::Error),
    /// A limit.
    #[error(transparent)]
    Limit(#[from] cgroup::limit::Error),
    /// The plan lacks a step; an error of ours.
    #[error("the plan takes no tree")]
    NoTree,
}

/// What failed and why, as the end of a sentence.
pub(crate) fn detail(failure: &Failure) -> String {
    let reason = std::io::Error::from_raw_os_error(failure.errno.raw_os_error());
    if failure.detail.is_empty() { format!(": {reason}") } else { format!(": {}: {reason}", failure.detail) }
}

/// Carries the steps out. `kept` is what earlier starts of the same container have taken.
///
/// # Errors
/// The first step that failed.
pub fn run(plan: &Plan, acquired: &Acquired, kept: &mut Kept) -> Result<Launched, Error> {
    let mut groups = Groups::default();
    carry_out(plan, acquired, kept, &mut groups).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = end(groups.group.take(), std::mem::take(&mut groups.limits));
    })
}

/// The control groups that were made.
#[derive(Default)]
struct Groups {
    group: Option<cgroup::Group>,
    limits: Vec<cgroup::limit::v1::Group>,
}

fn carry_out(plan: &Plan, acquired: &Acquired, kept: &mut Kept, groups: &mut Groups) -> Result<Launched, Error> {
    let mut tree = None;
    let mut sources = Sources::new();
    let mut work = Vec::new();
    for step in &plan.launch {
        let failed = |failure| Error::Step { step: step.to_string(), failure };
        match step {
            LaunchStep::MakeControlGroup(place) => groups.group = Some(make_group(plan, place, acquired)?),
            LaunchStep::LimitGroup { controllers, files } => {
                let layout = layout()?;
                let group = groups.group.as_ref().ok_or(Error::NoTree)?;
                cgroup::limit::v2::apply(group, &layout, controllers, &limit_files(files))?;
            }
            LaunchStep::LimitHierarchy(limit) => {
                let path = cgroup::limit::v1::path(&limit.own, &plan.machine);
                acquired.note(image::record::Entry::Group(path))?;
                let (files, below) = (limit_files(&limit.machine), limit_files(&limit.payload));
                groups.limits.push(cgroup::limit::v1::Group::create(&limit.own, &plan.machine, &files, &below)?);
            }
            LaunchStep::TakeTree { subdirectory, recursive } => {
                tree = Some(take_tree(acquired, *subdirectory, *recursive).map_err(failed)?);
            }
            LaunchStep::TakePartition { role, layers } => {
                let disk = acquired.disk().ok_or(Error::NoTree)?;
                let mount = partition::other(disk, *role).map_err(failed)?;
                if let Some(number) = layers {
                    let around = sources.iter().find(|(known, _)| *known == SourceNumber::Around(*number));
                    let (_, around) = around.ok_or(Error::NoTree)?;
                    partition::prepare_layer(&mount, around, overlay::shift(plan)).map_err(failed)?;
                }
                sources.push((SourceNumber::Partition(*role), mount));
            }
            LaunchStep::TakeTemporary(number) => {
                let mount = take_temporary(acquired, *number).map_err(failed)?;
                sources.push((SourceNumber::Temporary(*number), mount));
            }
            LaunchStep::TakeLayers { number, from } => {
                let mount = take_layers(acquired, *number, from.as_deref()).map_err(failed)?;
                sources.push((SourceNumber::Around(*number), mount));
                let name = from.as_deref().and_then(|place| acquired.beside_upper_layer_called(place));
                work.extend(name.map(|name| (*number, name.to_owned())));
            }
            LaunchStep::TakeSource { path, recursive, number } => {
                sources.push((*number, kept.take(*number, path, *recursive).map_err(failed)?));
            }
        }
    }
    let tree = tree.ok_or(Error::NoTree)?;
    let root_directory = acquired.root().try_clone_to_owned().map_err(|_| Error::NoTree)?;
    let failed =
        |errno| Error::Step { step: "take a mount of the ephemeral copy".into(), failure: Failure::from(errno) };
    let overlay = acquired.overlay().map_err(failed)?;
    let group = groups.group.take().ok_or(Error::NoTree)?;
    let limits = std::mem::take(&mut groups.limits);
    Ok(Launched { tree, root_directory, sources, work, overlay, group, limits })
}

fn limit_files(files: &[plan::GroupFile]) -> Vec<cgroup::limit::File<'_>> {
    let all = files.iter();
    all.map(|one| cgroup::limit::File { property: one.property, name: one.file, value: &one.value }).collect()
}

fn layout() -> Result<cgroup::Layout, Error> {
    let failed = |errno| Error::Step { step: "find the control groups".into(), failure: Failure::from(errno) };
    cgroup::Layout::probe().map_err(failed)
}

fn make_group(plan: &Plan, place: &GroupPlace, acquired: &Acquired) -> Result<cgroup::Group, Error> {
    let layout = layout()?;
    let in_unit = match place {
        GroupPlace::Subtree { .. } => false,
        // Where the service manager uses version 1, its units are no groups of cgroup2.
        GroupPlace::CallersUnit => !layout.is_root(),
        GroupPlace::Scope(unit) => layout.is_in(unit),
    };
    let group = if in_unit {
        acquired.note(image::record::Entry::Group(layout.in_unit()))?;
        cgroup::Group::create_in_unit(&layout)?
    } else {
        acquired.note(image::record::Entry::Group(layout.machine(&plan.machine)))?;
        cgroup::Group::create(&layout, &plan.machine)?
    };
    if *place != (GroupPlace::Subtree { controllers: false }) {
        group.hand_on_controllers(&layout)?;
    }
    Ok(group)
}

/// Does what the payload's group needs before the payload starts, but none of the stages: its owner, and its devices. There
/// is time for that while the stages are at work.
///
/// # Errors
/// Those of chown(2) and bpf(2).
pub fn finish_group(plan: &Plan, group: &cgroup::Group) -> Result<(), Error> {
    if let Some(user) = plan.namespaces.user {
        group.delegate(user.range.start(), user.range.start())?;
    }
    restrict_devices(plan, group)
}

/// Sees to it that the payload can open the standard devices and those in the plan, and no others.
fn restrict_devices(plan: &Plan, group: &cgroup::Group) -> Result<(), Error> {
    use cgroup::device::{Access, Change, Kind, Rule, STANDARD, UNNAMED};
    let DeviceAccess { strict, rules: named, changes } = &plan.limits.device_access;
    // Nodes of the standard ones are made in any case.
    let standard =
        if *strict { STANDARD.map(|rule| Rule { access: Access::new(false, false, true), ..rule }) } else { STANDARD };
    let mut rules = standard.to_vec();
    if *strict {
        rules.extend(UNNAMED);
    }
    let kind = |block| if block { Kind::Block } else { Kind::Character };
    rules.extend(plan.limits.devices.iter().chain(named).map(|one| Rule {
        kind: kind(one.block),
        major: one.major,
        minor: one.minor,
        access: Access::new(one.read, one.write, one.make),
    }));
    let change = |one: &spec::oci::BundleDeviceRule| Change {
        allow: one.allow,
        kind: one.block.map(kind),
        major: one.major,
        minor: one.minor,
        access: Access::new(one.read, one.write, one.make),
    };
    let changes: Vec<Change> = changes.iter().map(change).collect();
    let failed = |errno| Error::Step { step: "restrict the devices".into(), failure: Failure::from(errno) };
    cgroup::device::restrict(group.payload(), &rules, &changes).map_err(failed)
}

fn take_tree(acquired: &Acquired, subdirectory: Option<&str>, recursive: bool) -> Result<OwnedFd, Failure> {
    if let Some(disk) = acquired.disk() {
        return partition::root(disk, subdirectory);
    }
    let Some(name) = subdirectory else { return Ok(take_mount(acquired.root(), recursive)?) };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = sys::open::openat2(acquired.root(), name, flags, Mode::empty(), resolve).about(name)?;
    Ok(take_mount(directory.as_fd(), recursive)?)
}

fn take_layers(acquired: &Acquired, number: usize, from: Option<&Path>) -> Result<OwnedFd, Failure> {
    let Some(place) = from else { return take_temporary(acquired, number) };
    let at = acquired.beside_upper_layer(place).ok_or(Errno::NOENT)?;
    detached(at, false).about(place.display())
}

/// A directory that was made for the container alone. It may be in reach of the container, where the directory that it is
/// in is bound there.
fn take_temporary(acquired: &Acquired, number: usize) -> Result<OwnedFd, Failure> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let around = acquired.temporary().ok_or(Errno::NOENT)?;
    let name = number.to_string();
    let directory = sys::open::openat2(around, &name, flags, Mode::empty(), resolve).about(number)?;
    Ok(detached(directory.as_fd(), false)?)
}

/// It receives what the host mounts later below.
pub(super) fn detached(at: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mount = take_mount(at, recursive)?;
    let change = Change { propagation: Some(Propagation::Slave), recursive: true, ..Change::default() };
    set_attributes(mount.as_fd(), &change)?;
    Ok(mount)
}
