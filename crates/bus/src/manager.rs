//! What is asked of every service manager, the host's and those of machines (org.freedesktop.systemd1(5)).

use std::time::Instant;

use crate::connection::{Connection, Error};
use crate::message::{Call, Message};
use crate::socket::PATIENCE;
use crate::wire::{Malformed, Writer};

/// A job may wait for others: so many times the time for an answer.
const JOB: u32 = 4;

/// Calls a method of the manager.
///
/// # Errors
/// An [`Error`]; [`Error::Call`] if the manager refuses.
pub fn call(connection: &mut Connection, member: &str, signature: &str, body: Writer) -> Result<Message, Error> {
    let call = Call {
        destination: "org.freedesktop.systemd1",
        path: "/org/freedesktop/systemd1",
        interface: "org.freedesktop.systemd1.Manager",
        member,
        signature,
    };
    connection.call(&call, body)
}

/// Calls a method that answers with an object, such as a job or a unit: its path.
///
/// # Errors
/// As [`call`].
pub fn object(connection: &mut Connection, member: &str, signature: &str, body: Writer) -> Result<String, Error> {
    let reply = call(connection, member, signature, body)?;
    if reply.signature != "o" {
        return Err(Malformed("an answer of the wrong type").into());
    }
    Ok(reply.body().string()?.to_owned())
}

/// Waits until a job is done: how, in the manager's words.
///
/// # Errors
/// An [`Error`]; [`Error::TimedOut`] where it is not done in a time that jobs have, whatever else is said meanwhile.
pub fn result_of(connection: &mut Connection, job: &str) -> Result<String, Error> {
    result_with(connection, job, |_| Ok(()))
}

/// The same for one that starts a service, with how its main process has ended if it has by then. Only a manager itself tells
/// that without being asked to, not by way of a bus.
///
/// # Errors
/// As [`result_of`].
pub fn result_of_start(connection: &mut Connection, job: &str, unit: &str) -> Result<(String, Option<Exit>), Error> {
    let path = path_of(unit);
    let mut exit = None;
    let result = result_with(connection, job, |signal| {
        // The latest word counts: a unit of this name may have ended before.
        exit = exit_of(signal, &path)?.unwrap_or(exit);
        Ok(())
    })?;
    Ok((result, exit))
}

/// How the main process of a service has ended, if it does up to this moment.
///
/// # Errors
/// An [`Error`].
pub fn exit_until(connection: &mut Connection, unit: &str, until: Instant) -> Result<Option<Exit>, Error> {
    let path = path_of(unit);
    loop {
        let signal = match connection.signal_until(until) {
            Ok(signal) => signal,
            Err(Error::TimedOut) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(exit @ Some(_)) = exit_of(&signal, &path)? {
            return Ok(exit);
        }
        if Instant::now() >= until {
            return Ok(None);
        }
    }
}

/// How a process has ended: the code (`CLD_EXITED` and so on) and the status of waitid(2).
pub type Exit = (i32, i32);

/// What a signal says of the main process of the service with this object: that it has ended, or has not; nothing where it is
/// about something else.
fn exit_of(signal: &Message, path: &str) -> Result<Option<Option<Exit>>, Malformed> {
    let changed = signal.interface == "org.freedesktop.DBus.Properties" && signal.member == "PropertiesChanged";
    if !changed || signal.path != path || signal.signature != "sa{sv}as" {
        return Ok(None);
    }
    let mut body = signal.body();
    body.string()?;
    let (mut code, mut status) = (None, None);
    body.dictionary(|name, mut value| match name {
        "ExecMainCode" => code = value.i32_variant().ok(),
        "ExecMainStatus" => status = value.i32_variant().ok(),
        _ => {}
    })?;
    Ok(code.zip(status).map(|exit| Some(exit).filter(|(code, _)| *code != 0)))
}

/// The path of a unit's object: all but letters and digits in hexadecimal, and a digit that begins it.
fn path_of(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => path.push(char::from(byte)),
            b'0'..=b'9' if index > 0 => path.push(char::from(byte)),
            other => path.push_str(&format!("_{other:02x}")),
        }
    }
    path
}

fn result_with(
    connection: &mut Connection,
    job: &str,
    mut look: impl FnMut(&Message) -> Result<(), Malformed>,
) -> Result<String, Error> {
    let until = Instant::now() + PATIENCE * JOB;
    loop {
        let signal = connection.signal()?;
        look(&signal)?;
        if let Some((_, result)) = removed_job(&signal)?.filter(|(removed, _)| *removed == job) {
            return Ok(result.to_owned());
        }
        if Instant::now() >= until {
            return Err(Error::TimedOut);
        }
    }
}

/// The job that this signal says is done, and how, in the manager's words; nothing for other signals.
///
/// # Errors
/// [`Error::Malformed`].
pub fn removed_job(signal: &Message) -> Result<Option<(&str, &str)>, Error> {
    let ours = signal.interface == "org.freedesktop.systemd1.Manager" && signal.member == "JobRemoved";
    if !ours || signal.signature != "uoss" {
        return Ok(None);
    }
    let mut body = signal.body();
    body.u32()?;
    let job = body.string()?;
    body.string()?;
    Ok(Some((job, body.string()?)))
}

