//! New processes and namespaces: [`clone3(2)`](https://man7.org/linux/man-pages/man2/clone3.2.html) and
//! [`unshare(2)`](https://man7.org/linux/man-pages/man2/unshare.2.html).

use std::ops::BitOr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use crate::slate::Slate;

/// A set of namespaces, see [`namespaces(7)`](https://man7.org/linux/man-pages/man7/namespaces.7.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Namespaces(u32);

impl Namespaces {
    /// No namespace at all.
    pub const NONE: Self = Self(0);
    /// Mount points.
    pub const MOUNT: Self = Self(libc::CLONE_NEWNS as u32);
    /// Process ids.
    pub const PID: Self = Self(libc::CLONE_NEWPID as u32);
    /// Host and domain name.
    pub const UTS: Self = Self(libc::CLONE_NEWUTS as u32);
    /// System V and POSIX message queues, semaphores and shared memory.
    pub const IPC: Self = Self(libc::CLONE_NEWIPC as u32);
    /// Control groups.
    pub const CGROUP: Self = Self(libc::CLONE_NEWCGROUP as u32);
    /// Network devices, addresses, ports.
    pub const NETWORK: Self = Self(libc::CLONE_NEWNET as u32);
    /// User and group ids, capabilities, keys.
    pub const USER: Self = Self(libc::CLONE_NEWUSER as u32);
    /// What the clock counts from that runs since boot. Takes effect for children.
    pub const TIME: Self = Self(libc::CLONE_NEWTIME as u32);

    /// The set without `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// As flags of setns(2).
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Namespaces {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a new process is made with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The namespaces it gets of its own.
    pub namespaces: Namespaces,
    /// The cgroup2 group it starts in (`CLONE_INTO_CGROUP`, Linux 5.7); where it is absent, the caller's.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Make it a sibling of the caller instead of a child (`CLONE_PARENT`); its end is then signalled to the caller's parent.
    pub sibling: bool,
    /// The number it gets in the caller's namespace of process ids (`set_tid`, Linux 5.5); where it is absent, the next.
    /// `EEXIST` if somebody has it, `EPERM` without CAP_CHECKPOINT_RESTORE in the user namespace that owns that namespace.
    pub number: Option<Pid>,
}

/// The two sides of a clone.
#[derive(Debug)]
pub enum Forked {
    /// This is the new process.
    Child,
    /// This is the caller.
    Parent {
        /// The id of the new process, as the caller sees it.
        pid: Pid,
        /// A descriptor that refers to the new process and to no other, ever.
        pidfd: OwnedFd,
    },
}

/// As in `<linux/sched.h>`; libc's constant is too narrow for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

#[repr(C, align(8))]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Makes a new process that goes on with a copy of the caller's memory.
///
/// The child may run any code only because the caller has a single thread: no lock can be held by somebody who is not
/// there any more.
///
/// # Errors
/// Those of clone3(2); `EDEADLK` if the caller has more than one thread.
///
/// See [`clone3(2)`](https://man7.org/linux/man-pages/man2/clone3.2.html).
pub fn fork(options: &Options<'_>) -> Result<Forked> {
    assert_single_thread()?;
    let mut pidfd: libc::c_int = -1;
    let mut args = CloneArgs {
        flags: u64::from(options.namespaces.0) | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArgs::default()
    };
    if options.sibling {
        args.flags |= libc::CLONE_PARENT as u64;
        args.exit_signal = 0;
    }
    if let Some(group) = options.cgroup {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = group.as_raw_fd() as u64;
    }
    let number = options.number.map(|pid| pid.as_raw_nonzero().get());
    if let Some(number) = &number {
        args.set_tid = (&raw const *number) as u64;
        args.set_tid_size = 1;
    }
    // SAFETY: the arguments live across the call and have the size that is passed, as the number does. Without CLONE_VM the child has a
    // copy of this (single) thread's memory and stack, so it goes on as after fork(2).
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) };
    match pid {
        -1 => Err(last_errno()),
        0 => Ok(Forked::Child),
        pid => {
            let pid = Pid::from_raw(i32::try_from(pid).map_err(|_| Errno::OVERFLOW)?).ok_or(Errno::SRCH)?;
            // SAFETY: CLONE_PIDFD succeeded, so the kernel has put a descriptor there that nobody else owns.
            Ok(Forked::Parent { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
        }
    }
}

/// Which side of a clone this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The new process.
    Child,
    /// The caller.
    Caller,
}

/// Makes a sibling of the caller, a child of the caller's parent, and waits until it executes a program or ends. Its number
/// is written on the slate before it runs. No descriptor is made for it.
///
/// By clone(2), because there are system call filters that do not know clone3(2). The caller has checked before that it has
/// one thread: that is what [`fork`] does.
///
/// # Errors
/// Those of [`clone(2)`](https://man7.org/linux/man-pages/man2/clone.2.html), `EPERM` and others where a filter refuses it.
pub fn fork_sibling(slate: &Slate) -> Result<Side> {
    let flags = libc::CLONE_PARENT | libc::CLONE_PARENT_SETTID | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: without CLONE_VM the child goes on with a copy of this thread's memory and stack, as after fork(2); the number
    // goes to a place that the slate has for it. The two arguments behind it, whose order differs, are nothing.
    match unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags), 0usize, slate.place(), 0usize, 0usize) } {
        -1 => Err(last_errno()),
        0 => Ok(Side::Child),
        _ => Ok(Side::Caller),
    }
}

/// Moves the caller into new namespaces.
///
/// # Errors
/// Those of [`unshare(2)`](https://man7.org/linux/man-pages/man2/unshare.2.html).
pub fn unshare(namespaces: Namespaces) -> Result<()> {
    // SAFETY: only CLONE_NEW* bits can be in the set, so no descriptor table is taken from another thread.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::from_bits_retain(namespaces.0)) }
}

/// Asks the kernel: unsharing what threads share is refused to a process that has more than one, and does nothing in
/// one that has not (unshare(2), `CLONE_THREAD`).
fn assert_single_thread() -> Result<()> {
    // SAFETY: with a single thread there is nothing to be unshared, and with more of them the call fails.
    match unsafe { rustix::thread::unshare_unsafe(UnshareFlags::from_bits_retain(libc::CLONE_THREAD as u32)) } {
        Err(Errno::INVAL) => Err(Errno::DEADLK),
        other => other,
    }
}

/// Leaves the process at once: no destructors, no buffers flushed, no exit handlers.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

pub(crate) fn last_errno() -> Errno {
    Errno::from_raw_os_error(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
