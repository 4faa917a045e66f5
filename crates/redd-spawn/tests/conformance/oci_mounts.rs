//! OCI bundles: mounts, networks that exist, the console's size.

use super::case::Case;
use super::oci::{bundle, refused, runs, with};

/// A bundle with mounts.
macro_rules! mounted {
    ($script:literal, $mounts:literal) => {
        concat!(
            "mkdir {host}/d {host}/d/below; echo in >{host}/d/x; mount -t tmpfs -o nosuid,mode=755 tmpfs {host}/d/below\n",
            bundle!($script, "", "", $mounts)
        )
    };
}

/// Unmounts what [`mounted`] has mounted.
const BELOW: &str = "umount {host}/d/below";

/// A directory whose mounts are passed on.
macro_rules! shared {
    ($script:literal, $mounts:literal) => {
        concat!("mkdir {host}/d; mount --bind {host}/d {host}/d; mount --make-shared {host}/d\n", bundle!($script, "", "", $mounts))
    };
}

const IGNORED: &str = "the original ignores what is said of the file systems that every container has";
const BIND: &str = "the original refuses the options of bind mounts that the specification has";
const OWNER: &str = "the original mounts what shows the host's kernel";
const SOURCE: &str = "the original takes no source for an empty directory, which goes away";

/// A bundle in a network that exists.
macro_rules! networked {
    ($script:literal, $more:literal) => {
        concat!(
            "touch {host}/net; unshare --net={host}/net sh -c 'echo 40000 50000 >/proc/sys/net/ipv4/ip_local_port_range'\n",
            bundle!($script, "", $more, "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"},{"type":"network","path":"{host}/net"}]"#, r#""path":"{tree}""#)
        )
    };
}

