//! What the payload may use.

use super::case::Case;
use super::property::{FORKS, SEEN_OUTSIDE, group};

const OWN: &str = "an option of redd alone";

/// The limits as the kernel tells them, but for those that count by user, which others on the host use, too.
const LIMITS: &str = "sed 's/  */ /g' /proc/self/limits | grep -v pending";

pub(crate) const CASES: &[Case] = &[
    Case::inside("limits that nobody has asked for", &[], LIMITS),
    Case::inside("limits that nobody has asked for, as a user", &["-u", "user"], LIMITS),
    Case::inside("limit", &["--rlimit=NOFILE=77"], "ulimit -n").prints("77\n"),
    Case::inside("soft and hard limit", &["--rlimit=NOFILE=70:80"], "ulimit -Sn; ulimit -Hn").prints("70\n80\n"),
    Case::inside("limit with its prefix", &["--rlimit=RLIMIT_NOFILE=78"], "ulimit -n").prints("78\n"),
    Case::inside("limit with the prefix of units", &["--rlimit=LimitNOFILE=79"], "ulimit -n").prints("79\n"),
    Case::inside("limit in hexadecimal digits", &["--rlimit=NOFILE=0x40"], "ulimit -n").prints("64\n"),
    Case::inside("the last limit counts", &["--rlimit=NOFILE=70", "--rlimit=NOFILE=80"], "ulimit -n").prints("80\n"),
    Case::inside("several limits", &["--rlimit=NOFILE=70", "--rlimit=CORE=0"], LIMITS),
    Case::inside("file size", &["--rlimit=FSIZE=1K"], "ulimit -f; dd if=/dev/zero of=/big bs=1K count=2; stat -c %s /big")
        .own_tree(),
    Case::inside("processor time", &["--rlimit=CPU=1min:1h"], LIMITS),
    Case::inside("processor time is rounded up", &["--rlimit=CPU=1500ms"], LIMITS),
    Case::inside("processor time ends", &["--rlimit=CPU=1"], "while :; do :; done").code(137).prints("").differs("a signal is told by the exit code"),
    Case::inside("address space", &["--rlimit=AS=300M"], LIMITS),
    Case::inside("data", &["--rlimit=DATA=1G:2G"], LIMITS),
    Case::inside("stack", &["--rlimit=STACK=1M"], LIMITS),
    Case::inside("core files", &["--rlimit=CORE=1.5K"], LIMITS),
    Case::inside("resident memory", &["--rlimit=RSS=1G"], LIMITS),
    Case::inside("locked memory", &["--rlimit=MEMLOCK=4K"], LIMITS),
    Case::inside("message queues", &["--rlimit=MSGQUEUE=4K"], LIMITS),
    Case::inside("locks", &["--rlimit=LOCKS=5"], LIMITS),
    Case::inside("niceness", &["--rlimit=NICE=0"], LIMITS),
    Case::inside("real-time priority", &["--rlimit=RTPRIO=0"], LIMITS),
    Case::inside("real-time time", &["--rlimit=RTTIME=5ms"], LIMITS),
    Case::inside("processes of a user", &["--rlimit=NPROC=5", "-u", "user"], "ulimit -p 2>&1 || grep 'Max processes' /proc/self/limits"),
    Case::inside("limits of a user", &["--rlimit=NOFILE=70", "-u", "user"], "ulimit -n").prints("70\n"),
    Case::inside("limits with users", &["--rlimit=NOFILE=70", "--private-users=pick"], "ulimit -n").prints("70\n"),
    Case::inside("no limit", &["--rlimit=CORE=infinity"], LIMITS),
    Case::inside("more than the host has", &["--rlimit=NOFILE=99999999999"], "ulimit -Sn; ulimit -Hn"),
    Case::inside("as much as there is", &["--rlimit=NOFILE=infinity"], "ulimit -Sn; ulimit -Hn"),
    Case::inside("a hard limit that nobody may have", &["--rlimit=NOFILE=70:infinity"], "ulimit -Sn; ulimit -Hn"),
    Case::inside("more than the host has, with users", &["--rlimit=NOFILE=infinity", "-U"], "ulimit -Sn; ulimit -Hn").own_tree(),
    Case::refused("no such limit", &["--rlimit=FOO=1"]),
    Case::refused("limit without a value", &["--rlimit=NOFILE"]),
    Case::refused("limit with an empty value", &["--rlimit=NOFILE="]),
    Case::refused("soft above hard", &["--rlimit=NOFILE=9:8"]),
    Case::refused("number with a unit that is none", &["--rlimit=NOFILE=1K"]),
    Case::refused("niceness out of range", &["--rlimit=NICE=41"]),
    Case::inside("out of memory sooner", &["--oom-score-adjust=500"], "cat /proc/self/oom_score_adj").prints("500\n"),
    Case::inside("out of memory first", &["--oom-score-adjust=1000"], "cat /proc/self/oom_score_adj").prints("1000\n"),
    Case::inside("out of memory as usual", &[], "cat /proc/self/oom_score_adj"),
    Case::inside("out of memory, in hexadecimal digits", &["--oom-score-adjust=0x10"], "cat /proc/self/oom_score_adj"),
    Case::inside("out of memory with users", &["--oom-score-adjust=7", "--private-users=pick"], "cat /proc/1/oom_score_adj")
        .prints("7\n").differs("the original cannot write its own file then"),
    Case::refused("a score out of range", &["--oom-score-adjust=1001"]),
    Case::refused("a score that is none", &["--oom-score-adjust=high"]),
    Case::inside("one processor", &["--cpu-affinity=1"], "nproc; grep Cpus_allowed_list /proc/self/status"),
    Case::inside("two processors", &["--cpu-affinity=0,1"], "nproc; grep Cpus_allowed_list /proc/self/status"),
    Case::inside("a range of processors", &["--cpu-affinity=0-1"], "grep Cpus_allowed_list /proc/self/status"),
    Case::inside("the last processors count", &["--cpu-affinity=0", "--cpu-affinity=1"], "nproc"),
    Case::inside("processors are taken back", &["--cpu-affinity=0", "--cpu-affinity="], "nproc"),
    Case::inside("all processes have them", &["--cpu-affinity=1", "--as-pid2"], "grep Cpus_allowed_list /proc/1/status"),
    Case::refused("a range of processors the wrong way round", &["--cpu-affinity=3-1"]),
    Case::refused("no processor", &["--cpu-affinity=x"]),
    Case::refused("a processor that is not there", &["--cpu-affinity=4000"]),
    Case::inside("a machine of 32 bits", &["--personality=x86"], "uname -m").prints("i686\n"),
    Case::inside("a machine of 64 bits", &["--personality=x86-64"], "uname -m").prints("x86_64\n"),
    Case::inside("the machine as it is", &[], "uname -m"),
    Case::refused("no such machine", &["--personality=vax"]),
    Case::inside("memory", &["--memory=24M"], "exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null")
        .code(137).prints("").elsewhere().differs(OWN),
    Case::inside("memory that is enough", &["--memory=400M"], "exec dd if=/dev/zero of=/dev/null bs=200M count=1 2>/dev/null")
        .prints("").elsewhere().differs(OWN),
    Case::inside("processes", &["--pids=4"], FORKS).prints("some\n").elsewhere().differs(OWN),
    Case::inside("processes that are enough", &["--pids=20"], FORKS).prints("all\n").elsewhere().differs(OWN),
    Case::inside("processor time in parts", &["--cpus=0.5"], SEEN_OUTSIDE).before(group!("cpu.cfs_quota_us", "cpu.max", ""))
        .prints("50000\n").elsewhere().differs(OWN),
    Case::refused("memory that is none", &["--memory=much"]),
    Case::refused("processors that are none", &["--cpus=0"]),
    Case::refused("processes that are none", &["--pids=few"]),
];
