//! How much there may be of what machines use.

use std::path::{Path, PathBuf};

use rustix::fs::inotify::{CreateFlags, init};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use rustix::thread::CapabilitySet;

use crate::Context;
use crate::attempt::{Attempt, Doing, in_child};
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::place::shown;
use crate::setting;

const fn feature(name: &'static str, need: Need, why: &'static str) -> Feature {
    Feature { name, topic: Topic::Limits, need, why }
}

static INSTANCES: Feature = feature(
    "inotify instances",
    Need::Useful,
    "Each booted machine takes six or more, and those of all machines that one user starts count together; what gets none \
     fails with \"Too many open files\".",
);

static WATCHES: Feature = feature(
    "inotify watches",
    Need::Optional,
    "Programs that watch whole trees, in all machines together, take one for each directory.",
);

static PROCESSES: Feature =
    feature("processes", Need::Useful, "The processes of all machines count together with the host's.");

static FILES: Feature = feature(
    "open files",
    Need::Optional,
    "The kernel lets a process in a machine have as many as whoever starts it may; systemd inside wants 524288.",
);

/// What an idle machine takes of inotify's instances, and of processes.
const INSTANCES_EACH: u64 = 6;
const PROCESSES_EACH: u64 = 20;
/// With fewer machines than this at once a limit is a narrow one.
const MANY: u64 = 50;
const WATCHES_WANTED: u64 = 65536;
const FILES_WANTED: u64 = 524_288;
/// How many are taken to see whether some are left.
const TAKEN: usize = 64;

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    vec![instances(), watches(), processes(context), files(context)]
}

/// How many are left can only be told by taking some.
fn instances() -> Finding {
    const LIMIT: &str = "fs.inotify.max_user_instances";
    let attempt: Attempt = in_child(|| {
        let mut taken = Vec::new();
        while taken.len() < TAKEN {
            match init(CreateFlags::CLOEXEC) {
                Ok(one) => taken.push(one),
                Err(Errno::MFILE) => break,
                Err(errno) => return Err(errno).doing("make an inotify instance"),
            }
        }
        Ok(taken.len().to_string())
    });
    let free = match attempt {
        Ok(free) => free.parse::<u64>().unwrap_or_default(),
        Err(refused) => {
            return INSTANCES.is(refused.state(), refused.to_string()).advise("Allow inotify(7) to what this runs in.");
        }
    };
    let Some(limit) = setting::number(LIMIT) else {
        return INSTANCES.is(State::Unknown, format!("{LIMIT} cannot be read")).advise("Mount /proc.");
    };
    let more = limit.saturating_mul(4).max(1024);
    let advice = format!("Allow more: sysctl -w {LIMIT}={more} (and a file in /etc/sysctl.d, to keep it).");
    let machines = limit / INSTANCES_EACH;
    if free < INSTANCES_EACH {
        return INSTANCES.is(State::Off, format!("all but {free} are in use; {LIMIT} is {limit}")).advise(advice);
    }
    let found = format!("{LIMIT} is {limit}, enough for some {machines} booted machines");
    let (state, found) = match (machines < MANY, (free as usize) < TAKEN && free < limit) {
        (_, true) => (State::Limited, format!("{free} are left; {found} and no other program")),
        (true, _) => (State::Limited, found),
        (false, _) => (State::Works, found),
    };
    INSTANCES.is(state, found).advise(advice)
}

fn watches() -> Finding {
    const LIMIT: &str = "fs.inotify.max_user_watches";
    least(&WATCHES, LIMIT, WATCHES_WANTED, 524_288)
}

/// A sysctl that should be no less than `wanted`.
fn least(feature: &'static Feature, name: &str, wanted: u64, advised: u64) -> Finding {
    match setting::number(name) {
        None => feature.is(State::Unknown, format!("{name} cannot be read")).advise("Mount /proc."),
        Some(limit) => {
            let state = if limit < wanted { State::Limited } else { State::Works };
            feature.is(state, format!("{name} is {limit}")).advise(format!("Allow more: sysctl -w {name}={advised}"))
        }
    }
}

