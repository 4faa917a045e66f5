//! Settings files. Each case writes one beside the tree, or where the administrator puts them (a place of the tests' own
//! here), and looks inside at what has come of it.

use super::case::Case;
use super::exec;
use super::mounts::SUPPRESSED;
use super::security::restricted;

/// What a file beside the tree, which is not trusted, does in the original.
const LOOSENS: &str = "a file that is not trusted takes back what the command line has taken";
/// What a file that says but who owns the tree does in the original, and a command line that does.
const HOSTS_USERS: &str = "who speaks of the owners alone gets the host's users";
const OWN_USERS: &str = "read a b c </proc/self/uid_map; test $b -gt 0 && echo own || echo hosts";

/// Where the manual says otherwise than version 252 does.
const PARAMETERS: &str = "without Boot= or ProcessTwo= the original ignores Parameters=, which the manual does not say";

/// A case of redd alone.
const NEVER: u32 = u32::MAX;

const fn trusted(name: &'static str, before: &'static str, script: &'static str) -> Case {
    Case::inside(name, &["--settings=trusted"], script).before(before)
}

const fn beside(name: &'static str, before: &'static str, script: &'static str) -> Case {
    Case::inside(name, &[], script).before(before)
}

/// The host keeps journals, in a directory of the test's own, and the file says what it says of those of the machine.
macro_rules! journal {
    ($more:literal, $line:literal) => {
        concat!(
            "mount -t tmpfs tmpfs /var/log; mkdir /var/log/journal\n",
            $more,
            "\nprintf '[Exec]\nMachineID=0123456789abcdef0123456789abcdef",
            $line,
            "\n' >{tree}.nspawn; rm -f {tree}/etc/machine-id"
        )
    };
}
const JOURNAL: &str = "grep -c ' /var/log/journal/0123456789abcdef0123456789abcdef ' /proc/self/mountinfo || true";

/// A file that is not trusted, and wins over the command line.
const fn wins(
    name: &'static str,
    options: &'static [&'static str],
    before: &'static str,
    script: &'static str,
) -> Case {
    Case::inside(name, options, script).before(before)
}

/// A file of the administrator's, which `before` writes, that wins over the command line.
const fn administrators(
    name: &'static str,
    options: &'static [&'static str],
    before: &'static str,
    script: &'static str,
) -> Case {
    wins(name, options, before, script).after("rm /run/systemd/nspawn/{name}.nspawn")
}

