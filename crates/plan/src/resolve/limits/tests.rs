use spec::Property;

use super::*;
use crate::{DeviceNumber, DeviceRule, Hierarchy};

fn facts(unified: &[&str], hierarchies: &[&str]) -> LimitFacts {
    let hierarchy = |name: &&str| Hierarchy { controllers: vec![(*name).into()], own: format!("/cg/{name}").into() };
    LimitFacts {
        memory: 1000 << 20,
        swap: 100 << 20,
        tasks: 4000,
        unified: unified.iter().map(|name| (*name).into()).collect(),
        hierarchies: hierarchies.iter().map(hierarchy).collect(),
        devices: vec![
            ("/dev/a".into(), vec![DeviceNumber { block: true, major: 7, minor: Some(3) }]),
            ("char-x".into(), vec![DeviceNumber { block: false, major: 9, minor: None }]),
            ("char-none".into(), vec![]),
            ("/dev/none".into(), vec![]),
            ("/dev//a".into(), vec![DeviceNumber { block: true, major: 7, minor: Some(3) }]),
        ],
        disks: vec![("/dev/sda".into(), Some((8, 0))), ("/tmp".into(), None)],
    }
}

fn both() -> LimitFacts {
    facts(&["cpu", "memory", "pids", "io", "cpuset"], &["cpu"])
}

fn old() -> LimitFacts {
    facts(&["hugetlb"], &["cpu", "cpuacct", "memory", "pids", "blkio", "cpuset"])
}

fn plan(assignments: &[&str], facts: &LimitFacts) -> Result<Vec<LaunchStep>, Error> {
    let asked: Vec<Property> = assignments.iter().map(|one| Property::parse(one).expect(one)).collect();
    steps(&Wanted::of(asked.iter(), facts)?, facts)
}

/// `FILE=VALUE` for all files, those of a payload's group with `+` in front.
fn files(assignments: &[&str], facts: &LimitFacts) -> String {
    let mut words = Vec::new();
    for step in plan(assignments, facts).unwrap_or_else(|error| panic!("{assignments:?}: {error}")) {
        let (machine, payload) = match step {
            LaunchStep::LimitGroup { files, .. } => (files, Vec::new()),
            LaunchStep::LimitHierarchy(group) => (group.machine, group.payload),
            other => panic!("{other}"),
        };
        words.extend(machine.iter().map(|one| format!("{}={}", one.file, one.value)));
        words.extend(payload.iter().map(|one| format!("+{}={}", one.file, one.value)));
    }
    words.join("; ")
}

