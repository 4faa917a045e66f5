//! How a bundle and the command line go together: as a settings file does, and the bundle's own things.

use super::ProgramSets;
use crate::{SpecPatch, settings};

/// What the command line says over what the bundle says. What is one thing is decided by the command line alone where
/// it speaks of it: the program, the users, all mounts, all variables, the filter of system calls. Resource limits and
/// properties are decided one by one, and capabilities are added to the bundle's and taken from them.
pub(crate) fn combine(mut patch: SpecPatch, mut bundle: SpecPatch) -> SpecPatch {
    let mut extra = bundle.bundle.take().unwrap_or_default();
    if patch.user.is_some() {
        extra.user = None;
    }
    // They are about the bundle's mounts.
    if patch.mounts.is_some() {
        extra.changes.clear();
    }
    if patch.private_network.is_some() {
        extra.network = None;
    }
    if patch.system_call_filter.is_some() {
        extra.system_calls = None;
    }
    if let Some(sets) = &mut extra.program_sets {
        capabilities(&mut patch, &mut bundle, sets);
    }
    // Below the stub init runs the bundle's program; an init system is another one.
    if patch.boot != Some(true) && patch.arguments.is_none() {
        patch.arguments = bundle.arguments.take();
    }
    // The later ones win.
    if let Some(properties) = bundle.properties.take() {
        patch.properties = Some(properties.into_iter().chain(patch.properties.into_iter().flatten()).collect());
    }
    // The bundle says what its files are for its own range.
    if patch.private_users.is_some() {
        bundle.ownership = None;
    }
    patch.bundle = Some(extra);
    settings::below(patch, bundle)
}

/// What is added can be used, what is taken is in no set any more, and more ambient ones are beside the bundle's.
fn capabilities(patch: &mut SpecPatch, bundle: &mut SpecPatch, sets: &mut ProgramSets) {
    let (plus, minus) = (patch.capabilities.unwrap_or_default(), patch.drop_capabilities.unwrap_or_default());
    let asked = patch.ambient_capabilities.unwrap_or_default();
    let ambient = bundle.ambient_capabilities.take().unwrap_or_default();
    patch.ambient_capabilities = Some(ambient.without(minus).union(asked));
    sets.permitted = sets.permitted.union(plus).without(minus).union(asked);
    sets.effective = sets.effective.union(plus).without(minus).union(asked);
    sets.inheritable = sets.inheritable.without(minus).union(asked);
}
