//! A machine that is steered: by its supervisor where that is ours, else directly, by its processes and control group.

use std::os::fd::AsFd;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::Value;

use super::protocol::{Call, INTERFACE, SERVICE, Whom};
use crate::group::{self, Freezer, Group};
use crate::init::{self, Wish};
use crate::registry::Machine;
use crate::state::{State, VERSION};
use crate::{Process, Registry};

/// How long a supervisor may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a supervisor may have too many connections.
const UNTIL_IT_HAS_TIME: Duration = Duration::from_secs(2);
/// How long an init system may take until it can be asked, where we ask it ourselves.
const UNTIL_IT_HEARS: Duration = Duration::from_secs(30);
/// How long stopping all processes where they are may take.
const UNTIL_FROZEN: Duration = Duration::from_secs(5);
/// How often something is looked at that nobody tells of.
const AGAIN: Duration = Duration::from_millis(5);

/// Why a machine was not steered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither root nor its owner.
    #[error("only root and the owner of {0} may do that")]
    NotPermitted(String),
    /// Its supervisor has too many connections.
    #[error("too many programs talk to the supervisor of {0}")]
    Busy(String),
    /// There is none to resize.
    #[error("{0} has no console")]
    NoConsole(String),
    /// Nobody in it could be asked.
    #[error("{machine} runs {program}, which is no init system that can be asked for that")]
    NoInit {
        /// Which machine.
        machine: String,
        /// Its process 1.
        program: String,
    },
    /// It is about to end.
    #[error("{0} is about to end")]
    Stopping(String),
    /// It has ended meanwhile.
    #[error("{0} has ended")]
    Ended(String),
    /// It runs in no control group of its own, as far as is known.
    #[error("no control group of {0} is known")]
    NoGroup(String),
    /// Nobody is known who looks after it.
    #[error("no supervisor of {0} is known")]
    NoSupervisor(String),
    /// The host's kernel cannot do it.
    #[error("not supported for {machine}: {reason}")]
    NotSupported {
        /// Which machine.
        machine: String,
        /// Why.
        reason: String,
    },
    /// It took too long.
    #[error("{machine} did not {what} in time")]
    TimedOut {
        /// Which machine.
        machine: String,
        /// Do what.
        what: &'static str,
    },
    /// The host's kernel refused.
    #[error("cannot {what} {machine}")]
    System {
        /// Which machine.
        machine: String,
        /// What was tried.
        what: String,
        /// Why.
        source: Errno,
    },
    /// It knows other calls than we do, or says more than we know.
    #[error("the supervisor of {0} is of another version of redd, which this one cannot ask for that")]
    OtherVersion(String),
    /// The supervisor could not be talked to, or gave an answer that nobody expects.
    #[error("cannot talk to the supervisor of {machine}")]
    Talk {
        /// Which machine.
        machine: String,
        /// Why.
        source: bus::varlink::Error,
    },
}

/// What a supervisor says of its machine.
#[derive(Clone, Debug)]
pub struct Described {
    /// As in the registry.
    pub state: State,
    /// All processes are stopped where they are.
    pub paused: bool,
    /// It was asked to end.
    pub stopping: bool,
}

/// Who was asked to power off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is called by people: an init system, or a program.
    pub init: String,
    /// After this time its supervisor ends it; absent where nobody does.
    pub timeout: Option<Duration>,
}

/// A machine that is steered.
#[derive(Debug)]
pub struct Client {
    state: State,
    /// Where its supervisor listens.
    control: Option<PathBuf>,
}

impl Client {
    /// For this machine. Nothing is connected before it is needed.
    #[must_use]
    pub fn of(machine: &Machine) -> Self {
        Self { control: machine.control(), state: machine.state.clone() }
    }

