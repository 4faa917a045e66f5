//! Disk images: the partitions beside the root.
//!
//! A mode that keeps no changes keeps none of theirs either: they are then read-only, or the lower layers of overlays
//! whose upper layers are as temporary as the root's.

use spec::Volatile;

use super::{Context, Error};
use crate::{
    FileStep, IdLine, LaunchStep, LayerSource, MountFlags, MountIds, OuterStep, OverlayLayer, OverlayStep, ParentStep,
    PartitionFacts, PartitionRole, SourceNumber, UpperLayer,
};

/// A partition that is mounted.
struct Mounted {
    facts: PartitionFacts,
    place: &'static str,
    /// It gets an upper layer of its own: that of the mount with this number, which no custom mount has.
    layers: Option<usize>,
}

/// Those that are mounted, the ones nearer to the root first.
fn mounted(context: &Context<'_>) -> Vec<Mounted> {
    let image = context.spec.image();
    let changed_for_now = image.ephemeral || image.volatile == Volatile::Overlay;
    let wanted = context.facts.tree.partitions.iter().filter(|facts| match image.volatile {
        Volatile::Yes => facts.role == PartitionRole::Usr,
        // Memory is there instead.
        Volatile::State => !matches!(facts.role, PartitionRole::Var | PartitionRole::Tmp),
        Volatile::No | Volatile::Overlay => true,
    });
    let mut all: Vec<Mounted> = wanted
        .zip(context.spec.mounts().len()..)
        .filter_map(|(facts, number)| {
            let layers = changed_for_now && !image.read_only && image.volatile != Volatile::Yes;
            let kept = matches!(facts.role, PartitionRole::Esp | PartitionRole::Xbootldr);
            Some(Mounted {
                facts: *facts,
                place: facts.place?,
                layers: (layers && !kept && !facts.read_only).then_some(number),
            })
        })
        .collect();
    all.sort_by_key(|one| one.place.matches('/').count());
    all
}

/// Whether one of them is written to, so that nobody else may use the image.
pub(super) fn is_written(context: &Context<'_>) -> bool {
    let image = context.spec.image();
    let kept = !image.ephemeral && !image.read_only && image.volatile == Volatile::No;
    kept && context.facts.tree.partitions.iter().any(|facts| !facts.read_only)
}

/// Whether they can be used at all.
pub(super) fn check(context: &Context<'_>) -> Result<(), Error> {
    let Some(user) = context.user else { return Ok(()) };
    for one in mounted(context) {
        if user.shift_tree || (user.map_tree && !one.facts.idmap) {
            let partition = one.facts.role.name();
            return Err(Error::PartitionIds { tree: context.facts.tree.path.display().to_string(), partition });
        }
    }
    Ok(())
}

/// What a person should know about those that are not mounted.
pub(super) fn notices(context: &Context<'_>) -> Vec<String> {
    let missing = context.facts.tree.partitions.iter().filter(|facts| facts.place.is_none());
    let tree = context.facts.tree.path.display();
    missing
        .map(|facts| format!("{tree} has no place for its partition for {}, which is not mounted.", facts.role.name()))
        .collect()
}

pub(super) fn parent(context: &Context<'_>, steps: &mut Vec<ParentStep>) {
    let owner = context.user.map_or(0, |user| user.range.start());
    let numbers = mounted(context).into_iter().filter_map(|one| one.layers);
    steps.extend(numbers.map(|number| ParentStep::MakeLayers { number, beside: None, missing: None, owner }));
}

pub(super) fn launch(context: &Context<'_>, steps: &mut Vec<LaunchStep>) {
    for one in mounted(context) {
        steps.extend(one.layers.map(|number| LaunchStep::TakeLayers { number, from: None }));
        steps.push(LaunchStep::TakePartition { role: one.facts.role, layers: one.layers });
    }
}

pub(super) fn outer(context: &Context<'_>, steps: &mut Vec<OuterStep>) -> Result<(), Error> {
    let ids = context.user.filter(|user| user.map_tree).map(|user| {
        let (host, count) = (user.range.start(), user.range.count());
        MountIds::Lines(vec![IdLine { file_system: user.tree_base, host, count }])
    });
    let read_only = context.spec.image().read_only || context.spec.image().volatile != Volatile::No;
    for one in mounted(context) {
        let source = SourceNumber::Partition(one.facts.role);
        let target = super::path(one.place)?;
        let Some(number) = one.layers else {
            let attributes = MountFlags { read_only: read_only || one.facts.read_only, ..attributes(one.facts.role) };
            steps.push(OuterStep::File(FileStep::Attach {
                source,
                target,
                attributes,
                directory: true,
                ids: ids.clone(),
            }));
            continue;
        };
        steps.push(OuterStep::Overlay(OverlayStep {
            lower: vec![OverlayLayer { source: LayerSource::Taken(source), ids: ids.clone() }],
            upper: Some(UpperLayer::Temporary(number)),
            target: target.clone(),
            by_users: false,
        }));
        steps.push(OuterStep::File(FileStep::Restrict { path: target, attributes: attributes(one.facts.role) }));
    }
    Ok(())
}

/// Device nodes on a disk are of no use in any of them; boot partitions and temporary files are not to hold what gives
/// privileges either.
fn attributes(role: PartitionRole) -> MountFlags {
    let plain = MountFlags { no_dev: true, ..MountFlags::NONE };
    match role {
        PartitionRole::Esp | PartitionRole::Xbootldr => {
            MountFlags { no_suid: true, no_exec: true, no_symfollow: true, ..plain }
        }
        PartitionRole::Tmp => MountFlags { no_suid: true, ..plain },
        PartitionRole::Usr | PartitionRole::Home | PartitionRole::Srv | PartitionRole::Var => plain,
    }
}
