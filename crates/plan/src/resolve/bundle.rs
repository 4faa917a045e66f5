//! What only an OCI bundle can ask for.

use super::Context;
use crate::{FileStep, InnerStep, MountFlags};

/// Kernel parameters, while `/proc/sys` can still be written.
pub(super) fn parameters(context: &Context<'_>, steps: &mut Vec<InnerStep>) {
    for (path, value) in &context.spec.bundle().sysctls {
        steps.push(InnerStep::SetParameter { path: path.clone(), value: value.clone() });
    }
}

/// What is closed, when everything else is in place.
pub(super) fn paths(context: &Context<'_>, steps: &mut Vec<FileStep>) {
    let bundle = context.spec.bundle();
    for one in &bundle.restricted {
        let attributes =
            MountFlags { no_suid: one.no_suid, no_dev: one.no_dev, no_exec: one.no_exec, ..MountFlags::NONE };
        steps.push(FileStep::Restrict { path: one.path.clone(), attributes });
    }
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