    /// What the registry says of it.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Asks the supervisor what it knows; `None` for machines that others run.
    ///
    /// # Errors
    /// [`Error::Talk`], [`Error::Busy`], [`Error::OtherVersion`].
    pub fn describe(&self) -> Result<Option<Described>, Error> {
        let Some(answer) = self.call(&Call::Describe)? else { return Ok(None) };
        if answer.get("version").and_then(Value::as_u64).is_some_and(|version| version > u64::from(VERSION)) {
            return Err(Error::OtherVersion(self.name()));
        }
        let flag = |name| answer.get(name).and_then(Value::as_bool).unwrap_or(false);
        let state = answer.get("state").cloned().unwrap_or_default();
        let Ok(state) = serde_json::from_value(state) else {
            return Err(self.talk(bus::varlink::Error::Malformed));
        };
        Ok(Some(Described { state, paused: flag("paused"), stopping: flag("stopping") }))
    }

    /// Sends a signal at once, whether somebody takes it or not.
    ///
    /// # Errors
    /// [`Error::NoGroup`] and [`Error::NoSupervisor`] where it is not known whom to send it to, [`Error::Ended`].
    pub fn kill(&self, whom: Whom, signal: i32) -> Result<(), Error> {
        if self.call(&Call::Kill { whom, signal })?.is_some() {
            return Ok(());
        }
        let failed = self.failed("signal");
        match whom {
            Whom::Leader => self.signal(&self.state.leader, signal),
            Whom::Supervisor => {
                let supervisor = self.state.supervisor.as_ref();
                let supervisor = supervisor.ok_or_else(|| Error::NoSupervisor(self.name()))?;
                self.signal(supervisor, signal)
            }
            Whom::All => self.group()?.signal(signal).map_err(failed),
        }
    }

