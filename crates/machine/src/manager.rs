//! Sessions by the service manager inside of a machine, where that is systemd: logins (`container-getty@.service`) and shells
//! (transient services), each on a terminal of the machine's own. So they are what a login is there: with PAM, a session of the
//! login manager's and a control group, as `machinectl login` and `shell` have them.
//!
//! **Inside is hostile.** The manager is talked to through systemd-stdio-bridge(1) of the machine's own, which runs as any command
//! there does ([`join`]) with nothing of the host's but two pipes: wherever the sockets of inside lead to, we
//! connect to none of them. What comes back is bounded in size and time, and decides nothing but what is told about the session.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use bus::{Connection, Writer};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::entrance::{self, Entrance};
use crate::init::Init;
use crate::join::{self, Command, Running};
use crate::machines;
use crate::process::has_ended;
use crate::registry::Machine;
use crate::terminal::{self, Terminal, Watch};

mod service;

use service::{Afterwards, Service, Waits};

/// What carries our words to the manager, and where that listens.
const BRIDGE: [&str; 2] = ["systemd-stdio-bridge", "--bus-path=unix:path=/run/systemd/private"];
/// Where the host's listens, and what is there if it manages the host.
const PRIVATE: &str = "/run/systemd/private";
const BOOTED: &str = "/run/systemd/system";
/// How long the manager may take to listen, after the start of the machine.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a bridge may take to end when its words are closed, and how often that is looked at.
const UNTIL_CLOSED: Duration = Duration::from_millis(500);
const CLOSING: Duration = Duration::from_millis(2);
/// How often it is tried.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked whether a manager has given up.
const ATTEMPTS: u32 = 10;
/// Interface and properties of services.
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// The manager's own.
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
/// Exit codes of systemd's own (systemd.exec(5)): no such user, nothing to execute, and all of them.
const EXIT_USER: i32 = 217;
const EXIT_EXEC: i32 = 203;
const EXITS: std::ops::RangeInclusive<i32> = 200..=245;
/// Before this version the end of a start that waits for the program (`Type=exec`) is the end of the session where there is one
/// (`PAMName=`): the helper that holds the session holds the manager's pipe, too.
const WAITS_FOR_PROGRAMS: u32 = 256;
/// How long the program of such a manager's service may take, and how often that is looked at.
const UNTIL_EXECUTED: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(10);
/// `CLD_EXITED` of waitid(2).
const EXITED: i32 = 1;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way in.
    #[error(transparent)]
    Entrance(#[from] entrance::Error),
    /// The bridge cannot be run.
    #[error("cannot reach the service manager of the machine {machine}")]
    Bridge {
        /// Which.
        machine: String,
        /// Why.
        source: join::Error,
    },
    /// It says nothing, or nonsense.
    #[error("the service manager of the machine {machine} does not answer as it should")]
    Talk {
        /// Which.
        machine: String,
        /// Why.
        source: bus::Error,
    },
    /// It does not do it.
    #[error("the service manager of the machine {machine} does not start {unit}")]
    Refused {
        /// Which.
        machine: String,
        /// What was asked for.
        unit: String,
        /// Its words.
        source: bus::Error,
    },
    /// It tried.
    #[error("the service manager of the machine {machine} could not start {unit}: {result}")]
    Failed {
        /// Which.
        machine: String,
        /// What was asked for.
        unit: String,
        /// The job's result in its words.
        result: String,
    },
    /// The user.
    #[error("the machine {machine} has no user {user}")]
    NoSuchUser {
        /// Which.
        machine: String,
        /// Who was asked for.
        user: String,
    },
    /// The program.
    #[error("cannot run {0} (no such program in the machine)")]
    NoProgram(String),
    /// A terminal of the machine's own.
    #[error(transparent)]
    Terminal(#[from] terminal::Error),
    /// The service manager searches for nothing.
    #[error("{0} is no absolute path of a program in the machine")]
    NotAbsolute(String),
    /// A word that no D-Bus message can have.
    #[error("{} is not UTF-8, which the service manager cannot be told", .0.display())]
    NotText(OsString),
}

/// A connection to the manager, through the bridge that ends with it.
#[derive(Debug)]
struct Manager {
    machine: String,
    connection: Connection,
    /// After the connection, whose end is its own.
    _bridge: Option<Bridge>,
}

/// The program that carries our words. It is waited for: one that has ended is still a process of the machine's otherwise, and whoever
/// shuts that down waits for all of them.
#[derive(Debug)]
struct Bridge(Running);

impl Drop for Bridge {
    fn drop(&mut self) {
        // What it reads from is closed.
        (self.0.input, self.0.output, self.0.errors) = (None, None, None);
        let end = Instant::now() + UNTIL_CLOSED;
        while !has_ended(&self.0.pidfd) && Instant::now() < end {
            std::thread::sleep(CLOSING);
        }
        // It may be of the machine's own making, and not end by itself. One that has ended takes no signal, and is no other process.
        let _ = sys::signal::send(self.0.pidfd.as_fd(), rustix::process::Signal::KILL.as_raw());
        let _ = self.0.wait();
    }
}

/// A session that runs.
#[derive(Debug)]
pub struct Session {
    manager: Manager,
    /// The machine's first process.
    pub leader: OwnedFd,
    /// Our end of the session's terminal.
    pub master: OwnedFd,
    unit: String,
    /// The object of that.
    path: String,
    /// A transient service, which stays until it is dismissed.
    transient: bool,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    Runs,
    /// It has ended, with this.
    Ended(join::End),
}

/// Whether the machine's first process is systemd, as soon as that is its program.
///
/// # Errors
/// An [`entrance::Error`] where it ends before.
pub fn manages(machine: &Machine) -> Result<bool, entrance::Error> {
    let state = entrance::await_program(machine)?.state;
    Ok(Init::is_systemd(state.leader.pid))
}

/// Whose service manager is asked.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// This host's own: where [`manages_host`].
    Host,
    /// That of a machine.
    Machine(&'a Machine),
}

/// Whether systemd manages this host (sd_booted(3)).
#[must_use]
pub fn manages_host() -> bool {
    rustix::fs::lstat(BOOTED).is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_dir())
}

