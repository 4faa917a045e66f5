//! `linux.resources` and `linux.cgroupsPath`, as properties of units.

use std::path::{Component, Path};

use super::node::{Node, Object};
use super::{BundleError, devices};
use crate::{Property, SliceName, SpecPatch};

/// Weights of processors and disks in version 1 of control groups, and the ones in their middle.
const SHARES: (i64, i64, i64) = (2, 262_144, 1024);
const DISK_WEIGHTS: (i64, i64, i64) = (10, 1000, 500);
/// Microseconds.
const SECOND: u64 = 1_000_000;

/// Properties that are collected.
#[derive(Default)]
struct Properties(Vec<Property>);

impl Properties {
    /// `node` is what asks for it.
    fn set(&mut self, node: &Node, assignment: &str) -> Result<(), BundleError> {
        self.0.push(Property::parse(assignment).map_err(|error| node.error(error.to_string()))?);
        Ok(())
    }
}

pub(super) fn read(node: Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut resources = node.object()?;
    let mut properties = Properties::default();
    if let Some(list) = resources.take("devices") {
        devices::rules(list, patch)?;
    }
    if let Some(node) = resources.take("memory") {
        memory(node, &mut properties)?;
    }
    if let Some(node) = resources.take("pids") {
        let mut pids = node.object()?;
        let limit = pids.need("limit")?;
        properties.set(&limit, &format!("TasksMax={}", amount(&limit)?))?;
        pids.finish()?;
    }
    if let Some(node) = resources.take("cpu") {
        cpu(node, &mut properties)?;
    }
    if let Some(node) = resources.take("blockIO") {
        disks(node, &mut properties)?;
    }
    if let Some(node) = resources.take("unified") {
        for (file, value) in node.object()?.entries() {
            unified(&file, &value, &mut properties)?;
        }
    }
    resources.refuse(&[
        ("hugepageLimits", "huge pages are not limited"),
        ("network", "packets get no classes and priorities; the machine's network is its own"),
        ("rdma", "remote memory access is not limited"),
    ])?;
    resources.finish()?;
    if !properties.0.is_empty() {
        patch.properties.get_or_insert_default().extend(properties.0);
    }
    Ok(())
}

/// `cgroupsPath`: that of a slice, in which the service manager makes the container's unit.
pub(super) fn place(node: &Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let text = node.text()?;
    let refused = || node.refused("only the path of a slice, such as machine.slice, is one that redd can be in");
    let mut names = Path::new(text).components().filter(|part| *part != Component::RootDir).peekable();
    let mut above = String::new();
    let mut slice = None;
    while let Some(part) = names.next() {
        let name = part.as_os_str().to_str().ok_or_else(refused)?;
        let stem = name.strip_suffix(".slice").ok_or_else(refused)?;
        // Slices are in those whose names they continue.
        let own = stem.strip_prefix(above.as_str()).filter(|own| !own.is_empty() && !own.contains('-'));
        own.ok_or_else(refused)?;
        above = format!("{stem}-");
        if names.peek().is_none() {
            slice = Some(name.parse::<SliceName>().map_err(|error| node.error(error.to_string()))?);
        }
    }
    let slice = slice.filter(|slice| text.trim_end_matches('/').ends_with(slice.as_str())).ok_or_else(refused)?;
    patch.bundle.get_or_insert_default().slice = Some(slice);
    Ok(())
}

/// A number, or no limit where it is negative.
fn amount(node: &Node) -> Result<String, BundleError> {
    Ok(if node.signed()? < 0 { "infinity".to_owned() } else { node.signed()?.to_string() })
}

