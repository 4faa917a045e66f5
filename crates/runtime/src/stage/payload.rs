//! From the last step to the program: who it is, what it may do, and the program itself.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use plan::{Limits, Plan, Program, WorkingDirectory};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use sys::process::{Persona, StringVector};

use super::files::{About, Failure, write_all};
use super::inner::Inside;
use super::passwd::{self, User};
use super::stub_init;
use crate::filter::{Filter, Filters};
use crate::proto::{Report, Sender, Stage};
use crate::rlimit;

/// The number of a step that has set a lower limit than was asked for.
pub const LOWER_LIMIT: usize = 1;

/// The payload in the form in which it is executed, made ready before the first process is.
#[derive(Debug)]
pub struct Prepared {
    /// The system call filters.
    pub filters: Filters,
    /// The signals that the payload starts with blocked: those that were when redd started.
    pub signal_mask: sys::signal::SignalSet,
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
    take_terminal(inside.console)?;
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
    load(prepared.filters.usual.as_ref())?;
    load(prepared.filters.profile.as_ref().filter(|_| !late))?;
    if payload.stub_init {
        stub_init::split(&plan.limits)?;
    }
    let ambient = CapabilitySet::from_bits_retain(plan.limits.ambient_capabilities.bits());
    become_user(&user, &groups, ambient)?;
    if user.uid == 0 {
        limit_capabilities(&plan.limits)?;
        if let Some(inheritable) = plan.limits.inheritable {
            limit_inheritable(inheritable)?;
        }
    }
    // As the user, who may not be allowed to.
    enter_directory(&payload.directory, &user)?;
    raise_ambient(ambient)?;
    if let Some(label) = &plan.limits.selinux_context {
        label_program(label)?;
    }
    // A change of ids has disarmed it.
    sender.die_with_supervisor();
    sys::signal::set_mask(&prepared.signal_mask)?;
    load(prepared.filters.profile.as_ref().filter(|_| late))?;
    Err(execute(&payload.programs, &environment))
}

fn no_such_processor(cpus: &[u32]) -> String {
    let cpus = cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    format!("this host has none of the processors {cpus} of --cpu-affinity=; see /sys/devices/system/cpu/online")
}

fn look_up(wanted: Option<&str>) -> Result<(User, Vec<u32>), Failure> {
    let Some(wanted) = wanted.filter(|name| !matches!(*name, "root" | "0")) else {
        return Ok((User::root(), Vec::new()));
    };
    let user = passwd::find(&database("/etc/passwd")?, wanted)
        .ok_or_else(|| Failure { errno: Errno::SRCH, detail: missing_user(wanted) })?;
    let groups = passwd::groups(&database("/etc/group")?, &user);
    Ok((user, groups))
}

fn missing_user(name: &str) -> String {
    format!("/etc/passwd of the container has no user {name}; take another one with -u, or make it with useradd inside")
}

