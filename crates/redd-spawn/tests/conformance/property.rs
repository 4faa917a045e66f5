//! The unit and the registration. The original makes units where systemd manages the host; elsewhere it has none, takes
//! every property and does nothing with it.

use super::case::Case;

const NOWHERE: &str = "without systemd the original does nothing with properties; redd limits the control groups itself";
const DEVICES: &str = "redd restricts devices on every host";
const STRICT: &str = "the original has no unit here that would refuse it";

/// Starts processes until it may not any more.
pub(crate) const FORKS: &str = "(for i in 1 2 3 4 5 6 7 8; do sleep 0.1 & done; wait; echo all) 2>/dev/null || echo some";

/// Prepares the host, and looks from there at these files of the machine's own control group as soon as there is a file `up`
/// in the tree: it then has the numbers in them in a file `seen`. Version 1 and cgroup2 have one file each.
macro_rules! group {
    ($file:literal, $other:literal, $before:expr) => {
        concat!(
            $before,
            "
            (for i in $(seq 400); do
                if test -e {tree}/up; then
                    find /sys/fs/cgroup -path '*{name}*' '(' -name ",
            $file,
            " -o -name ",
            $other,
            " ')' -exec cat '{}' + | grep -o -E '^[0-9]+' | sort -u >{host}/seen || true
                    mv {host}/seen {tree}/seen; break
                fi
                sleep 0.05
            done) >/dev/null 2>&1 &"
        )
    };
}
pub(crate) use group;

/// What was seen of the control group.
pub(crate) const SEEN_OUTSIDE: &str = "touch /up; for i in $(seq 400); do test -e /seen && break; sleep 0.05; done; cat /seen";

