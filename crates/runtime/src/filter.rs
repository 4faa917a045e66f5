//! The system call filters of a container, compiled before its first process is made.

use plan::Limits;
use spec::oci::{CallAction, CallComparison, CallInterface, CallProfile, CallRule};
use sys::seccomp::{Flags, Instruction};

/// Why there is no filter.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The container's usual one.
    #[error(transparent)]
    Usual(#[from] seccomp::Error),
    /// The bundle's.
    #[error("linux.seccomp of the bundle is not carried out")]
    Bundle(#[source] seccomp::Error),
    /// A rule of the bundle's.
    #[error(
        "linux.seccomp.syscalls[{index}].names has a name that the default action would let through: take it out, or \
         choose a stricter default"
    )]
    Rule {
        /// Which rule.
        index: usize,
        /// Why.
        source: seccomp::Error,
    },
}

/// A program for the kernel, and how it is loaded.
#[derive(Debug)]
pub struct Filter {
    /// The program.
    pub program: Vec<Instruction>,
    /// How.
    pub flags: Flags,
}

/// The filters of a container.
#[derive(Debug)]
pub struct Filters {
    /// The usual one, with the changes that were asked for. With a profile, what of them it does not speak of.
    pub usual: Option<Filter>,
    /// The bundle's.
    pub profile: Option<Filter>,
    /// Whether the usual one lets through what a stage inside does before the payload is executed.
    early: bool,
}

impl Filters {
    /// The usual one, if it can be loaded before the last stage is done.
    pub(crate) fn early(&self) -> Option<&Filter> {
        self.usual.as_ref().filter(|_| self.early)
    }
}

/// Compiles them. Of names that are unknown a person is told even with `--quiet`: what a misspelled one was to refuse is
/// allowed.
///
/// # Errors
/// Filters that are too long, profiles that cannot be carried out.
pub(crate) fn compile(limits: &Limits, say: &dyn Fn(&str)) -> Result<Filters, Error> {
    let Some(profile) = &limits.call_profile else {
        let policy = seccomp::Policy::container_default(limits.capabilities.bits(), &edits(limits));
        for name in policy.unknown() {
            say(&format!(
                "{name:?} in --system-call-filter= is no system call or group that is known, and has no effect."
            ));
        }
        let policy = changed(limits, policy);
        let early = policy.lets_the_usual_through();
        return Ok(Filters { usual: Some(usual(&policy)?), profile: None, early });
    };
    // It takes the place of the list of calls, but not of what is said of sockets and disks.
    let usual = (limits.suppress_sync || !limits.address_families.is_open())
        .then(|| {
            let all = seccomp::Edit { allow: true, name: "@known".to_owned(), refusal: None };
            usual(&changed(limits, seccomp::Policy::container_default(u64::MAX, &[all])))
        })
        .transpose()?;
    Ok(Filters { usual, profile: Some(bundle(profile)?), early: false })
}

fn changed(limits: &Limits, policy: seccomp::Policy) -> seccomp::Policy {
    policy.with_suppressed_sync(limits.suppress_sync).with_families(families(&limits.address_families))
}

fn usual(policy: &seccomp::Policy) -> Result<Filter, Error> {
    let program = seccomp::compile(policy, seccomp::Arch::native())?;
    Ok(Filter { program: for_kernel(&program), flags: Flags::default() })
}

fn edits(limits: &Limits) -> Vec<seccomp::Edit> {
    let edit = |item: &spec::FilterItem| seccomp::Edit {
        allow: item.allow,
        name: item.name.clone(),
        refusal: item.refusal.map(refusal),
    };
    limits.system_call_filter.iter().map(edit).collect()
}

fn refusal(refusal: spec::Refusal) -> seccomp::Refusal {
    match refusal {
        spec::Refusal::Errno(number) => seccomp::Refusal::Errno(number),
        spec::Refusal::Kill => seccomp::Refusal::Kill,
    }
}

fn families(families: &spec::AddressFamilies) -> Option<seccomp::Families> {
    let deny = families.deny.bits();
    (!families.is_open()).then(|| match families.allow {
        Some(allow) => seccomp::Families { known: allow.bits() & !deny, others: false },
        None => seccomp::Families { known: !deny, others: true },
    })
}

