//! Copies into machines and out of them that do not come to their end.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::fixture::{self, Tree};
use testkit::{HostState, Isolated, Running, Terminal, requires};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const LIMIT: Duration = Duration::from_secs(60);
const WAYS: [&[&str]; 2] = [&[], &["-U"]];
/// What a copy is called that is not complete.
const TEMPORARY: &str = ".#redd-copy-";

fn machine(tree: &Tree, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-P", "-D"]).arg(tree.path()).args(options).args(["/bin/sleep", "1000"]);
    Running::start(command, &tree.name())
}

/// A copy of 4 GiB, in either direction, and where it goes.
struct Copy {
    words: Vec<String>,
    place: PathBuf,
}

/// Both directions.
fn copies(tree: &Tree, host: &Tree) -> [Copy; 2] {
    let path = |path: PathBuf| path.to_str().expect("a path of ours").to_owned();
    let words = |verb: &str, from: String, to: String| vec![verb.to_owned(), tree.name(), from, to];
    [
        Copy { words: words("copy-to", path(host.join("large")), "/there/x".to_owned()), place: tree.join("there") },
        Copy { words: words("copy-from", "/large".to_owned(), path(host.join("there/x"))), place: host.join("there") },
    ]
}

/// A machine's tree and a directory of the host with what they need.
fn places() -> (Tree, Tree) {
    let (tree, host) = (fixture::tree(), fixture::empty());
    for place in [&tree, &host] {
        std::fs::create_dir(place.join("there")).expect("directory");
        place.write("large/first", "x", 0o644);
        let first = place.write("large/0", vec![0x5a; 64 << 20], 0o644);
        // Many names of one file, each of which is copied.
        for number in 1..64 {
            std::fs::hard_link(&first, place.join(&format!("large/{number}"))).expect("a name");
        }
    }
    (tree, host)
}

fn begun(place: &Path) -> bool {
    entries(place).iter().any(|name| name.starts_with(TEMPORARY))
}