#[test]
fn each_limit_has_its_file_in_both_versions() {
    for (assignments, unified, legacy) in [
        (&["CPUWeight=200"][..], "cpu.weight=200", Some("cpu.shares=2048")),
        (&["CPUWeight=idle"], "cpu.idle=1", Some("cpu.shares=2")),
        (&["CPUShares=512"], "cpu.weight=50", Some("cpu.shares=512")),
        (&["CPUQuota=50%"], "cpu.max=50000 100000", Some("cpu.cfs_period_us=100000; cpu.cfs_quota_us=50000")),
        (
            &["CPUQuota=250%", "CPUQuotaPeriodSec=10ms"],
            "cpu.max=25000 10000",
            Some("cpu.cfs_period_us=10000; cpu.cfs_quota_us=25000"),
        ),
        (
            &["CPUQuota=1%", "CPUQuotaPeriodSec=1ms"],
            "cpu.max=1000 100000",
            Some("cpu.cfs_period_us=100000; cpu.cfs_quota_us=1000"),
        ),
        (
            &["CPUQuota=50%", "CPUQuotaPeriodSec=5s"],
            "cpu.max=500000 1000000",
            Some("cpu.cfs_period_us=1000000; cpu.cfs_quota_us=500000"),
        ),
        (&["AllowedCPUs=0,2-3 5"], "cpuset.cpus=0,2-3,5", Some("cpuset.cpus=0,2-3,5")),
        (&["AllowedMemoryNodes=0"], "cpuset.mems=0", Some("cpuset.mems=0")),
        (&["AllowedCPUs=0", "CPUSetPartition=isolated"], "cpuset.cpus=0; cpuset.cpus.partition=isolated", None),
        (&["MemoryMin=1K"], "memory.min=1024", None),
        (&["MemoryLow=1K"], "memory.low=1024", None),
        (&["MemoryMin=infinity"], "memory.min=max", None),
        (&["MemoryLow=infinity"], "memory.low=max", None),
        (&["MemoryMin=1K", "MemoryMin=0%", "MemoryLow=1K", "MemoryLow="], "", Some("")),
        (&["MemoryHigh=1K"], "memory.high=1024", None),
        (&["MemoryMax=1K"], "memory.max=1024", Some("memory.limit_in_bytes=1024")),
        (&["MemoryLimit=1K"], "memory.max=1024", Some("memory.limit_in_bytes=1024")),
        (&["MemoryMax=10%"], "memory.max=104857600", Some("memory.limit_in_bytes=104857600")),
        (
            &["MemoryMax=1K", "MemorySwapMax=2K"],
            "memory.max=1024; memory.swap.max=2048",
            Some("memory.limit_in_bytes=1024; memory.memsw.limit_in_bytes=3072"),
        ),
        (&["MemorySwapMax=50%"], "memory.swap.max=52428800", None),
        (&["MemoryZSwapMax=0"], "memory.zswap.max=0", None),
        (&["MemoryZSwapWriteback=no"], "memory.zswap.writeback=0", None),
        (&["OOMPolicy=kill"], "memory.oom.group=1", None),
        (&["OOMPolicy=continue"], "memory.oom.group=0", Some("")),
        (&["TasksMax=7"], "pids.max=7", Some("pids.max=7")),
        (&["TasksMax=10%"], "pids.max=400", Some("pids.max=400")),
        (&["IOWeight=50"], "io.weight=default 50", None),
        (&["BlockIOWeight=500"], "io.weight=default 100", None),
        (&["IODeviceWeight=/dev/sda 50"], "io.weight=8:0 50", None),
        (&["IODeviceLatencyTargetSec=/dev/sda 25ms"], "io.latency=8:0 target=25000", None),
        (
            &["IOReadBandwidthMax=/dev/sda 1M"],
            "io.max=8:0 rbps=1000000",
            Some("blkio.throttle.read_bps_device=8:0 1000000; +blkio.throttle.read_bps_device=8:0 1000000"),
        ),
        (
            &["IOWriteIOPSMax=/dev/sda 9"],
            "io.max=8:0 wiops=9",
            Some("blkio.throttle.write_iops_device=8:0 9; +blkio.throttle.write_iops_device=8:0 9"),
        ),
        (
            &["BlockIOWriteBandwidth=/dev/sda 9"],
            "io.max=8:0 wbps=9",
            Some("blkio.throttle.write_bps_device=8:0 9; +blkio.throttle.write_bps_device=8:0 9"),
        ),
        (
            &["IOReadIOPSMax=/dev/sda 9"],
            "io.max=8:0 riops=9",
            Some("blkio.throttle.read_iops_device=8:0 9; +blkio.throttle.read_iops_device=8:0 9"),
        ),
        (&["MemoryAccounting=yes", "TasksAccounting=no", "IOAccounting=yes"], "", Some("")),
        // The last one counts, an empty one takes back.
        (&["TasksMax=7", "TasksMax=8"], "pids.max=8", Some("pids.max=8")),
        (&["TasksMax=7", "TasksMax=infinity", "MemoryMax=1K", "MemoryMax="], "", Some("")),
        (&["IOReadBandwidthMax=/dev/sda 1M", "IOReadBandwidthMax=/dev/sda infinity"], "", Some("")),
        (&["IOReadBandwidthMax=/dev/sda 1M", "IOReadBandwidthMax="], "", Some("")),
        (
            &["Delegate=yes", "Delegate=cpu", "IPAccounting=no", "DeviceAllow=/dev/a", "DevicePolicy=closed"],
            "",
            Some(""),
        ),
    ] {
        assert_eq!(files(assignments, &both()), unified, "{assignments:?}");
        match legacy {
            Some(legacy) => assert_eq!(files(assignments, &old()), legacy, "{assignments:?}"),
            None => {
                let error = plan(assignments, &old()).expect_err(assignments[0]);
                assert!(matches!(error, Error::Version1 { .. }), "{error}");
            }
        }
    }
}

