//! `systemd-machined` is killed in the midst of whatever it does: that is done or it is not, the machine goes on and can be steered,
//! nothing is left anywhere, and the next service does it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::disk::{Disk, Mounted};
use testkit::fixture::{self, Tree};
use testkit::{Ended, HostState, Running, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const POOL: &str = "/var/lib/machines";
const LIMIT: Duration = Duration::from_secs(60);
/// How often each operation is interrupted, at moments that are spread over the time that it takes.
const ROUNDS: u32 = 8;
/// How many files are copied.
const FILES: usize = 300;
/// The limit that is set, in bytes; another one is there before.
pub(crate) const SET: u64 = 100 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    CopyTo,
    CopyFrom,
    Bind,
    Terminal,
    Login,
    Shell,
    Register,
    Clean,
    Limit,
    PoolLimit,
    ReadOnly,
    CloneReadOnly,
}

const ALL: [Operation; 12] = [
    Operation::CopyTo,
    Operation::CopyFrom,
    Operation::Bind,
    Operation::Terminal,
    Operation::Login,
    Operation::Shell,
    Operation::Register,
    Operation::Clean,
    // Before it the file system does not count.
    Operation::PoolLimit,
    Operation::Limit,
    Operation::ReadOnly,
    Operation::CloneReadOnly,
];

/// How the service is asked.
pub(crate) trait Face {
    /// Starts it, so that it can be asked; its process.
    fn start(&mut self) -> i32;
    /// Kills it if it still lives, and waits for its end.
    fn reap(&mut self);
    /// Asks for it; whether that was done, for all that was answered. What is opened is closed.
    fn ask(&mut self, operation: Operation, place: &Place) -> bool;
}

/// Processes of somebody else.
struct Foreign(Child);

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A machine, files of the host's, and images.
pub(crate) struct Place {
    pub(crate) machine: String,
    pub(crate) outside: PathBuf,
    pub(crate) image: String,
    pub(crate) vm: String,
    foreign: Option<Foreign>,
    leader: i32,
    usual: (usize, usize, usize),
}

fn redd(words: &[&str]) -> Ended {
    let mut command = Command::new(REDD);
    command.args(words);
    run_limited(command, Vec::new(), LIMIT)
}

fn names(place: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[track_caller]
fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Those that this process has started and that still run.
fn children(pid: i32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()).collect()
}

fn runs(pid: i32) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ") && !state.contains(") X ")
}

impl Place {
    pub(crate) fn foreign(&self) -> u32 {
        self.foreign.as_ref().map_or(0, |foreign| foreign.0.id())
    }

    fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.leader))
    }

    /// Processes, mounts and terminals in the machine.
    fn count(&self) -> (usize, usize, usize) {
        let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.leader);
        let all = names(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok());
        // What the script does meanwhile is not counted.
        let command = |pid: i32| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let processes = all.filter(|pid| runs(*pid) && namespace(*pid) == own && !command(*pid).starts_with(b"sleep"));
        let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", self.leader)).expect("mounts");
        (processes.count(), mounts.lines().count(), names(&self.inside("/dev/pts")).len())
    }

    fn copied(path: &Path) -> bool {
        let all = names(path);
        assert!(!path.exists() || all.len() == FILES + 1, "{} is there by half: {}", path.display(), all.len());
        path.exists()
    }

    fn image_is(&self, image: &str, words: &str) -> bool {
        redd(&["show-image", image]).expect_code(0).output.lines().any(|line| line == words)
    }

    /// Whether it is done; nothing of it is there by half.
    fn is_done(&self, operation: Operation) -> bool {
        match operation {
            Operation::CopyTo => Self::copied(&self.inside("/tmp/copied")),
            Operation::CopyFrom => Self::copied(&self.outside.join("taken")),
            Operation::Bind => {
                let mounts = std::fs::read_to_string(format!("/proc/{}/mountinfo", self.leader)).expect("mounts");
                let bound = mounts.lines().filter(|line| line.contains(" /tmp/bound ")).count();
                assert!(bound <= 1, "{mounts}");
                bound == 1 && self.inside("/tmp/bound/0").exists()
            }
            // They end with whoever has asked.
            Operation::Terminal | Operation::Login | Operation::Shell => true,
            Operation::Register => {
                let files = names(&Path::new("/run/redd/machines").join(&self.vm));
                assert!(files.is_empty() || files.iter().eq(["state"]), "{files:?}");
                !files.is_empty()
            }
            Operation::Clean => {
                let left = names(Path::new(POOL)).into_iter().filter(|name| name.starts_with('.'));
                let left: Vec<String> = left.collect();
                for name in left.iter().filter(|name| !name.starts_with(".#")) {
                    assert_eq!(names(&Path::new(POOL).join(name).join("usr")).len(), FILES, "{name}");
                }
                left.is_empty()
            }
            Operation::Limit => self.image_is(&self.image, &format!("Limit={SET}")),
            Operation::PoolLimit => {
                redd(&["show"]).expect_code(0).output.lines().any(|line| line == format!("PoolLimit={SET}"))
            }
            Operation::ReadOnly => self.image_is(&self.image, "ReadOnly=yes"),
            Operation::CloneReadOnly => {
                let copy = format!("{}-copy", self.image);
                let there = Path::new(POOL).join(&copy).exists();
                assert!(!there || self.image_is(&copy, "ReadOnly=yes"), "a copy that can be written to");
                assert!(!there || names(&Path::new(POOL).join(&copy).join("usr")).len() == FILES);
                there
            }
        }
    }

    /// Makes it possible again.
    fn undo(&mut self, operation: Operation) {
        let inside = |script: &str| {
            redd(&["exec", &self.machine, "--", "/bin/sh", "-c", script]).expect_code(0);
        };
        match operation {
            Operation::CopyTo => inside("rm -rf /tmp/copied"),
            Operation::CopyFrom => drop(std::fs::remove_dir_all(self.outside.join("taken"))),
            Operation::Bind => inside("umount /tmp/bound 2>/dev/null; rm -rf /tmp/bound"),
            Operation::Terminal | Operation::Login | Operation::Shell => {}
            Operation::Register => {
                self.foreign = None;
                self.foreign = Some(Foreign(Command::new("sleep").arg("600").spawn().expect("start")));
            }
            Operation::Clean => {
                for number in 0..3 {
                    fill(&Path::new(POOL).join(format!(".hidden-{number}")).join("usr"));
                }
            }
            Operation::Limit => drop(redd(&["set-limit", &self.image, "200M"]).expect_code(0)),
            Operation::PoolLimit => drop(redd(&["set-limit", "220M"]).expect_code(0)),
            Operation::ReadOnly => drop(redd(&["read-only", &self.image, "no"]).expect_code(0)),
            Operation::CloneReadOnly => drop(redd(&["remove", &format!("{}-copy", self.image)])),
        }
    }

    /// The machine is the one that it was, and does what it is told; the registry has all that runs and nothing else.
    fn look(&self, what: &str) {
        until(&format!("{what}: nothing more goes on inside, {:?}: {:?}", self.usual, self.count()), || {
            let (count, usual) = (self.count(), self.usual);
            (count.0, count.2) == (usual.0, usual.2) && count.1 <= usual.1 + 1
        });
        let listed = redd(&["list", "--json=short"]).expect_code(0);
        assert_eq!(listed.errors, "", "{what}");
        let rows: serde_json::Value = serde_json::from_str(&listed.output).expect("JSON");
        let listed: Vec<&str> =
            rows.as_array().expect("rows").iter().filter_map(|row| row["machine"].as_str()).collect();
        assert!(listed == [self.machine.as_str()] || listed == [self.machine.as_str(), &self.vm], "{what}: {listed:?}");
        redd(&["exec", &self.machine, "--", "true"]).expect_code(0);
        assert!(runs(self.leader), "{what}");
        let expected = |all: BTreeSet<String>, known: &[&str]| {
            let strange: Vec<_> = all.into_iter().filter(|name| !known.contains(&name.as_str())).collect();
            assert_eq!(strange, [""; 0], "{what}");
        };
        expected(names(&self.outside), &["stock", "taken"]);
        expected(names(&self.inside("/tmp")), &["copied", "bound"]);
        let files = names(&Path::new("/run/redd/machines").join(&self.machine));
        assert_eq!(files.into_iter().collect::<Vec<_>>(), ["confinement", "control", "lock", "state"], "{what}");
    }
}

