//! Many machines at once: 200 small ones, 50 that boot a Debian. They are run for the acceptance.

#![allow(clippy::print_stdout, reason = "what was seen is told")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::{Ended, HostState, Isolated, Running, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const SMALL: usize = 200;
const DEBIANS: usize = 50;
/// How long 50 Debian systems on two processors may take to come up.
const COME_UP: Duration = Duration::from_secs(300);
const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words).env("LANG", "C.UTF-8");
    run_limited(command, Vec::new(), Duration::from_secs(60))
}

fn json(words: &[&str]) -> Value {
    let ended = redd(words).expect_code(0);
    serde_json::from_str(&ended.output).unwrap_or_else(|error| panic!("{error}: {ended}"))
}

/// The names that a list has, as far as they are of this test.
fn names(list: &Value, prefix: &str) -> Vec<String> {
    let rows = list.as_array().expect("rows").iter().filter_map(|row| row["machine"].as_str());
    rows.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

/// A tree with one static program, like one of BusyBox.
fn small_tree(root: &Path) {
    for name in ["bin", "etc", "usr/lib", "proc", "sys", "dev", "run", "tmp", "var/tmp"] {
        std::fs::create_dir_all(root.join(name)).expect("directory");
    }
    std::fs::hard_link(root.parent().expect("a directory").join("probe"), root.join("bin/probe")).expect("program");
    std::fs::write(root.join("usr/lib/os-release"), "ID=small\n").expect("file");
}

/// What machines are like: users, links and copies of their own, or nothing of that.
fn options(number: usize) -> &'static [&'static str] {
    const KINDS: [&[&str]; 5] = [&[], &["-U"], &["--private-network"], &["-U", "--private-network"], &["-x"]];
    KINDS[number % KINDS.len()]
}

#[test]
#[ignore = "for the acceptance"]
fn two_hundred_machines() {
    requires!(root, cgroup2, idmap);
    let all = fixture::empty();
    std::fs::copy(testkit::PROBE, all.join("probe")).expect("program");
    let prefix = all.name();
    let trees: Vec<PathBuf> = (0..SMALL).map(|number| all.join(&format!("{prefix}-{number:03}"))).collect();
    trees.iter().for_each(|tree| {
        std::fs::create_dir(tree).expect("tree");
        small_tree(tree);
    });
    let _isolated = Isolated::enter();
    let before = HostState::capture(all.path(), &[]);
    let started = Instant::now();
    let mut machines: Vec<Running> = Vec::with_capacity(SMALL);
    for (number, tree) in trees.iter().enumerate() {
        let mut command = Command::new(REDD);
        let name = format!("{prefix}-{number:03}");
        command.args(["spawn", "-q", "-M", &name, "-D"]).arg(tree).args(options(number)).args(["/bin/probe", "pause"]);
        machines.push(Running::begin(command, &name));
    }
    machines.iter_mut().for_each(Running::await_entry);
    println!("{SMALL} machines started within {:?}", started.elapsed());

    let looked = Instant::now();
    let list = json(&["list", "--json=short"]);
    println!("listed within {:?}", looked.elapsed());
    let listed = names(&list, &prefix);
    let expected: Vec<String> = machines.iter().map(|machine| machine.name().to_owned()).collect();
    assert_eq!(listed, expected);
    let looked = Instant::now();
    let stats = json(&["stats", "--no-stream", "--interval=0.2", "--json=short"]);
    println!("stats within {:?}", looked.elapsed());
    assert_eq!(names(&stats, &prefix), expected);
    let of_this_test = |row: &&Value| row["machine"].as_str().is_some_and(|name| name.starts_with(&prefix));
    for row in stats.as_array().expect("rows").iter().filter(of_this_test) {
        assert_eq!((&row["processes"], &row["tasks"]), (&1.into(), &1.into()), "{row}");
    }
    for (number, machine) in machines.iter().enumerate().step_by(7) {
        let rows = json(&["ps", machine.name(), "--json=short"]);
        assert_eq!(rows[0]["command"], "/bin/probe pause", "{number}: {rows}");
    }
    let text = redd(&["cgls", "/redd"]).output;
    assert!(expected.iter().all(|name| text.contains(name.as_str())), "{text}");

    let stopped = Instant::now();
    let mut words = vec!["poweroff"];
    // All by one command, as a person would.
    words.extend(expected.iter().map(String::as_str));
    redd(&words).expect_code(0);
    for machine in machines {
        machine.end();
    }
    println!("stopped within {:?}", stopped.elapsed());
    assert!(names(&json(&["list", "--json=short"]), &prefix).is_empty());
    before.assert_same();
}

/// The limit of inotify instances, changed for a test.
struct Raised(String, #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Raised {
    fn to(count: u32) -> Self {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let held = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::fs::read_to_string(INSTANCES).expect("limit");
        std::fs::write(INSTANCES, count.to_string()).expect("raised");
        Self(before, held)
    }
}

impl Drop for Raised {
    fn drop(&mut self) {
        std::fs::write(INSTANCES, &self.0).expect("restored");
    }
}

fn has_come_up(name: &str) -> bool {
    let ended = redd(&["ps", name, "--json=short"]);
    ended.status.is_some_and(|status| status.success()) && ended.output.contains("agetty")
}

fn debian(tree: &Path, name: &str) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-qbx", "--console=read-only", "-D"]).arg(tree).args(["-M", name]);
    Running::begin(command, name)
}

#[test]
#[ignore = "for the acceptance"]
fn fifty_debians() {
    requires!(root, cgroup2);
    let Some(tree) = fixture::debian_tree() else { return };
    let name = format!("redd-fifty-{}", std::process::id());
    let _raised = Raised::to(8192);
    let _isolated = Isolated::enter();
    let before = HostState::capture(&tree.with_file_name(&name), &[]);
    let started = Instant::now();
    let mut machines: Vec<Running> = (0..DEBIANS).map(|number| debian(&tree, &format!("{name}-{number:02}"))).collect();
    machines.iter_mut().for_each(Running::await_entry);
    let mut waiting: Vec<String> = machines.iter().map(|machine| machine.name().to_owned()).collect();
    while !waiting.is_empty() {
        assert!(started.elapsed() < COME_UP, "these have not come up: {}", waiting.join(", "));
        waiting.retain(|name| !has_come_up(name));
    }
    println!("{DEBIANS} Debian systems are up after {:?}", started.elapsed());
    assert_eq!(names(&json(&["list", "--json=short"]), &name).len(), DEBIANS);
    let stopped = Instant::now();
    machines.iter_mut().for_each(Running::ask);
    for machine in machines {
        machine.end();
    }
    println!("stopped within {:?}", stopped.elapsed());
    before.assert_same();
}

#[test]
#[ignore = "for the acceptance"]
fn one_debian_too_many_is_told_why() {
    requires!(root, cgroup2);
    let Some(tree) = fixture::debian_tree() else { return };
    let name = format!("redd-one-{}", std::process::id());
    let _raised = Raised::to(0);
    let _isolated = Isolated::enter();
    let before = HostState::capture(&tree.with_file_name(&name), &[]);
    let mut command = Command::new(REDD);
    command.args(["spawn", "-bx", "--console=read-only", "-D"]).arg(&tree).args(["-M", &name]);
    let ended = run_limited(command, Vec::new(), Duration::from_secs(60));
    assert!(ended.status.is_some_and(|status| !status.success()), "{ended}");
    assert!(ended.errors.contains("sysctl fs.inotify.max_user_instances="), "{ended}");
    before.assert_same();
}
