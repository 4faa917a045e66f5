//! `process`: the program, who it is and what it may do.

use std::ffi::OsString;

use super::node::{Node, Object};
use super::{BundleError, BundleSpec, BundleUser, ProgramSets, WindowSize, inside};
use crate::{CapabilitySet, ConsoleMode, Resource, Rlimit, SpecPatch};

pub(super) fn read(node: Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut process = node.object()?;
    if let Some(terminal) = process.take("terminal") {
        patch.console = (!terminal.boolean()?).then_some(ConsoleMode::Pipe);
    } else {
        patch.console = Some(ConsoleMode::Pipe);
    }
    program(&mut process, patch)?;
    let bundle = patch.bundle.get_or_insert_default();
    if let Some(user) = process.take("user") {
        self::user(user, bundle)?;
    }
    if let Some(capabilities) = process.take("capabilities") {
        self::capabilities(capabilities, patch)?;
    }
    if let Some(limits) = process.take("rlimits") {
        for limit in limits.array()? {
            rlimit(limit, patch)?;
        }
    }
    if let Some(node) = process.take("noNewPrivileges") {
        patch.no_new_privileges = Some(node.boolean()?);
    }
    if let Some(node) = process.take("oomScoreAdj") {
        let score = node.signed()?;
        let score = i32::try_from(score).ok().filter(|score| (-1000..=1000).contains(score));
        patch.oom_score_adjust = Some(score.ok_or_else(|| node.error("it is not between -1000 and 1000"))?);
    }
    if let Some(node) = process.take("selinuxLabel") {
        patch.selinux_context = Some(node.text()?.to_owned()).filter(|label| !label.is_empty());
    }
    if let Some(node) = process.take("apparmorProfile")
        && !node.text()?.is_empty()
    {
        return Err(node.refused("no AppArmor profile is applied"));
    }
    if let Some(node) = process.take("consoleSize") {
        patch.bundle.get_or_insert_default().console_size = Some(window_size(node)?);
    }
    process.refuse(&[
        ("commandLine", "this is Linux"),
        ("ioPriority", "the priority is not set"),
        ("scheduler", "the scheduler is not set"),
        ("execCPUAffinity", "nothing is executed later"),
    ])?;
    process.finish()
}

fn program(process: &mut Object, patch: &mut SpecPatch) -> Result<(), BundleError> {
    if let Some(node) = process.take("cwd") {
        patch.chdir = Some(inside(&node)?);
    }
    if let Some(list) = process.take("args") {
        let words = list.array()?;
        let arguments: Vec<_> =
            words.iter().map(|word| Ok(OsString::from(word.text()?))).collect::<Result<_, BundleError>>()?;
        if let Some(first) = words.first()
            && first.text()?.is_empty()
        {
            return Err(first.error("it is no program"));
        }
        patch.arguments = Some(arguments).filter(|arguments| !arguments.is_empty());
    }
    for variable in process.take("env").map(Node::array).transpose()?.unwrap_or_default() {
        let Some((name, value)) = variable.text()?.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            return Err(variable.error("it is no NAME=VALUE"));
        };
        let (name, value) = (OsString::from(name), OsString::from(value));
        let all = patch.environment.get_or_insert_default();
        all.retain(|(known, _)| *known != name);
        all.push((name, value));
    }
    Ok(())
}

/// Without a terminal it says nothing.
fn window_size(node: Node) -> Result<WindowSize, BundleError> {
    let mut size = node.object()?;
    let mut number = |name: &str| {
        let node = size.need(name)?;
        let number = u16::try_from(node.unsigned()?).ok().filter(|number| *number > 0);
        number.ok_or_else(|| node.error("it is not between 1 and 65535"))
    };
    let size_of = WindowSize { rows: number("height")?, columns: number("width")? };
    size.finish()?;
    Ok(size_of)
}

fn user(node: Node, bundle: &mut BundleSpec) -> Result<(), BundleError> {
    let mut user = node.object()?;
    let (uid, gid) = (user.need("uid")?.id()?, user.need("gid")?.id()?);
    let groups = user.take("additionalGids").map(Node::array).transpose()?.unwrap_or_default();
    let groups: Vec<u32> = groups.iter().map(Node::id).collect::<Result<_, _>>()?;
    if let Some(node) = user.take("umask") {
        let mask = u32::try_from(node.unsigned()?).ok().filter(|mask| *mask <= 0o777);
        bundle.umask = Some(mask.ok_or_else(|| node.error("it is above 0777"))?);
    }
    user.refuse(&[("username", "this is Linux; give uid and gid")])?;
    bundle.user = Some(BundleUser { uid, gid, groups });
    user.finish()
}

/// The program is executed with these sets, and the kernel makes its own from them (capabilities(7)).
fn capabilities(node: Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut sets = node.object()?;
    let bounding = set(sets.take("bounding"), None)?;
    let inheritable = set(sets.take("inheritable"), Some(bounding))?;
    let permitted = set(sets.take("permitted"), Some(bounding))?;
    let effective = set(sets.take("effective"), Some(permitted))?;
    let ambient = set(sets.take("ambient"), Some(permitted))?;
    patch.ambient_capabilities = Some(ambient);
    let bundle = patch.bundle.get_or_insert_default();
    bundle.bounding = Some(bounding);
    bundle.program_sets = Some(ProgramSets { effective, permitted, inheritable: inheritable.union(ambient) });
    sets.finish()
}

fn set(node: Option<Node>, within: Option<CapabilitySet>) -> Result<CapabilitySet, BundleError> {
    let mut all = CapabilitySet::EMPTY;
    for name in node.map(Node::array).transpose()?.unwrap_or_default() {
        let text = name.text()?;
        let one = Some(text).filter(|text| text.starts_with("CAP_")).and_then(CapabilitySet::named);
        let one = one.ok_or_else(|| name.error(format!("{text:?} is no capability such as CAP_KILL")))?;
        if within.is_some_and(|set| one.without(set) != CapabilitySet::EMPTY) {
            return Err(name.error(format!("{text} is not in the set that it has to be taken from")));
        }
        all = all.union(one);
    }
    Ok(all)
}

fn rlimit(node: Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut limit = node.object()?;
    let name = limit.need("type")?;
    let resource = name.parsed(|text| match text.starts_with("RLIMIT_") {
        true => text.parse::<Resource>().map_err(|error| error.to_string()),
        false => Err("it does not begin with RLIMIT_".to_owned()),
    })?;
    let (soft, hard) = (limit.need("soft")?, limit.need("hard")?);
    // The kernel's word for no limit, as a number with or without a sign.
    let value = |node: &Node| Ok(node.limit()?.filter(|value| *value != u64::MAX));
    let wanted = Rlimit { soft: value(&soft)?, hard: value(&hard)? };
    if wanted.soft.unwrap_or(u64::MAX) > wanted.hard.unwrap_or(u64::MAX) {
        return Err(soft.error("it is above the hard limit"));
    }
    if patch.rlimits.get_or_insert_default().insert(resource, wanted).is_some() {
        return Err(name.error("the same limit is there twice"));
    }
    limit.finish()
}
