//! Violent ends: supervisors, first processes and clients are killed at any moment of a call. It is run for the acceptance.

#![allow(clippy::print_stdout, reason = "what was done is told")]

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use testkit::disk::Mounted;
use testkit::{Ended, HostState, Isolated, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const ROUNDS: usize = 120;
const MACHINES: usize = 5;
const LIMIT: Duration = Duration::from_secs(60);
/// How late in a call it is killed at the most, in microseconds.
const LATEST: u64 = 60_000;
const SCRIPT: &str = "trap 'exit 0' TERM; while :; do sleep 0.05; done";

/// What is called when something dies, with NAME in the place of the machine's name and OUTSIDE in that of a path
/// on the host, and whether it leaves the machine alone.
const CALLS: [(&[&str], bool); 14] = [
    (&["list", "--json=short"], true),
    (&["kill", "NAME", "--signal=WINCH", "--kill-whom=leader"], true),
    (&["poweroff", "NAME"], false),
    (&["exec", "NAME", "--", "sleep", "1000"], true),
    (&["exec", "-t", "NAME", "--", "sleep", "1000"], true),
    (&["wait", "NAME"], true),
    (&["terminate", "NAME"], false),
    (&["status", "NAME"], true),
    (&["stats", "NAME", "--no-stream", "--interval=0.1"], true),
    (&["bind", "--mkdir", "NAME", "/etc", "/tmp/bound"], true),
    (&["copy-to", "--force", "NAME", "/etc", "/tmp/copied"], true),
    (&["copy-from", "--force", "NAME", "/bin", "OUTSIDE"], true),
    (&["shell", "NAME", "/bin/sleep", "1000"], true),
    (&["pause", "NAME"], false),
];

/// Numbers that are the same in every run, xorshift64.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Supervisor,
    Leader,
    Client,
}

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words).env("LANG", "C.UTF-8");
    run_limited(command, Vec::new(), LIMIT)
}

fn begin(words: &[&str]) -> Child {
    let mut command = Command::new(REDD);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("redd")
}

#[track_caller]
fn await_end(child: &mut Child, what: &str) -> ExitStatus {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return status;
        }
        assert!(Instant::now() < end, "{what} does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Nothing happens to one that has ended, and been waited for, since.
fn kill(pid: Option<i32>) {
    if let Some(pid) = pid.and_then(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn leader(name: &str) -> Option<i32> {
    let state = std::fs::read(Path::new("/run/redd/machines").join(name).join("state")).ok()?;
    let state: Value = serde_json::from_slice(&state).ok()?;
    state["leader"]["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok())
}

/// The names in the list, which has nothing to complain of.
#[track_caller]
fn listed() -> Vec<String> {
    let ended = redd(&["list", "--json=short"]).expect_code(0);
    assert_eq!(ended.errors, "", "{ended}");
    let rows: Value = serde_json::from_str(&ended.output).expect("JSON");
    rows.as_array().expect("rows").iter().map(|row| row["machine"].as_str().expect("a name").to_owned()).collect()
}

/// The processes whose control group has this in its path, with their command lines. What a killed client leaves is fetched by
/// process 1, which on a host without an init system may not do that: those that have ended do not count.
fn processes_of(group: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("proc").filter_map(Result::ok) {
        let groups = std::fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if groups.contains(group) && !status.contains("\nState:\tZ") {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let status: Vec<&str> = status.lines().take(7).collect();
            found.push(format!("{} {status:?}", String::from_utf8_lossy(&command).replace('\0', " ")));
        }
    }
    found
}

/// The machines, some of which may be dead at the moment.
struct Machines<'a> {
    tree: &'a Path,
    prefix: &'a str,
    outside: &'a Path,
    supervisors: Vec<Option<Child>>,
}

impl Machines<'_> {
    fn name(&self, number: usize) -> String {
        format!("{}-{number}", self.prefix)
    }

    fn start(&mut self, number: usize, waits: bool) {
        let name = self.name(number);
        let users: &[&str] = if number.is_multiple_of(2) { &[] } else { &["-U"] };
        let tree = self.tree.to_str().expect("a path");
        let words = [&["spawn", "-q", "-x", "-M", &name, "-D", tree], users, &["/bin/sh", "-c", SCRIPT]].concat();
        let mut child = begin(&words);
        if waits {
            let end = Instant::now() + LIMIT;
            while leader(&name).is_none() || !listed().contains(&name) {
                assert_eq!(child.try_wait().expect("a child of ours"), None, "{name} has ended");
                assert!(Instant::now() < end, "{name} does not come");
            }
        }
        self.supervisors[number] = Some(child);
    }

    /// Kills one of them, or whoever asks something of it, and looks at what is left.
    fn round(&mut self, numbers: &mut Numbers) {
        let number = usize::try_from(numbers.below(MACHINES as u64)).expect("small");
        let (call, harmless) = CALLS[usize::try_from(numbers.below(CALLS.len() as u64)).expect("small")];
        let victim =
            [Victim::Supervisor, Victim::Leader, Victim::Client][usize::try_from(numbers.below(3)).expect("small")];
        let name = self.name(number);
        // One in four dies while it comes up.
        let settled = self.supervisors[number].is_some() || numbers.below(4) > 0;
        if self.supervisors[number].is_none() {
            self.start(number, settled);
        }
        let outside = self.outside.join("taken");
        let replace = |word: &&'static str| match *word {
            "NAME" => name.as_str(),
            "OUTSIDE" => outside.to_str().expect("a path"),
            other => other,
        };
        let words: Vec<&str> = call.iter().map(replace).collect();
        let mut client = begin(&words);
        std::thread::sleep(Duration::from_micros(numbers.below(LATEST)));
        let what = format!("{words:?} when the {victim:?} was killed (it had come up: {settled})");
        let supervisor = self.supervisors[number].as_mut().expect("it was started");
        match victim {
            Victim::Supervisor => supervisor.kill().expect("a child of ours"),
            // Before it has come up there may be none.
            Victim::Leader => kill(leader(&name)),
            Victim::Client => client.kill().expect("a child of ours"),
        }
        let lives_on = victim == Victim::Client && harmless;
        let has_leader_killed = victim == Victim::Leader && settled;
        if victim == Victim::Supervisor || has_leader_killed || (victim == Victim::Client && !harmless) {
            if victim == Victim::Client {
                // It may have asked for the end or not, and the machine be on its way up.
                let end = Instant::now() + LIMIT;
                while supervisor.try_wait().expect("a child of ours").is_none() {
                    drop(redd(&["terminate", &name]));
                    assert!(Instant::now() < end, "the supervisor of {what} does not end");
                }
            }
            await_end(supervisor, &format!("the supervisor of {what}"));
            self.supervisors[number] = None;
        }
        if lives_on || (victim == Victim::Leader && !settled) {
            // Whoever waits or sleeps there is not done.
            drop(client.kill());
        }
        await_end(&mut client, &what);
        if victim == Victim::Leader && !settled {
            drop(redd(&["terminate", &name]));
            let supervisor = self.supervisors[number].as_mut().expect("it was started");
            drop(supervisor.kill());
            await_end(supervisor, &what);
            self.supervisors[number] = None;
        }
        self.look(number, &what);
    }

    fn look(&mut self, number: usize, what: &str) {
        let name = self.name(number);
        if let Some(supervisor) = &mut self.supervisors[number] {
            // It may still be coming up.
            let end = Instant::now() + LIMIT;
            while !listed().contains(&name) {
                assert_eq!(supervisor.try_wait().expect("a child of ours"), None, "{name} has ended: {what}");
                assert!(Instant::now() < end, "{name} does not come: {what}");
            }
        }
        let list = listed();
        for (other, supervisor) in self.supervisors.iter().enumerate() {
            assert_eq!(
                list.contains(&self.name(other)),
                supervisor.is_some(),
                "{}: {what}; {list:?}",
                self.name(other)
            );
        }
        if self.supervisors[number].is_some() {
            redd(&["exec", &name, "--", "true"]).expect_code(0);
            let end = Instant::now() + LIMIT;
            while processes_of(&name).iter().any(|command| command.contains("sleep 1000")) {
                assert!(Instant::now() < end, "{what}: {:?}", processes_of(&name));
            }
        } else {
            let gone = redd(&["exec", &name, "--", "true"]).expect_code(1);
            assert!(gone.errors.contains(&name), "{what}: {gone}");
        }
    }
}

impl Drop for Machines<'_> {
    /// A storm that has failed leaves no machine behind.
    fn drop(&mut self) {
        for supervisor in self.supervisors.iter_mut().flatten() {
            drop(supervisor.kill());
            drop(supervisor.wait());
        }
    }
}

