//! Units of the service manager that are started, enabled and disabled (org.freedesktop.systemd1(5)).

use std::time::{Duration, Instant};

use bus::{Connection, Malformed, Message, Reader, Writer, manager};

use crate::scope::{Manager, connect};

/// Units have time limits of their own; this one is for a service manager that forgets.
const PATIENCE: Duration = Duration::from_secs(30 * 60);

/// How long the service manager may take to begin what it was asked for.
const UNTIL_IT_BEGINS: Duration = Duration::from_secs(5);
/// How often a state is looked at that nobody tells of.
const AGAIN: Duration = Duration::from_millis(5);

/// What the service manager calls a unit that there is not, when it is started and when it is enabled.
const MISSING: [&str; 2] = ["org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.DBus.Error.FileNotFound"];

/// Why it does not work.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service manager cannot be asked.
    #[error("cannot ask the service manager")]
    Unreachable(#[source] bus::Error),
    /// There is no such unit.
    #[error("the service manager knows no {0}")]
    Missing(String),
    /// The service manager said no.
    #[error("the service manager refuses")]
    Refused(#[source] bus::Error),
    /// It tried.
    #[error("{unit} could not be started: {result}")]
    Failed {
        /// Which unit.
        unit: String,
        /// The job's result in its words.
        result: String,
    },
}

/// What has changed on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A link was made.
    Linked {
        /// Where.
        path: String,
        /// What it leads to.
        target: String,
    },
    /// A file was removed.
    Removed {
        /// Which.
        path: String,
    },
}

