//! What limits are relative to and put on. Looked at only where there are limits.

use std::collections::BTreeSet;
use std::path::Path;

use cgroup::device::HIGHEST;
use plan::{DeviceNumber, Hierarchy, LimitFacts};
use rustix::fs::{FileType, major, minor};
use spec::{ContainerSpec, Property, PropertyValue};

pub(super) fn probe(spec: &ContainerSpec, service_manager: bool) -> Option<LimitFacts> {
    let property = spec.property();
    let asked: Vec<&Property> = property.properties.iter().chain(&property.limits).collect();
    if asked.is_empty() || property.keep_unit {
        return None;
    }
    let mut facts = LimitFacts { devices: devices(&asked), ..LimitFacts::default() };
    if service_manager {
        return Some(facts);
    }
    let system = rustix::system::sysinfo();
    let unit = u64::from(system.mem_unit);
    facts.memory = system.totalram.saturating_mul(unit);
    facts.swap = system.totalswap.saturating_mul(unit);
    facts.tasks = tasks();
    facts.unified = cgroup::Layout::probe().map(|layout| layout.controllers()).unwrap_or_default();
    facts.hierarchies = cgroup::limit::v1::hierarchies()
        .into_iter()
        .map(|one| Hierarchy { controllers: one.controllers, own: one.own })
        .collect();
    facts.disks = disks(&asked);
    Some(facts)
}

/// The lower one of the two limits that the kernel has for all processes together.
fn tasks() -> u64 {
    let read = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let both = ["/proc/sys/kernel/pid_max", "/proc/sys/kernel/threads-max"];
    both.into_iter().filter_map(read).min().unwrap_or(32768)
}

fn devices(asked: &[&Property]) -> Vec<(String, Vec<DeviceNumber>)> {
    let pairs =
        asked.iter().filter(|property| property.setting == "DeviceAllow").filter_map(|property| {
            match &property.value {
                PropertyValue::Pairs(all) => Some(all),
                _ => None,
            }
        });
    let names: BTreeSet<&String> = pairs.flatten().map(|(name, _)| name).collect();
    let drivers = if names.iter().any(|name| !name.starts_with('/')) { drivers() } else { Vec::new() };
    names.into_iter().map(|name| (name.clone(), find(name, &drivers))).collect()
}

/// What a name stands for; a group of devices also has its driver's number for a name.
fn find(name: &str, drivers: &[(bool, u32, String)]) -> Vec<DeviceNumber> {
    let (block, pattern) = match (name.strip_prefix("block-"), name.strip_prefix("char-")) {
        (Some(pattern), _) => (true, pattern),
        (_, Some(pattern)) => (false, pattern),
        _ => return node(name).into_iter().collect(),
    };
    let all_of = |major| DeviceNumber { block, major, minor: None };
    if let Some(major) = number(pattern, HIGHEST.0) {
        return vec![all_of(major)];
    }
    let fitting = drivers.iter().filter(|(kind, _, driver)| *kind == block && matches(pattern, driver));
    fitting.map(|(_, major, _)| all_of(*major)).collect()
}

/// A number that the kernel has.
fn number(text: &str, highest: u32) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number <= highest)
}

/// A node, or one by its number below `/dev/char` or `/dev/block`, which need not be there.
fn node(path: &str) -> Option<DeviceNumber> {
    let numbered = [("/dev/block/", true), ("/dev/char/", false)].into_iter().find_map(|(directory, block)| {
        let (major, minor) = path.strip_prefix(directory)?.split_once(':')?;
        Some(DeviceNumber { block, major: number(major, HIGHEST.0)?, minor: Some(number(minor, HIGHEST.1)?) })
    });
    numbered.or_else(|| {
        let status = rustix::fs::stat(path).ok()?;
        let block = match FileType::from_raw_mode(status.st_mode) {
            FileType::BlockDevice => true,
            FileType::CharacterDevice => false,
            _ => return None,
        };
        Some(DeviceNumber { block, major: major(status.st_rdev), minor: Some(minor(status.st_rdev)) })
    })
}

