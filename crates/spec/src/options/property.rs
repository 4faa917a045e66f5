//! The unit and the registration.

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind};
use crate::{Property, Register, SpecPatch};

const BASE: OptionRow = OptionRow::BASE;

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "slice",
        short: Some('S'),
        argument: Argument::Required("SLICE"),
        help: "The slice of the container's unit",
        details: "Instead of machine.slice. The ending may be left out, and what cannot be in a unit's name is escaped. \
                  Where no service manager runs there are no slices, and this is refused; --keep-unit makes it mean \
                  nothing.",
        effect: Effect::Patch(slice),
        ..BASE
    },
    OptionRow {
        long: "property",
        argument: Argument::Required("NAME=VALUE"),
        merge: super::Merge::List,
        help: "Set a property of the container's unit",
        details: "As systemctl(1) takes them with set-property: those of systemd.resource-control(5), systemd.scope(5), \
                  systemd.kill(5) and systemd.unit(5). May be used more than once. Where no service manager runs, the \
                  limits of memory, processors, tasks, disks and devices are put on the container's control group; what \
                  only a service manager can do is refused. --keep-unit makes it mean nothing.",
        effect: Effect::Patch(property),
        ..BASE
    },
    OptionRow {
        long: "register",
        argument: Argument::Required("BOOL|auto"),
        kind: ValueKind::Words(&["yes", "no", "auto"]),
        help: "Whether the machine is registered",
        details: "With systemd-machined, so that machinectl(1) shows it and can be used with it. yes: or else it does not \
                  start. auto, the default: where a service manager runs and that works.",
        effect: Effect::Patch(register),
        ..BASE
    },
    OptionRow {
        long: "keep-unit",
        help: "Stay in the unit that redd was started in",
        details: "No unit is made for the container. For services that run one container.",
        effect: Effect::Patch(keep_unit),
        ..BASE
    },
];

fn register(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.register = Some(match (given.text()?, given.boolean()) {
        ("" | "auto", _) => Register::Auto,
        (_, Ok(false)) => Register::No,
        (_, Ok(true)) => Register::Yes,
        _ => return Err(Problem::invalid("it is none of yes, no, auto")),
    });
    Ok(())
}

fn keep_unit(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.keep_unit = Some(true);
    Ok(())
}

fn slice(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.slice = Some(given.parse()?);
    Ok(())
}

fn property(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.properties.get_or_insert_default().push(Property::parse(given.text()?).map_err(Problem::invalid)?);
    Ok(())
}
