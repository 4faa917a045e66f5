//! [`landlock(7)`](https://man7.org/linux/man-pages/man7/landlock.7.html): a thread gives up all files but those that it names.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};

use crate::clone::last_errno;

/// From `<linux/landlock.h>`: rights to files, by the version of the interface that brought them.
const EXECUTE: u64 = 1 << 0;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
/// All rights to files of versions 1 to 5.
const OF_VERSION: [u64; 5] = [(1 << 13) - 1, (1 << 14) - 1, (1 << 15) - 1, (1 << 15) - 1, (1 << 16) - 1];
/// From version 4 on: TCP ports, binding and connecting.
const NETWORK: u64 = 3;
/// From version 6 on: abstract sockets of others, and signals to others.
const SCOPES: u64 = 3;
/// `LANDLOCK_CREATE_RULESET_VERSION`.
const ASK_VERSION: u32 = 1;
/// `LANDLOCK_RULE_PATH_BENEATH`.
const PATH_BENEATH: u32 = 1;

#[repr(C)]
#[derive(Default)]
struct RulesetAttributes {
    files: u64,
    network: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// What may be done with files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A directory, and all below it, or a file: reading.
    Read,
    /// Likewise, and execution.
    Execute,
}

/// What the thread keeps. Everything that it does not name is lost: writing everywhere, TCP, signals to others and their
/// abstract sockets as far as the kernel can tell.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
    handled: u64,
}

impl Ruleset {
    /// Nothing at all.
    ///
    /// # Errors
    /// `ENOSYS` or `EOPNOTSUPP` where the kernel has no Landlock or it is switched off.
    pub fn new() -> Result<Self> {
        // SAFETY: asked for the version the call takes no memory.
        let version = unsafe {
            libc::syscall(
                libc::SYS_landlock_create_ruleset,
                std::ptr::null::<RulesetAttributes>(),
                0_usize,
                ASK_VERSION,
            )
        };
        let version = usize::try_from(version).map_err(|_| last_errno())?;
        let handled = OF_VERSION[version.clamp(1, OF_VERSION.len()) - 1];
        let attributes = RulesetAttributes {
            files: handled,
            network: if version >= 4 { NETWORK } else { 0 },
            scoped: if version >= 6 { SCOPES } else { 0 },
        };
        // What a kernel does not know must be zero, and is.
        let size = size_of::<RulesetAttributes>();
        // SAFETY: the structure lives across the call and has the size that is passed.
        let fd = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, size, 0_u32) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(last_errno)?;
        // SAFETY: the call has made this descriptor, and nobody else owns it.
        Ok(Self { fd: unsafe { OwnedFd::from_raw_fd(fd) }, handled })
    }

    /// Keeps what is below this file or directory, which may be opened with `O_PATH`.
    ///
    /// # Errors
    /// `EBADFD` for what has no place in the file system, such as a pipe.
    pub fn keep(&mut self, place: BorrowedFd<'_>, access: Access) -> Result<()> {
        let mut allowed = READ_FILE;
        if rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(place)?.st_mode).is_dir() {
            allowed |= READ_DIR;
        }
        if access == Access::Execute {
            allowed |= EXECUTE;
        }
        let rule = PathBeneath { allowed: allowed & self.handled, parent: place.as_raw_fd() };
        // SAFETY: the structure lives across the call and is what this kind of rule takes.
        let added = unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, self.fd.as_raw_fd(), PATH_BENEATH, &raw const rule, 0_u32)
        };
        if added < 0 { Err(last_errno()) } else { Ok(()) }
    }

    /// The calling thread, and whoever it starts from now on, keeps nothing else, and gains no privileges by executing programs.
    ///
    /// # Errors
    /// `E2BIG` where this has been done too often.
    pub fn restrict_thread(self) -> Result<()> {
        rustix::thread::set_no_new_privs(true)?;
        // SAFETY: no memory is passed.
        let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.fd.as_raw_fd(), 0_u32) };
        if restricted < 0 { Err(last_errno()) } else { Ok(()) }
    }
}

/// Whether this is that the kernel cannot do it, and not that it was done wrong.
#[must_use]
pub fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOSYS | Errno::OPNOTSUPP)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{Mode, OFlags, open};

    use super::*;

    #[test]
    fn what_is_not_named_is_lost_to_the_thread_alone() {
        let mut ruleset = match Ruleset::new() {
            Err(errno) if is_absent(errno) => return,
            other => other.expect("a ruleset"),
        };
        let kept = open("/usr", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("a directory");
        ruleset.keep(kept.as_fd(), Access::Read).expect("a rule");
        let read = |path: &str| open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(drop);
        let inside = std::thread::spawn(move || {
            ruleset.restrict_thread().expect("restricted");
            (
                read("/usr/bin"),
                read("/etc/passwd"),
                open("/tmp", OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR).map(drop),
            )
        });
        assert_eq!(inside.join().expect("a thread"), (Ok(()), Err(Errno::ACCESS), Err(Errno::ACCESS)));
        assert_eq!(read("/etc/passwd"), Ok(()));
    }
}
