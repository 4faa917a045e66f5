//! What the caller does before each start: takes mounts from the host and makes the payload's control group.
//!
//! Everything taken here is detached: nothing shows on the host, and it is gone when the descriptors are.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use plan::{GroupPlace, LaunchStep, NodeKind, Plan, SourceNumber};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use sys::mount::{Change, Propagation, set_attributes};

use super::files::{About, Failure, Sources, take_mount};
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
    /// Where the upper layer lies on disk.
    pub overlay: Option<OverlayDirectory>,
    /// The payload's control group.
    pub group: cgroup::Group,
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
    /// The plan lacks a step; an error of ours.
    #[error("the plan takes no tree")]
    NoTree,
}

/// What failed and why, as the end of a sentence.
pub(crate) fn detail(failure: &Failure) -> String {
    let reason = std::io::Error::from_raw_os_error(failure.errno.raw_os_error());
    if failure.detail.is_empty() { format!(": {reason}") } else { format!(": {}: {reason}", failure.detail) }
}

/// Carries the steps out.
///
/// # Errors
/// The first step that failed.
pub fn run(plan: &Plan, acquired: &Acquired) -> Result<Launched, Error> {
    let mut group = None;
    let mut tree = None;
    let mut sources = Sources::new();
    for step in &plan.launch {
        let failed = |failure| Error::Step { step: step.to_string(), failure };
        match step {
            LaunchStep::MakeControlGroup(place) => group = Some(make_group(plan, place, acquired)?),
            LaunchStep::TakeTree { subdirectory, recursive } => {
                tree = Some(take_tree(acquired, *subdirectory, *recursive).map_err(failed)?);
            }
            LaunchStep::TakeTemporary(number) => {
                let path = acquired.temporary(*number).ok_or_else(|| failed(Errno::NOENT.into()))?;
                let mount = take_source(&path, false).map_err(failed)?;
                sources.push((SourceNumber::Temporary(*number), mount));
            }
            LaunchStep::TakeSource { path, recursive, number } => {
                sources.push((*number, take_source(path, *recursive).map_err(failed)?));
            }
        }
    }
    let (Some(tree), Some(group)) = (tree, group) else { return Err(Error::NoTree) };
    let root_directory = acquired.root().try_clone_to_owned().map_err(|_| Error::NoTree)?;
    let failed =
        |errno| Error::Step { step: "take a mount of the ephemeral copy".into(), failure: Failure::from(errno) };
    let overlay = acquired.overlay().map_err(failed)?;
    Ok(Launched { tree, root_directory, sources, overlay, group })
}

fn make_group(plan: &Plan, place: &GroupPlace, acquired: &Acquired) -> Result<cgroup::Group, Error> {
    let failed = |errno| Error::Step { step: "find the control groups".into(), failure: Failure::from(errno) };
    let layout = cgroup::Layout::probe().map_err(failed)?;
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
    if let Some(user) = plan.namespaces.user {
        group.delegate(user.range.start(), user.range.start())?;
    }
    Ok(group)
}

/// Sees to it that the payload can open the standard devices and those in the plan, and no others. The verifier takes
/// its time over the program, so this is done while the stages are at work, and before the payload starts.
///
/// # Errors
/// Those of bpf(2).
pub fn restrict_devices(plan: &Plan, group: &cgroup::Group) -> Result<(), Error> {
    let mut rules = cgroup::device::STANDARD.to_vec();
    rules.extend(plan.limits.devices.iter().filter_map(|device| {
        let (kind, major, minor) = match *device {
            NodeKind::CharacterDevice { major, minor } => (cgroup::device::Kind::Character, major, minor),
            NodeKind::BlockDevice { major, minor } => (cgroup::device::Kind::Block, major, minor),
            NodeKind::Directory | NodeKind::File => return None,
        };
        Some(cgroup::device::Rule { kind, major, minor: Some(minor) })
    }));
    let failed = |errno| Error::Step { step: "restrict the devices".into(), failure: Failure::from(errno) };
    cgroup::device::restrict(group.payload(), &rules).map_err(failed)
}

fn take_tree(acquired: &Acquired, subdirectory: Option<&str>, recursive: bool) -> Result<OwnedFd, Failure> {
    let Some(name) = subdirectory else { return Ok(take_mount(acquired.root(), recursive)?) };
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::openat2(acquired.root(), name, flags, Mode::empty(), resolve).about(name)?;
    Ok(take_mount(directory.as_fd(), recursive)?)
}

fn take_source(path: &Path, recursive: bool) -> Result<OwnedFd, Failure> {
    let at = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).about(path.display())?;
    let mount = take_mount(at.as_fd(), recursive).about(path.display())?;
    let change = Change { propagation: Some(Propagation::Slave), recursive: true, ..Change::default() };
    set_attributes(mount.as_fd(), &change).about(path.display())?;
    Ok(mount)
}
