//! Properties of the machine's unit, and the list of machines, on a host that systemd manages: a Debian in a container
//! that may do nearly all that a host may. In it the engine runs containers of its own, and a script looks at their
//! units, beside those that systemd's own client makes with the same properties.

use std::path::Path;
use std::time::Duration;

use testkit::{HostState, Spawn, fixture, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd-spawn");

const SCRIPT: &str = include_str!("systemd_properties/script.sh");
const START: &str = "[Unit]\nAfter=dbus.service\n[Service]\nType=oneshot\nExecStart=/bin/bash /work/script.sh\n";

/// A bundle with limits, a device, and rules for devices.
const BUNDLE: &str = r#"{"ociVersion": "1.0.2", "root": {"path": "/srv/tree"}, "process": {"cwd": "/", "args": ["/bin/sh", "-c",
    "(: >/dev/log-of-kernel) && echo open; mknod /k c 1 1 && echo made; mknod /n b 7 99 2>/dev/null || echo none; : </dev/null && echo fine"]},
    "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}],
    "cgroupsPath": "/redd.slice/redd-oci.slice",
    "devices": [{"path": "/dev/log-of-kernel", "type": "c", "major": 1, "minor": 11}],
    "resources": {
        "devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "access": "rm"},
            {"allow": true, "type": "b", "major": 7, "access": "rwm"}, {"allow": false, "type": "b", "major": 7, "minor": 99}],
        "memory": {"limit": 500000000, "swap": 600000000, "reservation": 100000000},
        "cpu": {"shares": 512, "quota": 5000, "period": 20000, "cpus": "0-1"}, "pids": {"limit": 77},
        "blockIO": {"weight": 300, "weightDevice": [{"major": 7, "minor": 0, "weight": 1000}],
            "throttleReadBpsDevice": [{"major": 7, "minor": 0, "rate": 12345}],
            "throttleWriteIOPSDevice": [{"major": 7, "minor": 1, "rate": 67}]}}}}"#;

