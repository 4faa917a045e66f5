//! From the last step to the program: who it is, what it may do, and the program itself.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use machine::passwd::{self, User};
use machine::program;
use machine::rlimit;
use plan::{Limits, Plan, WorkingDirectory};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use spec::oci::ProgramSets;
use sys::process::Persona;

use super::files::{About, Failure, write_all};
use super::inner::Inside;
use super::stub_init;
use crate::filter::{Filter, Filters};
use crate::proto::{Report, Sender, Stage};

/// The number of a step that has set a lower limit than was asked for.
pub const LOWER_LIMIT: usize = 1;
/// The number of a step that has not made the home of the user.
pub const HOME: usize = 2;
/// A home that must never be there, for users who have none (Debian Policy, 9.2.3).
const NO_HOME: &str = "/nonexistent";

/// The payload in the form in which it is executed, made ready before the first process is.
#[derive(Debug)]
pub struct Prepared {
    /// The system call filters.
    pub filters: Filters,
}

/// Starts the payload. Returns only if that fails.
pub fn start(plan: &Plan, prepared: &Prepared, inside: Inside, sender: &Sender) -> Failure {
    match try_start(plan, prepared, inside, sender) {
        Ok(never) => match never {},
        Err(failure) => failure,
    }
}

fn try_start(
    plan: &Plan,
    prepared: &Prepared,
    inside: Inside,
    sender: &Sender,
) -> Result<std::convert::Infallible, Failure> {
    let payload = &plan.payload;
    let (user, groups) = match &payload.user_ids {
        Some(ids) => (User::of_ids(ids.uid, ids.gid), ids.groups.clone()),
        None => look_up(payload.user.as_deref())?,
    };
    take_terminal(inside.console, &user)?;
    if payload.user_ids.is_none()
        && user.uid != 0
        && let Err(failure) = make_home(&user)
    {
        sender.note(&Report { stage: Stage::Payload, step: HOME, errno: failure.errno, detail: failure.detail });
    }
    for limit in &plan.limits.resources {
        if let Some(detail) = apply_limit(limit)? {
            sender.note(&Report { stage: Stage::Payload, step: LOWER_LIMIT, errno: Errno::PERM, detail });
        }
    }
    if let Some(cpus) = &plan.limits.cpu_affinity {
        sys::process::set_cpu_affinity(cpus).map_err(|errno| match errno {
            Errno::INVAL => Failure { errno, detail: no_such_processor(cpus) },
            errno => Failure { errno, detail: "the processors of --cpu-affinity=".to_owned() },
        })?;
    }
    if let Some(personality) = plan.limits.personality {
        sys::process::set_personality(match personality {
            spec::Personality::X86 => Persona::Linux32,
            spec::Personality::X86_64 => Persona::Linux,
        })?;
    }
    let environment = environment(plan, &user);
    rustix::process::umask(Mode::from_raw_mode(payload.umask));
    sys::process::close_on_exec_from(3)?;
    sys::inherited::inherit(payload.inherited, true).about("the descriptors of $LISTEN_FDS")?;
    // Loaded last where no privilege is needed for that, so that it need not allow what is done here until then.
    let late = plan.limits.no_new_privileges && !payload.stub_init;
    confine(&plan.limits)?;
    load(prepared.filters.usual.as_ref().filter(|_| !inside.filtered))?;
    load(prepared.filters.profile.as_ref().filter(|_| !late))?;
    if payload.stub_init {
        stub_init::split(&plan.limits)?;
    }
    let ambient = CapabilitySet::from_bits_retain(plan.limits.ambient_capabilities.bits());
    let sets = plan.limits.program_sets.as_ref().map(capability_sets).transpose()?;
    let kept = sets.map_or(ambient, |sets| sets.permitted | sets.inheritable);
    program::become_user(&user, &groups, kept)?;
    if user.uid == 0 {
        program::limit_capabilities(plan.limits.capabilities.bits())?;
    }
    if let Some(sets) = sets {
        rustix::thread::set_capabilities(None, sets).about("the capabilities")?;
    }
    // As the user, who may not be allowed to.
    enter_directory(&payload.directory, &user)?;
    raise_ambient(ambient)?;
    if let Some(label) = &plan.limits.selinux_context {
        label_program(label)?;
    }
    // A change of ids has disarmed it.
    sender.die_with_supervisor();
    // Whoever started us may have had some blocked: that is not the payload's.
    sys::signal::set_mask(&sys::signal::SignalSet::empty())?;
    load(prepared.filters.profile.as_ref().filter(|_| late))?;
    let programs: Vec<_> =
        payload.programs.iter().map(|one| program::Program { path: &one.path, arguments: &one.arguments }).collect();
    Err(program::execute(&programs, &environment).into())
}

