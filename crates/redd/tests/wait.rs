//! `redd wait`: until machines have ended, or are there.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use testkit::fixture::{self, Tree};
use testkit::{Ended, Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");

fn wait(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.arg("wait").args(words);
    run_limited(command, Vec::new(), Duration::from_secs(30))
}

fn machine(tree: &Tree, script: &str) -> Command {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-D"]).arg(tree.path()).args(["/bin/sh", "-c", script]);
    command
}

/// The kernel tells how others' children have ended.
fn kernel_tells() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("release");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(15))
}

#[test]
fn the_code_is_that_of_the_machine() {
    requires!(root, cgroup2);
    let (first, second) = (fixture::tree(), fixture::tree());
    let _isolated = Isolated::enter();
    let go = |tree: &Tree, code| {
        let script = format!("while [ ! -e /go ]; do sleep 0.05; done; exit {code}");
        Running::start(machine(tree, &script), &tree.name())
    };
    let machines = [go(&first, 0), go(&second, 37)];
    let names = [first.name(), second.name()];
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    let waited = std::thread::spawn({
        let all: Vec<String> = names.to_vec();
        move || wait(&all.iter().map(String::as_str).collect::<Vec<_>>())
    });
    // Long enough to have found them.
    std::thread::sleep(Duration::from_secs(1));
    for tree in [&first, &second] {
        tree.write("go", "", 0o644);
    }
    let [one, two] = machines;
    assert_eq!((one.end().code(), two.end().code()), (Some(0), Some(37)));
    let ended = waited.join().expect("waited");
    if kernel_tells() {
        assert_eq!(ended.code(), 37, "{ended}");
        assert!(ended.output.contains(&format!("{} has ended with code 37.", all[1])), "{ended}");
    }
}

#[test]
fn it_waits_and_tells_a_program() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let running = Running::start(machine(&tree, "sleep 1; exit 5"), &tree.name());
    let name = tree.name();
    let started = Instant::now();
    let waited = std::thread::spawn(move || wait(&[&name, "--json=short"]));
    assert_eq!(running.end().code(), Some(5));
    let ended = waited.join().expect("waited");
    assert!(started.elapsed() > Duration::from_millis(500));
    if kernel_tells() {
        assert_eq!(ended.output, format!("{{\"exitCode\":5,\"machine\":\"{}\",\"signal\":null}}\n", tree.name()));
        assert_eq!(ended.code(), 5);
    }
}

#[test]
fn the_time_can_be_limited_and_a_start_awaited() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let name = tree.name();
    let missing = wait(&[&name, "--until=running", "--timeout=0.2"]).expect_code(124);
    assert!(missing.errors.contains(&name), "{missing}");
    let coming = std::thread::spawn({
        let name = name.clone();
        move || wait(&[&name, "--until=running", "--timeout=20"])
    });
    let mut running = Running::start(machine(&tree, "sleep 1000"), &name);
    coming.join().expect("waited").expect_code(0);
    let late = wait(&[&name, "--timeout=0.3"]).expect_code(124);
    assert!(late.errors.contains(&name) && late.output.is_empty(), "{late}");
    // A supervisor that is killed.
    let waited = std::thread::spawn({
        let name = name.clone();
        move || wait(&[&name])
    });
    std::thread::sleep(Duration::from_millis(300));
    running.kill();
    let ended = waited.join().expect("waited");
    if kernel_tells() {
        assert_eq!(ended.code(), 137, "{ended}");
        assert!(ended.output.contains("killed by signal 9"), "{ended}");
    }
    let gone = wait(&[&name]).expect_code(1);
    assert!(gone.errors.contains(&name), "{gone}");
    assert!(!Path::new("/run/redd/machines").join(&name).exists());
    // What the supervisor has left is removed.
    let mut cleanup = Command::new(REDD);
    cleanup.args(["spawn", "--cleanup", "-q", "-M", &name]);
    run_limited(cleanup, Vec::new(), Duration::from_secs(30)).expect_code(0);
}
