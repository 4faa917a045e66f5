//! The joiner, and the command before it is one.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces};
use sys::clone::{Forked, Namespaces, Options};
use sys::process::Persona;
use sys::seccomp::{Flags, Instruction};

use super::Command;
use super::groups::Groups;
use super::report::{Reporter, Step};
use crate::confinement::Confinement;
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
    pub(super) namespaces: Namespaces,
    pub(super) root: &'a OwnedFd,
    pub(super) groups: &'a Groups,
    pub(super) confinement: &'a Confinement,
    pub(super) command: &'a Command,
}

/// The joiner: enters everything, makes the command as a child of the client, and ends.
pub(super) fn join(inside: &Inside<'_>, pipes: Option<[OwnedFd; 3]>, reporter: &Reporter) -> ! {
    let (step, failure) = match try_join(inside, pipes, reporter) {
        Ok(()) => sys::clone::exit_now(0),
        Err(failed) => failed,
    };
    reporter.failed(step, failure.errno, &failure.detail);
    sys::clone::exit_now(1)
}

type Failed = (Step, Failure);

fn at(step: Step) -> impl Fn(Errno) -> Failed {
    move |errno| (step, errno.into())
}

fn try_join(inside: &Inside<'_>, pipes: Option<[OwnedFd; 3]>, reporter: &Reporter) -> Result<(), Failed> {
    inside.groups.enter_others().map_err(at(Step::Groups))?;
    let kinds = ThreadNameSpaceType::from_bits_retain(inside.namespaces.bits());
    move_into_thread_name_spaces(inside.leader.as_fd(), kinds).map_err(at(Step::Namespaces))?;
    // The first process may have another root directory than its mounts have.
    rustix::process::fchdir(inside.root).map_err(at(Step::Root))?;
    rustix::process::chroot(".").map_err(at(Step::Root))?;
    rustix::process::chdir("/").map_err(at(Step::Root))?;
    let terminal = if inside.command.terminal { Some(make_terminal().map_err(at(Step::Terminal))?) } else { None };
    let options = Options { namespaces: Namespaces::NONE, cgroup: None, sibling: true };
    match sys::clone::fork(&options).map_err(at(Step::Start))? {
        Forked::Parent { pid, .. } => {
            let master = terminal.as_ref().map(|(master, _)| master.as_fd());
            reporter.made(pid.as_raw_nonzero().get(), master);
            Ok(())
        }
        Forked::Child => {
            let console = terminal.map(|(_, console)| console);
            match become_command(inside, console, pipes) {
                Ok(never) => match never {},
                Err(Why::Step(step, failure)) => reporter.failed(step, failure.errno, &failure.detail),
                Err(Why::Program(failure)) => reporter.no_program(failure.errno, &failure.detail),
            }
            sys::clone::exit_now(1)
        }
    }
}

/// A terminal of the machine's own. What lies at its place is looked at before it is used.
fn make_terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let devpts = rustix::fs::open("/dev/pts", flags, Mode::empty())?;
    if rustix::fs::fstatfs(&devpts)?.f_type != DEVPTS_MAGIC {
        return Err(Errno::NOTTY);
    }
    let master = sys::pty::open_in(devpts.as_fd())?;
    let console = sys::pty::peer(master.as_fd())?;
    Ok((master, console))
}

/// Why the command did not become one.
enum Why {
    Step(Step, Failure),
    Program(Failure),
}

impl From<Failed> for Why {
    fn from((step, failure): Failed) -> Self {
        Self::Step(step, failure)
    }
}

fn become_command(
    inside: &Inside<'_>,
    console: Option<OwnedFd>,
    pipes: Option<[OwnedFd; 3]>,
) -> Result<std::convert::Infallible, Why> {
    let Inside { confinement, command, .. } = inside;
    let (user, groups) = look_up(command.user.as_deref()).map_err(|failure| (Step::User, failure))?;
    take_streams(console, pipes).map_err(at(Step::Terminal))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    sys::process::close_on_exec_from(3).map_err(at(Step::Start))?;
    confine(confinement).map_err(|failure| (Step::Confine, failure))?;
    program::become_user(&user, &groups, CapabilitySet::empty()).map_err(|failure| (Step::Become, failure))?;
    if user.uid == 0 {
        program::limit_capabilities(confinement.capabilities).map_err(|failure| (Step::Become, failure))?;
    }
    enter_directory(command, &user).map_err(|failure| (Step::Directory, failure))?;
    // A change of ids disarms it. Whoever is asked for the command ends it when it ends itself.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Start))?;
    sys::signal::reset_dispositions();
    sys::signal::set_mask(&sys::signal::SignalSet::empty()).map_err(at(Step::Start))?;
    let environment = environment(command, &user);
    let shells = [user.shell.clone().unwrap_or_else(|| "/bin/sh".into()), "/bin/sh".into()];
    let names = shells.each_ref().map(|shell| [login_name(shell)]);
    let programs = if command.arguments.is_empty() {
        shells.iter().zip(&names).map(|(path, name)| Program { path, arguments: name }).collect()
    } else {
        vec![Program { path: &command.arguments[0], arguments: &command.arguments }]
    };
    Err(Why::Program(program::execute(&programs, &environment)))
}

/// A shell that is called so reads what is for logins.
fn login_name(shell: &OsStr) -> OsString {
    let mut name = OsString::from("-");
    name.push(Path::new(shell).file_name().unwrap_or(OsStr::new("sh")));
    name
}

fn look_up(wanted: Option<&str>) -> Result<(User, Vec<u32>), Failure> {
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

/// A session of its own, and what it reads and writes.
fn take_streams(console: Option<OwnedFd>, pipes: Option<[OwnedFd; 3]>) -> rustix::io::Result<()> {
    rustix::process::setsid()?;
    let streams = match (&console, &pipes) {
        (Some(console), _) => {
            rustix::process::ioctl_tiocsctty(console)?;
            [console, console, console]
        }
        (None, Some([input, output, errors])) => [input, output, errors],
        (None, None) => return Err(Errno::BADF),
    };
    rustix::stdio::dup2_stdin(streams[0])?;
    rustix::stdio::dup2_stdout(streams[1])?;
    rustix::stdio::dup2_stderr(streams[2])?;
    // They were copied, and close by themselves.
    debug_assert!(streams.iter().all(|stream| stream.as_raw_fd() > 2));
    Ok(())
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
    if let Some(label) = &confinement.selinux_context {
        let refused = |errno| Failure { errno, detail: format!("the SELinux label {label}") };
        let file = rustix::fs::open("/proc/thread-self/attr/exec", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        rustix::io::write(&file.map_err(refused)?, label.as_bytes()).map_err(refused)?;
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

fn enter_directory(command: &Command, user: &User) -> Result<(), Failure> {
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
