//! Commands in a machine that runs: made by the client, with nothing needed inside.
//!
//! A process of ours (the joiner) enters the control group and all namespaces of the machine's first process, which it holds by
//! a descriptor, and makes the command as a child of the client. What the machine's own processes may not do, the command may
//! not either ([`Confinement`](crate::Confinement)).
//!
//! **Inside is hostile.** The joiner is not seen there. It gives up all that the machine's processes do not have, and closes
//! what is open, before it makes the command's process, which is seen: that one has three descriptors and executes. Neither
//! is dumpable until then. The command gets ends of pipes, or a terminal of the machine's own, never a descriptor or a terminal
//! of the host's. Users are looked up in files that are read as text. Where the
//! machine has no users of its own its root is the host's, as everywhere.

mod child;
mod groups;
mod host;
mod leader;
mod report;

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    DumpableBehavior, Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, set_dumpable_behavior,
    waitid,
};
use sys::clone::{Forked, Namespaces, Options};
use sys::last_step::LastStep;
use sys::slate::Slate;

use crate::control::client::Described;
use crate::entrance;
use crate::process::has_ended;
use crate::registry::{self, Machine};
use crate::state::Class;

pub(crate) use child::open_terminal;
use child::{Inside, Streams};
pub use host::on_host;
use leader::Leader;

/// The signal for a system call that a filter refuses.
const SIGSYS: i32 = Signal::SYS.as_raw();

/// What asks for user and password where no systemd runs, by the first of these that is there.
pub const LOGIN_PROGRAMS: [&[&str]; 2] = [&["login"], &["busybox", "login"]];

/// What is run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// As whom, by name or number of inside; root where absent.
    pub user: Option<String>,
    /// The program and its arguments; the user's login shell where there are none.
    pub arguments: Vec<OsString>,
    /// What the program is called, where that is not what it is: its `argv[0]`.
    pub called: Option<OsString>,
    /// Variables beside the usual ones; they win.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts; the user's home, or the root directory where that is missing.
    pub directory: Option<PathBuf>,
    /// On a terminal of its own, which is made inside. `$TERM` is the caller's then.
    pub terminal: bool,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has ended.
    #[error("the machine {0} has just ended")]
    Ended(String),
    /// Nothing runs in it.
    #[error("the machine {0} is paused, and nothing runs in it until 'redd resume {0}'")]
    Paused(String),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// It does not come up.
    #[error(transparent)]
    Entrance(#[from] entrance::Error),
    /// A step on the way in.
    #[error("cannot {action} of the machine {machine}")]
    Enter {
        /// What was tried.
        action: &'static str,
        /// With which machine.
        machine: String,
        /// Why it failed.
        source: Errno,
    },
    /// A system call of ours.
    #[error("cannot {0}")]
    System(&'static str, #[source] Errno),
    /// A step inside.
    #[error("cannot {action}{}", about(.detail))]
    Inside {
        /// Which.
        action: &'static str,
        /// What it was about.
        detail: String,
        /// Why it failed.
        source: Errno,
    },
    /// The user.
    #[error("the machine has no user {0} (in its /etc/passwd); take another one with -u")]
    NoSuchUser(String),
    /// The program.
    #[error("cannot run {program}")]
    Program {
        /// Which, and what else is known.
        program: String,
        /// Why not.
        source: Errno,
    },
}

fn about(detail: &str) -> String {
    if detail.is_empty() { String::new() } else { format!(": {detail}") }
}

impl Error {
    /// The exit code that a shell has for it: 127 for a program that is not there, 126 for one that cannot be run.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Program { source: Errno::NOENT, .. } => 127,
            Self::Program { .. } => 126,
            _ => 1,
        }
    }
}

/// A command that runs in a machine: a child of the caller.
#[derive(Debug)]
pub struct Running {
    /// It itself.
    pub pidfd: OwnedFd,
    /// What goes into its standard input, unless it has a terminal.
    pub input: Option<OwnedFd>,
    /// What comes out of its standard output.
    pub output: Option<OwnedFd>,
    /// What comes out of its standard error.
    pub errors: Option<OwnedFd>,
    /// Our end of its terminal, if it has one.
    pub master: Option<OwnedFd>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Killed(i32),
}

impl Running {
    /// Waits for its end.
    ///
    /// # Errors
    /// `ECHILD` if somebody has waited for it before.
    pub fn wait(&self) -> rustix::io::Result<End> {
        let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED))?;
        Ok(end(&status.ok_or(Errno::CHILD)?))
    }
}

fn end(status: &WaitIdStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code),
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => End::Exited(1),
    }
}

