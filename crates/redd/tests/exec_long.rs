//! `redd exec` many times, with much to carry, and ended in every way. The long ones are run for the acceptance.

#![allow(clippy::print_stdout, reason = "what was seen is told")]

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Isolated, Running, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);
/// How many commands are run.
const RUNS: usize = 10_000;
/// How much is carried, in bytes.
const GIBIBYTE: usize = 1 << 30;
/// What a supervisor may have more after them, in kilobytes: its allocator gives nothing back of the first 256.
const SLACK: u64 = 300;

fn machine(tree: &Tree, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options).args(["/bin/sleep", "100000"]);
    Running::start(command, &tree.name())
}

fn exec(tree: &Tree, words: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    command.args(["exec", &tree.name()]).args(words);
    command
}

fn run(tree: &Tree, words: &[&str]) -> Ended {
    run_limited(exec(tree, words), Vec::new(), LIMIT)
}

/// What there is that could become more: descriptors and private memory (in kilobytes) of the supervisor, processes inside.
fn held(tree: &Tree, running: &Running) -> (usize, u64, usize) {
    let supervisor = format!("/proc/{}", running.supervisor());
    let descriptors = std::fs::read_dir(format!("{supervisor}/fd")).expect("descriptors").count();
    let memory = std::fs::read_to_string(format!("{supervisor}/smaps_rollup")).expect("memory");
    let sizes = memory
        .lines()
        .filter_map(|line| line.strip_prefix("Private_Dirty:")?.split_whitespace().next()?.parse::<u64>().ok());
    (descriptors, sizes.sum(), inside(tree))
}

/// How many processes there are inside, those of the question left out.
fn inside(tree: &Tree) -> usize {
    run(tree, &["sh", "-c", "set -- /proc/[0-9]*; echo $#"]).expect_code(0).output.trim().parse().expect("a number")
}

/// One of the ways in which commands are run and end.
fn one_of_many(tree: &Tree, number: usize) {
    match number % 10 {
        0 => drop(run(tree, &["/none"]).expect_code(127)),
        1 => drop(run(tree, &["sh", "-c", "kill -9 $$"]).expect_code(137)),
        2 => {
            let mut command = Command::new(REDD);
            command.args(["exec", "-t", "-u", "77", &tree.name(), "true"]);
            run_limited(command, Vec::new(), LIMIT).expect_code(0);
        }
        3 => {
            let mut command = Command::new(REDD);
            command.args(["exec", "-u", "nobody-here", &tree.name(), "true"]);
            run_limited(command, Vec::new(), LIMIT).expect_code(1);
        }
        _ => drop(run(tree, &["true"]).expect_code(0)),
    }
}

fn leaves_nothing(runs: usize) {
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    for way in [&["-U", "--private-network"][..], &[]] {
        let running = machine(&tree, way);
        (0..runs / 20).for_each(|number| one_of_many(&tree, number));
        let host = HostState::capture(tree.path(), &[]);
        let before = held(&tree, &running);
        let started = Instant::now();
        (0..runs / 2).for_each(|number| one_of_many(&tree, number));
        let after = held(&tree, &running);
        println!("{way:?}: {} commands in {:?}: from {before:?} to {after:?}", runs / 2, started.elapsed());
        assert_eq!((before.0, before.2), (after.0, after.2), "{way:?}: descriptors, processes");
        assert!(after.1 <= before.1 + SLACK, "{way:?}: {} kB have become {}", before.1, after.1);
        host.assert_same();
    }
}

#[test]
#[ignore = "for the acceptance"]
fn ten_thousand_commands_leave_nothing() {
    requires!(root, cgroup2, idmap);
    leaves_nothing(RUNS);
}

#[test]
fn some_commands_leave_nothing() {
    requires!(root, cgroup2, idmap);
    leaves_nothing(200);
}

/// Bytes of every value, in no order that anything between could produce by itself.
struct Bytes(u64);

impl Bytes {
    fn fill(&mut self, piece: &mut [u8]) {
        for eight in piece.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            eight.copy_from_slice(&self.0.to_le_bytes()[..eight.len()]);
        }
    }
}

