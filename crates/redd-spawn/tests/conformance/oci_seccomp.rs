//! OCI bundles with a filter of system calls.

use super::case::Case;
use super::oci::{bundle, refused, runs, with};
use super::security::restricted;

/// A bundle that runs a script under a filter.
macro_rules! filtered {
    ($script:literal, $filter:literal) => {
        filtered!($script, "", $filter)
    };
    ($script:literal, $process:literal, $filter:literal) => {
        bundle!($script, $process, $filter, "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"}],"seccomp":"#, r#""path":"{tree}""#)
    };
}

/// A call that looks at no argument, with conditions on them.
macro_rules! compared {
    ($script:literal, $conditions:literal) => {
        bundle!($script, "", $conditions, "", r#","namespaces":[{"type":"mount"},{"type":"pid"},{"type":"ipc"},{"type":"uts"},{"type":"cgroup"}],"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO","args":"#, r#""path":"{tree}""#)
    };
}

const NUMBERS: &str = "the original knows no error numbers";
const FLAGS: &str = "the original knows no flags";
const TYPING: &str = "a misspelled call would get through, which the original does not even warn of";
const NOTHING: &str = "the original ignores what has no meaning";
const TWICE: &str = "the original takes no rule that says what the default says";
const TRACER: &str = "the original knows no tracers";
const PRIVILEGES: &str = "the original takes away the ways to more privileges with a filter; noNewPrivileges says whether it shall";
const STRICT: &str = "libseccomp forgets a rule with conditions when there is one without for the same call";

pub(crate) const CASES: &[Case] = &[
    runs("a call is refused", filtered!("mkdir /x 2>/dev/null || echo no; echo >/y && echo yes", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints("no\nyes\n"),
    runs("by EPERM", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints("yield=Err(1)\n"),
    runs("no rules", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)).prints("yield=Ok(())\n"),
    runs("it takes the place of the usual one", filtered!("grep Seccomp_filters /proc/self/status; /probe sockets 16", r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86","SCMP_ARCH_X32"]}"#)),
    runs("privileges", filtered!("grep NoNewPrivs /proc/self/status", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)).prints("NoNewPrivs:\t0\n").differs(PRIVILEGES),
    runs("privileges taken away", filtered!("grep NoNewPrivs /proc/self/status; /probe yield", ",\"noNewPrivileges\":true", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints("NoNewPrivs:\t1\nyield=Err(1)\n"),
    runs("a signal", filtered!("exec 2>/dev/null; /probe yield; echo $?", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_TRAP"}]}"#)),
    runs("the thread ends", filtered!("exec 2>/dev/null; /probe yield; echo $?", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_KILL"}]}"#)),
    runs("the thread ends, by its new name", filtered!("exec 2>/dev/null; /probe yield; echo $?", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_KILL_THREAD"}]}"#)),
    runs("the process ends", filtered!("exec 2>/dev/null; /probe yield; echo $?", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_KILL_PROCESS"}]}"#)),
    runs("a call is logged", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_LOG"}]}"#)).prints("yield=Ok(())\n"),
    runs("all are logged", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_LOG"}"#)).prints("yield=Ok(())\n"),
    runs("a tracer that is not there", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_TRACE","errnoRet":7}]}"#)).prints("yield=Err(38)\n").differs(TRACER),
    runs("an error", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}"#)).prints("yield=Err(13)\n").differs(NUMBERS),
    runs("an error by default", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[{"names":["execve","exit_group","arch_prctl","brk","read","write","openat","open","close","close_range","fstat","newfstatat","stat","lstat","statx","mmap","mprotect","munmap","pread64","pwrite64","rt_sigaction","rt_sigprocmask","rt_sigreturn","set_tid_address","set_robust_list","rseq","prlimit64","getrandom","poll","ppoll","sigaltstack","futex","sched_getaffinity","gettid","tgkill","getpid","getuid","geteuid","getgid","getegid","getcwd","readlink","readlinkat","access","faccessat","faccessat2","fcntl","dup","dup2","dup3","ioctl","wait4","waitid","clone","clone3","vfork","fork","pipe","pipe2","setresuid","setresgid","setgroups","getgroups","setuid","setgid","capget","capset","prctl","chdir","fchdir","umask","sendmsg","sendto","recvmsg","setsid","kill","uname","lseek","getdents64","madvise","execveat","personality","setrlimit","socket","connect","name_to_handle_at","statfs","fstatfs","exit","mremap","clock_gettime","getpgrp","setpgid","dup2"],"action":"SCMP_ACT_ALLOW"}]}"#)).prints("yield=Err(38)\n").differs(NUMBERS),
    runs("few calls", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["execve","exit_group","arch_prctl","brk","read","write","openat","open","close","close_range","fstat","newfstatat","stat","lstat","statx","mmap","mprotect","munmap","pread64","pwrite64","rt_sigaction","rt_sigprocmask","rt_sigreturn","set_tid_address","set_robust_list","rseq","prlimit64","getrandom","poll","ppoll","sigaltstack","futex","sched_getaffinity","gettid","tgkill","getpid","getuid","geteuid","getgid","getegid","getcwd","readlink","readlinkat","access","faccessat","faccessat2","fcntl","dup","dup2","dup3","ioctl","wait4","waitid","clone","clone3","vfork","fork","pipe","pipe2","setresuid","setresgid","setgroups","getgroups","setuid","setgid","capget","capset","prctl","chdir","fchdir","umask","sendmsg","sendto","recvmsg","setsid","kill","uname","lseek","getdents64","madvise","execveat","personality","setrlimit","socket","connect","name_to_handle_at","statfs","fstatfs","exit","mremap","clock_gettime","getpgrp","setpgid","dup2"],"action":"SCMP_ACT_ALLOW"}]}"#)).prints("yield=Err(1)\n"),
    runs("what is needed for the program alone", "mkdir {host}/b; echo '{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"{tree}\"},\"process\":{\"noNewPrivileges\":true,\"args\":[\"/probe\",\"yield\"],\"cwd\":\"/\"},\"linux\":{\"namespaces\":[{\"type\":\"mount\"},{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"cgroup\"}],\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[{\"names\":[\"execve\",\"exit_group\",\"arch_prctl\",\"brk\",\"read\",\"write\",\"mmap\",\"mprotect\",\"munmap\",\"rt_sigaction\",\"rt_sigprocmask\",\"set_tid_address\",\"set_robust_list\",\"rseq\",\"prlimit64\",\"getrandom\",\"poll\",\"sigaltstack\",\"fcntl\",\"openat\",\"sched_getaffinity\",\"readlink\",\"readlinkat\",\"gettid\",\"fstat\",\"newfstatat\",\"close\"],\"action\":\"SCMP_ACT_ALLOW\"}]}}}' >{host}/b/config.json").prints("yield=Err(1)\n").differs("the original needs more calls after it has loaded the filter"),
    runs("equal", compared!("/probe yield 5; /probe yield 6; /probe yield 0x100000005", r#"[{"index":0,"value":5,"op":"SCMP_CMP_EQ"}]}]}"#)).prints("yield=Err(1)\nyield=Ok(())\nyield=Ok(())\n"),
    runs("equal in both halves", compared!("/probe yield 0 0x700000009; /probe yield 0 0x900000007; /probe yield 0 9", r#"[{"index":1,"value":30064771081,"op":"SCMP_CMP_EQ"}]}]}"#)).prints("yield=Err(1)\nyield=Ok(())\nyield=Ok(())\n"),
    runs("all bits", compared!("/probe yield 0xffffffffffffffff; /probe yield 0xffffffff", r#"[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}"#)).prints("yield=Err(1)\nyield=Ok(())\n"),
    runs("not equal", compared!("/probe yield 0 0 5; /probe yield 0 0 6; /probe yield 0 0 0x100000005", r#"[{"index":2,"value":5,"op":"SCMP_CMP_NE"}]}]}"#)).prints("yield=Ok(())\nyield=Err(1)\nyield=Err(1)\n"),
    runs("less", compared!("for i in 4 0x200000004 0x300000003 0x300000004 0x300000005 0x400000003; do /probe yield 0 0 0 $i; done", r#"[{"index":3,"value":12884901892,"op":"SCMP_CMP_LT"}]}]}"#)).prints("yield=Err(1)\nyield=Err(1)\nyield=Err(1)\nyield=Ok(())\nyield=Ok(())\nyield=Ok(())\n"),
    runs("less or equal", compared!("for i in 4 0x200000009 0x300000003 0x300000004 0x300000005 0x400000003; do /probe yield 0 0 0 $i; done", r#"[{"index":3,"value":12884901892,"op":"SCMP_CMP_LE"}]}]}"#)).prints("yield=Err(1)\nyield=Err(1)\nyield=Err(1)\nyield=Err(1)\nyield=Ok(())\nyield=Ok(())\n"),
    runs("greater", compared!("for i in 4 0x200000009 0x300000003 0x300000004 0x300000005 0x400000003; do /probe yield 0 0 0 0 $i; done", r#"[{"index":4,"value":12884901892,"op":"SCMP_CMP_GT"}]}]}"#)).prints("yield=Ok(())\nyield=Ok(())\nyield=Ok(())\nyield=Ok(())\nyield=Err(1)\nyield=Err(1)\n"),
    runs("greater or equal", compared!("for i in 4 0x200000009 0x300000003 0x300000004 0x300000005 0x400000003; do /probe yield 0 0 0 0 $i; done", r#"[{"index":4,"value":12884901892,"op":"SCMP_CMP_GE"}]}]}"#)).prints("yield=Ok(())\nyield=Ok(())\nyield=Ok(())\nyield=Err(1)\nyield=Err(1)\nyield=Err(1)\n"),
    runs("masked", compared!("for i in 0x10 0x30 0x100000010 0x200000010 0x1000f001f; do /probe yield $i; done", r#"[{"index":0,"value":8589934640,"valueTwo":16,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#)).prints("yield=Err(1)\nyield=Ok(())\nyield=Err(1)\nyield=Ok(())\nyield=Err(1)\n"),
    runs("masked, without a second value", compared!("/probe yield 0x2e020000; /probe yield 0x11", r#"[{"index":0,"value":2114060288,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#)).prints("yield=Ok(())\nyield=Err(1)\n"),
    runs("several arguments", compared!("/probe yield 1 2; /probe yield 1 3; /probe yield 2 2", r#"[{"index":0,"value":1,"op":"SCMP_CMP_EQ"},{"index":1,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#)).prints("yield=Err(1)\nyield=Ok(())\nyield=Ok(())\n"),
    runs("several rules", compared!("/probe yield 1; /probe yield 2; /probe yield 3", r#"[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":2,"op":"SCMP_CMP_EQ"}]}]}"#)).prints("yield=Err(1)\nyield=Err(1)\nyield=Ok(())\n"),
    runs("a rule for all and a stricter one", filtered!("/probe yield 1; /probe yield 2", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]},{"names":["sched_yield"],"action":"SCMP_ACT_LOG"}]}"#)).prints("yield=Err(1)\nyield=Ok(())\n").differs(STRICT),
    runs("an empty list of arguments", compared!("/probe yield 1", r#"[]}]}"#)).prints("yield=Err(1)\n"),
    runs("no other architecture", filtered!("exec 2>/dev/null; /probe yield32; echo $?", r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#)),
    runs("another architecture", filtered!("exec 2>/dev/null; /probe yield32; echo $?", r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_NATIVE","SCMP_ARCH_X86","SCMP_ARCH_X86"],"syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)),
    runs("calls behind another one", filtered!("/probe sockets 1", r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["socket"],"action":"SCMP_ACT_ERRNO"}]}"#)),
    runs("an architecture that is not here", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_MIPSEL64"],"syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints("yield=Err(1)\n"),
    runs("flags", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_TSYNC","SECCOMP_FILTER_FLAG_LOG","SECCOMP_FILTER_FLAG_SPEC_ALLOW"],"syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints("yield=Err(1)\n").differs(FLAGS),
    runs("an unknown call that is refused anyway", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_LOG","syscalls":[{"names":["reed"],"action":"SCMP_ACT_ALLOW"},{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints("yield=Err(1)\n"),
    refused("an unknown call that would get through", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["reed"],"action":"SCMP_ACT_ERRNO"}]}"#)).differs(TYPING),
    runs("a rule like the default", filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ALLOW"}]}"#)).prints("yield=Ok(())\n").differs(TWICE),
    with("the command line's filter", &["--oci-bundle={host}/b", "--system-call-filter=@keyring"], filtered!("/probe yield", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints("yield=Ok(())\n"),
    with("the command line's families", &["--oci-bundle={host}/b", "--restrict-address-families=AF_UNIX"], filtered!("/probe yield; /probe sockets 1 2", r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86"],"syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_ERRNO"}]}"#)).prints(restricted!("yield=Err(1)\nsocket 1=Ok(())\nsocket 2=Err(97)\n")).since(261).differs_since(257, "with a filter of the bundle's the original forgets the families"),
    refused("no default", filtered!("true", r#"{"syscalls":[]}"#)),
    refused("no action", filtered!("true", r#"{"defaultAction":"SCMP_ACT_FOO"}"#)),
    refused("a default that asks", filtered!("true", r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#)),
    refused("a rule that asks", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_NOTIFY"}]}"#)),
    refused("a listener", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/run/x.sock"}"#)),
    refused("what a listener is told", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerMetadata":"x"}"#)),
    refused("no flag", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_FOO"]}"#)),
    refused("a flag for listeners", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}"#)),
    refused("no architecture", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_FOO"]}"#)),
    refused("an unknown member", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","foo":1}"#)),
    refused("an unknown member of a rule", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"],"action":"SCMP_ACT_LOG","foo":1}]}"#)),
    refused("no names", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":[],"action":"SCMP_ACT_LOG"}]}"#)),
    refused("a name alone", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"name":"sched_yield","action":"SCMP_ACT_LOG"}]}"#)),
    refused("a rule without an action", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["sched_yield"]}]}"#)),
    refused("an error number too large", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":4096}"#)),
    refused("an error number of an action without", filtered!("true", r#"{"defaultAction":"SCMP_ACT_ALLOW","defaultErrnoRet":1}"#)),
    refused("an argument too many", compared!("true", r#"[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#)),
    refused("no comparison", compared!("true", r#"[{"index":0,"value":1,"op":"SCMP_CMP_FOO"}]}]}"#)),
    refused("a comparison with nothing", compared!("true", r#"[{"index":0,"op":"SCMP_CMP_EQ"}]}]}"#)),
    refused("a negative number", compared!("true", r#"[{"index":0,"value":-1,"op":"SCMP_CMP_EQ"}]}]}"#)),
    refused("an argument twice", compared!("true", r#"[{"index":0,"value":1,"op":"SCMP_CMP_GE"},{"index":0,"value":9,"op":"SCMP_CMP_LE"}]}]}"#)),
    refused("a mask that never fits", compared!("true", r#"[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#)).differs(NOTHING),
    refused("a second value for nothing", compared!("true", r#"[{"index":0,"value":1,"valueTwo":2,"op":"SCMP_CMP_EQ"}]}]}"#)).differs(NOTHING),
];
