//! Loading system call filters: [`seccomp(2)`](https://man7.org/linux/man-pages/man2/seccomp.2.html).

use rustix::io::{Errno, Result};

use crate::clone::last_errno;

/// One instruction of a classic BPF program, laid out as the kernel's `struct sock_filter`.
pub use libc::sock_filter as Instruction;

/// Loads a filter into the calling thread; it stays for the thread and all it makes.
///
/// # Errors
/// Those of seccomp(2): `EACCES` without `CAP_SYS_ADMIN` and without no-new-privileges, `EINVAL` for a program that the
/// kernel does not accept.
pub fn load(program: &[Instruction]) -> Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::TOOBIG)?;
    let prog = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel reads `len` instructions behind `filter`, which `program` borrows for the call, and writes none.
    let result = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const prog) };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}
