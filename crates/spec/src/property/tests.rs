use super::*;

fn parse(assignment: &str) -> Property {
    Property::parse(assignment).unwrap_or_else(|error| panic!("{assignment}: {error}"))
}

const NONE: u64 = u64::MAX;

/// Each property: a value, the name and the type and value that go over the bus. All that is not a text is checked in
/// [`values`].
const ACCEPTED: &[(&str, &str, &str)] = &[
    ("CPUAccounting=yes", "CPUAccounting", "Boolean(true)"),
    ("CPUWeight=100", "CPUWeight", "U64(100)"),
    ("CPUWeight=idle", "CPUWeight", "U64(0)"),
    ("CPUWeight=", "CPUWeight", "U64(18446744073709551615)"),
    ("StartupCPUWeight=10000", "StartupCPUWeight", "U64(10000)"),
    ("CPUQuota=20%", "CPUQuotaPerSecUSec", "U64(200000)"),
    ("CPUQuota=250.5%", "CPUQuotaPerSecUSec", "U64(2505000)"),
    ("CPUQuota=", "CPUQuotaPerSecUSec", "U64(18446744073709551615)"),
    ("CPUQuotaPeriodSec=10ms", "CPUQuotaPeriodUSec", "U64(10000)"),
    ("CPUQuotaPeriodSec=", "CPUQuotaPeriodUSec", "U64(18446744073709551615)"),
    ("AllowedCPUs=0,2-3 9", "AllowedCPUs", "Bits([13, 2])"),
    ("AllowedCPUs=", "AllowedCPUs", "Bits([])"),
    ("StartupAllowedCPUs=0", "StartupAllowedCPUs", "Bits([1])"),
    ("MemoryAccounting=0", "MemoryAccounting", "Boolean(false)"),
    ("MemoryMin=4096", "MemoryMin", "U64(4096)"),
    ("MemoryMin=", "MemoryMin", "U64(0)"),
    ("MemoryMin=infinity", "MemoryMin", "U64(18446744073709551615)"),
    ("MemoryLow=1.5K", "MemoryLow", "U64(1536)"),
    ("MemoryLow=0%", "MemoryLowScale", "U32(0)"),
    ("DefaultMemoryMin=1", "DefaultMemoryMin", "U64(1)"),
    ("DefaultMemoryLow=1", "DefaultMemoryLow", "U64(1)"),
    ("DefaultMemoryLow=", "DefaultMemoryLow", "U64(0)"),
    ("DefaultStartupMemoryLow=1", "DefaultStartupMemoryLow", "U64(1)"),
    ("StartupMemoryLow=1G 512M", "StartupMemoryLow", "U64(1610612736)"),
    ("MemoryHigh=infinity", "MemoryHigh", "U64(18446744073709551615)"),
    ("StartupMemoryHigh=10%", "StartupMemoryHighScale", "U32(429496730)"),
    ("MemoryMax=2T", "MemoryMax", "U64(2199023255552)"),
    ("MemoryMax=50%", "MemoryMaxScale", "U32(2147483648)"),
    ("MemoryMax=100%", "MemoryMaxScale", "U32(4294967295)"),
    ("MemoryMax=12.34%", "MemoryMaxScale", "U32(529998964)"),
    ("MemoryMax=", "MemoryMax", "U64(18446744073709551615)"),
    ("StartupMemoryMax=1M", "StartupMemoryMax", "U64(1048576)"),
    ("MemorySwapMax=0", "MemorySwapMax", "U64(0)"),
    ("MemorySwapMax=0%", "MemorySwapMaxScale", "U32(0)"),
    ("MemorySwapMax=", "MemorySwapMax", "U64(18446744073709551615)"),
    ("StartupMemorySwapMax=0", "StartupMemorySwapMax", "U64(0)"),
    ("MemoryZSwapMax=1K", "MemoryZSwapMax", "U64(1024)"),
    ("MemoryZSwapMax=0", "MemoryZSwapMax", "U64(0)"),
    ("StartupMemoryZSwapMax=infinity", "StartupMemoryZSwapMax", "U64(18446744073709551615)"),
    ("MemoryZSwapWriteback=no", "MemoryZSwapWriteback", "Boolean(false)"),
    ("AllowedMemoryNodes=0", "AllowedMemoryNodes", "Bits([1])"),
    ("StartupAllowedMemoryNodes=1", "StartupAllowedMemoryNodes", "Bits([2])"),
    ("CPUSetPartition=isolated", "CPUSetPartition", "Text(\"isolated\")"),
    ("TasksAccounting=true", "TasksAccounting", "Boolean(true)"),
    ("TasksMax=42", "TasksMax", "U64(42)"),
    ("TasksMax=10‰", "TasksMaxScale", "U32(42949673)"),
    ("TasksMax=1‱", "TasksMaxScale", "U32(429497)"),
    ("TasksMax=infinity", "TasksMax", "U64(18446744073709551615)"),
    ("IOAccounting=on", "IOAccounting", "Boolean(true)"),
    ("IOWeight=1", "IOWeight", "U64(1)"),
    ("StartupIOWeight=", "StartupIOWeight", "U64(18446744073709551615)"),
    ("IODeviceWeight=/dev/sda 1000", "IODeviceWeight", "PathNumbers([(\"/dev/sda\", 1000)])"),
    ("IODeviceWeight=", "IODeviceWeight", "PathNumbers([])"),
    ("IOReadBandwidthMax=/dev/a b 5M", "IOReadBandwidthMax", "PathNumbers([(\"/dev/a b\", 5000000)])"),
    ("IOWriteBandwidthMax=/ infinity", "IOWriteBandwidthMax", "PathNumbers([(\"/\", 18446744073709551615)])"),
    ("IOReadIOPSMax=/ 1K", "IOReadIOPSMax", "PathNumbers([(\"/\", 1000)])"),
    ("IOWriteIOPSMax=/ 7", "IOWriteIOPSMax", "PathNumbers([(\"/\", 7)])"),
    ("IODeviceLatencyTargetSec=/dev/sda 25ms", "IODeviceLatencyTargetUSec", "PathNumbers([(\"/dev/sda\", 25000)])"),
    ("IPAccounting=f", "IPAccounting", "Boolean(false)"),
    (
        "IPAddressAllow=10.0.0.0/8 ::1",
        "IPAddressAllow",
        "Networks([Network { family: 2, address: [10, 0, 0, 0], prefix: 8 }, \
         Network { family: 10, address: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], prefix: 128 }])",
    ),
    (
        "IPAddressDeny=multicast",
        "IPAddressDeny",
        "Networks([Network { family: 2, address: [224, 0, 0, 0], prefix: 4 }, \
         Network { family: 10, address: [255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], prefix: 8 }])",
    ),
    ("IPAddressDeny=", "IPAddressDeny", "Networks([])"),
    (
        "SocketBindAllow=ipv6:tcp:80-89",
        "SocketBindAllow",
        "Sockets([SocketRule { family: 10, protocol: 6, count: 10, first: 80 }])",
    ),
    ("SocketBindDeny=any", "SocketBindDeny", "Sockets([SocketRule { family: 0, protocol: 0, count: 0, first: 0 }])"),
    ("SocketBindDeny=udp", "SocketBindDeny", "Sockets([SocketRule { family: 0, protocol: 17, count: 0, first: 0 }])"),
    (
        "SocketBindDeny=1234",
        "SocketBindDeny",
        "Sockets([SocketRule { family: 0, protocol: 0, count: 1, first: 1234 }])",
    ),
    ("RestrictNetworkInterfaces=~a b", "RestrictNetworkInterfaces", "Links { allow: false, names: [\"a\", \"b\"] }"),
    ("BindNetworkInterface=vrf0", "BindNetworkInterface", "Text(\"vrf0\")"),
    (
        "NFTSet=cgroup:inet:filter:mine",
        "NFTSet",
        "Sets([NftSet { source: 3, family: 1, table: \"filter\", set: \"mine\" }])",
    ),
    ("IPIngressFilterPath=/sys/fs/bpf/a", "IPIngressFilterPath", "Texts([\"/sys/fs/bpf/a\"])"),
    ("IPEgressFilterPath=", "IPEgressFilterPath", "Texts([])"),
    ("BPFProgram=bind6:/sys/fs/bpf/a", "BPFProgram", "Pairs([(\"bind6\", \"/sys/fs/bpf/a\")])"),
    ("DeviceAllow=/dev/fuse rw", "DeviceAllow", "Pairs([(\"/dev/fuse\", \"rw\")])"),
    ("DeviceAllow=char-pts", "DeviceAllow", "Pairs([(\"char-pts\", \"\")])"),
    ("DeviceAllow=", "DeviceAllow", "Pairs([])"),
    ("DevicePolicy=strict", "DevicePolicy", "Text(\"strict\")"),
    ("Slice=a-b", "Slice", "Text(\"a-b.slice\")"),
    ("Delegate=yes", "Delegate", "Boolean(true)"),
    ("Delegate=cpu memory", "DelegateControllers", "Texts([\"cpu\", \"memory\"])"),
    ("Delegate=", "DelegateControllers", "Texts([])"),
    ("DelegateSubgroup=x", "DelegateSubgroup", "Text(\"x\")"),
    ("DisableControllers=io", "DisableControllers", "Texts([\"io\"])"),
    ("ManagedOOMSwap=kill", "ManagedOOMSwap", "Text(\"kill\")"),
    ("ManagedOOMMemoryPressure=auto", "ManagedOOMMemoryPressure", "Text(\"auto\")"),
    ("ManagedOOMMemoryPressureLimit=60%", "ManagedOOMMemoryPressureLimit", "U32(2576980377)"),
    ("ManagedOOMMemoryPressureDurationSec=2s", "ManagedOOMMemoryPressureDurationUSec", "U64(2000000)"),
    ("ManagedOOMPreference=avoid", "ManagedOOMPreference", "Text(\"avoid\")"),
    ("OOMRules=a b", "OOMRules", "Texts([\"a\", \"b\"])"),
    ("MemoryPressureWatch=1", "MemoryPressureWatch", "Text(\"yes\")"),
    ("MemoryPressureThresholdSec=200ms", "MemoryPressureThresholdUSec", "U64(200000)"),
    ("CPUPressureWatch=skip", "CPUPressureWatch", "Text(\"skip\")"),
    ("CPUPressureThresholdSec=1", "CPUPressureThresholdUSec", "U64(1000000)"),
    ("IOPressureWatch=no", "IOPressureWatch", "Text(\"no\")"),
    ("IOPressureThresholdSec=1", "IOPressureThresholdUSec", "U64(1000000)"),
    ("CoredumpReceive=yes", "CoredumpReceive", "Boolean(true)"),
    ("CPUShares=1024", "CPUShares", "U64(1024)"),
    ("StartupCPUShares=2", "StartupCPUShares", "U64(2)"),
    ("MemoryLimit=1G", "MemoryLimit", "U64(1073741824)"),
    ("BlockIOAccounting=yes", "BlockIOAccounting", "Boolean(true)"),
    ("BlockIOWeight=500", "BlockIOWeight", "U64(500)"),
    ("StartupBlockIOWeight=500", "StartupBlockIOWeight", "U64(500)"),
    ("BlockIODeviceWeight=/ 500", "BlockIODeviceWeight", "PathNumbers([(\"/\", 500)])"),
    ("BlockIOReadBandwidth=/ 1M", "BlockIOReadBandwidth", "PathNumbers([(\"/\", 1000000)])"),
    ("BlockIOWriteBandwidth=/ 1M", "BlockIOWriteBandwidth", "PathNumbers([(\"/\", 1000000)])"),
    ("OOMPolicy=kill", "OOMPolicy", "Text(\"kill\")"),
    ("RuntimeMaxSec=1h", "RuntimeMaxUSec", "U64(3600000000)"),
    ("RuntimeRandomizedExtraSec=1d", "RuntimeRandomizedExtraUSec", "U64(86400000000)"),
    ("TimeoutStopSec=5min 20s", "TimeoutStopUSec", "U64(320000000)"),
    ("KillMode=mixed", "KillMode", "Text(\"mixed\")"),
    ("KillSignal=SIGTERM", "KillSignal", "I32(15)"),
    ("RestartKillSignal=9", "RestartKillSignal", "I32(9)"),
    ("FinalKillSignal=KILL", "FinalKillSignal", "I32(9)"),
    ("WatchdogSignal=SIGRTMIN+3", "WatchdogSignal", "I32(37)"),
    ("SendSIGHUP=yes", "SendSIGHUP", "Boolean(true)"),
    ("SendSIGKILL=no", "SendSIGKILL", "Boolean(false)"),
    ("Description=a = b", "Description", "Text(\"a = b\")"),
    ("Documentation=man:a(1) 'http://b/ c'", "Documentation", "Texts([\"man:a(1)\", \"http://b/ c\"])"),
    ("CollectMode=inactive", "CollectMode", "Text(\"inactive\")"),
    ("Wants=a.service b.target", "Wants", "Texts([\"a.service\", \"b.target\"])"),
    ("JobTimeoutSec=infinity", "JobTimeoutUSec", "U64(18446744073709551615)"),
    ("OnFailureJobMode=isolate", "OnFailureJobMode", "Text(\"isolate\")"),
    ("DefaultDependencies=no", "DefaultDependencies", "Boolean(false)"),
    ("FailureAction=reboot", "FailureAction", "Text(\"reboot\")"),
    ("RebootArgument=x", "RebootArgument", "Text(\"x\")"),
];

