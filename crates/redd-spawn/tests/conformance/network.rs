//! The network, as far as it has one of its own or not.

use super::case::Case;

/// Notes the host's network namespace in the tree, and compares it with the one inside.
const NOTE: &str = "readlink /proc/self/ns/net >{tree}/net";
const COMPARE: &str = "test \"$(readlink /proc/self/ns/net)\" = \"$(cat /net)\" && echo same || echo another";

pub(crate) const CASES: &[Case] = &[
    Case::inside("private", &["--private-network"], "ls /sys/class/net").prints("lo\n"),
    Case::inside("private, the link is up", &["--private-network"], "ip -o link show | grep -o 'LOOPBACK,UP\\|BROADCAST'; ip -o addr show | grep -o 'inet[6]* [^ ]*'").prints("LOOPBACK,UP\ninet 127.0.0.1/8\ninet6 ::1/128\n"),
    Case::inside("private, no route", &["--private-network"], "ip route | wc -l").prints("0\n"),
    Case::inside("the host's", &[], "ls /sys/class/net | grep -x -e lo -e second; ip route | wc -l").prints("lo\nsecond\n1\n"),
    Case::inside("the host's, own of sysfs", &[], "mkdir /sys/x 2>/dev/null || echo no").prints("no\n"),
    Case::inside("private, capability", &["--private-network"], "grep CapBnd /proc/self/status"),
    Case::inside("the host's, capability", &[], "grep CapBnd /proc/self/status"),
    Case::inside("private, capability dropped", &["--private-network", "--drop-capability=CAP_NET_ADMIN"], "ip link set lo down 2>/dev/null || echo no; ls /sys/class/net").prints("no\nlo\n"),
    Case::inside("private, links can be changed", &["--private-network"], "ip link set lo down && ip link set lo up && echo yes").prints("yes\n"),
    Case::inside("private, settings", &["--private-network"], "cat /proc/sys/net/ipv4/ip_forward; echo 1 2>/dev/null > /proc/sys/net/ipv4/ip_forward || echo no"),
    Case::inside("private, settings where they may be", &["--private-network"], "echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward").environment(&[("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")]).prints("1\n"),
    Case::inside("private with users, settings where they may be", &["--private-network", "--private-users=524288:65536", "--private-users-ownership=map"], "echo 1 > /proc/sys/net/ipv4/ip_forward && cat /proc/sys/net/ipv4/ip_forward").environment(&[("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")]).own_tree().since(254),
    Case::inside("private with users, ping", &["--private-network", "-U"], "cat /proc/sys/net/ipv4/ping_group_range").own_tree().since(256),
    Case::inside("private, links of sysfs", &["--private-network"], "stat -c '%u:%g' /sys/class/net/lo/mtu; cat /sys/class/net/lo/mtu"),
    Case::inside("private with users, links of sysfs", &["--private-network", "--private-users=524288:65536", "--private-users-ownership=map"], "cat /sys/class/net/lo/mtu").own_tree().prints("65536\n").since(254),
    Case::inside("namespaces differ", &["--private-network"], COMPARE).before(NOTE).prints("another\n"),
    Case::inside("namespaces differ, with users", &["--private-network", "--private-users=524288:65536", "--private-users-ownership=map"], COMPARE).before(NOTE).prints("another\n"),
    Case::inside("the host's namespace", &[], COMPARE).before(NOTE).prints("same\n"),
    Case::inside("the host's namespace, with users", &["--private-users=524288:65536", "--private-users-ownership=map"], COMPARE).before(NOTE).prints("same\n"),
];
