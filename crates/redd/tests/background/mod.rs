//! A host without systemd whose machines and notes belong to one test.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use testkit::disk::Mounted;
use testkit::{Isolated, fixture};

pub(crate) const REDD: &str = env!("CARGO_BIN_EXE_redd");
pub(crate) const MACHINES: &str = "/var/lib/machines";
/// What a tree of [`busybox`] prints when it comes up.
pub(crate) const INIT_SAYS: &str = "busybox is up";
const KEEPERS: &str = "/run/redd/keepers";
const LIMIT: Duration = Duration::from_secs(120);

/// Ends what the test has started, also where that fails.
pub(crate) struct Background {
    _isolated: Isolated,
    _mounts: [Mounted; 3],
    _changes: fixture::Tree,
    names: RefCell<Vec<String>>,
}

impl Background {
    pub(crate) fn enter() -> Self {
        let isolated = Isolated::enter();
        let empty = |path: &str| {
            std::fs::create_dir_all(path).expect("directory");
            Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(path))
        };
        // What is noted in /etc stays the test's own.
        let changes = fixture::empty();
        let [upper, work] = ["upper", "work"].map(|name| changes.join(name));
        for path in [&upper, &work] {
            std::fs::create_dir(path).expect("directory");
        }
        let layers = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
        let etc = Mounted::new(&["-t", "overlay", "-o", &layers, "overlay"], Path::new("/etc"));
        let mounts = [empty("/run/redd"), empty(MACHINES), etc];
        Self { _isolated: isolated, _mounts: mounts, _changes: changes, names: RefCell::default() }
    }

    /// A name for a machine that this run alone has, as control groups are everybody's.
    pub(crate) fn name(&self, word: &str) -> String {
        let name = format!("boot-{word}-{}", std::process::id());
        self.names.borrow_mut().push(name.clone());
        name
    }

    /// Puts a link to a tree or image where machines are looked for.
    pub(crate) fn machine(&self, word: &str, place: &Path) -> String {
        let name = self.name(word);
        let suffix = if place.is_dir() { "" } else { ".raw" };
        std::os::unix::fs::symlink(place, format!("{MACHINES}/{name}{suffix}")).expect("link");
        name
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        for keeper in keepers() {
            let _ = kill_process(keeper, Signal::KILL);
        }
        for name in self.names.borrow().iter() {
            let _ = redd(&["terminate", name]);
        }
    }
}

/// A tree with nothing but BusyBox, whose init says that it is up.
pub(crate) fn busybox() -> fixture::Tree {
    let tree = fixture::empty();
    for name in ["bin", "sbin", "usr", "etc", "proc", "sys", "dev", "tmp", "run", "root", "var"] {
        std::fs::create_dir_all(tree.join(name)).expect("directory");
    }
    let path = std::env::var_os("PATH").expect("path");
    let busybox = std::env::split_paths(&path).map(|directory| directory.join("busybox")).find(|path| path.exists());
    std::fs::copy(busybox.expect("busybox"), tree.join("bin/busybox")).expect("program");
    for name in ["bin/sh", "sbin/init"] {
        std::os::unix::fs::symlink("/bin/busybox", tree.join(name)).expect("link");
    }
    tree.write("etc/os-release", "ID=busybox\n", 0o644);
    let boot = format!("::sysinit:/bin/busybox echo {INIT_SAYS}\n::respawn:/bin/busybox sleep 1000\n");
    tree.write("etc/inittab", boot, 0o644);
    tree
}

pub(crate) fn redd(arguments: &[&str]) -> Output {
    Command::new(REDD).args(arguments).stdin(Stdio::null()).output().expect("start")
}

#[track_caller]
pub(crate) fn succeeds(arguments: &[&str]) -> String {
    let output = redd(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

/// What it says to standard error when it fails.
#[track_caller]
pub(crate) fn fails(arguments: &[&str]) -> String {
    let output = redd(arguments);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
    String::from_utf8(output.stderr).expect("text")
}

#[track_caller]
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// All that its supervisors and it have printed, and its keepers.
pub(crate) fn log(name: &str) -> String {
    let text = std::fs::read(format!("/run/redd/logs/{name}")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\r', "")
}

pub(crate) fn state(name: &str) -> Option<serde_json::Value> {
    let path = PathBuf::from("/run/redd/machines").join(name).join("state");
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

/// The number of its first process; 0 while it is about to begin or to end.
pub(crate) fn leader(name: &str) -> i64 {
    state(name).and_then(|state| state["leader"]["pid"].as_i64()).unwrap_or(0)
}

pub(crate) fn supervisor(name: &str) -> i32 {
    let pid = state(name).expect("state")["supervisor"]["pid"].as_i64().expect("number");
    i32::try_from(pid).expect("number")
}

/// Whether it is in the list of machines.
pub(crate) fn runs(name: &str) -> bool {
    let rows: serde_json::Value = serde_json::from_str(&succeeds(&["list", "--json=short"])).expect("JSON");
    rows.as_array().expect("rows").iter().any(|row| row["machine"].as_str() == Some(name))
}

/// The process that keeps it, if that lives.
pub(crate) fn keeper(name: &str) -> Option<Pid> {
    let pid = std::fs::read_to_string(Path::new(KEEPERS).join(name)).ok()?.trim().parse().ok()?;
    let keeps =
        std::fs::read(format!("/proc/{pid}/cmdline")).ok()?.split(|byte| *byte == 0).any(|word| word == b"keep");
    keeps.then(|| Pid::from_raw(pid).expect("number"))
}

/// All of them.
pub(crate) fn keepers() -> Vec<Pid> {
    let names = std::fs::read_dir(KEEPERS).into_iter().flatten().flatten();
    names.filter_map(|entry| keeper(entry.file_name().to_str()?)).collect()
}
