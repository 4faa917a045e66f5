//! Which calls a container may make.

use crate::groups::{self, KNOWN};
use crate::set::{self, CallSet};

/// A change to the list of allowed calls, one word of `--system-call-filter=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Add to the list, or (words behind `~`) remove from it.
    pub allow: bool,
    /// A call, or a group with its `@`.
    pub name: String,
    /// How one that is removed is refused; with `EPERM` where absent.
    pub refusal: Option<Refusal>,
}

/// How a call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It fails with this error number.
    Errno(u16),
    /// It ends the process, as by `SIGSYS`.
    Kill,
}

/// The families that socket(2) may be called with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// One bit for each of the numbers below 64: those that are allowed.
    pub known: u64,
    /// All others are allowed.
    pub others: bool,
}

/// What a filter does with each call: an allow-list.
///
/// A known call that is not on it fails with `EPERM`. A number that the filter does not know (newer than redd) fails
/// with `ENOSYS`, so that programs fall back to older calls as on an older kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    allow: CallSet,
    suppress_sync: bool,
    families: Option<Families>,
    /// Those that are not refused with `EPERM`.
    refused: Vec<(CallSet, Refusal)>,
    unknown: Vec<String>,
}

/// Calls that every container may make.
const ALWAYS: CallSet = CallSet::of(&[
    "brk",
    "capget",
    "capset",
    "copy_file_range",
    "fadvise64",
    "fadvise64_64",
    "flock",
    "get_mempolicy",
    "getcpu",
    "getpriority",
    "getrandom",
    "ioctl",
    "ioprio_get",
    "kcmp",
    "madvise",
    "mincore",
    "mprotect",
    "mremap",
    "name_to_handle_at",
    "oldolduname",
    "olduname",
    "personality",
    "readahead",
    "readdir",
    "remap_file_pages",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_yield",
    "sendfile",
    "sendfile64",
    "setdomainname",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "sethostname",
    "setpgid",
    "setsid",
    "splice",
    "sysinfo",
    "tee",
    "umask",
    "uname",
    "userfaultfd",
    "vmsplice",
])
.or(&groups::AIO)
.or(&groups::BASIC_IO)
.or(&groups::CHOWN)
.or(&groups::DEFAULT)
.or(&groups::FILE_SYSTEM)
.or(&groups::IO_EVENT)
.or(&groups::IPC)
.or(&groups::MOUNT)
.or(&groups::NETWORK_IO)
.or(&groups::PROCESS)
.or(&groups::RESOURCES)
.or(&groups::SETUID)
.or(&groups::SIGNAL)
.or(&groups::SYNC)
.or(&groups::TIMER);

/// Calls that go with a capability, by its number in `<linux/capability.h>`.
const WITH_CAPABILITY: &[(u32, CallSet)] = &[
    (14, groups::MEMLOCK),                                                   // CAP_IPC_LOCK
    (16, groups::MODULE),                                                    // CAP_SYS_MODULE
    (17, groups::RAW_IO),                                                    // CAP_SYS_RAWIO
    (19, CallSet::of(&["process_vm_readv", "process_vm_writev", "ptrace"])), // CAP_SYS_PTRACE
    (20, CallSet::of(&["acct"])),                                            // CAP_SYS_PACCT
    (22, CallSet::of(&["reboot"])),                                          // CAP_SYS_BOOT
    (25, groups::CLOCK),                                                     // CAP_SYS_TIME
    (26, CallSet::of(&["vhangup"])),                                         // CAP_SYS_TTY_CONFIG
    (34, CallSet::of(&["syslog"])),                                          // CAP_SYSLOG
];

/// The calls of a group, or the one of this name.
fn named(name: &str) -> Option<CallSet> {
    if name.starts_with('@') {
        return groups::find(name).map(|group| group.calls);
    }
    let mut calls = CallSet::EMPTY;
    calls.insert(set::id(name)?);
    Some(calls)
}

impl Policy {
    /// The list of a container whose bounding set has these capabilities (bit n: capability number n), with the
    /// changes of `--system-call-filter=`: what they remove stays removed, whatever else adds it and in which order.
    /// Names that are neither those of calls, of any architecture, nor of groups change nothing; see [`Self::unknown`].
    #[must_use]
    pub fn container_default(capabilities: u64, edits: &[Edit]) -> Self {
        let mut allow = ALWAYS;
        for (capability, calls) in WITH_CAPABILITY {
            if capabilities >> capability & 1 != 0 {
                allow = allow.or(calls);
            }
        }
        let mut removed = CallSet::EMPTY;
        let mut refused = Vec::new();
        let mut unknown = Vec::new();
        for edit in edits {
            let Some(calls) = named(&edit.name) else {
                unknown.push(edit.name.clone());
                continue;
            };
            if edit.allow {
                allow = allow.or(&calls);
            } else {
                removed = removed.or(&calls);
                refused.extend(edit.refusal.map(|refusal| (calls, refusal)));
            }
        }
        Self { allow: allow.without(&removed), suppress_sync: false, families: None, refused, unknown }
    }

