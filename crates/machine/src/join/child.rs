//! The joiner, and the command before it is one.
//!
//! The joiner is in the machine's process namespace only with what it makes: nobody inside sees it itself. So it does all that
//! takes privileges or descriptors of the host's, and gives both up, before it makes the command's process, which is seen.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Gid, Signal, Uid, set_dumpable_behavior, set_parent_process_death_signal};
use rustix::thread::{
    CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces, set_thread_res_gid, set_thread_res_uid,
};
use sys::clone::{Namespaces, Side};
use sys::last_step::{Alone, Executed, LastStep};
use sys::process::{Persona, StringVector};
use sys::seccomp::{Flags, Instruction};
use sys::slate::{Message, Slate};

use super::Command;
use super::groups::Groups;
use super::leader::Leader;
use super::report::{self, Step};
use crate::confinement::Confinement;
use crate::login;
use crate::passwd::{self, User};
use crate::program::{self, Failure, Program};

/// What statfs(2) says of a devpts file system.
const DEVPTS_MAGIC: rustix::fs::FsWord = 0x1cd1;
/// Where programs are looked for, and what people who log in get.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where to go, and what to do there.
#[derive(Clone, Copy)]
pub(super) struct Inside<'a> {
    pub(super) leader: &'a OwnedFd,
    pub(super) standing: &'a Leader,
    pub(super) namespaces: Namespaces,
    pub(super) root: &'a OwnedFd,
    pub(super) groups: &'a Groups,
    pub(super) confinement: &'a Confinement,
    pub(super) command: &'a Command,
    pub(super) slate: &'a Slate,
    /// Where root of inside can look into processes of the host's root.
    pub(super) last_step: Option<&'a LastStep>,
}

/// What the command gets of its client.
pub(super) enum Streams {
    /// Standard input, output and error.
    Pipes([OwnedFd; 3]),
    /// Where the other end of its terminal is passed to.
    Terminal(OwnedFd),
}

/// The joiner: enters everything, makes the command as a child of the client, and ends.
pub(super) fn join(inside: &Inside<'_>, streams: Streams) -> ! {
    let message = match try_join(inside, streams) {
        Ok(()) => sys::clone::exit_now(0),
        Err(message) => message,
    };
    inside.slate.write(&message);
    sys::clone::exit_now(1)
}

/// The message that a system call failed in a step.
fn at(step: Step) -> impl Fn(Errno) -> Message {
    move |errno| report::failed(step, &errno.into())
}

/// The message that a step failed.
fn in_step(step: Step) -> impl Fn(Failure) -> Message {
    move |failure| report::failed(step, &failure)
}

fn try_join(inside: &Inside<'_>, streams: Streams) -> Result<(), Message> {
    let Inside { confinement, command, slate, .. } = inside;
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Start))?;
    enter(inside)?;
    let (user, groups) = look_up(command.user.as_deref()).map_err(in_step(Step::User))?;
    let terminal = matches!(streams, Streams::Terminal(_));
    take_streams(streams, &user).map_err(at(Step::Terminal))?;
    // Nothing here uses any other descriptor from now on: not to be there is safer than to be marked.
    let last_step = match inside.last_step {
        Some(last_step) => Some(last_step.close_others(slate).map_err(at(Step::Start))?),
        None => {
            sys::process::close_from(3).map_err(at(Step::Start))?;
            None
        }
    };
    rustix::process::umask(Mode::from_raw_mode(0o022));
    inside.standing.limit(confinement).map_err(at(Step::Resources))?;
    confine(confinement).map_err(in_step(Step::Confine))?;
    program::become_user(&user, &groups, CapabilitySet::empty()).map_err(in_step(Step::Become))?;
    if user.uid == 0 {
        program::limit_capabilities(confinement.capabilities).map_err(in_step(Step::Become))?;
    }
    // A change of ids disarms this, and may allow that.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Start))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at(Step::Start))?;
    enter_directory(command, &user).map_err(in_step(Step::Directory))?;
    sys::signal::reset_dispositions();
    let start = Start::new(command, &user);
    if let Some(last_step) = last_step {
        start.leave_to(&last_step, slate, terminal)?;
    }
    match sys::clone::fork_sibling(slate).map_err(at(Step::Start))? {
        Side::Caller => Ok(()),
        Side::Child => {
            let Err(message) = start.become_command(terminal);
            slate.write(&message);
            sys::clone::exit_now(1)
        }
    }
}

