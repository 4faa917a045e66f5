//! What the payload may use.

use super::value::integer;
use super::{Argument, Effect, Given, Merge, OptionRow, Problem, ValueKind, anyone, trusted};
use crate::{Personality, Property, Resource, Rlimit, SpecPatch};

const BASE: OptionRow = OptionRow::BASE;

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "rlimit",
        argument: Argument::Required("NAME=SOFT[:HARD]"),
        setting: trusted("Exec", "Limit*"),
        merge: Merge::ByName,
        kind: ValueKind::Rlimit,
        lists: true,
        help: "Limit a resource",
        details: "A limit of getrlimit(2), such as RLIMIT_NOFILE, with numbers or infinity, sizes and times \
                  also with units such as K, M, G or min. One value is both limits. \
                  Where nothing is said, the limits are those that the kernel gives to a first process. Some count by user: without users \
                  of its own, the container shares them with the host.",
        effect: Effect::Patch(rlimit),
        ..BASE
    },
    OptionRow {
        long: "oom-score-adjust",
        argument: Argument::Required("N"),
        setting: trusted("Exec", "OOMScoreAdjust"),
        help: "How soon it is killed when memory runs out",
        details: "From -1000, never, to 1000, first. See proc_pid_oom_score_adj(5).",
        effect: Effect::Patch(oom_score_adjust),
        ..BASE
    },
    OptionRow {
        long: "cpu-affinity",
        argument: Argument::Required("LIST"),
        setting: trusted("Exec", "CPUAffinity"),
        help: "The processors it may use",
        details: "Numbers and ranges of numbers with commas between them, such as 0,2-3. The last one counts; an \
                  empty value takes it back.",
        effect: Effect::Patch(cpu_affinity),
        ..BASE
    },
    OptionRow {
        long: "personality",
        argument: Argument::Required("ARCH"),
        setting: anyone("Exec", "Personality"),
        kind: ValueKind::Words(&["x86", "x86-64"]),
        help: "The machine that uname tells",
        details: "x86 for 32 bits on a machine with 64.",
        effect: Effect::Patch(personality),
        ..BASE
    },
    OptionRow {
        long: "memory",
        argument: Argument::Required("SIZE"),
        own: true,
        help: "How much memory it may use",
        details: "A size such as 512M or 2G, a share of the host's memory such as 25%, or infinity. When it is used up, \
                  processes of the container are killed. The same as --property=MemoryMax=. An option of redd alone.",
        effect: Effect::Patch(memory),
        ..BASE
    },
    OptionRow {
        long: "cpus",
        argument: Argument::Required("NUMBER"),
        own: true,
        help: "The time of how many processors it may use",
        details: "A number such as 2 or 0.5. The same as --property=CPUQuota=, which takes it in per cent. An option of \
                  redd alone.",
        effect: Effect::Patch(cpus),
        ..BASE
    },
    OptionRow {
        long: "pids",
        argument: Argument::Required("NUMBER"),
        own: true,
        help: "How many processes and threads it may have",
        details: "A number, a share of what the host may have such as 10%, or infinity. The same as \
                  --property=TasksMax=. An option of redd alone.",
        effect: Effect::Patch(pids),
        ..BASE
    },
];

fn rlimit(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let Some((name, limit)) = given.text()?.split_once('=') else {
        return Err(Problem::invalid("it is not of the form NAME=SOFT[:HARD]"));
    };
    let resource: Resource = name.parse().map_err(Problem::invalid)?;
    let limit = Rlimit::parse(resource, limit).map_err(Problem::invalid)?;
    patch.rlimits.get_or_insert_default().insert(resource, limit);
    Ok(())
}

fn oom_score_adjust(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    let number = integer(given.text()?).and_then(|number| i32::try_from(number).ok());
    match number {
        Some(number) if (-1000..=1000).contains(&number) => patch.oom_score_adjust = Some(number),
        _ => return Err(Problem::invalid("it is no number from -1000 to 1000")),
    }
    Ok(())
}

fn cpu_affinity(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.cpu_affinity = given.parse_or_reset()?;
    Ok(())
}

fn personality(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.personality = Some(given.one_of(&[("x86", Personality::X86), ("x86-64", Personality::X86_64)])?);
    Ok(())
}

fn memory(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.memory = Some(Property::memory(given.text()?).map_err(Problem::invalid)?);
    Ok(())
}

fn cpus(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.cpus = Some(Property::cpus(given.text()?).map_err(Problem::invalid)?);
    Ok(())
}

fn pids(patch: &mut SpecPatch, given: &Given<'_>) -> Result<(), Problem> {
    patch.pids = Some(Property::pids(given.text()?).map_err(Problem::invalid)?);
    Ok(())
}
