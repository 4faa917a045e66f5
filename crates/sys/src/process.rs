//! Properties of the calling process that rustix has no word for, and its replacement by another program.

use std::ffi::{CStr, CString};

use rustix::io::Result;

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
