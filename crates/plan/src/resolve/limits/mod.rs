//! Properties where no service manager carries them out: limits on the container's own control groups, through whichever
//! version has the controller (<https://docs.kernel.org/admin-guide/cgroup-v2.html>,
//! <https://docs.kernel.org/admin-guide/cgroup-v1/index.html>).

mod devices;
#[cfg(test)]
mod tests;
mod v1;
mod v2;
mod wanted;

use std::collections::BTreeSet;

use super::{Context, Error, unit};
use crate::{DeviceAccess, GroupFile, HierarchyGroup, LaunchStep, LimitFacts};

pub(super) use devices::named;
use wanted::Wanted;

/// What becomes of the properties.
#[derive(Debug, Default)]
pub(super) struct Resolved {
    /// After the control group was made.
    pub(super) steps: Vec<LaunchStep>,
    /// Devices beside the standard ones.
    pub(super) devices: DeviceAccess,
}

/// A limit for one of the kernel's files.
struct Limit {
    /// The property that asks for it.
    property: &'static str,
    /// The controller, by its name in cgroup2.
    controller: &'static str,
    /// The file and the value in cgroup2.
    unified: Vec<(&'static str, String)>,
    /// Those in version 1, or why there are none.
    legacy: Result<Vec<(&'static str, String)>, &'static str>,
}

pub(super) fn resolve(context: &Context<'_>) -> Result<Resolved, Error> {
    let mut resolved = Resolved::default();
    let keep = context.spec.property().keep_unit;
    if context.spec.bundle().slice.is_some() && !keep && !context.facts.host.service_manager {
        return Err(Error::NoSlice);
    }
    resolved.devices.changes.clone_from(&context.spec.bundle().device_rules);
    if keep || unit::asked(context).next().is_none() {
        let slice = context.spec.property().slice.is_some() && !keep && !context.facts.host.service_manager;
        return if slice { Err(Error::NoServiceManager("--slice".into())) } else { Ok(resolved) };
    }
    let Some(facts) = &context.facts.limits else { return Ok(resolved) };
    let changes = resolved.devices.changes;
    resolved.devices = DeviceAccess { changes, ..devices::resolve(unit::asked(context), facts)? };
    if context.facts.host.service_manager {
        return Ok(resolved);
    }
    if context.spec.property().slice.is_some() {
        return Err(Error::NoServiceManager("--slice".into()));
    }
    let wanted = Wanted::of(unit::asked(context), facts)?;
    resolved.steps = steps(&wanted, facts)?;
    Ok(resolved)
}

fn steps(wanted: &Wanted, facts: &LimitFacts) -> Result<Vec<LaunchStep>, Error> {
    let mut unified = Vec::new();
    let mut controllers = BTreeSet::new();
    let mut hierarchies: Vec<HierarchyGroup> = Vec::new();
    for limit in v2::limits(wanted).into_iter().chain(v2::accounting(wanted)) {
        if facts.unified.iter().any(|name| name == limit.controller) {
            controllers.insert(limit.controller);
            unified.extend(limit.unified.into_iter().map(|(file, value)| GroupFile::new(limit.property, file, value)));
            continue;
        }
        let legacy = v1::controller(limit.controller);
        let hierarchy = facts.hierarchies.iter().find(|one| one.controllers.iter().any(|name| name == legacy));
        let Some(hierarchy) = hierarchy else {
            return Err(Error::NoController { property: limit.property.into(), controller: limit.controller });
        };
        let files = limit.legacy.map_err(|reason| Error::Version1 { property: limit.property.into(), reason })?;
        let files: Vec<_> =
            files.into_iter().map(|(file, value)| GroupFile::new(limit.property, file, value)).collect();
        let at = hierarchies.iter().position(|group| group.own == hierarchy.own).unwrap_or_else(|| {
            hierarchies.push(HierarchyGroup::new(hierarchy));
            hierarchies.len() - 1
        });
        let group = &mut hierarchies[at];
        if !v1::is_inherited(legacy) {
            group.payload.extend(files.clone());
        }
        group.machine.extend(files);
    }
    let mut steps = Vec::new();
    if !controllers.is_empty() {
        let controllers = controllers.into_iter().map(str::to_owned).collect();
        steps.push(LaunchStep::LimitGroup { controllers, files: unified });
    }
    steps.extend(hierarchies.into_iter().map(LaunchStep::LimitHierarchy));
    Ok(steps)
}
