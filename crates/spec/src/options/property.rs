//! The unit and the registration.

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind};
use crate::{Register, SpecPatch};

const BASE: OptionRow = OptionRow::BASE;
const SCOPES: Effect = Effect::Later("the unit that the container runs in cannot be chosen yet");

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "slice",
        short: Some('S'),
        argument: Argument::Required("SLICE"),
        help: "The slice of the container's unit",
        details: "Instead of machine.slice.",
        effect: SCOPES,
        ..BASE
    },
    OptionRow {
        long: "property",
        argument: Argument::Required("NAME=VALUE"),
        merge: super::Merge::List,
        help: "Set a property of the container's unit",
        details: "As systemctl(1) takes them with set-property.",
        effect: SCOPES,
        ..BASE
    },
    OptionRow {
        long: "register",
        argument: Argument::Required("BOOL|auto"),
        kind: ValueKind::Words(&["yes", "no", "auto"]),
        help: "Whether the machine is registered",
        details: "yes: or else it does not start. auto, the default: where that works. This version registers no \
                  machine, so auto is the same as no, and yes is refused.",
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
        (_, Ok(true)) => return Err(Problem::Later("there is no registry of machines yet; use no or auto")),
        _ => return Err(Problem::invalid("it is none of yes, no, auto")),
    });
    Ok(())
}

fn keep_unit(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.keep_unit = Some(true);
    Ok(())
}
