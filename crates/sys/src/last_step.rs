//! The last step to a command where somebody looks on who may look into processes of the host's root: by a program that has
//! nothing of the host's, see `last_step/main.rs`.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, SealFlags, fchmod, fcntl_add_seals, memfd_create};
use rustix::io::{Errno, Result, fcntl_dupfd_cloexec, write};

use crate::clone::last_errno;
use crate::process::{StringVector, close_from};
use crate::slate::{Slate, layout};

/// The program: static, a few kilobytes.
static PROGRAM: &[u8] = include_bytes!(env!("REDD_LAST_STEP"));

/// The program in memory that cannot be changed any more, by whoever gets hold of it.
#[derive(Debug)]
pub struct LastStep(OwnedFd);

/// What it is to execute.
#[derive(Debug)]
pub struct Executed<'a> {
    /// The file.
    pub path: CString,
    /// Its arguments, its own name first.
    pub arguments: Vec<CString>,
    /// Its environment.
    pub environment: &'a StringVector,
    /// It has the terminal that is standard input.
    pub terminal: bool,
    /// Where it is no program, it is a script of the shell's.
    pub text: bool,
}

impl LastStep {
    /// Puts it into memory.
    ///
    /// # Errors
    /// Those of [`memfd_create(2)`](https://man7.org/linux/man-pages/man2/memfd_create.2.html): `EACCES` where
    /// `vm.memfd_noexec` is 2.
    pub fn new() -> Result<Self> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let memory = match memfd_create("redd", flags | MemfdFlags::EXEC) {
            // Linux before 6.3.
            Err(Errno::INVAL) => memfd_create("redd", flags),
            other => other,
        }?;
        if write(&memory, PROGRAM)? != PROGRAM.len() {
            return Err(Errno::NOSPC);
        }
        // Who executes what may not be read cannot be looked into by who has no power over its owner.
        fchmod(&memory, Mode::from_raw_mode(0o111))?;
        fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Ok(Self(memory))
    }

    /// Closes all that the caller has open, whoever owns it, but standard input, output and error, and what this takes: the
    /// program and the slate.
    ///
    /// # Errors
    /// Those of fcntl(2), dup3(2) and close_range(2).
    pub fn close_others(&self, slate: &Slate) -> Result<Alone> {
        const SLATE: i32 = layout::DESCRIPTOR as i32;
        const PROGRAM: i32 = SLATE + 1;
        // Out of the way of each other first.
        let slate = fcntl_dupfd_cloexec(slate.memory(), PROGRAM + 1)?;
        let program = fcntl_dupfd_cloexec(self.0.as_fd(), PROGRAM + 1)?;
        // SAFETY: whatever has these numbers belongs to nobody who goes on using it: that is what is asked of callers.
        let moved = unsafe {
            libc::dup3(program.as_raw_fd(), PROGRAM, libc::O_CLOEXEC) >= 0 && libc::dup2(slate.as_raw_fd(), SLATE) >= 0
        };
        if !moved {
            return Err(last_errno());
        }
        drop((slate, program));
        close_from(PROGRAM.unsigned_abs() + 1)?;
        Ok(Alone(PROGRAM))
    }
}

/// The program's descriptor in a process that has no other ones.
#[derive(Debug)]
pub struct Alone(i32);

impl Alone {
    /// Executes the program: it makes a process that has standard input, output and error and no other descriptor, as a sibling,
    /// which executes what is wanted, and ends with that. What fails is told on the slate, in the place of the error there.
    ///
    /// # Errors
    /// Returns only if that cannot be executed.
    pub fn execute(&self, wanted: Executed<'_>) -> Errno {
        let mut letters = Vec::new();
        letters.extend(wanted.terminal.then_some(layout::TERMINAL));
        letters.extend(wanted.text.then_some(layout::TEXT));
        let Ok(letters) = CString::new(letters) else { return Errno::INVAL };
        let words = [letters, wanted.path].into_iter().chain(wanted.arguments);
        crate::process::execute_file(self.0, &StringVector::new(words.collect()), wanted.environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_can_change_it() {
        let step = LastStep::new().unwrap();
        assert!(PROGRAM.starts_with(b"\x7fELF") && PROGRAM.len() < 16384);
        assert_eq!(write(&step.0, b"x"), Err(Errno::PERM));
        assert_eq!(rustix::fs::ftruncate(&step.0, 0), Err(Errno::PERM));
        let path = format!("/proc/self/fd/{}", step.0.as_raw_fd());
        let opened = std::fs::OpenOptions::new().write(true).open(path);
        // Whoever may open it cannot write to it either.
        assert!(opened.is_err() || std::io::Write::write(&mut opened.unwrap(), b"x").is_err());
    }
}
