//! What has to be done by a process with one thread: entering a machine. The service runs its own program again for it, and hears
//! from it what went wrong, in words and by its number.

use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use machine::bind::{self, Bind};
use machine::transfer::{self, Copy};
use machine::{Registry, join, machines};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};
use sys::signal::{self, SignalSet};

use super::Error;

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

/// Has it done.
pub(super) fn run(machine: &str, errand: &Errand) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::System {
        what: "start a process that enters the machine".to_owned(),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, "systemd-machined");
    let mut child = command
        .arg(OPTION)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(failed)?;
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

/// Runs a program of a machine on a terminal of its own, and gives our end of that and its path inside. Another process stays
/// with the program, which ends with it; the service need not.
pub(super) fn open(machine: &str, program: &Program) -> Result<(OwnedFd, String), Error> {
    let failed = || Error::system("start a process that enters the machine");
    let (ours, theirs) =
        socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(failed())?;
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, "systemd-machined");
    command.arg(OPTION).stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit());
    let spawned = command.spawn();
    // With the command goes our copy of the other end.
    drop(command);
    let mut child = spawned.map_err(|error| Error::System {
        what: "start a process that enters the machine".to_owned(),
        source: errno(&error),
    })?;
    let mut stream = UnixStream::from(ours);
    // Whoever does not read it says why.
    let _ = stream.write_all(program.written(machine).to_string().as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let (told, terminal) = hear(&stream).map_err(failed())?;
    // It ends with the program, some day.
    let waiting = std::thread::Builder::new().name("wait".to_owned()).spawn(move || child.wait());
    drop(waiting);
    match (terminal, told["path"].as_str(), told["user"].as_str()) {
        (Some(terminal), Some(path), _) => Ok((terminal, path.to_owned())),
        (_, _, Some(user)) => Err(Error::NoUserNamed(user.to_owned())),
        _ => Err(refusal(&told)),
    }
}

/// All that it says, and the descriptor that comes with it.
fn hear(stream: &UnixStream) -> rustix::io::Result<(Value, Option<OwnedFd>)> {
    let (mut text, mut terminal) = (Vec::new(), None);
    loop {
        let mut piece = [0; 4096];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = recvmsg(stream, &mut [IoSliceMut::new(&mut piece)], &mut control, RecvFlags::CMSG_CLOEXEC);
        let length = match received {
            Err(Errno::INTR) => continue,
            other => other?.bytes,
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                terminal = descriptors.last().or(terminal);
            }
        }
        if length == 0 {
            return Ok((serde_json::from_slice(&text).unwrap_or_default(), terminal));
        }
        text.extend_from_slice(&piece[..length]);
    }
}

fn refusal(told: &Value) -> Error {
    let text = told["message"].as_str().unwrap_or("the process that enters the machine was killed").to_owned();
    let errno = told["errno"].as_i64().and_then(|errno| i32::try_from(errno).ok());
    Error::Errand { text, errno: errno.map_or(Errno::IO, Errno::from_raw_os_error) }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

/// Starts the program that was asked for, tells of it, and stays until it has ended.
fn stay_with(machine: &str, program: &Program) -> Result<(), (String, Errno)> {
    let found =
        machines::machine(&Registry::system(), machine).map_err(|error| (crate::log::chain(&error), Errno::SRCH));
    let started = found.and_then(|found| {
        join::spawn(&found, &program.0).map_err(|error| match error {
            join::Error::NoSuchUser(user) => (user, Errno::NXIO),
            error => (crate::log::chain(&error), join_errno(&error)),
        })
    });
    let running = match started {
        Ok(running) => running,
        Err((user, Errno::NXIO)) => return tell(&json!({ "user": user }), None),
        Err((text, errno)) => return tell(&json!({ "message": text, "errno": errno.raw_os_error() }), None),
    };
    let terminal = running.master.as_ref().ok_or_else(|| ("no terminal".to_owned(), Errno::NOTTY))?;
    let path = rustix::pty::ptsname(terminal, Vec::new()).map_err(|errno| ("find the terminal".to_owned(), errno))?;
    tell(&json!({ "path": path.to_string_lossy() }), Some(terminal))?;
    // Ours is not the last one: the program sees that its terminal is gone when the caller's is.
    let join::Running { pidfd, master, .. } = running;
    drop(master);
    let waited = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
    waited.map(drop).map_err(|errno| ("wait for the program".to_owned(), errno))
}

fn tell(value: &Value, terminal: Option<&OwnedFd>) -> Result<(), (String, Errno)> {
    let told = || -> rustix::io::Result<()> {
        let socket = rustix::stdio::stdin();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let terminal: Vec<_> = terminal.iter().map(|terminal| terminal.as_fd()).collect();
        if !terminal.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&terminal)) {
            return Err(Errno::NOBUFS);
        }
        let text = value.to_string();
        sendmsg(socket, &[IoSlice::new(text.as_bytes())], &mut control, SendFlags::NOSIGNAL)?;
        rustix::net::shutdown(socket, rustix::net::Shutdown::Write)
    };
    told().map_err(|errno| ("answer".to_owned(), errno))
}

fn join_errno(error: &join::Error) -> Errno {
    match error {
        join::Error::Ended(_) => Errno::SRCH,
        join::Error::Paused(_) => Errno::BUSY,
        join::Error::Enter { source, .. }
        | join::Error::System(_, source)
        | join::Error::Inside { source, .. }
        | join::Error::Program { source, .. } => *source,
        _ => Errno::IO,
    }
}

/// A program that is run on a terminal of its own.
#[derive(Clone, Debug)]
pub(super) struct Program(pub(super) join::Command);

impl Program {
    fn written(&self, machine: &str) -> Value {
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        let arguments: Vec<String> = self.0.arguments.iter().map(text).collect();
        let environment: Vec<(String, String)> =
            self.0.environment.iter().map(|(name, value)| (text(name), text(value))).collect();
        json!({
            "machine": machine, "what": "open", "user": self.0.user, "arguments": arguments, "environment": environment,
        })
    }

    fn read(value: &Value) -> Option<(String, Self)> {
        if value["what"] != "open" {
            return None;
        }
        let texts = |value: &Value| {
            value.as_array()?.iter().map(|one| one.as_str().map(OsString::from)).collect::<Option<Vec<OsString>>>()
        };
        let pair = |pair: &Value| Some((pair[0].as_str()?.into(), pair[1].as_str()?.into()));
        let command = join::Command {
            user: value["user"].as_str().map(str::to_owned),
            arguments: texts(&value["arguments"])?,
            environment: value["environment"].as_array()?.iter().map(pair).collect::<Option<_>>()?,
            directory: None,
            terminal: true,
        };
        Some((value["machine"].as_str()?.to_owned(), Self(command)))
    }
}

/// Does what standard input says, as the program that was started for it. False if it fails; why is on standard output.
pub(crate) fn main() -> bool {
    match carry_out() {
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
    if let Some((machine, program)) = Program::read(&value) {
        return stay_with(&machine, &program);
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

fn entrance_errno(error: &machine::entrance::Error) -> Errno {
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