fn memory(node: Node, properties: &mut Properties) -> Result<(), BundleError> {
    let mut memory = node.object()?;
    let limit = memory.take("limit");
    if let Some(node) = &limit {
        properties.set(node, &format!("MemoryMax={}", amount(node)?))?;
    }
    if let Some(node) = memory.take("reservation") {
        // A soft limit that there is none of keeps nothing for the container.
        let low = if node.signed()? < 0 { String::new() } else { amount(&node)? };
        properties.set(&node, &format!("MemoryLow={low}"))?;
    }
    if let Some(node) = memory.take("swap") {
        // It is the sum of both.
        let limit = limit.map(|limit| limit.signed()).transpose()?.filter(|limit| *limit >= 0);
        match (node.signed()?, limit) {
            (..0, _) => properties.set(&node, "MemorySwapMax=infinity")?,
            (_, None) => return Err(node.error("it is the limit of memory and swap together, and memory has no limit")),
            (both, Some(limit)) if both < limit => {
                return Err(node.error("it is the limit of memory and swap together, and below that of memory"));
            }
            (both, Some(limit)) => properties.set(&node, &format!("MemorySwapMax={}", both - limit))?,
        }
    }
    // Whether a limit is below what is in use: of a container that begins nothing is.
    if let Some(node) = memory.take("checkBeforeUpdate") {
        node.boolean()?;
    }
    let why = "the kernel kills whom it has to when the memory is used up";
    only(&mut memory, "disableOOMKiller", false, why)?;
    only(&mut memory, "useHierarchy", true, "what a group is charged with, the groups above it are, too")?;
    memory.refuse(&[
        ("kernel", "the kernel has no limit for its own memory alone any more"),
        ("kernelTCP", "memory of TCP is part of all memory"),
        ("swappiness", "control groups of version 2 have no such setting"),
    ])?;
    memory.finish()
}

/// A switch that can only say what is so anyway.
fn only(object: &mut Object, name: &str, value: bool, why: &'static str) -> Result<(), BundleError> {
    match object.take(name) {
        Some(node) if node.boolean()? != value => Err(node.refused(why)),
        _ => Ok(()),
    }
}

fn cpu(node: Node, properties: &mut Properties) -> Result<(), BundleError> {
    let mut cpu = node.object()?;
    if let Some(node) = cpu.take("shares") {
        properties.set(&node, &format!("CPUWeight={}", weight(&node, SHARES)?))?;
    }
    if let Some(node) = cpu.take("idle") {
        match node.signed()? {
            0 => {}
            1 => properties.set(&node, "CPUWeight=idle")?,
            _ => return Err(node.error("it is neither 0 nor 1")),
        }
    }
    bandwidth(cpu.take("quota"), cpu.take("period"), properties)?;
    if let Some(node) = cpu.take("cpus") {
        properties.set(&node, &format!("AllowedCPUs={}", node.text()?))?;
    }
    if let Some(node) = cpu.take("mems") {
        properties.set(&node, &format!("AllowedMemoryNodes={}", node.text()?))?;
    }
    let realtime = "time for real-time processes cannot be set aside for a unit";
    cpu.refuse(&[
        ("burst", "unused time is not saved up"),
        ("realtimeRuntime", realtime),
        ("realtimePeriod", realtime),
    ])?;
    cpu.finish()
}

fn bandwidth(quota: Option<Node>, period: Option<Node>, properties: &mut Properties) -> Result<(), BundleError> {
    let positive = |node: &Node| match node.unsigned()? {
        1..=0xff_ffff_ffff => node.unsigned(),
        _ => Err(node.error("it is no time in microseconds")),
    };
    let Some(quota) = quota else {
        return period.map_or(Ok(()), |period| Err(period.error("it means nothing without a quota")));
    };
    // As the kernel has it where nothing is said.
    let length = period.as_ref().map(positive).transpose()?.unwrap_or(100_000);
    if quota.signed()? < 0 {
        return properties.set(&quota, "CPUQuota=");
    }
    share(&quota, (positive(&quota)?, length), period.is_some(), properties)
}

/// So much time in so long a period, both in microseconds; the period as that of the limit, too, where it was said.
fn share(node: &Node, (time, period): (u64, u64), said: bool, properties: &mut Properties) -> Result<(), BundleError> {
    let each_second = u128::from(time) * u128::from(SECOND) / u128::from(period);
    let each_second = u64::try_from(each_second).ok().filter(|time| (1..u64::MAX).contains(time));
    let each_second = each_second.ok_or_else(|| node.error("it is no share of the time that can be given"))?;
    properties.0.push(Property::processor_time(each_second));
    if said { properties.set(node, &format!("CPUQuotaPeriodSec={period}us")) } else { Ok(()) }
}

