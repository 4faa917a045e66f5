//! Gives a tree to other ids in a process of its own: the work is done by threads, and this process has none until its
//! last clone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use sys::clone::{Forked, Options};

use crate::proto::{self, Message, Receiver, Report, Sender, Stage};

/// How often the observer is asked at least.
const ASKED_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// Why the tree has not got its ids.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The observer said so.
    #[error(transparent)]
    Interrupted(image::shift::Error),
    /// In the words of the process that did it.
    #[error("{detail}")]
    Failed {
        /// What.
        detail: String,
        /// Why.
        source: Errno,
    },
    /// It has died.
    #[error("the process that changes the owners of the tree's files died; start again to go on with it")]
    Died,
    /// A process.
    #[error("cannot start a process that changes the owners of the tree's files")]
    System(#[source] Errno),
}

/// Gives the tree to the 65536 ids that begin with `base`. `observe` is told how many files have been seen to, and says
/// whether to go on.
///
/// # Errors
/// [`Error`]; the tree may be half way then, and the next run goes on with it.
pub fn run(tree: BorrowedFd<'_>, base: u32, observe: &mut dyn FnMut(u64) -> bool) -> Result<(), Error> {
    let (receiver, sender) = proto::channel().map_err(Error::System)?;
    let (progress, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Error::System)?;
    match sys::clone::fork(&Options::default()).map_err(Error::System)? {
        Forked::Child => {
            drop((receiver, progress));
            // Whoever holds the locks of the tree is gone then.
            sender.die_with_supervisor();
            sys::clone::exit_now(work(tree, base, &sender, &theirs))
        }
        Forked::Parent { pidfd, .. } => {
            drop((sender, theirs));
            let watched = watch(&progress, observe);
            if !matches!(watched, Ok(true)) {
                let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            }
            let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
            match (watched.map_err(Error::System)?, ended.map_err(Error::System)?.and_then(|end| end.exit_status())) {
                (false, _) => Err(Error::Interrupted(image::shift::Error::Interrupted)),
                (true, Some(0)) => Ok(()),
                (true, _) => Err(told(receiver)),
            }
        }
    }
}

/// In the process of its own. The result is its exit code.
fn work(tree: BorrowedFd<'_>, base: u32, sender: &Sender, progress: &OwnedFd) -> i32 {
    let result = image::shift::tree(tree, base, &mut |entries| {
        rustix::io::write(progress, &entries.to_ne_bytes()).is_ok_and(|length| length == size_of::<u64>())
    });
    let Err(error) = result else { return 0 };
    let errno = match &error {
        image::shift::Error::System { source, .. } => *source,
        image::shift::Error::Base(_) => Errno::INVAL,
        image::shift::Error::Interrupted => Errno::PIPE,
    };
    sender.failed(&Report { stage: Stage::Outer, step: 0, errno, detail: error.to_string() });
    1
}

/// Until the other side has ended, or the observer wants an end: then false.
fn watch(progress: &OwnedFd, observe: &mut dyn FnMut(u64) -> bool) -> rustix::io::Result<bool> {
    let mut entries = 0;
    loop {
        let mut fds = [PollFd::new(progress, PollFlags::IN)];
        match poll(&mut fds, Some(&ASKED_EVERY)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => {
                let mut bytes = [0; size_of::<u64>()];
                match rustix::io::read(progress, &mut bytes)? {
                    0 => return Ok(true),
                    _ => entries = u64::from_ne_bytes(bytes),
                }
            }
            Err(errno) => return Err(errno),
        }
        if !observe(entries) {
            return Ok(false);
        }
    }
}

fn told(mut receiver: Receiver) -> Error {
    match receiver.receive() {
        Ok(Some(Message::Failed(Report { errno, detail, .. }))) => Error::Failed { detail, source: errno },
        _ => Error::Died,
    }
}
