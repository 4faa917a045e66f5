//! A scope of the service manager's for a machine, where systemd manages the host (systemd.scope(5),
//! org.freedesktop.systemd1(5)).

use std::path::Path;
use std::time::{Duration, Instant};

use bus::{Call, Connection, Writer};
use rustix::io::Errno;

pub use bus::Value;

/// Where the service manager itself listens, for root only: no bus is needed.
const PRIVATE: &str = "/run/systemd/private";
/// The system bus.
const BUS: &str = "/run/dbus/system_bus_socket";
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
    /// Properties by their names on the bus. They come after ours, so that they win.
    pub properties: &'a [(&'a str, Value)],
}

/// Whether systemd manages the host and can be asked for units.
#[must_use]
pub fn is_available() -> bool {
    use rustix::fs::FileType;
    let kind = |path| rustix::fs::lstat(path).ok().map(|status| FileType::from_raw_mode(status.st_mode));
    kind(BOOTED) == Some(FileType::Directory)
        && [PRIVATE, BUS].into_iter().any(|path| kind(path) == Some(FileType::Socket))
}

/// Makes a scope and moves the caller to it. It is gone with its last process.
///
/// # Errors
/// An [`Error`]; the caller is where it was.
pub fn start(scope: &Scope<'_>) -> Result<(), Error> {
    let unit = || scope.unit.to_owned();
    let unreachable = |source| Error::Unreachable { unit: unit(), source };
    let mut connection = connect().map_err(unreachable)?;
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
    let result = result_of(&mut connection, &job).map_err(unreachable)?;
    if result == "done" { Ok(()) } else { Err(Error::Failed { unit: unit(), result }) }
}

fn connect() -> Result<Connection, bus::Error> {
    match Connection::open(Path::new(PRIVATE)) {
        Err(bus::Error::System { source: Errno::NOENT | Errno::CONNREFUSED | Errno::ACCESS, .. }) => {}
        other => return other,
    }
    let mut connection = Connection::open(Path::new(BUS))?;
    let broker = |member, signature| Call {
        destination: "org.freedesktop.DBus",
        path: "/org/freedesktop/DBus",
        interface: "org.freedesktop.DBus",
        member,
        signature,
    };
    connection.call(&broker("Hello", ""), Writer::default())?;
    let mut rule = Writer::default();
    rule.string(
        "type='signal',sender='org.freedesktop.systemd1',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'",
    );
    connection.call(&broker("AddMatch", "s"), rule)?;
    Ok(connection)
}

/// Asks for the scope; the job that makes it is the answer.
fn request(connection: &mut Connection, scope: &Scope<'_>) -> Result<String, bus::Error> {
    let mut body = Writer::default();
    body.string(scope.unit);
    body.string("fail");
    let mut properties = vec![
        ("Description", Value::String(scope.description.to_owned())),
        ("Slice", Value::String(scope.slice.to_owned())),
        ("Delegate", Value::Boolean(true)),
        ("CollectMode", Value::String("inactive-or-failed".to_owned())),
        ("TasksMax", Value::U64(TASKS)),
        ("KillSignal", Value::I32(STOP_SIGNAL)),
        ("PIDs", Value::U32s(vec![rustix::process::getpid().as_raw_nonzero().get().unsigned_abs()])),
    ];
    properties.extend_from_slice(scope.properties);
    body.properties(&properties);
    // No further units.
    body.array(8, |_| {});
    let call = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member: "StartTransientUnit",
        signature: "ssa(sv)a(sa(sv))",
    };
    let reply = connection.call(&call, body)?;
    if reply.signature != "o" {
        return Err(bus::Malformed("an answer of the wrong type").into());
    }
    Ok(reply.body().string()?.to_owned())
}

/// Waits until the job is done: how, in the service manager's words.
fn result_of(connection: &mut Connection, job: &str) -> Result<String, bus::Error> {
    loop {
        let signal = connection.signal()?;
        let ours = signal.interface == "org.freedesktop.systemd1.Manager" && signal.member == "JobRemoved";
        if !ours || signal.signature != "uoss" {
            continue;
        }
        let mut body = signal.body();
        body.u32()?;
        if body.string()? == job {
            body.string()?;
            return Ok(body.string()?.to_owned());
        }
    }
}
