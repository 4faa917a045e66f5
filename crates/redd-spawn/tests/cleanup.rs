//! What is left by a supervisor that is killed, and how it goes away.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use testkit::disk::Mounted;
use testkit::{HostState, Isolated, Spawn, fixture, requires};

const BINARY: &str = env!("CARGO_BIN_EXE_redd-spawn");

/// Isolated, with notes of its own, so that no other test's clean-up or start is quicker than this one's.
fn isolate() -> (Isolated, Mounted) {
    let isolated = Isolated::enter();
    std::fs::create_dir_all("/run/redd").expect("notes");
    (isolated, Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd")))
}

/// A container that runs and has told so.
fn start(tree: &Path, options: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.args(["-q", "--pipe", "-D"]).arg(tree).args(options);
    command.args(["/bin/sh", "-c", "echo ready; exec sleep 1000"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("start");
    let mut word = [0; 6];
    child.stdout.as_mut().expect("pipe").read_exact(&mut word).expect("ready");
    child
}

/// Kills the supervisor, and waits until the payload, which holds the other end of the pipe, is gone too.
fn kill(mut child: Child) {
    child.kill().expect("kill");
    let mut stdout = child.stdout.take().expect("pipe");
    child.wait().expect("wait");
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let _ = stdout.read_to_end(&mut Vec::new());
        let _ = sender.send(());
    });
    receiver.recv_timeout(Duration::from_secs(10)).expect("the payload dies with its supervisor");
}

/// A tree in a place of its own: a clean-up finds whatever died beside a tree, also that of other tests.
struct Alone {
    _place: fixture::Tree,
    path: PathBuf,
}

impl Alone {
    fn new() -> Self {
        let place = fixture::empty();
        let path = place.join(&format!("{}-alone", place.name()));
        std::fs::create_dir(&path).expect("tree");
        fixture::copy(fixture::tree().path(), &path);
        Self { _place: place, path }
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

fn beside(tree: &Path) -> Vec<PathBuf> {
    let name = tree.file_name().expect("name").to_string_lossy().into_owned();
    let mut found = Vec::new();
    for place in [tree.parent().expect("place"), Path::new("/var/tmp")] {
        let entries = std::fs::read_dir(place).expect("place").flatten();
        found.extend(entries.map(|entry| entry.path()).filter(|path| {
            path.file_name().is_some_and(|file| {
                let file = file.to_string_lossy();
                file.starts_with(".#redd.") && file.contains(&name)
            })
        }));
    }
    found
}

const KINDS: [&[&str]; 5] =
    [&[], &["-x"], &["-x", "-U", "--private-network"], &["--bind=:/srv"], &["-x", "-U", "--bind=:/srv"]];

#[test]
fn cleanup_removes_what_the_dead_left_and_nothing_of_the_living() {
    requires!(root, cgroup2, idmap, program "mount");
    let _isolated = isolate();
    let (tree, other) = (Alone::new(), Alone::new());
    let alive = start(other.path(), &["-x", "-U", "--bind=:/srv"]);
    let before = HostState::capture(tree.path(), &[]);
    let living = beside(other.path());
    assert!(!living.is_empty());
    for options in KINDS {
        kill(start(tree.path(), options));
        assert!(!before.differences().is_empty(), "{options:?}: something is left");
        Spawn::redd(BINARY, tree.path()).arg("--cleanup").run().expect_code(0);
        before.assert_same();
        assert_eq!(beside(other.path()), living, "{options:?}");
        Spawn::redd(BINARY, tree.path()).args(options).arg("/bin/true").run().expect_code(0);
        before.assert_same();
    }
    kill(alive);
    Spawn::redd(BINARY, other.path()).arg("--cleanup").run().expect_code(0);
    assert_eq!(beside(other.path()), Vec::<PathBuf>::new());
}

#[test]
fn the_next_start_of_the_tree_heals() {
    requires!(root, cgroup2, idmap, program "mount");
    let _isolated = isolate();
    let tree = Alone::new();
    let before = HostState::capture(tree.path(), &[]);
    for options in KINDS {
        kill(start(tree.path(), options));
        // Another machine's name, so that it is the tree by which it is found.
        Spawn::redd(BINARY, tree.path()).args(["-M", "next-one"]).arg("/bin/true").run().expect_code(0);
        before.assert_same();
    }
}

#[test]
fn what_outlived_the_notes_is_found_by_its_name() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = Alone::new();
    let before = HostState::capture(tree.path(), &[]);
    for by_cleanup in [true, false] {
        kill(start(tree.path(), &["-x"]));
        assert_eq!(beside(tree.path()).len(), 1);
        // As after the machine has been started anew; but its control groups would be gone, too.
        std::fs::remove_dir_all("/run/redd/locks").expect("notes");
        let spawn = Spawn::redd(BINARY, tree.path());
        let spawn = if by_cleanup { spawn.arg("--cleanup") } else { spawn.args(["-x", "/bin/true"]) };
        spawn.run().expect_code(0);
        assert_eq!(beside(tree.path()), Vec::<PathBuf>::new());
    }
    let left = before.differences();
    assert!(left.iter().all(|line| line.contains("group")), "{left:?}");
    // Nobody knows any more whose groups they were, so they are given some time.
    std::thread::sleep(Duration::from_secs(11));
    Spawn::redd(BINARY, tree.path()).arg("--cleanup").run().expect_code(0);
    before.assert_same();
}

#[test]
fn cleanup_asks_for_a_place_and_tells_what_it_did() {
    requires!(root, cgroup2, program "mount");
    let _isolated = isolate();
    let tree = Alone::new();
    let engine = testkit::Engine::Redd(BINARY.into());
    let ended = Spawn::new(&engine).arg("--cleanup").run().expect_code(2);
    assert!(ended.errors.contains("--directory"), "{ended}");
    kill(start(tree.path(), &["-x"]));
    let ended = Spawn::new(&engine).args(["--cleanup", "-D"]).arg(tree.path()).run().expect_code(0);
    assert!(ended.errors.contains("Removed the directory"), "{ended}");
    let again = Spawn::new(&engine).args(["--cleanup", "-D"]).arg(tree.path()).run().expect_code(0);
    assert_eq!(again.errors, "");
}

#[test]
fn nothing_is_left_by_an_orderly_end() {
    requires!(root, cgroup2, idmap, program "mount");
    let _isolated = isolate();
    let tree = Alone::new();
    let before = HostState::capture(tree.path(), &[]);
    for options in KINDS {
        let begun = Instant::now();
        Spawn::redd(BINARY, tree.path()).args(options).args(["/bin/sh", "-c", "exit 7"]).run().expect_code(7);
        assert!(begun.elapsed() < Duration::from_secs(20));
        before.assert_same();
        Spawn::redd(BINARY, tree.path()).args(options).arg("/no/such/program").run().expect_code(1);
        before.assert_same();
    }
}
