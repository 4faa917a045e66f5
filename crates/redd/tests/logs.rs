//! `redd logs`: a real journal, files of lines, and machines that want to lead it astray.

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, Terminal, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const SOON: Duration = Duration::from_secs(20);
/// A name of the host's directories of programs where there is no journalctl.
const WITHOUT_JOURNALCTL: &str = "/proc/self";

fn logs(words: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.arg("logs").args(words).env("LANG", "C.UTF-8").env("PAGER", "cat");
    command
}

fn shown(words: &[&str]) -> Ended {
    run_limited(logs(words), Vec::new(), Duration::from_secs(60))
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < end, "this does not come: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A small machine, its tree, and what was there before.
fn small() -> (Tree, HostState, Running) {
    let tree = fixture::tree();
    std::fs::create_dir_all(tree.join("var/log")).expect("directory");
    let before = HostState::capture(tree.path(), &[]);
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-D"]).arg(tree.path()).args([
        "/bin/sh",
        "-c",
        "trap 'exit 0' TERM; while :; do sleep 0.1; done",
    ]);
    let running = Running::start(command, &tree.name());
    (tree, before, running)
}

fn append(path: &Path, text: &str) {
    let file = std::fs::OpenOptions::new().append(true).create(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).expect("written");
}

/// A follower with its output in a file.
struct Follower {
    child: std::process::Child,
    output: tempfile::NamedTempFile,
}

impl Follower {
    fn start(mut command: Command) -> Self {
        let output = tempfile::NamedTempFile::new().expect("file");
        let side = output.as_file().try_clone().expect("descriptor");
        let child = command.stdin(Stdio::null()).stdout(Stdio::from(side)).spawn().expect("redd");
        Self { child, output }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.output.path()).expect("output")).into_owned()
    }

    #[track_caller]
    fn expect(&self, text: &str) {
        let end = Instant::now() + SOON;
        while !self.text().contains(text) {
            assert!(Instant::now() < end, "{text:?} does not come; there is {:?}", self.text());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end by itself.
    #[track_caller]
    fn end(mut self) -> String {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                assert!(status.success(), "{status}");
                return self.text();
            }
            assert!(Instant::now() < end, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            let _ = self.child.wait();
        }
    }
}

/// What was logged before does not count: the tree may have been booted.
fn await_boot(name: &str) {
    until("the end of the start", || {
        let mut command = Command::new(REDD);
        command.args(["exec", name, "--", "systemctl", "is-system-running", "--wait"]);
        let state = run_limited(command, Vec::new(), SOON).output;
        ["running", "degraded"].contains(&state.trim())
    });
}

/// The field of a process's status.
fn status_of(pid: u32, field: &str) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(|value| value.trim().to_owned())
}

/// The journalctl that this process has started.
fn reader_of(pid: u32) -> Option<u32> {
    let all =
        std::fs::read_dir("/proc").ok()?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let parent = pid.to_string();
    all.filter(|one| status_of(*one, "PPid").as_deref() == Some(&parent))
        .find(|one| status_of(*one, "Name").as_deref() == Some("journalctl"))
}

#[test]
fn the_journal_of_a_debian_with_users_of_its_own() {
    requires!(root, cgroup2, idmap, program "journalctl");
    let Some(tree) = fixture::debian_tree() else { return };
    let name = format!("logs-debian-{}", std::process::id());
    let _isolated = Isolated::enter();
    let before = HostState::capture(&tree.with_file_name(&name), &[]);
    let mut command = Command::new(REDD);
    command.args(["spawn", "-qbxU", "--console=read-only", "-D"]).arg(&tree).args(["-M", &name]);
    let running = Running::start(command, &name);
    await_boot(&name);

    let of_unit = shown(&[&name, "-u", "systemd-logind", "-j"]).expect_code(0).output;
    let entries: Vec<Value> = of_unit.lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert!(!entries.is_empty() && entries.iter().any(|entry| entry["_COMM"] == "systemd-logind"), "{of_unit}");
    assert_eq!(shown(&[&name, "-b", "-n", "3"]).expect_code(0).output.lines().count(), 3);
    assert!(!shown(&[&name, "--until=2001-01-01"]).expect_code(0).output.contains("systemd"));
    let wrong = shown(&[&name, "--since=someday"]).expect_code(1);
    assert!(wrong.errors.contains("someday"), "{wrong}");

    // The same by the journalctl of inside, where the host has none.
    let mut command = logs(&[&name, "-o", "cat", "-u", "systemd-logind"]);
    command.env("PATH", WITHOUT_JOURNALCTL);
    let inside = run_limited(command, Vec::new(), SOON).expect_code(0);
    assert_eq!(inside.output, shown(&[&name, "-o", "cat", "-u", "systemd-logind"]).output);

    let follower = Follower::start(logs(&[&name, "-f", "-n", "0", "-o", "cat"]));
    until("the reader", || reader_of(follower.child.id()).is_some());
    let reader = reader_of(follower.child.id()).expect("journalctl");
    let nobody = ["65534"; 4].join("\t");
    assert_eq!(status_of(reader, "Uid"), Some(nobody));
    assert_eq!(status_of(reader, "CapEff").as_deref(), Some("0000000000000000"));
    assert_eq!(status_of(reader, "NoNewPrivs").as_deref(), Some("1"));
    let send = |text: &str| {
        let mut command = Command::new(REDD);
        command.args(["exec", &name, "--", "logger", text]);
        run_limited(command, Vec::new(), SOON).expect_code(0);
    };
    send("the first of two");
    follower.expect("the first of two\n");
    send("the second of two");
    follower.expect("the second of two\n");
    let ended = running.stop();
    assert!(ended.success(), "{ended}");
    let text = follower.end();
    assert!(text.starts_with("the first of two\nthe second of two\n") && text.contains("Journal stopped"), "{text}");
    assert_eq!(reader_of(std::process::id()), None);
    before.assert_same();
}