/// Sends so many bytes through a command, and compares what comes back.
fn through(mut child: Child, length: usize) {
    const PIECE: usize = 1 << 16;
    const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
    let (mut input, mut output) = (child.stdin.take().expect("input"), child.stdout.take().expect("output"));
    let sender = std::thread::spawn(move || {
        let (mut bytes, mut piece) = (Bytes(SEED), vec![0; PIECE]);
        for _ in 0..length / PIECE {
            bytes.fill(&mut piece);
            input.write_all(&piece)?;
        }
        std::io::Result::Ok(())
    });
    let (mut bytes, mut expected, mut found) = (Bytes(SEED), vec![0; PIECE], vec![0; PIECE]);
    for number in 0..length / PIECE {
        bytes.fill(&mut expected);
        output.read_exact(&mut found).expect("as much as was sent");
        assert!(expected == found, "piece {number} is another one");
    }
    assert_eq!(output.read(&mut found).expect("the end"), 0, "more came than was sent");
    sender.join().expect("sender").expect("all is taken");
    assert!(child.wait().expect("ended").success());
}

fn carries(length: usize) {
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    for way in [&["-U"][..], &[]] {
        let _running = machine(&tree, way);
        let started = Instant::now();
        through(exec(&tree, &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("redd"), length);
        println!("{way:?}: {length} bytes each way in {:?}", started.elapsed());
    }
}

#[test]
#[ignore = "for the acceptance"]
fn a_gibibyte_each_way_stays_as_it_is() {
    requires!(root, cgroup2, idmap);
    carries(GIBIBYTE);
}

#[test]
fn every_code_and_every_signal_is_told() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &[]);
    for code in 0..=255 {
        run(&tree, &["sh", "-c", &format!("exit {code}")]).expect_code(code);
    }
    // Those that end nobody, and those that the C library has for itself.
    let (ignored, stopping, own) = ([17, 18, 23, 28], [19, 20, 21, 22], [32, 33]);
    for signal in (1..=64).filter(|signal| !stopping.contains(signal) && !own.contains(signal)) {
        let code = if ignored.contains(&signal) { 0 } else { 128 + signal };
        run(&tree, &["sh", "-c", "/bin/kill -$0 $$; exit 0", &signal.to_string()]).expect_code(code);
    }
}

#[test]
fn signals_arrive_as_what_they_are() {
    requires!(root, cgroup2);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &["-U"]);
    let script =
        "for s in 1 2 3 10 12 15; do trap \"exit $((100 + s))\" $s; done; : > /ready; while :; do sleep 0.01; done";
    for signal in [1, 2, 3, 10, 12, 15] {
        drop(std::fs::remove_file(tree.join("ready")));
        // Whoever runs the tests may ignore some of them.
        let mut command = Command::new("env");
        command.args(["--default-signal", REDD, "exec", &tree.name(), "sh", "-c", script]);
        let mut child = command.spawn().expect("redd");
        let until = Instant::now() + LIMIT;
        while !tree.join("ready").exists() {
            assert!(Instant::now() < until);
            std::thread::sleep(Duration::from_millis(5));
        }
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status();
        assert!(sent.expect("kill").success());
        assert_eq!(child.wait().expect("ended").code(), Some(100 + signal));
    }
}

#[test]
fn clients_that_are_killed_at_any_moment_leave_no_command() {
    requires!(root, cgroup2, idmap);
    let tree = fixture::tree();
    let _isolated = Isolated::enter();
    for way in [&["-U"][..], &[]] {
        let running = machine(&tree, way);
        let before = inside(&tree);
        let descriptors = held(&tree, &running).0;
        for number in 0..200_u64 {
            let mut command = Command::new(REDD);
            command.arg("exec").args((number % 2 == 1).then_some("-t")).args([&tree.name(), "sleep", "10000"]);
            let mut child = command.stdin(Stdio::null()).spawn().expect("redd");
            // From before it has begun to after the command has.
            std::thread::sleep(Duration::from_micros(number * 91 % 18_000));
            child.kill().expect("killed");
            child.wait().expect("ended");
        }
        let until = Instant::now() + Duration::from_secs(10);
        while inside(&tree) != before {
            assert!(Instant::now() < until, "{way:?}: {}", run(&tree, &["ps", "ax"]).output);
            std::thread::sleep(Duration::from_millis(50));
        }
        assert_eq!(held(&tree, &running).0, descriptors, "{way:?}");
    }
}
