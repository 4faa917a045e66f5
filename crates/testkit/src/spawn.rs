//! Runs the engine with a time limit.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Whose engine runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// The binary that was built: `env!("CARGO_BIN_EXE_redd-spawn")`.
    Redd(PathBuf),
    /// The installed systemd-nspawn: `requires!(program "systemd-nspawn")` comes first.
    Reference,
}

/// One run of a container.
#[derive(Debug)]
pub struct Spawn {
    engine: Engine,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Option<Vec<u8>>,
    limit: Duration,
}

/// How it ended.
#[derive(Debug)]
pub struct Ended {
    /// The status; `None`: it did not end in time and was killed.
    pub status: Option<ExitStatus>,
    /// What it wrote to standard output.
    pub output: String,
    /// What it wrote to standard error.
    pub errors: String,
}

impl Ended {
    /// The exit code.
    ///
    /// # Panics
    /// With all that was written, if it did not end in time or by itself.
    #[track_caller]
    pub fn code(&self) -> i32 {
        match self.status {
            Some(status) if status.code().is_some() => status.code().unwrap_or_default(),
            Some(status) => panic!("killed by signal {:?}\n{self}", status.signal()),
            None => panic!("did not end in time\n{self}"),
        }
    }

    /// It ended with this code.
    ///
    /// # Panics
    /// With all that was written, if it did not.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "{self}");
        self
    }

    /// The value behind `name=` in a line of the output.
    ///
    /// # Panics
    /// With all that was written, if there is none.
    #[track_caller]
    pub fn value(&self, name: &str) -> &str {
        let found = self.output.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        found.map(|value| value.trim_end_matches('\r')).unwrap_or_else(|| panic!("no {name}= in\n{self}"))
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}\n--- output\n{}\n--- errors\n{}", self.status, self.output, self.errors)
    }
}

impl Spawn {
    /// A run without arguments, with an empty standard input and a limit of 30 seconds.
    pub fn new(engine: &Engine) -> Self {
        let mut spawn = Self {
            engine: engine.clone(),
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            limit: Duration::from_secs(30),
        };
        if *engine == Engine::Reference {
            // No machined is asked, on whatever host this is; there is no unit to be kept without systemd.
            spawn.arguments.push("--register=no".into());
            if !Path::new("/run/systemd/system").exists() {
                spawn.arguments.push("--keep-unit".into());
            }
        }
        spawn
    }

    /// The usual start of our own engine: quiet, in this tree.
    pub fn redd(binary: &str, tree: &Path) -> Self {
        Self::new(&Engine::Redd(binary.into())).arg("-q").arg("-D").arg(tree)
    }

    /// The usual start of either.
    pub fn of(engine: &Engine, tree: &Path) -> Self {
        Self::new(engine).arg("-q").arg("-D").arg(tree)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Runs a shell script in the container, as its last arguments.
    #[must_use]
    pub fn script(self, script: &str) -> Self {
        self.args(["/bin/sh", "-c", script])
    }

    /// Sets a variable of the engine's own environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Gives it this on standard input.
    #[must_use]
    pub fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Some(bytes.into());
        self
    }

    /// Another time limit.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// The command as it would run, for those who run it otherwise.
    pub fn command(&self) -> Command {
        let mut command = match &self.engine {
            Engine::Redd(path) => Command::new(path),
            Engine::Reference => Command::new("systemd-nspawn"),
        };
        command.args(&self.arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end, or to the time limit.
    ///
    /// # Panics
    /// If the engine cannot be started.
    pub fn run(self) -> Ended {
        let command = self.command();
        run_limited(command, self.input.unwrap_or_default(), self.limit)
    }
}

/// Runs a command with this on its standard input and a time limit; on reaching that it is killed, it alone.
///
/// # Panics
/// If it cannot be started.
pub fn run_limited(mut command: Command, input: Vec<u8>, limit: Duration) -> Ended {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("a pipe");
    // Who does not read it gets what fits; the rest is of no interest.
    std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = collect(child.stdout.take().expect("a pipe"));
    let errors = collect(child.stderr.take().expect("a pipe"));
    let status = wait(&mut child, limit);
    let text = |thread: std::sync::mpsc::Receiver<Vec<u8>>| {
        // Something that lives on may hold the pipe: what came until now is enough then.
        let mut bytes = Vec::new();
        let patience = Instant::now() + Duration::from_secs(2);
        while let Ok(more) = thread.recv_timeout(patience.saturating_duration_since(Instant::now())) {
            bytes.extend(more);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Ended { status, output: text(output), errors: text(errors) }
}

fn collect(mut pipe: impl Read + Send + 'static) -> std::sync::mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("a child of ours") {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().expect("a child of ours");
    child.wait().expect("a child of ours");
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hangs_is_killed_and_what_it_wrote_is_kept() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo early; exec sleep 60"]);
        let ended = run_limited(command, Vec::new(), Duration::from_millis(300));
        assert!(ended.status.is_none());
        assert_eq!(ended.output, "early\n");
    }

    #[test]
    fn input_output_and_code_pass_through() {
        let mut command = Command::new("sh");
        command.args(["-c", "read x; echo got=$x; echo oops >&2; exit 7"]);
        let ended = run_limited(command, b"hello\n".to_vec(), Duration::from_secs(10)).expect_code(7);
        assert_eq!((ended.value("got"), ended.errors.as_str()), ("hello", "oops\n"));
    }
}