/// The id of a machine, and its journal with this among its entries.
fn some_journal(text: &str) -> Option<(String, Vec<u8>)> {
    let tree = fixture::debian_tree()?;
    let name = format!("logs-source-{}", std::process::id());
    let mut command = Command::new(REDD);
    command.args(["spawn", "-qbx", "--console=read-only", "-D"]).arg(&tree).args(["-M", &name]);
    let running = Running::start(command, &name);
    await_boot(&name);
    let exec = |words: &[&str]| {
        let mut command = Command::new(REDD);
        command.args(["exec", &name, "--"]).args(words);
        run_limited(command, Vec::new(), SOON).expect_code(0)
    };
    exec(&["logger", text]);
    exec(&["journalctl", "--sync"]);
    let id = exec(&["cat", "/etc/machine-id"]).output.trim().to_owned();
    let files =
        ["var", "run"].map(|top| format!("/proc/{}/root/{top}/log/journal/{id}/system.journal", running.leader()));
    let journal = files.iter().find_map(|file| std::fs::read(file).ok()).expect("its journal");
    running.stop();
    Some((id, journal))
}

#[test]
fn links_of_a_hostile_machine_do_not_lead_to_the_hosts_journal() {
    requires!(root, cgroup2, program "journalctl");
    let _isolated = Isolated::enter();
    let Some((id, journal)) = some_journal("a secret of the host") else { return };
    let id = id.as_str();
    let host = fixture::empty();
    std::fs::create_dir(host.join(id)).expect("directory");
    let secret = host.write(&format!("{id}/system.journal"), &journal, 0o644);
    std::fs::set_permissions(host.join(id), std::fs::Permissions::from_mode(0o755)).expect("mode");
    let (tree, before, running) = small();
    let name = running.name().to_owned();
    let there = tree.join("var/log/journal");

    symlink(host.path(), &there).expect("link");
    let ended = shown(&[&name]).expect_code(1);
    assert!(ended.errors.contains("has no log") && ended.output.is_empty(), "{ended}");
    std::fs::remove_file(&there).expect("link");
    symlink("/proc/1/root", &there).expect("link");
    shown(&[&name]).expect_code(1);
    std::fs::remove_file(&there).expect("link");

    // A directory of the machine's own, in which the file is a link, and beside it a directory that is one.
    std::fs::create_dir_all(there.join(id)).expect("directory");
    symlink(&secret, there.join(id).join("system.journal")).expect("link");
    symlink(host.join(id), there.join("ffeeddccbbaa99887766554433221100")).expect("link");
    let ended = shown(&[&name, "-o", "cat"]);
    assert!(!ended.output.contains("secret") && !ended.errors.contains("secret"), "{ended}");

    // The same file in the place of the link is shown: it is the link that leads nowhere.
    std::fs::remove_file(there.join(id).join("system.journal")).expect("link");
    std::fs::copy(&secret, there.join(id).join("system.journal")).expect("copy");
    let ended = shown(&[&name, "-o", "cat"]).expect_code(0);
    assert!(ended.output.contains("a secret of the host"), "{ended}");
    // And what is no journal at all is an error of the reader, which does not take anything with it.
    std::fs::write(there.join(id).join("system.journal"), vec![0xff; 1 << 20]).expect("rubbish");
    let ended = shown(&[&name, "-o", "cat"]);
    assert!(!ended.output.contains("secret"), "{ended}");
    std::fs::remove_dir_all(&there).expect("directory");
    running.stop();
    before.assert_same();
}

