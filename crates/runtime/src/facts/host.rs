//! The host as a whole. What cannot be read is taken as absent: none of it is needed to start a container.

use std::path::{Path, PathBuf};

use plan::HostSystem;
use spec::{Resource, Rlimit};

/// The fields of os-release that the container is told (systemd's CONTAINER_INTERFACE document).
const OS_IDS: [&str; 4] = ["ID", "VERSION_ID", "BUILD_ID", "VARIANT_ID"];

pub(super) fn probe() -> HostSystem {
    let os_release = ["/etc/os-release", "/usr/lib/os-release"]
        .iter()
        .find_map(|path| std::fs::canonicalize(path).ok())
        .filter(|path| path.is_file());
    HostSystem {
        hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        os_ids: os_release.as_deref().map(os_ids).unwrap_or_default(),
        os_release,
        resolv_conf: resolv_conf(),
        timezone: timezone(),
        limits: limits(),
        last_capability: last_capability(),
        user_namespaces: Path::new("/proc/self/ns/user").exists(),
        selinux: Path::new("/sys/fs/selinux/enforce").exists(),
    }
}

fn os_ids(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let fields = text.lines().filter_map(|line| line.split_once('='));
    fields
        .filter(|(key, _)| OS_IDS.contains(key))
        .map(|(key, value)| (key.to_ascii_lowercase(), value.trim_matches(['"', '\'']).to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Where systemd-resolved runs its stub's file is the one that works in a container that shares the network.
fn resolv_conf() -> Option<Vec<u8>> {
    let places = ["/run/systemd/resolve/stub-resolv.conf", "/etc/resolv.conf"].map(PathBuf::from);
    places.iter().find_map(|path| std::fs::read(path).ok())
}

fn timezone() -> Option<String> {
    let link = std::fs::read_link("/etc/localtime").ok()?;
    let text = link.to_str()?;
    let zone = text.split_once("zoneinfo/")?.1;
    let fine = !zone.is_empty() && !zone.split('/').any(|part| part.is_empty() || part == "..");
    fine.then(|| zone.to_owned())
}

/// The limits of the host's first process, which is as near to the kernel's own as can be had; of the number of open
/// files only the usual soft limit, because init systems raise theirs and select(2) cannot take more.
fn limits() -> Vec<(Resource, Rlimit)> {
    let Ok(text) = std::fs::read_to_string("/proc/1/limits") else { return Vec::new() };
    let mut lines = text.lines().skip(1);
    let mut all = Vec::new();
    for resource in KERNEL_ORDER {
        let Some(line) = lines.next() else { break };
        // The name is 25 columns wide, the two values 20 each.
        let value = |from: usize| line.get(from..from + 20).map(str::trim).map(|word| word.parse::<u64>().ok());
        let (Some(mut soft), Some(hard)) = (value(26), value(47)) else { break };
        if resource == Resource::OpenFiles {
            soft = Some(soft.map_or(1024, |soft| soft.min(1024)));
        }
        all.push((resource, Rlimit { soft, hard }));
    }
    all
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

fn last_capability() -> u32 {
    let text = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    // Without proc: the newest one of Linux 5.9, which is less than what redd needs.
    text.trim().parse().unwrap_or(40)
}
