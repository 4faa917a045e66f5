//! How a terminal is opened: by another process, which makes it, answers with our end of it, and stays where it is the parent of the
//! program there. Both sides are here, as for other errands.
//!
//! **Inside is hostile.** The process has a socket to us and nothing else of ours; what goes into the machine is said in
//! [`machine::terminal`], [`machine::join`] and [`machine::manager`]. A machine may not answer, or run something else than what it
//! was asked for: it is waited for [`PATIENCE`], and what is on the terminal is the machine's word.

use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use machine::join::{self, LOGIN_PROGRAMS, Running};
use machine::manager::{self, Place};
use machine::terminal::{self, Terminal, Watch};
use machine::{Machine, Registry, machines};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};
use serde_json::{Value, json};

use super::Error;
use super::errand::{self, entrance_errno, errno, refusal};
use super::unit::{self, Unit};

/// How long the process may be silent: longer than a service manager that has just come up and a job of its may take.
const PATIENCE: Duration = Duration::from_secs(150);
/// What is being done, for errors.
const STARTING: &str = "start a process that enters the machine";

/// What is put on a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// Nothing.
    Terminal,
    /// A login prompt.
    Login,
    /// A program.
    Shell(join::Command),
}

impl Opening {
    fn written(&self, machine: &str) -> Value {
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        match self {
            Self::Terminal => json!({ "machine": machine, "what": "terminal" }),
            Self::Login => json!({ "machine": machine, "what": "login" }),
            Self::Shell(command) => {
                let arguments: Vec<String> = command.arguments.iter().map(text).collect();
                let pair = |(name, value): &(OsString, OsString)| (text(name), text(value));
                let environment: Vec<(String, String)> = command.environment.iter().map(pair).collect();
                json!({
                    "machine": machine, "what": "shell", "user": command.user, "arguments": arguments,
                    "called": command.called.as_ref().map(text), "environment": environment,
                })
            }
        }
    }

    pub(super) fn read(value: &Value) -> Option<(String, Self)> {
        let texts = |value: &Value| {
            value.as_array()?.iter().map(|one| one.as_str().map(OsString::from)).collect::<Option<Vec<OsString>>>()
        };
        let pair = |pair: &Value| Some((pair[0].as_str()?.into(), pair[1].as_str()?.into()));
        let opening = match value["what"].as_str()? {
            "terminal" => Self::Terminal,
            "login" => Self::Login,
            "shell" => Self::Shell(join::Command {
                user: value["user"].as_str().map(str::to_owned),
                arguments: texts(&value["arguments"])?,
                called: value["called"].as_str().map(OsString::from),
                environment: value["environment"].as_array()?.iter().map(pair).collect::<Option<_>>()?,
                directory: None,
                terminal: true,
            }),
            _ => return None,
        };
        Some((value["machine"].as_str()?.to_owned(), opening))
    }
}

/// Whoever opens it.
enum Opener {
    /// A child of ours.
    Child(Child),
    /// A unit of its own.
    Unit(Unit),
}

impl Opener {
    fn start(machine: &str, opening: &Opening) -> Result<(Self, UnixStream), Error> {
        // What has to do with the host, and what runs nothing, is the same anywhere.
        if machine != machines::HOST && *opening != Opening::Terminal && unit::are_in_one() {
            return Unit::start(machine).map(|(unit, stream)| (Self::Unit(unit), stream));
        }
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .map_err(Error::system(STARTING))?;
        let mut command = errand::command();
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit());
        let spawned = command.spawn();
        let child = spawned.map_err(|error| Error::System { what: STARTING.to_owned(), source: errno(&error) })?;
        // With the command goes our copy of the other end.
        Ok((Self::Child(child), UnixStream::from(ours)))
    }

    /// Ends it; what it has started so far ends with it.
    fn end(&mut self) {
        match self {
            // It may have ended.
            Self::Child(child) => drop(child.kill()),
            Self::Unit(unit) => unit.stop(),
        }
    }

    /// Leaves it alone: it ends with the program, some day.
    fn leave(self) {
        if let Self::Child(mut child) = self {
            let waiting = std::thread::Builder::new().name("wait".to_owned()).spawn(move || child.wait());
            drop(waiting);
        }
    }
}