fn entries(place: &Path) -> Vec<String> {
    let names = std::fs::read_dir(place).expect("entries").map(|entry| entry.expect("entry").file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Waits for something that comes soon.
#[track_caller]
fn until(what: &str, mut there: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !there() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Starts it, and waits until it is on its way.
fn start(copy: &Copy) -> Child {
    let mut command = Command::new(REDD);
    command.args(&copy.words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().expect("redd");
    until("the copy has begun", || begun(&copy.place));
    child
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a number")).expect("a process")
}

fn end(child: Child) -> (ExitStatus, String) {
    let output = child.wait_with_output().expect("its end");
    (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Its processes: the one that reads and the one that writes.
fn workers(child: &Child) -> [Pid; 2] {
    let mut found = Vec::new();
    until("there are two processes", || {
        let text = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap_or_default();
        found = text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
        found.len() == 2
    });
    [found[0], found[1]]
}

#[test]
fn signals_end_it_without_a_trace() {
    requires!(root, cgroup2, idmap);
    let (tree, host) = places();
    let _isolated = Isolated::enter();
    for way in WAYS {
        let state = HostState::capture(tree.path(), &[&host.join("there")]);
        let running = machine(&tree, way);
        for copy in copies(&tree, &host) {
            for signal in [Signal::INT, Signal::TERM] {
                let child = start(&copy);
                kill_process(pid(&child), signal).expect("a signal");
                let (status, said) = end(child);
                assert_eq!(status.signal(), Some(signal.as_raw()), "{said}");
                assert_eq!(entries(&copy.place), [""; 0]);
            }
            // Nothing that it could do itself: its processes see to it.
            let child = start(&copy);
            let workers = workers(&child);
            kill_process(pid(&child), Signal::KILL).expect("a signal");
            assert_eq!(end(child).0.signal(), Some(Signal::KILL.as_raw()));
            until("what a killed one has begun goes away", || entries(&copy.place).is_empty());
            until("its processes go away", || {
                workers.iter().all(|worker| !Path::new(&format!("/proc/{}", worker.as_raw_nonzero())).exists())
            });
        }
        running.stop();
        // Directories were changed and changed back.
        let left: Vec<_> = state.differences().into_iter().filter(|line| !line.contains("/there ")).collect();
        assert_eq!(left, [""; 0]);
    }
}

#[test]
fn a_process_that_is_killed_is_told() {
    requires!(root, cgroup2, idmap);
    let (tree, host) = places();
    let _isolated = Isolated::enter();
    for way in WAYS {
        let _running = machine(&tree, way);
        for copy in copies(&tree, &host) {
            for (number, does) in ["that reads", "that writes"].into_iter().enumerate() {
                let child = start(&copy);
                kill_process(workers(&child)[number], Signal::KILL).expect("a signal");
                let (status, said) = end(child);
                assert_eq!(status.code(), Some(1), "{said}");
                assert!(said.contains(does) && said.contains("was killed"), "{said}");
                assert_eq!(entries(&copy.place), [""; 0]);
            }
        }
    }
}

#[test]
fn a_machine_that_ends_ends_it() {
    requires!(root, cgroup2, idmap);
    let (tree, host) = places();
    let _isolated = Isolated::enter();
    for way in WAYS {
        for copy in copies(&tree, &host) {
            let mut running = machine(&tree, way);
            let child = start(&copy);
            running.ask();
            let (status, said) = end(child);
            assert_eq!(status.code(), Some(1), "{said}");
            assert!(said.contains("has ended meanwhile"), "{said}");
            assert_eq!(entries(&copy.place), [""; 0]);
            running.end();
        }
    }
}

#[test]
fn the_process_inside_has_nothing_of_the_host() {
    requires!(root, cgroup2, idmap);
    let (tree, host) = places();
    let _isolated = Isolated::enter();
    for way in WAYS {
        let running = machine(&tree, way);
        for (number, copy) in copies(&tree, &host).into_iter().enumerate() {
            let child = start(&copy);
            let both = workers(&child);
            // copy-to writes inside, copy-from reads there.
            let inside = both[1 - number];
            kill_process(inside, Signal::STOP).expect("a signal");
            let process = PathBuf::from(format!("/proc/{}", inside.as_raw_nonzero()));
            let link = |path: &Path| std::fs::read_link(path).expect("link").to_string_lossy().into_owned();
            for entry in std::fs::read_dir(process.join("fd")).expect("descriptors").flatten() {
                let path = link(&entry.path());
                let known =
                    ["pipe:", "socket:", "/dev/null", "/there", "/large"].iter().any(|known| path.starts_with(known));
                assert!(known || path == "/", "{way:?} {path}");
                let status = rustix::fs::stat(entry.path()).expect("a descriptor");
                let root = rustix::fs::stat("/").expect("root");
                assert!(path != "/" || (status.st_dev, status.st_ino) != (root.st_dev, root.st_ino), "the host's root");
            }
            let status = std::fs::read_to_string(process.join("status")).expect("status");
            let field = |name: &str| {
                status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).expect("a field").to_owned()
            };
            // chown, dac_override, dac_read_search, fowner, fsetid.
            assert_eq!((field("CapEff:"), field("CapPrm:")), ("000000000000001f".into(), "000000000000001f".into()));
            assert_eq!(field("NoNewPrivs:"), "1");
            let own = |name: &str| link(&process.join("ns").join(name));
            let leader = format!("/proc/{}/ns", running.leader());
            assert_eq!(own("mnt"), link(&Path::new(&leader).join("mnt")));
            assert_eq!(own("user"), link(&Path::new(&leader).join("user")));
            assert_eq!(field("Uid:").starts_with("0\t"), way.is_empty(), "{way:?}");
            kill_process(inside, Signal::CONT).expect("a signal");
            kill_process(pid(&child), Signal::TERM).expect("a signal");
            end(child);
            assert_eq!(entries(&copy.place), [""; 0]);
        }
    }
}

#[test]
fn a_terminal_shows_how_far_it_is() {
    requires!(root, cgroup2);
    let (tree, host) = places();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &[]);
    for copy in copies(&tree, &host) {
        let mut command = Command::new(REDD);
        command.args(&copy.words);
        let mut terminal = Terminal::start(&mut command);
        terminal.expect("entries, ", LIMIT);
        terminal.write("\x03");
        assert_eq!(terminal.wait(LIMIT).signal(), Some(Signal::INT.as_raw()));
        assert_eq!(entries(&copy.place), [""; 0]);
    }
}

/// File systems of the machine's own can hold whoever uses them.
#[test]
fn a_process_inside_that_hangs_is_not_waited_for() {
    requires!(root, cgroup2, idmap);
    let (tree, host) = places();
    let _isolated = Isolated::enter();
    let _running = machine(&tree, &["-U"]);
    for (number, copy) in copies(&tree, &host).into_iter().enumerate() {
        let child = start(&copy);
        kill_process(workers(&child)[1 - number], Signal::STOP).expect("a signal");
        kill_process(pid(&child), Signal::INT).expect("a signal");
        let (status, said) = end(child);
        assert_eq!(status.signal(), Some(Signal::INT.as_raw()), "{said}");
        assert_eq!(entries(&copy.place), [""; 0]);
    }
}
