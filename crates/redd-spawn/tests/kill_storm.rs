//! The supervisor is killed at random moments of start, run and stop. It is run for the acceptance.

#![allow(clippy::print_stdout, reason = "what was seen is told")]

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::disk::Mounted;
use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");
/// Moments for each combination of options; all in all 56.
const MOMENTS: u32 = 7;
const LONG: &str = "1000.25";

/// A different one each time; the seed is printed, and set by `REDD_SEED`.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let given = std::env::var("REDD_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("clock");
        Self(given.unwrap_or(now.as_nanos() as u64 | 1))
    }

    /// Below the limit (xorshift).
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Isolated, with notes of its own, so that no other test's clean-up or start is quicker than this one's.
fn isolate() -> (Isolated, Mounted) {
    let isolated = Isolated::enter();
    std::fs::create_dir_all("/run/redd").expect("notes");
    (isolated, Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd")))
}

fn combinations() -> Vec<Vec<&'static str>> {
    let mut all = vec![Vec::new()];
    for option in ["-x", "-U", "--private-network"] {
        let with: Vec<_> = all.iter().map(|one| [one.as_slice(), &[option]].concat()).collect();
        all.extend(with);
    }
    all
}

/// The processes of a run that live, payload or still on their way to it, by the argument that only they have.
fn living(mark: &str) -> usize {
    let processes = std::fs::read_dir("/proc").expect("proc").flatten();
    let lines = processes.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.windows(mark.len()).any(|window| window == mark.as_bytes())).count()
}

fn spawn(tree: &Path, options: &[&str], script: &str) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["-q", "--pipe", "-D"]).arg(tree).args(options).args(["/bin/sh", "-c", script]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("start")
}

/// How long a whole run of a payload that does nothing takes, in microseconds.
fn duration(tree: &Path, options: &[&str]) -> u64 {
    let begun = Instant::now();
    spawn(tree, options, "true").wait().expect("wait");
    begun.elapsed().as_micros() as u64
}

#[derive(Default)]
struct Summary {
    before_the_end: u32,
    after_the_end: u32,
    left: Vec<String>,
    longest_death: Duration,
}

#[test]
#[ignore = "for the acceptance"]
fn kill_storm() {
    requires!(root, cgroup2, idmap, program "mount");
    let _isolated = isolate();
    let mut random = Random::new();
    println!("REDD_SEED={}", random.0);
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let mut summary = Summary::default();
    for options in combinations() {
        let whole = duration(tree.path(), &options).max(1000);
        for moment in 0..MOMENTS {
            // The start, the run, the stop: a payload that stays, or one that ends by itself.
            let stays = moment % 2 == 0;
            let mark = format!("redd-storm-{}", random.below(u64::MAX));
            let script =
                if stays { format!("sh -c 'sleep {LONG}; : {mark}' & wait; : {mark}") } else { format!(": {mark}") };
            let delay = Duration::from_micros(random.below(whole + whole / 4));
            let mut child = spawn(tree.path(), &options, &script);
            std::thread::sleep(delay);
            child.kill().expect("kill");
            match child.wait().expect("wait").signal() {
                Some(9) => summary.before_the_end += 1,
                _ => summary.after_the_end += 1,
            }
            let context = format!("{options:?}, killed after {delay:?} of {whole} µs, seed {}", random.0);
            let death = Instant::now();
            while living(&mark) > 0 {
                assert!(death.elapsed() < Duration::from_secs(5), "a payload lives on: {context}");
                std::thread::sleep(Duration::from_millis(1));
            }
            summary.longest_death = summary.longest_death.max(death.elapsed());
            summary.left.extend(before.differences().into_iter().map(|line| kind(&line)));
            // Every other time the next start has to do it alone.
            if moment % 3 != 2 {
                Spawn::redd(BINARY, tree.path()).arg("--cleanup").run().expect_code(0);
                let differences = before.differences();
                assert!(differences.is_empty(), "{context}: {differences:#?}");
            }
            Spawn::redd(BINARY, tree.path()).args(&options).arg("/bin/true").run().expect_code(0);
            let differences = before.differences();
            assert!(differences.is_empty(), "after the next start: {context}: {differences:#?}");
        }
    }
    summary.print();
}

/// What kind of thing it was that was left.
fn kind(line: &str) -> String {
    line.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

impl Summary {
    #[expect(clippy::print_stdout, reason = "what the acceptance shows")]
    fn print(mut self) {
        self.left.sort();
        let mut counts: Vec<(String, usize)> = Vec::new();
        for kind in self.left {
            match counts.last_mut().filter(|(known, _)| *known == kind) {
                Some((_, count)) => *count += 1,
                None => counts.push((kind, 1)),
            }
        }
        println!("killed before the end: {}, after it: {}", self.before_the_end, self.after_the_end);
        println!("the last payload was gone within {:?}", self.longest_death);
        println!("left before --cleanup: {counts:?}; after it and after the next start: nothing");
    }
}