fn no_such_processor(cpus: &[u32]) -> String {
    let cpus = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    format!("this host has none of the processors {cpus} of --cpu-affinity=; see /sys/devices/system/cpu/online")
}

fn look_up(wanted: Option<&str>) -> Result<(User, Vec<u32>), Failure> {
    let Some(wanted) = wanted.filter(|name| !matches!(*name, "root" | "0")) else {
        return Ok((User::root(), Vec::new()));
    };
    let user = passwd::find(&program::database("/etc/passwd")?, wanted)
        .ok_or_else(|| Failure { errno: Errno::SRCH, detail: missing_user(wanted) })?;
    let groups = passwd::groups(&program::database("/etc/group")?, &user);
    Ok((user, groups))
}

fn missing_user(name: &str) -> String {
    format!("/etc/passwd of the container has no user {name}; take another one with -u, or make it with useradd inside")
}

/// The user's home, if there is none, and the directories above it. Links lead where they lead for the container's root: this
/// process sees its files alone.
fn make_home(user: &User) -> Result<(), Failure> {
    let home = Path::new(&user.home);
    if !home.is_absolute() || home == Path::new(NO_HOME) || rustix::fs::stat(home).is_ok() {
        return Ok(());
    }
    let mode = Mode::from_raw_mode(0o755);
    let mut above: Vec<_> = home.ancestors().skip(1).collect();
    above.reverse();
    for directory in above {
        match rustix::fs::mkdir(directory, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            other => return other.about(directory.display()),
        }
    }
    rustix::fs::mkdir(home, mode).about(home.display())?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::open(home, flags, Mode::empty()).about(home.display())?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::fs::chownat(&made, "", Some(uid), Some(gid), AtFlags::EMPTY_PATH).about(home.display())
}

/// A session of its own, with the console as its terminal and as standard input, output and error. The terminal is the
/// user's, who can open it again then, as `/dev/stderr`, too.
fn take_terminal(console: Option<OwnedFd>, user: &User) -> Result<(), Failure> {
    rustix::process::setsid()?;
    let Some(console) = console else { return Ok(()) };
    if user.uid != 0 {
        let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
        rustix::fs::fchown(&console, Some(uid), Some(gid)).about("/dev/console")?;
    }
    rustix::process::ioctl_tiocsctty(&console).about("/dev/console")?;
    rustix::stdio::dup2_stdin(&console)?;
    rustix::stdio::dup2_stdout(&console)?;
    Ok(rustix::stdio::dup2_stderr(&console)?)
}

/// Sets a limit, or the highest that the host lets anybody have. Of one that was asked for the result is its name then.
fn apply_limit(limit: &plan::ResourceLimit) -> Result<Option<String>, Failure> {
    let resource = rlimit::resource(limit.resource);
    let present = rustix::process::getrlimit(resource);
    let wanted = Rlimit { current: limit.limit.soft, maximum: limit.limit.hard };
    // What we may not have ourselves we cannot give.
    let lower = rlimit::within(&wanted, &present);
    let set = |limit: Rlimit| if limit == present { Ok(()) } else { rustix::process::setrlimit(resource, limit) };
    let name = format!("RLIMIT_{}", limit.resource.name());
    match limit.exact.then(|| set(wanted)) {
        Some(Ok(())) => Ok(None),
        Some(Err(Errno::PERM)) => set(lower).about(&name).map(|()| Some(name)),
        Some(Err(errno)) => Err(errno).about(&name),
        None => set(lower).about(&name).map(|()| None),
    }
}