#[test]
fn each_property_is_read_and_named_as_on_the_bus() {
    for (assignment, name, value) in ACCEPTED {
        let property = parse(assignment);
        assert_eq!((property.name.as_str(), format!("{:?}", property.value).as_str()), (*name, *value), "{assignment}");
        assert_eq!(assignment.split('=').next(), Some(property.setting));
    }
}

/// What one kind of value is: all rows that are not in the table above are of a kind that is.
#[test]
fn every_property_takes_a_value_of_its_kind_and_refuses_others() {
    for row in table::ROWS {
        let setting = row.setting;
        let read = |value: &str| Property::parse(&format!("{setting}={value}"));
        let bad = match row.grammar {
            table::Grammar::Text | table::Grammar::Words => continue,
            table::Grammar::Delegate => "'open",
            table::Grammar::Slice => "a--b",
            _ => "\u{1}?",
        };
        let error = read(bad).expect_err(setting).to_string();
        assert!(error.to_lowercase().contains(&setting.to_lowercase()), "{error}");
        let covered = ACCEPTED.iter().any(|(assignment, ..)| assignment.split('=').next() == Some(setting));
        let kin =
            matches!(row.grammar, table::Grammar::Boolean | table::Grammar::Word(_) | table::Grammar::OptionalTime);
        assert!(covered || kin, "{setting} has no test");
    }
    let mut names: Vec<_> = Property::names().collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "a property is there twice");
}

