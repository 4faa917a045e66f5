//! What the payload may do.

use super::{Argument, Effect, Given, Merge, OptionRow, Problem, ValueKind, anyone, trusted};
use crate::{CapabilitySet, FilterItem, SpecPatch};

const BASE: OptionRow = OptionRow::BASE;
const LABELS: Effect = Effect::Later("nothing is labelled for SELinux yet");

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "capability",
        argument: Argument::Required("CAP,..."),
        setting: trusted("Exec", "Capability"),
        merge: Merge::Union,
        kind: ValueKind::Capabilities,
        lists: true,
        help: "Keep these capabilities too",
        details: "Names of capabilities(7) with commas between them, or all. Added to those that a container keeps \
                  anyway, of which --dry-run shows the list.",
        effect: Effect::Patch(capability),
        ..BASE
    },
    OptionRow {
        long: "drop-capability",
        argument: Argument::Required("CAP,..."),
        setting: anyone("Exec", "DropCapability"),
        merge: Merge::Union,
        kind: ValueKind::Capabilities,
        lists: true,
        help: "Do not keep these capabilities",
        details: "As --capability=, and stronger than that.",
        effect: Effect::Patch(drop_capability),
        ..BASE
    },
    OptionRow {
        long: "ambient-capability",
        argument: Argument::Required("CAP,..."),
        setting: trusted("Exec", "AmbientCapability"),
        merge: Merge::Union,
        kind: ValueKind::Capabilities,
        help: "Pass these capabilities on to a program that is not root",
        details: "Put in the inheritable and ambient sets.",
        effect: Effect::Later("the ambient set stays empty"),
        ..BASE
    },
    OptionRow {
        long: "no-new-privileges",
        argument: Argument::Required("BOOL"),
        setting: anyone("Exec", "NoNewPrivileges"),
        kind: ValueKind::Boolean,
        help: "Nothing that it executes gets more privileges",
        details: "The set-user-id bit and file capabilities have no effect, see PR_SET_NO_NEW_PRIVS(2const). Off where \
                  nothing is said.",
        effect: Effect::Patch(no_new_privileges),
        ..BASE
    },
    OptionRow {
        long: "system-call-filter",
        argument: Argument::Required("[~]CALL..."),
        setting: trusted("Exec", "SystemCallFilter"),
        merge: Merge::List,
        kind: ValueKind::SystemCalls,
        help: "Allow system calls, or refuse them (~)",
        details: "Names of system calls and of their groups, which begin with @, with spaces between them. They are \
                  added to the default list of allowed calls; where the value begins with ~ they are taken out of it. \
                  May be used more than once; what is taken out stays out.",
        effect: Effect::Patch(system_call_filter),
        ..BASE
    },
    OptionRow {
        long: "restrict-address-families",
        argument: Argument::Required("[~]FAMILY..."),
        setting: anyone("Exec", "RestrictAddressFamilies"),
        merge: Merge::List,
        help: "Allow families of sockets, or refuse them (~)",
        details: "Names such as AF_INET, with spaces between them.",
        effect: Effect::Later("the arguments of socket(2) are not looked at yet"),
        ..BASE
    },
    OptionRow {
        long: "selinux-context",
        short: Some('Z'),
        argument: Argument::Required("LABEL"),
        help: "The SELinux label of the processes",
        details: "See selinux(8).",
        effect: LABELS,
        ..BASE
    },
    OptionRow {
        long: "selinux-apifs-context",
        short: Some('L'),
        argument: Argument::Required("LABEL"),
        help: "The SELinux label of the kernel's file systems",
        details: "See selinux(8).",
        effect: LABELS,
        ..BASE
    },
];

fn capabilities(given: &Given<'_>) -> Result<CapabilitySet, Problem> {
    let mut set = CapabilitySet::EMPTY;
    for name in given.text()?.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let one = if name == "all" { Some(CapabilitySet::ALL) } else { CapabilitySet::named(name) };
        let one = one.ok_or_else(|| Problem::Invalid(format!("{name:?} is no capability; \"help\" lists them")))?;
        set = set.union(one);
    }
    Ok(set)
}

fn capability(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.capabilities = Some(patch.capabilities.unwrap_or_default().union(capabilities(given)?));
    Ok(())
}

fn drop_capability(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.drop_capabilities = Some(patch.drop_capabilities.unwrap_or_default().union(capabilities(given)?));
    Ok(())
}

fn no_new_privileges(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.no_new_privileges = Some(given.boolean()?);
    Ok(())
}

fn system_call_filter(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let text = given.text()?;
    let (allow, names) = text.strip_prefix('~').map_or((true, text), |names| (false, names));
    let items = names.split_whitespace().map(|name| FilterItem { allow, name: name.to_owned() });
    patch.system_call_filter.get_or_insert_default().extend(items);
    Ok(())
}
