//! System call filters of another process, which is stopped for a moment for that:
//! [`ptrace(2)`](https://man7.org/linux/man-pages/man2/ptrace.2.html).

use std::time::{Duration, Instant};

use rustix::io::{Errno, Result};
use rustix::process::Pid;

use crate::clone::last_errno;
use crate::seccomp::Instruction;

/// What the C library takes a request for.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

/// The numbers of `<linux/ptrace.h>`.
const PTRACE_SECCOMP_GET_FILTER: Request = 0x420c;
const PTRACE_EVENT_STOP: i32 = 128;

/// A process that is traced by us, and stands still.
struct Stopped {
    pid: libc::pid_t,
    /// What it was about to get.
    signal: i32,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It is gone if that fails.
        let _ = request(libc::PTRACE_DETACH, self.pid, 0, self.signal as usize);
    }
}

fn request(request: Request, pid: libc::pid_t, address: usize, data: usize) -> Result<usize> {
    // SAFETY: the requests here read and write nothing of ours but instructions, for which the caller has room.
    let result = unsafe { libc::ptrace(request, pid, address, data) };
    if result < 0 { Err(last_errno()) } else { Ok(result as usize) }
}

impl Stopped {
    /// Stops it. Being traced ends with the caller, too.
    fn stop(pid: libc::pid_t, patience: Duration) -> Result<Self> {
        request(libc::PTRACE_SEIZE, pid, 0, 0)?;
        request(libc::PTRACE_INTERRUPT, pid, 0, 0)?;
        let until = Instant::now() + patience;
        loop {
            let mut status = 0;
            // SAFETY: the status is an integer of ours.
            match unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::WNOHANG) } {
                0 if Instant::now() > until => return Err(Errno::TIMEDOUT),
                0 => std::thread::sleep(Duration::from_micros(200)),
                -1 => return Err(last_errno()),
                _ if libc::WIFSTOPPED(status) => {
                    // Stopped by us, or by a signal that it has not got yet.
                    let signal = if status >> 16 == PTRACE_EVENT_STOP { 0 } else { libc::WSTOPSIG(status) };
                    return Ok(Self { pid, signal });
                }
                _ => return Err(Errno::SRCH),
            }
        }
    }

    /// The filter with this number, in the order in which they were loaded; nothing behind them all.
    fn filter(&self, number: usize) -> Result<Option<Vec<Instruction>>> {
        let length = match request(PTRACE_SECCOMP_GET_FILTER, self.pid, number, 0) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        let mut program = vec![Instruction { code: 0, jt: 0, jf: 0, k: 0 }; length];
        // It stands still, and has the same filter.
        let written = request(PTRACE_SECCOMP_GET_FILTER, self.pid, number, program.as_mut_ptr() as usize)?;
        if written == length { Ok(Some(program)) } else { Err(Errno::INVAL) }
    }
}

/// All filters of a process, in the order in which they were loaded. It is stopped meanwhile, and goes on.
///
/// # Errors
/// `EPERM` where somebody else traces it; `EACCES` for who is not the host's root or has a filter; `EIO` for a kernel without
/// `CONFIG_CHECKPOINT_RESTORE`; `ETIMEDOUT` if it does not stop.
pub fn filters_of(pid: Pid, patience: Duration) -> Result<Vec<Vec<Instruction>>> {
    let stopped = Stopped::stop(pid.as_raw_nonzero().get(), patience)?;
    let mut filters = Vec::new();
    while let Some(filter) = stopped.filter(filters.len())? {
        filters.push(filter);
    }
    Ok(filters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_a_child() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        const ALLOW: u32 = 0x7fff_0000;
        let filter = |value| [Instruction { code: 6, jt: 0, jf: 0, k: value }];
        let mut command = std::process::Command::new("sleep");
        // SAFETY: system calls alone happen between fork and exec.
        unsafe {
            std::os::unix::process::CommandExt::pre_exec(command.arg("1000"), move || {
                crate::seccomp::load(&filter(ALLOW), crate::seccomp::Flags::default())?;
                Ok(crate::seccomp::load(&filter(ALLOW + 1), crate::seccomp::Flags::default())?)
            })
        };
        let mut child = command.spawn().unwrap();
        let pid = Pid::from_child(&child);
        let found = filters_of(pid, Duration::from_secs(5));
        // It goes on: nothing holds it when it is killed.
        child.kill().unwrap();
        child.wait().unwrap();
        match found {
            Ok(filters) => {
                let values: Vec<_> = filters.iter().flatten().map(|one| one.k).collect();
                assert!(values.ends_with(&[ALLOW, ALLOW + 1]), "{values:x?}");
            }
            Err(errno) => assert!(matches!(errno, Errno::IO | Errno::ACCESS | Errno::PERM), "{errno}"),
        }
        assert_eq!(filters_of(pid, Duration::from_secs(5)).err(), Some(Errno::SRCH));
    }
}