    /// Kills all its processes at once.
    ///
    /// # Errors
    /// [`Error::NotPermitted`]; that its supervisor does not answer is none for root: it is ended nevertheless.
    pub fn terminate(&self) -> Result<(), Error> {
        match self.call(&Call::Terminate) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) | Err(Error::Busy(_) | Error::Talk { .. } | Error::OtherVersion(_)) => {}
            Err(error) => return Err(error),
        }
        // With the first process of its PID namespace the kernel ends all of them.
        let ended = self.signal(&self.state.leader, Signal::KILL.as_raw());
        match self.group() {
            Ok(group) => {
                let _ = group.signal(Signal::KILL.as_raw());
            }
            Err(Error::NoGroup(_) | Error::Ended(_)) => {}
            Err(error) => return Err(error),
        }
        match ended {
            Err(Error::Ended(_)) => Ok(()),
            other => other,
        }
    }

    /// Asks it to power off. Its supervisor sees to it that it does within this time, or 90 seconds.
    ///
    /// # Errors
    /// [`Error::NoInit`] where there is neither a supervisor of ours nor an init system that is known.
    pub fn power_off(&self, timeout: Option<Duration>) -> Result<Asked, Error> {
        if let Some(answer) = self.call(&Call::PowerOff { timeout })? {
            let init = answer.get("init").and_then(Value::as_str).unwrap_or("it").to_owned();
            let timeout = answer.get("timeoutUSec").and_then(Value::as_u64).map(Duration::from_micros);
            return Ok(Asked { init, timeout });
        }
        Ok(Asked { init: self.ask(Wish::PowerOff)?, timeout: None })
    }

    /// Asks it to reboot; tells who is asked.
    ///
    /// # Errors
    /// [`Error::NoInit`] where nobody is there that could.
    pub fn reboot(&self) -> Result<String, Error> {
        if let Some(answer) = self.call(&Call::Reboot)? {
            return Ok(answer.get("init").and_then(Value::as_str).unwrap_or("it").to_owned());
        }
        self.ask(Wish::Reboot)
    }

    /// Stops all its processes where they are, and waits until they are.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where one cannot be stopped now; it is stopped later.
    pub fn pause(&self) -> Result<(), Error> {
        let ours = self.call(&Call::Pause)?.is_some();
        let group = if ours { None } else { Some(self.freezer()?) };
        if let Some(group) = &group {
            group.freeze(true).map_err(self.failed("pause"))?;
        }
        let end = Instant::now() + UNTIL_FROZEN;
        loop {
            let frozen = match &group {
                None => self.describe()?.is_some_and(|described| described.paused),
                Some(group) => group.is_frozen().map_err(self.failed("pause"))?,
            };
            if frozen {
                return Ok(());
            }
            if Instant::now() >= end {
                return Err(Error::TimedOut { machine: self.name(), what: "stop" });
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// Those of the supervisor or the system calls.
    pub fn resume(&self) -> Result<(), Error> {
        if self.call(&Call::Resume)?.is_none() {
            self.freezer()?.freeze(false).map_err(self.failed("resume"))?;
        }
        Ok(())
    }

    /// Gives its console another size, in characters.
    ///
    /// # Errors
    /// [`Error::NoConsole`], also for machines that others run.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<(), Error> {
        match self.call(&Call::Resize { columns, rows })? {
            Some(_) => Ok(()),
            None => Err(Error::NoConsole(self.name())),
        }
    }

    /// The processes that are in it, by their numbers and names.
    ///
    /// # Errors
    /// [`Error::NoGroup`], [`Error::Ended`].
    pub fn processes(&self) -> Result<Vec<(i32, String)>, Error> {
        let numbers = self.group()?.processes().map_err(self.failed("look into"))?;
        Ok(numbers.into_iter().map(|pid| (pid, init::name_of(pid))).collect())
    }

    /// Whether it has ended: it is not in the registry any more, or is another one there.
    ///
    /// # Errors
    /// Those of the registry.
    pub fn has_ended(&self, registry: &Registry) -> Result<bool, crate::registry::Error> {
        match registry.find(&self.state.name) {
            Ok(machine) if self.state.supervised => Ok(machine.state.supervisor != self.state.supervisor),
            Ok(machine) => Ok(machine.state.leader != self.state.leader),
            Err(crate::registry::Error::NoSuchMachine(_)) => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn name(&self) -> String {
        self.state.name.clone()
    }

    fn failed(&self, what: &'static str) -> impl Fn(Errno) -> Error {
        let machine = self.name();
        move |source| match source {
            Errno::SRCH | Errno::NOENT | Errno::NODEV => Error::Ended(machine.clone()),
            Errno::PERM | Errno::ACCESS => Error::NotPermitted(machine.clone()),
            source => Error::System { machine: machine.clone(), what: what.to_owned(), source },
        }
    }

    fn talk(&self, source: bus::varlink::Error) -> Error {
        Error::Talk { machine: self.name(), source }
    }

    /// `None` where there is no supervisor of ours that could be called. One with many connections is called again for a
    /// while.
    fn call(&self, call: &Call) -> Result<Option<Value>, Error> {
        let end = Instant::now() + UNTIL_IT_HAS_TIME;
        loop {
            match self.call_once(call) {
                Err(Error::Busy(_)) if Instant::now() < end => std::thread::sleep(AGAIN),
                other => return other,
            }
        }
    }

    fn call_once(&self, call: &Call) -> Result<Option<Value>, Error> {
        use bus::varlink;
        let Some(path) = &self.control else { return Ok(None) };
        let connected = varlink::Client::connect(path);
        let client = match connected {
            Ok(client) => client.patient_for(PATIENCE),
            // It was started by a redd that had none, or it ends just now.
            Err(varlink::Error::System { source: Errno::NOENT | Errno::CONNREFUSED, .. }) => {
                return if self.supervisor_lives() { Ok(None) } else { Err(Error::Ended(self.name())) };
            }
            Err(source) => return Err(self.talk(source)),
        };
        let (method, parameters) = call.written();
        match client.call(&method, parameters, &[]) {
            Ok(answer) => Ok(Some(answer)),
            Err(varlink::Error::Call { name, parameters }) => Err(self.refused(name, parameters)),
            // It lets go of its socket with the rest.
            Err(varlink::Error::Closed) if !path.exists() || !self.supervisor_lives() => Err(Error::Ended(self.name())),
            Err(source) => Err(self.talk(source)),
        }
    }

    fn supervisor_lives(&self) -> bool {
        self.state.supervisor.as_ref().is_some_and(Process::lives)
    }

    fn refused(&self, name: String, parameters: Value) -> Error {
        let machine = self.name();
        let text = |field: &str| parameters.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some("MethodNotFound" | "MethodNotImplemented" | "InterfaceNotFound") =
            name.strip_prefix(SERVICE).and_then(|rest| rest.strip_prefix('.'))
        {
            return Error::OtherVersion(machine);
        }
        match name.strip_prefix(INTERFACE).and_then(|rest| rest.strip_prefix('.')) {
            Some("NotPermitted") => Error::NotPermitted(machine),
            Some("Busy") => Error::Busy(machine),
            Some("NoConsole") => Error::NoConsole(machine),
            Some("NoInit") => Error::NoInit { machine, program: text("program") },
            Some("Stopping") => Error::Stopping(machine),
            Some("NotSupported") => Error::NotSupported { machine, reason: text("reason") },
            Some("SystemError") => {
                let number =
                    parameters.get("errno").and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok());
                let source = number.map_or(Errno::IO, Errno::from_raw_os_error);
                Error::System { machine, what: text("what"), source }
            }
            _ => self.talk(bus::varlink::Error::Call { name, parameters }),
        }
    }

    fn signal(&self, process: &Process, signal: i32) -> Result<(), Error> {
        let held = process.open_in_this_boot().ok_or_else(|| Error::Ended(self.name()))?;
        sys::signal::send(held.as_fd(), signal).map_err(self.failed("signal"))
    }

    /// Asks the init system ourselves, as soon as it can hear.
    fn ask(&self, wish: Wish) -> Result<String, Error> {
        let failed = self.failed("ask");
        let end = Instant::now() + UNTIL_IT_HEARS;
        loop {
            let process = self.state.leader.open_in_this_boot().ok_or_else(|| Error::Ended(self.name()))?;
            match init::ask_in_time(wish, self.state.leader.pid, process) {
                None => return Err(Error::TimedOut { machine: self.name(), what: "show what it can be asked by" }),
                Some((program, None)) => return Err(Error::NoInit { machine: self.name(), program }),
                Some((name, Some(Ok(())))) => return Ok(name),
                Some((_, Some(Err(Errno::AGAIN)))) if Instant::now() < end => std::thread::sleep(AGAIN),
                Some((_, Some(Err(Errno::AGAIN)))) => {
                    return Err(Error::TimedOut { machine: self.name(), what: "become ready to be asked" });
                }
                Some((_, Some(Err(source)))) => return Err(failed(source)),
            }
        }
    }

    fn group(&self) -> Result<Group, Error> {
        let path = match &self.state.control_group {
            Some(path) => PathBuf::from(path),
            None => group::of_unit(&self.state).ok_or_else(|| Error::NoGroup(self.name()))?,
        };
        Group::open(&path).map_err(self.failed("look into"))
    }

    /// What freezes all of it, in either version of control groups.
    fn freezer(&self) -> Result<Freezer, Error> {
        match self.group() {
            Ok(group) if group.can_freeze() => return Ok(Freezer::Unified(group)),
            Ok(_) | Err(Error::NoGroup(_)) => {}
            Err(error) => return Err(error),
        }
        let pid = self.state.leader.pid;
        let held = self.state.leader.open_in_this_boot().ok_or_else(|| Error::Ended(self.name()))?;
        let read = |of: &str| std::fs::read_to_string(format!("/proc/{of}/cgroup")).unwrap_or_default();
        let path = frozen_apart(&read(&pid.to_string()), &read("self")).ok_or_else(|| Error::NoGroup(self.name()))?;
        drop(held);
        Freezer::v1(&path).map_err(self.failed("look into"))
    }
}

/// The group in the freezer's hierarchy of version 1 that a process is in, by its `/proc/PID/cgroup`, if it is not one that
/// we are in, too.
fn frozen_apart(theirs: &str, ours: &str) -> Option<PathBuf> {
    let path = |text: &str| {
        let line = text.lines().find_map(|line| line.split_once(":freezer:"));
        line.map(|(_, path)| PathBuf::from(path))
    };
    let theirs = path(theirs)?;
    let apart = !path(ours)?.starts_with(&theirs) && !theirs.components().any(|part| part == Component::ParentDir);
    apart.then(|| Path::new("/sys/fs/cgroup/freezer").join(theirs.strip_prefix("/").unwrap_or(&theirs)))
}

#[cfg(test)]
mod tests;