#[test]
fn what_has_no_meaning_is_refused() {
    for assignment in [
        "",
        "=",
        "=1",
        "MemoryMax",
        "memorymax=1G",
        "Foo=1",
        "ExecStart=/bin/sh",
        "MemoryMax=x",
        "MemoryMax=-1",
        "MemoryMax=1X",
        "MemoryMax=1M1G",
        "MemoryMax=1.2.3",
        "MemoryMax=101%",
        "MemoryMax=%",
        "MemoryMax=1.234%",
        "MemoryMax=99999999999T",
        "MemoryMax=16E",
        "MemoryMax=0",
        "MemoryMax=0.4",
        "MemoryMax=0%",
        "StartupMemoryMax=0K",
        "MemoryHigh=0",
        "MemoryHigh=0.00%",
        "MemoryLimit=0",
        "MemoryZSwapMax=10%",
        "CPUWeight=0",
        "CPUWeight=10001",
        "CPUWeight=+5",
        "IOWeight=idle",
        "CPUQuota=20",
        "CPUQuota=0%",
        "CPUQuota=infinity",
        "TasksMax=0",
        "TasksMax=0%",
        "TasksMax=0‱",
        "TasksMax=1K",
        "TasksMax=-5",
        "AllowedCPUs=3-1",
        "AllowedCPUs=a",
        "AllowedCPUs=99999",
        "MemoryAccounting=",
        "MemoryAccounting=maybe",
        "DeviceAllow=fuse",
        "DeviceAllow=/etc/passwd r",
        "DeviceAllow=/dev/fuse x",
        "DeviceAllow=/dev/../etc/x r",
        "DeviceAllow=char-",
        "DevicePolicy=open",
        "IODeviceWeight=/dev/sda",
        "IODeviceWeight=sda 5",
        "IODeviceWeight=/dev/sda 0",
        "IOReadBandwidthMax=/dev/sda",
        "IOReadBandwidthMax=/dev/sda x",
        "IPAddressAllow=10.0.0.0/33",
        "IPAddressAllow=::/129",
        "IPAddressAllow=host",
        "SocketBindAllow=0",
        "SocketBindAllow=9-8",
        "SocketBindAllow=tcp:ipv4",
        "SocketBindAllow=70000",
        "BPFProgram=x:/a",
        "BPFProgram=device",
        "NFTSet=a:b:c:d",
        "NFTSet=cgroup:inet:filter",
        "TimeoutStopSec=x",
        "TimeoutStopSec=5 parsecs",
        "MemoryPressureThresholdSec=",
        "KillSignal=FOO",
        "KillMode=x",
        "Slice=a--b",
        "Slice=-a",
        "Slice=a-",
        "Slice=",
        "Slice=foo.service",
        "Slice=a@b",
        "Wants='a",
        "Wants=a\\",
        "ManagedOOMMemoryPressureLimit=101%",
        "ManagedOOMMemoryPressureLimit=5",
    ] {
        assert!(Property::parse(assignment).is_err(), "{assignment}");
    }
}

