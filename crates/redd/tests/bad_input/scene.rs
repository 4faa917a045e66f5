//! A host with a registry of the test's own, and `redd` under its names.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testkit::disk::Mounted;
use testkit::{Ended, Isolated, Running, run_limited};

pub(crate) const REDD: &str = env!("CARGO_BIN_EXE_redd");
/// For whatever one call does.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Isolated, with nothing in the registries and in these places.
pub(crate) fn isolate(places: &[&str]) -> (Isolated, Vec<Mounted>) {
    let isolated = Isolated::enter();
    let own = |path: &&str| {
        std::fs::create_dir_all(path).expect("directory");
        Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(path))
    };
    (isolated, ["/run/redd", "/run/systemd"].iter().chain(places).map(own).collect())
}

/// A machine that ends with code 7 when it is asked to.
pub(crate) fn spawn(tree: &Path, name: &str) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "-x", "--pipe", "-M", name, "-D"]).arg(tree);
    command.args(["--", "/bin/sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done"]);
    Running::start(command, name)
}

/// Under which name a verb is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Redd,
    Machinectl,
}

pub(crate) fn command(face: Face, words: &[&str]) -> Command {
    let mut command = Command::new(REDD);
    if face == Face::Machinectl {
        command.arg0("machinectl").arg("--no-pager");
    }
    command.args(words).env("LANG", "C.UTF-8");
    command
}

pub(crate) fn call(face: Face, words: &[&str]) -> Ended {
    run_limited(command(face, words), Vec::new(), LIMIT)
}

pub(crate) fn redd(words: &[&str]) -> Ended {
    call(Face::Redd, words)
}

pub(crate) fn entry(name: &str) -> PathBuf {
    Path::new("/run/redd/machines").join(name)
}

/// The names that are listed, whatever is told beside them.
#[track_caller]
pub(crate) fn listed() -> Vec<String> {
    let ended = redd(&["list", "--json=short"]).expect_code(0);
    let rows: serde_json::Value = serde_json::from_str(&ended.output).expect("JSON");
    rows.as_array().expect("rows").iter().map(|row| row["machine"].as_str().expect("a name").to_owned()).collect()
}

#[track_caller]
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// `systemd-machined`, ended with the value.
pub(crate) struct Machined(pub(crate) std::process::Child);

impl Machined {
    pub(crate) fn start() -> Self {
        let mut command = Command::new(REDD);
        command.arg0("/usr/lib/systemd/systemd-machined").stdin(Stdio::null()).stderr(Stdio::null());
        let service = Self(command.spawn().expect("start"));
        until("the service listens", || std::os::unix::net::UnixStream::connect(MACHINED).is_ok());
        service
    }
}

/// Where it listens.
pub(crate) const MACHINED: &str = "/run/systemd/machine/io.systemd.Machine";

impl Drop for Machined {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
