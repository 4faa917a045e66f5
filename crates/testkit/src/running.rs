//! A machine that runs while a test looks at it.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a machine may take to be there, and to be gone.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ended with the value, by SIGTERM to whoever looks after it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    name: String,
}

impl Running {
    /// Starts a machine of this name and waits until it is in the registry.
    ///
    /// # Panics
    /// If it ends before, or does not come.
    #[track_caller]
    pub fn start(command: Command, name: &str) -> Self {
        let mut running = Self::begin(command, name);
        running.await_entry();
        running
    }

    /// Starts it and does not wait.
    ///
    /// # Panics
    /// If it cannot be started.
    #[track_caller]
    pub fn begin(mut command: Command, name: &str) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        Self { child, name: name.to_owned() }
    }

    /// Waits until it is in the registry.
    ///
    /// # Panics
    /// If it ends before, or does not come.
    #[track_caller]
    pub fn await_entry(&mut self) {
        let end = Instant::now() + PATIENCE;
        while !self.state().exists() {
            let ended = self.child.try_wait().expect("a child of ours");
            assert!(ended.is_none(), "{} has ended: {ended:?}", self.name);
            assert!(Instant::now() < end, "{} does not come up", self.name);
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn state(&self) -> PathBuf {
        PathBuf::from("/run/redd/machines").join(&self.name).join("state")
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process that looks after it.
    #[must_use]
    pub fn supervisor(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(-1)
    }

    /// Its first process, as the registry has it.
    ///
    /// # Panics
    /// If the registry does not say.
    #[must_use]
    pub fn leader(&self) -> i32 {
        let text = std::fs::read_to_string(self.state()).expect("its entry in the registry");
        let behind = text.split_once("\"leader\":{\"pid\":").expect("a leader").1;
        behind.split(|letter: char| !letter.is_ascii_digit()).next().and_then(|pid| pid.parse().ok()).expect("a number")
    }

    /// Kills the process that looks after it, at once.
    ///
    /// # Panics
    /// If that cannot be waited for.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn end(mut self) -> ExitStatus {
        self.await_end().unwrap_or_else(|| panic!("{} does not end", self.name))
    }

    fn await_end(&mut self) -> Option<ExitStatus> {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait().expect("a child of ours") {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// Asks it to end, and waits for that.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn stop(mut self) -> ExitStatus {
        self.ask();
        self.await_end().unwrap_or_else(|| panic!("{} does not end", self.name))
    }

    /// Asks it to end.
    pub fn ask(&mut self) {
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), rustix::process::Pid::from_raw(self.supervisor())) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.ask();
        if self.await_end().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