/// A login on a terminal of its own, as `machinectl login` has it.
///
/// # Errors
/// An [`Error`].
pub fn login(machine: &Machine) -> Result<Session, Error> {
    let (mut manager, entrance, terminal) = prepare(machine)?;
    let unit = manager.start_login(terminal.number)?;
    manager.session(entrance.leader, terminal, unit, false)
}

/// A login that nobody holds from here on: it ends when the terminal's last holder lets go of it. What is left of it then is for
/// [`forget_login`].
///
/// # Errors
/// An [`Error`].
pub fn open_login(place: Place<'_>) -> Result<(Terminal, Watch), Error> {
    let (mut manager, entrance, terminal) = prepare_for(place)?;
    let watch = Watch::of(entrance, terminal.number)?;
    manager.start_login(terminal.number)?;
    Ok((terminal, watch))
}

/// Waits until the terminal of a login is gone, and lets the manager forget that: it starts logins again, on terminals that are not
/// there any more, until it gives up and counts them among what has failed. One that does not listen is about to end. A login that has come to the same number meanwhile is left
/// alone.
///
/// # Errors
/// An [`Error`].
pub fn forget_login(place: Place<'_>, watch: &Watch) -> Result<(), Error> {
    if !watch.await_end() || watch.pause() {
        return Ok(());
    }
    let (mut manager, _) = place.manager(Duration::ZERO)?;
    let unit = login_unit(watch.number());
    for _ in 0..ATTEMPTS {
        let state = manager.state(&unit).map_err(|source| manager.talk(source))?;
        if state == "failed" {
            return manager.reset(&unit).map_err(|source| manager.talk(source));
        }
        if state == "inactive" || watch.is_there() || watch.pause() {
            return Ok(());
        }
    }
    Ok(())
}

fn login_unit(number: u32) -> String {
    format!("container-getty@{number}.service")
}

/// A shell, or another command, that nobody looks after from here on: when the terminal's last holder lets go of it, it is
/// hung up. Nothing of it is left in the service manager.
///
/// # Errors
/// An [`Error`].
pub fn open_shell(place: Place<'_>, command: &Command) -> Result<Terminal, Error> {
    let service = Service::of(command)?;
    let (mut manager, _, terminal) = prepare_for(place)?;
    manager.start_shell(&service, &terminal, Afterwards::Forgotten)?;
    Ok(terminal)
}