#[test]
fn slices_are_escaped_and_completed() {
    for (text, name) in [
        ("foo", "foo.slice"),
        ("foo.slice", "foo.slice"),
        ("a-b-c", "a-b-c.slice"),
        ("-", "-.slice"),
        ("-.slice", "-.slice"),
        ("a b", "a\\x20b.slice"),
        ("a/b", "a-b.slice"),
        ("a\\x2db", "a\\x2db.slice"),
        ("machine.slice", "machine.slice"),
    ] {
        assert_eq!(text.parse::<SliceName>().map(|slice| slice.to_string()), Ok(name.to_owned()), "{text}");
    }
    assert!("x".repeat(250).parse::<SliceName>().is_err());
}

#[test]
fn shorthands() {
    assert_eq!(Property::memory("1G").map(|p| p.value), Ok(PropertyValue::U64(1 << 30)));
    assert_eq!(Property::memory("50%").map(|p| p.name), Ok("MemoryMaxScale".into()));
    assert_eq!(Property::memory("infinity").map(|p| p.value), Ok(PropertyValue::U64(NONE)));
    assert_eq!(Property::pids("7").map(|p| p.value), Ok(PropertyValue::U64(7)));
    for (text, quota) in [("1", 1_000_000), ("0.5", 500_000), ("1.25", 1_250_000), ("16", 16_000_000)] {
        assert_eq!(Property::cpus(text).map(|p| p.value), Ok(PropertyValue::U64(quota)), "{text}");
    }
    for text in ["", "0", "-1", "x", "1.", ".5", "1.234", "50%", "99999999999999999999"] {
        assert!(Property::cpus(text).is_err(), "{text}");
    }
    for text in ["", "x", "0x10", "-1", "0", "0%"] {
        assert!(Property::memory(text).is_err() && Property::pids(text).is_err(), "{text}");
    }
}