#[test]
#[ignore = "for the acceptance"]
fn whoever_is_killed_in_a_call_leaves_a_list_that_is_right() {
    requires!(root, cgroup2, idmap);
    let _isolated = Isolated::enter();
    std::fs::create_dir_all("/run/redd").expect("notes");
    let _notes = Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd"));
    let tree = fixture::tree();
    let prefix = format!("logs-storm-{}", std::process::id());
    let outside = tempfile::tempdir().expect("directory");
    let before = HostState::capture(&tree.path().with_file_name(&prefix), &[]);
    let mut machines = Machines {
        tree: tree.path(),
        prefix: &prefix,
        outside: outside.path(),
        supervisors: (0..MACHINES).map(|_| None).collect(),
    };
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let begun = Instant::now();
    for _ in 0..ROUNDS {
        machines.round(&mut numbers);
    }
    println!("{ROUNDS} were killed within {:?}", begun.elapsed());

    let alive: Vec<usize> = (0..MACHINES).filter(|number| machines.supervisors[*number].is_some()).collect();
    for number in alive {
        redd(&["poweroff", &machines.name(number)]).expect_code(0);
        let mut supervisor = machines.supervisors[number].take().expect("it lives");
        assert!(await_end(&mut supervisor, "a machine that was asked to end").success());
    }
    assert_eq!(listed(), [""; 0]);
    for number in 0..MACHINES {
        let tree = tree.path().to_str().expect("a path");
        redd(&["spawn", "--cleanup", "-q", "-M", &machines.name(number), "-D", tree]).expect_code(0);
    }
    // Whoever was killed last may still be at it.
    let end = Instant::now() + Duration::from_secs(5);
    while !processes_of(&prefix).is_empty() {
        assert!(Instant::now() < end, "{:?}", processes_of(&prefix));
        std::thread::sleep(Duration::from_millis(20));
    }
    let taken: Vec<_> = std::fs::read_dir(outside.path()).expect("directory").flatten().collect();
    assert!(taken.iter().all(|entry| entry.file_name() == "taken"), "what is left of copies: {taken:?}");
    let entries = std::fs::read_dir("/run/redd/machines").expect("registry").flatten().map(|entry| entry.file_name());
    assert_eq!(entries.collect::<Vec<_>>(), [".lock"], "the registry's own, and nobody's entry");
    before.assert_same();
}
