//! The host as a whole. What cannot be read is taken as absent: none of it is needed to start a container.

use std::path::{Path, PathBuf};

use machine::rlimit;
use plan::{CallerFacts, HostSystem};
use spec::{ContainerSpec, PrivateUsers, Resource, Rlimit};

use super::integration;

/// The fields of os-release that the container is told (systemd's CONTAINER_INTERFACE document).
const OS_IDS: [&str; 4] = ["ID", "VERSION_ID", "BUILD_ID", "VARIANT_ID"];

pub(super) fn probe(spec: &ContainerSpec, caller: &CallerFacts) -> HostSystem {
    let os_release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok().map(|text| (PathBuf::from(path), text)));
    HostSystem {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        os_ids: os_release.as_ref().map(|(_, text)| os_ids(text)).unwrap_or_default(),
        os_release: os_release.map(|(path, _)| path),
        resolv_conf: integration::resolv_conf(spec),
        localtime: integration::localtime(spec),
        limits: limits(),
        last_capability: last_capability(),
        // Looked for only where it matters: every look into proc is a part of every start.
        user_namespaces: spec.users().private_users == PrivateUsers::No || Path::new("/proc/self/ns/user").exists(),
        service_manager: rustix::process::geteuid().is_root() && service_manager(spec, caller),
        user_session: spec.property().keep_unit && in_user_session(),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
    }
}

/// The one that was chosen can be asked.
fn service_manager(spec: &ContainerSpec, caller: &CallerFacts) -> bool {
    use cgroup::scope::Manager;
    match (spec.property().user_manager, &caller.runtime_directory) {
        (false, _) => Manager::System.is_available(),
        (true, None) => false,
        (true, Some(directory)) => Manager::User(Path::new(directory)).is_available(),
    }
}

/// Below the slice of a user are the user's sessions and the user's own service manager.
fn in_user_session() -> bool {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    groups.lines().any(|line| line.contains("/user.slice/user-"))
}

fn os_ids(text: &str) -> Vec<(String, String)> {
    let fields = text.lines().filter_map(|line| line.split_once('='));
    fields
        .filter(|(key, _)| OS_IDS.contains(key))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim_matches(['"', '\'']).to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// The limits that the kernel gives to the first process of a machine (`INIT_RLIMITS` in its `asm-generic/resource.h`),
/// where init systems have others by now. Two of them depend on the machine's memory and are asked of its first process.
/// More files may be open than the kernel's 4096, as many as systemd has programs use.
fn limits() -> Vec<(Resource, Rlimit)> {
    let fixed = |resource| {
        let both = |value| Some((Some(value), Some(value)));
        match resource {
            Resource::Processes | Resource::PendingSignals => None,
            Resource::Core => Some((Some(0), None)),
            Resource::Stack => Some((Some(8 << 20), None)),
            Resource::OpenFiles => Some((Some(1024), Some(512 << 10))),
            Resource::LockedMemory => both(8 << 20),
            Resource::MessageQueue => both(819_200),
            Resource::Nice | Resource::RealTimePriority => both(0),
            _ => Some((None, None)),
        }
    };
    let mut text = None;
    let mut asked = |resource| {
        // Much cheaper than the text in proc, but only for who may change the limits, too.
        let limit = sys::process::limit_of(rustix::process::Pid::INIT, rlimit::resource(resource));
        limit.ok().map(|limit| Rlimit { soft: limit.current, hard: limit.maximum }).or_else(|| {
            let all = text
                .get_or_insert_with(|| parse_limits(&std::fs::read_to_string("/proc/1/limits").unwrap_or_default()));
            all.iter().find(|(name, _)| *name == resource).map(|(_, limit)| *limit)
        })
    };
    let mut limit = |resource| fixed(resource).map(|(soft, hard)| Rlimit { soft, hard }).or_else(|| asked(resource));
    KERNEL_ORDER.into_iter().filter_map(|resource| Some((resource, limit(resource)?))).collect()
}

/// Reads `/proc/PID/limits`: after a headline, names that are 25 columns wide and two values of 20 each.
fn parse_limits(text: &str) -> Vec<(Resource, Rlimit)> {
    let value = |line: &str, from: usize| line.get(from..from + 20).map(|word| word.trim().parse::<u64>().ok());
    let lines = KERNEL_ORDER.into_iter().zip(text.lines().skip(1));
    lines.map_while(|(name, line)| Some((name, Rlimit { soft: value(line, 26)?, hard: value(line, 47)? }))).collect()
}

/// The order of the lines in `/proc/PID/limits`.
const KERNEL_ORDER: [Resource; 16] = [
    Resource::Cpu,
    Resource::FileSize,
    Resource::Data,
    Resource::Stack,
    Resource::Core,
    Resource::ResidentSet,
    Resource::Processes,
    Resource::OpenFiles,
    Resource::LockedMemory,
    Resource::AddressSpace,
    Resource::Locks,
    Resource::PendingSignals,
    Resource::MessageQueue,
    Resource::Nice,
    Resource::RealTimePriority,
    Resource::RealTimeTimeout,
];

/// Asked of the kernel upwards from the newest one of Linux 5.9, which is less than what redd needs.
fn last_capability() -> u32 {
    let known = |number: u32| {
        let one = rustix::thread::CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::capability_is_in_bounding_set(one).is_ok()
    };
    (40..63).take_while(|number| known(*number)).last().unwrap_or(40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_the_limits_agree() {
        let text = std::fs::read_to_string("/proc/self/limits").expect("proc");
        for (name, limit) in parse_limits(&text) {
            let present = rustix::process::getrlimit(rlimit::resource(name));
            assert_eq!((limit.soft, limit.hard), (present.current, present.maximum), "{name:?}");
        }
        assert_eq!(parse_limits(&text).len(), KERNEL_ORDER.len());
    }

    #[test]
    fn the_last_capability_is_what_proc_says() {
        let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").expect("proc");
        assert_eq!(last_capability().to_string(), text.trim());
    }
}