/// Runs a command. The caller has one thread, and is the host's root.
///
/// # Errors
/// An [`Error`]; nothing of the command is left then.
pub fn spawn(machine: &Machine, command: &Command) -> Result<Running, Error> {
    match machine.state.class {
        Class::Container => {}
        Class::Vm => return Err(entrance::Error::Virtual(machine.state.name.clone()).into()),
        Class::Host => return Err(entrance::Error::Host(machine.state.name.clone()).into()),
    }
    let Described { state, paused, .. } = entrance::await_program(machine)?;
    let name = &state.name;
    if paused {
        return Err(Error::Paused(name.clone()));
    }
    let enter = |action| move |source| Error::Enter { action, machine: name.clone(), source };
    let leader = state.leader.open_in_this_boot().ok_or_else(|| Error::Ended(name.clone()))?;
    let pid = state.leader.pid;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty());
    let groups = groups::of(pid);
    let namespaces = namespaces(pid);
    let standing = Leader::of(pid);
    // All of that was found by the number, which was the first process's if it still lives.
    if has_ended(&leader) {
        return Err(Error::Ended(name.clone()));
    }
    let root = root.map_err(enter("open the root directory"))?;
    let groups = groups.map_err(enter("find the control groups"))?;
    let namespaces = namespaces.map_err(enter("look at the namespaces"))?;
    if !namespaces.contains(Namespaces::MOUNT) {
        return Err(entrance::Error::SameMounts(name.clone()).into());
    }
    let standing = standing.map_err(enter("look at the first process"))?;
    let confinement = match machine.confinement()? {
        Some(confinement) => confinement,
        None => standing.confinement().map_err(enter("take over what confines the first process"))?,
    };
    if has_ended(&leader) {
        return Err(Error::Ended(name.clone()));
    }
    let (ours, theirs) = streams(command.terminal)?;
    let slate = Slate::new().map_err(system("get memory"))?;
    // With users of its own the machine has no power over processes whose memory belongs to the host's.
    let unprotected = !namespaces.contains(Namespaces::USER);
    let last_step = if unprotected {
        Some(
            LastStep::new()
                .map_err(system("get memory that a program can be executed in (see sysctl vm.memfd_noexec)"))?,
        )
    } else {
        None
    };
    let inside = Inside {
        leader: &leader,
        standing: &standing,
        namespaces,
        root: &root,
        groups: &groups,
        confinement: &confinement,
        command,
        slate: &slate,
        last_step: last_step.as_ref(),
    };
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(system("keep others from looking into this process"))?;
    let options = Options { cgroup: groups.unified.as_ref().map(AsFd::as_fd), ..Options::default() };
    let joiner = match sys::clone::fork(&options).map_err(enter("enter the control group"))? {
        Forked::Child => {
            drop(ours);
            child::join(&inside, theirs)
        }
        Forked::Parent { pidfd, .. } => pidfd,
    };
    drop(theirs);
    // It ends when the command is one, or has failed.
    let end = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(joiner.as_fd()), WaitIdOptions::EXITED));
    let end = end.and_then(|status| status.ok_or(Errno::CHILD)).map_err(system("wait for the command"))?;
    let pidfd = made(&slate, self::end(&end), name)?;
    Ok(match ours {
        Ours::Pipes([input, output, errors]) => {
            Running { pidfd, input: Some(input), output: Some(output), errors: Some(errors), master: None }
        }
        Ours::Terminal(channel) => {
            let master = report::take(&channel).map_err(system("take the command's terminal"))?;
            Running { pidfd, input: None, output: None, errors: None, master }
        }
    })
}

/// Our side of what a command is given.
enum Ours {
    Pipes([OwnedFd; 3]),
    Terminal(OwnedFd),
}

fn streams(terminal: bool) -> Result<(Ours, Streams), Error> {
    if terminal {
        let (ours, theirs) = report::channel().map_err(system("make a socket pair"))?;
        return Ok((Ours::Terminal(ours), Streams::Terminal(theirs)));
    }
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(system("make a pipe"));
    let ((input, our_input), (our_output, output), (our_errors, errors)) = (pipe()?, pipe()?, pipe()?);
    Ok((Ours::Pipes([our_input, our_output, our_errors]), Streams::Pipes([input, output, errors])))
}

fn system(action: &'static str) -> impl Fn(Errno) -> Error {
    move |source| Error::System(action, source)
}

/// The command, or why there is none. What is on the slate may have been written inside, by who has power over its processes.
fn made(slate: &Slate, joiner: End, machine: &str) -> Result<OwnedFd, Error> {
    let failure = slate.read().map(|message| report::error(&message));
    let Some(pid) = Pid::from_raw(slate.number()).filter(|pid| pid.as_raw_nonzero().get() > 0) else {
        let action = "start the command";
        return Err(failure.unwrap_or_else(|| match joiner {
            End::Killed(SIGSYS) => {
                let detail = "the machine's filter of system calls lets no processes be made".to_owned();
                Error::Inside { action, detail, source: Errno::ACCESS }
            }
            End::Exited(code @ 1..) => Error::System(action, Errno::from_raw_os_error(code)),
            _ => Error::Ended(machine.to_owned()),
        }));
    };
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).map_err(system("hold the command"))?;
    // A child of ours that nobody has waited for yet, or the number is somebody else's.
    let looking = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    waitid(WaitId::PidFd(pidfd.as_fd()), looking).map_err(system("hold the command"))?;
    if let Some(failure) = failure {
        let _ = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
        return Err(failure);
    }
    Ok(pidfd)
}

/// Those of a process that are not ours. One's own user namespace cannot be joined again.
fn namespaces(pid: i32) -> rustix::io::Result<Namespaces> {
    let all = [
        ("user", Namespaces::USER),
        ("mnt", Namespaces::MOUNT),
        ("uts", Namespaces::UTS),
        ("ipc", Namespaces::IPC),
        ("pid", Namespaces::PID),
        ("net", Namespaces::NETWORK),
        ("cgroup", Namespaces::CGROUP),
    ];
    let look = |who: &str, name: &str| rustix::fs::stat(format!("/proc/{who}/ns/{name}")).map(|status| status.st_ino);
    let who = pid.to_string();
    let mut others = Namespaces::NONE;
    for (name, one) in all {
        if look(&who, name)? != look("self", name)? {
            others = others | one;
        }
    }
    Ok(others)
}
