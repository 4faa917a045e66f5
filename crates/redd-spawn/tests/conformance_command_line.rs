//! The same command lines, given to redd-spawn and to the installed systemd-nspawn: both take them or both do not.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use Differs::{In, InSince, InUntil, Never, Until};
use Outcome::{Printed, Refused, Taken};
use testkit::requires;

/// What a program makes of a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// It has printed something and ended well.
    Printed,
    /// It would have gone on, if there had been a container to run.
    Taken,
    /// The words were wrong.
    Refused,
}

/// Whether the original does the same.
#[derive(Clone, Copy, Debug)]
enum Differs {
    /// It does.
    Never,
    /// Only from this version on, as its manual says; earlier ones refuse.
    Until(u32),
    /// It does not, for this reason.
    In(&'static str),
    /// It does not before this version.
    InUntil(u32, &'static str),
    /// It does not from this version on.
    InSince(u32, &'static str),
}

impl Differs {
    /// Why.
    fn reason(self) -> &'static str {
        match self {
            In(why) | InUntil(_, why) | InSince(_, why) => why,
            Never | Until(_) => "",
        }
    }
}

const STRICT: &str = "redd says at once what the original would ignore or fail at later";
const OWN: &str = "an option of redd alone";
const DOTS: &str = "redd takes no path inside a container that has .. in it";

/// Every command line is run where the current directory is empty, which is no tree to run: nothing starts.
const CASES: &[(&[&str], Outcome, Differs)] = &[
    // the grammar
    (&[], Taken, Never),
    (&["--"], Taken, Never),
    (&["--", "--nonsense"], Taken, Never),
    (&["ls", "--nonsense"], Taken, Never),
    (&["-", "--nonsense"], Taken, Never),
    (&["--nonsense"], Refused, Never),
    (&["-y"], Refused, Never),
    (&["-qy"], Refused, Never),
    (&["-q", "--quiet"], Taken, Never),
    (&["-qD", "."], Taken, Never),
    (&["-qD."], Taken, Never),
    (&["-qxbD"], Refused, Never),
    (&["-D"], Refused, Never),
    (&["--directory"], Refused, Never),
    (&["--directory", "."], Taken, Never),
    (&["--directory="], Taken, Never),
    (&["--dir=."], Taken, Never),
    (&["--pri"], Refused, Never),
    (&["--private"], Refused, Never),
    (&["--private-n"], Taken, Never),
    (&["--boot=yes"], Refused, Never),
    (&["--boo"], Taken, Never),
    (&["--help=x"], Refused, Never),
    (&["--help"], Printed, Never),
    (&["-hy"], Printed, Never),
    (&["--help", "--nonsense"], Printed, Never),
    (&["--nonsense", "--help"], Refused, Never),
    (&["--version"], Printed, Never),
    (&["--version", "--nonsense"], Printed, Never),
    (&["--no-pager"], Taken, Never),
    (&["--no-ask-password"], Taken, Until(258)),
    (&["--volatile", "state"], Taken, Never),
    // lists of values
    (&["--console=help"], Printed, Never),
    (&["--capability=help"], Printed, Never),
    (&["--drop-capability", "help"], Printed, Never),
    (&["--kill-signal=help"], Printed, Never),
    (&["--kill-signal=list"], Refused, Never),
    (&["--private-users-ownership=help"], Printed, Never),
    (&["--resolv-conf=help"], Printed, Never),
    (&["--timezone=help"], Printed, Never),
    (&["--rlimit=help"], Printed, Never),
    (&["--volatile=help"], Printed, Never),
    (&["--personality=help"], Refused, Never),
    (&["--link-journal=help"], Refused, Never),
    // run
    (&["--settings=no"], Taken, Never),
    (&["--settings=yes"], Taken, Never),
    (&["--settings=1"], Taken, Never),
    (&["--settings=override"], Taken, Never),
    (&["--settings", "trusted"], Taken, Never),
    (&["--settings=Trusted"], Refused, Never),
    (&["--settings=override,trusted"], Refused, Never),
    (&["--settings=foo"], Refused, Never),
    (&["--settings="], Refused, Never),
    (&["--cleanup"], Refused, InSince(257, "where nothing is named it would do nothing")),
    // image
    (&["-x", "--template=.", "-D", "x"], Refused, Never),
    (&["--template="], Taken, Never),
    (&["--template=/nonexistent"], Refused, Never),
    (&["--read-only", "--volatile"], Taken, Never),
    (&["--volatile="], Refused, Never),
    (&["--volatile=off"], Taken, Never),
    (&["--volatile=Y"], Taken, Never),
    (&["--volatile=overlay"], Taken, Never),
    (&["--volatile=bogus"], Refused, Never),
    (&["--pivot-root="], Refused, Never),
    (&["--pivot-root=rel"], Refused, Never),
    (&["--pivot-root=/"], Taken, Never),
    (&["--pivot-root=/a:b"], Refused, Never),
    (&["--pivot-root=/a:/b"], Taken, Never),
    (&["--pivot-root=/a/../b"], Refused, Never),
    (&["--pivot-root=/a:/b:/c"], Refused, In(STRICT)),
    (&["--oci-bundle"], Refused, Never),
    (&["--oci-bundle=."], Taken, In("the original says that in other words")),
    // exec
    (&["-ab"], Refused, Never),
    (&["-bP"], Taken, Never),
    (&["-b", "--chdir=/"], Taken, Never),
    (&["--chdir="], Refused, Never),
    (&["--chdir=rel"], Refused, Never),
    (&["--chdir=/a/../b"], Refused, InUntil(257, DOTS)),
    (&["-E"], Refused, Never),
    (&["-EA=x"], Taken, Never),
    (&["-E", "A"], Taken, Never),
    (&["-E=x"], Refused, Never),
    (&["--setenv==x"], Refused, Never),
    (&["--setenv=A-B=x"], Refused, Never),
    (&["--setenv=1A=x"], Refused, Never),
    (&["--setenv=A=\n"], Taken, Never),
    (&["--setenv=REDD_NO_SUCH_VARIABLE"], Taken, Never),
    (&["-u", "root"], Taken, Never),
    (&["--user=root"], Taken, Never),
    (&["--user", "root"], Taken, Never),
    (&["--user="], Taken, Never),
    (&["--uid=root"], Taken, Until(258)),
    (&["--kill-signal=0"], Refused, Never),
    (&["--kill-signal=64"], Taken, Never),
    (&["--kill-signal=sigterm"], Refused, Never),
    (&["--kill-signal=SIGTERM"], Taken, Never),
    (&["--kill-signal=TERM"], Taken, Never),
    (&["--kill-signal=SIGRTMIN+3"], Taken, Never),
    (&["--kill-signal=RTMIN+30"], Taken, Never),
    (&["--kill-signal=RTMAX-1"], Taken, Never),
    (&["--kill-signal=-5"], Refused, Never),
    (&["--kill-signal="], Refused, Never),
    (&["--notify-ready=yes"], Taken, Never),
    (&["--notify-ready="], Refused, Never),
    (&["--notify-ready=maybe"], Refused, Never),
    // identity
    (&["--machine="], Taken, InSince(257, "an empty value takes it back, as with other options")),
    (&["-D.", "--machine=A.b-1"], Taken, Never),
    (&["-D.", "--machine=a_b"], Refused, Never),
    (&["-D.", "--machine=a/b"], Refused, Never),
    (&["-D.", "--machine=.x"], Refused, Never),
    (&["--hostname="], Taken, Never),
    (&["--hostname=a.b"], Taken, Never),
    (&["--hostname=a."], Refused, Never),
    (&["--hostname=a_b"], Refused, Never),
    (&["--hostname=-a"], Refused, Never),
    (&["--uuid="], Refused, Never),
    (&["--uuid=0"], Refused, Never),
    (&["--uuid=00000000000000000000000000000000"], Refused, Never),
    (&["--uuid=f1b5b9f4-0000-0000-0000-000000000001"], Taken, Never),
    (&["--uuid=F1B5B9F4000000000000000000000001"], Taken, Never),
    (&["--uuid={f1b5b9f4-0000-0000-0000-000000000001}"], Refused, Never),
    // property
    (&["--register=no", "--keep-unit"], Taken, Never),
    (&["--register=auto"], Taken, Until(257)),
    (&["--register=yes"], Taken, Never),
    (&["--register=1"], Taken, Never),
    (&["--register=off"], Taken, Never),
    (&["--register"], Refused, Never),
    (&["--keep-unit=yes"], Refused, Never),
    (&["--slice=foo"], Taken, Never),
    (&["--slice=foo.slice"], Taken, Never),
    (&["-Sfoo-bar"], Taken, Never),
    (&["-S", "a b"], Taken, Never),
    (&["--slice=-"], Taken, Never),
    (&["--slice=a/b"], Taken, Never),
    (&["--slice=a--b"], Refused, In(STRICT)),
    (&["--slice=-a"], Refused, In(STRICT)),
    (&["--slice=a@b"], Refused, In(STRICT)),
    (&["--slice=foo.service"], Refused, In(STRICT)),
    (&["--slice="], Refused, Never),
    (&["--slice"], Refused, Never),
    (&["--property=MemoryMax=1G"], Taken, Never),
    (&["--property", "CPUQuota=20%"], Taken, Never),
    (&["--property=MemoryMax="], Taken, Never),
    (&["--property=Description=a b=c"], Taken, Never),
    (&["--property=MemoryMax"], Refused, In(STRICT)),
    (&["--property=MemoryMax=nonsense"], Refused, In(STRICT)),
    (&["--property=Nonsense=1"], Refused, In(STRICT)),
    (&["--property=memorymax=1G"], Refused, In(STRICT)),
    (&["--property="], Refused, In(STRICT)),
    (&["--property"], Refused, Never),
    (&["--system"], Taken, Until(261)),
    (&["--user"], Taken, Until(261)),
    (&["--memory=1G"], Taken, In(OWN)),
    (&["--cpus=1.5"], Taken, In(OWN)),
    (&["--pids=7"], Taken, In(OWN)),
    (&["--memory=x"], Refused, Never),
    (&["--cpus=50%"], Refused, Never),
    (&["--pids=0"], Refused, Never),
    (&["--memory=1G", "--keep-unit"], Refused, Never),
    (&["--register=bogus"], Refused, Never),
    (&["--register="], Taken, Until(257)),
    // users
    (&["-U", "--read-only"], Taken, Never),
    (&["--private-users=no"], Taken, Never),
    (&["--private-users=pick"], Taken, Never),
    (&["--private-users=identity"], Taken, Never),
    (&["--private-users=yes"], Taken, Never),
    (&["--private-users"], Taken, Never),
    (&["--private-users=0"], Taken, Never),
    (&["--private-users=1"], Taken, Never),
    (&["--private-users=524288:65536"], Taken, Never),
    (&["--private-users="], Refused, Never),
    (&["--private-users=foo"], Refused, Never),
    (&["--private-users=0:0"], Refused, Never),
    (&["--private-users=1:2:3"], Refused, Never),
    (&["--private-users=4294967295"], Refused, Never),
    (&["--private-users-ownership=map"], Taken, Never),
    (&["--private-users-ownership=x"], Refused, Never),
    // network
    (&["--private-network"], Taken, Never),
    // security
    (&["--capability="], Taken, Never),
    (&["--capability=cap_kill,CAP_BPF"], Taken, Never),
    (&["--capability=21"], Taken, Never),
    (&["--capability=all"], Taken, Never),
    (&["--capability=all,foo"], Refused, Never),
    (&["--capability=kill"], Refused, Never),
    (&["--capability=cap_kill cap_chown"], Refused, Never),
    (&["--drop-capability=bogus"], Refused, Never),
    (&["--no-new-privileges="], Refused, Never),
    (&["--no-new-privileges=maybe"], Refused, Never),
    (&["--no-new-privileges=ON"], Taken, Never),
    (&["--system-call-filter="], Taken, Never),
    (&["--system-call-filter=~@clock mount"], Taken, Never),
    (&["--system-call-filter=~mount:EACCES @clock:kill bpf:5"], Taken, Never),
    (&["--system-call-filter=~mount:EFOO"], Taken, Never),
    (&["--system-call-filter=mount:EPERM"], Taken, Never),
    (&["--system-call-filter=~mdkir @none"], Taken, Never),
    (&["--ambient-capability=help"], Printed, Never),
    (&["--ambient-capability=cap_kill,CAP_NET_RAW"], Taken, Never),
    (&["--ambient-capability="], Taken, Never),
    (&["--ambient-capability=all"], Refused, Never),
    (&["--ambient-capability=foo"], Refused, Never),
    (&["--ambient-capability=cap_kill", "-b"], Refused, Never),
    (&["--ambient-capability=cap_sys_time"], Refused, Never),
    (&["--ambient-capability=cap_sys_time", "--capability=all"], Taken, Never),
    (&["--restrict-address-families=AF_INET AF_UNIX"], Taken, Until(261)),
    (&["--restrict-address-families=~AF_INET"], Taken, Until(261)),
    (&["--restrict-address-families="], Taken, Until(261)),
    (&["--restrict-address-families=none"], Taken, Until(261)),
    (&["--restrict-address-families=inet"], Refused, Never),
    (&["-Z", "a:b:c"], Taken, Never),
    (&["--selinux-apifs-context=a:b:c"], Taken, Never),
    // resources
    (&["--rlimit="], Refused, Never),
    (&["--rlimit=FOO=1"], Refused, Never),
    (&["--rlimit=NOFILE=1"], Taken, Never),
    (&["--rlimit=RLIMIT_NOFILE=1:infinity"], Taken, Never),
    (&["--rlimit=RLIMIT_NOFILE=5:1"], Refused, Never),
    (&["--rlimit=RLIMIT_NOFILE=1K"], Refused, Never),
    (&["--rlimit=FSIZE=1K"], Taken, Never),
    (&["--rlimit=CPU=1min:1h"], Taken, Never),
    (&["--rlimit=RTTIME=5ms"], Taken, Never),
    (&["--rlimit=NICE=-5"], Taken, Never),
    (&["--rlimit=NICE=-21"], Refused, Never),
    (&["--rlimit=NICE=41"], Refused, Never),
    (&["--rlimit=NOFILE=1K"], Refused, Never),
    (&["--rlimit=NOFILE=0x10"], Taken, Never),
    (&["--rlimit=LimitNOFILE=99"], Taken, Never),
    (&["--rlimit=nofile=99"], Refused, Never),
    (&["--rlimit=NOFILE=5:"], Refused, Never),
    (&["--rlimit=NOFILE=:5"], Refused, Never),
    (&["--rlimit=NOFILE"], Refused, Never),
    (&["--oom-score-adjust=-1000"], Taken, Never),
    (&["--oom-score-adjust=0x10"], Taken, Never),
    (&["--oom-score-adjust= 5"], Taken, Never),
    (&["--oom-score-adjust=1001"], Refused, Never),
    (&["--oom-score-adjust="], Refused, Never),
    (&["--cpu-affinity="], Taken, Never),
    (&["--cpu-affinity=0 1"], Taken, Never),
    (&["--cpu-affinity=0,"], Taken, Never),
    (&["--cpu-affinity=0-"], Refused, Never),
    (&["--cpu-affinity=x"], Refused, Never),
    (&["--cpu-affinity=9-1"], Refused, InUntil(257, STRICT)),
    (&["--personality=x86"], Taken, Never),
    (&["--personality=x86-64"], Taken, Never),
    (&["--personality="], Refused, Never),
    // integration
    (&["--resolv-conf=auto", "--timezone=auto", "--link-journal=auto"], Taken, Never),
    (&["--resolv-conf=bogus"], Refused, Never),
    (&["--resolv-conf=off"], Taken, Never),
    (&["--resolv-conf=copy-host"], Taken, Never),
    (&["--resolv-conf=copy-static"], Taken, Never),
    (&["--resolv-conf=copy-uplink"], Taken, Never),
    (&["--resolv-conf=copy-stub"], Taken, Never),
    (&["--resolv-conf=replace-host"], Taken, Never),
    (&["--resolv-conf=replace-static"], Taken, Never),
    (&["--resolv-conf=replace-uplink"], Taken, Never),
    (&["--resolv-conf=replace-stub"], Taken, Never),
    (&["--resolv-conf=bind-host"], Taken, Never),
    (&["--resolv-conf=bind-static"], Taken, Never),
    (&["--resolv-conf=bind-uplink"], Taken, Never),
    (&["--resolv-conf=bind-stub"], Taken, Never),
    (&["--resolv-conf=delete"], Taken, Never),
    (&["--resolv-conf=auto"], Taken, Never),
    (&["--resolv-conf="], Refused, Never),
    (&["--resolv-conf=copy"], Refused, Never),
    (&["--resolv-conf=host"], Refused, Never),
    (&["--resolv-conf=bind-"], Refused, Never),
    (&["--resolv-conf=Auto"], Refused, Never),
    (&["--resolv-conf=no"], Taken, Never),
    (&["--resolv-conf=1"], Taken, Never),
    (&["--timezone=off"], Taken, Never),
    (&["--timezone=copy"], Taken, Never),
    (&["--timezone=bind"], Taken, Never),
    (&["--timezone=symlink"], Taken, Never),
    (&["--timezone=delete"], Taken, Never),
    (&["--timezone=auto"], Taken, Never),
    (&["--timezone="], Refused, Never),
    (&["--timezone=UTC"], Refused, Never),
    (&["--timezone=link"], Refused, Never),
    (&["--timezone=yes"], Taken, Never),
    (&["--timezone=N"], Taken, Never),
    (&["--timezone=bogus"], Refused, Never),
    (&["--link-journal=bogus"], Refused, Never),
    (&["--link-journal=no"], Taken, Never),
    (&["--link-journal=host"], Taken, Never),
    (&["--link-journal=try-host"], Taken, Never),
    (&["--link-journal=guest"], Taken, Never),
    (&["--link-journal=try-guest"], Taken, Never),
    (&["--link-journal=auto"], Taken, Never),
    (&["--link-journal=yes"], Taken, Never),
    (&["--link-journal=0"], Taken, Never),
    (&["--link-journal="], Refused, Never),
    (&["--link-journal=try"], Refused, Never),
    (&["--link-journal=Host"], Refused, Never),
    (&["--link-journal=try-auto"], Refused, Never),
    (&["-j"], Taken, Never),
    (&["-xj"], Taken, Never),
    (&["-x", "--link-journal=host"], Refused, Never),
    (&["-x", "--link-journal=guest"], Refused, Never),
    (&["--link-journal"], Refused, Never),
    (&["--forward-journal-max-use=x"], Refused, Never),
    (&["--forward-journal-max-use="], Refused, Never),
    (&["--forward-journal-max-use=infinity"], Refused, Never),
    (&["--forward-journal-max-use=10%"], Refused, Never),
    (&["--forward-journal-max-use=10X"], Refused, Never),
    (&["--forward-journal-max-use=1KB"], Refused, Never),
    (&["--forward-journal-max-use=99E"], Refused, Never),
    (&["--forward-journal-max-use=-1"], Refused, Never),
    (&["--forward-journal-keep-free=x"], Refused, Never),
    (&["--forward-journal-keep-free="], Refused, Never),
    (&["--forward-journal-keep-free=infinity"], Refused, Never),
    (&["--forward-journal-keep-free=10%"], Refused, Never),
    (&["--forward-journal-keep-free=10X"], Refused, Never),
    (&["--forward-journal-keep-free=1KB"], Refused, Never),
    (&["--forward-journal-keep-free=99E"], Refused, Never),
    (&["--forward-journal-keep-free=-1"], Refused, Never),
    (&["--forward-journal-max-file-size=x"], Refused, Never),
    (&["--forward-journal-max-file-size="], Refused, Never),
    (&["--forward-journal-max-file-size=infinity"], Refused, Never),
    (&["--forward-journal-max-file-size=10%"], Refused, Never),
    (&["--forward-journal-max-file-size=10X"], Refused, Never),
    (&["--forward-journal-max-file-size=1KB"], Refused, Never),
    (&["--forward-journal-max-file-size=99E"], Refused, Never),
    (&["--forward-journal-max-file-size=-1"], Refused, Never),
    (&["--forward-journal-max-files=x"], Refused, Never),
    (&["--forward-journal-max-files="], Refused, Never),
    (&["--forward-journal-max-files=-1"], Refused, Never),
    (&["--forward-journal-max-files=1K"], Refused, Never),
    (&["--forward-journal-max-use=1G"], Refused, Never),
    (&["--forward-journal-max-files=1"], Refused, Never),
    (&["--forward-journal="], Taken, Until(261)),
    (&["--forward-journal"], Refused, Never),
    // console
    (&["--console=passive", "--console", "autopipe"], Taken, Never),
    (&["--console=bogus"], Refused, Never),
    (&["--console"], Refused, Never),
    (&["-P", "--pipe"], Taken, Never),
    (&["--pipe=yes"], Refused, Never),
    (&["--background=48;2;1;2;3"], Taken, Until(256)),
    (&["--background", "44"], Taken, Until(256)),
    (&["--background="], Taken, Until(256)),
    (&["--background=31"], Taken, Until(256)),
    (&["--background=48;5"], Taken, Until(256)),
    (&["--background=red"], Refused, Never),
    (&["--background=41 42"], Refused, Never),
    (&["--background"], Refused, Never),
    // mounts
    (&["--bind="], Refused, Never),
    (&["--bind=:"], Refused, Never),
    (&["--bind=::"], Refused, Never),
    (&["--bind=/a:b"], Refused, Never),
    (&["--bind=/usr"], Taken, Never),
    (&["--bind=+/a"], Taken, Never),
    (&["--bind=+a:/b"], Refused, Never),
    (&["--bind=/usr:/a:rbind,norbind"], Taken, Never),
    (&["--bind=a\\"], Refused, Never),
    (&["--bind=/usr:/b:bogus"], Refused, In(STRICT)),
    (&["--bind=/usr:/b:rbind:x"], Refused, In(STRICT)),
    (&["--bind=:/b"], Taken, Never),
    (&["--bind=/usr:"], Refused, Never),
    (&["--bind=/usr::rbind"], Refused, Never),
    (&["--bind=/usr:/b:"], Taken, Never),
    (&["--bind=/usr:/b:idmap"], Taken, Never),
    (&["--bind=/usr:/b:noidmap,rootidmap"], Taken, Never),
    (&["--bind=/usr:/b:map=0:1000"], Refused, In(STRICT)),
    (&["--bind-ro="], Refused, Never),
    (&["--bind-ro=/usr:/b:norbind"], Taken, Never),
    (&["--bind-ro=:/b"], Taken, Never),
    (&["--overlay="], Refused, Never),
    (&["--overlay=/usr"], Refused, Never),
    (&["--overlay=/usr:/b"], Taken, Never),
    (&["--overlay=/usr:b"], Refused, In(STRICT)),
    (&["--overlay=/usr:/etc:/b"], Taken, Never),
    (&["--overlay=/usr::/b"], Taken, Never),
    (&["--overlay=+/usr:+/etc:/b"], Taken, Never),
    (&["--overlay=+usr:/etc:/b"], Refused, Never),
    (&["--overlay=usr:etc:/b"], Taken, Never),
    (&["--overlay=:/b"], Refused, Never),
    (&["--overlay=/usr::/etc:/b"], Refused, Never),
    (&["--overlay=/usr:/etc:"], Refused, Never),
    (&["--overlay=/a:/b\\"], Refused, Never),
    (&["--overlay=/usr:/etc:/b/../c"], Refused, In(DOTS)),
    (&["--overlay=/usr:/etc:/"], Refused, In("the manual says that the root cannot be replaced like this")),
    (&["--overlay-ro=/usr"], Refused, Never),
    (&["--overlay-ro=/usr:/etc:/b"], Taken, Never),
    (&["--overlay-ro=/usr::/b"], Taken, Never),
    (&["--inaccessible="], Refused, Never),
    (&["--inaccessible=rel"], Refused, Never),
    (&["--inaccessible=/a"], Taken, Never),
    (&["--tmpfs=rel"], Refused, Never),
    (&["--tmpfs=/a"], Taken, Never),
    (&["--tmpfs=/a:b:c"], Taken, Never),
    (&["--tmpfs=/a\\:b"], Taken, Never),
    (&["--tmpfs=/a\\"], Refused, Never),
    (&["--tmpfs=/a/../b"], Refused, In(DOTS)),
    (&["--tmpfs=/"], Refused, In("the manual says that the root cannot be replaced like this")),
    // console
    (&["--console="], Refused, Never),
    (&["--console=bogus"], Refused, Never),
    (&["--console=autopipe"], Taken, Never),
    (&["--pipe", "--console=interactive"], Taken, Never),
];

fn run(program: &Path, first: &[&str], words: &[&str], directory: &Path) -> Output {
    let mut command = Command::new(program);
    command.args(first).args(words).current_dir(directory).stdin(Stdio::null());
    command.output().expect("the program runs")
}

/// redd tells wrong words by its exit code. Without changing anything, it goes as far as to the plan.
fn ours(words: &[&str], directory: &Path) -> (Outcome, String) {
    let output = run(Path::new(env!("CARGO_BIN_EXE_redd-spawn")), &["--dry-run"], words, directory);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let text = String::from_utf8_lossy(&output.stdout);
    let outcome = match output.status.code() {
        Some(2) => Refused,
        Some(0) if !text.starts_with("machine ") => Printed,
        Some(0 | 1) => Taken,
        other => panic!("{words:?}: {other:?}\n{errors}"),
    };
    if outcome == Refused {
        assert!(text.is_empty(), "{words:?}: {text}");
        assert!(errors.ends_with(" (see \"redd-spawn --help\")\n"), "{words:?}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{words:?}: {errors}");
    }
    (outcome, errors)
}

/// The original has one exit code for everything, but other words where it misses the tree.
fn theirs(words: &[&str], directory: &Path) -> (Outcome, String) {
    let output = run(Path::new("systemd-nspawn"), &[], words, directory);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let outcome = match output.status.code() {
        Some(0) => Printed,
        Some(1) if errors.contains("doesn't look like") => Taken,
        // With --user it wants the service that gives ranges before it looks at the tree.
        Some(1) if errors.contains("connect to nsresourced") => Taken,
        Some(1) => Refused,
        other => panic!("{words:?}: {other:?}\n{errors}"),
    };
    (outcome, errors)
}

#[test]
fn redd_takes_what_the_table_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let wrong: Vec<_> = CASES
        .iter()
        .map(|(words, expected, _)| (words, expected, ours(words, directory.path())))
        .filter(|(_, expected, (outcome, _))| outcome != *expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_original_takes_the_same() {
    requires!(root, program "systemd-nspawn");
    let directory = tempfile::tempdir().expect("a directory");
    let version = run(Path::new("systemd-nspawn"), &[], &["--version"], directory.path()).stdout;
    let version = String::from_utf8_lossy(&version);
    let version: u32 = version.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a version");
    let mut wrong = Vec::new();
    for (words, ours, differs) in CASES {
        let (outcome, errors) = theirs(words, directory.path());
        let same = outcome == *ours;
        let as_said = match differs {
            Never => same,
            Until(first) if version >= *first => same,
            Until(_) => outcome == Refused,
            In(_) => !same,
            InUntil(first, _) => same == (version >= *first),
            InSince(first, _) => same == (version < *first),
        };
        if !as_said {
            wrong.push((words, outcome, differs.reason(), errors));
        }
    }
    assert!(wrong.is_empty(), "systemd-nspawn {version}: {wrong:#?}");
    assert_eq!(std::fs::read_dir(directory.path()).expect("a directory").count(), 0, "something was made");
}
