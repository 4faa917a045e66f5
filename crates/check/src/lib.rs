//! Whether a system is ready for containers.
//!
//! Nothing is taken from configuration alone: each feature is tried, in a process of its own, whose namespaces, filters, links
//! and mounts end with it. What the kernel was configured with is shown beside it, for who looks for the reason.
//!
//! | module | looks at |
//! |---|---|
//! | [`start`] | containers: one is started |
//! | `kernel`, `namespaces`, `filters` | what keeps containers apart |
//! | `users`, `subordinate` | user namespaces and ids |
//! | `place`, `storage` | where trees and images are |
//! | `cgroups` | control groups |
//! | `network`, `netlink` | links and packet filters |
//! | `devices`, `limits`, `services`, `audit` | the rest of the host |
//!
//! The caller has one thread: its children go on with a copy of its memory.

mod attempt;
mod audit;
mod caller;
mod cgroups;
mod devices;
mod filters;
mod finding;
mod kernel;
mod limits;
mod namespaces;
mod netlink;
mod network;
mod place;
mod services;
mod setting;
pub mod start;
mod storage;
mod subordinate;
mod users;

pub use caller::Caller;
pub use finding::{Feature, Finding, Need, State, Topic};
pub use start::Engine;

use place::Place;
use setting::Configuration;

/// What all attempts need.
struct Context {
    caller: Caller,
    place: Option<Place>,
    configuration: Option<Configuration>,
}

impl Context {
    /// What was found, with what the configuration says of an option, where it is known.
    fn with_option(&self, option: &str, found: &str) -> String {
        match &self.configuration {
            Some(configuration) => format!("{found}; {}", configuration.shown(option)),
            None => found.to_owned(),
        }
    }

    /// What to do where a part of the kernel is missing that can be a module.
    fn module_advice(&self, option: &str, module: &str) -> String {
        match &self.configuration {
            Some(configuration) if configuration.value(option) == "n" => {
                format!(
                    "This kernel was built without it: use one with CONFIG_{option}=m, as those of distributions are."
                )
            }
            _ => format!(
                "Load the module: modprobe {module}. Where there is none, use a kernel that was built with CONFIG_{option}=m."
            ),
        }
    }

    /// The same for a part of the kernel that has a device.
    fn device_advice(&self, option: &str, module: &str) -> String {
        let in_container = "In a container, bind it from the host (--bind=).";
        match &self.configuration {
            Some(configuration) if configuration.value(option) == "y" => {
                format!("The kernel has it; what is missing is its node in /dev. {in_container}")
            }
            _ => format!("{} {in_container}", self.module_advice(option, module)),
        }
    }
}

/// What dead runs have left, as somebody has found who knows where that is.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    /// The machines they were.
    pub machines: Vec<String>,
    /// What could not be looked at.
    pub errors: Vec<String>,
}

/// All that was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Who asked.
    pub caller: Caller,
    /// Feature by feature, in the order of [`Topic::ALL`].
    pub findings: Vec<Finding>,
}

/// How the main job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// Containers start, with users of their own and without.
    Ready,
    /// They start in one of these ways only.
    Half,
    /// None starts.
    NotReady,
}

impl Report {
    /// Whether the main job works for the caller.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let works = |feature: &Feature| {
            self.findings.iter().any(|finding| finding.feature == feature && finding.state == State::Works)
        };
        match [&start::PLAIN, &start::WITH_USERS].map(works) {
            [true, true] => Readiness::Ready,
            [false, false] => Readiness::NotReady,
            _ => Readiness::Half,
        }
    }
}

static LEFTOVERS: Feature = Feature {
    name: "leftovers",
    topic: Topic::Host,
    need: Need::Optional,
    why: "What runs that were killed have left takes room; the next start of the same tree or machine undoes it, too.",
};

/// Tries everything. What is left is looked for at the end: what checks that were killed have left is gone then.
#[must_use]
pub fn run(engine: &Engine, leftovers: impl FnOnce() -> Leftovers) -> Report {
    let caller = Caller::probe();
    let place = Place::of(&caller);
    let context = Context { caller, place, configuration: Configuration::find() };
    let mut findings = start::findings(&context, engine);
    findings.push(kernel::version(context.configuration.as_ref()));
    findings.extend(namespaces::findings(&context));
    findings.extend(filters::findings(&context));
    findings.extend(users::findings(&context));
    findings.extend(storage::findings(&context));
    findings.extend(cgroups::findings(&context));
    findings.extend(network::findings(&context));
    findings.extend(devices::findings(&context));
    findings.extend(limits::findings(&context));
    findings.push(audit::finding(&context));
    findings.extend(services::findings());
    findings.push(left(&leftovers()));
    Report { caller: context.caller, findings }
}

fn left(leftovers: &Leftovers) -> Finding {
    let names: Vec<String> = leftovers.machines.iter().map(|name| spec::printable(name)).collect();
    match (names.as_slice(), leftovers.errors.first()) {
        ([], None) => LEFTOVERS.is(State::Works, "nothing is left of runs that were killed"),
        ([], Some(error)) => LEFTOVERS
            .is(State::Unknown, spec::printable(error))
            .advise("Only root can look everywhere: run this as root."),
        (names, _) => LEFTOVERS
            .is(State::Limited, format!("of machines that were killed: {}", names.join(", ")))
            .advise(format!("Remove it, and that of all others: redd spawn --cleanup --machine={}", names[0])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_that_of_the_starts() {
        let report = |plain, users| Report {
            caller: Caller::probe(),
            findings: vec![start::PLAIN.is(plain, ""), start::WITH_USERS.is(users, "")],
        };
        assert_eq!(report(State::Works, State::Works).readiness(), Readiness::Ready);
        assert_eq!(report(State::Works, State::Missing).readiness(), Readiness::Half);
        assert_eq!(report(State::Denied, State::Denied).readiness(), Readiness::NotReady);
    }

    #[test]
    fn leftovers_are_named() {
        let some = Leftovers { machines: vec!["web".into(), "db\u{1b}".into()], errors: Vec::new() };
        let finding = left(&some);
        assert_eq!(finding.state, State::Limited);
        assert!(finding.found.contains("web, db") && !finding.found.contains('\u{1b}'), "{}", finding.found);
        assert!(finding.advice.expect("advice").contains("--cleanup"));
        let unknown = Leftovers { machines: Vec::new(), errors: vec!["cannot read".into()] };
        assert_eq!((left(&unknown).state, left(&Leftovers::default()).state), (State::Unknown, State::Works));
    }
}