/// The native interface is always open, and of those that are named those that this processor has.
fn bundle(profile: &CallProfile) -> Result<Filter, Error> {
    let mut compiled = seccomp::Profile::new(verdict(profile.default));
    for (index, rule) in profile.rules.iter().enumerate() {
        let conditions: Vec<_> = conditions(rule).collect();
        for name in &rule.names {
            compiled.add(name, &conditions, verdict(rule.action)).map_err(|source| Error::Rule { index, source })?;
        }
    }
    let named: Vec<_> = profile.interfaces.iter().copied().map(interface).collect();
    let native = seccomp::Arch::native().iter().enumerate();
    let arches: Vec<_> =
        native.filter(|(place, arch)| *place == 0 || named.contains(arch)).map(|(_, arch)| *arch).collect();
    let program = compiled.compile(&arches).map_err(Error::Bundle)?;
    let flags = Flags { log: profile.log, allow_speculation: profile.allow_speculation };
    Ok(Filter { program: for_kernel(&program), flags })
}

fn conditions(rule: &CallRule) -> impl Iterator<Item = seccomp::Condition> {
    rule.conditions.iter().map(|one| {
        let value = one.value;
        let comparison = match one.comparison {
            CallComparison::NotEqual => seccomp::Comparison::NotEqual(value),
            CallComparison::Less => seccomp::Comparison::Less(value),
            CallComparison::LessOrEqual => seccomp::Comparison::LessOrEqual(value),
            CallComparison::Equal => seccomp::Comparison::Equal(value),
            CallComparison::GreaterOrEqual => seccomp::Comparison::GreaterOrEqual(value),
            CallComparison::Greater => seccomp::Comparison::Greater(value),
            CallComparison::Masked => seccomp::Comparison::Masked { mask: value, value: one.masked },
        };
        seccomp::Condition { argument: one.argument, comparison }
    })
}

fn verdict(action: CallAction) -> seccomp::Verdict {
    match action {
        CallAction::KillProcess => seccomp::Verdict::KillProcess,
        CallAction::KillThread => seccomp::Verdict::KillThread,
        CallAction::Trap => seccomp::Verdict::Trap,
        CallAction::Errno(number) => seccomp::Verdict::Errno(number),
        CallAction::Trace(number) => seccomp::Verdict::Trace(number),
        CallAction::Log => seccomp::Verdict::Log,
        CallAction::Allow => seccomp::Verdict::Allow,
    }
}

fn interface(interface: CallInterface) -> seccomp::Arch {
    match interface {
        CallInterface::X86_64 => seccomp::Arch::X86_64,
        CallInterface::X86 => seccomp::Arch::X86,
        CallInterface::X32 => seccomp::Arch::X32,
        CallInterface::Aarch64 => seccomp::Arch::Aarch64,
        CallInterface::Arm => seccomp::Arch::Arm,
    }
}

fn for_kernel(program: &[seccomp::Instruction]) -> Vec<Instruction> {
    program.iter().map(|one| Instruction { code: one.code, jt: one.jt, jf: one.jf, k: one.k }).collect()
}

#[cfg(test)]
mod tests {
    use spec::{AddressFamilies, FamilySet};

    use super::families;

    #[test]
    fn families_are_those_that_are_allowed_and_not_denied() {
        let set = |names: &[&str]| {
            let named = |name: &&str| FamilySet::named(name).expect("a family");
            names.iter().map(named).fold(FamilySet::default(), FamilySet::union)
        };
        let restricted = |allow: Option<&[&str]>, deny: &[&str]| {
            let families = families(&AddressFamilies { allow: allow.map(set), deny: set(deny) });
            families.map(|families| (families.known, families.others))
        };
        let (unix, inet) = (1 << 1, 1 << 2);
        assert_eq!(restricted(None, &[]), None);
        assert_eq!(restricted(Some(&[]), &[]), Some((0, false)), "none");
        assert_eq!(restricted(Some(&["AF_UNIX", "AF_INET"]), &[]), Some((unix | inet, false)));
        assert_eq!(restricted(None, &["AF_INET"]), Some((!inet, true)), "what has no name is not denied");
        assert_eq!(restricted(Some(&["AF_UNIX", "AF_INET"]), &["AF_INET"]), Some((unix, false)), "what is denied wins");
        assert_eq!(restricted(Some(&["AF_UNIX"]), &["AF_INET6"]), Some((unix, false)));
    }
}
