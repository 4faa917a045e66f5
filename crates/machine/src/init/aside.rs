//! The first process of a machine, looked at and asked by a child of its supervisor.
//!
//! Some of what tells which init system it is, and some of what that is asked by, is in files of the machine or in its memory. Whose
//! file systems those are is the machine's own affair: a process inside may serve one and never answer, see fuse(4), and who waits
//! for that hears not even SIGKILL. So a child does it that holds nothing of its parent's, and is not waited for beyond a moment.
//! Afterwards the supervisor does with what the kernel alone tells, and with signals.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Signal, WaitId, WaitIdOptions, set_parent_process_death_signal, waitid};
use sys::clone::{Forked, Options};

use super::{Init, catches, takes};
use crate::process::has_ended;

/// How long the child may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long one that was given up may take to end once the machine has: what it waited for is gone then.
const UNTIL_IT_IS_GONE: Duration = Duration::from_millis(500);

/// What a child says that could not let go of what it has of its parent's; no other word.
const NO_ANSWER: u8 = 254;

/// A first process as its supervisor sees it.
#[derive(Debug)]
pub struct Aside<'a> {
    pid: i32,
    process: BorrowedFd<'a>,
    /// Its files do not answer.
    is_given_up: bool,
    /// The child that waits for them.
    hangs: Option<OwnedFd>,
}

impl<'a> Aside<'a> {
    /// Of the process with this number, which the descriptor holds.
    #[must_use]
    pub fn new(pid: i32, process: BorrowedFd<'a>) -> Self {
        Self { pid, process, is_given_up: false, hangs: None }
    }

    /// What a child says that does this: a number, but not 254. Nothing where there can be no child, or it does not come to an
    /// end; after that none is made any more.
    pub fn run(&mut self, work: impl FnOnce(i32, BorrowedFd<'_>) -> u8) -> Option<u8> {
        if self.is_given_up {
            return None;
        }
        let child = match sys::clone::fork(&Options::default()).ok()? {
            Forked::Parent { pidfd, .. } => pidfd,
            Forked::Child => match let_go_of_all(self.process) {
                Ok(()) => sys::clone::exit_now(work(self.pid, self.process).into()),
                Err(_) => sys::clone::exit_now(NO_ANSWER.into()),
            },
        };
        if ends_within(&child, PATIENCE) {
            return reap(&child).filter(|answer| *answer != NO_ANSWER);
        }
        // It ends as soon as the kernel lets it.
        let _ = sys::signal::send(child.as_fd(), Signal::KILL.as_raw());
        self.is_given_up = true;
        self.hangs = Some(child);
        None
    }

    /// The init system that it is, if one is known and its files answer.
    pub fn init(&mut self) -> Option<Init> {
        let number = self.run(|pid, _| Init::of(pid).map_or(0, Init::number))?;
        Init::ALL.into_iter().find(|init| init.number() == number)
    }

    /// As [`takes`], as far as it can be told.
    pub fn takes(&mut self, signal: i32) -> bool {
        let taken = self.run(|pid, _| takes(pid, signal).into());
        taken.map_or_else(|| catches(self.pid, signal), |taken| taken != 0)
    }

    /// A child has ended, whichever.
    pub fn reap(&mut self) {
        if self.hangs.as_ref().is_some_and(has_ended)
            && let Some(child) = self.hangs.take()
        {
            reap(&child);
        }
    }

    /// The machine has ended.
    pub fn finish(mut self) {
        if self.hangs.as_ref().is_some_and(|child| ends_within(child, UNTIL_IT_IS_GONE)) {
            self.reap();
        }
    }
}

/// What is left of the parent's are copies of its memory and the process.
fn let_go_of_all(process: BorrowedFd<'_>) -> rustix::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    sys::process::close_all_others(&[process])?;
    // Nothing that is opened later is taken for one of the standard streams.
    while rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()).map(std::os::fd::IntoRawFd::into_raw_fd)? < 2 {}
    Ok(())
}

fn ends_within(child: &OwnedFd, patience: Duration) -> bool {
    let limit = Timespec { tv_sec: patience.as_secs().cast_signed(), tv_nsec: patience.subsec_nanos().into() };
    let mut fds = [PollFd::new(child, PollFlags::IN)];
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit))).is_ok_and(|ready| ready > 0)
}

/// How it has ended; nothing where it was killed.
fn reap(child: &OwnedFd) -> Option<u8> {
    let status = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(child.as_fd()), WaitIdOptions::EXITED));
    status.ok()??.exit_status()?.try_into().ok()
}
