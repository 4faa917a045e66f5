//! What the payload may do.

use super::{Argument, Effect, Given, Merge, OptionRow, Problem, ValueKind, anyone, beside, only_away, trusted};
use crate::{CapabilitySet, FilterItem, Refusal, SpecPatch, errno};

const BASE: OptionRow = OptionRow::BASE;

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
        kind: ValueKind::SomeCapabilities,
        lists: true,
        help: "Pass these capabilities on to a program that is not root",
        details: "Put in the inheritable and ambient sets of the program, so that a user chosen by --uid= has them, and \
                  what that user executes. They must be among those that --capability= and --drop-capability= leave. \
                  Excludes --boot.",
        effect: Effect::Patch(ambient_capability),
        ..BASE
    },
    OptionRow {
        long: "no-new-privileges",
        argument: Argument::Required("BOOL"),
        setting: only_away("Exec", "NoNewPrivileges", |said| said.no_new_privileges == Some(false)),
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
                  May be used more than once; what is taken out stays out. A call that is taken out fails with EPERM; \
                  with another error where its name is followed by a colon and the name or the number of that, such \
                  as ~mount:EACCES, and :kill ends the process. A name that no architecture knows changes nothing, \
                  and is told.",
        effect: Effect::Patch(system_call_filter),
        ..BASE
    },
    OptionRow {
        long: "restrict-address-families",
        argument: Argument::Required("[~]FAMILY..."),
        setting: beside("Exec", "RestrictAddressFamilies", both_families),
        merge: Merge::List,
        help: "Allow families of sockets, or refuse them (~)",
        details: "Names such as AF_INET, with spaces between them: sockets of other families cannot be made, socket(2) \
                  fails with EAFNOSUPPORT. With ~ in front, those that are named cannot be made. none stands for a \
                  list without any. May be used more than once; what is refused stays refused. An empty value takes \
                  back what was said before. Pairs of socketpair(2) and sockets that are passed in can be used. Where \
                  anything is refused, so is io_uring_setup(2), which could make sockets of any family, and for \
                  32-bit programs the old way to make sockets, by socketcall(2).",
        effect: Effect::Patch(restrict_address_families),
        ..BASE
    },
    OptionRow {
        long: "selinux-context",
        short: Some('Z'),
        argument: Argument::Required("LABEL"),
        help: "The SELinux label of the processes",
        details: "A label as selinux(8) describes it. Refused where the kernel has no SELinux.",
        effect: Effect::Patch(selinux_context),
        ..BASE
    },
    OptionRow {
        long: "selinux-apifs-context",
        short: Some('L'),
        argument: Argument::Required("LABEL"),
        help: "The SELinux label of the kernel's file systems",
        details: "The label of the files of the temporary file systems and terminals that every container gets; see \
                  selinux(8). Refused where the kernel has no SELinux.",
        effect: Effect::Patch(selinux_apifs_context),
        ..BASE
    },
];

fn capabilities(given: &Given<'_>) -> Result<CapabilitySet, Problem> {
    let mut set = CapabilitySet::EMPTY;
    for name in given.text()?.split(',').filter(|name| !name.is_empty()) {
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
    let items = names.split_whitespace().map(|word| filter_item(allow, word));
    patch.system_call_filter.get_or_insert_default().extend(items);
    Ok(())
}

/// A call or a group, for those that are refused with a suffix that says how. What is none stays whole, as the name of an
/// unknown call, of which the caller is told.
fn filter_item(allow: bool, word: &str) -> FilterItem {
    let refused = word.split_once(':').filter(|_| !allow).and_then(|(name, how)| {
        let refusal = match how {
            "kill" => Refusal::Kill,
            how => Refusal::Errno(errno::number(how)?),
        };
        Some(FilterItem { allow, name: name.to_owned(), refusal: Some(refusal) })
    });
    refused.unwrap_or_else(|| FilterItem { allow, name: word.to_owned(), refusal: None })
}

fn ambient_capability(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let set = capabilities(given)?;
    if set == CapabilitySet::ALL {
        return Err(Problem::invalid("all is not for this option; name those that the program is to have"));
    }
    patch.ambient_capabilities = Some(patch.ambient_capabilities.unwrap_or_default().union(set));
    Ok(())
}

fn restrict_address_families(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let mut families = patch.address_families.unwrap_or_default();
    families
        .add(given.text()?)
        .map_err(|word| Problem::Invalid(format!("{word:?} is no family of sockets, such as AF_INET")))?;
    patch.address_families = Some(families);
    Ok(())
}

/// What either of them refuses is refused.
fn both_families(file: &mut SpecPatch, command_line: &mut SpecPatch) -> Option<&'static str> {
    if let (Some(file), Some(said)) = (&mut file.address_families, &mut command_line.address_families)
        && let (Some(one), Some(other)) = (file.allow, said.allow)
    {
        (file.allow, said.allow) = (Some(one.both(other)), None);
    }
    None
}

fn label(given: &Given<'_>) -> Result<String, Problem> {
    let text = given.text()?;
    match text.contains(|letter: char| letter.is_control()) || text.is_empty() {
        true => Err(Problem::invalid("it is no label")),
        false => Ok(text.to_owned()),
    }
}

fn selinux_context(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.selinux_context = Some(label(given)?);
    Ok(())
}

fn selinux_apifs_context(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.selinux_apifs_context = Some(label(given)?);
    Ok(())
}
