//! What has to be done by a process with one thread: entering a machine. The service runs its own program again for it, and hears
//! from it what went wrong, in words and by its number.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use machine::bind::{self, Bind};
use machine::transfer::{self, Copy};
use machine::{Registry, machines};
use rustix::io::Errno;
use serde_json::{Value, json};
use sys::signal::{self, SignalSet};

use super::Error;
use super::opening::{self, Opening};
use super::unit;

/// The option that has the program do an errand; not for people.
pub(crate) const OPTION: &str = "--errand";
/// What asks a program to end: SIGHUP, SIGINT, SIGQUIT and SIGTERM, the same numbers on every architecture.
const ENDING: [i32; 4] = [1, 2, 3, 15];
/// The longest errand, in bytes.
const LONGEST: u64 = 1 << 20;

/// Something to do with the files of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// See [`bind::bind`].
    Bind(Bind),
    /// See [`transfer::copy_to`].
    CopyTo(Copy),
    /// See [`transfer::copy_from`].
    CopyFrom(Copy),
}

impl Errand {
    fn written(&self, machine: &str) -> Value {
        let (what, source, destination, flags) = match self {
            Self::Bind(bind) => ("bind", &bind.source, &bind.destination, (bind.read_only, bind.make_destination)),
            Self::CopyTo(copy) => ("copy-to", &copy.source, &copy.destination, (copy.replace, false)),
            Self::CopyFrom(copy) => ("copy-from", &copy.source, &copy.destination, (copy.replace, false)),
        };
        json!({
            "machine": machine, "what": what, "source": source.to_string_lossy(),
            "destination": destination.to_string_lossy(), "first": flags.0, "second": flags.1,
        })
    }

    fn read(value: &Value) -> Option<(String, Self)> {
        let path = |name: &str| value[name].as_str().map(PathBuf::from);
        let (source, destination) = (path("source")?, path("destination")?);
        let (first, second) = (value["first"].as_bool()?, value["second"].as_bool()?);
        let errand = match value["what"].as_str()? {
            "bind" => Self::Bind(Bind { source, destination, read_only: first, make_destination: second }),
            "copy-to" => Self::CopyTo(Copy { source, destination, replace: first }),
            "copy-from" => Self::CopyFrom(Copy { source, destination, replace: first }),
            _ => return None,
        };
        Some((value["machine"].as_str()?.to_owned(), errand))
    }
}

/// Our own program, for an errand.
pub(super) fn command() -> Command {
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, "systemd-machined");
    command.arg(OPTION);
    command
}

/// Has it done.
pub(super) fn run(machine: &str, errand: &Errand) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::System {
        what: "start a process that enters the machine".to_owned(),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let mut child =
        command().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        // Whoever does not read it says why.
        let _ = input.write_all(errand.written(machine).to_string().as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(refusal(&serde_json::from_slice(&output.stdout).unwrap_or_default()))
}

pub(super) fn refusal(told: &Value) -> Error {
    let text = told["message"].as_str().unwrap_or("the process that enters the machine was killed").to_owned();
    let errno = told["errno"].as_i64().and_then(|errno| i32::try_from(errno).ok());
    Error::Errand { text, errno: errno.map_or(Errno::IO, Errno::from_raw_os_error) }
}

pub(super) fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Does what standard input says, or who waits at that socket, as the program that was started for it. False if it fails; why is on
/// standard output.
pub(crate) fn main(socket: Option<OsString>) -> bool {
    let connected = socket.map_or(Ok(()), |socket| unit::connect(socket.as_ref()));
    let connected = connected.map_err(|error| ("cannot connect to the service".to_owned(), errno(&error)));
    match connected.and_then(|()| carry_out()) {
        Ok(()) => true,
        Err((text, errno)) => {
            let told = json!({ "message": text, "errno": errno.raw_os_error() });
            // Nobody is left to tell if this fails.
            let _ = std::io::stdout().write_all(told.to_string().as_bytes());
            false
        }
    }
}

fn carry_out() -> Result<(), (String, Errno)> {
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
    let value: Value = read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default();
    if let Some((machine, opening)) = Opening::read(&value) {
        return opening::carry_out(&machine, &opening);
    }
    let errand = Errand::read(&value);
    let (machine, errand) = errand.ok_or_else(|| ("no errand".to_owned(), Errno::INVAL))?;
    let state =
        machines::find(&Registry::system(), &machine).map_err(|error| (crate::log::chain(&error), Errno::SRCH))?;
    // A copy that is asked to end is removed first.
    let ending: SignalSet = ENDING.into_iter().collect();
    signal::block(&ending).map_err(|errno| ("cannot block signals".to_owned(), errno))?;
    let mut observe = |_| !signal::end_is_pending();
    match errand {
        Errand::Bind(bind) => {
            bind::bind(&state, &bind).map_err(|error| (crate::log::chain(&error), bind_errno(&error)))
        }
        Errand::CopyTo(copy) => copied(transfer::copy_to(&state, &copy, &mut observe)),
        Errand::CopyFrom(copy) => copied(transfer::copy_from(&state, &copy, &mut observe)),
    }
}

fn bind_errno(error: &bind::Error) -> Errno {
    match error {
        bind::Error::Source { source, .. }
        | bind::Error::Map { source, .. }
        | bind::Error::Inside { source, .. }
        | bind::Error::System(_, source) => *source,
        bind::Error::Missing { .. } => Errno::NOENT,
        bind::Error::Path { .. } => Errno::INVAL,
        bind::Error::Kind { .. } => Errno::NOTDIR,
        bind::Error::Entrance(error) => entrance_errno(error),
    }
}

fn copied(result: Result<transfer::Copied, transfer::Error>) -> Result<(), (String, Errno)> {
    let error = match result {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let errno = match &error {
        transfer::Error::Entrance(error) => entrance_errno(error),
        transfer::Error::Step { source, .. }
        | transfer::Error::Enter { source, .. }
        | transfer::Error::System(_, source) => *source,
        transfer::Error::Missing { .. } => Errno::NOENT,
        transfer::Error::Exists { .. } => Errno::EXIST,
        transfer::Error::Kind { .. } => Errno::NOTDIR,
        transfer::Error::NotAbsolute(_) => Errno::INVAL,
        transfer::Error::Ended(_) => Errno::SRCH,
        transfer::Error::Interrupted => Errno::INTR,
        _ => Errno::IO,
    };
    Err((crate::log::chain(&error), errno))
}

pub(super) fn entrance_errno(error: &machine::entrance::Error) -> Errno {
    use machine::entrance::Error as Entrance;
    match error {
        Entrance::Ended(_) => Errno::SRCH,
        Entrance::NotPermitted(_) => Errno::ACCESS,
        Entrance::Host(_) | Entrance::Virtual(_) | Entrance::SameMounts(_) => Errno::OPNOTSUPP,
        Entrance::Step { source, .. } => *source,
        _ => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_arrives_as_it_was_sent() {
        let copy = Copy { source: "/a b".into(), destination: "/\u{e4}".into(), replace: true };
        let bind = Bind { source: "/a".into(), destination: "/b".into(), read_only: true, make_destination: false };
        for errand in [Errand::CopyTo(copy.clone()), Errand::CopyFrom(copy), Errand::Bind(bind)] {
            assert_eq!(Errand::read(&errand.written("web")), Some(("web".to_owned(), errand)));
        }
        assert_eq!(Errand::read(&json!({ "what": "else", "machine": "web" })), None);
    }
}
