//! Names.

use uuid::Uuid;

use super::{Argument, Effect, Given, OptionRow, Problem, ValueKind, anyone, trusted};
use crate::SpecPatch;

const BASE: OptionRow = OptionRow::BASE;

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "machine",
        short: Some('M'),
        argument: Argument::Required("NAME"),
        kind: ValueKind::Machine,
        help: "The machine's name",
        details: "Up to 64 letters, digits, dots and dashes. It is also the host name inside. Without it, the last part \
                  of the tree's path is used, with a random suffix in case of --ephemeral, and for / the name of the \
                  host. An empty value takes it back.",
        effect: Effect::Patch(machine),
        ..BASE
    },
    OptionRow {
        long: "hostname",
        argument: Argument::Required("NAME"),
        setting: anyone("Exec", "Hostname"),
        help: "The host name inside",
        details: "Where it is to be another than the machine's name. An empty value takes it back.",
        effect: Effect::Patch(hostname),
        ..BASE
    },
    OptionRow {
        long: "uuid",
        argument: Argument::Required("UUID"),
        setting: trusted("Exec", "MachineID"),
        help: "The machine's id",
        details: "32 hexadecimal digits, with or without dashes, not all zero. Counts where the tree has no machine id \
                  of its own yet: /etc/machine-id is missing or empty, or says uninitialized; or --volatile=yes hides it. \
                  Without it such a machine has another id each time. An init system writes it to /etc/machine-id.",
        effect: Effect::Patch(uuid),
        ..BASE
    },
];

fn machine(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.machine = given.parse_or_reset()?;
    Ok(())
}

fn hostname(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.hostname = given.parse_or_reset()?;
    Ok(())
}

fn uuid(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let text = given.text()?;
    let id = Some(text).filter(|text| matches!(text.len(), 32 | 36)).and_then(|text| Uuid::try_parse(text).ok());
    match id {
        Some(id) if !id.is_nil() => patch.uuid = Some(id),
        Some(_) => return Err(Problem::invalid("it is all zeros, which is no id")),
        None => return Err(Problem::invalid("it is not 32 hexadecimal digits, with or without dashes")),
    }
    Ok(())
}