/// Starts units of the system's, and waits until they run. What runs already is left alone.
///
/// # Errors
/// An [`Error`], the first one; all were tried.
pub fn start<S: AsRef<str>>(units: &[S]) -> Result<(), Error> {
    let mut connection = connect(Manager::System).map_err(Error::Unreachable)?;
    let mut jobs = Vec::new();
    let mut first = None;
    for unit in units {
        let unit = unit.as_ref();
        match request(&mut connection, unit) {
            Ok(job) => jobs.push((job, unit)),
            Err(error) => first = first.or(Some(error)),
        }
    }
    let end = Instant::now() + PATIENCE;
    while !jobs.is_empty() {
        let signal = match connection.signal() {
            Err(bus::Error::TimedOut) if Instant::now() < end => continue,
            other => other.map_err(Error::Unreachable)?,
        };
        let Some((job, result)) = manager::removed_job(&signal).map_err(Error::Unreachable)? else { continue };
        if let Some(at) = jobs.iter().position(|(one, _)| *one == job) {
            let (_, unit) = jobs.swap_remove(at);
            if result != "done" {
                first = first.or(Some(Error::Failed { unit: unit.to_owned(), result: result.to_owned() }));
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Asks for the start; the job is the answer.
fn request(connection: &mut Connection, unit: &str) -> Result<String, Error> {
    let mut body = Writer::default();
    body.string(unit);
    body.string("fail");
    let reply = call(connection, ("StartUnit", "ss"), body, &[unit])?;
    expect(&reply, "o")?;
    Ok(reply.body().string().map_err(malformed)?.to_owned())
}

/// Has the system's service manager stop the service whose main process this is, and waits until it has begun to: what the process
/// then ends with is no failure that it would be started again for. False if this is the main process of no such service.
///
/// # Errors
/// An [`Error`].
pub fn begin_to_stop(unit: &str, main_process: i32) -> Result<bool, Error> {
    let mut connection = connect(Manager::System).map_err(Error::Unreachable)?;
    let connection = &mut connection;
    let mut body = Writer::default();
    body.string(unit);
    let path = match manager::object(connection, "GetUnit", "s", body) {
        Ok(path) => path,
        Err(bus::Error::Call { .. }) => return Ok(false),
        Err(error) => return Err(Error::Unreachable(error)),
    };
    let service = ("org.freedesktop.systemd1.Service", "MainPID");
    match manager::property(connection, &path, service, |value| value.u32_variant()) {
        Ok(process) if i32::try_from(process) == Ok(main_process) => {}
        // A scope has none.
        Ok(_) | Err(bus::Error::Call { .. }) => return Ok(false),
        Err(error) => return Err(Error::Unreachable(error)),
    }
    let mut body = Writer::default();
    body.string(unit);
    body.string("replace");
    call(connection, ("StopUnit", "ss"), body, &[unit])?;
    let end = Instant::now() + UNTIL_IT_BEGINS;
    loop {
        let state = ("org.freedesktop.systemd1.Unit", "ActiveState");
        match manager::property(connection, &path, state, |value| value.string_variant().map(stops)) {
            // It may be gone and forgotten.
            Ok(true) | Err(bus::Error::Call { .. }) => return Ok(true),
            Ok(false) if Instant::now() >= end => return Err(Error::Unreachable(bus::Error::TimedOut)),
            Ok(false) => std::thread::sleep(AGAIN),
            Err(error) => return Err(Error::Unreachable(error)),
        }
    }
}

fn stops(state: &str) -> bool {
    matches!(state, "deactivating" | "inactive" | "failed")
}

/// Has units started at boot (the `[Install]` sections of their files), and tells the service manager so.
///
/// # Errors
/// An [`Error`].
pub fn enable<S: AsRef<str>>(units: &[S]) -> Result<Vec<Change>, Error> {
    let mut connection = connect(Manager::System).map_err(Error::Unreachable)?;
    let mut body = Writer::default();
    body.strings(units);
    // For good, and nothing of others' is replaced.
    body.u32(0);
    body.u32(0);
    let reply = call(&mut connection, ("EnableUnitFiles", "asbb"), body, units)?;
    expect(&reply, "ba(sss)")?;
    let mut reader = reply.body();
    reader.u32().map_err(malformed)?;
    let all = changes(&mut reader)?;
    reload(&mut connection)?;
    Ok(all)
}

/// Has them started at boot no more.
///
/// # Errors
/// An [`Error`].
pub fn disable<S: AsRef<str>>(units: &[S]) -> Result<Vec<Change>, Error> {
    let mut connection = connect(Manager::System).map_err(Error::Unreachable)?;
    let mut body = Writer::default();
    body.strings(units);
    body.u32(0);
    let reply = call(&mut connection, ("DisableUnitFiles", "asb"), body, units)?;
    expect(&reply, "a(sss)")?;
    let all = changes(&mut reply.body())?;
    reload(&mut connection)?;
    Ok(all)
}

fn changes(reader: &mut Reader<'_>) -> Result<Vec<Change>, Error> {
    let all = reader.string_triples().map_err(malformed)?;
    let named = all.into_iter().filter_map(|[kind, path, target]| match kind {
        "symlink" => Some(Change::Linked { path: path.to_owned(), target: target.to_owned() }),
        "unlink" => Some(Change::Removed { path: path.to_owned() }),
        _ => None,
    });
    Ok(named.collect())
}

fn reload(connection: &mut Connection) -> Result<(), Error> {
    call::<&str>(connection, ("Reload", ""), Writer::default(), &[]).map(drop)
}

/// A method of the manager's with its signature; `units` are those that it is about.
fn call<S: AsRef<str>>(
    connection: &mut Connection,
    (member, signature): (&str, &str),
    body: Writer,
    units: &[S],
) -> Result<Message, Error> {
    manager::call(connection, member, signature, body).map_err(|error| match error {
        bus::Error::Call { ref name, ref text } if MISSING.contains(&name.as_str()) => {
            let named = units.iter().map(AsRef::as_ref).find(|unit| text.contains(unit));
            Error::Missing(named.unwrap_or("such unit").to_owned())
        }
        error @ bus::Error::Call { .. } => Error::Refused(error),
        error => Error::Unreachable(error),
    })
}

fn expect(reply: &Message, signature: &str) -> Result<(), Error> {
    if reply.signature == signature { Ok(()) } else { Err(malformed(Malformed("an answer of the wrong type"))) }
}

fn malformed(error: Malformed) -> Error {
    Error::Unreachable(error.into())
}
