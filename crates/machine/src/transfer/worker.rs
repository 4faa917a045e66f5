//! The two processes of a copy: one on the host, one in the machine.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::CapabilitySet;
use sys::clone::{Forked, Options};
use sys::mount::{Attributes, Change, Propagation, set_attributes};
use sys::open::openat2;

use super::report::{self, About, Failure, Report, Reporter, Reports, Step};
use crate::entrance::{Entrance, keep_capabilities};

/// What is needed for files of others: to reach them, to give them to their owners.
const CAPABILITIES: CapabilitySet = CapabilitySet::DAC_OVERRIDE
    .union(CapabilitySet::DAC_READ_SEARCH)
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID);

/// Where a process works.
#[derive(Clone, Copy)]
pub(super) enum Side<'a> {
    /// On the host.
    Host,
    /// In this machine.
    Machine(&'a Entrance),
}

/// Below which directory paths are looked up.
pub(super) enum Roots {
    /// The host's, as paths lead there.
    Host,
    /// A machine's, out of which nothing leads.
    Machine(OwnedFd),
}

impl Roots {
    /// A directory.
    pub(super) fn directory(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self {
            Self::Host => openat(CWD, path, flags, Mode::empty()),
            Self::Machine(root) => {
                let path = path.strip_prefix("/").unwrap_or(path);
                let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
                let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
                openat2(root, OsStr::from_bytes(path.as_os_str().as_bytes()), flags, Mode::empty(), resolve)
            }
        }
    }
}

/// A process that works.
pub(super) struct Worker {
    pub(super) pidfd: OwnedFd,
    pub(super) reports: Reports,
}

/// Starts one. The caller has one thread. It keeps no descriptor but those named and what it opens on its side.
pub(super) fn start(
    side: Side<'_>,
    writes: bool,
    descriptors: Vec<OwnedFd>,
    work: impl FnOnce(&Roots, Vec<OwnedFd>, &Reporter) -> Result<(), Failure>,
) -> rustix::io::Result<Worker> {
    let (reports, reporter) = report::channel()?;
    match sys::clone::fork(&Options::default())? {
        Forked::Child => {
            drop(reports);
            let worked = catch_unwind(AssertUnwindSafe(|| {
                let (roots, descriptors) = enter(side, writes, descriptors, &reporter)?;
                work(&roots, descriptors, &reporter)
            }));
            let code = match worked {
                Ok(Ok(())) => {
                    reporter.tell(&Report::Done);
                    0
                }
                Ok(Err(failure)) => {
                    reporter.tell(&Report::Failed(failure));
                    1
                }
                Err(_) => 101,
            };
            sys::clone::exit_now(code)
        }
        Forked::Parent { pidfd, .. } => Ok(Worker { pidfd, reports }),
    }
}

/// Goes to where it works, and gives up what it does not need there.
fn enter(
    side: Side<'_>,
    writes: bool,
    descriptors: Vec<OwnedFd>,
    reporter: &Reporter,
) -> Result<(Roots, Vec<OwnedFd>), Failure> {
    let at = Path::new("");
    // What a terminal sends is for whoever has asked.
    rustix::process::setsid().about(Step::Enter, at)?;
    rustix::process::umask(Mode::empty());
    let null = openat(CWD, "/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).about(Step::Enter, at)?;
    rustix::stdio::dup2_stdin(&null).about(Step::Enter, at)?;
    rustix::stdio::dup2_stdout(&null).about(Step::Enter, at)?;
    rustix::stdio::dup2_stderr(&null).about(Step::Enter, at)?;
    drop(null);
    let roots = match side {
        Side::Host => Roots::Host,
        Side::Machine(entrance) => Roots::Machine(enter_machine(entrance, writes).about(Step::Enter, at)?),
    };
    let root = match &roots {
        Roots::Host => None,
        Roots::Machine(root) => Some(root.as_fd()),
    };
    let kept = descriptors.iter().map(AsFd::as_fd).chain(root).chain([reporter.as_fd()]);
    sys::process::close_others(&kept.collect::<Vec<BorrowedFd<'_>>>()).about(Step::Enter, at)?;
    keep_capabilities(CAPABILITIES).about(Step::Enter, at)?;
    if !writes {
        // Who writes has something to remove first.
        set_parent_process_death_signal(Some(Signal::KILL)).about(Step::Enter, at)?;
    }
    Ok((roots, descriptors))
}

/// The machine's files, in a copy of its mounts that is ours alone: nothing that is mounted inside later shows there, device nodes
/// cannot be opened, and who reads cannot write.
fn enter_machine(entrance: &Entrance, writes: bool) -> rustix::io::Result<OwnedFd> {
    entrance.enter_mounts()?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_EMPTY_PATH
        | OpenTreeFlags::AT_RECURSIVE;
    let root = open_tree(&entrance.root, "", flags)?;
    let mut set = Attributes::NO_DEV | Attributes::NO_SUID | Attributes::NO_EXEC;
    if !writes {
        set = set | Attributes::READ_ONLY;
    }
    let change = Change { set, propagation: Some(Propagation::Private), recursive: true, ..Change::default() };
    set_attributes(root.as_fd(), &change)?;
    rustix::process::fchdir(&root)?;
    rustix::process::chroot(".")?;
    if let Some(users) = &entrance.users {
        users.enter()?;
    }
    Ok(root)
}

/// What comes from the other process, as long as the copy is wanted: until the other end of `wanted` is closed.
pub(super) struct Input {
    stream: OwnedFd,
    wanted: OwnedFd,
    buffer: Vec<u8>,
    at: usize,
}

impl Input {
    /// How much is read at once, in bytes.
    const PIECE: usize = 256 << 10;

    pub(super) fn new(stream: OwnedFd, wanted: OwnedFd) -> Self {
        Self { stream, wanted, buffer: Vec::with_capacity(Self::PIECE), at: 0 }
    }

    fn fill(&mut self) -> rustix::io::Result<()> {
        loop {
            let mut ready = [PollFd::new(&self.wanted, PollFlags::empty()), PollFd::new(&self.stream, PollFlags::IN)];
            rustix::io::retry_on_intr(|| poll(&mut ready, None))?;
            if !ready[0].revents().is_empty() {
                return Err(Errno::CANCELED);
            }
            if !ready[1].revents().is_empty() {
                break;
            }
        }
        self.at = 0;
        self.buffer.clear();
        let mut buffer = std::mem::take(&mut self.buffer);
        let read = rustix::io::retry_on_intr(|| {
            rustix::io::read(&self.stream, rustix::buffer::spare_capacity(&mut buffer)).map(drop)
        });
        self.buffer = buffer;
        read
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.fill()?;
        }
        let length = buffer.len().min(self.buffer.len() - self.at);
        buffer[..length].copy_from_slice(&self.buffer[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