/// A property of an object of the manager's, with what is expected to be in it.
///
/// # Errors
/// An [`Error`].
pub fn property<T>(
    connection: &mut Connection,
    path: &str,
    (interface, name): (&str, &str),
    read: impl FnOnce(&mut crate::Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, Error> {
    let mut body = Writer::default();
    body.string(interface);
    body.string(name);
    let call = Call {
        destination: "org.freedesktop.systemd1",
        path,
        interface: "org.freedesktop.DBus.Properties",
        member: "Get",
        signature: "ss",
    };
    let reply = connection.call(&call, body)?;
    if reply.signature != "v" {
        return Err(Malformed("an answer of the wrong type").into());
    }
    Ok(read(&mut reply.body())?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::thread::{JoinHandle, spawn};

    use super::*;
    use crate::message::tests::{encode, exit_told, job_removed};

    /// A manager that says this to whatever it is asked, through pipes or a socket.
    fn says(answer: Vec<u8>, pipes: bool) -> (Connection, JoinHandle<()>) {
        let (ours, mut theirs) = UnixStream::pair().expect("socket pair");
        let thread = spawn(move || {
            theirs.write_all(b"OK 0123456789abcdef\r\n").expect("write");
            theirs.write_all(&answer).expect("write");
            theirs.shutdown(std::net::Shutdown::Write).expect("shutdown");
            // Whoever asks is heard until the end.
            let _ = theirs.read_to_end(&mut Vec::new());
        });
        ours.set_nonblocking(true).expect("mode");
        let connection = match pipes {
            true => Connection::over_pipes(ours.try_clone().expect("descriptor").into(), ours.into()),
            false => Connection::over(ours.into()),
        };
        (connection.expect("greeted"), thread)
    }

    #[test]
    fn a_property_is_what_is_expected_or_nothing() {
        let state = encode(2, &[(8, "g", "v")], Some(1), b"\x01s\0\0\x07\0\0\0running\0");
        for pipes in [false, true] {
            let (mut connection, thread) = says(state.clone(), pipes);
            let read = |value: &mut crate::Reader<'_>| value.string_variant().map(str::to_owned);
            assert_eq!(property(&mut connection, "/a", ("b.c", "D"), read).expect("a value"), "running");
            // That was all.
            assert!(matches!(property(&mut connection, "/a", ("b.c", "D"), read), Err(Error::Closed)));
            drop(connection);
            thread.join().expect("the manager");
        }
        let (mut connection, thread) = says(state, false);
        let number = property(&mut connection, "/a", ("b.c", "D"), |value| value.i32_variant());
        assert!(matches!(number, Err(Error::Malformed(_))), "{number:?}");
        drop(connection);
        thread.join().expect("the manager");
    }

    #[test]
    fn paths_of_units() {
        let path = path_of("container-shell@1.service");
        assert_eq!(path, "/org/freedesktop/systemd1/unit/container_2dshell_401_2eservice");
        assert_eq!(path_of("1a"), "/org/freedesktop/systemd1/unit/_31a");
    }

    #[test]
    fn how_the_main_process_has_ended_is_heard_on_the_way() {
        let told = |unit: &str, code: i32, status: i32| exit_told(unit, code, status);
        let mut said = encode(2, &[(8, "g", "o")], Some(1), b"\x06\0\0\0/job/7\0");
        for (unit, code, status) in [("x@1.service", 1, 203), ("y.service", 1, 9), ("x@1.service", 0, 0)] {
            said.extend(told(unit, code, status));
        }
        said.extend(job_removed("/job/6", "failed"));
        said.extend(told("x@1.service", 1, 7));
        said.extend(job_removed("/job/7", "failed"));
        said.extend(told("x@1.service", 0, 0));
        said.extend(told("x@1.service", 2, 15));
        let (mut connection, thread) = says(said, true);
        let job = object(&mut connection, "StartUnit", "ss", Writer::default()).expect("a job");
        let (result, exit) = result_of_start(&mut connection, &job, "x@1.service").expect("a result");
        assert_eq!((result.as_str(), exit), ("failed", Some((1, 7))));
        let until = Instant::now() + PATIENCE;
        assert_eq!(exit_until(&mut connection, "x@1.service", until).expect("heard"), Some((2, 15)));
        assert!(matches!(exit_until(&mut connection, "x@1.service", until), Err(Error::Closed)));
        drop(connection);
        thread.join().expect("the manager");
    }

    #[test]
    fn the_seed_for_fuzzing_is_what_it_should_be() {
        let seed = include_bytes!("../../../fuzz/seeds/dbus/properties_changed");
        let message = Message::parse(seed).expect("a message");
        assert_eq!(exit_of(&message, &path_of("a.service")), Ok(Some(Some((1, 203)))));
        assert_eq!(exit_of(&message, &path_of("b.service")), Ok(None));
    }

    #[test]
    fn a_job_is_waited_for_among_others() {
        let mut said = encode(2, &[(8, "g", "o")], Some(1), b"\x06\0\0\0/job/7\0");
        said.extend(job_removed("/job/6", "failed"));
        said.extend(job_removed("/job/7", "done"));
        let (mut connection, thread) = says(said, true);
        let job = object(&mut connection, "StartUnit", "ss", Writer::default()).expect("a job");
        assert_eq!(job, "/job/7");
        assert_eq!(result_of(&mut connection, &job).expect("a result"), "done");
        assert!(matches!(result_of(&mut connection, &job), Err(Error::Closed)));
        drop(connection);
        thread.join().expect("the manager");
        // An answer of another type is none.
        let (mut connection, thread) = says(encode(2, &[(8, "g", "u")], Some(1), &7u32.to_le_bytes()), false);
        let job = object(&mut connection, "StartUnit", "ss", Writer::default());
        assert!(matches!(job, Err(Error::Malformed(_))), "{job:?}");
        drop(connection);
        thread.join().expect("the manager");
    }
}
