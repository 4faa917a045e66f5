//! Devices, resources, the place of the control group.

use serde_json::{Value, json};

use super::{parse, with};
use crate::oci::{BundleDeviceKind, BundleSpec};

fn bundle(pointer: &str, value: Value) -> BundleSpec {
    let shown = value.to_string();
    parse(&with(pointer, value)).unwrap_or_else(|error| panic!("{shown}: {error}")).bundle.expect("a bundle")
}

#[test]
fn devices_are_made_as_they_are_said() {
    let list = json!([
        {"path": "/dev/a", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 5, "gid": 6},
        {"path": "/srv/b/../c", "type": "b", "major": 7, "minor": 0}
    ]);
    assert!(parse(&with("/linux/devices", list)).is_err(), "no way up");
    let list = json!([
        {"path": "/dev/a", "type": "c", "major": 10, "minor": 229, "fileMode": 0o600, "uid": 5, "gid": 6},
        {"path": "/srv/b", "type": "b", "major": 4095, "minor": 1_048_575},
        {"path": "/dev/u", "type": "u", "major": 1, "minor": 3},
        {"path": "/run/f", "type": "p", "major": 0},
        {"path": "/dev/console", "type": "c", "major": 5, "minor": 1},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2, "fileMode": 0o666, "uid": 0, "gid": 0}
    ]);
    let shown: Vec<String> = bundle("/linux/devices", list)
        .devices
        .iter()
        .map(|device| {
            let kind = match device.kind {
                BundleDeviceKind::Device { block, major, minor } => format!("{block} {major}:{minor}"),
                BundleDeviceKind::Fifo => "fifo".to_owned(),
            };
            format!("{} {kind} {:o} {:?} {:?}", device.path, device.mode, device.uid, device.gid)
        })
        .collect();
    let wanted = [
        "/dev/a false 10:229 600 Some(5) Some(6)",
        "/srv/b true 4095:1048575 644 None None",
        "/dev/u false 1:3 644 None None",
        "/run/f fifo 644 None None",
    ];
    assert_eq!(shown, wanted, "the container's own terminals are left out");
}

#[test]
fn the_containers_own_terminals_are_as_they_are() {
    let parsed = |number: u32, path: &str, more: Value, options: Value| {
        let mut device = json!({"path": path, "type": "c", "major": 5, "minor": number});
        device.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let mut document = with("/linux/devices", json!([device]));
        document["mounts"] = json!([{"destination": "/dev/pts", "type": "devpts", "options": options}]);
        parse(&document).map(|patch| patch.bundle.unwrap().devices.len()).map_err(|error| error.to_string())
    };
    let console = |more, options| parsed(1, "/dev/console", more, options);
    assert_eq!(console(json!({"fileMode": 0o600, "uid": 0, "gid": 5}), json!([])), Ok(0));
    assert_eq!(console(json!({"fileMode": 0o620}), json!(["mode=620"])), Ok(0));
    for (number, path, more, member) in [
        (1, "/dev/console", json!({"fileMode": 0o620}), "fileMode"),
        (1, "/dev/console", json!({"uid": 1}), "uid"),
        (1, "/dev/console", json!({"gid": 0}), "gid"),
        (2, "/dev/ptmx", json!({"fileMode": 0o620}), "fileMode"),
        (2, "/dev/pts/ptmx", json!({"uid": 7}), "uid"),
        (2, "/dev/ptmx", json!({"gid": 5}), "gid"),
    ] {
        let error = parsed(number, path, more, json!([])).unwrap_err();
        assert!(error.starts_with(&format!("linux.devices[0].{member} is not carried out")), "{path}: {error}");
    }
}