/// A file of cgroup2, as far as a property stands for it (<https://docs.kernel.org/admin-guide/cgroup-v2.html>).
fn unified(file: &str, value: &Node, properties: &mut Properties) -> Result<(), BundleError> {
    let text = value.text()?.trim();
    let property = match file {
        "cpu.max" => {
            let (quota, period) = text.split_once(' ').unwrap_or((text, "100000"));
            if quota == "max" {
                return properties.set(value, "CPUQuota=");
            }
            let time = |text: &str| text.parse().ok().filter(|time| *time > 0);
            let (quota, period): (Option<u64>, Option<u64>) = (time(quota), time(period.trim()));
            let (Some(quota), Some(period)) = (quota, period) else {
                return Err(value.error("it is no time and period in microseconds"));
            };
            return share(value, (quota, period), true, properties);
        }
        "cpu.weight" => "CPUWeight",
        "cpuset.cpus" => "AllowedCPUs",
        "cpuset.mems" => "AllowedMemoryNodes",
        "io.weight" => "IOWeight",
        "memory.min" => "MemoryMin",
        "memory.low" => "MemoryLow",
        "memory.high" => "MemoryHigh",
        "memory.max" => "MemoryMax",
        "memory.swap.max" => "MemorySwapMax",
        "memory.zswap.max" => "MemoryZSwapMax",
        "pids.max" => "TasksMax",
        _ => return Err(value.refused("no property of a unit stands for this file")),
    };
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let text = match property {
        "IOWeight" => text.strip_prefix("default ").unwrap_or(text),
        _ if text == "max" && property != "CPUWeight" => "infinity",
        _ => text,
    };
    let plain = matches!(property, "AllowedCPUs" | "AllowedMemoryNodes") || text == "infinity" || number(text);
    if !plain {
        return Err(value.error("it is no value of this file that a property has"));
    }
    properties.set(value, &format!("{property}={text}"))
}

/// From a weight of version 1 to one of version 2, with 100 in the middle.
fn weight(node: &Node, (lowest, highest, middle): (i64, i64, i64)) -> Result<i64, BundleError> {
    match node.signed()? {
        old if (lowest..=highest).contains(&old) => Ok((old * 100 / middle).clamp(1, 10_000)),
        _ => Err(node.error(format!("it is no number from {lowest} to {highest}"))),
    }
}

fn disks(node: Node, properties: &mut Properties) -> Result<(), BundleError> {
    let leaves = "processes of a group have no weight of their own against the groups in it";
    let mut disks = node.object()?;
    if let Some(node) = disks.take("weight") {
        properties.set(&node, &format!("IOWeight={}", weight(&node, DISK_WEIGHTS)?))?;
    }
    for node in disks.take("weightDevice").map(Node::array).transpose()?.unwrap_or_default() {
        let path = node.path.clone();
        let mut entry = node.object()?;
        let disk = disk(&mut entry)?;
        entry.refuse(&[("leafWeight", leaves)])?;
        let node = entry.take("weight").ok_or(BundleError::Missing(format!("{path}.weight")))?;
        properties.set(&node, &format!("IODeviceWeight={disk} {}", weight(&node, DISK_WEIGHTS)?))?;
        entry.finish()?;
    }
    for (name, property) in [
        ("throttleReadBpsDevice", "IOReadBandwidthMax"),
        ("throttleWriteBpsDevice", "IOWriteBandwidthMax"),
        ("throttleReadIOPSDevice", "IOReadIOPSMax"),
        ("throttleWriteIOPSDevice", "IOWriteIOPSMax"),
    ] {
        for node in disks.take(name).map(Node::array).transpose()?.unwrap_or_default() {
            let mut entry = node.object()?;
            let disk = disk(&mut entry)?;
            let rate = entry.need("rate")?;
            if rate.unsigned()? == 0 {
                return Err(rate.error("at a rate of zero nothing would ever come to an end"));
            }
            properties.set(&rate, &format!("{property}={disk} {}", rate.unsigned()?))?;
            entry.finish()?;
        }
    }
    disks.refuse(&[("leafWeight", leaves)])?;
    disks.finish()
}

/// The name under which a disk is known by its numbers.
fn disk(entry: &mut Object) -> Result<String, BundleError> {
    let mut number = |name, highest| devices::number(&entry.need(name)?, highest);
    let (major, minor) = (number("major", devices::HIGHEST.0)?, number("minor", devices::HIGHEST.1)?);
    Ok(format!("/dev/block/{major}:{minor}"))
}
