//! Loading system call filters: [`seccomp(2)`](https://man7.org/linux/man-pages/man2/seccomp.2.html).

use rustix::io::{Errno, Result};

use crate::clone::last_errno;

/// One instruction of a classic BPF program, laid out as the kernel's `struct sock_filter`.
pub use libc::sock_filter as Instruction;

/// How a filter is loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// All that it does but allowing a call is logged.
    pub log: bool,
    /// Speculative execution stays as it is.
    pub allow_speculation: bool,
}

/// Loads a filter into the calling thread; it stays for the thread and all it makes.
///
/// # Errors
/// Those of seccomp(2): `EACCES` without `CAP_SYS_ADMIN` and without no-new-privileges, `EINVAL` for a program that the
/// kernel does not accept.
pub fn load(program: &[Instruction], flags: Flags) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let prog = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    let mut bits = 0;
    if flags.log {
        bits |= libc::SECCOMP_FILTER_FLAG_LOG;
    }
    if flags.allow_speculation {
        bits |= libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    }
    // SAFETY: the kernel reads `len` instructions behind `filter`, which `program` borrows for the call, and writes none.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, bits, &raw const prog) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