pub(crate) const CASES: &[Case] = &[
    runs("a directory", mounted!("cat /mnt/x; ls /mnt | cat; touch /mnt/y", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\"}]")).prints("in\nbelow\nx\n").after("umount {host}/d/below; ls {host}/d"),
    runs("a relative source", concat!("mkdir {host}/b {host}/b/d; echo in >{host}/b/d/x; mkdir() { :; }\n", bundle!("cat /mnt/x", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"d\"}]"))).prints("in\n"),
    runs("all below it by default", mounted!("findmnt -rn -o FSTYPE /mnt/below", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"{host}/d\"}]")).prints("tmpfs\n").after(BELOW),
    runs("all below it", mounted!("findmnt -rn -o FSTYPE /mnt/below", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"{host}/d\",\"options\":[\"rbind\"]}]")).prints("tmpfs\n").after(BELOW),
    runs("nothing below it", mounted!("findmnt -rn -o FSTYPE /mnt/below || echo none", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"{host}/d\",\"options\":[\"norbind\"]}]")).prints("none\n").after(BELOW),
    runs("nothing below it, by its other name", mounted!("findmnt -rn -o FSTYPE /mnt/below || echo none", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"none\",\"source\":\"{host}/d\",\"options\":[\"bind\"]}]")).prints("none\n").after(BELOW),
    runs("the ids of the host", mounted!("stat -c %u /mnt/x", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"{host}/d\",\"options\":[\"noidmap\"]}]")).prints("0\n").after(BELOW),
    runs("attributes", mounted!("findmnt -rn -o VFS-OPTIONS /mnt; touch /mnt/below/y && echo yes", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"rbind\",\"ro\",\"nosuid\",\"nodev\",\"noexec\",\"noatime\",\"nodiratime\",\"nosymfollow\"]}]")).prints("ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow\nyes\n").after(BELOW).differs(BIND),
    runs("attributes of all", mounted!("findmnt -rn -o VFS-OPTIONS /mnt; findmnt -rn -o VFS-OPTIONS /mnt/below", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"rbind\",\"rro\",\"rnodev\",\"rnoexec\",\"rnoatime\"]}]")).prints("ro,nodev,noexec,noatime\nro,nosuid,nodev,noexec,noatime\n").after(BELOW).differs(BIND),
    runs("attributes taken away", mounted!("findmnt -rn -o VFS-OPTIONS /mnt/below", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"rbind\",\"rsuid\",\"rstrictatime\"]}]")).prints("rw\n").after(BELOW).differs(BIND),
    runs("the last word counts", mounted!("findmnt -rn -o VFS-OPTIONS /mnt", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"bind\",\"ro\",\"rw\",\"noatime\",\"relatime\",\"suid\",\"nosuid\"]}]")).prints("rw,nosuid,relatime\n").after(BELOW).differs(BIND),
    runs("what the host mounts later", shared!("grep ' /mnt ' /proc/self/mountinfo | grep -c master:", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\"}]")).prints("1\n").after("umount {host}/d"),
    runs("private", shared!("grep ' /mnt ' /proc/self/mountinfo | grep -c master:; findmnt -rn -o PROPAGATION /mnt", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"rbind\",\"rprivate\"]}]")).prints("0\nshared\n").after("umount {host}/d").differs(BIND),
    runs("slave", mounted!("findmnt -rn -o FSTYPE /mnt/below", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"rbind\",\"rslave\",\"defaults\"]}]")).prints("tmpfs\n").after(BELOW).differs(BIND),
    refused("shared", mounted!("true", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"rbind\",\"rshared\"]}]")).after(BELOW),
    refused("unbindable", mounted!("true", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"unbindable\"]}]")).after(BELOW),
    refused("mounted again", mounted!("true", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"remount\"]}]")).after(BELOW),
    refused("no option of a bind mount", mounted!("true", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"options\":[\"sync\"]}]")).after(BELOW),
    refused("ids of a mount", mounted!("true", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"uidMappings\":[{\"containerID\":0,\"hostID\":1,\"size\":1}]}]")).after(BELOW),
    refused("an unknown member of a mount", mounted!("true", ",\"mounts\":[{\"destination\":\"/mnt\",\"source\":\"{host}/d\",\"foo\":1}]")).after(BELOW),
    runs("no source", bundle!("ls /mnt | wc -l", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\"}]")).prints("0\n"),
    refused("no source to bind", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\"}]")).differs(SOURCE),
    runs("memory", bundle!("findmnt -rn -o FSTYPE,VFS-OPTIONS /mnt; stat -c %a /mnt", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}]")).prints("tmpfs rw,relatime\n1777\n"),
    runs("memory with attributes", bundle!("findmnt -rn -o VFS-OPTIONS /mnt; stat -c %a,%u /mnt", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"nodev\",\"noexec\",\"strictatime\",\"mode=750\",\"uid=5\",\"size=64k\",\"nr_inodes=9\"]}]")).prints("rw,nosuid,nodev,noexec\n750,5\n"),
    runs("memory without access times", bundle!("findmnt -rn -o VFS-OPTIONS /mnt", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"noatime\",\"nodiratime\"]}]")).prints("rw,noatime,nodiratime\n"),
    runs("read-only memory", bundle!("touch /mnt/x 2>/dev/null || echo no", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"ro\"]}]")).prints("no\n"),
    runs("another kind", bundle!("findmnt -rn -o FSTYPE,SOURCE /mnt; touch /mnt/x && ls /mnt", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"ramfs\",\"source\":\"memory\"}]")).prints("ramfs memory\nx\n"),
    runs("layers", concat!("mkdir {host}/l {host}/u {host}/w; echo low >{host}/l/x\n", bundle!("cat /mnt/x; echo new >/mnt/y", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"overlay\",\"source\":\"overlay\",\"options\":[\"lowerdir={host}/l\",\"upperdir={host}/u\",\"workdir={host}/w\"]}]"))).prints("low\n").after("cat {host}/u/y"),
    refused("an option that the kind does not have", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"foo=1\"]}]")),
    refused("no kind", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"foofs\",\"source\":\"x\"}]")),
    refused("what is below copied up", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"tmpcopyup\"]}]")),
    refused("the host's kernel", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"sysfs\",\"source\":\"sysfs\"}]")).differs(OWNER),
    runs("what every container has", bundle!("grep ' /run ' /proc/self/mounts | cut -d' ' -f4", "", "", ",\"mounts\":[{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"strictatime\",\"mode=755\",\"size=65536k\"]}]")).prints("rw,nosuid,nodev,size=65536k,nr_inodes=819200,mode=755\n").differs(IGNORED),
    runs("the container's own memory", bundle!("grep ' /dev/shm ' /proc/self/mounts | cut -d' ' -f4; stat -c %a /dev/shm; dd if=/dev/zero of=/dev/shm/x bs=128k count=1 2>/dev/null || echo full", "", "", ",\"mounts\":[{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"nosymfollow\",\"mode=0700\",\"size=64k\"]}]")).prints("rw,nosuid,nodev,noexec,nosymfollow,size=64k,nr_inodes=409600,mode=700\n700\nfull\n").differs(IGNORED),
    runs("its own memory with other access times", bundle!("grep ' /dev/shm ' /proc/self/mounts | cut -d' ' -f4", "", "", ",\"mounts\":[{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"relatime\",\"size=64k\"]}]")).prints("rw,nosuid,nodev,relatime,size=64k,nr_inodes=409600\n").differs(IGNORED),
    runs("no programs and little in /run", bundle!("grep ' /run ' /proc/self/mounts | cut -d' ' -f4; echo '#!/bin/sh' >/run/x; chmod 755 /run/x; /run/x 2>/dev/null || echo no", "", "", ",\"mounts\":[{\"destination\":\"/run\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"noexec\",\"size=64k\"]}]")).prints("rw,nosuid,nodev,noexec,size=64k,nr_inodes=819200,mode=755\nno\n").differs(IGNORED),
    runs("no programs in /dev", bundle!("grep ' /dev ' /proc/self/mounts | cut -d' ' -f4", "", "", ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"noexec\",\"size=1m\"]}]")).prints("rw,nosuid,noexec,size=1024k,nr_inodes=65536,mode=755\n").differs(IGNORED),
    runs("its own terminals", bundle!("grep ' /dev/pts ' /proc/self/mounts | cut -d' ' -f4", "", "", ",\"mounts\":[{\"destination\":\"/dev/pts\",\"type\":\"devpts\",\"source\":\"devpts\",\"options\":[\"nosuid\",\"noexec\",\"newinstance\",\"ptmxmode=0666\",\"mode=0640\",\"gid=5\"]}]")).prints("rw,nosuid,noexec,relatime,gid=5,mode=640,ptmxmode=666\n").differs(IGNORED),
    runs("the kernel's own, as they are", bundle!("grep ' /sys ' /proc/self/mounts | cut -d' ' -f4", "", "", ",\"mounts\":[{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"ro\"]}]")).prints("ro,nosuid,nodev,noexec,relatime\n"),
    refused("sysfs that can be written", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\",\"nodev\",\"rw\"]}]")).differs(IGNORED),
    refused("no devices in /dev", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\",\"nodev\"]}]")).differs(IGNORED),
    refused("a size of sysfs", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/sys\",\"type\":\"sysfs\",\"source\":\"sysfs\",\"options\":[\"size=1m\"]}]")).differs(IGNORED),
    with("the command line's mounts", &["--oci-bundle={host}/b", "--tmpfs=/srv"], bundle!("findmnt -rn -o FSTYPE /srv; findmnt /mnt || echo none", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"nosuid\"]}]")).prints("tmpfs\nnone\n"),
    runs("a network that exists", networked!("cat /proc/sys/net/ipv4/ip_local_port_range | tr -s '\\t' ' '; ls /sys/class/net", "")).prints("40000 50000\nlo\n").after("umount {host}/net"),
    runs("its capabilities", networked!("grep CapBnd /proc/self/status", "")).after("umount {host}/net"),
    with("the command line's network", &["--oci-bundle={host}/b", "--private-network"], networked!("cat /proc/sys/net/ipv4/ip_local_port_range | tr -s '\\t' ' '", "")).prints("32768 60999\n").after("umount {host}/net"),
    refused("a network that is none", bundle!("true", "", "", "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"network","path":"/etc/passwd"}]"#, r#""path":"{tree}""#)),
    refused("another namespace for a network", bundle!("true", "", "", "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"network","path":"/proc/self/ns/uts"}]"#, r#""path":"{tree}""#)),
    refused("a network that is not there", bundle!("true", "", "", "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"network","path":"/nonexistent"}]"#, r#""path":"{tree}""#)),
    refused("a relative path of a network", bundle!("true", "", "", "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"network","path":"net"}]"#, r#""path":"{tree}""#)),
    refused("another namespace that exists", bundle!("true", "", "", "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"uts"},{"type":"ipc","path":"/proc/self/ns/ipc"}]"#, r#""path":"{tree}""#)),
    refused("users and a network that exists", concat!("touch {host}/net; unshare --net={host}/net true\n", bundle!("true", "", ",\"uidMappings\":[{\"containerID\":0,\"hostID\":655360,\"size\":65536}],\"gidMappings\":[{\"containerID\":0,\"hostID\":655360,\"size\":65536}]", "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"user"},{"type":"network","path":"{host}/net"}]"#, r#""path":"{tree}""#))).after("umount {host}/net"),
    runs("a size", bundle!("sleep 0.5; stty size", ",\"terminal\":true,\"consoleSize\":{\"height\":10,\"width\":20}", "", "")).prints("10 20\n"),
    refused("half a size", bundle!("true", ",\"terminal\":true,\"consoleSize\":{\"height\":10}", "", "")),
    refused("no size", bundle!("true", ",\"terminal\":true,\"consoleSize\":{\"height\":0,\"width\":20}", "", "")),
    refused("half a user", bundle!("true", ",\"user\":{\"uid\":5}", "", "")),
    runs("no limit", bundle!("ulimit -S -c", ",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":-1,\"hard\":-1}]", "", "")).prints("unlimited\n"),
    refused("an annotation without a name", bundle!("true", "", "", ",\"annotations\":{\"\":\"x\"}")),
];
