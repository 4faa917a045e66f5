//! User namespaces, see [user_namespaces(7)](https://man7.org/linux/man-pages/man7/user_namespaces.7.html), what switches
//! them off, and the ids that there are for them.

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Uid, set_dumpable_behavior};
use rustix::thread::{CapabilitySet, set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use spec::UidRange;
use sys::clone::Namespaces;

use crate::Context;
use crate::attempt::{Attempt, Doing, MAKE_USERS, Refused, enter_users, in_child, map_users, with_users};
use crate::caller::Caller;
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::setting;
use crate::subordinate;

const LIMIT: &str = "user.max_user_namespaces";
/// Of Debian and kernels that follow it.
const DEBIAN: &str = "kernel.unprivileged_userns_clone";
/// Of Ubuntu and kernels that follow it.
const APPARMOR: &str = "kernel.apparmor_restrict_unprivileged_userns";
/// The user that owns nothing.
const NOBODY: u32 = 65534;

static OWN: Feature = Feature {
    name: "user namespaces",
    topic: Topic::Users,
    need: Need::Needed,
    why: "With users of its own (-U) root in a container is nobody on the host: the only mode that is a boundary against \
          root inside. 'redd run' uses it.",
};

static OTHERS: Feature = Feature {
    name: "for ordinary users",
    topic: Topic::Users,
    need: Need::Optional,
    why: "Programs in containers and on the host, such as browsers and build tools, lock themselves into user namespaces \
          without being root. Containers that root starts do not need it.",
};

static RANGE: Feature = Feature {
    name: "ranges of ids",
    topic: Topic::Users,
    need: Need::Needed,
    why: "A container with users of its own gets 65536 ids that no other one has, from 524288 on.",
};

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    let caller = &context.caller;
    let own = in_child(|| make_and_use(caller));
    let mut all = vec![judge(&OWN, context, &setting::number, caller.is_privileged(), own)];
    if caller.is_privileged() && caller.has(CapabilitySet::SETUID | CapabilitySet::SETGID) {
        let others = in_child(|| {
            become_nobody()?;
            make_and_use(&Caller { uid: NOBODY, gid: NOBODY, ..caller.clone() })
        });
        all.push(judge(&OTHERS, context, &setting::number, false, others));
    }
    if caller.is_privileged() {
        all.push(ranges(caller));
    }
    all.push(subordinate::finding(context));
    all
}

/// Makes one, maps an id, and does there what takes a capability.
fn make_and_use(caller: &Caller) -> Attempt {
    enter_users(caller)?;
    sys::clone::unshare(Namespaces::UTS).doing(USE)?;
    rustix::system::sethostname(b"redd-check").doing(USE)?;
    Ok(String::new())
}

const USE: &str = "be root in a user namespace";

fn become_nobody() -> Result<(), Refused> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[]).doing(BECOME)?;
    set_thread_res_gid(gid, gid, gid).doing(BECOME)?;
    set_thread_res_uid(uid, uid, uid).doing(BECOME)?;
    // Files in /proc/self are its own again.
    set_dumpable_behavior(DumpableBehavior::Dumpable).doing(BECOME)
}

const BECOME: &str = "become an ordinary user";

/// How a sysctl is read.
type Settings<'a> = &'a dyn Fn(&str) -> Option<u64>;

/// What keeps somebody without privileges from it, by a setting that says so.
fn switch(privileged: bool, settings: Settings<'_>) -> Option<&'static str> {
    let is = |name, value| (settings(name) == Some(value)).then_some(name);
    if privileged { None } else { is(DEBIAN, 0).or_else(|| is(APPARMOR, 1)) }
}

fn judge(
    feature: &'static Feature,
    context: &Context,
    settings: Settings<'_>,
    privileged: bool,
    attempt: Attempt,
) -> Finding {
    let limit = settings(LIMIT);
    let refused = match attempt {
        Ok(_) => {
            let most = limit.map(|limit| format!(", {limit} at the most for each user"));
            let made = format!("made one and was root in it{}", most.unwrap_or_default());
            return feature.is(State::Works, context.with_option("USER_NS", &made));
        }
        Err(refused) => refused,
    };
    if refused.doing == BECOME {
        return feature
            .is(State::Unknown, "there is no ordinary user here to try it as")
            .advise("Run this outside of the user namespace that it runs in.");
    }
    let forever = "and write it into a file in /etc/sysctl.d, to keep it";
    match (refused.errno, limit) {
        (Errno::NOSPC | Errno::USERS, Some(0)) => feature
            .is(State::Off, format!("switched off: {LIMIT} is 0"))
            .advise(format!("Switch them on: sysctl -w {LIMIT}=15000, {forever}.{}", where_from(&context.caller))),
        (Errno::NOSPC | Errno::USERS, limit) => feature
            .is(State::Limited, format!("no further one: {LIMIT} is {}", limit.unwrap_or_default()))
            .advise(format!("Allow more: sysctl -w {LIMIT}=60000. More than 32 inside each other are never allowed.")),
        (Errno::PERM | Errno::ACCESS, _) if switch(privileged, settings) == Some(DEBIAN) => feature
            .is(State::Off, format!("switched off for all but root: {DEBIAN} is 0"))
            .advise(format!("Switch them on: sysctl -w {DEBIAN}=1, {forever}.")),
        (Errno::PERM | Errno::ACCESS, _) if switch(privileged, settings) == Some(APPARMOR) => feature
            .is(State::Off, format!("AppArmor takes their power for all but root: {APPARMOR} is 1"))
            .advise(format!(
                "Give redd an AppArmor profile with 'userns,' in it, or allow all: sysctl -w {APPARMOR}=0, {forever}."
            )),
        (Errno::INVAL | Errno::NOSYS, _) if refused.doing == MAKE_USERS => feature
            .is(State::Missing, context.with_option("USER_NS", "the kernel has none"))
            .advise("Use a kernel that was built with CONFIG_USER_NS=y; those of all big distributions are."),
        (Errno::PERM | Errno::ACCESS, _) => {
            let filtered = std::fs::read_to_string("/proc/self/status").is_ok_and(|text| is_filtered(&text));
            let by = if filtered { "; a system call filter is on this process" } else { "" };
            feature.is(State::Denied, format!("{refused}{by}")).advise(
                "They are refused in a chroot, by system call filters such as those of containers, and by security \
                 modules: run redd outside of it, or allow it there.",
            )
        }
        _ => feature.is(refused.state(), refused.to_string()).advise("Look into the kernel's log: dmesg."),
    }
}

/// In a user namespace the setting is one of that namespace, below those outside.
fn where_from(caller: &Caller) -> &'static str {
    if caller.has_all_ids {
        ""
    } else {
        " This runs in a user namespace itself, where the setting may be that of outside."
    }
}

