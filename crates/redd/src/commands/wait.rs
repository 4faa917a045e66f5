//! `redd wait`: until machines have ended, or are there.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use machine::registry::Error;
use machine::{Machine, Registry, machines};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use crate::failure::{Failure, warn};
use crate::form::{self, Form};

/// The exit code when the time is over, that of timeout(1).
const TIMED_OUT: u8 = 124;
/// How often it is looked whether a machine is there.
const PAUSE: Duration = Duration::from_millis(20);
/// How long whoever started the supervisor may take to fetch its exit code, which the kernel tells only then.
const FETCHED_WITHIN: Duration = Duration::from_secs(1);

/// Wait until machines have ended, and tell how: the exit code is theirs, with several the first that is not 0
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The machines
    #[arg(required = true)]
    names: Vec<String>,
    /// What to wait for
    #[arg(long, value_name = "STATE", default_value = "ended")]
    until: Until,
    /// Give up after this many seconds, with exit code 124
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    timeout: Option<Duration>,
    /// Print nothing
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Until {
    /// They have ended
    Ended,
    /// They are there
    Running,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|_| "it is a number of seconds, not below 0".to_owned())
}

/// Waits.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let end = arguments.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    match arguments.until {
        Until::Running => until_running(&arguments.names, end),
        Until::Ended => until_ended(arguments, end),
    }
}

fn until_running(names: &[String], end: Option<Instant>) -> Result<ExitCode, Failure> {
    let registry = Registry::system();
    for name in names {
        loop {
            match machines::machine(&registry, name) {
                Ok(_) => break,
                Err(Error::NoSuchMachine(_)) if end.is_none_or(|end| Instant::now() < end) => std::thread::sleep(PAUSE),
                Err(Error::NoSuchMachine(_)) => return Err(timed_out(&[name.as_str()], "is not there")),
                Err(error) => return Err(Failure::new(error, None)),
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A machine whose end is waited for.
struct Waited {
    name: String,
    /// Whoever looks after it, and ends with its exit code; else its first process.
    process: OwnedFd,
    supervised: bool,
    ended: Option<Ended>,
}

/// How it ended, if the kernel tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Code(u8),
    Signal(i32),
    Unknown,
}

impl Ended {
    fn from_status(status: Option<i32>) -> Self {
        match status {
            Some(status) if status & 0x7f != 0 => Self::Signal(status & 0x7f),
            Some(status) => Self::Code(u8::try_from(status >> 8 & 0xff).unwrap_or(u8::MAX)),
            None => Self::Unknown,
        }
    }

    /// As a shell says it.
    fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            Self::Unknown => 0,
        }
    }
}

fn until_ended(arguments: &Arguments, end: Option<Instant>) -> Result<ExitCode, Failure> {
    let registry = Registry::system();
    let mut all = Vec::with_capacity(arguments.names.len());
    for name in &arguments.names {
        let Machine { state, .. } = machines::machine(&registry, name)
            .map_err(|error| Failure::new(error, Some("see what runs with: redd list")))?;
        let supervised = state.supervised && state.supervisor.is_some();
        let process = if supervised { state.supervisor.as_ref().unwrap_or(&state.leader) } else { &state.leader };
        let process = process.open_in_this_boot();
        let process = process.ok_or_else(|| Failure::new(Error::NoSuchMachine(name.clone()), None))?;
        all.push(Waited { name: name.clone(), process, supervised, ended: None });
    }
    while all.iter().any(|one| one.ended.is_none()) {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            let names: Vec<&str> = all.iter().filter(|one| one.ended.is_none()).map(|one| one.name.as_str()).collect();
            return Err(timed_out(&names, "has not ended"));
        }
        for index in ready(&all, left)? {
            all[index].ended = Some(how_it_ended(&all[index]));
            if !arguments.quiet && !form::print(&told(&all[index], &arguments.form))? {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    let codes = all.iter().filter_map(|one| one.ended).map(Ended::code);
    Ok(ExitCode::from(codes.into_iter().find(|code| *code != 0).unwrap_or(0)))
}

/// Those that have just ended.
fn ready(all: &[Waited], left: Option<Duration>) -> Result<Vec<usize>, Failure> {
    let waiting: Vec<usize> = (0..all.len()).filter(|index| all[*index].ended.is_none()).collect();
    let mut polled: Vec<PollFd<'_>> =
        waiting.iter().map(|index| PollFd::new(&all[*index].process, PollFlags::IN)).collect();
    let left = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    match poll(&mut polled, left.as_ref()) {
        Err(rustix::io::Errno::INTR) => Ok(Vec::new()),
        Err(errno) => Err(Failure::new(anyhow::Error::from(errno).context("cannot wait"), None)),
        Ok(_) => {
            let done = waiting.iter().zip(&polled).filter(|(_, one)| !one.revents().is_empty());
            Ok(done.map(|(index, _)| *index).collect())
        }
    }
}

fn how_it_ended(one: &Waited) -> Ended {
    let patience = Instant::now() + FETCHED_WITHIN;
    let status = loop {
        match sys::pidfd::exit_status(one.process.as_fd()) {
            Ok(None) if Instant::now() < patience => std::thread::sleep(Duration::from_millis(2)),
            Ok(status) => break status,
            Err(_) => break None,
        }
    };
    let ended = Ended::from_status(status);
    if ended == Ended::Unknown {
        warn(&anyhow!("how {} ended is not known: the kernel tells since Linux 6.15", one.name));
    }
    ended
}

fn told(one: &Waited, form: &Form) -> String {
    let ended = one.ended.unwrap_or(Ended::Unknown);
    let (code, signal) = match ended {
        Ended::Code(code) => (Some(code), None),
        Ended::Signal(signal) => (None, Some(signal)),
        Ended::Unknown => (None, None),
    };
    if let Some(text) = form.as_json(&json!({ "machine": one.name, "exitCode": code, "signal": signal })) {
        return text;
    }
    let whose = if one.supervised { "its supervisor was" } else { "it was" };
    match ended {
        Ended::Code(code) => format!("{} has ended with code {code}.\n", one.name),
        Ended::Signal(signal) => format!("{} has ended: {whose} killed by signal {signal}.\n", one.name),
        Ended::Unknown => format!("{} has ended.\n", one.name),
    }
}

fn timed_out(names: &[&str], what: &str) -> Failure {
    Failure::new(anyhow!("the time is over and {} {what}", names.join(", ")), None).with_code(TIMED_OUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_of_waitpid() {
        assert_eq!(Ended::from_status(Some(0x700)), Ended::Code(7));
        assert_eq!(Ended::from_status(Some(9)), Ended::Signal(9));
        assert_eq!(Ended::from_status(Some(0x8b)).code(), 139);
        assert_eq!(Ended::from_status(None).code(), 0);
    }

    #[test]
    fn times() {
        assert_eq!(seconds("1.5"), Ok(Duration::from_millis(1500)));
        assert!(seconds("-1").is_err() && seconds("x").is_err() && seconds("NaN").is_err());
    }
}
