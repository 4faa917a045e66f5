//! Machines in the background on hosts without a service manager: each has a keeper, a small process that starts the
//! engine, keeps what it prints, and starts it again where that was asked for.
//!
//! A keeper holds the lock `/run/redd/keepers/NAME` for as long as it lives, with its number in it. The machine itself
//! belongs to its supervisor: where a keeper is killed, the machine goes on and only is not started again.

pub(crate) mod keeper;
mod output;
pub(crate) mod restart;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use image::lock_file::{self, LockFile};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use spec::MachineName;
use sys::file_lock::Mode;

use crate::failure::Failure;
use output::Output;
use restart::Policy;

/// Where keepers have their locks.
const DIRECTORY: &str = "/run/redd/keepers";
/// The longest message of a keeper that is read, in bytes.
const LONGEST: u64 = 64 * 1024;
/// Told to a keeper: the machine ends because somebody wants it to, and is not started again.
const HOLD_BACK: Signal = Signal::USR1;
/// Told to a keeper: it does not end after all.
const GO_ON: Signal = Signal::USR2;
/// The variables that a keeper gets of the caller's: nothing that is about a session.
const PATH: &str = "PATH";
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a keeper tells whoever has started it, as a line of JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The machine runs.
    Started,
    /// It ended before.
    Failed {
        /// How, for people.
        how: String,
        /// The last lines that it or its supervisor has printed.
        said: String,
    },
    /// Another keeper has it.
    Kept,
}

impl Report {
    fn to_line(&self) -> String {
        let value = match self {
            Self::Started => serde_json::json!({"report": "started"}),
            Self::Kept => serde_json::json!({"report": "kept"}),
            Self::Failed { how, said } => serde_json::json!({"report": "failed", "how": how, "said": said}),
        };
        format!("{value}\n")
    }

    fn from_line(line: &str) -> Option<Self> {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| value[key].as_str().map(str::to_owned);
        match value["report"].as_str()? {
            "started" => Some(Self::Started),
            "kept" => Some(Self::Kept),
            "failed" => Some(Self::Failed { how: text("how")?, said: text("said")? }),
            _ => None,
        }
    }
}

/// A machine that is about to start.
pub(crate) struct Starting {
    name: MachineName,
    reports: OwnedFd,
}

/// Starts a keeper for a machine; the machine is found by its name.
pub(crate) fn begin(name: &MachineName, policy: Policy) -> Result<Starting, Failure> {
    let failed = |error: anyhow::Error| Failure::new(error.context(format!("cannot start {name}")), None);
    let output = Output::open(name).map_err(failed)?;
    // A lock or a terminal of the caller's would be held for as long as the machine runs.
    sys::process::close_on_exec_from(3).context("cannot close what others have opened").map_err(failed)?;
    let own = std::env::current_exe().context("where is this program?").map_err(failed)?;
    let (reader, writer) =
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).context("cannot make a pipe").map_err(failed)?;
    let mut command = Command::new(own);
    command.args(["keep", "--restart", policy.name(), "--", name.as_str()]);
    command.env_clear().env(PATH, std::env::var_os(PATH).unwrap_or_else(|| USUAL_PATH.into()));
    command.current_dir("/").stdin(Stdio::null()).stdout(writer).stderr(output.into_file());
    command.spawn().context("cannot start a keeper").map_err(failed)?;
    // The writer is gone with the command: the end of the pipe is the keeper's.
    drop(command);
    Ok(Starting { name: name.clone(), reports: reader })
}

impl Starting {
    /// Waits until the machine runs. The answer is false where it did before.
    pub(crate) fn wait(self) -> Result<bool, Failure> {
        let Self { name, reports } = self;
        let mut text = String::new();
        let read = BufReader::new(File::from(reports).take(LONGEST)).read_line(&mut text);
        read.map_err(|error| Failure::new(anyhow!(error).context("cannot hear from the keeper"), None))?;
        let log = machine::log_path(name.as_str());
        let hint = format!("what it has printed is in {}", log.display());
        match Report::from_line(&text) {
            Some(Report::Started) => Ok(true),
            Some(Report::Kept) => Ok(false),
            Some(Report::Failed { how, said }) => {
                let said: String = said.lines().map(|line| format!("\n  {}", line.trim_end())).collect();
                let said = if said.is_empty() { said } else { format!("; its last words:{said}") };
                Err(Failure::new(anyhow!("{name} did not start: it {how}{said}"), Some(&hint)))
            }
            None => Err(Failure::new(anyhow!("{name} did not start: its keeper died"), Some(&hint))),
        }
    }
}