/// Enters all of the machine, as its root.
fn enter(inside: &Inside<'_>) -> Result<(), Message> {
    // Away from what is for the host's root alone: its terminal, the keys of its session, and who has logged in.
    rustix::process::setsid().map_err(at(Step::Start))?;
    login::forget();
    sys::process::leave_session_keyring().map_err(at(Step::Start))?;
    if let Some(label) = &inside.confinement.selinux_context {
        label_program(label).map_err(in_step(Step::Confine))?;
    }
    inside.groups.enter_others().map_err(at(Step::Groups))?;
    inside.standing.take_over(inside.confinement).map_err(at(Step::Resources))?;
    let kinds = ThreadNameSpaceType::from_bits_retain(inside.namespaces.bits());
    move_into_thread_name_spaces(inside.leader.as_fd(), kinds).map_err(at(Step::Namespaces))?;
    // The first process may have another root directory than its mounts have.
    rustix::process::fchdir(inside.root).map_err(at(Step::Root))?;
    rustix::process::chroot(".").map_err(at(Step::Root))?;
    rustix::process::chdir("/").map_err(at(Step::Root))?;
    if inside.namespaces.contains(Namespaces::USER) {
        // Until then we are somebody that it has no number for, whose files nobody there can be given.
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(at(Step::Namespaces))?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(at(Step::Namespaces))?;
    }
    Ok(())
}

/// A terminal of the machine's own.
fn make_terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_terminal(&rustix::fs::open("/dev/pts", flags, Mode::empty())?)
}

/// Both ends of a new terminal of this devpts, the master first. What it is, is looked at before it is used.
///
/// # Errors
/// `ENOTTY` for what is no devpts, those of open(2).
pub(crate) fn open_terminal(devpts: &OwnedFd) -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    if rustix::fs::fstatfs(devpts)?.f_type != DEVPTS_MAGIC {
        return Err(Errno::NOTTY);
    }
    let master = sys::pty::open_in(devpts.as_fd())?;
    let console = sys::pty::peer(master.as_fd())?;
    Ok((master, console))
}

/// What is executed.
pub(super) struct Start {
    /// The candidates, with their arguments.
    programs: Vec<(OsString, Vec<OsString>)>,
    pub(super) environment: Vec<OsString>,
}

impl Start {
    pub(super) fn new(command: &Command, user: &User) -> Self {
        let shells = [user.shell.clone().unwrap_or_else(|| "/bin/sh".into()), "/bin/sh".into()];
        let programs = match command.arguments.first() {
            Some(program) => {
                let mut arguments = command.arguments.clone();
                if let Some(called) = &command.called {
                    arguments[0].clone_from(called);
                }
                vec![(program.clone(), arguments)]
            }
            None => shells.into_iter().map(|shell| (shell.clone(), vec![login_name(&shell)])).collect(),
        };
        Self { programs, environment: environment(command, user) }
    }

    pub(super) fn programs(&self) -> Vec<Program<'_>> {
        self.programs.iter().map(|(path, arguments)| Program { path, arguments }).collect()
    }

    /// Leaves all that is to come to a program that has nothing of the host's. Returns where a filter refuses how that is
    /// executed: it is the host's that wants it so.
    fn leave_to(&self, last_step: &Alone, slate: &Slate, terminal: bool) -> Result<(), Message> {
        let (path, arguments) =
            program::find(&self.programs(), &self.environment).map_err(|failure| report::no_program(&failure))?;
        let environment = program::strings(&self.environment).map_err(|_| at(Step::Start)(Errno::INVAL))?;
        slate.write(&report::about(&path));
        let text = program::is_text(&path);
        let environment = StringVector::new(environment);
        match last_step.execute(Executed { path, arguments, environment: &environment, terminal, text }) {
            Errno::PERM | Errno::NOSYS => sys::process::close_from(3).map_err(at(Step::Start)),
            errno => Err(at(Step::Start)(errno)),
        }
    }

    /// What is left to be done by the command's own process, which has no more than the machine's others. The error is what is to
    /// be told.
    fn become_command(&self, terminal: bool) -> Result<Infallible, Message> {
        // Whoever is asked for the command ends it when it ends itself.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Start))?;
        if is_left() {
            sys::clone::exit_now(0);
        }
        rustix::process::setsid().map_err(at(Step::Start))?;
        if terminal {
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).map_err(at(Step::Terminal))?;
        }
        sys::signal::set_mask(&sys::signal::SignalSet::empty()).map_err(at(Step::Start))?;
        Err(report::no_program(&program::execute(&self.programs(), &self.environment)))
    }
}