#[test]
fn only_the_controllers_that_are_needed_are_used() {
    let steps = plan(&["MemoryAccounting=yes", "TasksMax=3"], &both()).expect("plan");
    assert!(
        matches!(&steps[..], [LaunchStep::LimitGroup { controllers, .. }] if controllers[..] == ["memory", "pids"])
    );
    let steps = plan(&["MemoryAccounting=yes", "TasksMax=3", "MemoryMax=1K"], &old()).expect("plan");
    let own = steps.iter().map(|step| match step {
        LaunchStep::LimitHierarchy(group) => group.own.display().to_string(),
        other => panic!("{other}"),
    });
    assert_eq!(own.collect::<Vec<_>>(), ["/cg/memory", "/cg/pids"]);
}

#[test]
fn what_cannot_be_carried_out_is_refused_by_name() {
    for (assignment, words) in [
        ("TasksMax=7", "needs the controller pids"),
        ("IPAddressDeny=any", "IPAddressDeny= is for a service manager"),
        ("Description=x", "Description= is for a service manager"),
        ("StartupCPUWeight=5", "StartupCPUWeight= is for a service manager"),
        ("Delegate=no", "Delegate= is for a service manager"),
        ("OOMPolicy=stop", "OOMPolicy= is for a service manager"),
        ("IPAccounting=yes", "IPAccounting= is for a service manager"),
        ("IOReadIOPSMax=/tmp 9", "/tmp is no block device"),
    ] {
        let error = plan(&[assignment], &facts(&[], &["memory"])).expect_err(assignment).to_string();
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn devices() {
    let resolve = |assignments: &[&str]| {
        let asked: Vec<Property> = assignments.iter().map(|one| Property::parse(one).expect(one)).collect();
        devices::resolve(asked.iter(), &both())
    };
    let access = resolve(&["DeviceAllow=/dev/a r", "DeviceAllow=char-x", "DeviceAllow=char-none rw"]).expect("devices");
    assert!(!access.strict);
    let [first, second] = &access.rules[..] else { panic!("{access:?}") };
    assert!(first.block && (first.major, first.minor) == (7, Some(3)) && first.read && !first.write && !first.make);
    assert!(!second.block && (second.major, second.minor) == (9, None) && second.read && second.write && second.make);
    let access = resolve(&["DeviceAllow=/dev/a", "DeviceAllow=", "DevicePolicy=strict"]).expect("devices");
    assert!(access.strict && access.rules.is_empty());
    // What is said last of a name counts alone, as with a service manager.
    let rights = |assignments: &[&str]| {
        let show = |rule: &DeviceRule| (rule.major, rule.read, rule.write, rule.make);
        resolve(assignments).expect("devices").rules.iter().map(show).collect::<Vec<_>>()
    };
    let repeated = ["DeviceAllow=/dev/a rwm", "DeviceAllow=char-x r", "DeviceAllow=/dev//a r", "DeviceAllow=char-x w"];
    assert_eq!(rights(&repeated), [(7, true, false, false), (9, false, true, false)]);
    assert_eq!(rights(&["DeviceAllow=/dev/a r", "DeviceAllow=", "DeviceAllow=/dev/a w"]), [(7, false, true, false)]);
    assert_eq!(resolve(&["DeviceAllow=/dev/none"]), Err(Error::NoDevice("/dev/none".into())));
}