/// A keeper that lives.
pub(crate) struct Keeper {
    /// Whose.
    pub(crate) name: MachineName,
    process: OwnedFd,
}

impl Keeper {
    /// The one that keeps this machine, if there is one.
    pub(crate) fn find(name: &MachineName) -> Option<Self> {
        let path = Path::new(DIRECTORY).join(name.as_str());
        let pid = std::fs::read_to_string(path).ok()?.trim().parse().ok().and_then(Pid::from_raw)?;
        let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
        // The number was of the lock's holder, and still is if that holds it now.
        is_kept(name).then(|| Self { name: name.clone(), process })
    }

    /// All that live, by name.
    pub(crate) fn all() -> Vec<Self> {
        let names = std::fs::read_dir(DIRECTORY).into_iter().flatten();
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<MachineName> = names.filter_map(|name| MachineName::try_from(name.as_str()).ok()).collect();
        names.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        names.iter().filter_map(Self::find_or_tidy).collect()
    }

    /// The same as [`Keeper::find`]; what a killed one has left is removed.
    fn find_or_tidy(name: &MachineName) -> Option<Self> {
        let found = Self::find(name);
        // The lock in hand, nobody else has it. One that cannot be taken or removed disturbs nobody.
        if let (None, Ok(Some(lock))) =
            (&found, LockFile::acquire_existing(Path::new(DIRECTORY), OsStr::new(name.as_str()), Mode::Exclusive))
        {
            let _ = std::fs::remove_file(notify_path(name));
            drop(lock);
        }
        found
    }

    /// Asks it to end the machine in order, and itself.
    pub(crate) fn end(&self) -> rustix::io::Result<()> {
        self.tell(Signal::TERM)
    }

    fn tell(&self, signal: Signal) -> rustix::io::Result<()> {
        match pidfd_send_signal(&self.process, signal) {
            // It has ended by itself.
            Err(rustix::io::Errno::SRCH) => Ok(()),
            other => other,
        }
    }

    /// Whether it has ended, or does so until then.
    pub(crate) fn ends_until(&self, end: Instant) -> bool {
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if machine::process::has_ended(&self.process) {
                return true;
            }
            if left.is_zero() {
                return false;
            }
            let limit = time_limit(left);
            // An interruption is as good as an event: it is looked at again.
            let _ = poll(&mut [PollFd::new(&self.process, PollFlags::IN)], Some(&limit));
        }
    }
}

/// Whether a machine of this name has a keeper.
pub(crate) fn keeps(name: &str) -> bool {
    MachineName::try_from(name).is_ok_and(|name| is_kept(&name))
}

/// Whether a machine has a keeper.
fn is_kept(name: &MachineName) -> bool {
    lock_file::is_locked(Path::new(DIRECTORY), OsStr::new(name.as_str()))
}

/// A machine is about to be ended because somebody wants that: its keeper does not start it again.
#[must_use]
pub(crate) struct HeldBack(Option<Keeper>);

/// Tells the keeper of a machine, if it has one, that the machine ends because somebody wants it to.
pub(crate) fn hold_back(name: &str) -> HeldBack {
    let keeper = MachineName::try_from(name).ok().and_then(|name| Keeper::find_or_tidy(&name));
    HeldBack(keeper.filter(|keeper| keeper.tell(HOLD_BACK).is_ok()))
}

impl HeldBack {
    /// The machine could not be ended. True where there is nothing more to do: it did not run, and is not started again.
    pub(crate) fn undo(self, gone: bool) -> bool {
        match self.0 {
            Some(_) if gone => true,
            Some(keeper) => {
                // One that has ended since has nothing to go on with.
                let _ = keeper.tell(GO_ON);
                false
            }
            None => false,
        }
    }
}

fn time_limit(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() }
}

/// Where a keeper hears from its engine. No machine's name begins with a dot.
fn notify_path(name: &MachineName) -> PathBuf {
    Path::new(DIRECTORY).join(format!(".{name}.notify"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_come_through_as_they_are() {
        let failed = Report::Failed { how: "ended with exit code 1".into(), said: "a \"b\"\n\u{1b}[0m\n".into() };
        for report in [Report::Started, Report::Kept, failed] {
            assert_eq!(Report::from_line(&report.to_line()), Some(report));
        }
        for line in ["", "nonsense", "{}", "{\"report\":\"other\"}", "{\"report\":\"failed\"}"] {
            assert_eq!(Report::from_line(line), None);
        }
    }
}
