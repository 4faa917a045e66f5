//! redd is replaced while its machines run: the new one steers them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use testkit::disk::Mounted;
use testkit::{Ended, HostState, Isolated, Running, fixture, requires, run_limited};

const REDD: &str = env!("CARGO_BIN_EXE_redd");
const SCRIPT: &str = "trap 'exit 7' TERM; while :; do sleep 0.05; done";

/// An installation: `redd` and the engine under its name.
struct Installed(tempfile::TempDir);

impl Installed {
    fn new() -> Self {
        let installed = Self(tempfile::tempdir().expect("directory"));
        installed.put();
        installed
    }

    fn program(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Other files in the place of those that are there, if any; a program that runs keeps its own.
    fn put(&self) {
        let new = self.program("new");
        for name in ["redd", "redd-spawn"] {
            std::fs::copy(REDD, &new).expect("copy");
            std::fs::rename(&new, self.program(name)).expect("in its place");
        }
    }

    fn remove(&self) {
        for name in ["redd", "redd-spawn"] {
            std::fs::remove_file(self.program(name)).expect("removed");
        }
    }

    fn redd(&self, words: &[&str]) -> Ended {
        let mut command = Command::new(self.program("redd"));
        command.args(words);
        run_limited(command, Vec::new(), Duration::from_secs(60))
    }

    fn start(&self, program: &str, tree: &Path, name: &str) -> Running {
        let mut command = Command::new(self.program(program));
        if program == "redd" {
            command.arg("spawn");
        }
        command.args(["-q", "-M", name, "-x", "-D"]).arg(tree).args(["/bin/sh", "-c", SCRIPT]);
        Running::start(command, name)
    }

    /// Seen, entered, stopped for a moment and powered off.
    fn steers(&self, running: Running) {
        let name = running.name().to_owned();
        let rows: Value =
            serde_json::from_str(&self.redd(&["list", "--json=short"]).expect_code(0).output).expect("JSON");
        assert!(rows.as_array().expect("rows").iter().any(|row| row["machine"] == name.as_str()), "{rows}");
        assert!(self.redd(&["status", &name]).expect_code(0).output.contains(&name));
        let inside = self.redd(&["exec", &name, "--", "/bin/sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '"]);
        assert!(inside.expect_code(0).output.contains("trap 'exit 7' TERM"));
        self.redd(&["pause", &name]).expect_code(0);
        self.redd(&["resume", &name]).expect_code(0);
        self.redd(&["poweroff", &name]).expect_code(0);
        assert_eq!(running.end().code(), Some(7));
    }
}

/// Isolated, with a registry of its own.
fn isolate() -> (Isolated, Mounted) {
    let isolated = Isolated::enter();
    std::fs::create_dir_all("/run/redd").expect("directory");
    (isolated, Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new("/run/redd")))
}

#[test]
fn a_machine_of_the_old_files_is_steered_by_the_new_ones() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    let before = HostState::capture(tree.path(), &[]);
    let installed = Installed::new();
    let names = ["replaced", "removed", "engine"].map(|word| format!("upgrade-{word}-{}", std::process::id()));
    let first = installed.start("redd", tree.path(), &names[0]);
    installed.put();
    installed.steers(first);
    let (second, engine) =
        (installed.start("redd", tree.path(), &names[1]), installed.start("redd-spawn", tree.path(), &names[2]));
    installed.remove();
    // Nobody is there for a while; the machines are.
    let end = Instant::now() + Duration::from_millis(300);
    while Instant::now() < end {
        let leaders = [&second, &engine].map(|running| Path::new("/proc").join(running.leader().to_string()));
        assert!(leaders.iter().all(|leader| leader.exists()));
        std::thread::sleep(Duration::from_millis(20));
    }
    installed.put();
    installed.steers(second);
    installed.steers(engine);
    before.assert_same();
}

#[test]
fn a_machine_of_a_later_redd_is_named_and_left_alone() {
    requires!(root, cgroup2);
    let _isolated = isolate();
    let tree = fixture::tree();
    let installed = Installed::new();
    let names = ["later", "same"].map(|word| format!("upgrade-{word}-{}", std::process::id()));
    let later = installed.start("redd", tree.path(), &names[0]);
    let same = installed.start("redd", tree.path(), &names[1]);
    let state = Path::new("/run/redd/machines").join(&names[0]).join("state");
    let known = std::fs::read_to_string(&state).expect("state");
    let mut changed: Value = serde_json::from_str(&known).expect("JSON");
    changed["version"] = 2.into();
    std::fs::write(&state, changed.to_string()).expect("state");
    let listed = installed.redd(&["list", "--json=short"]).expect_code(0);
    assert!(listed.output.contains(&names[1]) && !listed.output.contains(&names[0]), "{listed}");
    for words in
        [&["status"][..], &["show"], &["poweroff"], &["terminate"], &["kill"], &["pause"], &["exec"], &["wait"]]
    {
        let words = [words, &[&names[0]]].concat();
        let words = if words[0] == "exec" { [&words[..], &["--", "true"]].concat() } else { words };
        let ended = installed.redd(&words).expect_code(1);
        assert!(
            ended.errors.contains("later version of redd") && ended.errors.contains(&names[0]),
            "{words:?}: {ended}"
        );
    }
    assert!(Path::new("/proc").join(later.supervisor().to_string()).exists());
    std::fs::write(&state, known).expect("state");
    installed.steers(later);
    installed.steers(same);
}