#[test]
fn rules_are_kept_in_their_order_from_the_last_one_on_about_everything() {
    let list = json!([
        {"allow": true, "type": "c", "major": 1, "access": "r"},
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 200, "access": "rwm"},
        {"allow": true, "type": "b", "major": 8, "minor": -1, "access": "mr"},
        {"allow": false, "type": "b", "major": 8, "minor": 1},
        {"allow": false, "type": "a", "access": "w"}
    ]);
    let shown = |value| -> Vec<String> {
        let show = |rule: &crate::oci::BundleDeviceRule| {
            let letters = [(rule.read, "r"), (rule.write, "w"), (rule.make, "m")];
            let letters: String = letters.into_iter().filter_map(|(may, letter)| may.then_some(letter)).collect();
            format!("{} {:?} {:?} {:?} {letters}", rule.allow, rule.block, rule.major, rule.minor)
        };
        bundle("/linux/resources", json!({"devices": value})).device_rules.iter().map(show).collect()
    };
    let wanted = [
        "true Some(false) Some(10) Some(200) rwm",
        "true Some(true) Some(8) None rm",
        "false Some(true) Some(8) Some(1) rwm",
        "false None None None w",
    ];
    assert_eq!(shown(list), wanted);
    let everything = json!([{"allow": false}, {"allow": false, "type": "c"}, {"allow": true, "access": "rwm"}]);
    assert_eq!(shown(everything), ["true None None None rwm"]);
    assert!(shown(json!([{"allow": true, "type": "c", "access": "r"}, {"allow": false, "type": "a"}])).is_empty());
}

fn properties(resources: Value) -> Vec<String> {
    let shown = resources.to_string();
    let patch = parse(&with("/linux/resources", resources)).unwrap_or_else(|error| panic!("{shown}: {error}"));
    patch.properties.unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn resources_are_properties() {
    for (resources, wanted) in [
        (json!({"memory": {"limit": 1000, "swap": 1500}}), &["MemoryMax=1000", "MemorySwapMax=500"][..]),
        (json!({"memory": {"limit": 1000, "swap": 1000}}), &["MemoryMax=1000", "MemorySwapMax=0"]),
        (json!({"memory": {"limit": 1000, "swap": -1}}), &["MemoryMax=1000", "MemorySwapMax=infinity"]),
        (json!({"memory": {"swap": -1, "reservation": 5}}), &["MemoryLow=5", "MemorySwapMax=infinity"]),
        (json!({"memory": {"reservation": -1}}), &["MemoryLow=0"]),
        (json!({"memory": {"disableOOMKiller": false, "useHierarchy": true, "checkBeforeUpdate": true}}), &[]),
        (json!({"cpu": {"shares": 1024}}), &["CPUWeight=100"]),
        (json!({"cpu": {"shares": 2}}), &["CPUWeight=1"]),
        (json!({"cpu": {"shares": 262_144}}), &["CPUWeight=10000"]),
        (json!({"cpu": {"shares": 512, "idle": 1}}), &["CPUWeight=50", "CPUWeight=0"]),
        (json!({"cpu": {"idle": 0}}), &[]),
        (
            json!({"cpu": {"quota": 50_000, "period": 200_000}}),
            &["CPUQuotaPerSecUSec=250000", "CPUQuotaPeriodUSec=200000"],
        ),
        (json!({"cpu": {"quota": 50_000}}), &["CPUQuotaPerSecUSec=500000"]),
        (json!({"cpu": {"quota": -1, "period": 100_000}}), &["CPUQuotaPerSecUSec=infinity"]),
        (json!({"cpu": {"mems": "0"}}), &["AllowedMemoryNodes=Bits([1])"]),
        (json!({"pids": {"limit": -1}}), &["TasksMax=infinity"]),
        (json!({"blockIO": {"weight": 500}}), &["IOWeight=100"]),
        (json!({"blockIO": {"weight": 10}}), &["IOWeight=2"]),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 1000}]}}),
            &["IODeviceWeight=PathNumbers([(\"/dev/block/8:0\", 200)])"],
        ),
        (
            json!({"blockIO": {
                "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 600}],
                "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 7}]
            }}),
            &[
                "IOReadBandwidthMax=PathNumbers([(\"/dev/block/8:0\", 600)])",
                "IOWriteIOPSMax=PathNumbers([(\"/dev/block/8:16\", 7)])",
            ],
        ),
        (
            json!({"unified": {"cpu.max": "20000 50000", "cpu.weight": "30", "io.weight": "default 7"}}),
            &["CPUQuotaPerSecUSec=400000", "CPUQuotaPeriodUSec=50000", "CPUWeight=30", "IOWeight=7"],
        ),
        (json!({"unified": {"cpu.max": "max 100000"}}), &["CPUQuotaPerSecUSec=infinity"]),
        (
            json!({"unified": {"memory.high": "5", "memory.max": "max", "memory.swap.max": "0", "pids.max": "9"}}),
            &["MemoryHigh=5", "MemoryMax=infinity", "MemorySwapMax=0", "TasksMax=9"],
        ),
        (json!({"unified": {"cpuset.mems": "0-1"}}), &["AllowedMemoryNodes=Bits([3])"]),
        (json!({"hugepageLimits": [], "network": {}, "rdma": {}, "unified": {}, "devices": []}), &[]),
    ] {
        assert_eq!(properties(resources.clone()), wanted, "{resources}");
    }
}

