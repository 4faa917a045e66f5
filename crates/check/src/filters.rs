//! What keeps a container from calls and devices: the filters that containers really get are loaded.

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netlink, socket_with};
use rustix::thread::{CapabilitySet, sched_getaffinity, set_no_new_privs};
use seccomp::{Arch, Edit, Policy, Refusal};

use crate::Context;
use crate::attempt::{Attempt, Doing, in_child};
use crate::finding::{Feature, Finding, Need, State, Topic};

static CALLS: Feature = Feature {
    name: "seccomp",
    topic: Topic::Isolation,
    need: Need::Needed,
    why: "A filter of system calls keeps containers from what reaches the whole kernel: clocks, modules, kexec, keys, audit.",
};

static DEVICES: Feature = Feature {
    name: "device filter",
    topic: Topic::Isolation,
    need: Need::Needed,
    why: "A BPF program on the container's control group refuses the host's disks and other devices, also to root inside.",
};

static CONFINED: Feature = Feature {
    name: "landlock",
    topic: Topic::Isolation,
    need: Need::Optional,
    why: "What reads journals that a container has written is locked into them with it (redd logs).",
};

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    vec![calls(context), devices(context), confined(context)]
}

/// Loads a container's usual filter, and asks it.
fn calls(context: &Context) -> Finding {
    let attempt = in_child(|| load_and_ask(|program| sys::seccomp::load(program, sys::seccomp::Flags::default())));
    match attempt {
        Ok(seen) => CALLS.is(State::Works, seen),
        Err(refused) if refused.errno == Errno::INVAL || refused.errno == Errno::NOSYS => CALLS
            .is(State::Missing, context.with_option("SECCOMP_FILTER", &refused.to_string()))
            .advise("Use a kernel that was built with CONFIG_SECCOMP_FILTER=y; those of all big distributions are."),
        Err(refused) => CALLS
            .is(refused.state(), refused.to_string())
            .advise("A filter of what this runs in refuses it: allow seccomp(2) there, or run redd on the host."),
    }
}

/// The usual filter may be there already, around this: another call fails with a number that it has not failed with before.
fn load_and_ask(load: impl FnOnce(&[sys::seccomp::Instruction]) -> rustix::io::Result<()>) -> Attempt {
    let number = if sched_getaffinity(None).err() == Some(Errno::UCLEAN) { Errno::NOTUNIQ } else { Errno::UCLEAN };
    let refusal = Refusal::Errno(u16::try_from(number.raw_os_error()).unwrap_or_default());
    let edit = Edit { allow: false, name: "sched_getaffinity".to_owned(), refusal: Some(refusal) };
    let policy = Policy::container_default(0, &[edit]);
    let program = seccomp::compile(&policy, Arch::native())
        .map_err(|_| Errno::NOSYS)
        .doing("make a filter for this processor")?;
    let program: Vec<_> = program.iter().map(instruction).collect();
    set_no_new_privs(true).doing("give up new privileges")?;
    load(&program).doing("load a filter")?;
    match (audit_socket(), sched_getaffinity(None)) {
        (Err(Errno::AFNOSUPPORT), Err(errno)) if errno == number => {
            Ok(format!("loaded the usual one ({} instructions), and it filters", program.len()))
        }
        _ => Err(Errno::OPNOTSUPP).doing("be held by a filter"),
    }
}

/// What a filter of ours refuses and the kernel does not.
pub(crate) fn audit_socket() -> rustix::io::Result<std::os::fd::OwnedFd> {
    socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::AUDIT))
}

fn devices(context: &Context) -> Finding {
    let attempt: Attempt = in_child(|| {
        let program = cgroup::device::program(&[], &[]);
        sys::bpf::load_device_program(&program).doing("load a BPF program for devices")?;
        Ok("loaded one".to_owned())
    });
    let caller = &context.caller;
    match attempt {
        Ok(seen) => DEVICES.is(State::Works, seen),
        Err(refused) if refused.errno == Errno::PERM && !caller.has(CapabilitySet::BPF) && !caller.is_privileged() => {
            DEVICES.is(State::Denied, refused.to_string()).advise("Only root can load it: run redd as root.")
        }
        Err(refused) if refused.errno == Errno::PERM => DEVICES.is(State::Denied, refused.to_string()).advise(
            "This runs in a container that keeps bpf(2) from it. Where that is one of redd's, start it with \
             --capability=all --system-call-filter=bpf, which also takes a container without users of its own.",
        ),
        Err(refused) => DEVICES
            .is(refused.state(), context.with_option("CGROUP_BPF", &refused.to_string()))
            .advise("Use a kernel that was built with CONFIG_CGROUP_BPF=y; those of all big distributions are."),
    }
}

fn confined(context: &Context) -> Finding {
    let attempt: Attempt = in_child(|| {
        let ruleset = sys::landlock::Ruleset::new().doing("make a ruleset")?;
        ruleset.restrict_thread().doing("be restricted by it")?;
        match rustix::fs::open("/", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()) {
            Err(Errno::ACCESS) => Ok("gave up all files with it".to_owned()),
            _ => Err(Errno::OPNOTSUPP).doing("be held by it"),
        }
    });
    match attempt {
        Ok(seen) => CONFINED.is(State::Works, seen),
        Err(refused) => {
            let state = if refused.errno == Errno::OPNOTSUPP { State::Off } else { refused.state() };
            CONFINED.is(state, context.with_option("SECURITY_LANDLOCK", &refused.to_string())).advise(
                "Have landlock among the security modules: lsm=landlock,… on the kernel's command line (what there is \
                 now stands in /sys/kernel/security/lsm).",
            )
        }
    }
}

fn instruction(one: &seccomp::Instruction) -> sys::seccomp::Instruction {
    sys::seccomp::Instruction { code: one.code, jt: one.jt, jf: one.jf, k: one.k }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(program: &[sys::seccomp::Instruction]) -> rustix::io::Result<()> {
        sys::seccomp::load(program, sys::seccomp::Flags::default())
    }

    /// A filter around this refuses what the usual one does; only one that is really loaded counts.
    #[test]
    fn a_filter_that_was_there_is_not_taken_for_a_new_one() {
        // Filters are a thread's own, and go with it.
        let attempt = std::thread::spawn(|| {
            assert!(load_and_ask(load).is_ok());
            assert!(load_and_ask(load).is_ok());
            load_and_ask(|_| Ok(()))
        });
        let refused = attempt.join().expect("a thread").expect_err("nothing was loaded");
        assert_eq!((refused.errno, refused.doing.as_str()), (Errno::OPNOTSUPP, "be held by a filter"));
    }
}