/// Has it opened: our end, and the path of the other end where that is. Another process stays with the program, where that is not a
/// service manager's; the service need not.
pub(super) fn open(machine: &str, opening: &Opening) -> Result<(OwnedFd, String), Error> {
    let (mut opener, mut stream) = Opener::start(machine, opening)?;
    // Whoever does not read it says why.
    let _ = stream.write_all(opening.written(machine).to_string().as_bytes());
    let _ = stream.shutdown(Shutdown::Write);
    let limited = stream.set_read_timeout(Some(PATIENCE)).map_err(|error| errno(&error));
    let heard = limited.and_then(|()| hear(&stream)).map_err(|errno| {
        opener.end();
        let (what, source) = match errno {
            Errno::AGAIN => (format!("open a terminal in {machine}: it does not answer"), Errno::TIMEDOUT),
            source => (STARTING.to_owned(), source),
        };
        Error::System { what, source }
    });
    opener.leave();
    let (told, terminal) = heard?;
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

/// What is told of a failure.
type Told = (String, Errno);

/// Why nothing was opened.
#[derive(Clone)]
enum Failure {
    /// There is no such user.
    User(String),
    /// Something else.
    Other(Told),
}

/// What was opened, and what is to be done until it is over.
struct Opened {
    terminal: Terminal,
    afterwards: Afterwards,
}

enum Afterwards {
    /// Nothing.
    Nothing,
    /// To be the parent of this program.
    Program(OwnedFd),
    /// To have a service manager forget a login.
    Login(Watch),
}

impl From<Terminal> for Opened {
    fn from(terminal: Terminal) -> Self {
        Self { terminal, afterwards: Afterwards::Nothing }
    }
}

/// Opens what was asked for, tells of it, and stays as long as there is something to do. For the process that was started for it.
pub(super) fn carry_out(machine: &str, opening: &Opening) -> Result<(), Told> {
    let found = find(machine);
    let opened = found.as_ref().map_err(Clone::clone).and_then(|machine| open_here(machine.as_ref(), opening));
    let Opened { terminal, afterwards } = match opened {
        Ok(opened) => opened,
        Err(Failure::User(user)) => return tell(&json!({ "user": user }), None),
        Err(Failure::Other((text, errno))) => {
            return tell(&json!({ "message": text, "errno": errno.raw_os_error() }), None);
        }
    };
    tell(&json!({ "path": terminal.path() }), Some(&terminal.master))?;
    // Ours is not the last one: the program sees that its terminal is gone when the caller's is.
    drop(terminal);
    match afterwards {
        Afterwards::Nothing => Ok(()),
        Afterwards::Program(program) => {
            let waited = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(program.as_fd()), WaitIdOptions::EXITED));
            waited.map(drop).map_err(|errno| ("wait for the program".to_owned(), errno))
        }
        Afterwards::Login(watch) => {
            let place = found.ok().flatten();
            let place = place.as_ref().map_or(Place::Host, Place::Machine);
            // A machine that ends just then has nothing left to forget; nobody is left to be told of anything else.
            manager::forget_login(place, &watch).map_err(|error| (crate::log::chain(&error), Errno::IO))
        }
    }
}

/// The machine of this name; none for the host.
fn find(name: &str) -> Result<Option<Machine>, Failure> {
    if name == machines::HOST {
        return Ok(None);
    }
    let found = machines::machine(&Registry::system(), name);
    found.map(Some).map_err(|error| Failure::Other((crate::log::chain(&error), Errno::SRCH)))
}

fn open_here(machine: Option<&Machine>, opening: &Opening) -> Result<Opened, Failure> {
    let command = match opening {
        Opening::Terminal => {
            let made = machine.map_or_else(Terminal::on_host, |machine| Terminal::of(&machine.state));
            let failed = |error| Failure::Other((crate::log::chain(&error), terminal_errno(&error)));
            return made.map(Opened::from).map_err(failed);
        }
        Opening::Login => None,
        Opening::Shell(command) => Some(command),
    };
    let managed = match machine {
        None => manager::manages_host().then_some(Place::Host),
        Some(machine) => {
            let entrance = |error| Failure::Other((crate::log::chain(&error), entrance_errno(&error)));
            manager::manages(machine).map_err(entrance)?.then_some(Place::Machine(machine))
        }
    };
    match (managed, command) {
        (Some(place), None) => {
            let (terminal, watch) = manager::open_login(place).map_err(unmanaged)?;
            Ok(Opened { terminal, afterwards: Afterwards::Login(watch) })
        }
        (Some(place), Some(command)) => manager::open_shell(place, command).map(Opened::from).map_err(unmanaged),
        (None, None) => log_in(machine),
        (None, Some(command)) => run(machine, command).map_err(unstarted),
    }
}

