//! Sessions by the service manager inside of a machine, where that is systemd: logins (`container-getty@.service`) and shells
//! (transient services), each on a terminal of the machine's own. So they are what a login is there: with PAM, a session of the
//! login manager's and a control group, as `machinectl login` and `shell` have them.
//!
//! **Inside is hostile.** The manager is talked to through systemd-stdio-bridge(1) of the machine's own, which runs as any command
//! there does ([`join`]) with nothing of the host's but two pipes: wherever the sockets of inside lead to, we
//! connect to none of them. What comes back is bounded in size and time, and decides nothing but what is told about the session.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use bus::{Connection, Value, Writer};
use rustix::fs::FileType;
use rustix::io::Errno;

use crate::entrance::{self, Entrance};
use crate::init::Init;
use crate::join::{self, Command, Running};
use crate::machines;
use crate::process::has_ended;
use crate::registry::Machine;
use crate::terminal::{self, Terminal, Watch};

/// What carries our words to the manager, and where that listens.
const BRIDGE: [&str; 2] = ["systemd-stdio-bridge", "--bus-path=unix:path=/run/systemd/private"];
/// Where the host's listens, and what is there if it manages the host.
const PRIVATE: &str = "/run/systemd/private";
const BOOTED: &str = "/run/systemd/system";
/// How long the manager may take to listen, after the start of the machine.
const PATIENCE: Duration = Duration::from_secs(25);
/// How often it is tried.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked whether a manager has given up.
const ATTEMPTS: u32 = 10;
/// Interface and properties of services.
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
/// Exit codes of systemd's own: no such user, nothing to execute (systemd.exec(5)).
const EXIT_USER: i32 = 217;
const EXIT_EXEC: i32 = 203;
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
    /// Waited for by nobody: it ends with us at the latest.
    _bridge: Option<Running>,
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
    Ok(Init::of(state.leader.pid) == Some(Init::Systemd))
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
    let (mut manager, leader, terminal) = prepare(machine)?;
    let unit = manager.start_login(terminal.number)?;
    manager.session(leader, terminal, unit, false)
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
/// there any more, until it gives up and counts them among what has failed. A login that has come to the same number meanwhile is left
/// alone.
///
/// # Errors
/// An [`Error`].
pub fn forget_login(place: Place<'_>, watch: &Watch) -> Result<(), Error> {
    if !watch.await_end() || watch.pause() {
        return Ok(());
    }
    let (mut manager, _) = place.manager()?;
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
    let unit = format!("container-shell@{}.service", terminal.number);
    match manager.start_shell(&service, &unit, terminal.number, Afterwards::Forgotten) {
        Ok(()) => Ok(terminal),
        // What is forgotten cannot be asked why: it is tried again as one that can.
        Err(Error::Failed { .. }) => match manager.start_shell(&service, &unit, terminal.number, Afterwards::Kept) {
            Ok(()) => {
                let again = manager.dismiss(&unit);
                again.map_err(|source| manager.talk(source))?;
                let result = "it did not start at first".to_owned();
                Err(Error::Failed { machine: manager.machine, unit, result })
            }
            Err(error) => Err(manager.reason(&service, &unit, error)),
        },
        Err(error) => Err(error),
    }
}

/// A shell, or another command, of a user on a terminal of its own, as `machinectl shell` has it.
///
/// # Errors
/// An [`Error`].
pub fn shell(machine: &Machine, command: &Command) -> Result<Session, Error> {
    let service = Service::of(command)?;
    let (mut manager, leader, terminal) = prepare(machine)?;
    let unit = format!("container-shell@{}.service", terminal.number);
    match manager.start_shell(&service, &unit, terminal.number, Afterwards::Kept) {
        Ok(()) => manager.session(leader, terminal, unit, true),
        Err(error) => Err(manager.reason(&service, &unit, error)),
    }
}