fn fill(place: &Path) {
    std::fs::create_dir_all(place).expect("directory");
    for number in 0..FILES {
        std::fs::write(place.join(number.to_string()), number.to_string()).expect("file");
    }
}

/// One that is killed after this time, at the latest when it has answered. What it had started then goes its own way, and is waited for.
fn interrupt(face: &mut impl Face, operation: Operation, place: &Place, after: Duration) -> bool {
    let service = face.start();
    let (done, left) = std::thread::scope(|scope| {
        let killed = scope.spawn(move || {
            std::thread::sleep(after);
            let pid = Pid::from_raw(service).expect("a process");
            // It starts nothing more while it is looked at.
            kill_process(pid, Signal::STOP).expect("stopped");
            let left = children(service);
            kill_process(pid, Signal::KILL).expect("killed");
            left
        });
        (face.ask(operation, place), killed.join().expect("thread"))
    });
    face.reap();
    until(&format!("{operation:?} after {after:?}: all that it has started ends: {left:?}"), || {
        !left.iter().any(|pid| runs(*pid))
    });
    done
}

fn rounds(face: &mut impl Face, operation: Operation, place: &mut Place) {
    place.undo(operation);
    face.start();
    let begun = Instant::now();
    assert!(face.ask(operation, place), "{operation:?}");
    let usual = begun.elapsed();
    assert!(place.is_done(operation), "{operation:?}");
    face.reap();
    place.look(&format!("{operation:?}"));
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        place.undo(operation);
        let after = usual * round / (ROUNDS - 1);
        let what = format!("{operation:?} killed after {after:?} of {usual:?}");
        let answered = interrupt(face, operation, place, after);
        interrupted += usize::from(!answered);
        place.look(&what);
        let done = place.is_done(operation);
        assert!(done || !answered, "{what}: it was answered and is not done");
        if !done || operation == Operation::Terminal {
            face.start();
            assert!(face.ask(operation, place), "{what}: not done afterwards");
            assert!(place.is_done(operation), "{what}: not done afterwards");
            face.reap();
            place.look(&what);
        }
    }
    assert!(interrupted > 0, "{operation:?} was never interrupted");
    place.undo(operation);
}

/// All of it. The pool is on btrfs, where there are limits.
pub(crate) fn whatever_it_is_killed_in(face: &mut impl Face) {
    let disk = Disk::new("btrfs", 256);
    std::fs::create_dir_all(POOL).expect("directory");
    let _pool = Mounted::new(&["--bind", disk.path().to_str().expect("text")], Path::new(POOL));
    let tree: Tree = fixture::tree_with_login();
    fill(&tree.join("srv/stock"));
    std::fs::write(tree.join("srv/stock/large"), vec![7; 4 << 20]).expect("file");
    let outside = tempfile::tempdir().expect("directory");
    fill(&outside.path().join("stock"));
    std::fs::write(outside.path().join("stock/large"), vec![7; 4 << 20]).expect("file");
    let image = format!("killed-image-{}", std::process::id());
    let mut create = Command::new("btrfs");
    testkit::disk::run(create.args(["subvolume", "create"]).arg(Path::new(POOL).join(&image)));
    fill(&Path::new(POOL).join(&image).join("usr"));
    let host = HostState::capture(tree.path(), &[]);
    let machine = format!("killed-{}", std::process::id());
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "--pipe", "-M", &machine, "-D"]).arg(tree.path());
    command.args(["--", "/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]);
    let running = Running::start(command, &machine);
    let mut place = Place {
        vm: format!("{machine}-vm"),
        outside: outside.path().to_owned(),
        image,
        foreign: None,
        leader: running.leader(),
        usual: (0, 0, 0),
        machine,
    };
    // It is in the registry before it has its own root.
    until("it has come up", || place.inside("/dev/pts/ptmx").exists());
    place.usual = place.count();
    for operation in ALL {
        rounds(face, operation, &mut place);
    }
    place.foreign = None;
    assert_eq!(names(Path::new(POOL)).into_iter().filter(|name| name.starts_with(".#")).count(), 0);
    running.stop();
    assert_eq!(names(Path::new("/run/redd/machines")).into_iter().collect::<Vec<_>>(), [".lock"]);
    host.assert_same();
}
