//! Control groups: how they are laid out, which controllers are where, and whether the caller may make groups.

use cgroup::limit::v1::Hierarchy;
use cgroup::{Group, Layout};
use rustix::fs::{Access, access};
use rustix::io::Errno;

use crate::Context;
use crate::attempt::{Uninterrupted, with_cause, without_number};
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::place::shown;

const fn feature(name: &'static str, need: Need, why: &'static str) -> Feature {
    Feature { name, topic: Topic::ControlGroups, need, why }
}

static LAYOUT: Feature = feature(
    "layout",
    Need::Needed,
    "A container has a control group of its own, by which it is found, limited and ended with all its processes.",
);

static GROUPS: Feature = feature(
    "own groups",
    Need::Needed,
    "The group of a container is made below that of whoever starts it, or by systemd where that manages the host.",
);

static CONTROLLERS: Feature = feature(
    "controllers",
    Need::Useful,
    "They limit and count memory, processors, disks and processes of a container (--memory=, --property=, redd stats).",
);

/// Those that limits of containers use; version 1 has another name for one.
const WANTED: [(&str, &str); 5] =
    [("cpu", "cpu"), ("cpuset", "cpuset"), ("io", "blkio"), ("memory", "memory"), ("pids", "pids")];

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    let hierarchies = cgroup::limit::v1::hierarchies();
    let layout = Layout::probe();
    let mut all = vec![kind(&layout, &hierarchies)];
    all.push(match &layout {
        Ok(layout) => groups(context, layout),
        Err(_) => GROUPS.is(State::Missing, "there is no cgroup2 to make them in").advise("See layout."),
    });
    all.push(controllers(layout.ok().as_ref(), &hierarchies));
    all
}

fn kind(layout: &rustix::io::Result<Layout>, hierarchies: &[Hierarchy]) -> Finding {
    match (layout, hierarchies) {
        (Ok(_), []) => LAYOUT.is(State::Works, "unified: cgroup2 alone"),
        (Ok(_), some) => {
            LAYOUT.is(State::Works, format!("hybrid: cgroup2 beside {} hierarchies of version 1", some.len()))
        }
        (Err(Errno::NODEV), _) => LAYOUT
            .is(State::Missing, "the kernel has no cgroup2")
            .advise("Use a kernel that was built with CONFIG_CGROUPS=y; those of all distributions are."),
        (Err(errno), some) => {
            let beside = if some.is_empty() { "nothing is mounted" } else { "only version 1 is mounted" };
            let state = if matches!(*errno, Errno::PERM | Errno::ACCESS) { State::Denied } else { State::Missing };
            LAYOUT
                .is(
                    state,
                    format!(
                        "{beside}, and cgroup2 cannot be: {}",
                        without_number(&std::io::Error::from(*errno).to_string())
                    ),
                )
                .advise("As root: mkdir -p /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup")
        }
    }
}

/// Makes one and removes it.
fn groups(context: &Context, layout: &Layout) -> Finding {
    // In another process namespace another process may have the same number.
    let namespace = rustix::fs::stat("/proc/self/ns/pid").map_or(0, |status| status.st_ino);
    let machine = format!("redd-check-{}-{namespace:x}", std::process::id());
    let path = layout.machine(&machine);
    let _uninterrupted = Uninterrupted::begin();
    match Group::create(layout, &machine) {
        Ok(group) => match group.remove() {
            Ok(()) => GROUPS.is(State::Works, format!("made one in {}", shown(path.parent().unwrap_or(&path)))),
            Err(error) => {
                GROUPS.is(State::Limited, with_cause(&error)).advise("Remove that group: it is left of this check.")
            }
        },
        Err(error) => {
            let errno = match &error {
                cgroup::Error::System { source, .. } => *source,
                cgroup::Error::InUse(_) => Errno::BUSY,
            };
            let denied = matches!(errno, Errno::PERM | Errno::ACCESS | Errno::ROFS);
            let state = if denied { State::Denied } else { State::Unknown };
            let advice = if context.caller.is_privileged() {
                "This runs in a container that was given no control groups: run redd on the host, or delegate some to it."
            } else {
                "No group was given to this user: run redd as root, or have a service manager delegate one (Delegate=yes)."
            };
            GROUPS.is(state, with_cause(&error)).advise(advice)
        }
    }
}

fn controllers(layout: Option<&Layout>, hierarchies: &[Hierarchy]) -> Finding {
    let unified = layout.map(Layout::controllers).unwrap_or_default();
    let (mut there, mut lacking, mut closed) = (Vec::new(), Vec::new(), Vec::new());
    for (name, old) in WANTED {
        if unified.iter().any(|one| one == name) {
            there.push(name.to_owned());
        } else if let Some(hierarchy) = hierarchies.iter().find(|one| one.controllers.iter().any(|one| one == old)) {
            match access(&hierarchy.own, Access::WRITE_OK) {
                Ok(()) => there.push(format!("{name} (version 1)")),
                Err(_) => closed.push(name),
            }
        } else {
            lacking.push(name);
        }
    }
    let mut found = there.join(", ");
    for (names, what) in [(&closed, "may not be used by this user"), (&lacking, "not there")] {
        if !names.is_empty() {
            let gap = if found.is_empty() { "" } else { "; " };
            found.push_str(&format!("{gap}{what}: {}", names.join(", ")));
        }
    }
    match (there.is_empty(), closed.is_empty(), lacking.is_empty()) {
        (_, true, true) => CONTROLLERS.is(State::Works, found),
        (true, false, _) => CONTROLLERS
            .is(State::Denied, found)
            .advise("Run redd as root, or have these controllers delegated to this user."),
        (some, _, _) => CONTROLLERS.is(if some { State::Missing } else { State::Limited }, found).advise(
            "Those that are not there are not delegated to this group (cgroup.subtree_control of the groups above), or \
             switched off on the kernel's command line (cgroup_disable=).",
        ),
    }
}
