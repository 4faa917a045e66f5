//! What the payload may do.

use super::case::Case;

/// The sets that the kernel keeps for a process, as the shell has them.
const SETS: &str = "grep -E '^(Cap|NoNewPrivs|Uid|Gid)' /proc/self/status | tr '\\t' ' '";

const RESTRICT: &str = "--restrict-address-families";

/// A directory made by way of either call.
const MAKE: &str = "mkdir /tmp/x 2>&1 | sed 's/.*: //'; if test -d /tmp/x; then echo made; fi";

/// What the probe says of sockets, and then of a pair and of the 32-bit `socketcall` where sockets are restricted: it makes
/// none of any family, and a pair is no matter of families. Its arguments are a null pointer, which the kernel would refuse.
#[cfg(target_arch = "x86_64")]
macro_rules! restricted {
    ($sockets:literal) => {
        concat!($sockets, "pair=Ok(())\nsocketcall socket=Err(97)\nsocketcall socketpair=Err(14)\n")
    };
}
/// The same on a processor without `socketcall`.
#[cfg(not(target_arch = "x86_64"))]
macro_rules! restricted {
    ($sockets:literal) => {
        concat!($sockets, "pair=Ok(())\n")
    };
}
pub(crate) use restricted;

/// Whether a call that is not allowed by itself gets as far as to look for the file.
const SWAP: &str = "swapoff /nonexistent 2>&1 | grep -c 'No such file' || true";

const SOCKETCALL: &str = "programs of 32 bits get no socket by socketcall(2) either";

const SUFFIX: &str = "the original takes the whole word for the name of a call that it does not know, and ignores it";

