//! The service, and what it is asked about.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::disk::Mounted;
use testkit::{Isolated, Running};

use crate::client::Client;

pub(crate) const REDD: &str = env!("CARGO_BIN_EXE_redd");
pub(crate) const LIMIT: Duration = Duration::from_secs(60);
pub(crate) const MACHINES: &str = "/run/systemd/machine/io.systemd.Machine";
pub(crate) const IMAGES: &str = "/run/systemd/machine/io.systemd.MachineImage";
pub(crate) const USERS: &str = "/run/systemd/userdb/io.systemd.Machine";

/// Isolated, with a registry and sockets of its own: what others run is not listed.
pub(crate) fn isolate() -> (Isolated, [Mounted; 2]) {
    let isolated = Isolated::enter();
    let own = |path: &str| {
        std::fs::create_dir_all(path).expect("directory");
        Mounted::new(&["-t", "tmpfs", "-o", "mode=755", "tmpfs"], Path::new(path))
    };
    (isolated, [own("/run/redd"), own("/run/systemd")])
}

#[track_caller]
pub(crate) fn until(what: &str, mut reached: impl FnMut() -> bool) {
    let end = Instant::now() + LIMIT;
    while !reached() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The service, ended with the value.
pub(crate) struct Machined(pub(crate) Child);

impl Machined {
    pub(crate) fn command() -> Command {
        let mut command = Command::new(REDD);
        command.arg0("/usr/lib/systemd/systemd-machined").stdin(Stdio::null());
        command
    }

    pub(crate) fn start() -> Self {
        Self::begin(Self::command())
    }

    #[track_caller]
    pub(crate) fn begin(mut command: Command) -> Self {
        let mut child = command.spawn().expect("start");
        until("the service listens", || {
            assert!(child.try_wait().expect("wait").is_none(), "the service has ended");
            [MACHINES, IMAGES, USERS].iter().all(|path| std::os::unix::net::UnixStream::connect(path).is_ok())
        });
        Self(child)
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.0.id()).expect("number")
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().expect("kill");
        self.0.wait().expect("wait");
    }
}

impl Drop for Machined {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that somebody else runs.
pub(crate) struct Foreign(Child);

impl Foreign {
    pub(crate) fn start() -> Self {
        Self(Command::new("sleep").arg("600").spawn().expect("start"))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn spawn(tree: &Path, name: &str, options: &[&str]) -> Running {
    let mut command = Command::new(REDD);
    command.args(["spawn", "-q", "--pipe", "-M", name, "-D"]).arg(tree).args(options);
    command.args(["--", "/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 0.1; done"]);
    Running::start(command, name)
}

pub(crate) fn machines() -> Client {
    Client::connect(MACHINES)
}

#[track_caller]
pub(crate) fn refused(result: Result<Value, (String, Value)>) -> String {
    let (name, parameters) = result.expect_err("an error");
    match parameters["parameter"].as_str() {
        Some(parameter) => format!("{name} {parameter}"),
        None => name,
    }
}

pub(crate) fn names() -> Vec<String> {
    let all = machines().call_more("io.systemd.Machine.List", json!({})).expect("list");
    all.iter().map(|one| one["name"].as_str().expect("name").to_owned()).collect()
}

pub(crate) fn note(name: &str) -> PathBuf {
    Path::new("/run/systemd/machines").join(name)
}

/// Does it as a user who is nobody in particular.
pub(crate) fn as_user<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            let user = rustix::process::Uid::from_raw(65533);
            // Of this thread alone.
            rustix::thread::set_thread_res_uid(user, user, user).expect("another user");
            work()
        });
        done.join().expect("work")
    })
}
