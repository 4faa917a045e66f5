//! What the machine is, for whoever reads the figures.

use std::path::Path;

use serde::Serialize;

/// The machine in a few words.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Machine {
    /// The processor's name and how many there are.
    pub processor: String,
    /// The memory, in GiB.
    pub memory_gib: u64,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution.
    pub system: String,
    /// The file system that the trees lie on, and its device.
    pub disk: String,
}

/// Looks at this machine; `trees` is where the trees lie.
pub(super) fn describe(trees: &Path) -> Machine {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let processor = field(&read("/proc/cpuinfo"), "model name", ':');
    let memory: u64 = field(&read("/proc/meminfo"), "MemTotal", ':')
        .split_whitespace()
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0);
    Machine {
        processor: format!("{processor}, {count} of them"),
        memory_gib: memory.div_ceil(1 << 20),
        kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        system: field(&read("/etc/os-release"), "PRETTY_NAME", '=').trim_matches('"').to_owned(),
        disk: mount_of(&read("/proc/self/mounts"), trees),
    }
}

/// The value of the first line that starts with the name.
fn field(text: &str, name: &str, separator: char) -> String {
    let values = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(separator)?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    values.into_iter().next().unwrap_or_else(|| "unknown".to_owned())
}

/// The type and device of the file system that a path is on: the last one mounted on the longest directory above it.
pub(super) fn mount_of(mounts: &str, path: &Path) -> String {
    let all = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ');
        Some((words.next()?, words.next()?, words.next()?))
    });
    let above = all.filter(|(_, point, _)| path.starts_with(point));
    above
        .max_by_key(|(_, point, _)| point.len())
        .map_or_else(|| "unknown".to_owned(), |(device, _, kind)| format!("{kind} on {device}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\ntmpfs /home tmpfs rw 0 0\n/dev/b /home/x btrfs rw 0 0\n";
        assert_eq!(mount_of(mounts, Path::new("/home/xy/z")), "tmpfs on tmpfs");
        assert_eq!(mount_of(mounts, Path::new("/home/x/z")), "btrfs on /dev/b");
        assert_eq!(mount_of("", Path::new("/")), "unknown");
    }

    #[test]
    fn fields() {
        assert_eq!(field("a\t: b\nc : d: e\n", "c", ':'), "d: e");
        assert_eq!(field("a: b\n", "z", ':'), "unknown");
    }
}