fn enter_directory(directory: &WorkingDirectory, user: &User) -> Result<(), Failure> {
    match directory {
        WorkingDirectory::Root => Ok(()),
        // A home that is not there is no reason not to get a shell.
        WorkingDirectory::Home => match rustix::process::chdir(user.home.as_os_str()) {
            Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP) => Ok(()),
            other => other.about(user.home.display()),
        },
        WorkingDirectory::Path(path) => rustix::process::chdir(path.as_path()).about(path),
    }
}

/// The variables: the usual ones, those of the user, and over all those that were asked for.
fn environment(plan: &Plan, user: &User) -> Vec<OsString> {
    let mut variables = plan.payload.environment.clone();
    let pair = |name: &OsStr, value: &OsStr| {
        let mut variable = name.to_owned();
        variable.push("=");
        variable.push(value);
        variable
    };
    // Who is known by a number alone has neither.
    if plan.payload.user_ids.is_none() || user.uid == 0 {
        for (name, value) in [("HOME", &user.home), ("USER", &user.name), ("LOGNAME", &user.name)] {
            variables.push(pair(name.as_ref(), value));
        }
    }
    for (name, value) in &plan.payload.environment_override {
        variables.retain(|variable| {
            variable.as_bytes().strip_prefix(name.as_bytes()).is_none_or(|rest| !rest.starts_with(b"="))
        });
        variables.push(pair(name, value));
    }
    variables
}

/// Gives up for good what nothing in the container shall have. Done before the stub init and the program part, so that
/// neither can get more than the other. The capabilities themselves are given up later: loading the filter and becoming
/// another user takes some.
fn confine(limits: &Limits) -> Result<(), Failure> {
    let keep = limits.capabilities.bits();
    for number in (0..=limits.last_capability).filter(|number| keep & (1 << number) == 0) {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::remove_capability_from_bounding_set(capability).about("the bounding set")?;
    }
    if limits.no_new_privileges {
        rustix::thread::set_no_new_privs(true)?;
    }
    Ok(())
}

/// Loads a filter, if there is one.
///
/// # Errors
/// Those of seccomp(2).
pub(super) fn load(filter: Option<&Filter>) -> Result<(), Failure> {
    let Some(filter) = filter else { return Ok(()) };
    sys::seccomp::load(&filter.program, filter.flags).about("the system call filter")
}

/// What there is of the sets: nobody can give what the host does not have.
fn capability_sets(sets: &ProgramSets) -> Result<CapabilitySets, Failure> {
    let held = rustix::thread::capabilities(None)?.permitted;
    let set = |set: spec::CapabilitySet| CapabilitySet::from_bits_retain(set.bits()) & held;
    Ok(CapabilitySets {
        effective: set(sets.effective),
        permitted: set(sets.permitted),
        inheritable: set(sets.inheritable),
    })
}

/// What the program keeps although it is not root's, see capabilities(7).
fn raise_ambient(ambient: CapabilitySet) -> Result<(), Failure> {
    for capability in ambient.iter() {
        rustix::thread::configure_capability_in_ambient_set(capability, true).about("the ambient capabilities")?;
    }
    Ok(())
}

/// The SELinux label that execve(2) gives the program.
fn label_program(label: &str) -> Result<(), Failure> {
    let file = rustix::fs::open("/proc/thread-self/attr/exec", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    write_all(file.about("/proc/thread-self/attr/exec")?.as_fd(), label.as_bytes()).about(label)
}