pub(crate) const CASES: &[Case] = &[
    Case::refused("no such mode", &["--settings=maybe"]),
    Case::refused("no mode", &["--settings="]),
    beside("no file", "", "echo $A.").prints(".\n"),
    // Places and modes.
    beside("beside the tree", "printf '[Exec]\nEnvironment=A=1' >{tree}.nspawn", "echo $A").prints("1\n"),
    Case::inside("mode yes", &["--settings=yes"], "echo $A")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints("1\n"),
    Case::inside("mode no", &["--settings=no"], "echo $A.")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints(".\n"),
    Case::inside("mode in another word for no", &["--settings=off"], "echo $A.")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints(".\n"),
    Case::inside("mode override", &["--settings=override", "-E", "A=2"], "echo $A")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints("1\n"),
    Case::inside("the command line wins", &["-E", "A=2"], "echo $A")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints("2\n"),
    Case::inside("the command line decides on all variables", &["-E", "B=2"], "echo $A,$B")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints(",2\n"),
    beside(
        "the administrator's first",
        "printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn
         printf '[Exec]\nEnvironment=A=2\n' >/run/systemd/nspawn/{name}.nspawn",
        "echo $A",
    )
    .after("rm /run/systemd/nspawn/{name}.nspawn")
    .prints("2\n"),
    beside(
        "the administrator's is trusted",
        "mkdir src; touch src/f; printf '[Files]\nBind={host}/src:/mnt\n' >/run/systemd/nspawn/{name}.nspawn",
        "ls /mnt",
    )
    .after("rm /run/systemd/nspawn/{name}.nspawn")
    .prints("f\n"),
    Case::inside("named after --machine=", &["-D", "{tree}", "-M", "othername"], "echo $A")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn; printf '[Exec]\nEnvironment=A=2\n' >{tree}/../othername.nspawn")
        .after("rm {tree}/../othername.nspawn; rm {tree}.nspawn")
        .prints("2\n"),
    Case::inside("named after the tree of an ephemeral copy", &["-x"], "echo $A")
        .before("printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints("1\n"),
    Case::inside("through a link to the tree", &["-D", "{host}/link"], "echo $A")
        .before("ln -s {tree} {host}/link; printf '[Exec]\nEnvironment=A=1\n' >{tree}.nspawn")
        .prints("1\n").differs("a machine is named after the tree, not after a link to it"),
    Case::refused("a fifo", &[]).before("rm -f {tree}.nspawn; mkfifo {tree}.nspawn")
        .since(NEVER).after("rm -f {tree}.nspawn"),
    // Trust.
    beside(
        "untrusted: no bind mount",
        "mkdir src; touch src/f; printf '[Files]\nBind={host}/src:/mnt\n' >{tree}.nspawn",
        "ls /mnt 2>/dev/null; echo",
    )
    .prints("\n"),
    beside("untrusted: no capability", "printf '[Exec]\nCapability=CAP_SYS_TIME\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    beside("untrusted: no limit", "printf '[Exec]\nLimitNOFILE=77\n' >{tree}.nspawn", "ulimit -n"),
    beside("untrusted: no tmpfs", "printf '[Files]\nTemporaryFileSystem=/srv\n' >{tree}.nspawn", "grep -c ' /srv ' /proc/self/mounts").code(1),
    beside("untrusted: no users", "printf '[Exec]\nPrivateUsers=pick\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    beside("untrusted: capabilities can be dropped", "printf '[Exec]\nDropCapability=CAP_CHOWN\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    beside("untrusted: a copy", "printf '[Exec]\nEphemeral=yes\n' >{tree}.nspawn", "touch /new && echo made")
        .after("ls {tree}/new 2>&1 | grep -c No")
        .differs("a copy takes access away")
        .prints("made\n")
        .leaves("1\n"),
    beside("untrusted: a network of its own", "printf '[Network]\nPrivate=yes\n' >{tree}.nspawn", "ls /sys/class/net; grep CapB /proc/self/status")
        .differs("a network of its own takes access away")
        .prints("lo\nCapBnd:\t00000000fcecbfff\n"),
    beside("untrusted: percent signs in dates", "printf '[Exec]\nEnvironment=A=%%Y-%%m-%%d.%%H\n' >{tree}.nspawn", "echo $A")
        .prints("%Y-%m-%d.%H\n"),
    wins("untrusted: no other network", &["--settings=override", "--private-network"], "printf '[Network]\nPrivate=no\n' >{tree}.nspawn", "ls /sys/class/net")
        .prints("lo\n"),
    wins("untrusted: still a copy", &["--settings=override", "-x"], "printf '[Exec]\nEphemeral=no\n' >{tree}.nspawn", "touch /new && echo made")
        .after("ls {tree}/new 2>&1 | grep -c No")
        .prints("made\n"),
    wins("untrusted: no other users", &["--settings=override", "--private-users=7340032:65536"], "printf '[Exec]\nPrivateUsers=no\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    wins("untrusted: drops add up", &["--settings=override", "--drop-capability=CAP_SYS_ADMIN"], "printf '[Exec]\nDropCapability=CAP_KILL\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    wins("untrusted: what was added stays", &["--settings=override", "--capability=CAP_SYS_TIME"], "printf '[Exec]\nDropCapability=CAP_KILL\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    wins("untrusted: no new privileges", &["--settings=override", "--no-new-privileges=yes"], "printf '[Exec]\nNoNewPrivileges=no\n' >{tree}.nspawn", "grep NoNew /proc/self/status")
        .differs(LOOSENS)
        .prints("NoNewPrivs:\t1\n"),
    wins("untrusted: still read-only", &["--settings=override", "--read-only"], "printf '[Files]\nReadOnly=no\n' >{tree}.nspawn", "touch /new 2>/dev/null || echo refused")
        .differs(LOOSENS)
        .prints("refused\n"),
    wins("untrusted: still in memory", &["--settings=override", "--volatile=overlay"], "printf '[Files]\nVolatile=no\n' >{tree}.nspawn", "touch /new && echo made")
        .after("ls {tree}/new 2>&1 | grep -c No")
        .differs(LOOSENS)
        .prints("made\n")
        .leaves("1\n"),
    wins("untrusted: no other user", &["--settings=override", "--user=user"], "printf '[Exec]\nUser=root\n' >{tree}.nspawn", "id -u")
        .differs(LOOSENS)
        .prints("1000\n"),
    // A file of the administrator's that wins.
    administrators("drops of both add up", &["--settings=override", "--drop-capability=CAP_SYS_ADMIN"], "printf '[Exec]\nDropCapability=CAP_KILL\n' >/run/systemd/nspawn/{name}.nspawn", "grep CapB /proc/self/status"),
    administrators("a file gives back what it names", &["--settings=override", "--drop-capability=CAP_SYS_ADMIN,CAP_KILL"], "printf '[Exec]\nCapability=CAP_SYS_ADMIN\n' >/run/systemd/nspawn/{name}.nspawn", "grep CapB /proc/self/status"),
    administrators("what both add", &["--settings=override", "--capability=CAP_SYS_TIME"], "printf '[Exec]\nCapability=CAP_NET_ADMIN\n' >/run/systemd/nspawn/{name}.nspawn", "grep CapB /proc/self/status"),
    administrators("the host's network", &["--settings=override", "--private-network"], "printf '[Network]\nPrivate=no\n' >/run/systemd/nspawn/{name}.nspawn", "grep CapB /proc/self/status"),
    administrators("the owners alone", &["--settings=override", "-U"], "printf '[Files]\nPrivateUsersOwnership=map\n' >/run/systemd/nspawn/{name}.nspawn", OWN_USERS)
        .differs(HOSTS_USERS)
        .prints("own\n"),
    administrators("users alone", &["--settings=override", "-U"], "printf '[Exec]\nPrivateUsers=7340032:65536\n' >/run/systemd/nspawn/{name}.nspawn", "cut -c1-40 /proc/self/uid_map; stat -c %u /etc/passwd")
        .differs("-U says who owns the tree, and the file does not")
        .prints("         0    7340032      65536\n0\n"),
    Case::inside("the owners alone, on the command line", &["--settings=trusted", "--private-users-ownership=map"], OWN_USERS)
        .before("printf '[Exec]\nPrivateUsers=pick\n' >{tree}.nspawn")
        .differs_until(262, HOSTS_USERS)
        .prints("own\n"),
    // Each key.
    trusted("ProcessTwo", "printf '[Exec]\nProcessTwo=yes\nParameters=sh -c \"echo $$\"\n' >{tree}.nspawn", "")
        .runs(&[])
        .prints("2\n"),
    trusted("Parameters alone", "printf '[Exec]\nParameters=/bin/sh -c \"echo hi\"\n' >{tree}.nspawn", "")
        .runs(&[])
        .differs(PARAMETERS)
        .prints("hi\n"),
    trusted("Parameters with Boot=no", "printf '[Exec]\nBoot=no\nParameters=/bin/sh -c \"echo hi\"\n' >{tree}.nspawn", "")
        .runs(&[])
        .prints("hi\n"),
    trusted(
        "Parameters, quotes and backslashes",
        "printf '%s\n' '[Exec]' 'ProcessTwo=yes' 'Parameters=ls a\\b \"c  d\" e\"f g\"h' >{tree}.nspawn",
        "",
    )
    .runs(&[])
    .code(2),
    trusted(
        "Parameters are the command line's",
        "printf '[Exec]\nProcessTwo=yes\nParameters=false\n' >{tree}.nspawn",
        "echo $$",
    )
    .prints("1\n"),
    trusted("Boot without an init", "printf '[Exec]\nBoot=yes\n' >{tree}.nspawn", "echo $$").prints("1\n"),
    trusted("Environment, twice", "printf '[Exec]\nEnvironment=A=1 \"B=x y\"\nEnvironment=C=3\n' >{tree}.nspawn", "echo $A,$B,$C")
        .prints("1,x y,3\n"),
    trusted("Environment taken back", "printf '[Exec]\nEnvironment=A=1\nEnvironment=\nEnvironment=B=2\n' >{tree}.nspawn", "echo $A,$B")
        .prints(",2\n"),
    trusted("User", "printf '[Exec]\nUser=user\n' >{tree}.nspawn", "id -u").prints("1000\n"),
    trusted("WorkingDirectory", "printf '[Exec]\nWorkingDirectory=/usr/lib\n' >{tree}.nspawn", "pwd").prints("/usr/lib\n"),
    trusted("WorkingDirectory, relative", "printf '[Exec]\nWorkingDirectory=usr\n' >{tree}.nspawn", "pwd"),
    trusted("Capability", "printf '[Exec]\nCapability=CAP_NET_ADMIN CAP_SYS_TIME\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    trusted("Capability=all", "printf '[Exec]\nCapability=all\nDropCapability=CAP_CHOWN\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    trusted("Capability, one unknown", "printf '[Exec]\nCapability=CAP_NONE CAP_SYS_TIME\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    Case::inside("Capability beside --drop-capability=", &["--settings=trusted", "--drop-capability=CAP_CHOWN"], "grep CapB /proc/self/status")
        .before("printf '[Exec]\nCapability=CAP_SYS_TIME\n' >{tree}.nspawn"),
    trusted("AmbientCapability", "printf '[Exec]\nAmbientCapability=CAP_CHOWN\nUser=user\n' >{tree}.nspawn", "grep CapA /proc/self/status"),
    trusted("NoNewPrivileges", "printf '[Exec]\nNoNewPrivileges=yes\n' >{tree}.nspawn", "grep NoNew /proc/self/status"),
    trusted("KillSignal", exec::stop!("printf '[Exec]\nKillSignal=SIGUSR1\n' >{tree}.nspawn"), exec::STOPPED).code(3).prints("stopped\n"),
    trusted("Personality", "printf '[Exec]\nPersonality=x86\n' >{tree}.nspawn", "uname -m").prints("i686\n"),
    trusted("MachineID", "printf '[Exec]\nMachineID=11112222333344445555666677778888\n' >{tree}.nspawn; rm -f {tree}/etc/machine-id", "echo $container_uuid"),
    trusted("PrivateUsers", "printf '[Exec]\nPrivateUsers=7340032:65536\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    trusted("PrivateUsersDelegate", "printf '[Exec]\nPrivateUsers=7340032:65536\nPrivateUsersDelegate=0\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    Case::refused("PrivateUsersDelegate of a picked range", &["--settings=trusted"])
        .before("printf '[Exec]\nPrivateUsers=pick\nPrivateUsersDelegate=2\n' >{tree}.nspawn").since(NEVER),

    trusted("PrivateUsers=0", "printf '[Exec]\nPrivateUsers=0\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    trusted("PrivateUsers=1", "printf '[Exec]\nPrivateUsers=1\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    trusted("PrivateUsers=1:65536", "printf '[Exec]\nPrivateUsers=1:65536\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    trusted("PrivateUsers=no", "printf '[Exec]\nPrivateUsers=no\n' >{tree}.nspawn", "cat /proc/self/uid_map"),
    trusted("NotifyReady", exec::hear!("printf '[Exec]\nNotifyReady=yes\n' >{tree}.nspawn"), exec::READY)
        .environment(exec::MANAGER).after(exec::HEARD).prints(exec::SAID).leaves("1\n"),
    trusted("NotifyReady, and nothing is said", exec::hear!("printf '[Exec]\nNotifyReady=yes\n' >{tree}.nspawn"), "echo up")
        .environment(exec::MANAGER).after(exec::HEARD).prints("up\n").leaves("0\n"),
    trusted("SystemCallFilter", "printf '[Exec]\nSystemCallFilter=~mkdirat mkdir\n' >{tree}.nspawn", "mkdir /tmp/x || echo refused"),
    Case::inside("RestrictAddressFamilies", &[], "/probe sockets 1 2 10 16")
        .before("printf '[Exec]\nRestrictAddressFamilies=~AF_INET\n' >{tree}.nspawn")
        .prints(restricted!("socket 1=Ok(())\nsocket 2=Err(97)\nsocket 10=Ok(())\nsocket 16=Ok(())\n"))
        .since(261).differs_since(257, "programs of 32 bits get no socket by socketcall(2) either"),
    trusted("SuppressSync", "printf '[Exec]\nSuppressSync=yes\n' >{tree}.nspawn", "/probe sync | grep -v openat2").prints(SUPPRESSED),
    trusted("LimitNOFILE", "printf '[Exec]\nLimitNOFILE=64:128\n' >{tree}.nspawn", "ulimit -Sn; ulimit -Hn").prints("64\n128\n"),
    trusted("LimitCORE, with a unit", "printf '[Exec]\nLimitCORE=1M\n' >{tree}.nspawn", "grep core /proc/self/limits"),
    Case::inside("limits one by one", &["--settings=trusted", "--rlimit=RLIMIT_NOFILE=50"], "ulimit -n; grep core /proc/self/limits")
        .before("printf '[Exec]\nLimitNOFILE=64\nLimitCORE=0\n' >{tree}.nspawn"),
    trusted("OOMScoreAdjust", "printf '[Exec]\nOOMScoreAdjust=500\n' >{tree}.nspawn", "cat /proc/self/oom_score_adj").prints("500\n"),
    trusted("CPUAffinity", "printf '[Exec]\nCPUAffinity=0\n' >{tree}.nspawn", "grep Cpus_allowed_list /proc/self/status"),
    trusted("Hostname", "printf '[Exec]\nHostname=inside\n' >{tree}.nspawn", "cat /proc/sys/kernel/hostname").prints("inside\n"),
    trusted("ResolvConf", "printf '[Exec]\nResolvConf=off\n' >{tree}.nspawn", "ls /etc/resolv.conf 2>&1 | grep -c cannot; true"),
    trusted("Timezone", "printf '[Exec]\nTimezone=off\n' >{tree}.nspawn", "ls /etc/localtime 2>&1 | grep -c cannot; true"),
    // Where the host has nothing prepared `auto` links nothing, and elsewhere it does.
    trusted("LinkJournal", journal!("", "\nLinkJournal=host"), JOURNAL).after("umount /var/log").prints("1\n").leaves(""),
    trusted("LinkJournal=no", journal!("mkdir /var/log/journal/0123456789abcdef0123456789abcdef", "\nLinkJournal=no"), JOURNAL)
        .after("umount /var/log").prints("0\n").leaves(""),
    trusted("Ephemeral", "printf '[Exec]\nEphemeral=yes\n' >{tree}.nspawn", "touch /new && echo made").after("ls {tree}/new 2>&1 | grep -c No"),
    trusted("ReadOnly", "printf '[Files]\nReadOnly=yes\n' >{tree}.nspawn", "touch /new || echo refused"),
    trusted("Volatile", "printf '[Files]\nVolatile=overlay\n' >{tree}.nspawn", "touch /new && echo made").after("ls {tree}/new 2>&1 | grep -c No"),
    trusted(
        "PivotRoot",
        "mkdir -p {tree}/deep; cp -a {tree}/usr {tree}/etc {tree}/deep; cp -a {tree}/bin {tree}/lib* {tree}/deep || true
         mkdir -p {tree}/deep/mnt; echo deep >{tree}/deep/etc/which; printf '[Exec]\nPivotRoot=/deep\n' >{tree}.nspawn",
        "cat /etc/which",
    ),
    trusted("Bind", "mkdir src; touch src/f; printf '[Files]\nBind={host}/src:/mnt\n' >{tree}.nspawn", "ls /mnt; touch /mnt/g && echo made"),
    trusted("BindReadOnly", "mkdir src; printf '[Files]\nBindReadOnly={host}/src:/mnt\n' >{tree}.nspawn", "touch /mnt/g || echo refused"),
    trusted("Bind, twice", "mkdir a b; printf '[Files]\nBind={host}/a:/mnt/a\nBind={host}/b:/mnt/b\n' >{tree}.nspawn", "echo /mnt/*").prints("/mnt/a /mnt/b\n"),
    trusted("Bind of nothing", "printf '[Files]\nBind={host}/none\n' >{tree}.nspawn", "").code(1),
    trusted("TemporaryFileSystem", "printf '[Files]\nTemporaryFileSystem=/srv:mode=700\n' >{tree}.nspawn", "stat -fc %T /srv; stat -c %a /srv"),
    trusted("Inaccessible", "printf '[Files]\nInaccessible=/etc/passwd\n' >{tree}.nspawn", "stat -c %a,%s /etc/passwd").on_systemd(),
    trusted("Overlay", "mkdir l u; touch l/f; printf '[Files]\nOverlay={host}/l:{host}/u:/mnt\n' >{tree}.nspawn", "ls /mnt; touch /mnt/g").after("ls u"),
    trusted("OverlayReadOnly", "mkdir l u; touch l/f u/h; printf '[Files]\nOverlayReadOnly={host}/l:{host}/u:/mnt\n' >{tree}.nspawn", "ls /mnt; touch /mnt/g || echo refused"),
    trusted("PrivateUsersOwnership", "printf '[Exec]\nPrivateUsers=7340032:65536\n[Files]\nPrivateUsersOwnership=map\n' >{tree}.nspawn", "stat -c %u /etc/passwd").prints("0\n"),
    Case::inside("mounts are the command line's", &["--settings=trusted", "--tmpfs=/srv"], "ls /mnt 2>/dev/null; echo")
        .before("mkdir src; touch src/f; printf '[Files]\nBind={host}/src:/mnt\n' >{tree}.nspawn")
        .prints("\n"),
    trusted("Private", "printf '[Network]\nPrivate=yes\n' >{tree}.nspawn", "ls /sys/class/net; grep CapB /proc/self/status"),
    trusted("Private=no", "printf '[Network]\nPrivate=no\n' >{tree}.nspawn", "grep CapB /proc/self/status"),
    // Syntax.
    trusted("comments", "printf '# a\n; b\n[Exec]\n  # c\nEnvironment=A=1 # d\n' >{tree}.nspawn", "echo $A").prints("1\n"),
    trusted("continuation", "printf '[Exec]\nEnvironment=A=1 \\\\\n  # inside\n  B=2\n' >{tree}.nspawn", "echo $A,$B").prints("1,2\n"),
    trusted("continuation and white space", "printf '[Exec]\nEnvironment=\"A=x \\\\\n     y\" \\\\\n  # c\n\tB=2\n' >{tree}.nspawn", "echo \"$A,$B\"").prints("x       y,2\n"),
    trusted("continuation at the end", "printf '[Exec]\nEnvironment=A=1 \\\\' >{tree}.nspawn", "echo $A").prints("1\n"),
    trusted("white space", "printf ' [Exec] \n  Environment  =  A=1  \n' >{tree}.nspawn", "echo \"$A.\"").prints("1.\n"),
    trusted("line ends of others", "printf '[Exec]\r\nEnvironment=A=1\r\n' >{tree}.nspawn", "echo \"$A.\"").prints("1.\n"),
    trusted("sections twice", "printf '[Exec]\nEnvironment=A=1\n[Files]\n[Exec]\nEnvironment=B=2\n' >{tree}.nspawn", "echo $A,$B").prints("1,2\n"),
    trusted("unknown section", "printf '[Foo]\nA=b\n[Exec]\nEnvironment=A=1\n' >{tree}.nspawn", "echo $A").prints("1\n"),
    trusted("sections and keys of others", "printf '[X-Foo]\nA=b\n[Exec]\nX-A=b\nEnvironment=A=1\n' >{tree}.nspawn", "echo $A").prints("1\n"),
    trusted("unknown key", "printf '[Exec]\nFoo=b\nEnvironment=A=1\n' >{tree}.nspawn", "echo $A").prints("1\n"),
    trusted("key in another section", "printf '[Files]\nUser=user\n' >{tree}.nspawn", "id -u").prints("0\n"),
    trusted("key in other letters", "printf '[Exec]\nuser=user\n' >{tree}.nspawn", "id -u").prints("0\n"),
    trusted("bad value", "printf '[Exec]\nProcessTwo=maybe\nEnvironment=A=1\n' >{tree}.nspawn", "echo $A").prints("1\n"),
    trusted("no equals sign", "printf '[Exec]\nBoot\nEnvironment=A=1\n' >{tree}.nspawn", "echo $A").prints("1\n"),
    trusted("before all sections", "printf 'User=user\n[Exec]\n' >{tree}.nspawn", "id -u").prints("0\n"),
    Case::refused("half a section", &[]).before("printf '[Exec\nEnvironment=A=1\n' >{tree}.nspawn"),
    trusted("Boot and ProcessTwo", "printf '[Exec]\nProcessTwo=yes\nBoot=yes\nParameters=sh -c \"echo $$\"\n' >{tree}.nspawn", "")
        .runs(&[])
        .prints("2\n"),
    trusted("the last one counts", "printf '[Exec]\nHostname=a\nHostname=b\n' >{tree}.nspawn", "cat /proc/sys/kernel/hostname").prints("b\n"),
    trusted("percent sign", "printf '[Exec]\nEnvironment=A=1%%%%\n' >{tree}.nspawn", "echo $A")
        .differs("a percent sign begins a specifier, which the original does not have")
        .prints("1%\n"),
    trusted("machine name", "printf '[Exec]\nEnvironment=A=%%i\n' >{tree}.nspawn", "echo $A")
        .differs("a percent sign begins a specifier, which the original does not have")
        .prints("{name}\n"),
    trusted("unknown specifier", "printf '[Exec]\nEnvironment=A=%%q\n' >{tree}.nspawn", "echo $A").prints("%q\n"),
    Case::refused("not carried out: a zone", &["--settings=trusted"])
        .before("printf '[Network]\nZone=z\n' >{tree}.nspawn")
        .differs("links are made by another part of redd"),
];
