//! OCI bundles: devices, limits, the place of the control group.

use super::case::Case;
use super::oci::{bundle, refused, runs, with};
use super::property::group;

const IGNORED: &str = "the original ignores it";
const NOWHERE: &str = "without a bus the original fails where it finds limits; redd limits the control groups itself";
const MADE: &str = "the original makes no directories for devices";
const CLOSED: &str = "the original makes the node, and the unit does not let anybody open it";
const MEANT: &str = "the original refuses what the specification has and the kernel carries out";
const SLICES: &str = "a slice is for a service manager, of which there is none here; the original ignores it";

/// With a device.
macro_rules! device {
    ($script:literal, $device:literal) => {
        bundle!($script, "", concat!(",\"devices\":[", $device, "]"), "")
    };
}

/// With a rule for devices, which comes after the usual one that refuses everything.
macro_rules! rules {
    ($script:literal, $rules:literal) => {
        bundle!(
            $script,
            "",
            concat!(",\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},", $rules, "]}"),
            ""
        )
    };
}

/// With limits.
macro_rules! limits {
    ($script:literal, $limits:literal) => {
        bundle!($script, "", concat!(",\"resources\":{", $limits, "}"), "")
    };
}

const fn limited(name: &'static str, bundle: &'static str) -> Case {
    runs(name, bundle).elsewhere().differs(NOWHERE)
}

/// Seen from the root of control groups.
macro_rules! place {
    ($path:literal) => {
        bundle!(
            "grep -o ':/[^ ]*[.]slice/' /proc/self/cgroup | sort -u",
            "",
            concat!(",\"cgroupsPath\":\"", $path, "\""),
            "",
            ",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"}]",
            "\"path\":\"{tree}\""
        )
    };
}