/// A login prompt where no systemd runs: the first of the programs that is there.
fn log_in(machine: Option<&Machine>) -> Result<Opened, Failure> {
    for words in LOGIN_PROGRAMS {
        let arguments = words.iter().map(OsString::from).collect();
        match run(machine, &join::Command { arguments, terminal: true, ..join::Command::default() }) {
            Err(error) if error.exit_code() == 127 => {}
            other => return other.map_err(unstarted),
        }
    }
    let text = "there is neither login(1) nor BusyBox there, so nobody asks for user and password";
    Err(Failure::Other((text.to_owned(), Errno::NOENT)))
}

fn run(machine: Option<&Machine>, command: &join::Command) -> Result<Opened, join::Error> {
    let running = machine.map_or_else(|| join::on_host(command), |machine| join::spawn(machine, command))?;
    let Running { pidfd, master, .. } = running;
    let made = |source| join::Error::System("find the terminal", source);
    let master = master.ok_or(made(Errno::NOTTY))?;
    let number = sys::pty::number(master.as_fd()).map_err(made)?;
    Ok(Opened { terminal: Terminal { master, number }, afterwards: Afterwards::Program(pidfd) })
}

fn tell(value: &Value, terminal: Option<&OwnedFd>) -> Result<(), Told> {
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

fn unstarted(error: join::Error) -> Failure {
    let errno = join_errno(&error);
    match error {
        join::Error::NoSuchUser(user) => Failure::User(user),
        error => Failure::Other((crate::log::chain(&error), errno)),
    }
}

fn unmanaged(error: manager::Error) -> Failure {
    use manager::Error as Manager;
    let errno = match &error {
        Manager::Entrance(error) => entrance_errno(error),
        Manager::Terminal(error) => terminal_errno(error),
        Manager::Bridge { source, .. } => join_errno(source),
        Manager::Talk { source: bus::Error::TimedOut, .. } => Errno::TIMEDOUT,
        Manager::NoProgram(_) => Errno::NOENT,
        Manager::NotAbsolute(_) | Manager::NotText(_) => Errno::INVAL,
        _ => Errno::IO,
    };
    match error {
        Manager::NoSuchUser { user, .. } => Failure::User(user),
        error => Failure::Other((crate::log::chain(&error), errno)),
    }
}

fn terminal_errno(error: &terminal::Error) -> Errno {
    match error {
        terminal::Error::Entrance(error) => entrance_errno(error),
        terminal::Error::Make { source, .. } => *source,
    }
}

fn join_errno(error: &join::Error) -> Errno {
    match error {
        join::Error::Ended(_) => Errno::SRCH,
        join::Error::Paused(_) => Errno::BUSY,
        join::Error::Entrance(error) => entrance_errno(error),
        join::Error::Enter { source, .. }
        | join::Error::System(_, source)
        | join::Error::Inside { source, .. }
        | join::Error::Program { source, .. } => *source,
        _ => Errno::IO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_arrives_as_it_was_sent() {
        let command = join::Command {
            user: Some("web".to_owned()),
            arguments: vec!["/bin/sh".into(), "\u{e4} b".into()],
            called: Some("-sh".into()),
            environment: vec![("A".into(), "b=c".into())],
            directory: None,
            terminal: true,
        };
        let plain = join::Command { terminal: true, ..join::Command::default() };
        for opening in [Opening::Terminal, Opening::Login, Opening::Shell(command), Opening::Shell(plain)] {
            assert_eq!(Opening::read(&opening.written("web")), Some(("web".to_owned(), opening)));
        }
        assert_eq!(Opening::read(&json!({ "what": "bind", "machine": "web" })), None);
    }
}