#[test]
fn the_path_of_a_slice_is_its_name() {
    for (path, slice) in [
        ("machine.slice", "machine.slice"),
        ("/machine.slice", "machine.slice"),
        ("/a.slice/a-b.slice/a-b-c.slice", "a-b-c.slice"),
        ("a.slice/", "a.slice"),
    ] {
        let found = bundle("/linux/cgroupsPath", json!(path)).slice;
        assert_eq!(found.map(|slice| slice.to_string()).as_deref(), Some(slice), "{path}");
    }
    assert_eq!(bundle("/linux/cgroupsPath", json!("")).slice, None);
}

#[test]
fn what_is_not_carried_out_is_refused_by_its_path() {
    let node = |more: Value| {
        let mut node = json!({"path": "/dev/x", "type": "c", "major": 1, "minor": 3});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([node])
    };
    let devices = [
        (json!([{"type": "c", "major": 1, "minor": 3}]), "[0].path "),
        (json!([{"path": "/dev/x", "type": "c"}]), "[0].path: a device has to have a major"),
        (json!([{"path": "/dev/x", "type": "c", "major": 1}]), "[0].path: a device has to have a minor"),
        (json!([{"path": "/dev/x", "type": "p", "minor": 1}]), "[0].minor"),
        (node(json!({"type": "s"})), "[0].type"),
        (node(json!({"path": "x"})), "[0].path"),
        (node(json!({"path": "/"})), "[0].path"),
        (node(json!({"path": "/proc/x"})), "[0].path"),
        (node(json!({"path": "/dev/shm/x"})), "[0].path"),
        (node(json!({"path": "/run/x"})), "[0].path"),
        (node(json!({"path": "/dev/console"})), "[0].path"),
        (node(json!({"path": "/dev/pts/0"})), "[0].path"),
        (node(json!({"major": 4096})), "[0].major"),
        (node(json!({"minor": 1_048_576})), "[0].minor"),
        (node(json!({"minor": -1})), "[0].minor"),
        (node(json!({"fileMode": 0o4755})), "[0].fileMode"),
        (node(json!({"fileMode": 65536})), "[0].fileMode"),
        (node(json!({"uid": -1})), "[0].uid"),
        (node(json!({"gid": 4_294_967_295u32})), "[0].gid"),
        (node(json!({"foo": 1})), "[0].foo"),
        (json!([node(json!({}))[0], node(json!({}))[0]]), "[1].path"),
    ];
    let rules = [
        (json!({"type": "c", "access": "r"}), ".allow "),
        (json!({"allow": true}), ".access "),
        (json!({"allow": true, "access": ""}), ".access"),
        (json!({"allow": true, "access": "rx"}), ".access"),
        (json!({"allow": true, "access": "r", "type": "u"}), ".type"),
        (json!({"allow": true, "access": "r", "type": "c", "minor": 1}), ": a minor"),
        (json!({"allow": true, "access": "r", "type": "a", "major": 1}), ": a major"),
        (json!({"allow": true, "access": "r", "type": "c", "major": -2}), ".major"),
        (json!({"allow": true, "access": "r", "type": "c", "major": 1, "foo": 1}), ".foo"),
    ];
    let resources = [
        (json!({"memory": {"swap": 1}}), "memory.swap"),
        (json!({"memory": {"limit": -1, "swap": 1}}), "memory.swap"),
        (json!({"memory": {"limit": 2, "swap": 1}}), "memory.swap"),
        (json!({"memory": {"limit": "2"}}), "memory.limit"),
        (json!({"memory": {"kernel": 1}}), "memory.kernel "),
        (json!({"memory": {"kernelTCP": 1}}), "memory.kernelTCP "),
        (json!({"memory": {"swappiness": 1}}), "memory.swappiness "),
        (json!({"memory": {"disableOOMKiller": true}}), "memory.disableOOMKiller "),
        (json!({"memory": {"useHierarchy": false}}), "memory.useHierarchy "),
        (json!({"memory": {"foo": 1}}), "memory.foo "),
        (json!({"cpu": {"shares": 1}}), "cpu.shares"),
        (json!({"cpu": {"shares": 262_145}}), "cpu.shares"),
        (json!({"cpu": {"idle": 2}}), "cpu.idle"),
        (json!({"cpu": {"period": 1000}}), "cpu.period"),
        (json!({"cpu": {"quota": 0, "period": 1000}}), "cpu.quota"),
        (json!({"cpu": {"quota": 1000, "period": 0}}), "cpu.period"),
        (json!({"cpu": {"burst": 1}}), "cpu.burst "),
        (json!({"cpu": {"realtimeRuntime": 1}}), "cpu.realtimeRuntime "),
        (json!({"cpu": {"realtimePeriod": 1}}), "cpu.realtimePeriod "),
        (json!({"cpu": {"cpus": "x"}}), "cpu.cpus"),
        (json!({"cpu": {"mems": "x"}}), "cpu.mems"),
        (json!({"pids": {}}), "pids.limit "),
        (json!({"pids": {"limit": 0}}), "pids.limit"),
        (json!({"blockIO": {"weight": 9}}), "blockIO.weight"),
        (json!({"blockIO": {"leafWeight": 100}}), "blockIO.leafWeight "),
        (json!({"blockIO": {"weightDevice": [{"major": 8, "weight": 9}]}}), "blockIO.weightDevice[0].minor "),
        (json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}), "blockIO.weightDevice[0].weight "),
        (
            json!({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 10, "leafWeight": 10}]}}),
            "blockIO.weightDevice[0].leafWeight ",
        ),
        (
            json!({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 0}]}}),
            "blockIO.throttleReadBpsDevice[0].rate",
        ),
        (
            json!({"blockIO": {"throttleWriteBpsDevice": [{"major": 8, "minor": 0}]}}),
            "blockIO.throttleWriteBpsDevice[0].rate ",
        ),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 1}]}), "hugepageLimits "),
        (json!({"network": {"classID": 1}}), "network "),
        (json!({"rdma": {"mlx5_1": {"hcaHandles": 1}}}), "rdma "),
        (json!({"unified": {"hugetlb.1GB.max": "1"}}), "unified[\"hugetlb.1GB.max\"] "),
        (json!({"unified": {"cgroup.procs": "1"}}), "unified[\"cgroup.procs\"] "),
        (json!({"unified": {"memory.high": 1}}), "unified[\"memory.high\"]"),
        (json!({"unified": {"memory.high": "1G"}}), "unified[\"memory.high\"]"),
        (json!({"unified": {"memory.high": ""}}), "unified[\"memory.high\"]"),
        (json!({"unified": {"cpu.weight": "max"}}), "unified[\"cpu.weight\"]"),
        (json!({"unified": {"cpu.weight": "0"}}), "unified[\"cpu.weight\"]"),
        (json!({"unified": {"cpu.max": "0 100000"}}), "unified[\"cpu.max\"]"),
        (json!({"unified": {"cpu.max": "5 x"}}), "unified[\"cpu.max\"]"),
        (json!({"unified": {"io.weight": "8:0 5"}}), "unified[\"io.weight\"]"),
        (json!({"unified": {"pids.max": "0"}}), "unified[\"pids.max\"]"),
        (json!({"devices": vec![json!({"allow": true, "access": "r", "type": "c"}); 1001]}), "devices: there are more"),
    ];
    let places =
        ["/x", "x", "/", "system.slice/x", "a.slice/b.slice", "a-b.slice", "machine.slice:a:b", "a/../b.slice"];
    let cases = devices
        .into_iter()
        .map(|(value, start)| ("/linux/devices", value, format!("linux.devices{start}")))
        .chain(rules.into_iter().map(|(rule, start)| {
            ("/linux/resources", json!({"devices": [rule]}), format!("linux.resources.devices[0]{start}"))
        }))
        .chain(
            resources.into_iter().map(|(value, start)| ("/linux/resources", value, format!("linux.resources.{start}"))),
        )
        .chain(places.map(|place| ("/linux/cgroupsPath", json!(place), "linux.cgroupsPath".to_owned())));
    for (pointer, value, start) in cases {
        let error = parse(&with(pointer, value.clone())).map(drop).expect_err(&format!("{pointer}={value}"));
        assert!(error.to_string().starts_with(&start), "{pointer}={value}: {error}");
    }
}