#[rustfmt::skip]
pub(crate) const CASES: &[Case] = &[
    runs("a device", device!("stat -c '%F %t:%T %a %u:%g' /dev/foo", r#"{"path":"/dev/foo","type":"c","major":10,"minor":229,"fileMode":384,"uid":5,"gid":6}"#)).prints("character special file a:e5 600 5:6\n"),
    runs("a device, with what is usual", device!("stat -c '%F %t:%T %a %u:%g' /dev/foo", r#"{"path":"/dev/foo","type":"u","major":10,"minor":229}"#)).prints("character special file a:e5 644 0:0\n"),
    runs("a block device in the tree", device!("stat -c '%F %t:%T %a' /foo", r#"{"path":"/foo","type":"b","major":7,"minor":5,"fileMode":432}"#)).prints("block special file 7:5 660\n"),
    runs("a device in a directory that is not there", device!("stat -c '%F %t:%T %a' /a/b/foo", r#"{"path":"/a/b/foo","type":"b","major":7,"minor":5,"fileMode":432}"#)).prints("block special file 7:5 660\n").differs(MADE),
    runs("a fifo", device!("stat -c '%F %a %u' /dev/foo", r#"{"path":"/dev/foo","type":"p","fileMode":416,"uid":7}"#)).prints("fifo 640 7\n"),
    runs("two devices", device!("stat -c '%n %t:%T' /dev/a /dev/b", r#"{"path":"/dev/a","type":"c","major":10,"minor":229},{"path":"/dev/b","type":"b","major":7,"minor":6}"#)).prints("/dev/a a:e5\n/dev/b 7:6\n"),
    runs("a device that may be opened", device!("(: >/dev/foo) && echo open", r#"{"path":"/dev/foo","type":"c","major":1,"minor":11}"#)).prints("open\n").elsewhere(),
    runs("a device of the unit that may be opened", device!("(: >/dev/foo) 2>/dev/null && echo open", r#"{"path":"/dev/foo","type":"c","major":1,"minor":11}"#)).prints("open\n").on_systemd().differs(CLOSED),
    runs("a usual device", device!("stat -c '%F %t:%T %a' /dev/null /dev/tty", r#"{"path":"/dev/null","type":"c","major":1,"minor":3,"fileMode":438},{"path":"/dev/tty","type":"c","major":5,"minor":0,"fileMode":438}"#)).prints("character special file 1:3 666\ncharacter special file 5:0 666\n"),
    runs("a usual device elsewhere", device!("stat -c %t:%T /dev/foo", r#"{"path":"/dev/foo","type":"c","major":1,"minor":3}"#)).prints("1:3\n").differs(IGNORED),
    runs("a usual device with other permissions", device!("stat -c %a:%u /dev/full", r#"{"path":"/dev/full","type":"c","major":1,"minor":7,"fileMode":256,"uid":3}"#)).prints("400:3\n").differs(IGNORED),
    runs("the console", device!("echo it runs", r#"{"path":"/dev/console","type":"c","major":5,"minor":1}"#)).prints("it runs\n"),
    refused("the console with other permissions", device!("true", r#"{"path":"/dev/console","type":"c","major":5,"minor":1,"fileMode":438}"#)).differs(IGNORED),
    runs("the terminals as they are", device!("stat -c %a:%u:%g /dev/pts/ptmx", r#"{"path":"/dev/ptmx","type":"c","major":5,"minor":2,"fileMode":438,"uid":0,"gid":0}"#)).prints("666:0:0\n"),
    refused("the terminals of another group", device!("true", r#"{"path":"/dev/ptmx","type":"c","major":5,"minor":2,"gid":5}"#)).differs(IGNORED),
    runs("no devices", bundle!("echo it runs", "", ",\"devices\":[]", "")).prints("it runs\n"),
    refused("a device without a path", device!("true", r#"{"type":"c","major":10,"minor":229}"#)),
    refused("a device without a type", device!("true", r#"{"path":"/dev/foo","major":10,"minor":229}"#)),
    refused("a device of no type", device!("true", r#"{"path":"/dev/foo","type":"s","major":10,"minor":229}"#)),
    refused("a device without a number", device!("true", r#"{"path":"/dev/foo","type":"c","major":10}"#)),
    refused("a device without a driver", device!("true", r#"{"path":"/dev/foo","type":"b","minor":1}"#)),
    refused("a device with a driver too high", device!("true", r#"{"path":"/dev/foo","type":"c","major":4096,"minor":1}"#)),
    refused("a device with a number too high", device!("true", r#"{"path":"/dev/foo","type":"c","major":1,"minor":1048576}"#)),
    refused("a device with a negative number", device!("true", r#"{"path":"/dev/foo","type":"c","major":1,"minor":-1}"#)),
    refused("a device with no permissions", device!("true", r#"{"path":"/dev/foo","type":"c","major":10,"minor":229,"fileMode":65536}"#)),
    refused("a device with no owner", device!("true", r#"{"path":"/dev/foo","type":"c","major":10,"minor":229,"uid":4294967295}"#)),
    refused("a device with a relative path", device!("true", r#"{"path":"dev/foo","type":"c","major":10,"minor":229}"#)),
    refused("a device with an unknown member", device!("true", r#"{"path":"/dev/foo","type":"c","major":10,"minor":229,"foo":1}"#)),
    refused("devices that are none", bundle!("true", "", ",\"devices\":{}", "")),

    limited("nothing but the usual devices", bundle!(": </dev/null && echo open", "", ",\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}", "")).prints("open\n"),
    runs("nothing but the usual devices, in a unit", bundle!(": </dev/null && echo open", "", ",\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}", "")).prints("open\n").on_systemd(),
    limited("a device that is not allowed", bundle!("mknod /m c 1 1 2>/dev/null || echo none", "", ",\"resources\":{\"devices\":[{\"allow\":false,\"access\":\"rwm\"}]}", "")).prints("none\n"),
    limited("a device that is allowed", rules!("mknod /m c 1 1 && echo made", r#"{"allow":true,"type":"c","major":1,"minor":1,"access":"rwm"}"#)).prints("made\n"),
    runs("a device that is allowed, in a unit", rules!("mknod /m c 1 1 && echo made", r#"{"allow":true,"type":"c","major":1,"minor":1,"access":"rwm"}"#)).prints("made\n").on_systemd(),
    limited("devices of a driver that are allowed", rules!("mknod /m c 1 1 && echo made", r#"{"allow":true,"type":"c","major":1,"access":"rm"}"#)).prints("made\n"),
    runs("devices of a driver that are allowed, in a unit", rules!("mknod /m c 1 1 && echo made", r#"{"allow":true,"type":"c","major":1,"access":"rm"}"#)).prints("made\n").on_systemd(),
    limited("devices of a kind that are allowed", rules!("mknod /m b 7 9 && echo made", r#"{"allow":true,"type":"b","access":"m"}"#)).prints("made\n"),
    runs("devices of a kind that are allowed, in a unit", rules!("mknod /m b 7 9 && echo made", r#"{"allow":true,"type":"b","access":"m"}"#)).prints("made\n").on_systemd(),
    limited("a device that may be read", rules!("mknod /m b 7 9 2>/dev/null || echo none", r#"{"allow":true,"type":"b","major":7,"access":"r"}"#)).prints("none\n"),
    limited("a device of another kind", rules!("mknod /m b 1 1 2>/dev/null || echo none", r#"{"allow":true,"type":"c","major":1,"access":"rwm"}"#)).prints("none\n"),
    limited("a device that is refused again", rules!("mknod /m c 1 1 && echo made; mknod /k c 1 11 2>/dev/null || echo none", r#"{"allow":true,"type":"c","major":1,"access":"rwm"},{"allow":false,"type":"c","major":1,"minor":11}"#)).prints("made\nnone\n"),
    limited("a usual device that is refused", rules!("(: </dev/full) 2>/dev/null || echo closed; : </dev/zero && echo open", r#"{"allow":false,"type":"c","major":1,"minor":7,"access":"rwm"}"#)).prints("closed\nopen\n"),
    runs("a device of the unit", rules!("mknod /m c 1 1 && echo made; mknod /k c 1 11 2>/dev/null || echo none", r#"{"allow":true,"type":"c","major":1,"minor":1,"access":"rwm"}"#)).prints("made\nnone\n").on_systemd(),
    runs("a device of the unit that may be read", rules!("mknod /m b 7 9 2>/dev/null || echo none", r#"{"allow":true,"type":"b","major":7,"access":"r"}"#)).prints("none\n").on_systemd(),
    runs("all devices", rules!("mknod /m c 1 1 && mknod /k b 7 9 && echo made", r#"{"allow":true,"access":"rwm"}"#)).prints("made\n").elsewhere(),
    runs("all devices in other words", rules!("mknod /m c 1 1 && echo made", r#"{"allow":true,"type":"a","access":"rwm","major":-1,"minor":-1}"#)).prints("made\n").elsewhere().differs(MEANT),
    refused("a rule without a verdict", rules!("true", r#"{"type":"c","access":"r"}"#)),
    refused("a rule of no kind", rules!("true", r#"{"allow":true,"type":"x","access":"r"}"#)),
    refused("a rule with other letters", rules!("true", r#"{"allow":true,"type":"c","access":"rx"}"#)),
    refused("a rule that allows nothing", rules!("true", r#"{"allow":true,"type":"c","access":""}"#)).elsewhere(),
    refused("a rule that allows nothing, in a unit", rules!("true", r#"{"allow":true,"type":"c","access":""}"#)).on_systemd().differs(IGNORED),
    refused("a rule that does not say what it allows", rules!("true", r#"{"allow":true,"type":"c"}"#)).elsewhere(),
    refused("a rule that does not say what it allows, in a unit", rules!("true", r#"{"allow":true,"type":"c"}"#)).on_systemd().differs(IGNORED),
    refused("a rule with a number and no driver", rules!("true", r#"{"allow":true,"type":"c","minor":1,"access":"r"}"#)),
    refused("a rule with a driver and no type", rules!("true", r#"{"allow":true,"major":1,"access":"r"}"#)),
    refused("a rule with an unknown member", rules!("true", r#"{"allow":true,"type":"c","access":"r","foo":1}"#)),

    limited("memory that is enough", limits!("echo it runs", r#""memory":{"limit":500000000,"swap":600000000}"#)).prints("it runs\n"),
    runs("memory that is enough, in a unit", limits!("echo it runs", r#""memory":{"limit":500000000,"swap":600000000}"#)).prints("it runs\n").on_systemd(),
    limited("memory that is not", limits!("exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null", r#""memory":{"limit":25000000,"swap":25000000}"#)).code(137).prints(""),
    runs("memory without a limit", limits!("echo it runs", r#""memory":{"limit":-1,"swap":-1,"reservation":-1}"#)).prints("it runs\n"),
    refused("memory and swap without memory", limits!("true", r#""memory":{"swap":500000000}"#)).differs(IGNORED),
    refused("memory and swap below memory", limits!("true", r#""memory":{"limit":500000000,"swap":400000000}"#)).elsewhere(),
    refused("memory and swap below memory, in a unit", limits!("true", r#""memory":{"limit":500000000,"swap":400000000}"#)).on_systemd().differs(IGNORED),
    refused("no memory", limits!("true", r#""memory":{"limit":"much"}"#)),
    refused("memory of the kernel", limits!("true", r#""memory":{"kernel":500000000}"#)).differs(IGNORED),
    refused("memory of TCP", limits!("true", r#""memory":{"kernelTCP":500000000}"#)).differs(IGNORED),
    refused("swappiness", limits!("true", r#""memory":{"swappiness":10}"#)).differs_since(257, IGNORED),
    refused("memory without end", limits!("true", r#""memory":{"disableOOMKiller":true}"#)).differs(IGNORED),
    refused("an unknown member of memory", limits!("true", r#""memory":{"foo":1}"#)),
    limited("shares", limits!("echo it runs", r#""cpu":{"shares":512}"#)).prints("it runs\n"),
    runs("shares, in a unit", limits!("echo it runs", r#""cpu":{"shares":512}"#)).prints("it runs\n").on_systemd(),
    limited("the fewest shares", limits!("echo it runs", r#""cpu":{"shares":2}"#)).prints("it runs\n"),
    runs("the fewest shares, in a unit", limits!("echo it runs", r#""cpu":{"shares":2}"#)).prints("it runs\n").on_systemd(),
    limited("the most shares", limits!("echo it runs", r#""cpu":{"shares":262144}"#)).prints("it runs\n"),
    runs("the most shares, in a unit", limits!("echo it runs", r#""cpu":{"shares":262144}"#)).prints("it runs\n").on_systemd(),
    refused("too few shares", limits!("true", r#""cpu":{"shares":1}"#)),
    refused("too many shares", limits!("true", r#""cpu":{"shares":262145}"#)),
    limited("time", limits!("echo it runs", r#""cpu":{"quota":50000,"period":100000}"#)).prints("it runs\n"),
    runs("time, in a unit", limits!("echo it runs", r#""cpu":{"quota":50000,"period":100000}"#)).prints("it runs\n").on_systemd(),
    runs("time without a period", limits!("echo it runs", r#""cpu":{"quota":50000}"#)).prints("it runs\n").differs(MEANT),
    runs("time without a limit", limits!("echo it runs", r#""cpu":{"quota":-1,"period":100000}"#)).prints("it runs\n").differs(MEANT),
    refused("a period without time", limits!("true", r#""cpu":{"period":100000}"#)),
    refused("no time", limits!("true", r#""cpu":{"quota":0,"period":100000}"#)),
    refused("no period", limits!("true", r#""cpu":{"quota":1000,"period":0}"#)),
    refused("real time", limits!("true", r#""cpu":{"realtimeRuntime":1000}"#)),
    refused("periods of real time", limits!("true", r#""cpu":{"realtimePeriod":1000}"#)),
    runs("processors", limits!("nproc", r#""cpu":{"cpus":"0"}"#)).prints("1\n").elsewhere(),
    runs("memory nodes", group!("cpuset.mems", "cpuset.mems", limits!("touch /up; for i in $(seq 400); do test -e /seen && break; sleep 0.05; done; cat /seen", r#""cpu":{"mems":"0"}"#))).prints("0\n").elsewhere().differs(MEANT),
    refused("no processors", limits!("true", r#""cpu":{"cpus":"x"}"#)),
    refused("an unknown member of processors", limits!("true", r#""cpu":{"foo":1}"#)),
    limited("few tasks", limits!("(for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait; echo all) 2>/dev/null || echo some", r#""pids":{"limit":4}"#)).prints("some\n"),
    limited("tasks without a limit", limits!("echo it runs", r#""pids":{"limit":-1}"#)).prints("it runs\n"),
    runs("tasks without a limit, in a unit", limits!("echo it runs", r#""pids":{"limit":-1}"#)).prints("it runs\n").on_systemd(),
    refused("tasks without a number", limits!("true", r#""pids":{}"#)),
    refused("too little weight of disks", limits!("true", r#""blockIO":{"weight":9}"#)),
    refused("too much weight of disks", limits!("true", r#""blockIO":{"weight":1001}"#)),
    refused("too little weight of a disk", limits!("true", r#""blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":9}]}"#)),
    refused("weight of leaves", limits!("true", r#""blockIO":{"leafWeight":100}"#)).differs(IGNORED),
    refused("a disk without a number", limits!("true", r#""blockIO":{"throttleReadBpsDevice":[{"major":8,"rate":1000}]}"#)),
    refused("a disk without a rate", limits!("true", r#""blockIO":{"throttleWriteIOPSDevice":[{"major":8,"minor":0}]}"#)),
    refused("a disk with a negative rate", limits!("true", r#""blockIO":{"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":-1}]}"#)),
    refused("a disk that is none", limits!("true", r#""blockIO":{"throttleWriteBpsDevice":[{"major":4000,"minor":0,"rate":1000}]}"#)).elsewhere(),
    refused("an unknown member of disks", limits!("true", r#""blockIO":{"foo":1}"#)),
    refused("huge pages", limits!("true", r#""hugepageLimits":[{"pageSize":"2MB","limit":1}]"#)),
    refused("classes of packets", limits!("true", r#""network":{"classID":1}"#)),
    refused("remote memory", limits!("true", r#""rdma":{"mlx5_1":{"hcaHandles":1}}"#)),
    refused("files of control groups", limits!("true", r#""unified":{"hugetlb.2MB.max":"1000000"}"#)),
    runs("files of control groups that are properties", limits!("echo it runs", r#""unified":{"cpu.max":"50000 100000","pids.max":"100"}"#)).prints("it runs\n").differs(MEANT),
    refused("an unknown member of resources", limits!("true", r#""foo":1"#)),

    refused("a slice without a service manager", bundle!("true", "", ",\"cgroupsPath\":\"conformance.slice\"", "")).elsewhere().differs(SLICES),
    runs("a slice", place!("conformance.slice")).on_systemd(),
    runs("a slice in a slice", place!("conformance.slice/conformance-a.slice")).on_systemd(),
    runs("a slice from the root on", place!("/conformance.slice")).prints(":/conformance.slice/\n").on_systemd().differs(MEANT),
    with("the command line's slice", &["--oci-bundle={host}/b", "--slice=conformance-b"], place!("conformance.slice")).on_systemd(),
    refused("a slice in another slice", place!("machine.slice/conformance.slice")),
    refused("a slice without those it is in", place!("conformance-a.slice")),
    refused("a relative place", place!("foo/bar")),
    refused("the root of control groups", place!("/")),
];
