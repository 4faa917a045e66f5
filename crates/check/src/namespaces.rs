//! The kinds of namespaces, see [namespaces(7)](https://man7.org/linux/man-pages/man7/namespaces.7.html); user namespaces
//! have a file of their own.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::clone::{Forked, Namespaces, Options, exit_now, fork};

use crate::Context;
use crate::attempt::{Attempt, Doing, MAKE_USERS, MAP_USERS, Refused, in_namespaces};
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::setting;

/// One kind of namespace.
struct Kind {
    feature: Feature,
    namespace: Namespaces,
    /// Its file below `/proc/self/ns`.
    file: &'static str,
    /// How many there may be.
    limit: &'static str,
    /// The option of the kernel's configuration.
    option: &'static str,
}

const fn feature(name: &'static str, need: Need, why: &'static str) -> Feature {
    Feature { name, topic: Topic::Isolation, need, why }
}

static KINDS: [Kind; 7] = [
    Kind {
        feature: feature(
            "mount namespaces",
            Need::Needed,
            "A container has mounts of its own, and what it mounts is not seen on the host.",
        ),
        namespace: Namespaces::MOUNT,
        file: "mnt",
        limit: "user.max_mnt_namespaces",
        option: "NAMESPACES",
    },
    Kind {
        feature: feature(
            "pid namespaces",
            Need::Needed,
            "A container sees its own processes only, and its init system is process 1.",
        ),
        namespace: Namespaces::PID,
        file: "pid_for_children",
        limit: "user.max_pid_namespaces",
        option: "PID_NS",
    },
    Kind {
        feature: feature("uts namespaces", Need::Needed, "A container has a host name of its own."),
        namespace: Namespaces::UTS,
        file: "uts",
        limit: "user.max_uts_namespaces",
        option: "UTS_NS",
    },
    Kind {
        feature: feature(
            "ipc namespaces",
            Need::Needed,
            "Shared memory, semaphores and message queues of a container are apart from the host's.",
        ),
        namespace: Namespaces::IPC,
        file: "ipc",
        limit: "user.max_ipc_namespaces",
        option: "IPC_NS",
    },
    Kind {
        feature: feature(
            "cgroup namespaces",
            Need::Needed,
            "A container sees its own control group as the root of all, which systemd inside expects.",
        ),
        namespace: Namespaces::CGROUP,
        file: "cgroup",
        limit: "user.max_cgroup_namespaces",
        option: "CGROUPS",
    },
    Kind {
        feature: feature(
            "network namespaces",
            Need::Useful,
            "A container can have links and addresses of its own (--private-network); without, it uses the host's.",
        ),
        namespace: Namespaces::NETWORK,
        file: "net",
        limit: "user.max_net_namespaces",
        option: "NET_NS",
    },
    Kind {
        feature: feature(
            "time namespaces",
            Need::Optional,
            "A container that is moved between hosts can go on with its clocks; nothing of redd needs it yet.",
        ),
        namespace: Namespaces::TIME,
        file: "time_for_children",
        limit: "user.max_time_namespaces",
        option: "TIME_NS",
    },
];

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    KINDS.iter().map(|kind| judge(kind, context, in_new(kind, context))).collect()
}

/// Makes one and looks whether it is another one.
fn in_new(kind: &Kind, context: &Context) -> Attempt {
    let file = Path::new("/proc/self/ns").join(kind.file);
    let seen = || -> Result<PathBuf, Refused> { std::fs::read_link(&file).doing("look at the namespace") };
    let before = std::fs::read_link(&file).ok();
    in_namespaces(&context.caller, kind.namespace, || {
        if before.is_some_and(|before| seen().is_ok_and(|after| after == before)) {
            return Err(Errno::OPNOTSUPP).doing("be in a new namespace");
        }
        if kind.namespace == Namespaces::PID {
            first_process()?;
        }
        Ok("made one".to_owned())
    })
}

/// The first process of a new pid namespace has the number 1.
fn first_process() -> Result<(), Refused> {
    match fork(&Options::default()).doing("make its first process")? {
        Forked::Child => exit_now(i32::from(!rustix::process::getpid().is_init())),
        Forked::Parent { pidfd, .. } => {
            let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))
                .doing("wait for its first process")?;
            match status.and_then(|status| status.exit_status()) {
                Some(0) => Ok(()),
                _ => Err(Errno::OPNOTSUPP).doing("be process 1 in it"),
            }
        }
    }
}

fn judge(kind: &'static Kind, context: &Context, attempt: Attempt) -> Finding {
    let feature = &kind.feature;
    let refused = match attempt {
        Ok(seen) => {
            let how = if context.caller.is_privileged() { "" } else { ", as root of a user namespace" };
            return feature.is(State::Works, format!("{seen}{how}"));
        }
        Err(refused) => refused,
    };
    if [MAKE_USERS, MAP_USERS].contains(&refused.doing.as_str()) {
        return feature
            .is(State::Denied, "takes root or a user namespace, and this caller has neither")
            .advise("Run this as root, or see user namespaces below.");
    }
    match (refused.errno, setting::number(kind.limit)) {
        (Errno::NOSPC, Some(0)) => feature
            .is(State::Off, format!("switched off: {} is 0", kind.limit))
            .advise(format!("Allow them: sysctl -w {}=10000 (and a file in /etc/sysctl.d, to keep it).", kind.limit)),
        (Errno::NOSPC, limit) => feature
            .is(State::Limited, format!("all are in use: {} is {}", kind.limit, limit.unwrap_or_default()))
            .advise(format!("Allow more of them: sysctl -w {}=10000.", kind.limit)),
        (Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP, _) => {
            feature.is(State::Missing, context.with_option(kind.option, "the kernel has none")).advise(format!(
                "Use a kernel that was built with CONFIG_{}=y; those of all big distributions are.",
                kind.option
            ))
        }
        _ => feature.is(refused.state(), refused.to_string()).advise(
            "What refuses it is a system call filter or a security module, such as those of a container that this runs \
             in: loosen it there, or run redd on the host.",
        ),
    }
}
