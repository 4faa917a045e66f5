//! Names and ids, and the variables of the environment.

use super::case::Case;
use super::mounts::SUPPRESSED;

const ID: &str = "echo $container_uuid; cat /run/host/container-uuid; cat /etc/machine-id 2>/dev/null || echo none";
const OPTION: &str = "--uuid=11112222-3333-4444-5555-666677778888";
/// One that is made up: only that it is the same in both places, and none of the others.
const RANDOM: &str = "[ $container_uuid = $(cat /run/host/container-uuid) ] && echo ${#container_uuid}; cat /etc/machine-id 2>/dev/null; true";
const SERVICE: &str = "echo $container; cat /run/host/container-manager";
const X64: &str = "--hostname=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";
const X65: &str = "--hostname=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx";

const fn id(name: &'static str, options: &'static [&'static str], before: &'static str) -> Case {
    Case::inside(name, options, ID).before(before)
}

const fn named(name: &'static str, options: &'static [&'static str], text: &'static str) -> Case {
    Case::inside(name, options, "uname -n").prints(text)
}

const fn with(name: &'static str, environment: &'static [(&'static str, &'static str)], script: &'static str) -> Case {
    Case::inside(name, &[], script).environment(environment)
}

pub(crate) const CASES: &[Case] = &[
    named("host name", &["--hostname=other"], "other\n"),
    named("the last host name counts", &["--hostname=a", "--hostname=b"], "b\n"),
    named("host name taken back", &["--hostname=other", "--hostname="], "{name}\n").differs_since(257, "an empty value takes it back, as with other options"),
    named("host name with dots", &["--hostname=a.b-c.D1"], "a.b-c.D1\n"),
    named("host name of digits", &["--hostname=1"], "1\n"),
    named("longest host name", &[X64], "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n"),
    Case::refused("too long a host name", &[X65]),
    Case::refused("host name with an underscore", &["--hostname=a_b"]),
    Case::refused("host name with a blank", &["--hostname=a b"]),
    Case::refused("host name that ends in a dot", &["--hostname=a.b."]),
    Case::refused("host name that begins with a dot", &["--hostname=.a"]),
    Case::refused("host name with two dots", &["--hostname=a..b"]),
    Case::refused("host name that begins with a dash", &["--hostname=-a"]),
    Case::refused("host name that ends in a dash", &["--hostname=a-"]),
    Case::refused("host name that is no ASCII", &["--hostname=é"]),
    Case::refused("host name with a slash", &["--hostname=a/b"]),
    Case::inside("host name with users", &["--hostname=other", "--private-users=4194304:65536"], "uname -n; hostname x; uname -n"),
    named("the tree's name", &[], "{name}\n"),
    named("machine name", &["-D", "{tree}", "-M", "m-{name}"], "m-{name}\n"),
    named("machine name, long", &["-D", "{tree}", "--machine=m-{name}"], "m-{name}\n"),
    named("the last machine name counts", &["-D", "{tree}", "-M", "a-{name}", "-M", "b-{name}"], "b-{name}\n"),
    named("machine name taken back", &["-D", "{tree}", "-M", "a", "-M", ""], "{name}\n").differs_since(257, "an empty value takes it back, as with other options"),
    named("host name and machine name", &["-D", "{tree}", "-M", "m-{name}", "--hostname=h"], "h\n"),
    named("upper-case machine name", &["-D", "{tree}", "-M", "UP-{name}"], "UP-{name}\n"),
    Case::refused("machine name with an underscore", &["-D", "{tree}", "-M", "a_b"]),
    Case::refused("machine name with a slash", &["-D", "{tree}", "-M", "a/b"]),
    Case::refused("machine name that begins with a dot", &["-D", "{tree}", "-M", ".a"]),
    Case::refused("machine name of a dot", &["-D", "{tree}", "-M", "."]),
    Case::refused("machine name that ends in a dash", &["-D", "{tree}", "-M", "a-"]),
    Case::refused("machine name that is no ASCII", &["-D", "{tree}", "-M", "é"]),
    Case::inside("an ephemeral machine's name", &["-x"], "uname -n | sed s/-[0-9a-f]*$/-X/").prints("{name}-X\n"),
    Case::inside("no machine id", &[], RANDOM).before("rm -f {tree}/etc/machine-id"),
    Case::inside("an empty machine id", &[], RANDOM).before(": >{tree}/etc/machine-id"),
    Case::inside("an uninitialized machine id", &[], RANDOM).before("echo uninitialized >{tree}/etc/machine-id"),
    id("an id for no machine id", &[OPTION], "rm -f {tree}/etc/machine-id"),
    id("an id for an empty machine id", &[OPTION], ": >{tree}/etc/machine-id"),
    id("an id for an uninitialized machine id", &[OPTION], "printf uninitialized >{tree}/etc/machine-id").differs_since(257, "the output is shown as it is, without a line's end of ours"),
    id("an id for one in a line", &[OPTION], "echo uninitialized >{tree}/etc/machine-id"),
    id("an id for a link to nothing", &[OPTION], "rm -f {tree}/etc/machine-id; ln -s /usr/lib/nothing {tree}/etc/machine-id"),
    id("a machine id", &[], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    id("a machine id and another one", &[OPTION], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    id("a machine id without a line's end", &[], "printf 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id").differs_since(257, "the output is shown as it is, without a line's end of ours"),
    id("a machine id in upper case", &[], "echo 0123456789ABCDEF0123456789ABCDEF >{tree}/etc/machine-id"),
    id("a machine id that is a link", &[], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/id; rm -f {tree}/etc/machine-id; ln -s /etc/id {tree}/etc/machine-id").since(258),
    id("read-only", &["--read-only", OPTION], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    id("a read-only tree without one", &["--read-only", OPTION], ": >{tree}/etc/machine-id"),
    id("without /etc", &["--volatile=yes", OPTION], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    id("volatile state", &["--volatile=state", OPTION], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    id("volatile overlay", &["--volatile=overlay", OPTION], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    id("ephemeral", &["-x", OPTION], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    id("with users", &["--private-users=4194304:65536", "--private-users-ownership=map"], "echo 0123456789abcdef0123456789abcdef >{tree}/etc/machine-id"),
    Case::refused("a machine id of zeros", &[]).before("echo 00000000000000000000000000000000 >{tree}/etc/machine-id").differs_since(257, "it is none, and a system would not take it"),
    Case::refused("a machine id of zeros and another one", &[OPTION]).before("echo 00000000000000000000000000000000 >{tree}/etc/machine-id").differs_since(257, "it is none, and a system would not take it"),
    Case::refused("a machine id that is none", &[]).before("echo nonsense >{tree}/etc/machine-id"),
    Case::refused("a machine id with dashes", &[OPTION]).before("echo 01234567-89ab-cdef-0123-456789abcdef >{tree}/etc/machine-id"),
    Case::refused("a machine id that goes on", &[]).before("printf '0123456789abcdef0123456789abcdef\\nx\\n' >{tree}/etc/machine-id"),
    Case::refused("a machine id that is cut off", &[]).before("echo 0123456789abcdef0123456789abcde >{tree}/etc/machine-id"),
    Case::refused("a machine id that is a directory", &[]).before("rm -f {tree}/etc/machine-id; mkdir {tree}/etc/machine-id"),
    Case::inside("a bad machine id that is not seen", &["--volatile=yes", OPTION], ID).before("echo nonsense >{tree}/etc/machine-id"),
    Case::inside("an id without dashes", &["--uuid=11112222333344445555666677778888"], "echo $container_uuid").before("rm -f {tree}/etc/machine-id"),
    Case::inside("an id in upper case", &["--uuid=AAAABBBBCCCCDDDDEEEEFFFF00001111"], "echo $container_uuid").before("rm -f {tree}/etc/machine-id"),
    Case::inside("the last id counts", &["--uuid=11112222333344445555666677778888", "--uuid=21112222333344445555666677778888"], "echo $container_uuid").before("rm -f {tree}/etc/machine-id"),
    Case::inside("no id of the caller's", &[], "[ $container_uuid = 11112222-3333-4444-5555-666677778888 ] || echo another")
        .before("rm -f {tree}/etc/machine-id")
        .environment(&[("container_uuid", "11112222-3333-4444-5555-666677778888")])
        .prints("another\n"),
    Case::refused("an id of zeros", &["--uuid=00000000000000000000000000000000"]),
    Case::refused("an empty id", &["--uuid="]),
    Case::refused("an id that is none", &["--uuid=nonsense"]),
    Case::refused("an id that is too short", &["--uuid=1111222233334444555566667777888"]),
    Case::refused("an id in braces", &["--uuid={11112222-3333-4444-5555-666677778888}"]),
    with("the manager", &[], SERVICE).prints("systemd-nspawn\nsystemd-nspawn\n"),
    with("another manager", &[("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "foo")], SERVICE).prints("foo\nfoo\n"),
    with("an empty manager", &[("SYSTEMD_NSPAWN_CONTAINER_SERVICE", "")], SERVICE).prints("\n\n"),
    with("/tmp", &[], "grep -c ' /tmp ' /proc/self/mountinfo"),
    with("/tmp in the tree", &[("SYSTEMD_NSPAWN_TMPFS_TMP", "0")], "grep -c ' /tmp ' /proc/self/mountinfo").code(1),
    with("/tmp in memory", &[("SYSTEMD_NSPAWN_TMPFS_TMP", "yes")], "grep -c ' /tmp ' /proc/self/mountinfo"),
    Case::refused("/tmp somewhere", &[]).environment(&[("SYSTEMD_NSPAWN_TMPFS_TMP", "x")]),
    Case::refused("interfaces that are written a little", &[]).environment(&[("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "x")]),
    Case::refused("a namespace of control groups, perhaps", &[]).environment(&[("SYSTEMD_NSPAWN_USE_CGNS", "x")]),
    with("interfaces that can be written", &[("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "yes")], "grep -c ' /proc/sys ' /proc/self/mountinfo").code(1),
    with("namespaces are not shared", &[("SYSTEMD_NSPAWN_SHARE_NS_UTS", "0"), ("SYSTEMD_NSPAWN_SHARE_NS_PID", "no")], "uname -n; echo $$").prints("{name}\n1\n"),
    Case::refused("a namespace shared, perhaps", &[]).environment(&[("SYSTEMD_NSPAWN_SHARE_NS_IPC", "x")]),
    Case::refused("a host name that is shared", &[]).environment(&[("SYSTEMD_NSPAWN_SHARE_NS_UTS", "1")]).differs("a container without these namespaces is none"),
    Case::refused("process ids that are shared", &[]).environment(&[("SYSTEMD_NSPAWN_SHARE_NS_PID", "1")]).differs("a container without these namespaces is none"),
    Case::refused("message queues that are shared", &[]).environment(&[("SYSTEMD_NSPAWN_SHARE_NS_IPC", "1")]).differs("a container without these namespaces is none"),
    Case::refused("all of it shared", &[]).environment(&[("SYSTEMD_NSPAWN_SHARE_SYSTEM", "1")]).differs("a container without these namespaces is none"),
    with("synchronous writing suppressed", &[("SYSTEMD_SUPPRESS_SYNC", "1")], "/probe sync | grep -v openat2").prints(SUPPRESSED),
    with("synchronous writing", &[("SYSTEMD_SUPPRESS_SYNC", "0")], "/probe sync | grep '^open O_D*SYNC='").prints("open O_SYNC=0\nopen O_DSYNC=0\n"),
    Case::inside("synchronous writing, as the environment says", &["--suppress-sync=yes"], "/probe sync | grep '^open O_D*SYNC='")
        .environment(&[("SYSTEMD_SUPPRESS_SYNC", "0")]),
];
