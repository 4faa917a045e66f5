//! Properties of the calling process that rustix has no word for, and its replacement by another program.

use std::ffi::{CStr, CString};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::Result;
use rustix::process::{Signal, set_parent_process_death_signal};

use crate::clone::last_errno;

/// Sets the ids that file access is checked against, see
/// [`setfsuid(2)`](https://man7.org/linux/man-pages/man2/setfsuid.2.html). The call itself reports no errors: a refusal
/// shows when files are made.
pub fn set_file_system_ids(uid: u32, gid: u32) {
    // SAFETY: both calls take plain numbers.
    unsafe {
        libc::setfsgid(gid);
        libc::setfsuid(uid);
    }
}

/// Sets the execution domain, see [`personality(2)`](https://man7.org/linux/man-pages/man2/personality.2.html).
///
/// # Errors
/// `EINVAL` where the kernel does not know it.
pub fn set_personality(persona: Persona) -> Result<()> {
    let number: libc::c_ulong = match persona {
        Persona::Linux => 0,
        Persona::Linux32 => 8,
    };
    // SAFETY: the call takes a plain number.
    let result = unsafe { libc::personality(number) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// An execution domain; the numbers are those of `<sys/personality.h>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persona {
    /// The native one.
    Linux,
    /// `uname(2)` names the 32-bit machine.
    Linux32,
}

/// A list of strings as `execve(2)` takes it, made before it is needed.
#[derive(Debug)]
pub struct StringVector {
    strings: Vec<CString>,
    pointers: Vec<*const libc::c_char>,
}

impl StringVector {
    /// Takes the strings over.
    #[must_use]
    pub fn new(strings: Vec<CString>) -> Self {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Self { strings, pointers }
    }

    /// Puts `string` in front of the others.
    pub fn push_front(&mut self, string: CString) {
        self.pointers.insert(0, string.as_ptr());
        self.strings.insert(0, string);
    }

    /// The strings.
    #[must_use]
    pub fn strings(&self) -> &[CString] {
        &self.strings
    }
}

/// Replaces the program of this process. Returns only if that fails.
///
/// See [`execve(2)`](https://man7.org/linux/man-pages/man2/execve.2.html).
pub fn execute(path: &CStr, arguments: &StringVector, environment: &StringVector) -> rustix::io::Errno {
    // SAFETY: path is NUL-terminated; both vectors end with a null pointer and their strings live as long as they do.
    unsafe { libc::execve(path.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr()) };
    last_errno()
}

/// Replaces the program of this process by an open file. Returns only if that fails.
///
/// See [`execveat(2)`](https://man7.org/linux/man-pages/man2/execveat.2.html).
pub(crate) fn execute_file(file: i32, arguments: &StringVector, environment: &StringVector) -> rustix::io::Errno {
    // SAFETY: as for `execute`; an empty path means the file itself.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file,
            c"".as_ptr(),
            arguments.pointers.as_ptr(),
            environment.pointers.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    last_errno()
}

/// Leaves the session keyring that was inherited, and has a new one: what is in the other one is for who possesses it.
///
/// # Errors
/// Those of [`keyctl(2)`](https://man7.org/linux/man-pages/man2/keyctl.2.html). A kernel without keys has none to be left;
/// where a filter refuses the call, it does so to all that this process executes, too.
pub fn leave_session_keyring() -> Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_int = 1;
    // SAFETY: without a name the new keyring is anonymous; no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<u8>()) };
    match result {
        -1 if matches!(last_errno(), rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => Ok(()),
        -1 => Err(last_errno()),
        _ => Ok(()),
    }
}

/// Restricts the calling thread to the given processors.
///
/// # Errors
/// `EINVAL` if none of them can be used here.
///
/// See [`sched_setaffinity(2)`](https://man7.org/linux/man-pages/man2/sched_setaffinity.2.html).
pub fn set_cpu_affinity(cpus: &[u32]) -> Result<()> {
    let words = cpus.iter().max().map_or(1, |cpu| *cpu as usize / 64 + 1);
    let mut mask = vec![0u64; words];
    for cpu in cpus {
        mask[*cpu as usize / 64] |= 1 << (cpu % 64);
    }
    // SAFETY: the kernel reads as many bytes behind the pointer as the slice has.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(mask.as_slice()), mask.as_ptr().cast()) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Marks every descriptor from `first` on as close-on-exec: the payload inherits what it was given and nothing else.
///
/// # Errors
/// Those of [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html).
pub fn close_on_exec_from(first: u32) -> Result<()> {
    // SAFETY: no descriptor is closed, only a flag is set on those that exist.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Closes every descriptor from `first` on, whoever owns it. For a process that goes on without using any.
///
/// # Errors
/// Those of [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html).
pub fn close_from(first: u32) -> Result<()> {
    // SAFETY: the caller uses no descriptor any more, which is what its documentation asks for.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// Closes every descriptor but the standard streams and these, whoever owns it. For a process that goes on with these alone, and
/// ends without giving up what it owned before.
///
/// # Errors
/// Those of [`close_range(2)`](https://man7.org/linux/man-pages/man2/close_range.2.html).
pub fn close_others(keep: &[BorrowedFd<'_>]) -> Result<()> {
    close_between(3, keep)
}

/// The same with the standard streams.
///
/// # Errors
/// As [`close_others`].
pub fn close_all_others(keep: &[BorrowedFd<'_>]) -> Result<()> {
    close_between(0, keep)
}

/// Closes every descriptor from `lowest` on but these.
fn close_between(lowest: u32, keep: &[BorrowedFd<'_>]) -> Result<()> {
    let mut kept: Vec<u32> = keep.iter().filter_map(|fd| u32::try_from(fd.as_raw_fd()).ok()).collect();
    kept.sort_unstable();
    let mut first = lowest;
    for fd in kept.into_iter().filter(|fd| *fd >= lowest).chain([u32::MAX]) {
        if fd > first {
            // SAFETY: what is closed is used no more, which is what this function's documentation asks for.
            let result = unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
            if result < 0 {
                return Err(last_errno());
            }
        }
        first = fd.saturating_add(1);
    }
    Ok(())
}

/// Has the kernel send a signal to the program of `command` when the thread that starts it has ended, with its process or
/// without, see `PR_SET_PDEATHSIG` in [`prctl(2)`](https://man7.org/linux/man-pages/man2/prctl.2.html). So that thread has to
/// wait for the program. It is not started where its parent is gone before the kernel knows.
pub fn end_with_starter(command: &mut Command, signal: Signal) -> &mut Command {
    let parent = rustix::process::getpid();
    let arm = move || {
        set_parent_process_death_signal(Some(signal))?;
        match rustix::process::getppid() {
            Some(now) if now == parent => Ok(()),
            _ => Err(rustix::io::Errno::SRCH.into()),
        }
    };
    // SAFETY: in the child of a process with threads only system calls are made; nothing is allocated and no lock taken.
    unsafe { command.pre_exec(arm) }
}

/// Shows another name for this process, in place of its command line, too, and nothing in place of its environment. Where
/// these lie is found out from `/proc/self/stat`; where that cannot be read nothing happens. What std::env says of the
/// variables afterwards means nothing.
pub fn rename(name: &std::ffi::CStr) {
    // It is cut off to what the kernel has room for.
    let _ = rustix::thread::set_name(name);
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    let bytes = name.to_bytes();
    for (strings, shown) in [(ARGUMENTS, bytes), (ENVIRONMENT, &[][..])] {
        let Some((start, end)) = in_memory(&stat, strings) else { continue };
        // SAFETY: the kernel says that the strings lie there, on the stack of this process, where they may be written; nobody
        // has a reference to them, because std hands out copies, and there is no other thread that could be making one.
        unsafe {
            let area = std::slice::from_raw_parts_mut(start as *mut u8, end - start);
            area.fill(0);
            let length = shown.len().min(area.len().saturating_sub(1));
            area[..length].copy_from_slice(&shown[..length]);
        }
    }
}

/// The field `arg_start` of proc_pid_stat(5), behind which `arg_end` is.
const ARGUMENTS: usize = 48;
/// `env_start`, behind which `env_end` is.
const ENVIRONMENT: usize = 50;

/// From where to where these strings lie.
fn in_memory(stat: &str, field: usize) -> Option<(usize, usize)> {
    // The second field, in parentheses, may hold blanks.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(field - 3);
    let (start, end) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    (start != 0 && end > start).then_some((start, end))
}

/// A resource limit of another process.
///
/// # Errors
/// Those of [`prlimit(2)`](https://man7.org/linux/man-pages/man2/prlimit.2.html): `EPERM` for a process of another user.
pub fn limit_of(pid: rustix::process::Pid, resource: rustix::process::Resource) -> Result<rustix::process::Rlimit> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: no new limit is given, and there is room for the old one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            pid.as_raw_nonzero().get(),
            resource as libc::c_uint,
            std::ptr::null::<libc::rlimit64>(),
            &raw mut limit,
        )
    };
    if result < 0 {
        return Err(last_errno());
    }
    let finite = |value| Some(value).filter(|value| *value != libc::RLIM64_INFINITY);
    Ok(rustix::process::Rlimit { current: finite(limit.rlim_cur), maximum: finite(limit.rlim_max) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_program_ends_with_the_thread_that_started_it() {
        let start = || {
            let mut command = Command::new("sleep");
            end_with_starter(command.arg("1000"), Signal::TERM).spawn().unwrap()
        };
        let mut child = std::thread::spawn(start).join().unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(Signal::TERM.as_raw()));
    }
}