/// A line of `/proc/PID/status`, see proc_pid_status(5).
fn is_filtered(status: &str) -> bool {
    status.lines().any(|line| line.strip_prefix("Seccomp:").is_some_and(|mode| mode.trim() == "2"))
}

/// Gives a user namespace the first range that machines get.
fn ranges(caller: &Caller) -> Finding {
    let (first, last) = UidRange::PICKED;
    let count = UidRange::USUAL_COUNT;
    let attempt = in_child(|| {
        with_users(|process, _| map_users(process, &format!("0 {first} {count}\n")))?;
        Ok(String::new())
    });
    match attempt {
        Ok(_) => RANGE.is(State::Works, format!("{} of {count} ids", (last - first) / count + 1)),
        Err(refused) if refused.doing == MAKE_USERS => {
            RANGE.is(State::Unknown, "needs user namespaces, see above").advise("Switch user namespaces on.")
        }
        Err(_) if !caller.has_all_ids => RANGE.is(State::Missing, "this runs in a user namespace without them").advise(
            "Start the container around this without -U, or with --private-users=managed and \
             --private-users-delegate=, which passes ranges on.",
        ),
        Err(refused) => RANGE.is(refused.state(), refused.to_string()).advise(
            "It takes CAP_SETUID and CAP_SETGID, and no filter against it: run redd as root outside of other containers.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_switches_them_off_is_named() {
        let context = Context { caller: Caller::probe(), place: None, configuration: None };
        let refused = |doing: &str, errno| Err(Refused { doing: doing.to_owned(), errno });
        // The setting and what it is; whether it is told of somebody with and of somebody without privileges.
        for (setting, value, errno, told) in [
            (DEBIAN, 0, Errno::PERM, [false, true]),
            (APPARMOR, 1, Errno::ACCESS, [false, true]),
            (LIMIT, 0, Errno::NOSPC, [true, true]),
            (DEBIAN, 1, Errno::PERM, [false, false]),
            (APPARMOR, 0, Errno::PERM, [false, false]),
        ] {
            for (privileged, told) in [true, false].into_iter().zip(told) {
                let settings = |name: &str| (name == setting).then_some(value);
                let finding = judge(&OWN, &context, &settings, privileged, refused(MAKE_USERS, errno));
                let off = finding.state == State::Off;
                let advice = finding.advice.expect("advice");
                assert_eq!((off, advice.contains(&format!("sysctl -w {setting}="))), (told, told), "{advice}");
                assert!(off || finding.state == State::Denied, "{:?}", finding.state);
            }
        }
        let full = |name: &str| (name == LIMIT).then_some(10);
        let finding = judge(&OWN, &context, &full, true, refused(MAKE_USERS, Errno::NOSPC));
        assert_eq!(finding.state, State::Limited);
        let finding = judge(&OWN, &context, &|_| None, true, refused(MAKE_USERS, Errno::INVAL));
        assert!(finding.state == State::Missing && finding.advice.expect("advice").contains("CONFIG_USER_NS=y"));
        assert_eq!(judge(&OWN, &context, &|_| None, true, Ok(String::new())).state, State::Works);
    }

    #[test]
    fn filters_are_seen() {
        assert!(is_filtered("Name:\tx\nSeccomp:\t2\nSeccomp_filters:\t1\n"));
        assert!(!is_filtered("Seccomp:\t0\nSeccomp_filters:\t2\n"));
    }
}
