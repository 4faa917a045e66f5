//! OCI bundles.

use super::case::Case;

/// Writes `{host}/b/config.json`: a script as the program, and more members of `process`, of `linux`, of the document.
macro_rules! bundle {
    ($script:literal, $process:expr, $linux:expr, $document:expr) => {
        bundle!($script, $process, $linux, $document, r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"}]"#, r#""path":"{tree}""#)
    };
    ($script:literal, $process:expr, $linux:expr, $document:expr, $namespaces:expr, $root:expr) => {
        concat!(
            "mkdir {host}/b; cat >{host}/b/config.json <<'END'\n",
            r#"{"ociVersion":"1.0.0","root":{"#,
            $root,
            r#"},"process":{"args":["/bin/sh","-c",""#,
            $script,
            r#""]"#,
            $process,
            r#"},"linux":{"intelRdt":{}"#,
            $namespaces,
            $linux,
            "}",
            $document,
            "}\nEND"
        )
    };
}

pub(crate) use bundle;

/// A bundle that runs.
pub(crate) const fn runs(name: &'static str, bundle: &'static str) -> Case {
    Case::inside(name, &["--oci-bundle={host}/b"], "").runs(&[]).before(bundle)
}

/// A bundle that does not.
pub(crate) const fn refused(name: &'static str, bundle: &'static str) -> Case {
    // The original says nothing else.
    Case::refused(name, &["--oci-bundle={host}/b"]).runs(&[]).before(bundle).environment(&[("SYSTEMD_LOG_LEVEL", "debug")])
}

/// A bundle and more options.
pub(crate) const fn with(name: &'static str, options: &'static [&'static str], bundle: &'static str) -> Case {
    Case::inside(name, options, "").runs(&[]).before(bundle)
}

const IGNORED: &str = "the original ignores it";
const BIND: &str = "the original refuses the options of bind mounts that the specification has";
const SETS: &str = "the original drops the bundle's sets and starts from its usual ones, which gives the container more";
const NEWER: &str = "the original takes version 1.0.0 alone; the later ones mean the same by what they share";

pub(crate) const CASES: &[Case] = &[
    Case::refused("no bundle", &["--oci-bundle={host}/nonexistent"]),
    refused("no configuration", "mkdir {host}/b"),
    refused("no JSON", "mkdir {host}/b; echo '{' >{host}/b/config.json"),
    refused("no version", "mkdir {host}/b; echo '{\"root\":{\"path\":\"{tree}\"}}' >{host}/b/config.json"),
    refused("another version", "mkdir {host}/b; echo '{\"ociVersion\":\"2.0.0\",\"root\":{\"path\":\"{tree}\"}}' >{host}/b/config.json"),
    runs("a program", bundle!("echo it runs", "", "", "")).prints("it runs\n"),
    runs("its code", bundle!("exit 7", "", "", "")).code(7),
    with("a root with a program alone", &["--oci-bundle={host}/b"], "mkdir -p {host}/b/root; cp {tree}/probe {host}/b/root/go; echo '{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"root\"},\"process\":{\"args\":[\"/go\",\"yield\"],\"cwd\":\"/\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"}]}}' >{host}/b/config.json")
        .prints("yield=Ok(())\n")
        .differs("images made from nothing have no /usr"),
    runs("without a terminal", bundle!("test -t 1 || echo none", ",\"terminal\":false", "", "")).prints("none\n"),
    runs("with a terminal", bundle!("tty", ",\"terminal\":true", "", "")).prints("/dev/pts/0\n"),
    runs("a directory", bundle!("pwd", ",\"cwd\":\"/tmp\"", "", "")),
    runs("variables", bundle!("echo $A $B", ",\"env\":[\"PATH=/bin\",\"A=1\",\"B=x y\"]", "", "")).prints("1 x y\n"),
    runs("a user", bundle!("id -u; id -g; id -G", ",\"user\":{\"uid\":5,\"gid\":60,\"additionalGids\":[4,7]}", "", "")).prints("5\n60\n60 4 7\n"),
    runs("a user has no home", bundle!("echo $HOME-$USER-$LOGNAME", ",\"user\":{\"uid\":1000,\"gid\":1000}", "", "")).prints("--\n"),
    runs("root has a home", bundle!("echo $HOME-$USER-$LOGNAME", "", "", "")).prints("/root-root-root\n"),
    runs("the usual capabilities", bundle!("grep Cap /proc/self/status", "", "", "")),
    runs("capabilities", bundle!("grep Cap /proc/self/status", ",\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_CHOWN\"],\"effective\":[\"CAP_KILL\"],\"permitted\":[\"CAP_KILL\"],\"inheritable\":[\"CAP_KILL\"],\"ambient\":[\"CAP_KILL\"]}", "", "")).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    refused("an effective capability that is not kept", bundle!("true", ",\"capabilities\":{\"effective\":[\"CAP_KILL\"]}", "", "")),
    refused("an ambient capability that is not kept", bundle!("true", ",\"capabilities\":{\"bounding\":[\"CAP_KILL\"],\"ambient\":[\"CAP_CHOWN\"]}", "", "")).differs(IGNORED),
    refused("no capability", bundle!("true", ",\"capabilities\":{\"bounding\":[\"CAP_FOO\"]}", "", "")),
    runs("a limit", bundle!("ulimit -n; ulimit -Hn", ",\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":100,\"hard\":200}]", "", "")).prints("100\n200\n"),
    refused("half a limit", bundle!("true", ",\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":100}]", "", "")),
    refused("a limit twice", bundle!("true", ",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":1},{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":1}]", "", "")),
    refused("no limit", bundle!("true", ",\"rlimits\":[{\"type\":\"NOFILE\",\"soft\":1,\"hard\":1}]", "", "")),
    runs("no new privileges", bundle!("grep NoNewPrivs /proc/self/status", ",\"noNewPrivileges\":true", "", "")).prints("NoNewPrivs:\t1\n").differs_until(257, IGNORED),
    runs("a score", bundle!("cat /proc/self/oom_score_adj", ",\"oomScoreAdj\":500", "", "")).prints("500\n"),
    refused("a score that is none", bundle!("true", ",\"oomScoreAdj\":5000", "", "")),
    refused("a member twice", bundle!("true", ",\"cwd\":\"/\",\"cwd\":\"/tmp\"", "", "")),
    refused("a relative directory", bundle!("true", ",\"cwd\":\"tmp\"", "", "")),
    refused("a profile", bundle!("true", ",\"apparmorProfile\":\"x\"", "", "")).differs(IGNORED),
    refused("an unknown member of the process", bundle!("true", ",\"foo\":1", "", "")),
    runs("a host name", bundle!("hostname", "", "", ",\"hostname\":\"foo.bar\"")).prints("foo.bar\n"),
    refused("no host name", bundle!("true", "", "", ",\"hostname\":\"foo_bar\"")),
    refused("an unknown member", bundle!("true", "", "", ",\"foo\":1")),
    refused("a domain name", bundle!("true", "", "", ",\"domainname\":\"x\"")),
    runs("annotations", bundle!("echo it runs", "", "", ",\"annotations\":{\"org.example.a\":\"b\"}")).prints("it runs\n"),
    refused("annotations that are none", bundle!("true", "", "", ",\"annotations\":{\"a\":1}")),
    refused("hooks", bundle!("true", "", "", ",\"hooks\":{\"createRuntime\":[{\"path\":\"/bin/true\"}]}")),
    runs("a read-only root", bundle!("touch /x 2>/dev/null || echo no", "", "", "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"}]"#, r#""path":"{tree}","readonly":true"#)).prints("no\n").differs_until(257, IGNORED),
    runs("memory", bundle!("grep ' /mnt rw,nosuid' /proc/self/mountinfo | grep -c size=1024k,mode=700; stat -c %a /mnt", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\",\"options\":[\"size=1m\",\"nosuid\",\"mode=700\"]}]")),
    runs("a bind mount", concat!("mkdir {host}/d; echo in >{host}/d/x\n", bundle!("cat /mnt/x; touch /mnt/y && ls /mnt", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"{host}/d\",\"options\":[\"bind\"]}]"))).prints("in\nx\ny\n").differs(BIND),
    runs("a read-only bind mount", concat!("mkdir {host}/d; echo in >{host}/d/x\n", bundle!("cat /mnt/x; touch /mnt/y 2>/dev/null || echo no", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"{host}/d\",\"options\":[\"rbind\",\"ro\"]}]"))).prints("in\nno\n").differs(BIND),
    runs("the usual mounts", bundle!("echo it runs", "", "", ",\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\",\"source\":\"proc\"},{\"destination\":\"/dev/shm\",\"type\":\"tmpfs\",\"source\":\"shm\",\"options\":[\"nosuid\",\"mode=1777\"]},{\"destination\":\"/dev/mqueue\",\"type\":\"mqueue\",\"source\":\"mqueue\"}]")).prints("it runs\n"),
    refused("a relative destination", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}]")),
    refused("a disk that is not there", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"ext4\",\"source\":\"/dev/nonexistent\"}]")),
    refused("a source that is not there", bundle!("true", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"bind\",\"source\":\"/nonexistent\",\"options\":[\"bind\"]}]")),
    runs("a network", bundle!("ls /sys/class/net", "", "", "", ",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"cgroup\"},{\"type\":\"network\"}]", "\"path\":\"{tree}\"")).prints("lo\n"),
    runs("users", bundle!("cat /proc/self/uid_map | tr -s ' '", "", ",\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":65536}],\"gidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":65536}]", "", ",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"cgroup\"},{\"type\":\"user\"}]", "\"path\":\"{tree}\"")).prints(" 0 0 65536\n"),
    refused("no mount namespace", bundle!("true", "", "", "", ",\"namespaces\":[{\"type\":\"pid\"}]", "\"path\":\"{tree}\"")),
    refused("a namespace twice", bundle!("true", "", "", "", ",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"mount\"}]", "\"path\":\"{tree}\"")),
    refused("an unknown namespace", bundle!("true", "", "", "", ",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"foo\"}]", "\"path\":\"{tree}\"")),
    refused("a time namespace", bundle!("true", "", "", "", ",\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"time\"}]", "\"path\":\"{tree}\"")),
    refused("an unknown member of linux", bundle!("true", "", ",\"foo\":1", "")),
    refused("a place of the control group", bundle!("true", "", ",\"cgroupsPath\":\"/foo\"", "")),
    runs("a parameter", bundle!("cat /proc/sys/kernel/msgmax", "", ",\"sysctl\":{\"kernel.msgmax\":\"1234\"}", "")).prints("1234\n").differs(IGNORED),
    runs("masked paths", bundle!("cat /etc/passwd 2>/dev/null | wc -l; ls /home | wc -l", "", ",\"maskedPaths\":[\"/etc/passwd\",\"/home\",\"/nonexistent\"]", "")).prints("0\n0\n").since(257),
    runs("read-only paths", bundle!("touch /etc/x 2>/dev/null || echo no; touch /home/x && echo yes", "", ",\"readonlyPaths\":[\"/etc\"]", "")).prints("no\nyes\n"),
    runs("propagation", bundle!("echo it runs", "", ",\"rootfsPropagation\":\"rslave\"", "")).prints("it runs\n"),
    with("the command line's program", &["--oci-bundle={host}/b"], bundle!("echo bundle", "", "", "")).runs(&["/bin/echo", "command line"]).prints("command line\n"),
    with("the command line's directory", &["--oci-bundle={host}/b", "--chdir=/etc"], bundle!("pwd", ",\"cwd\":\"/tmp\"", "", "")).prints("/etc\n"),
    with("the command line's variables", &["--oci-bundle={host}/b", "-EC=3"], bundle!("echo $A $C", ",\"env\":[\"A=1\"]", "", "")).prints("3\n"),
    with("the command line's mounts", &["--oci-bundle={host}/b", "--tmpfs=/srv"], bundle!("grep -c ' /mnt ' /proc/self/mountinfo; grep -c ' /srv ' /proc/self/mountinfo", "", "", ",\"mounts\":[{\"destination\":\"/mnt\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"}]")).prints("0\n1\n"),
    with("the command line's limits", &["--oci-bundle={host}/b", "--rlimit=RLIMIT_NPROC=77", "--rlimit=RLIMIT_CORE=0"], bundle!("grep -E 'open|processes|core' /proc/self/limits | tr -s ' '", ",\"rlimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":100,\"hard\":200},{\"type\":\"RLIMIT_CORE\",\"soft\":5,\"hard\":5}]", "", "")).prints("Max core file size 0 0 bytes \nMax processes 77 77 processes \nMax open files 100 200 files \n"),
    with("a capability less", &["--oci-bundle={host}/b", "--drop-capability=CAP_KILL"], bundle!("grep CapBnd /proc/self/status", ",\"capabilities\":{\"bounding\":[\"CAP_KILL\",\"CAP_CHOWN\"]}", "", "")).prints("CapBnd:\t0000000000000001\n").differs(SETS),
    with("a capability more", &["--oci-bundle={host}/b", "--capability=CAP_CHOWN"], bundle!("grep CapBnd /proc/self/status", ",\"capabilities\":{\"bounding\":[\"CAP_KILL\"]}", "", "")).prints("CapBnd:\t0000000000000021\n").differs(SETS),
    refused("no namespaces", bundle!("true", "", "", "", "", "\"path\":\"{tree}\"")).differs("the specification has the host's namespaces then, and a container always has its own"),
    with("a copy", &["--oci-bundle={host}/b", "-x"], bundle!("touch /x", "", "", "")).after("ls {tree}/x 2>/dev/null || echo gone").prints(""),
    with("a later version", &["--oci-bundle={host}/b"], "mkdir {host}/b; echo '{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"{tree}\"},\"process\":{\"args\":[\"/bin/echo\",\"it runs\"],\"cwd\":\"/\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"cgroup\"}]}}' >{host}/b/config.json").prints("it runs\n").differs(NEWER),
];