/// Whether the client is gone, and with it the other end of standard input. If that was so before the death signal was asked
/// for, there is none.
fn is_left() -> bool {
    let mut input = [PollFd::from_borrowed_fd(rustix::stdio::stdin(), PollFlags::empty())];
    poll(&mut input, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok() && input[0].revents().contains(PollFlags::HUP)
}

/// A shell that is called so reads what is for logins.
fn login_name(shell: &OsStr) -> OsString {
    let mut name = OsString::from("-");
    name.push(Path::new(shell).file_name().unwrap_or(OsStr::new("sh")));
    name
}

pub(super) fn look_up(wanted: Option<&str>) -> Result<(User, Vec<u32>), Failure> {
    let root = wanted.is_none_or(|name| matches!(name, "root" | "0"));
    let known = program::database("/etc/passwd").and_then(|database| {
        let wanted = if root { "0" } else { wanted.unwrap_or("0") };
        let groups = |user: &User| program::database("/etc/group").map(|database| passwd::groups(&database, user));
        passwd::find(&database, wanted).map(|user| groups(&user).map(|groups| (user, groups))).transpose()
    });
    match known {
        Ok(Some((user, groups))) => Ok((user, groups)),
        // Root is there in every system, whatever its files say.
        _ if root => Ok((User::root(), vec![0])),
        Ok(None) => Err(Failure { errno: Errno::SRCH, detail: wanted.unwrap_or_default().to_owned() }),
        Err(failure) => Err(failure),
    }
}

/// What it reads and writes. A terminal is made as the machine's own, and is the user's.
pub(super) fn take_streams(streams: Streams, user: &User) -> rustix::io::Result<()> {
    match streams {
        Streams::Pipes([input, output, errors]) => {
            rustix::stdio::dup2_stdin(&input)?;
            rustix::stdio::dup2_stdout(&output)?;
            rustix::stdio::dup2_stderr(&errors)
        }
        Streams::Terminal(channel) => {
            let (master, console) = make_terminal()?;
            let terminals = program::database("/etc/group").map(|database| passwd::group(&database, "tty"));
            let group = terminals.unwrap_or_default();
            // As mesg(1) has it: members of that group may write to it, where there is one.
            let mode = if group.is_some() { 0o620 } else { 0o600 };
            rustix::fs::fchown(&console, Some(Uid::from_raw(user.uid)), group.map(Gid::from_raw))?;
            rustix::fs::fchmod(&console, Mode::from_raw_mode(mode))?;
            report::pass(&channel, &master)?;
            rustix::stdio::dup2_stdin(&console)?;
            rustix::stdio::dup2_stdout(&console)?;
            rustix::stdio::dup2_stderr(&console)
        }
    }
}

/// What the machine's own processes may not do.
fn confine(confinement: &Confinement) -> Result<(), Failure> {
    let keep = confinement.capabilities;
    for number in 0..64 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if keep & (1 << number) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            // The kernel knows no higher ones.
            Err(Errno::INVAL) => break,
            other => other.map_err(|errno| Failure { errno, detail: "the bounding set".into() })?,
        }
    }
    match confinement.personality.as_deref() {
        Some("x86") => sys::process::set_personality(Persona::Linux32)?,
        Some(_) => sys::process::set_personality(Persona::Linux)?,
        None => {}
    }
    if confinement.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    for filter in &confinement.filters {
        let program: Vec<Instruction> =
            filter.instructions.iter().map(|&(code, jt, jf, k)| Instruction { code, jt, jf, k }).collect();
        let flags = Flags { log: filter.log, allow_speculation: filter.allow_speculation };
        sys::seccomp::load(&program, flags)
            .map_err(|errno| Failure { errno, detail: "the system call filter".into() })?;
    }
    Ok(())
}

/// The SELinux label that execve(2) gives the command. By the host's `/proc`: there is no process of ours in the machine's yet.
fn label_program(label: &str) -> Result<(), Failure> {
    let refused = |errno| Failure { errno, detail: format!("the SELinux label {label}") };
    let file = rustix::fs::open("/proc/thread-self/attr/exec", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    rustix::io::write(file.map_err(refused)?, label.as_bytes()).map_err(refused).map(drop)
}

pub(super) fn enter_directory(command: &Command, user: &User) -> Result<(), Failure> {
    match &command.directory {
        Some(path) => {
            rustix::process::chdir(path).map_err(|errno| Failure { errno, detail: path.display().to_string() })
        }
        // A home that is not there is no reason not to get a shell.
        None => match rustix::process::chdir(user.home.as_os_str()) {
            Ok(()) => Ok(()),
            Err(_) => Ok(rustix::process::chdir("/")?),
        },
    }
}

/// The usual variables, and over them those that were asked for.
fn environment(command: &Command, user: &User) -> Vec<OsString> {
    let mut variables: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), PATH.into()),
        ("HOME".into(), user.home.clone()),
        ("USER".into(), user.name.clone()),
        ("LOGNAME".into(), user.name.clone()),
        ("SHELL".into(), user.shell.clone().unwrap_or_else(|| "/bin/sh".into())),
        ("container".into(), "systemd-nspawn".into()),
    ];
    if command.terminal {
        let term = std::env::var_os("TERM").filter(|term| !term.is_empty());
        variables.push(("TERM".into(), term.unwrap_or_else(|| "vt220".into())));
    }
    for (name, value) in &command.environment {
        variables.retain(|(known, _)| known != name);
        variables.push((name.clone(), value.clone()));
    }
    let pair = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    variables.into_iter().map(pair).collect()
}
