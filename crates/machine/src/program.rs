//! From the last step to a program in a container: who it is, what it keeps, and the program itself.
//!
//! Runs inside, in a process that is to become the program. Nothing of the container's has to run for it.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use sys::process::StringVector;

use crate::passwd::{self, User};

/// What did not work.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kernel's reason.
    pub errno: Errno,
    /// What it was about.
    pub detail: String,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, detail: String::new() }
    }
}

/// Adds what an error was about.
trait About<T> {
    fn about(self, thing: impl Display) -> Result<T, Failure>;
}

impl<T> About<T> for rustix::io::Result<T> {
    fn about(self, thing: impl Display) -> Result<T, Failure> {
        self.map_err(|errno| Failure { errno, detail: thing.to_string() })
    }
}

/// One candidate of a program.
#[derive(Clone, Copy, Debug)]
pub struct Program<'a> {
    /// Its path, or a name that is searched for in `$PATH`.
    pub path: &'a OsStr,
    /// Its arguments, its own name first.
    pub arguments: &'a [OsString],
}

/// Reads a database of the container; one that is missing is empty.
///
/// # Errors
/// Those of open(2) and read(2); `EINVAL` for what is no regular file, `EFBIG` for one that is too large.
pub fn database(path: &str) -> Result<Vec<u8>, Failure> {
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

/// Keeps no more capabilities than the payload may have.
///
/// # Errors
/// Those of capset(2).
pub fn limit_capabilities(keep: u64) -> Result<(), Failure> {
    let held = CapabilitySet::from_bits_retain(keep) & rustix::thread::capabilities(None)?.permitted;
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: held };
    rustix::thread::set_capabilities(None, sets).about("the capabilities")
}

/// Becomes somebody else than root, who then has these capabilities alone.
///
/// # Errors
/// Those of setgroups(2), setresuid(2) and capset(2).
pub fn become_user(user: &User, groups: &[u32], kept: CapabilitySet) -> Result<(), Failure> {
    let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
    if rustix::process::getgroups()? != groups {
        rustix::thread::set_thread_groups(&groups).about("the groups")?;
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    rustix::thread::set_thread_res_gid(gid, gid, gid).about("the group")?;
    if user.uid != 0 && !kept.is_empty() {
        rustix::thread::set_keep_capabilities(true)?;
    }
    rustix::thread::set_thread_res_uid(uid, uid, uid).about("the user")?;
    if user.uid != 0 {
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: kept };
        rustix::thread::set_capabilities(None, sets).about("the capabilities")?;
    }
    Ok(())
}

/// Executes the first of the programs that exists. Returns only if that fails.
pub fn execute(programs: &[Program<'_>], environment: &[OsString]) -> Failure {
    let Ok(variables) = strings(environment) else { return Errno::INVAL.into() };
    let variables = StringVector::new(variables);
    let mut last = Failure { errno: Errno::NOENT, detail: String::new() };
    for program in programs {
        let Ok(arguments) = strings(program.arguments) else { return Errno::INVAL.into() };
        let arguments = StringVector::new(arguments);
        for path in candidates(program.path, environment) {
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
    if last.detail.is_empty() { nowhere(programs) } else { last }
}

/// The file that [`execute`] would take, that of the first program that exists, and its arguments.
///
/// # Errors
/// `ENOENT` where there is none; `EINVAL` for words that no program can be given.
pub fn find(programs: &[Program<'_>], environment: &[OsString]) -> Result<(CString, Vec<CString>), Failure> {
    for program in programs {
        if let Some(path) = candidates(program.path, environment).into_iter().find(|path| exists(path)) {
            let path = CString::new(path.into_vec()).map_err(|_| Errno::INVAL)?;
            return Ok((path, strings(program.arguments).map_err(|_| Errno::INVAL)?));
        }
    }
    Err(nowhere(programs))
}

fn nowhere(programs: &[Program<'_>]) -> Failure {
    let names: Vec<_> = programs.iter().map(|program| Path::new(program.path).display().to_string()).collect();
    Failure { errno: Errno::NOENT, detail: format!("{} (no such program in the container)", names.join(", ")) }
}

/// Whether the file begins like one that people have written: a shell that is given another one prints it as an error.
pub fn is_text(path: &CStr) -> bool {
    // Opening what is no file can do things by itself.
    if !rustix::fs::stat(path).is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_file()) {
        return false;
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let mut start = [0; 256];
    let read = rustix::fs::open(path, flags, Mode::empty()).and_then(|file| rustix::io::read(&file, &mut start));
    let odd = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    read.is_ok_and(|length| !start[..length].iter().any(odd))
}

/// A file that is no program is a script of the shell's, as execvp(3) has it.
fn execute_by_shell(script: &CStr, program: &Program<'_>, variables: &StringVector) -> Failure {
    let shell = c"/bin/sh";
    let Ok(rest) = strings(program.arguments.get(1..).unwrap_or_default()) else { return Errno::INVAL.into() };
    let words = [shell.to_owned(), script.to_owned()].into_iter().chain(rest);
    let errno = match sys::process::execute(shell, &StringVector::new(words.collect()), variables) {
        Errno::NOENT => Errno::NOEXEC,
        other => other,
    };
    Failure { errno, detail: explain(OsStr::from_bytes(script.to_bytes()), errno) }
}

pub(crate) fn strings(words: &[OsString]) -> Result<Vec<CString>, std::ffi::NulError> {
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
pub fn explain(path: &OsStr, errno: Errno) -> String {
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
}