impl Session {
    /// Whether the machine ends within a moment, which is why its service manager may not have answered.
    #[must_use]
    pub fn machine_ends(&self) -> bool {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if has_ended(&self.leader) {
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

/// What becomes of a service that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Afterwards {
    /// It stays until it is dismissed, so that its exit code can be asked for.
    Kept,
    /// Its manager lets go of it, however it has ended.
    Forgotten,
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

    /// Waits for it where the machine has just started.
    fn of(machine: &Machine, leader: &OwnedFd) -> Result<Self, Error> {
        let name = &machine.state.name;
        let until = Instant::now() + PATIENCE;
        let command = Command { arguments: BRIDGE.map(OsString::from).to_vec(), ..Command::default() };
        loop {
            let bridge = |source| Error::Bridge { machine: name.clone(), source };
            let mut running = join::spawn(machine, &command).map_err(bridge)?;
            let ends = (running.output.take(), running.input.take());
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

    /// A transient service on the terminal of this number.
    fn start_shell(&mut self, service: &Service, unit: &str, number: u32, after: Afterwards) -> Result<(), Error> {
        // A login that was left at this number a moment ago is started again until the manager gives up: it would take this terminal.
        self.dismiss(&login_unit(number)).map_err(|source| self.talk(source))?;
        let properties = service.on_terminal(&format!("/dev/pts/{number}"), after);
        let ask = |manager: &mut Self| {
            let mut body = Writer::default();
            body.string(unit);
            body.string("fail");
            body.properties(&properties);
            // No further units.
            body.array(8, |_| {});
            bus::manager::object(&mut manager.connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
        };
        let job = match ask(self) {
            // The number is ours alone now: that of one whose client was killed before it could dismiss it.
            Err(bus::Error::Call { name, .. }) if name == "org.freedesktop.systemd1.UnitExists" => {
                self.dismiss(unit).map_err(|source| self.talk(source))?;
                ask(self)
            }
            other => other,
        };
        self.await_job(unit, job)
    }

    /// Why a service has not started. It says so if it is asked before it is dismissed.
    fn reason(mut self, service: &Service, unit: &str, error: Error) -> Error {
        if !matches!(error, Error::Failed { .. }) {
            return error;
        }
        let code = self.path(unit).and_then(|path| self.exit(&path));
        let _ = self.dismiss(unit);
        match code {
            Ok(Some((EXITED, EXIT_USER))) => Error::NoSuchUser { machine: self.machine, user: service.user.clone() },
            Ok(Some((EXITED, EXIT_EXEC))) => Error::NoProgram(service.program.clone()),
            _ => error,
        }
    }

    fn await_job(&mut self, unit: &str, job: Result<String, bus::Error>) -> Result<(), Error> {
        let refused = |source| Error::Refused { machine: self.machine.clone(), unit: unit.to_owned(), source };
        let job = match job {
            Ok(job) => job,
            Err(source @ bus::Error::Call { .. }) => return Err(refused(source)),
            Err(source) => return Err(self.talk(source)),
        };
        let result = bus::manager::result_of(&mut self.connection, &job).map_err(|source| self.talk(source))?;
        match result.as_str() {
            "done" => Ok(()),
            _ => Err(Error::Failed { machine: self.machine.clone(), unit: unit.to_owned(), result }),
        }
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
    fn manager(self) -> Result<(Manager, Option<Entrance>), Error> {
        match self {
            Self::Host => Ok((Manager::of_host()?, None)),
            Self::Machine(machine) => {
                let entrance = Entrance::of(&machine.state)?;
                Ok((Manager::of(machine, &entrance.leader)?, Some(entrance)))
            }
        }
    }
}

/// The manager, the way in, and a terminal that it can see.
fn prepare_for(place: Place<'_>) -> Result<(Manager, Option<Entrance>, Terminal), Error> {
    let (manager, entrance) = place.manager()?;
    let terminal = match &entrance {
        Some(entrance) => Terminal::in_machine(entrance)?,
        None => Terminal::on_host()?,
    };
    Ok((manager, entrance, terminal))
}

/// The manager, the machine's first process, and a terminal.
fn prepare(machine: &Machine) -> Result<(Manager, OwnedFd, Terminal), Error> {
    let entrance = Entrance::of(&machine.state)?;
    let manager = Manager::of(machine, &entrance.leader)?;
    let terminal = Terminal::in_machine(&entrance)?;
    Ok((manager, entrance.leader, terminal))
}

/// A transient service for a command.
struct Service {
    user: String,
    program: String,
    arguments: Vec<String>,
    environment: Vec<String>,
    directory: String,
}

impl Service {
    fn of(command: &Command) -> Result<Self, Error> {
        let text = |word: &OsString| word.to_str().map(str::to_owned).ok_or_else(|| Error::NotText(word.clone()));
        let arguments = command.arguments.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let (program, arguments) = match arguments.first().cloned() {
            Some(program) if !program.starts_with('/') => return Err(Error::NotAbsolute(program)),
            Some(program) => {
                let mut words = arguments;
                if let Some(called) = &command.called {
                    words[0] = text(called)?;
                }
                (program, words)
            }
            // systemd knows the user's shell, wherever it has its users from.
            None => ("/bin/sh".into(), ["-sh", "-c", "exec \"${SHELL:-/bin/sh}\" -l"].map(str::to_owned).to_vec()),
        };
        // Otherwise systemd would put variables of the service in their place, see systemd.service(5).
        let arguments = arguments.into_iter().map(|word| word.replace('$', "$$")).collect();
        let mut environment = Vec::new();
        let term = std::env::var("TERM").ok().filter(|term| !term.is_empty()).unwrap_or_else(|| "vt220".into());
        environment.push(format!("TERM={term}"));
        for (name, value) in &command.environment {
            environment.push(format!("{}={}", text(name)?, text(value)?));
        }
        let directory = command.directory.as_ref().map(|path| text(&path.clone().into_os_string())).transpose()?;
        Ok(Self {
            user: command.user.clone().unwrap_or_else(|| "root".into()),
            program,
            arguments,
            environment,
            // The user's home, if it is there.
            directory: directory.unwrap_or_else(|| "-~".into()),
        })
    }

    fn on_terminal(&self, tty: &str, after: Afterwards) -> Vec<(&'static str, Value)> {
        let text = |value: &str| Value::String(value.to_owned());
        let after = match after {
            Afterwards::Kept => ("RemainAfterExit", Value::Boolean(true)),
            Afterwards::Forgotten => ("CollectMode", text("inactive-or-failed")),
        };
        vec![
            ("Description", Value::String(format!("Shell for User {}", self.user))),
            // What cannot be executed has failed to start.
            ("Type", text("exec")),
            after,
            ("ExecStart", Value::Commands(vec![(self.program.clone(), self.arguments.clone(), false)])),
            ("User", text(&self.user)),
            ("PAMName", text("login")),
            ("WorkingDirectory", text(&self.directory)),
            ("Environment", Value::Strings(self.environment.clone())),
            ("StandardInput", text("tty")),
            ("StandardOutput", text("tty")),
            ("StandardError", text("tty")),
            ("TTYPath", text(tty)),
            ("TTYReset", Value::Boolean(true)),
            ("UtmpIdentifier", text(tty.trim_start_matches("/dev/"))),
            ("UtmpMode", text("user")),
            ("KillMode", text("mixed")),
            ("IgnoreSIGPIPE", Value::Boolean(false)),
            ("SendSIGHUP", Value::Boolean(true)),
            // Who leaves does not wait long for what ignores the hangup.
            ("TimeoutStopUSec", Value::U64(5_000_000)),
        ]
    }
}