    /// With `true`, calls that write data through to the disk do nothing and succeed, and files cannot be opened so that
    /// each write does (`--suppress-sync=`).
    #[must_use]
    pub fn with_suppressed_sync(mut self, suppress: bool) -> Self {
        self.suppress_sync = suppress;
        self
    }

    /// Sockets can be made of these families alone. The 32-bit `socketcall` hands the family over in memory, where a
    /// filter cannot look, and a ring of `io_uring` makes sockets without a call: with a restriction neither makes any.
    #[must_use]
    pub fn with_families(mut self, families: Option<Families>) -> Self {
        self.families = families;
        self
    }

    /// The names among the changes that nothing has; those of newer kernels, or misspelled ones.
    #[must_use]
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// The calls that are allowed.
    #[must_use]
    pub fn allow(&self) -> &CallSet {
        &self.allow
    }

    /// Whether it lets all through, whatever the arguments, that the list lets every container do, but for sockets of the
    /// audit system.
    #[must_use]
    pub fn lets_the_usual_through(&self) -> bool {
        ALWAYS.without(&self.allow) == CallSet::EMPTY && !self.suppress_sync && self.families.is_none()
    }

    pub(crate) fn action(&self, id: u16) -> Action {
        if self.allow.has(id) {
            if self.suppress_sync {
                match id {
                    SYNC | MSYNC => return Action::Errno(0),
                    _ if groups::SYNC.has(id) => return Action::SucceedUnlessNegative,
                    OPEN => return Action::AllowUnlessSynchronous(1),
                    OPENAT => return Action::AllowUnlessSynchronous(2),
                    // Its flags are in memory, where a filter cannot look; programs fall back to openat(2).
                    OPENAT2 => return Action::Errno(ENOSYS),
                    _ => {}
                }
            }
            match (id, self.families) {
                (SOCKET, Some(families)) => Action::AllowFamilies(families),
                (SOCKET, None) => Action::AllowUnlessAudit,
                (SOCKETCALL, Some(_)) => Action::AllowUnlessSocket,
                (IO_URING_SETUP, Some(_)) => Action::Errno(ENOSYS),
                _ => Action::Allow,
            }
        } else if let Some((_, refusal)) = self.refused.iter().rev().find(|(calls, _)| calls.has(id)) {
            match refusal {
                Refusal::Errno(number) => Action::Errno(*number),
                Refusal::Kill => Action::Kill,
            }
        } else if KNOWN.has(id) {
            Action::Errno(EPERM)
        } else {
            Action::Errno(ENOSYS)
        }
    }
}

/// What is done with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// It goes on to the kernel.
    Allow,
    /// It goes on, except that an audit netlink socket fails with `EAFNOSUPPORT`: PAM and systemd take that for a
    /// kernel without audit, which is what a container has.
    AllowUnlessAudit,
    /// As that, and all families but these fail with `EAFNOSUPPORT`.
    AllowFamilies(Families),
    /// It goes on, except that socketcall(2) for `SYS_SOCKET` fails with `EAFNOSUPPORT`.
    AllowUnlessSocket,
    /// It ends the process.
    Kill,
    /// What the kernel is told, as it has it.
    Return(u32),
    /// It depends on the arguments: a [`crate::profile::Check`], by its number.
    Check(u16),
    /// It fails with this error number; with 0 it does nothing and succeeds.
    Errno(u16),
    /// It does nothing and succeeds, except that it goes on where its first argument, a descriptor, is negative: programs
    /// that ask with such a one expect an error.
    SucceedUnlessNegative,
    /// It goes on, except that open(2) or openat(2) with `O_DSYNC` (which `O_SYNC` has in it) among the flags, the
    /// argument of this number (1 or 2), fails with `EINVAL`.
    AllowUnlessSynchronous(u8),
}

pub(crate) const EPERM: u16 = 1;
pub(crate) const EINVAL: u16 = 22;
pub(crate) const ENOSYS: u16 = 38;
pub(crate) const EAFNOSUPPORT: u16 = 97;

const SOCKET: u16 = known("socket");
const SOCKETCALL: u16 = known("socketcall");
const IO_URING_SETUP: u16 = known("io_uring_setup");
const SYNC: u16 = known("sync");
const MSYNC: u16 = known("msync");
const OPEN: u16 = known("open");
const OPENAT: u16 = known("openat");
const OPENAT2: u16 = known("openat2");

const fn known(name: &str) -> u16 {
    match set::id(name) {
        Some(id) => id,
        None => panic!("the call is not in NAMES"),
    }
}
