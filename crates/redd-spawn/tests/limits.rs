//! Limits on control groups, felt inside; and that nothing of them stays. On a host that no service manager looks after:
//! for others see `systemd_properties.rs`.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use testkit::{Ended, HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// Whether these tests are about this host.
fn is_ours() -> bool {
    !Path::new("/run/systemd/system").exists()
}

fn run(tree: &Path, options: &[&str], script: &str) -> Ended {
    Spawn::new(&testkit::Engine::Redd(BINARY.into()))
        .arg("-D")
        .arg(tree)
        .arg("--pipe")
        .args(options)
        .script(script)
        .limit(Duration::from_secs(60))
        .run()
}

/// The value of a file of the machine's own group, above the payload's: the one of version 1 or of cgroup2.
fn limit(tree: &Path, files: &[&str]) -> Option<String> {
    let name = tree.file_name().expect("name").to_string_lossy().into_owned();
    testkit::group_value(&name, files)
}

/// A container that runs and has told so.
fn start(tree: &Path, options: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["-q", "--pipe", "-D"]).arg(tree).args(options);
    command.args(["/bin/sh", "-c", "echo ready; exec sleep 1000"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().expect("pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "ready\n");
    child
}

#[test]
fn who_uses_up_the_memory_is_killed_and_the_reason_is_told() {
    requires!(root, cgroup2, limits);
    if !is_ours() {
        return;
    }
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    for users in [&[][..], &["--private-users=pick"]] {
        let ended =
            run(tree.path(), &[users, &["--memory=24M"]].concat(), "exec dd if=/dev/zero of=/dev/null bs=200M count=1")
                .expect_code(137);
        assert!(ended.errors.contains("The memory limit was reached: 1 process"), "{ended}");
        // One of many: the others go on, and what was enough stays enough.
        let options = [users, &["--property=MemoryMax=64M", "--property=MemorySwapMax=0"]].concat();
        let ended = run(tree.path(), &options, "dd if=/dev/zero of=/dev/null bs=200M count=1; echo ended=$?");
        assert_eq!(ended.value("ended"), "137", "{ended}");
        let ended = run(tree.path(), &[users, &["--memory=200M"]].concat(), "head -c 1M /dev/zero | tail -c 1 | od -c");
        assert!(!ended.expect_code(0).errors.contains("memory limit"));
    }
    before.assert_same();
}

#[test]
fn there_are_no_more_processes_than_are_allowed() {
    requires!(root, cgroup2, limits);
    if !is_ours() {
        return;
    }
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let script = "(for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait; echo all) 2>/dev/null || echo some";
    for (options, word) in [
        (&["--pids=4"][..], "some\n"),
        (&["--pids=4", "--private-users=pick"], "some\n"),
        (&["--property=TasksMax=4", "--property=TasksMax=infinity"], "all\n"),
        (&["--pids=100"], "all\n"),
    ] {
        assert_eq!(run(tree.path(), options, script).expect_code(0).output, word, "{options:?}");
    }
    before.assert_same();
}

#[test]
fn processors_are_those_that_are_allowed() {
    requires!(root, cgroup2, limits);
    if !is_ours() {
        return;
    }
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let script = "echo count=$(nproc); grep Cpus_allowed_list /proc/1/status";
    for users in [&[][..], &["--private-users=pick"]] {
        let ended = run(tree.path(), &[users, &["--property=AllowedCPUs=0"]].concat(), script).expect_code(0);
        assert_eq!((ended.value("count"), ended.output.contains("Cpus_allowed_list:\t0\n")), ("1", true), "{ended}");
    }
    let ended = run(tree.path(), &["--property=AllowedCPUs=4000"], "echo started");
    assert!(ended.code() == 1 && ended.output.is_empty() && ended.errors.contains("AllowedCPUs="), "{ended}");
    before.assert_same();
}

#[test]
fn limits_lie_above_the_payloads_group_and_go_with_it() {
    requires!(root, cgroup2, limits);
    if !is_ours() {
        return;
    }
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let options =
        ["--cpus=0.5", "--memory=1G", "--pids=50", "--property=CPUWeight=50", "--property=CPUQuotaPeriodSec=20ms"];
    let mut child = start(tree.path(), &options);
    let value = |files: &[&str]| limit(tree.path(), files);
    let quota = value(&["cpu.cfs_quota_us", "cpu.max"]).expect("quota");
    assert!(quota == "10000" || quota == "10000 20000", "{quota}");
    let shares = value(&["cpu.shares", "cpu.weight"]).expect("weight");
    assert!(shares == "512" || shares == "50", "{shares}");
    assert_eq!(value(&["memory.limit_in_bytes", "memory.max"]).as_deref(), Some("1073741824"));
    assert_eq!(value(&["pids.max"]).as_deref(), Some("50"));
    child.kill().expect("kill");
    child.wait().expect("wait");
    child.stdout.take().expect("pipe").read_to_end(&mut Vec::new()).expect("the payload dies, too");
    // The next start finds and removes it, and makes its own.
    assert_eq!(run(tree.path(), &["-q", "--pids=50"], "echo fine").expect_code(0).output, "fine\n");
    let mut child = start(tree.path(), &options);
    child.kill().expect("kill");
    child.wait().expect("wait");
    child.stdout.take().expect("pipe").read_to_end(&mut Vec::new()).expect("the payload dies, too");
    let cleaned = Command::new(BINARY).args(["--cleanup", "-D"]).arg(tree.path()).output().expect("clean-up");
    assert!(cleaned.status.success(), "{cleaned:?}");
    let told = String::from_utf8_lossy(&cleaned.stderr);
    assert!(told.contains("Removed the control group"), "{told}");
    assert_eq!(value(&["pids.max"]), None);
    before.assert_same();
}

#[test]
fn limits_hold_after_a_restart_and_nothing_stays_of_a_start_that_fails() {
    requires!(root, cgroup2, limits);
    if !is_ours() {
        return;
    }
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let script = "echo again=$(cat /mark 2>/dev/null) >&2
        (for i in 1 2 3 4 5 6 7 8; do sleep 0.2 & done; wait; echo all) 2>/dev/null || echo some
        [ -e /mark ] && exit 7; echo yes >/mark; exec /probe restart";
    let ended = run(tree.path(), &["--pids=4", "-q"], script).expect_code(7);
    assert_eq!(ended.output, "some\nsome\n", "{ended}");
    let ended = run(tree.path(), &["--pids=4", "--bind=/no-such-thing"], "echo started");
    assert!(ended.code() == 1 && ended.output.is_empty(), "{ended}");
    // What version 2 takes kills whatever runs.
    let told = Path::new("/sys/fs/cgroup/memory/memory.limit_in_bytes").exists();
    for option in ["--memory=1", "--property=MemoryMax=8K"] {
        let ended = run(tree.path(), &["--pids=4", option], "echo started");
        assert!(ended.code() != 0 && ended.output.is_empty(), "{ended}");
        assert!(!told || ended.code() == 1 && ended.errors.contains("MemoryMax= is too low"), "{ended}");
    }
    let ended = run(tree.path(), &["--pids=4", "--property=AllowedMemoryNodes=900"], "echo started");
    assert!(ended.code() == 1 && ended.output.is_empty(), "{ended}");
    before.assert_same();
}

#[test]
fn devices_may_be_used_as_far_as_they_are_allowed() {
    requires!(root, cgroup2, loop);
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    // What makes loop devices, which no container may use by itself.
    let script = "mknod /node c 10 237 2>/dev/null && echo made; (: </node) 2>/dev/null && echo read; [ -c /node ] && (: >>/node) 2>/dev/null && echo written; rm -f /node; true";
    for (rights, words) in [
        (None, ""),
        (Some("rwm"), "made\nread\nwritten\n"),
        (Some("rm"), "made\nread\n"),
        (Some("wm"), "made\nwritten\n"),
        (Some("m"), "made\n"),
        (Some("rw"), ""),
    ] {
        for name in ["/dev/char/10:237", "/dev/loop-control", "char-misc", "char-m?sc*"] {
            let option = format!("--property=DeviceAllow={name} {}", rights.unwrap_or_default());
            let options = rights.map(|_| option.as_str());
            let ended = run(tree.path(), options.as_slice(), script).expect_code(0);
            assert_eq!(ended.output, words, "{options:?}");
        }
    }
    let strict = ["--property=DevicePolicy=strict", "--property=DeviceAllow=/dev/zero"];
    let script = "(: </dev/zero) && echo zero; (: </dev/null) 2>/dev/null || echo no null";
    assert_eq!(run(tree.path(), &strict, script).expect_code(0).output, "zero\nno null\n");
    before.assert_same();
}

/// A disk that begins with `old`, and the file that it is.
struct Disk {
    file: tempfile::NamedTempFile,
    node: String,
}

impl Disk {
    fn new() -> Self {
        let file = tempfile::NamedTempFile::new_in(fixture::place()).expect("file");
        std::fs::write(file.path(), [&b"old"[..], &[0; (1 << 20) - 3]].concat()).expect("write");
        let output = Command::new("losetup").args(["-f", "--show"]).arg(file.path()).output().expect("losetup");
        assert!(output.status.success(), "{output:?}");
        Self { file, node: String::from_utf8_lossy(&output.stdout).trim().to_owned() }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(Command::new("losetup").args(["-d", &self.node]).output());
    }
}

#[test]
fn a_disk_that_is_bound_read_only_is_not_written_to() {
    requires!(root, cgroup2, loop, program "losetup");
    let _isolated = Isolated::enter();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let disk = Disk::new();
    let number = disk.node.trim_start_matches("/dev/loop");
    let script = format!(
        "head -c 3 /disk; echo; for place in /own /dev/own /run/own /tmp/own; do
            mknod $place b 7 {number} 2>/dev/null && echo made && (printf new >$place) 2>/dev/null && echo own
        done; (printf new >/disk) 2>/dev/null && echo written; [ ! -e /mark ] || exit 0; : >/mark; exec /probe restart"
    );
    for (option, words) in [("--bind-ro", "old\nold\n"), ("--bind", "old\nwritten\nnew\nwritten\n")] {
        let ended = run(tree.path(), &["-q", &format!("{option}={}:/disk", disk.node)], &script).expect_code(0);
        assert_eq!(ended.output, words, "{option}: {ended}");
        std::fs::remove_file(tree.join("/mark")).expect("the second start was one");
    }
    let (mut file, mut begin) = (disk.file.reopen().expect("file"), [0; 3]);
    drop(disk);
    file.read_exact(&mut begin).expect("read");
    assert_eq!(begin, *b"new");
    before.assert_same();
}

#[test]
fn what_nobody_can_do_here_is_refused_by_name() {
    requires!(root, cgroup2);
    if !is_ours() {
        return;
    }
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    for (options, word) in [
        (&["--property=IPAddressDeny=any"][..], "IPAddressDeny= is for a service manager"),
        (&["--property=Description=x"], "Description="),
        (&["--slice=foo"], "--slice="),
        (&["--register=yes"], "cannot register the machine"),
        (&["--user"], "--user needs the service manager"),
        (&["--property=IOReadIOPSMax=/proc 5"], "/proc is no block device"),
        (&["--property=DeviceAllow=/dev/no-such-device"], "/dev/no-such-device"),
        // In the kernel's own words for it this would be 1:1.
        (&["--property=DeviceAllow=/dev/char/4097:1"], "there is no device /dev/char/4097:1"),
    ] {
        let mut command = Command::new(BINARY);
        command.env_remove("XDG_RUNTIME_DIR").arg("-D").arg(tree.path()).args(options).args([
            "--",
            "/bin/echo",
            "started",
        ]);
        let ended = testkit::run_limited(command, Vec::new(), Duration::from_secs(30));
        assert!(ended.code() == 1 && ended.output.is_empty() && ended.errors.contains(word), "{options:?} {ended}");
    }
    before.assert_same();
}