#[test]
fn a_file_of_lines_is_followed_through_rotation_and_truncation() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (tree, _, running) = small();
    let log = tree.join("var/log/messages");
    let lines: String = (1..=20).map(|number| format!("line {number}\n")).collect();
    append(&log, &lines);
    assert_eq!(shown(&[running.name()]).expect_code(0).output, lines);
    assert_eq!(shown(&[running.name(), "-n2"]).expect_code(0).output, "line 19\nline 20\n");
    let follower = Follower::start(logs(&[running.name(), "-f", "-n", "1"]));
    follower.expect("line 20\n");
    append(&log, "more\n");
    follower.expect("more\n");
    // As logrotate does it: the daemon goes on with the old file for a while.
    let old = tree.join("var/log/messages.1");
    std::fs::rename(&log, &old).expect("renamed");
    append(&old, "the last of the old file\n");
    follower.expect("the last of the old file\n");
    append(&log, "the first of the new file\n");
    follower.expect("the first of the new file\n");
    std::fs::write(&log, "").expect("cut off");
    std::thread::sleep(Duration::from_millis(600));
    append(&log, "after the cut\n");
    follower.expect("after the cut\n");
    // A pipe in its place is not waited for, a link to the host not followed.
    std::fs::remove_file(&log).expect("removed");
    symlink("/etc/passwd", &log).expect("link");
    std::fs::remove_file(tree.join("etc/passwd")).expect("removed");
    std::thread::sleep(Duration::from_millis(600));
    std::fs::remove_file(&log).expect("removed");
    append(&log, "the end\n");
    follower.expect("the end\n");
    running.stop();
    let all = "line 20\nmore\nthe last of the old file\nthe first of the new file\nafter the cut\nthe end\n";
    assert_eq!(follower.end(), all);
}

#[test]
fn a_terminal_gets_no_orders_and_programs_get_objects() {
    requires!(root, cgroup2);
    let _isolated = Isolated::enter();
    let (tree, _, running) = small();
    append(&tree.join("var/log/syslog"), "a\x1b]0;owned\x07\tb\x1b[2J\n");
    for words in [&[running.name()][..], &[running.name(), "--no-pager"], &[running.name(), "-f"]] {
        let mut command = logs(words);
        let mut terminal = Terminal::start(command.env("TERM", "xterm").env_remove("PAGER"));
        terminal.expect("owned", SOON);
        terminal.expect("b\\u{1b}[2J", SOON);
        assert!(!terminal.transcript().contains("\x1b]0;"), "{:?}", terminal.transcript());
        if words.last() == Some(&"-f") {
            let pid = i32::try_from(terminal.pid()).ok().and_then(rustix::process::Pid::from_raw).expect("pid");
            rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("signal");
        }
        terminal.wait(SOON);
    }
    let line = shown(&[running.name(), "--json=short"]).expect_code(0).output;
    let object: Value = serde_json::from_str(&line).expect("an object");
    assert_eq!(object["MESSAGE"], "a\x1b]0;owned\x07\tb\x1b[2J");
    for option in ["--since=today", "-b", "--unit=x", "--output=verbose"] {
        let ended = shown(&[running.name(), option]).expect_code(2);
        let name = option.split('=').next().expect("a name").replace("-b", "--boot").replace("----boot", "--boot");
        assert!(ended.errors.contains(&name) && ended.errors.contains("/var/log/syslog"), "{ended}");
    }
    running.stop();
}

#[test]
fn a_machine_that_does_not_run_and_its_console() {
    requires!(root);
    let _isolated = Isolated::enter();
    let name = format!("logs-still-{}", std::process::id());
    // Places of this test's own.
    for place in ["/var/lib/machines", "/run/redd"] {
        std::fs::create_dir_all(place).expect("directory");
        rustix::mount::mount("tmpfs", place, "tmpfs", rustix::mount::MountFlags::empty(), c"mode=755").expect("tmpfs");
    }
    let missing = shown(&[&name]).expect_code(1);
    assert!(missing.errors.contains(&name) && missing.errors.contains("redd list"), "{missing}");
    let tree = Path::new("/var/lib/machines").join(&name);
    std::fs::create_dir_all(tree.join("usr")).expect("tree");
    let nothing = shown(&[&name]).expect_code(1);
    assert!(nothing.errors.contains("does not run"), "{nothing}");

    std::fs::create_dir_all("/run/redd/logs").expect("directory");
    std::fs::write(format!("/run/redd/logs/.{name}.former"), "one\ntwo\n").expect("file");
    std::fs::write(format!("/run/redd/logs/{name}"), "three\n").expect("file");
    assert_eq!(shown(&[&name]).expect_code(0).output, "one\ntwo\nthree\n");
    assert_eq!(shown(&[&name, "-n2"]).expect_code(0).output, "two\nthree\n");
    assert_eq!(shown(&[&name, "-n1"]).expect_code(0).output, "three\n");

    std::fs::create_dir_all(tree.join("var/log")).expect("directory");
    std::fs::write(tree.join("var/log/messages"), "from syslog\n").expect("file");
    assert_eq!(shown(&[&name]).expect_code(0).output, "from syslog\n");
    assert_eq!(shown(&[&name, "--console", "-n1"]).expect_code(0).output, "three\n");
    let none = shown(&["logs-none", "--console"]).expect_code(1);
    assert!(none.errors.contains("logs-none"), "{none}");
    let host = shown(&[".host"]).expect_code(1);
    assert!(host.errors.contains("hint: run: journalctl"), "{host}");
}