/// Reads a database of the container; one that is missing is empty.
fn database(path: &str) -> Result<Vec<u8>, Failure> {
    // Looked at first: opening a device or a fifo can do things by itself.
    match rustix::fs::stat(path) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        Ok(status) if !FileType::from_raw_mode(status.st_mode).is_file() => {
            return Err(Errno::INVAL).about(format_args!("{path} is no regular file"));
        }
        other => drop(other.about(path)?),
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty()).about(path)?;
    let size = usize::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(usize::MAX);
    if size > passwd::LIMIT {
        return Err(Errno::FBIG).about(path);
    }
    let mut bytes = vec![0; size];
    let mut length = 0;
    while length < size {
        match rustix::io::read(&file, &mut bytes[length..]).about(path)? {
            0 => break,
            more => length += more,
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// A session of its own, with the console as its terminal and as standard input, output and error.
fn take_terminal(console: Option<OwnedFd>) -> Result<(), Failure> {
    rustix::process::setsid()?;
    let Some(console) = console else { return Ok(()) };
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
    let maximum = least(wanted.maximum, present.maximum);
    let lower = Rlimit { current: least(wanted.current, maximum), maximum };
    let set = |limit: Rlimit| if limit == present { Ok(()) } else { rustix::process::setrlimit(resource, limit) };
    let name = format!("RLIMIT_{}", limit.resource.name());
    match limit.exact.then(|| set(wanted)) {
        Some(Ok(())) => Ok(None),
        Some(Err(Errno::PERM)) => set(lower).about(&name).map(|()| Some(name)),
        Some(Err(errno)) => Err(errno).about(&name),
        None => set(lower).about(&name).map(|()| None),
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
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

fn load(filter: Option<&Filter>) -> Result<(), Failure> {
    let Some(filter) = filter else { return Ok(()) };
    sys::seccomp::load(&filter.program, filter.flags).about("the system call filter")
}

/// Keeps no more capabilities than the payload may have.
pub(super) fn limit_capabilities(limits: &Limits) -> Result<(), Failure> {
    let keep = limits.capabilities.bits();
    let held = CapabilitySet::from_bits_retain(keep) & rustix::thread::capabilities(None)?.permitted;
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: held };
    rustix::thread::set_capabilities(None, sets).about("the capabilities")
}

/// Hands no more on to what is executed than this.
fn limit_inheritable(inheritable: spec::CapabilitySet) -> Result<(), Failure> {
    let mut sets = rustix::thread::capabilities(None)?;
    sets.inheritable &= CapabilitySet::from_bits_retain(inheritable.bits());
    rustix::thread::set_capabilities(None, sets).about("the inheritable capabilities")
}

/// Becomes somebody else than root, who then has the ambient capabilities alone.
fn become_user(user: &User, groups: &[u32], ambient: CapabilitySet) -> Result<(), Failure> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    if rustix::process::getgroups()? != groups {
        rustix::thread::set_thread_groups(&groups).about("the groups")?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).about("the group")?;
    if user.uid != 0 && !ambient.is_empty() {
        rustix::thread::set_keep_capabilities(true)?;
    }
    rustix::thread::set_thread_res_uid(uid, uid, uid).about("the user")?;
    if user.uid != 0 {
        let sets = CapabilitySets { effective: ambient, permitted: ambient, inheritable: ambient };
        rustix::thread::set_capabilities(None, sets).about("the capabilities")?;
    }
    Ok(())
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

fn execute(programs: &[Program], environment: &[OsString]) -> Failure {
    let Ok(variables) = strings(environment) else { return Errno::INVAL.into() };
    let variables = StringVector::new(variables);
    let mut last = Failure { errno: Errno::NOENT, detail: String::new() };
    for program in programs {
        let Ok(arguments) = strings(&program.arguments) else { return Errno::INVAL.into() };
        let arguments = StringVector::new(arguments);
        for path in candidates(&program.path, environment) {
            let Ok(path_string) = CString::new(path.as_bytes()) else { return Errno::INVAL.into() };
            match sys::process::execute(&path_string, &arguments, &variables) {
                Errno::NOENT | Errno::NOTDIR if !exists(&path) => {}
                Errno::NOEXEC if is_text(&path_string) => last = execute_by_shell(&path_string, program, &variables),
                errno => last = Failure { errno, detail: explain(&path, errno) },
            }
            if last.errno != Errno::NOENT {
                return last;
            }
        }
    }
    if last.detail.is_empty() {
        let names: Vec<_> = programs.iter().map(|program| program.path.display().to_string()).collect();
        last.detail = format!("{} (no such program in the container)", names.join(", "));
    }
    last
}

/// Whether the file begins like one that people have written: a shell that is given another one prints it as an error.
fn is_text(path: &CStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut start = [0; 256];
    let read = rustix::fs::open(path, flags, Mode::empty()).and_then(|file| rustix::io::read(&file, &mut start));
    let odd = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    read.is_ok_and(|length| !start[..length].iter().any(odd))
}

/// A file that is no program is a script of the shell's, as execvp(3) has it.
fn execute_by_shell(script: &CStr, program: &Program, variables: &StringVector) -> Failure {
    let shell = c"/bin/sh";
    let Ok(rest) = strings(program.arguments.get(1..).unwrap_or_default()) else { return Errno::INVAL.into() };
    let words = [shell.to_owned(), script.to_owned()].into_iter().chain(rest);
    let errno = match sys::process::execute(shell, &StringVector::new(words.collect()), variables) {
        Errno::NOENT => Errno::NOEXEC,
        other => other,
    };
    Failure { errno, detail: explain(OsStr::from_bytes(script.to_bytes()), errno) }
}

fn strings(words: &[OsString]) -> Result<Vec<CString>, std::ffi::NulError> {
    words.iter().map(|word| CString::new(word.as_bytes())).collect()
}

/// The places where a program may be: its path, or each directory of `$PATH` for a plain name.
fn candidates(program: &OsStr, environment: &[OsString]) -> Vec<OsString> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.to_owned()];
    }
    let search = environment.iter().find_map(|variable| variable.as_bytes().strip_prefix(b"PATH="));
    let directories = search.unwrap_or_default().split(|byte| *byte == b':');
    directories
        .map(|directory| {
            let mut path = directory.to_vec();
            path.push(b'/');
            path.extend_from_slice(program.as_bytes());
            OsString::from_vec(path)
        })
        .collect()
}

fn exists(path: &OsStr) -> bool {
    rustix::fs::lstat(Path::new(path)).is_ok()
}

/// Says what the kernel's word does not: a missing interpreter or library loader, another machine's program.
fn explain(path: &OsStr, errno: Errno) -> String {
    let why = match errno {
        Errno::NOENT => " (its interpreter or dynamic loader is missing in the container)",
        Errno::NOEXEC => " (no program, or one for another kind of processor)",
        _ => "",
    };
    format!("{}{why}", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_are_searched_for() {
        let environment = [OsString::from("PATH=/a:/b")];
        assert_eq!(candidates("x".as_ref(), &environment), ["/a/x", "/b/x"]);
        assert_eq!(candidates("./x".as_ref(), &environment), ["./x"]);
    }

    #[test]
    fn the_lesser_limit_counts() {
        assert_eq!(least(Some(1), None), Some(1));
        assert_eq!(least(None, None), None);
        assert_eq!(least(Some(3), Some(2)), Some(2));
    }
}