/// A shell, or another command, of a user on a terminal of its own, as `machinectl shell` has it.
///
/// # Errors
/// An [`Error`].
pub fn shell(machine: &Machine, command: &Command) -> Result<Session, Error> {
    let service = Service::of(command)?;
    let (mut manager, entrance, terminal) = prepare(machine)?;
    let unit = manager.start_shell(&service, &terminal, Afterwards::Kept)?;
    manager.session(entrance.leader, terminal, unit, true)
}

impl Session {
    /// Whether the machine ends within a moment, which is why its service manager may not have answered.
    #[must_use]
    pub fn machine_ends(self) -> bool {
        let Self { manager, leader, .. } = self;
        // It has nothing to say any more, and whoever shuts the machine down waits for its bridge.
        drop(manager);
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if has_ended(&leader) {
                return true;
            }
            std::thread::sleep(PAUSE);
        }
        false
    }

    /// How far it is. Asked for while nobody has its terminal open.
    ///
    /// # Errors
    /// [`Error::Talk`].
    pub fn progress(&mut self) -> Result<Progress, Error> {
        let Self { manager, path, .. } = self;
        let state = match bus::manager::property(&mut manager.connection, path, (UNIT, "SubState"), |value| {
            value.string_variant().map(str::to_owned)
        }) {
            Ok(state) => state,
            // It has gone already.
            Err(bus::Error::Call { .. }) => return Ok(Progress::Ended(join::End::Exited(0))),
            Err(source) => return Err(manager.talk(source)),
        };
        if !matches!(state.as_str(), "exited" | "failed" | "dead") {
            return Ok(Progress::Runs);
        }
        if !self.transient {
            return Ok(Progress::Ended(join::End::Exited(0)));
        }
        let end = match manager.exit(path).map_err(|source| manager.talk(source))? {
            Some((EXITED, code)) => join::End::Exited(code),
            Some((_, signal)) => join::End::Killed(signal),
            None => join::End::Exited(0),
        };
        Ok(Progress::Ended(end))
    }

    /// Ends it, if it has not ended, and lets the manager forget it.
    ///
    /// # Errors
    /// [`Error::Talk`].
    pub fn dismiss(mut self) -> Result<(), Error> {
        if !has_ended(&self.leader) {
            let Self { manager, unit, .. } = &mut self;
            manager.dismiss(unit).map_err(|source| manager.talk(source))?;
        }
        Ok(())
    }
}

impl Manager {
    /// That of this host, by its own socket. It is trusted as the host is.
    fn of_host() -> Result<Self, Error> {
        let machine = machines::HOST.to_owned();
        match Connection::open(Path::new(PRIVATE)) {
            Ok(connection) => Ok(Self { machine, connection, _bridge: None }),
            Err(source) => Err(Error::Talk { machine, source }),
        }
    }

    /// Waits for it for so long where it does not listen: it may have just started.
    fn of(machine: &Machine, leader: &OwnedFd, patience: Duration) -> Result<Self, Error> {
        let name = &machine.state.name;
        let until = Instant::now() + patience;
        let command = Command { arguments: BRIDGE.map(OsString::from).to_vec(), ..Command::default() };
        loop {
            let bridge = |source| Error::Bridge { machine: name.clone(), source };
            let mut running = Bridge(join::spawn(machine, &command).map_err(bridge)?);
            let ends = (running.0.output.take(), running.0.input.take());
            let (Some(reader), Some(writer)) = ends else {
                return Err(bridge(join::Error::System("talk to the command", Errno::BADF)));
            };
            match Connection::over_pipes(reader, writer) {
                Ok(connection) => return Ok(Self { machine: name.clone(), connection, _bridge: Some(running) }),
                // The bridge ends at once where nobody listens yet.
                Err(bus::Error::Closed) if Instant::now() < until && !has_ended(leader) => std::thread::sleep(PAUSE),
                Err(_) if has_ended(leader) => return Err(entrance::Error::Ended(name.clone()).into()),
                Err(source) => return Err(Error::Talk { machine: name.clone(), source }),
            }
        }
    }

    fn talk(&self, source: bus::Error) -> Error {
        Error::Talk { machine: self.machine.clone(), source }
    }