/// The least of all limits that hold for the caller: of the whole system, of its control groups, of its user.
fn processes(context: &Context) -> Finding {
    let mut known: Vec<(String, u64, String)> = ["kernel.pid_max", "kernel.threads-max"]
        .into_iter()
        .filter_map(|name| {
            Some((name.to_owned(), setting::number(name)?, format!("Allow more: sysctl -w {name}=4194304")))
        })
        .collect();
    known.extend(own_groups().iter().filter_map(|group| narrowest(group)).map(|(group, limit)| {
        let name = shown(&group.join(GROUP_LIMIT));
        let advice = format!("Allow more: TasksMax= of the unit that this runs in, or: echo max > {name}");
        (name, limit, advice)
    }));
    // The kernel does not ask it of who has one of these.
    let free = [CapabilitySet::SYS_RESOURCE, CapabilitySet::SYS_ADMIN];
    if context.caller.uid != 0 && !free.iter().any(|capability| context.caller.has(*capability)) {
        let advice = "Allow more: ulimit -u as root for who starts this, LimitNPROC= in a unit.";
        known.extend(
            getrlimit(Resource::Nproc)
                .current
                .map(|limit| ("the number of processes of this user (ulimit -u)".to_owned(), limit, advice.to_owned())),
        );
    }
    let Some((name, limit, advice)) = known.into_iter().min_by_key(|(_, limit, _)| *limit) else {
        return PROCESSES.is(State::Unknown, "kernel.pid_max cannot be read").advise("Mount /proc.");
    };
    let state = if limit / PROCESSES_EACH < MANY { State::Limited } else { State::Works };
    PROCESSES.is(state, format!("{name} is {limit}")).advise(advice)
}

/// The file with the limit of a control group and all below it, in both versions.
const GROUP_LIMIT: &str = "pids.max";

/// The directories of the caller's own groups in which processes can be limited.
fn own_groups() -> Vec<PathBuf> {
    let old = cgroup::limit::v1::hierarchies().into_iter();
    let old = old.filter(|one| one.controllers.iter().any(|name| name == "pids")).map(|one| one.own);
    old.chain(cgroup::Layout::probe().ok().map(|layout| layout.path().to_owned())).collect()
}

/// The group with the least limit: this one or one above it.
fn narrowest(group: &Path) -> Option<(PathBuf, u64)> {
    let groups = group.ancestors().take_while(|path| path.join("cgroup.procs").exists());
    let limits = groups.filter_map(|path| {
        let text = std::fs::read_to_string(path.join(GROUP_LIMIT)).ok()?;
        Some((path.to_owned(), text.trim().parse().ok()?))
    });
    limits.min_by_key(|(_, limit)| *limit)
}

fn files(context: &Context) -> Finding {
    let hard = getrlimit(Resource::Nofile).maximum;
    let shown = hard.map_or_else(|| "without limit".to_owned(), |hard| format!("up to {hard} for a process"));
    let most = setting::number("fs.nr_open").unwrap_or(u64::MAX);
    match hard {
        Some(hard) if hard < FILES_WANTED && !context.caller.has(CapabilitySet::SYS_RESOURCE) => {
            FILES.is(State::Limited, shown).advise(
                "Raise the limit of whoever starts machines: ulimit -Hn 524288 as root, LimitNOFILE=524288 in a unit.",
            )
        }
        Some(hard) if hard < FILES_WANTED && most >= FILES_WANTED => {
            FILES.is(State::Works, format!("{shown}, and redd may raise it"))
        }
        Some(hard) if hard < FILES_WANTED => FILES
            .is(State::Limited, format!("{shown}; fs.nr_open is {most}"))
            .advise("Allow more: sysctl -w fs.nr_open=1048576"),
        _ => FILES.is(State::Works, shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrowest_group_counts() {
        let root = tempfile::tempdir().expect("directory");
        let own = root.path().join("sys/above/own");
        std::fs::create_dir_all(&own).expect("directory");
        let set = |at: &Path, limit: &str| {
            std::fs::write(at.join("cgroup.procs"), "").expect("file");
            std::fs::write(at.join(GROUP_LIMIT), format!("{limit}\n")).expect("file");
        };
        assert_eq!(narrowest(&own), None);
        set(&own, "max");
        assert_eq!(narrowest(&own), None);
        let above = root.path().join("sys/above");
        set(&above, "12");
        assert_eq!(narrowest(&own), Some((above, 12)));
        set(&own, "3");
        assert_eq!(narrowest(&own), Some((own.clone(), 3)));
        // What is above is none.
        std::fs::write(root.path().join(GROUP_LIMIT), "1").expect("file");
        assert_eq!(narrowest(&own), Some((own, 3)));
    }
}
