//! Many assignments become one value each.

use std::collections::BTreeMap;

use spec::{Property, PropertyValue};

use super::super::Error;
use crate::LimitFacts;

/// No limit, or the default; of memory that is protected all.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// A block device and a number for it.
type DiskLimit = ((u32, u32), u64);

/// What holds in the end: of several assignments the last one, of lists all since the last empty one.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    numbers: BTreeMap<&'static str, u64>,
    texts: BTreeMap<&'static str, String>,
    /// Sets of numbers as the kernel writes them, such as `0,2-3`.
    sets: BTreeMap<&'static str, String>,
    /// Of block devices.
    disks: BTreeMap<&'static str, Vec<DiskLimit>>,
    switches: BTreeMap<&'static str, bool>,
}

/// Properties that mean something without a service manager.
const KNOWN: [&str; 31] = [
    "CPUAccounting",
    "CPUWeight",
    "CPUShares",
    "CPUQuota",
    "CPUQuotaPeriodSec",
    "AllowedCPUs",
    "AllowedMemoryNodes",
    "CPUSetPartition",
    "MemoryAccounting",
    "MemoryMin",
    "MemoryLow",
    "MemoryHigh",
    "MemoryMax",
    "MemorySwapMax",
    "MemoryZSwapMax",
    "MemoryZSwapWriteback",
    "TasksAccounting",
    "TasksMax",
    "IOAccounting",
    "IOWeight",
    "IODeviceWeight",
    "IOReadBandwidthMax",
    "IOWriteBandwidthMax",
    "IOReadIOPSMax",
    "IOWriteIOPSMax",
    "IODeviceLatencyTargetSec",
    "OOMPolicy",
    "Delegate",
    "IPAccounting",
    "DeviceAllow",
    "DevicePolicy",
];

impl Wanted {
    pub(super) fn of<'a>(asked: impl Iterator<Item = &'a Property>, facts: &LimitFacts) -> Result<Self, Error> {
        let mut wanted = Self::default();
        for property in asked {
            wanted.take(property, facts)?;
        }
        Ok(wanted)
    }

    fn take(&mut self, property: &Property, facts: &LimitFacts) -> Result<(), Error> {
        let (setting, convert) = modern(property.setting);
        let refused = || Error::NoServiceManager(property.setting.to_owned());
        if !KNOWN.contains(&setting) {
            return Err(refused());
        }
        match &property.value {
            // Always so; its being off would need somebody else to look after the groups.
            PropertyValue::Boolean(false) if matches!(setting, "Delegate") => return Err(refused()),
            PropertyValue::Boolean(true) if setting == "IPAccounting" => return Err(refused()),
            PropertyValue::Boolean(yes) => drop(self.switches.insert(setting, *yes)),
            PropertyValue::U64(number) if *number == usual(setting) => drop(self.numbers.remove(setting)),
            PropertyValue::U64(number) => drop(self.numbers.insert(setting, convert(*number))),
            PropertyValue::U32(0) if usual(setting) == 0 => drop(self.numbers.remove(setting)),
            PropertyValue::U32(scale) => drop(self.numbers.insert(setting, share(setting, *scale, facts))),
            PropertyValue::Bits(bits) if bits.is_empty() => drop(self.sets.remove(setting)),
            PropertyValue::Bits(bits) => drop(self.sets.insert(setting, list(bits))),
            PropertyValue::PathNumbers(all) if all.is_empty() => drop(self.disks.remove(setting)),
            PropertyValue::PathNumbers(all) => {
                for (path, number) in all {
                    let disk = facts.disks.iter().find(|(known, _)| known == path).and_then(|(_, disk)| *disk);
                    let disk = disk.ok_or_else(|| Error::NoDisk(path.clone()))?;
                    let disks = self.disks.entry(setting).or_default();
                    disks.retain(|(known, _)| *known != disk);
                    if *number != UNLIMITED {
                        disks.push((disk, convert(*number)));
                    }
                }
            }
            // By default the scope is stopped; without anybody to stop it, what is left goes on.
            PropertyValue::Text(text) if setting == "OOMPolicy" && text == "stop" => return Err(refused()),
            PropertyValue::Text(text) => drop(self.texts.insert(setting, text.clone())),
            // Devices are dealt with on their own, and all controllers are always handed on.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn number(&self, setting: &str) -> Option<u64> {
        self.numbers.get(setting).copied()
    }

    pub(super) fn text(&self, setting: &str) -> Option<&str> {
        self.texts.get(setting).map(String::as_str)
    }

    pub(super) fn set(&self, setting: &str) -> Option<&str> {
        self.sets.get(setting).map(String::as_str)
    }

    pub(super) fn disks(&self, setting: &str) -> &[DiskLimit] {
        self.disks.get(setting).map_or(&[], Vec::as_slice)
    }

    pub(super) fn switch(&self, setting: &str) -> Option<bool> {
        self.switches.get(setting).copied()
    }
}

/// What holds where nothing is said.
fn usual(setting: &str) -> u64 {
    if matches!(setting, "MemoryMin" | "MemoryLow") { 0 } else { UNLIMITED }
}

/// The present name of a setting, and its values from the old ones'.
fn modern(setting: &'static str) -> (&'static str, fn(u64) -> u64) {
    /// From 10 to 1000 with 500 in the middle, to 1 to 10000 with 100 there.
    fn weight(old: u64) -> u64 {
        (old * 100 / 500).clamp(1, 10_000)
    }
    match setting {
        "MemoryLimit" => ("MemoryMax", |limit| limit),
        "BlockIOAccounting" => ("IOAccounting", |yes| yes),
        "BlockIOWeight" => ("IOWeight", weight),
        "BlockIODeviceWeight" => ("IODeviceWeight", weight),
        "BlockIOReadBandwidth" => ("IOReadBandwidthMax", |rate| rate),
        "BlockIOWriteBandwidth" => ("IOWriteBandwidthMax", |rate| rate),
        other => (other, |value| value),
    }
}

/// A share of what the host has. Of memory whole pages.
fn share(setting: &str, scale: u32, facts: &LimitFacts) -> u64 {
    const PAGE: u64 = 4096;
    let of = |whole: u64| (u128::from(whole) * u128::from(scale) / u128::from(u32::MAX)) as u64;
    match setting {
        "TasksMax" => of(facts.tasks).max(1),
        "MemorySwapMax" => of(facts.swap) / PAGE * PAGE,
        _ => of(facts.memory) / PAGE * PAGE,
    }
}

/// The numbers of the bits that are set, with ranges.
fn list(bits: &[u8]) -> String {
    let numbers = (0..bits.len() * 8).filter(|number| bits[number / 8] & 1 << (number % 8) != 0);
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let word =
        |(first, last): (usize, usize)| if first == last { format!("{first}") } else { format!("{first}-{last}") };
    ranges.into_iter().map(word).collect::<Vec<_>>().join(",")
}