pub(crate) const CASES: &[Case] = &[
    Case::inside("no registration", &["--register=no"], "echo fine").prints("fine\n"),
    Case::inside("no registration, in other words", &["--register=off", "--keep-unit"], "echo fine").prints("fine\n"),
    Case::refused("no such mode", &["--register=maybe"]),
    Case::inside("an empty mode", &["--register="], "echo fine").prints("fine\n").since(257),
    Case::refused("registration without a registry", &["--register=yes", "--keep-unit"]).elsewhere(),
    Case::inside("a unit that is kept", &["--keep-unit"], "echo fine").prints("fine\n"),
    Case::inside("a unit that is kept has no slice", &["--keep-unit", "--slice=foo"], "echo fine").prints("fine\n"),
    Case::inside("a unit that is kept has no properties", &["--keep-unit", "--property=TasksMax=2"], FORKS).prints("all\n"),
    Case::inside("nor devices", &["--keep-unit", "--property=DeviceAllow=/dev/char/1:1 rwm"], "mknod /m c 1 1 2>/dev/null || echo none").own_tree().prints("none\n").elsewhere().differs(DEVICES),
    Case::refused("a slice that is none", &["--slice="]),
    Case::refused("a property without a value", &["--property=TasksMax"]).elsewhere().differs(STRICT),
    Case::refused("a property that is none", &["--property=Nonsense=1"]).elsewhere().differs(STRICT),
    Case::refused("a value that is none", &["--property=TasksMax=few"]).elsewhere().differs(STRICT),
    Case::refused("a property of a service", &["--property=ExecStart=/bin/sh"]).elsewhere().differs(STRICT),
    Case::inside("tasks", &["--property=TasksMax=4"], FORKS).prints("some\n").elsewhere().differs(NOWHERE),
    Case::inside("processors", &["--property=AllowedCPUs=1"], "nproc; grep Cpus_allowed_list /proc/self/status").prints("1\nCpus_allowed_list:\t1\n").elsewhere().differs(NOWHERE),
    Case::inside("processors of all processes", &["--property=AllowedCPUs=0", "--as-pid2"], "grep Cpus_allowed_list /proc/1/status")
        .prints("Cpus_allowed_list:\t0\n").elsewhere().differs(NOWHERE),
    Case::inside("processors that are not there any more", &["--property=AllowedCPUs=0", "--property=AllowedCPUs="], "nproc"),
    Case::inside("memory nodes", &["--property=AllowedMemoryNodes=0"], SEEN_OUTSIDE).before(group!("cpuset.mems", "cpuset.mems", ""))
        .prints("0\n").elsewhere().differs(NOWHERE),
    Case::inside("memory nodes that are taken back", &["--property=AllowedMemoryNodes=0", "--property=AllowedMemoryNodes="], SEEN_OUTSIDE)
        .before(group!("cpuset.mems", "cpuset.mems", "")).prints("").elsewhere(),
    Case::inside("memory", &["--property=MemoryMax=24M"], "exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null").code(137).prints("").elsewhere().differs(NOWHERE),
    Case::inside("a device that may be read", &["--property=DeviceAllow=/dev/char/1:1 r"], "mknod /m c 1 1 2>/dev/null || echo none").own_tree().prints("none\n").elsewhere().differs(DEVICES),
    Case::inside("a device whose nodes may be made", &["--property=DeviceAllow=/dev/char/1:11 m"], "mknod /m c 1 11 && echo made; (: >/m) 2>/dev/null || echo closed")
        .own_tree()
        .prints("made\nclosed\n")
        .elsewhere().differs(NOWHERE),
    Case::inside("devices of a driver", &["--property=DeviceAllow=char-mem wm"], "mknod /k c 1 11 && echo made; (: >/k) && echo written; mknod /l c 10 237 2>/dev/null || echo none")
        .own_tree()
        .prints("made\nwritten\nnone\n")
        .elsewhere().differs(NOWHERE),
    Case::inside("devices of a driver that are not written to", &["--property=DeviceAllow=char-mem rm"], "mknod /k c 1 11 && echo made; (: >/k) 2>/dev/null || echo closed")
        .own_tree()
        .prints("made\nclosed\n")
        .elsewhere().differs(NOWHERE),
    Case::inside("a device that is named again", &["--property=DeviceAllow=/dev/char/1:11 rwm", "--property=DeviceAllow=/dev/char/1:11 r"], "mknod /k c 1 11 2>/dev/null && echo made || echo none")
        .own_tree()
        .prints("none\n")
        .elsewhere().differs(DEVICES),
    Case::refused("memory of nothing", &["--property=MemoryMax=0"]).elsewhere().differs(STRICT),
    Case::refused("a device whose number is none", &["--property=DeviceAllow=/dev/char/4097:1 rwm"]).elsewhere().differs(NOWHERE),
    Case::inside("devices that are taken back", &["--property=DeviceAllow=/dev/char/1:1", "--property=DeviceAllow="], "mknod /m c 1 1 2>/dev/null || echo none").own_tree().prints("none\n").elsewhere().differs(DEVICES),
    Case::inside("no devices but those that are named", &["--property=DevicePolicy=strict"], "exec 2>&-; (: </dev/null) || echo closed; (: </dev/zero) || echo closed")
        .prints("closed\nclosed\n").elsewhere().differs(NOWHERE),
    Case::inside("the usual devices", &["--property=DevicePolicy=closed"], ": </dev/null && echo open; mknod /m c 1 1 2>/dev/null || echo none").own_tree().prints("open\nnone\n").elsewhere().differs(DEVICES),
    Case::refused("memory pressure without cgroup2", &["--property=MemoryHigh=1M"]).elsewhere().differs(NOWHERE),
    Case::refused("a filter without a service manager", &["--property=IPAddressDeny=any"]).elsewhere().differs(NOWHERE),
    Case::refused("a slice without a service manager", &["--property=Slice=foo.slice"]).elsewhere().differs(NOWHERE),
    Case::refused("a disk that is none", &["--property=IOReadBandwidthMax=/proc 1M"]).elsewhere().differs(NOWHERE),
    Case::refused("a device that is none", &["--property=DeviceAllow=/dev/none rw"]).elsewhere().differs(NOWHERE),
    Case::refused("own words for a unit that is kept", &["--keep-unit", "--memory=1G"]),
    Case::inside("the usual slice", &[], GROUP).environment(SEEN).on_systemd(),
    Case::inside("the scope's name", &[], SCOPE).environment(SEEN).since(259).on_systemd(),
    Case::inside("the scope's name, not registered", &["--register=no"], SCOPE).environment(SEEN).on_systemd(),
    Case::inside("the scope's name, with all that a machine's can have", &["--machine=a-b.c", "-D", "{tree}", "--register=no"], SCOPE).environment(SEEN).on_systemd(),
    Case::inside("a slice", &["--slice=conformance"], GROUP).environment(SEEN).on_systemd(),
    Case::inside("a slice in slices", &["-S", "conformance-a-b.slice"], GROUP).environment(SEEN).on_systemd(),
    Case::inside("a slice with a strange name", &["-S", "conformance a"], GROUP).environment(SEEN).on_systemd(),
    Case::inside("a slice as a property", &["--property=Slice=conformance.slice"], GROUP).environment(SEEN).on_systemd(),
    Case::refused("a slice with an empty part", &["--slice=a--b"]).on_systemd(),
    Case::refused("a slice that is a service", &["--slice=a.service"]).on_systemd(),
    Case::refused("no such property", &["--property=Nonsense=1"]).on_systemd(),
    Case::refused("no such value", &["--property=MemoryMax=much"]).on_systemd(),
    Case::refused("no value", &["--property=MemoryMax"]).on_systemd(),
    Case::refused("no tasks", &["--property=TasksMax=0"]).on_systemd(),
    Case::refused("no share of tasks", &["--property=TasksMax=0%"]).on_systemd(),
    Case::refused("no memory", &["--property=MemoryMax=0"]).on_systemd(),
    Case::refused("no share of memory", &["--property=MemoryHigh=0%"]).on_systemd(),
    Case::refused("no weight", &["--property=CPUWeight=0"]).on_systemd(),
    Case::inside("properties", PROPERTIES, "echo fine").prints("fine\n").on_systemd(),
    Case::inside("a device of the unit that is named again", &["--property=DeviceAllow=/dev/char/1:11 rwm", "--property=DeviceAllow=/dev/char/1:11 r"], "mknod /k c 1 11 2>/dev/null && echo made || echo none")
        .own_tree()
        .on_systemd(),
    Case::inside("devices of the unit", &["--property=DeviceAllow=char-mem rm"], "mknod /k c 1 11 && echo made; head -c0 /k && echo read; (: >/k) || echo closed")
        .own_tree()
        .on_systemd(),
];

/// The unit that the payload is in, as the host has it. It is called `NAME.scope` by the original that does not register it,
/// and since 259 by all, else `machine-NAME.scope`.
const SCOPE: &str = "sed -n 's/^0:://;s,^\\(/.*[.]scope\\).*,\\1,p' /proc/self/cgroup";
/// The slice alone.
const GROUP: &str = "sed -n 's/^0:://;s,/[^/]*[.]scope.*,,;/^[/]/p' /proc/self/cgroup";
const SEEN: &[(&str, &str)] = &[("SYSTEMD_NSPAWN_USE_CGNS", "0")];
const PROPERTIES: &[&str] = &[
    "--property=MemoryMax=50%",
    "--property=CPUQuota=150%",
    "--property=TasksMax=1000",
    "--property=IPAddressAllow=any",
    "--property=Description=a b",
    "--property=KillMode=mixed",
    "--property=TimeoutStopSec=5min 20s",
];