/// What is set, and the name under which a unit shows it.
const ASSIGNMENTS: &[(&str, &str)] = &[
    ("CPUWeight", "CPUWeight=200"),
    ("CPUWeight", "CPUWeight=idle"),
    ("CPUWeight", "CPUWeight=0"),
    ("StartupCPUWeight", "StartupCPUWeight=5"),
    ("CPUQuotaPerSecUSec", "CPUQuota=12.5%"),
    ("CPUQuotaPerSecUSec", "CPUQuota="),
    ("CPUQuotaPerSecUSec", "CPUQuota=0%"),
    ("CPUQuotaPeriodUSec", "CPUQuotaPeriodSec=20ms"),
    ("AllowedCPUs", "AllowedCPUs=0-1"),
    ("StartupAllowedCPUs", "StartupAllowedCPUs=1"),
    ("AllowedMemoryNodes", "AllowedMemoryNodes=0"),
    ("MemoryAccounting", "MemoryAccounting=no"),
    ("MemoryMin", "MemoryMin=1M"),
    ("MemoryLow", "MemoryLow=1.5M"),
    ("MemoryMin", "MemoryMin=infinity"),
    ("MemoryLow", "MemoryLow="),
    ("MemoryHigh", "MemoryHigh=1G 512M"),
    ("MemoryHigh", "MemoryHigh=0"),
    ("MemoryMax", "MemoryMax=2G"),
    ("MemoryMax", "MemoryMax=33.33%"),
    ("MemoryMax", "MemoryMax=infinity"),
    ("MemoryMax", "MemoryMax=nonsense"),
    ("MemoryMax", "MemoryMax=-1"),
    ("MemoryMax", "MemoryMax=0"),
    ("MemoryMax", "MemoryMax=0%"),
    ("MemorySwapMax", "MemorySwapMax=0"),
    ("MemoryZSwapMax", "MemoryZSwapMax=1M"),
    ("MemoryZSwapWriteback", "MemoryZSwapWriteback=no"),
    ("TasksAccounting", "TasksAccounting=yes"),
    ("TasksMax", "TasksMax=77"),
    ("TasksMax", "TasksMax=10%"),
    ("TasksMax", "TasksMax=infinity"),
    ("TasksMax", "TasksMax=0"),
    ("TasksMax", "TasksMax=0%"),
    ("IOAccounting", "IOAccounting=yes"),
    ("IOWeight", "IOWeight=50"),
    ("IODeviceWeight", "IODeviceWeight=/dev/loop-control 5"),
    ("IOReadBandwidthMax", "IOReadBandwidthMax=/srv 5M"),
    ("IOWriteBandwidthMax", "IOWriteBandwidthMax=/srv infinity"),
    ("IOReadIOPSMax", "IOReadIOPSMax=/srv 1K"),
    ("IOWriteIOPSMax", "IOWriteIOPSMax=/srv 5"),
    ("IODeviceLatencyTargetUSec", "IODeviceLatencyTargetSec=/srv 25ms"),
    ("IPAccounting", "IPAccounting=yes"),
    ("IPAddressAllow", "IPAddressAllow=10.0.0.0/8 ::1"),
    ("IPAddressDeny", "IPAddressDeny=any"),
    ("IPAddressDeny", "IPAddressDeny=10.0.0.0/33"),
    ("SocketBindAllow", "SocketBindAllow=ipv6:tcp:80-89"),
    ("SocketBindDeny", "SocketBindDeny=any"),
    ("IPAddressAllow", "IPAddressAllow=localhost"),
    ("NFTSet", "NFTSet=cgroup:inet:filter:mine"),
    ("Delegate", "Delegate=yes"),
    ("DisableControllers", "DisableControllers=io"),
    ("ManagedOOMSwap", "ManagedOOMSwap=kill"),
    ("ManagedOOMMemoryPressure", "ManagedOOMMemoryPressure=auto"),
    ("ManagedOOMMemoryPressureLimit", "ManagedOOMMemoryPressureLimit=61.7%"),
    ("ManagedOOMMemoryPressureDurationUSec", "ManagedOOMMemoryPressureDurationSec=5s"),
    ("ManagedOOMPreference", "ManagedOOMPreference=avoid"),
    ("MemoryPressureWatch", "MemoryPressureWatch=skip"),
    ("MemoryPressureThresholdUSec", "MemoryPressureThresholdSec=150ms"),
    ("CoredumpReceive", "CoredumpReceive=yes"),
    ("OOMPolicy", "OOMPolicy=continue"),
    ("RuntimeMaxUSec", "RuntimeMaxSec=1h"),
    ("RuntimeRandomizedExtraUSec", "RuntimeRandomizedExtraSec=1min"),
    ("TimeoutStopUSec", "TimeoutStopSec=5min 20s"),
    ("KillMode", "KillMode=mixed"),
    ("KillMode", "KillMode=nonsense"),
    ("KillSignal", "KillSignal=SIGINT"),
    ("FinalKillSignal", "FinalKillSignal=SIGQUIT"),
    ("SendSIGHUP", "SendSIGHUP=yes"),
    ("SendSIGKILL", "SendSIGKILL=no"),
    ("Description", "Description=some words = one value"),
    ("Documentation", "Documentation=man:a(1) https://b.example/c"),
    ("CollectMode", "CollectMode=inactive"),
    ("Wants", "Wants=time-sync.target"),
    ("Before", "Before=time-sync.target"),
    ("OnFailureJobMode", "OnFailureJobMode=isolate"),
    ("StopWhenUnneeded", "StopWhenUnneeded=no"),
    ("JobTimeoutUSec", "JobTimeoutSec=1min"),
    ("JobRunningTimeoutUSec", "JobRunningTimeoutSec=1min"),
    ("SuccessAction", "SuccessAction=none"),
    ("RebootArgument", "RebootArgument=x"),
    ("Slice", "Slice=redd-a-b.slice"),
    ("Slice", "Slice=a--b.slice"),
    ("Nonsense", "Nonsense=1"),
];

/// What a unit shows after what systemd-run does not take, or takes otherwise: unit files take the first three, and all
/// controllers are delegated to a machine before it is asked for some.
const BEYOND: &[(&str, &str, &str)] = &[
    ("StartupMemoryMax", "StartupMemoryMax=1G", "StartupMemoryMax=1073741824"),
    ("IPAddressAllow", "IPAddressAllow=127.0.0.0/8 localhost", "::1/128"),
    ("RestrictNetworkInterfaces", "RestrictNetworkInterfaces=~lo", "RestrictNetworkInterfaces=~lo"),
    ("DelegateControllers", "Delegate=cpu pids", "DelegateControllers=cpu cpuset io memory pids"),
];

/// What the script has written between the headline of this name and the next one.
fn section<'a>(log: &'a str, name: &str) -> &'a str {
    let (_, rest) = log.split_once(&format!("== {name}\n")).unwrap_or_else(|| panic!("no {name} in:\n{log}"));
    rest.split("== ").next().unwrap_or(rest)
}