pub(crate) const CASES: &[Case] = &[
    Case::inside("the usual capabilities", &[], SETS),
    Case::inside("those of a private network", &["--private-network"], SETS),
    Case::inside("those of private users", &["-U"], SETS).own_tree(),
    Case::inside("those of private users and network", &["-U", "--private-network"], SETS).own_tree(),
    Case::inside("those of a user", &["-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("dropped", &["--drop-capability=CAP_KILL"], SETS),
    Case::inside("dropped by number", &["--drop-capability=5"], SETS),
    Case::inside("dropped, two at once", &["--drop-capability=cap_kill,cap_chown"], SETS),
    Case::inside("dropped twice", &["--drop-capability=cap_kill", "--drop-capability=cap_chown"], SETS),
    Case::inside("dropped, all", &["--drop-capability=all"], SETS),
    Case::inside("dropped, all but one that was added", &["--drop-capability=all", "--capability=cap_kill"], SETS),
    Case::inside("dropped what is not there", &["--drop-capability=cap_sys_time"], SETS),
    Case::inside("added", &["--capability=cap_sys_time"], SETS),
    Case::inside("added and dropped", &["--capability=cap_sys_time", "--drop-capability=cap_sys_time"], SETS),
    Case::inside("dropped and added", &["--drop-capability=cap_sys_time", "--capability=cap_sys_time"], SETS),
    Case::inside("added, with empty words", &["--capability=cap_sys_time,,cap_bpf"], SETS),
    Case::inside("added, none", &["--capability="], SETS),
    Case::inside("added, all", &["--capability=all"], SETS),
    Case::inside("added, unknown to the kernel", &["--capability=41"], SETS),
    Case::inside("added, the last number", &["--capability=62"], SETS),
    Case::refused("added, no number", &["--capability=64"]),
    Case::refused("added, no name", &["--capability=cap_none"]),
    Case::refused("added, without its beginning", &["--capability=kill"]),
    Case::refused("added, a space", &["--capability= cap_kill"]),
    Case::refused("dropped, no name", &["--drop-capability=none"]),
    Case::inside("what is dropped has no effect", &["--drop-capability=cap_chown"], "touch /tmp/a; chown 5 /tmp/a 2>/dev/null || echo no")
        .prints("no\n"),
    Case::inside("ambient, root", &["--ambient-capability=cap_net_raw"], SETS),
    Case::inside("ambient, user", &["--ambient-capability=cap_net_raw", "-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("ambient, user by number", &["--ambient-capability=cap_net_raw", "--uid=1000"], SETS).prints("Uid: 1000 1000 1000 1000\nGid: 1000 1000 1000 1000\nCapInh: 0000000000002000\nCapPrm: 0000000000002000\nCapEff: 0000000000002000\nCapBnd: 00000000fcecafff\nCapAmb: 0000000000002000\nNoNewPrivs: 0\n").since(257).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("ambient, several", &["--ambient-capability=CAP_NET_RAW,cap_kill", "--ambient-capability=21", "-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("ambient behind the stub init", &["--ambient-capability=cap_net_raw", "-a", "-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("ambient with private users", &["--ambient-capability=cap_net_raw", "-U", "-u", "user"], SETS).own_tree(),
    Case::inside("ambient, added", &["--ambient-capability=cap_sys_time", "--capability=cap_sys_time", "-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("ambient of a private network", &["--ambient-capability=cap_net_admin", "--private-network", "-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("ambient, none", &["--ambient-capability="], SETS),
    Case::inside("ambient has an effect", &["--ambient-capability=cap_chown", "-u", "user"], "touch /tmp/a; chown 5 /tmp/a; stat -c %u /tmp/a")
        .prints("5\n"),
    Case::inside("ambient passes on", &["--ambient-capability=cap_kill", "-u", "user"], "sh -c \"grep CapEff /proc/self/status\""),
    Case::inside("ambient and no new privileges", &["--ambient-capability=cap_kill", "--no-new-privileges=yes", "-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::refused("ambient, not in the bounding set", &["--ambient-capability=cap_sys_time"]),
    Case::refused("ambient, dropped", &["--ambient-capability=cap_kill", "--drop-capability=cap_kill"]),
    Case::refused("ambient, all", &["--ambient-capability=all"]),
    Case::refused("ambient, all with all", &["--ambient-capability=all", "--capability=all"]),
    Case::refused("ambient, no name", &["--ambient-capability=foo"]),
    Case::refused("ambient, no number", &["--ambient-capability=64"]),
    Case::refused("ambient and boot", &["--ambient-capability=cap_kill", "-b"]),
    Case::refused("ambient without a value", &["--ambient-capability"]),
    Case::inside("no new privileges", &["--no-new-privileges=yes"], SETS),
    Case::inside("no new privileges for a user", &["--no-new-privileges=1", "-u", "user"], SETS).differs_since(257, "what a user can inherit, a file's capabilities could give to it"),
    Case::inside("new privileges", &["--no-new-privileges=no"], SETS),
    Case::inside("the last word on privileges", &["--no-new-privileges=yes", "--no-new-privileges=off"], SETS),
    Case::inside("set-user-id without new privileges", &["--no-new-privileges=yes", "-u", "user"], "/suid -u")
        .before("cp {tree}/usr/bin/id {tree}/suid; chmod 4755 {tree}/suid")
        .prints("1000\n"),
    Case::inside("set-user-id with new privileges", &["-u", "user"], "/suid -u")
        .before("cp {tree}/usr/bin/id {tree}/suid; chmod 4755 {tree}/suid")
        .prints("0\n"),
    Case::refused("privileges, empty", &["--no-new-privileges="]),
    Case::refused("privileges, no word", &["--no-new-privileges=maybe"]),
    Case::inside("calls denied", &["--system-call-filter=~mkdir mkdirat"], MAKE).prints("Operation not permitted\n"),
    Case::inside("calls denied, then allowed", &["--system-call-filter=~mkdir mkdirat", "--system-call-filter=mkdir mkdirat"], MAKE)
        .prints("Operation not permitted\n"),
    Case::inside("calls allowed, then denied", &["--system-call-filter=mkdir mkdirat", "--system-call-filter=~mkdir mkdirat"], MAKE)
        .prints("Operation not permitted\n"),
    Case::inside("calls denied, then nothing", &["--system-call-filter=~mkdir mkdirat", "--system-call-filter="], MAKE)
        .prints("Operation not permitted\n"),
    Case::inside("calls denied by group", &["--system-call-filter=~@chown"], "touch /tmp/a; chown 5 /tmp/a 2>&1 | sed 's/.*: //'")
        .prints("Operation not permitted\n"),
    // Of a group in it.
    Case::inside("calls allowed by a group of groups", &["--system-call-filter=@privileged"], SWAP).prints("1\n"),
    Case::inside("calls that nobody allows", &[], SWAP).prints("0\n"),
    Case::inside("nothing denied", &["--system-call-filter=~"], MAKE).prints("made\n"),
    Case::inside("nothing said", &["--system-call-filter="], MAKE).prints("made\n"),
    Case::inside("what is allowed stays so", &["--system-call-filter=@keyring bpf"], MAKE).prints("made\n"),
    Case::inside("denied behind a space", &["--system-call-filter=~ mkdir  mkdirat"], MAKE).prints("Operation not permitted\n"),
    Case::inside("call of another architecture", &["--system-call-filter=s390_pci_mmio_read"], MAKE).prints("made\n"),
    Case::inside("another error", &["--system-call-filter=~mkdir:EACCES mkdirat:13"], MAKE)
        .prints("Permission denied\n")
        .differs(SUFFIX),
    Case::inside("another error of a group", &["--system-call-filter=~@chown:ENOSPC"], "touch /tmp/a; chown 5 /tmp/a 2>&1 | sed 's/.*: //'")
        .prints("No space left on device\n")
        .differs(SUFFIX),
    Case::inside("an end", &["--system-call-filter=~mkdir:kill mkdirat:kill"], "mkdir /tmp/x; echo $?").prints("Bad system call\n159\n").differs(SUFFIX),
    Case::inside("an error of an allowed call", &["--system-call-filter=mkdir:EPERM"], MAKE).prints("made\n"),
    Case::inside("no error", &["--system-call-filter=~mkdir:EFOO"], MAKE).prints("made\n"),
    Case::inside("an unknown call", &["--system-call-filter=~mkdri"], MAKE).prints("made\n"),
    Case::inside("an unknown group", &["--system-call-filter=~@mkdri"], MAKE).prints("made\n"),
    Case::inside("an unknown call that is allowed", &["--system-call-filter=new_call @new-group"], MAKE).prints("made\n"),
    Case::inside("known ones beside unknown ones", &["--system-call-filter=~mkdri mkdir @none mkdirat"], MAKE).prints("Operation not permitted\n"),
    Case::inside("families allowed", &["--restrict-address-families=AF_INET AF_UNIX"], "/probe sockets 1 2 10 16 17 99")
        .prints(restricted!("socket 1=Ok(())\nsocket 2=Ok(())\nsocket 10=Err(97)\nsocket 16=Err(97)\nsocket 17=Err(97)\nsocket 99=Err(97)\n"))
        .since(261).differs_since(257, SOCKETCALL),
    Case::inside("families denied", &["--restrict-address-families=~AF_INET"], "/probe sockets 1 2 10 16 17")
        .prints(restricted!("socket 1=Ok(())\nsocket 2=Err(97)\nsocket 10=Ok(())\nsocket 16=Ok(())\nsocket 17=Ok(())\n"))
        .since(261).differs_since(257, SOCKETCALL),
    Case::inside("no family", &["--restrict-address-families=none"], "/probe sockets 1 2 10 16")
        .prints(restricted!("socket 1=Err(97)\nsocket 2=Err(97)\nsocket 10=Err(97)\nsocket 16=Err(97)\n"))
        .since(261).differs_since(257, SOCKETCALL),
    Case::inside("families, denied wins", &["--restrict-address-families=AF_INET AF_UNIX", "--restrict-address-families=~AF_INET"], "/probe sockets 1 2 10")
        .prints(restricted!("socket 1=Ok(())\nsocket 2=Err(97)\nsocket 10=Err(97)\n"))
        .since(261).differs_since(257, SOCKETCALL),
    Case::inside("families taken back", &["--restrict-address-families=none", "--restrict-address-families="], "/probe sockets 1 2 10 | head -n 3")
        .prints("socket 1=Ok(())\nsocket 2=Ok(())\nsocket 10=Ok(())\n").since(261),
    Case::inside("every family", &["--restrict-address-families="], "/probe sockets 1 2 10 16 | head -n 4")
        .prints("socket 1=Ok(())\nsocket 2=Ok(())\nsocket 10=Ok(())\nsocket 16=Ok(())\n").since(261),
    Case::refused("no such family", &["--restrict-address-families=AF_NONE"]),
    Case::refused("families without a value", &[RESTRICT]),
    Case::refused("a label without SELinux", &["-Z", "system_u:system_r:svirt_lxc_net_t:s0"]).differs_since(257, "what would have no effect is refused"),
    Case::refused("a label of file systems without SELinux", &["-L", "system_u:object_r:svirt_sandbox_file_t:s0"]),
    Case::refused("an empty label", &["--selinux-context="]).differs_since(257, "what would have no effect is refused"),
];
