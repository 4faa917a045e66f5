//! What is seen of machines that run: `redd ps`, `redd stats`.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::disk::Mounted;
use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words).env("LANG", "C.UTF-8");
    run_limited(command, Vec::new(), Duration::from_secs(30))
}

fn json(words: &[&str]) -> Value {
    let ended = redd(words).expect_code(0);
    serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended}"))
}

/// A machine that writes `ready` once the script has got there, and its tree.
fn start(tree: &Tree, options: &[&str], script: &str) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-D"]).arg(tree.path()).args(options).args(["/bin/sh", "-c", script]);
    let running = Running::start(command, &tree.name());
    await_file(&tree.join("ready"));
    running
}

fn await_file(path: &Path) {
    let end = Instant::now() + Duration::from_secs(20);
    while !path.exists() {
        assert!(Instant::now() < end, "{} does not come", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_processes_of_a_machine_with_its_own_numbers_and_users() {
    requires!(root, cgroup2, idmap, program "setpriv");
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let before = HostState::capture(tree.path(), &[]);
    let script = "cd /home; setpriv --reuid=1000 --clear-groups sleep 1000 & setpriv --reuid=77 --clear-groups sleep 1001 & \
        sleep 0.3; touch /ready; sleep 1002";
    let running = start(&tree, &["-U"], script);
    let rows = json(&["ps", running.name(), "--json=short"]);
    let find = |end: &str| {
        let all = rows.as_array().expect("rows");
        all.iter().find(|row| row["command"].as_str().is_some_and(|command| command.ends_with(end))).expect(end)
    };
    let shell = find(script);
    assert_eq!((&shell["pid"], &shell["user"], &shell["uid"]), (&1.into(), &"root".into(), &0.into()));
    assert_eq!(shell["hostPid"], running.leader());
    assert!(shell["memory"].as_u64().is_some_and(|bytes| bytes > 4096), "{shell}");
    let known = find("sleep 1000");
    assert_eq!((&known["user"], &known["uid"]), (&"user".into(), &1000.into()));
    assert!(known["pid"].as_i64().is_some_and(|pid| pid > 1) && known["pid"] != known["hostPid"], "{known}");
    let unknown = find("sleep 1001");
    assert_eq!((&unknown["user"], &unknown["uid"]), (&Value::Null, &77.into()));
    let table = redd(&["ps", running.name()]).expect_code(0).output;
    assert!(table.starts_with("PID HOST-PID USER"), "{table}");
    assert!(table.lines().any(|line| line.contains(" 77 ") && line.ends_with("sleep 1001")), "{table}");
    running.stop();
    std::fs::remove_file(tree.join("ready")).expect("the sign");
    before.assert_same();
}

#[test]
fn names_from_inside_are_no_orders_to_the_terminal() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    // A name with an escape sequence for root, and one beyond all bounds; then a passwd that is a pipe.
    tree.write("etc/passwd", format!("r\x1b[2Jt:x:0:0:::\n{}:x:1:1:::\n", "y".repeat(5000)), 0o644);
    let _isolated = Isolated::enter();
    let script = "touch /ready; exec -a \"$(printf 'a\\033]0;x\\007\\nb')\" sleep 1000";
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-D"]).arg(tree.path()).args(["/bin/bash", "-c", script]);
    let running = Running::start(command, &tree.name());
    await_file(&tree.join("ready"));
    let mut shown = String::new();
    let end = Instant::now() + Duration::from_secs(10);
    while !shown.contains("1000") && Instant::now() < end {
        shown = redd(&["ps", running.name()]).expect_code(0).output;
    }
    assert!(!shown.contains(['\x1b', '\x07']) && shown.contains(r"r\u{1b}[2Jt"), "{shown}");
    assert_eq!(shown.lines().count(), 2, "{shown}");
    std::fs::remove_file(tree.join("etc/passwd")).expect("passwd");
    let pipe = rustix::fs::mknodat(
        rustix::fs::CWD,
        tree.join("etc/passwd"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o644),
        0,
    );
    pipe.expect("a pipe");
    let rows = json(&["ps", running.name(), "-j"]);
    assert_eq!((&rows[0]["user"], &rows[0]["uid"]), (&Value::Null, &0.into()));
    let tree_of = redd(&["cgls", "-M", running.name()]).expect_code(0).output;
    assert!(!tree_of.contains(['\x1b', '\x07']) && tree_of.contains("1000"), "{tree_of}");
    running.stop();
}

#[test]
fn what_a_machine_uses_and_may_use() {
    requires!(root, cgroup2, limits);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let script = "touch /ready; while :; do :; done & while :; do sleep 1000; done";
    let running = start(&tree, &["--memory=300M", "--property=TasksMax=40"], script);
    let all = json(&["stats", running.name(), "--no-stream", "--interval=0.5", "--json=short"]);
    let machine = &all[0];
    assert_eq!(machine["machine"], running.name());
    assert_eq!((&machine["memoryLimit"], &machine["tasksLimit"]), (&(300 << 20).into(), &40.into()));
    assert_eq!((&machine["tasks"], &machine["processes"]), (&3.into(), &3.into()));
    assert!(machine["memory"].as_u64().is_some_and(|memory| memory > 0 && memory < 300 << 20), "{machine}");
    assert!(machine["cpuPercent"].as_f64().is_some_and(|percent| percent > 5.0 && percent < 130.0), "{machine}");
    let table = redd(&["stats", "--no-stream", "--interval=0.2"]).expect_code(0).output;
    let line = table.lines().find(|line| line.starts_with(running.name())).expect("a line");
    assert!(line.contains("/ 300.0M") && line.contains("3 / 40"), "{table}");
    running.stop();
}

#[test]
fn machines_that_do_not_run_are_named() {
    for words in [&["ps", "no-such-machine"][..], &["stats", "no-such-machine"], &["ps", "../x"]] {
        let ended = redd(words).expect_code(1);
        assert!(ended.errors.contains(words[1]), "{ended}");
    }
}

/// What `list` and `status` say that a machine's system is; nothing while it is not listed.
fn system_of(name: &str) -> Option<(Value, Value)> {
    let rows = json(&["list", "--json=short"]);
    let row = rows.as_array().expect("rows").iter().find(|row| row["machine"] == name)?;
    let status = redd(&["status", "--json=short", name]);
    let status: Value = serde_json::from_str(&status.output).unwrap_or_default();
    let status = status.as_array().map_or(status.clone(), |all| all[0].clone());
    Some((row["os"].clone(), status["operatingSystem"].clone()))
}

#[test]
fn a_machine_that_comes_up_is_not_shown_as_the_host_and_not_waited_for() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    tree.write("etc/os-release", "ID=guest\nPRETTY_NAME=Guest\n", 0o644);
    let _isolated = Isolated::enter();
    for round in 0..12 {
        let mut command = Command::new(REDD);
        command.args(["spawn", "-q", "-D"]).arg(tree.path()).args(&["-U"][..round % 2]).args(["/bin/sleep", "1000"]);
        let mut running = Running::begin(command, &tree.name());
        running.await_entry();
        // It hangs somewhere on its way, in every second round.
        let leader = Pid::from_raw(running.leader()).expect("a number");
        if round % 4 < 2 {
            kill_process(leader, Signal::STOP).expect("stopped");
        }
        let started = Instant::now();
        for _ in 0..3 {
            let Some((list, status)) = system_of(running.name()) else { continue };
            assert!(list.is_null() || list == "guest", "{list}");
            assert!(status.is_null() || status == "Guest", "{status}");
        }
        assert!(started.elapsed() < Duration::from_secs(8), "nobody waits for it: {:?}", started.elapsed());
        kill_process(leader, Signal::CONT).expect("continued");
        running.stop();
    }
}

#[test]
fn a_hostile_os_release_leads_nowhere_and_gives_no_orders() {
    requires!(root, cgroup2);
    const IMAGES: &str = "/var/lib/machines";
    let _isolated = Isolated::enter();
    std::fs::create_dir_all(IMAGES).expect("directory");
    let _images = Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(IMAGES));
    let name = format!("observe-hostile-{}", std::process::id());
    let root = Path::new(IMAGES).join(&name);
    std::fs::create_dir(&root).expect("tree");
    fixture::tree_at(&root);
    let secret = Path::new("/run/observe-secret");
    std::fs::write(secret, "ID=stolen\nPRETTY_NAME=stolen\n").expect("secret");
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-D"]).arg(&root).args(["/bin/sleep", "1000"]);
    let running = Running::start(command, &name);
    let file = root.join("etc/os-release");
    std::fs::create_dir_all(root.join("usr/lib")).expect("directory");
    let make = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-eu", "-c", &format!("rm -rf etc/os-release usr/lib/os-release; {script}")]).current_dir(&root);
        run_limited(command, Vec::new(), Duration::from_secs(30)).expect_code(0);
    };
    let orders = r#"printf 'ID=\033[31mx\nPRETTY_NAME=\"\033]0;owned\007\033[2J\302\233x\"\n' > etc/os-release"#;
    for (what, script) in [
        ("nothing", "true"),
        ("a link to the host's", "ln -s /run/observe-secret etc/os-release"),
        ("dots", "ln -s ../../../../../../../run/observe-secret etc/os-release"),
        ("a magic link", "ln -s /proc/1/root/run/observe-secret etc/os-release"),
        ("a magic directory", "ln -s /proc/self/cwd/run/observe-secret usr/lib/os-release"),
        ("a circle", "ln -s os-release etc/os-release"),
        ("a pipe", "mkfifo etc/os-release"),
        ("a directory", "mkdir etc/os-release"),
        ("a device", "mknod etc/os-release c 1 5"),
        ("a gigabyte", "truncate -s 1G etc/os-release"),
        ("one line without an end", "head -c 9000000 /dev/zero | tr '\\0' x > etc/os-release"),
        ("orders", orders),
    ] {
        make(script);
        let started = Instant::now();
        let images = ["list-images", "image-status", "show-image"];
        for verb in ["list", "status", "show"].into_iter().chain(images) {
            let words: &[&str] = if verb.starts_with("list") { &[verb] } else { &[verb, &name] };
            let ended = redd(words).expect_code(0);
            let shown = &ended.output;
            let bad = |letter: char| letter.is_control() && !['\n', '\t'].contains(&letter);
            assert!(!shown.contains(bad), "{what}: {verb}: {shown:?}");
            assert!(!shown.contains("stolen") && shown.len() < 8192, "{what}: {verb}: {shown:?}");
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{what}: {:?}", started.elapsed());
    }
    assert!(redd(&["status", &name]).expect_code(0).output.contains("owned"), "what is printable is shown");
    assert!(file.exists());
    // A host name is shown by image-status alone.
    std::fs::write(root.join("etc/hostname"), "a\x1b[2Jb\x07\n").expect("name");
    let shown = redd(&["image-status", &name]).expect_code(0).output;
    assert!(!shown.contains(['\x1b', '\x07']), "{shown:?}");
    running.stop();
    std::fs::remove_file(secret).expect("secret");
}