#[test]
fn units_have_the_properties_and_machines_are_listed() {
    requires!(root, cgroup2);
    let (Some(host), Some(tree)) = (fixture::debian_host(), fixture::debian_tree()) else { return };
    let work = tempfile::tempdir_in(fixture::place()).expect("directory");
    let write = |name: &str, text: &str| std::fs::write(work.path().join(name), text).expect("write");
    write("script.sh", SCRIPT);
    write("start.service", START);
    std::fs::create_dir(work.path().join("bundle")).expect("directory");
    write("bundle/config.json", BUNDLE);
    let all = ASSIGNMENTS.iter().copied().chain(BEYOND.iter().map(|(name, assignment, _)| (*name, *assignment)));
    let lines: String = all.map(|(name, assignment)| format!("{name} {assignment}\n")).collect();
    write("assignments", &lines);
    std::fs::copy(REDD, work.path().join("redd-spawn")).expect("copy");
    let bind = |from: &Path, to: &str| format!("--bind={}:{to}", from.display());
    let before = HostState::capture(&host, &[]);
    let ended = Spawn::redd(REDD, &host)
        .args(["--property=DeviceAllow=char-mem rwm", "--property=DeviceAllow=block-* rwm"])
        .args(["-xb", "--capability=all", "--private-network", "--system-call-filter=bpf", "--console=read-only"])
        .args([
            bind(work.path(), "/work"),
            bind(&work.path().join("start.service"), "/etc/systemd/system/start.service"),
        ])
        .arg(format!("--bind-ro={}:/srv/tree", tree.display()))
        .arg("systemd.wants=start.service")
        .limit(Duration::from_secs(400))
        .run();
    let read = |name: &str| std::fs::read_to_string(work.path().join(name)).unwrap_or_default();
    let (log, compared) = (read("log"), read("compared"));
    assert_eq!(ended.code(), 7, "{log}\n{compared}\n{ended}");
    before.assert_same();
    let (same, beyond) = compared.split_at(compared.lines().take(ASSIGNMENTS.len()).map(|line| line.len() + 1).sum());
    let other: Vec<&str> = same.lines().filter(|line| !line.starts_with("same ")).collect();
    assert!(other.is_empty() && same.lines().count() == ASSIGNMENTS.len(), "{}", other.join("\n"));
    assert_eq!(beyond.lines().count(), BEYOND.len(), "{beyond}");
    for (line, (_, assignment, shown)) in beyond.lines().zip(BEYOND) {
        let seen = line.split_once(&format!(" {assignment}: ")).map(|(_, seen)| seen);
        assert!(seen.is_some_and(|seen| seen.contains(shown)), "{line}");
    }
    check(&log);
}

fn check(log: &str) {
    let has = |name: &str, words: &[&str]| {
        let text = section(log, name);
        for word in words {
            assert!(text.contains(word), "{name} lacks {word:?}:\n{log}");
        }
    };
    has("scope", &["Slice=redd-test.slice\n", "Description=A b\n", "MemoryMax=314572800\n", "TasksMax=99\n"]);
    has("scope", &["CPUQuotaPerSecUSec=500ms\n", "ControlGroup=/redd.slice/redd-test.slice/props.scope\n"]);
    has("scope", &["listed props container systemd-nspawn\n", "Class=container\n", "Service=systemd-nspawn\n"]);
    has("scope", &["Unit=props.scope\n", "RootDirectory=/srv/tree\n", "State=running\n", "afterwards \n"]);
    has("scope", &["\n32\n"]);
    let leader = section(log, "scope").lines().find_map(|line| line.strip_prefix("leader ")?.split_once(" is "));
    assert!(leader.is_some_and(|(machined, ours)| machined == ours && !ours.is_empty()), "{log}");
    has("devices", &["fine\n", "none\n", "code 0\n"]);
    has("bundle", &["Slice=redd-oci.slice\n", "MemoryMax=500000000\n", "MemorySwapMax=100000000\n"]);
    has("bundle", &["MemoryLow=100000000\n", "CPUWeight=50\n", "CPUQuotaPerSecUSec=250ms\n"]);
    has("bundle", &["CPUQuotaPeriodUSec=20ms\n", "AllowedCPUs=0-1\n", "TasksMax=77\n", "IOWeight=60\n"]);
    has("bundle", &["IODeviceWeight=/dev/block/7:0 200\n", "IOReadBandwidthMax=/dev/block/7:0 12345\n"]);
    has("bundle", &["IOWriteIOPSMax=/dev/block/7:1 67\n", "DevicePolicy=closed\n", "DeviceAllow=/dev/char/1:11 rwm\n"]);
    has("bundle", &["DeviceAllow=char-1 rm\n", "DeviceAllow=block-7 rwm\n", "open\nmade\nnone\nfine\ncode 0\n"]);
    has("booted", &["listed again\n", "code 0\n", "afterwards \n"]);
    has("kept", &["Unit=kept.service\n", "afterwards \n"]);
    has("killed", &["afterwards \n"]);
    has("unlisted", &["listed \n", "inside\n", "code 0\n"]);
    has("without", &["auto 0\n", "cannot register the machine without", "yes 1\n"]);
    assert!(!section(log, "without").contains("started"), "{log}");
    has("user", &["name 1\n", "--user needs the service manager of a user", "MemoryMax=209715200\n"]);
    has("user", &["Slice=machine.slice\n", "user@0.service/machine.slice/mine.scope\n", "left 0\n"]);
    assert_eq!(section(log, "left"), "", "{log}");
}