    /// A login prompt on the terminal of this number: its unit.
    fn start_login(&mut self, number: u32) -> Result<String, Error> {
        let unit = login_unit(number);
        // The number is ours alone now: what has failed there does so no more, and what is started again there ends.
        self.dismiss(&unit).map_err(|source| self.talk(source))?;
        let mut body = Writer::default();
        body.string(&unit);
        body.string("replace");
        let job = bus::manager::object(&mut self.connection, "StartUnit", "ss", body);
        self.await_job(&unit, job)?;
        Ok(unit)
    }

    /// A transient service on this terminal: its unit.
    fn start_shell(&mut self, service: &Service, terminal: &Terminal, after: Afterwards) -> Result<String, Error> {
        let unit = format!("container-shell@{}.service", terminal.number);
        // A login that was left at this number a moment ago is started again until the manager gives up: it would take this terminal.
        self.dismiss(&login_unit(terminal.number)).map_err(|source| self.talk(source))?;
        let waits = self.waits().map_err(|source| self.talk(source))?;
        let properties = service.on_terminal(&terminal.path(), after, waits);
        let ask = |manager: &mut Self| {
            let mut body = Writer::default();
            body.string(&unit);
            body.string("fail");
            body.properties(&properties);
            // No further units.
            body.array(8, |_| {});
            bus::manager::object(&mut manager.connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        };
        let job = match ask(self) {
            // The number is ours alone now: that of one whose client was killed before it could dismiss it.
            Err(bus::Error::Call { name, .. }) if name == "org.freedesktop.systemd1.UnitExists" => {
                self.dismiss(&unit).map_err(|source| self.talk(source))?;
                ask(self)
            }
            other => other,
        };
        let job = self.accepted(&unit, job)?;
        let heard = bus::manager::result_of_start(&mut self.connection, &job, &unit);
        let (result, mut exit) = heard.map_err(|source| self.talk(source))?;
        if waits == Waits::ForNothing && exit.is_none() {
            exit = self.await_program(&unit, terminal).map_err(|source| self.talk(source))?;
        }
        let failure = match exit {
            Some((EXITED, EXIT_USER)) => {
                Error::NoSuchUser { machine: self.machine.clone(), user: service.user.clone() }
            }
            Some((EXITED, EXIT_EXEC)) => Error::NoProgram(service.program.clone()),
            Some((EXITED, code)) if EXITS.contains(&code) && result != "done" => {
                self.failed(&unit, format!("{result}, with systemd's exit code {code}"))
            }
            // It has run, if only for a moment.
            Some(_) => return Ok(unit),
            None if result == "done" => return Ok(unit),
            None => self.failed(&unit, result),
        };
        // What keeps it from being forgotten is of no interest beside this.
        let _ = self.dismiss(&unit);
        Err(failure)
    }

    /// Waits in place of the manager until the program is executed: who takes the terminal is named in parentheses before that. How it
    /// has ended, if it has.
    fn await_program(&mut self, unit: &str, terminal: &Terminal) -> Result<Option<bus::manager::Exit>, bus::Error> {
        let until = Instant::now() + UNTIL_EXECUTED;
        while Instant::now() < until {
            let exit = bus::manager::exit_until(&mut self.connection, unit, Instant::now() + LOOK)?;
            if exit.is_some() || terminal.owner().is_some_and(|name| !name.starts_with('(')) {
                return Ok(exit);
            }
        }
        Ok(None)
    }

    /// Whether it can be had to wait for the program of a service.
    fn waits(&mut self) -> Result<Waits, bus::Error> {
        let read = |value: &mut bus::Reader<'_>| value.string_variant().map(str::to_owned);
        let version = bus::manager::property(&mut self.connection, MANAGER_PATH, (MANAGER, "Version"), read)?;
        Ok(if major(&version).is_some_and(|major| major < WAITS_FOR_PROGRAMS) {
            Waits::ForNothing
        } else {
            Waits::ForPrograms
        })
    }

    fn failed(&self, unit: &str, result: String) -> Error {
        Error::Failed { machine: self.machine.clone(), unit: unit.to_owned(), result }
    }

    /// A job that was asked for.
    fn accepted(&self, unit: &str, job: Result<String, bus::Error>) -> Result<String, Error> {
        job.map_err(|source| match source {
            source @ bus::Error::Call { .. } => {
                Error::Refused { machine: self.machine.clone(), unit: unit.to_owned(), source }
            }
            source => self.talk(source),
        })
    }

    fn await_job(&mut self, unit: &str, job: Result<String, bus::Error>) -> Result<(), Error> {
        let job = self.accepted(unit, job)?;
        let result = bus::manager::result_of(&mut self.connection, &job).map_err(|source| self.talk(source))?;
        if result == "done" { Ok(()) } else { Err(self.failed(unit, result)) }
    }

    fn session(mut self, leader: OwnedFd, terminal: Terminal, unit: String, transient: bool) -> Result<Session, Error> {
        let path = self.path(&unit).map_err(|source| self.talk(source))?;
        Ok(Session { manager: self, leader, master: terminal.master, unit, path, transient })
    }

    fn path(&mut self, unit: &str) -> Result<String, bus::Error> {
        let mut body = Writer::default();
        body.string(unit);
        bus::manager::object(&mut self.connection, "GetUnit", "s", body)
    }

    /// How the main process of a service has ended: code and status as waitid(2) has them.
    fn exit(&mut self, path: &str) -> Result<Option<(i32, i32)>, bus::Error> {
        let mut read =
            |name| bus::manager::property(&mut self.connection, path, (SERVICE, name), |value| value.i32_variant());
        let (code, status) = (read("ExecMainCode")?, read("ExecMainStatus")?);
        Ok((code != 0).then_some((code, status)))
    }

    /// In which state a unit is: `inactive` where it is not known.
    fn state(&mut self, unit: &str) -> Result<String, bus::Error> {
        let path = match self.path(unit) {
            Err(bus::Error::Call { .. }) => return Ok("inactive".to_owned()),
            other => other?,
        };
        let read = |value: &mut bus::Reader<'_>| value.string_variant().map(str::to_owned);
        bus::manager::property(&mut self.connection, &path, (UNIT, "ActiveState"), read)
    }

    /// Lets go of how a unit has ended. One that is not there is no error, and one that runs goes on.
    fn reset(&mut self, unit: &str) -> Result<(), bus::Error> {
        let mut body = Writer::default();
        body.string(unit);
        match bus::manager::call(&mut self.connection, "ResetFailedUnit", "s", body) {
            Err(bus::Error::Call { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Stops a unit and lets go of how it has ended. One that is not there is no error.
    fn dismiss(&mut self, unit: &str) -> Result<(), bus::Error> {
        let mut body = Writer::default();
        [unit, "replace"].iter().for_each(|word| body.string(word));
        match bus::manager::object(&mut self.connection, "StopUnit", "ss", body) {
            Err(bus::Error::Call { .. }) => {}
            job => drop(bus::manager::result_of(&mut self.connection, &job?)?),
        }
        self.reset(unit)
    }
}

impl Place<'_> {
    /// Its manager, and the way in where it is a machine.
    fn manager(self, patience: Duration) -> Result<(Manager, Option<Entrance>), Error> {
        match self {
            Self::Host => Ok((Manager::of_host()?, None)),
            Self::Machine(machine) => {
                let entrance = Entrance::of(&machine.state)?;
                Ok((Manager::of(machine, &entrance.leader, patience)?, Some(entrance)))
            }
        }
    }
}

/// The manager, the way in, and a terminal that it can see.
fn prepare_for(place: Place<'_>) -> Result<(Manager, Option<Entrance>, Terminal), Error> {
    let (manager, entrance) = place.manager(PATIENCE)?;
    let terminal = match &entrance {
        Some(entrance) => Terminal::in_machine(entrance)?,
        None => Terminal::on_host()?,
    };
    Ok((manager, entrance, terminal))
}

/// The manager, the way in, and a terminal.
fn prepare(machine: &Machine) -> Result<(Manager, Entrance, Terminal), Error> {
    let entrance = Entrance::of(&machine.state)?;
    let manager = Manager::of(machine, &entrance.leader, PATIENCE)?;
    let terminal = Terminal::in_machine(&entrance)?;
    Ok((manager, entrance, terminal))
}

/// The number that a version of systemd begins with, such as `252.39-1~deb12u2` or `v260-rc1`.
fn major(version: &str) -> Option<u32> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let end = version.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(version.len());
    version[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let all = ["252.39-1~deb12u2", "262", "v260-rc1", "systemd", "", "99999999999"].map(major);
        assert_eq!(all, [Some(252), Some(262), Some(260), None, None, None]);
    }
}
