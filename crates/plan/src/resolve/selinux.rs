//! `--selinux-context=` and `--selinux-apifs-context=`.

use super::{Context, Error};
use crate::{FileStep, FileSystem, InnerStep, OuterStep};

/// Labels the file systems that are made for the container alone.
pub(super) fn label(context: &Context<'_>, outer: &mut [OuterStep], inner: &mut [InnerStep]) -> Result<(), Error> {
    let security = context.spec.security();
    let wanted = [
        ("--selinux-context=", security.selinux_context.is_some()),
        ("--selinux-apifs-context=", security.selinux_apifs_context.is_some()),
    ];
    if let (false, Some((option, _))) = (context.facts.host.selinux, wanted.iter().find(|(_, wanted)| *wanted)) {
        return Err(Error::NoSelinux(option));
    }
    let Some(label) = &security.selinux_apifs_context else { return Ok(()) };
    let outside = outer.iter_mut().filter_map(|step| if let OuterStep::File(step) = step { Some(step) } else { None });
    let inside = inner.iter_mut().filter_map(|step| if let InnerStep::File(step) = step { Some(step) } else { None });
    for step in outside.chain(inside) {
        if let FileStep::Mount { file_system: FileSystem::Tmpfs | FileSystem::Devpts, options, .. } = step {
            options.push(format!("context={label}"));
        }
    }
    Ok(())
}
