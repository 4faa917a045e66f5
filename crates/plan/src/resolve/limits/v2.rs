//! Which limits there are, and the files that they are written to.

use super::wanted::{UNLIMITED, Wanted};
use super::{Limit, v1};

const SECOND: u64 = 1_000_000;
/// The shortest and the longest period that the kernel takes, in microseconds.
const PERIODS: (u64, u64) = (1000, SECOND);
const USUAL_PERIOD: u64 = 100_000;

pub(super) fn limits(wanted: &Wanted) -> Vec<Limit> {
    let mut all = Vec::new();
    cpu(wanted, &mut all);
    sets(wanted, &mut all);
    memory(wanted, &mut all);
    if let Some(limit) = wanted.number("TasksMax") {
        all.push(one("TasksMax", "pids", "pids.max", limit, Ok(vec![("pids.max", limit.to_string())])));
    }
    disks(wanted, &mut all);
    all
}

/// What only has to be counted.
pub(super) fn accounting(wanted: &Wanted) -> Vec<Limit> {
    let all = [
        ("CPUAccounting", v1::COUNTED_CPU),
        ("MemoryAccounting", "memory"),
        ("TasksAccounting", "pids"),
        ("IOAccounting", "io"),
    ];
    let asked = all.into_iter().filter(|(property, _)| wanted.switch(property) == Some(true));
    asked
        .map(|(property, controller)| Limit { property, controller, unified: Vec::new(), legacy: Ok(Vec::new()) })
        .collect()
}

type Legacy = Result<Vec<(&'static str, String)>, &'static str>;

fn one(
    property: &'static str,
    controller: &'static str,
    file: &'static str,
    value: impl ToString,
    legacy: Legacy,
) -> Limit {
    Limit { property, controller, unified: vec![(file, value.to_string())], legacy }
}

fn cpu(wanted: &Wanted, all: &mut Vec<Limit>) {
    // Of both, the newer one counts.
    if let Some(weight) = wanted.number("CPUWeight") {
        let shares = if weight == 0 { v1::LOWEST_SHARES } else { v1::shares(weight) };
        let legacy = Ok(vec![("cpu.shares", shares.to_string())]);
        let (file, value) = if weight == 0 { ("cpu.idle", 1) } else { ("cpu.weight", weight) };
        all.push(one("CPUWeight", "cpu", file, value, legacy));
    } else if let Some(shares) = wanted.number("CPUShares") {
        let weight = (shares * 100 / 1024).clamp(1, 10_000);
        all.push(one("CPUShares", "cpu", "cpu.weight", weight, Ok(vec![("cpu.shares", shares.to_string())])));
    }
    if let Some(quota) = wanted.number("CPUQuota") {
        let (quota, period) = bandwidth(quota, wanted.number("CPUQuotaPeriodSec"));
        let legacy = vec![("cpu.cfs_period_us", period.to_string()), ("cpu.cfs_quota_us", quota.to_string())];
        all.push(one("CPUQuota", "cpu", "cpu.max", format!("{quota} {period}"), Ok(legacy)));
    }
}

/// Time and period, both in microseconds, from the time in each second: as asked for, but the kernel knows neither times
/// below a millisecond nor periods out of its range.
fn bandwidth(per_second: u64, period: Option<u64>) -> (u64, u64) {
    let least = PERIODS.0 * SECOND / per_second.max(1);
    let period = period.unwrap_or(USUAL_PERIOD).max(least).clamp(PERIODS.0, PERIODS.1);
    let time = (u128::from(per_second) * u128::from(period) / u128::from(SECOND)) as u64;
    (time.max(PERIODS.0), period)
}

fn sets(wanted: &Wanted, all: &mut Vec<Limit>) {
    for (property, file) in [("AllowedCPUs", "cpuset.cpus"), ("AllowedMemoryNodes", "cpuset.mems")] {
        if let Some(list) = wanted.set(property) {
            all.push(one(property, "cpuset", file, list, Ok(vec![(file, list.to_owned())])));
        }
    }
    if let Some(kind) = wanted.text("CPUSetPartition") {
        let legacy = Err("partitions of processors came with cgroup2");
        all.push(one("CPUSetPartition", "cpuset", "cpuset.cpus.partition", kind, legacy));
    }
}

fn memory(wanted: &Wanted, all: &mut Vec<Limit>) {
    const NEW: Legacy = Err("its memory controller has a hard limit alone, which is MemoryMax=");
    for (property, file) in [("MemoryMin", "memory.min"), ("MemoryLow", "memory.low"), ("MemoryHigh", "memory.high")] {
        if let Some(limit) = wanted.number(property) {
            let value = if limit == UNLIMITED { "max".to_owned() } else { limit.to_string() };
            all.push(one(property, "memory", file, value, NEW));
        }
    }
    let max = wanted.number("MemoryMax");
    if let Some(limit) = max {
        let legacy = Ok(vec![("memory.limit_in_bytes", limit.to_string())]);
        all.push(one("MemoryMax", "memory", "memory.max", limit, legacy));
    }
    if let Some(swap) = wanted.number("MemorySwapMax") {
        let legacy = match max {
            Some(max) => Ok(vec![("memory.memsw.limit_in_bytes", max.saturating_add(swap).to_string())]),
            None => Err("it limits memory and swap together, so MemoryMax= has to be set, too"),
        };
        all.push(one("MemorySwapMax", "memory", "memory.swap.max", swap, legacy));
    }
    if let Some(limit) = wanted.number("MemoryZSwapMax") {
        all.push(one("MemoryZSwapMax", "memory", "memory.zswap.max", limit, NEW));
    }
    if let Some(yes) = wanted.switch("MemoryZSwapWriteback") {
        all.push(one("MemoryZSwapWriteback", "memory", "memory.zswap.writeback", u8::from(yes), NEW));
    }
    if let Some(policy) = wanted.text("OOMPolicy") {
        let kill = policy == "kill";
        let legacy = if kill { NEW } else { Ok(Vec::new()) };
        all.push(one("OOMPolicy", "memory", "memory.oom.group", u8::from(kill), legacy));
    }
}

fn disks(wanted: &Wanted, all: &mut Vec<Limit>) {
    const WEIGHTS: &str = "its weights depend on the scheduler of each disk; limit the bandwidth instead";
    if let Some(weight) = wanted.number("IOWeight") {
        all.push(one("IOWeight", "io", "io.weight", format!("default {weight}"), Err(WEIGHTS)));
    }
    let mut each = |property, file, word: &str, legacy: &dyn Fn((u32, u32), u64) -> Legacy| {
        for &((major, minor), number) in wanted.disks(property) {
            let value = format!("{major}:{minor} {word}{number}");
            all.push(one(property, "io", file, value, legacy((major, minor), number)));
        }
    };
    each("IODeviceWeight", "io.weight", "", &|_, _| Err(WEIGHTS));
    each("IODeviceLatencyTargetSec", "io.latency", "target=", &|_, _| Err("targets for latency came with cgroup2"));
    for (property, word, file) in [
        ("IOReadBandwidthMax", "rbps=", "blkio.throttle.read_bps_device"),
        ("IOWriteBandwidthMax", "wbps=", "blkio.throttle.write_bps_device"),
        ("IOReadIOPSMax", "riops=", "blkio.throttle.read_iops_device"),
        ("IOWriteIOPSMax", "wiops=", "blkio.throttle.write_iops_device"),
    ] {
        each(property, "io.max", word, &|(major, minor), number| Ok(vec![(file, format!("{major}:{minor} {number}"))]));
    }
}