/// What `/proc/devices` says: whether block devices, the number, the name.
fn drivers() -> Vec<(bool, u32, String)> {
    let text = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    let mut block = false;
    let mut all = Vec::new();
    for line in text.lines() {
        block |= line.starts_with("Block");
        if let Some((number, name)) = line.trim().split_once(' ')
            && let Ok(number) = number.parse()
        {
            all.push((block, number, name.to_owned()));
        }
    }
    all
}

/// As file names are matched with `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut characters = pattern.chars();
    match characters.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = characters.as_str();
            std::iter::once(name.len())
                .chain(name.char_indices().map(|(at, _)| at))
                .any(|at| matches(rest, &name[at..]))
        }
        Some(one) => {
            let mut behind = name.chars();
            behind.next().is_some_and(|first| one == '?' || one == first)
                && matches(characters.as_str(), behind.as_str())
        }
    }
}

fn disks(asked: &[&Property]) -> Vec<(String, Option<(u32, u32)>)> {
    let numbers = asked.iter().filter_map(|property| match &property.value {
        PropertyValue::PathNumbers(all) => Some(all),
        _ => None,
    });
    let paths: BTreeSet<&String> = numbers.flatten().map(|(path, _)| path).collect();
    paths.into_iter().map(|path| (path.clone(), disk(Path::new(path)))).collect()
}

/// The disk that this is, or that the file system lies on; of a partition the whole disk.
fn disk(path: &Path) -> Option<(u32, u32)> {
    let numbered = path.to_str().and_then(|path| path.strip_prefix("/dev/block/")).and_then(|name| {
        let (major, minor) = name.split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    });
    let number = match numbered {
        // Nodes by number are made by udev, which not every host has.
        Some(number) => number,
        None => {
            let status = rustix::fs::stat(path).ok()?;
            let device = match FileType::from_raw_mode(status.st_mode) {
                FileType::BlockDevice => status.st_rdev,
                _ => status.st_dev,
            };
            (major(device), minor(device))
        }
    };
    let directory = format!("/sys/dev/block/{}:{}", number.0, number.1);
    if !Path::new(&directory).exists() {
        return None;
    }
    if !Path::new(&directory).join("partition").exists() {
        return Some(number);
    }
    let whole = std::fs::read_to_string(Path::new(&directory).join("../dev")).ok()?;
    let (major, minor) = whole.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_patterns() {
        for (pattern, name, fits) in [
            ("pts", "pts", true),
            ("pts", "ptsx", false),
            ("cpu/*", "cpu/msr", true),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*", "abc", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    #[test]
    fn devices_are_found_by_path_number_and_driver() {
        let null = DeviceNumber { block: false, major: 1, minor: Some(3) };
        assert_eq!(node("/dev/null"), Some(null));
        assert_eq!(node("/dev/char/1:3"), Some(null));
        assert_eq!(node("/dev/block/7:1"), Some(DeviceNumber { block: true, major: 7, minor: Some(1) }));
        assert_eq!((node("/dev/none"), node("/dev")), (None, None));
        let last = DeviceNumber { block: false, major: 4095, minor: Some(1_048_575) };
        assert_eq!(node("/dev/char/4095:1048575"), Some(last));
        // These would be other devices in the kernel's own words for them.
        for name in ["4097:1", "1:1048577", "0:1048577", "4096:0", "0:1048576", "4294967297:1", "-1:1", "+1:1", "1:"] {
            assert_eq!(node(&format!("/dev/char/{name}")), None, "{name}");
        }
        let mem = drivers().into_iter().find(|(block, _, name)| !block && name == "mem");
        assert_eq!(mem, Some((false, 1, "mem".into())));
        let all = |block, major| vec![DeviceNumber { block, major, minor: None }];
        assert_eq!((find("char-mem", &drivers()), find("char-1", &[])), (all(false, 1), all(false, 1)));
        assert_eq!((find("block-7", &[]), find("block-4096", &[]), find("char-", &[])), (all(true, 7), vec![], vec![]));
    }
}
