//! A scope of the service manager's for a machine, where systemd manages the host (systemd.scope(5),
//! org.freedesktop.systemd1(5)).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bus::{Connection, Writer, manager};
use rustix::io::Errno;

pub use bus::Value;

/// Where the service manager itself listens, for root only: no bus is needed.
const PRIVATE: &str = "/run/systemd/private";
/// The same for a user's, below the user's runtime directory.
const USER_PRIVATE: &str = "systemd/private";
/// The system bus.
pub const BUS: &str = "/run/dbus/system_bus_socket";
/// A user's bus, below the user's runtime directory.
pub const USER_BUS: &str = "bus";
/// There where systemd manages the host (sd_booted(3)).
const BOOTED: &str = "/run/systemd/system";

/// How long a scope of the same name may take to go: its last process has ended, and the service manager will notice.
const GONE_WITHIN: Duration = Duration::from_secs(3);
/// How many processes and threads a machine may have, as for others that are registered.
const TASKS: u64 = 16384;

/// What all processes of the scope are sent when it is stopped. The usual SIGTERM would end the container's services
/// behind its service manager's back, and make that execute itself anew and miss the request to power off that the
/// supervisor sends. Of this one only the supervisor takes notice: by default it is without effect.
const STOP_SIGNAL: i32 = rustix::process::Signal::URG.as_raw();

/// Why there is no scope.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service manager cannot be asked.
    #[error("cannot ask the service manager for the unit {unit}")]
    Unreachable {
        /// Which unit.
        unit: String,
        /// Why.
        source: bus::Error,
    },
    /// It exists.
    #[error("the unit {0} exists already: a machine of this name is running")]
    InUse(String),
    /// The service manager said no.
    #[error("the service manager does not make the unit {unit}")]
    Refused {
        /// Which unit.
        unit: String,
        /// Its words.
        source: bus::Error,
    },
    /// It tried.
    #[error("the service manager could not start the unit {unit}: {result}")]
    Failed {
        /// Which unit.
        unit: String,
        /// The job's result in its words.
        result: String,
    },
}

/// What the scope is called and where it belongs.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The unit's name.
    pub unit: &'a str,
    /// The slice that it is in.
    pub slice: &'a str,
    /// What people read about it.
    pub description: &'a str,
    /// The process that is moved to it; the caller where absent.
    pub process: Option<u32>,
    /// Properties by their names on the bus. They come after ours, so that they win.
    pub properties: &'a [(&'a str, Value)],
}

/// Which service manager is asked.
#[derive(Clone, Copy, Debug)]
pub enum Manager<'a> {
    /// The system's.
    System,
    /// A user's, whose runtime directory (`$XDG_RUNTIME_DIR`) this is.
    User(&'a Path),
}

impl Manager<'_> {
    /// Its own socket and the bus.
    fn sockets(self) -> (PathBuf, PathBuf) {
        match self {
            Self::System => (PRIVATE.into(), BUS.into()),
            Self::User(directory) => (directory.join(USER_PRIVATE), directory.join(USER_BUS)),
        }
    }

    /// Whether it runs and can be asked for units.
    #[must_use]
    pub fn is_available(self) -> bool {
        use rustix::fs::FileType;
        let kind = |path: &Path| rustix::fs::lstat(path).ok().map(|status| FileType::from_raw_mode(status.st_mode));
        let (private, bus) = self.sockets();
        kind(Path::new(BOOTED)) == Some(FileType::Directory)
            && [private, bus].iter().any(|path| kind(path) == Some(FileType::Socket))
    }
}

/// Makes a scope and moves the process to it. It is gone with its last process.
///
/// # Errors
/// An [`Error`]; the caller is where it was.
pub fn start(manager: Manager<'_>, scope: &Scope<'_>) -> Result<(), Error> {
    let unit = || scope.unit.to_owned();
    let unreachable = |source| Error::Unreachable { unit: unit(), source };
    let mut connection = connect(manager).map_err(unreachable)?;
    let until = Instant::now() + GONE_WITHIN;
    let mut pause = Duration::from_millis(5);
    let job = loop {
        match request(&mut connection, scope) {
            Ok(job) => break job,
            Err(bus::Error::Call { name, .. }) if name == "org.freedesktop.systemd1.UnitExists" => {
                if Instant::now() >= until {
                    return Err(Error::InUse(unit()));
                }
                std::thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(100));
            }
            Err(source @ bus::Error::Call { .. }) => return Err(Error::Refused { unit: unit(), source }),
            Err(source) => return Err(unreachable(source)),
        }
    };
    let result = manager::result_of(&mut connection, &job).map_err(unreachable)?;
    if result == "done" { Ok(()) } else { Err(Error::Failed { unit: unit(), result }) }
}

pub(crate) fn connect(manager: Manager<'_>) -> Result<Connection, bus::Error> {
    let (private, bus) = manager.sockets();
    match Connection::open(&private) {
        Err(bus::Error::System { source: Errno::NOENT | Errno::CONNREFUSED | Errno::ACCESS, .. }) => {}
        other => return other,
    }
    let mut connection = Connection::open_bus(&bus)?;
    connection.subscribe(
        "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
    )?;
    Ok(connection)
}

/// Asks for the scope; the job that makes it is the answer.
fn request(connection: &mut Connection, scope: &Scope<'_>) -> Result<String, bus::Error> {
    let mut body = Writer::default();
    body.string(scope.unit);
    body.string("fail");
    let process = scope.process.unwrap_or_else(|| rustix::process::getpid().as_raw_nonzero().get().unsigned_abs());
    let mut properties = vec![
        ("Description", Value::String(scope.description.to_owned())),
        ("Slice", Value::String(scope.slice.to_owned())),
        ("Delegate", Value::Boolean(true)),
        ("CollectMode", Value::String("inactive-or-failed".to_owned())),
        ("TasksMax", Value::U64(TASKS)),
        ("KillSignal", Value::I32(STOP_SIGNAL)),
        ("PIDs", Value::U32s(vec![process])),
    ];
    properties.extend_from_slice(scope.properties);
    body.properties(&properties);
    // No further units.
    body.array(8, |_| {});
    manager::object(connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)
}
