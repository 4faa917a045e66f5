//! Sessions by the service manager inside of a machine, where that is systemd: logins (`container-getty@.service`) and shells
//! (transient services), each on a terminal of the machine's own. So they are what a login is there: with PAM, a session of the
//! login manager's and a control group, as `machinectl login` and `shell` have them.
//!
//! **Inside is hostile.** The manager is talked to through systemd-stdio-bridge(1) of the machine's own, which runs as any command
//! there does ([`join`]) with nothing of the host's but two pipes: wherever the sockets of inside lead to, we
//! connect to none of them. What comes back is bounded in size and time, and decides nothing but what is told about the session.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use bus::{Connection, Value, Writer};
use rustix::fs::{Gid, Mode, OFlags, ResolveFlags, Uid, openat2};
use rustix::io::Errno;

use crate::entrance::{self, Entrance};
use crate::init::Init;
use crate::join::{self, Command, Running};
use crate::process::has_ended;
use crate::registry::Machine;

/// What carries our words to the manager, and where that listens.
const BRIDGE: [&str; 2] = ["systemd-stdio-bridge", "--bus-path=unix:path=/run/systemd/private"];
/// How long the manager may take to listen, after the start of the machine.
const PATIENCE: Duration = Duration::from_secs(25);
/// How often it is tried.
const PAUSE: Duration = Duration::from_millis(200);
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
    #[error("cannot make a terminal in the machine {machine}")]
    Terminal {
        /// Which.
        machine: String,
        /// Why.
        source: Errno,
    },
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
    _bridge: Running,
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

/// A login on a terminal of its own, as `machinectl login` has it.
///
/// # Errors
/// An [`Error`].
pub fn login(machine: &Machine) -> Result<Session, Error> {
    let (mut manager, leader, terminal) = prepare(machine)?;
    let unit = format!("container-getty@{}.service", terminal.number);
    let mut body = Writer::default();
    body.string(&unit);
    body.string("replace");
    let job = bus::manager::object(&mut manager.connection, "StartUnit", "ss", body);
    manager.await_job(&unit, job)?;
    manager.session(leader, terminal, unit, false)
}

/// A shell, or another command, of a user on a terminal of its own, as `machinectl shell` has it.
///
/// # Errors
/// An [`Error`].
pub fn shell(machine: &Machine, command: &Command) -> Result<Session, Error> {
    let properties = Service::of(command)?;
    let (mut manager, leader, terminal) = prepare(machine)?;
    let unit = format!("container-shell@{}.service", terminal.number);
    let tty = format!("/dev/pts/{}", terminal.number);
    let ask = |manager: &mut Manager| {
        let mut body = Writer::default();
        body.string(&unit);
        body.string("fail");
        body.properties(&properties.on_terminal(&tty));
        // No further units.
        body.array(8, |_| {});
        bus::manager::object(&mut manager.connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
    };
    let job = match ask(&mut manager) {
        // The number is ours alone now: that of one whose client was killed before it could dismiss it.
        Err(bus::Error::Call { name, .. }) if name == "org.freedesktop.systemd1.UnitExists" => {
            manager.dismiss(&unit).map_err(|source| manager.talk(source))?;
            ask(&mut manager)
        }
        other => other,
    };
    match manager.await_job(&unit, job) {
        Err(error @ Error::Failed { .. }) => {
            // It says why, if it is asked before it is dismissed.
            let code = manager.path(&unit).and_then(|path| manager.exit(&path));
            let _ = manager.dismiss(&unit);
            Err(match code {
                Ok(Some((EXITED, EXIT_USER))) => Error::NoSuchUser { machine: manager.machine, user: properties.user },
                Ok(Some((EXITED, EXIT_EXEC))) => Error::NoProgram(properties.program),
                _ => error,
            })
        }
        Err(error) => Err(error),
        Ok(()) => manager.session(leader, terminal, unit, true),
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

impl Manager {
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
                Ok(connection) => return Ok(Self { machine: name.clone(), connection, _bridge: running }),
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

    /// Stops a unit and lets go of how it has ended. One that is not there is no error.
    fn dismiss(&mut self, unit: &str) -> Result<(), bus::Error> {
        for (member, words) in [("StopUnit", &[unit, "replace"][..]), ("ResetFailedUnit", &[unit])] {
            let mut body = Writer::default();
            words.iter().for_each(|word| body.string(word));
            let signature = if words.len() == 2 { "ss" } else { "s" };
            let stopped = match bus::manager::call(&mut self.connection, member, signature, body) {
                Err(bus::Error::Call { .. }) => continue,
                other => other?,
            };
            if stopped.signature == "o" {
                let job = stopped.body().string()?.to_owned();
                bus::manager::result_of(&mut self.connection, &job)?;
            }
        }
        Ok(())
    }
}

/// A terminal in the machine's own devpts.
struct Terminal {
    master: OwnedFd,
    number: u32,
}

impl Terminal {
    /// What lies at its place is looked at before it is used.
    fn in_machine(entrance: &Entrance) -> rustix::io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS;
        let devpts = openat2(&entrance.root, "dev/pts", flags, Mode::empty(), resolve)?;
        let (master, peer) = join::open_terminal(&devpts)?;
        if let Some(users) = &entrance.users {
            // It has to be somebody's who is there.
            let (user, group) = users.root;
            rustix::fs::fchown(&peer, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))?;
        }
        rustix::fs::fchmod(&peer, Mode::from_raw_mode(0o600))?;
        let number = sys::pty::number(master.as_fd())?;
        Ok(Self { master, number })
    }
}

/// The manager, the machine's first process, and a terminal.
fn prepare(machine: &Machine) -> Result<(Manager, OwnedFd, Terminal), Error> {
    let entrance = Entrance::of(&machine.state)?;
    let manager = Manager::of(machine, &entrance.leader)?;
    let terminal = Terminal::in_machine(&entrance)
        .map_err(|source| Error::Terminal { machine: machine.state.name.clone(), source })?;
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
        let (program, arguments) = match arguments.first() {
            Some(program) if !program.starts_with('/') => return Err(Error::NotAbsolute(program.clone())),
            Some(program) => (program.clone(), arguments),
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

    fn on_terminal(&self, tty: &str) -> Vec<(&'static str, Value)> {
        let text = |value: &str| Value::String(value.to_owned());
        vec![
            ("Description", Value::String(format!("Shell for User {}", self.user))),
            // What cannot be executed has failed to start.
            ("Type", text("exec")),
            // So that its exit code can be asked for.
            ("RemainAfterExit", Value::Boolean(true)),
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
