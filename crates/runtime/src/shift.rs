//! Gives a tree to other ids in a process of its own: the work is done by threads, and this process has none until its
//! last clone.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use image::shift::Report as Done;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions, waitid};
use sys::clone::{Forked, Options};

use crate::proto::{self, Message, Receiver, Report, Sender, Stage};

/// How often the observer is asked at least.
const ASKED_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };

/// In a report: the words say it all.
const WITHOUT_REASON: Errno = Errno::CANCELED;

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
        /// Why, if the kernel said it.
        source: Option<Errno>,
    },
    /// It has died.
    #[error("the process that changes the owners of the tree's files died; start again to go on with it")]
    Died,
    /// A process.
    #[error("cannot start a process that changes the owners of the tree's files")]
    System(#[source] Errno),
}

/// Gives the tree to the 65536 ids that begin with `base`, and tells what was done. `observe` is told how many files have
/// been seen to, and says whether to go on.
///
/// # Errors
/// [`Error`]; the tree may be half way then, and the next run goes on with it.
pub fn run(tree: BorrowedFd<'_>, base: u32, observe: &mut dyn FnMut(u64) -> bool) -> Result<Done, Error> {
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
            if !matches!(watched, Ok(Some(_))) {
                let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            }
            let ended = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED));
            match (watched.map_err(Error::System)?, ended.map_err(Error::System)?.and_then(|end| end.exit_status())) {
                (None, _) => Err(Error::Interrupted(image::shift::Error::Interrupted)),
                (Some(done), Some(0)) => Ok(done),
                (Some(_), _) => Err(told(receiver)),
            }
        }
    }
}

/// In the process of its own. The result is its exit code.
fn work(tree: BorrowedFd<'_>, base: u32, sender: &Sender, progress: &OwnedFd) -> i32 {
    let tell = |done: Done| {
        let bytes = [done.entries, done.read_only, done.lost].map(u64::to_ne_bytes).concat();
        rustix::io::write(progress, &bytes).is_ok_and(|length| length == bytes.len())
    };
    let result = image::shift::tree(tree, base, &mut |entries| tell(Done { entries, ..Done::default() }));
    let error = match result {
        Ok(done) if tell(done) => return 0,
        Ok(_) => image::shift::Error::Interrupted,
        Err(error) => error,
    };
    let errno = match &error {
        image::shift::Error::System { source, .. } => *source,
        _ => WITHOUT_REASON,
    };
    sender.failed(&Report { stage: Stage::Outer, step: 0, errno, detail: error.to_string() });
    1
}

/// Until the other side has ended, with what it has told last; none if the observer wants an end.
fn watch(progress: &OwnedFd, observe: &mut dyn FnMut(u64) -> bool) -> rustix::io::Result<Option<Done>> {
    const WORD: usize = size_of::<u64>();
    let mut done = Done::default();
    loop {
        let mut fds = [PollFd::new(progress, PollFlags::IN)];
        match poll(&mut fds, Some(&ASKED_EVERY)) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => {
                let mut words = [0; 3 * WORD];
                if rustix::io::read(progress, &mut words)? == 0 {
                    return Ok(Some(done));
                }
                let mut read =
                    words.chunks_exact(WORD).filter_map(|word| Some(u64::from_ne_bytes(word.try_into().ok()?)));
                let mut next = || read.next().unwrap_or_default();
                let (entries, read_only, lost) = (next(), next(), next());
                done = Done { entries, read_only, lost };
            }
            Err(errno) => return Err(errno),
        }
        if !observe(done.entries) {
            return Ok(None);
        }
    }
}

fn told(mut receiver: Receiver) -> Error {
    match receiver.receive() {
        Ok(Some(Message::Failed(Report { errno, detail, .. }))) => {
            Error::Failed { detail, source: (errno != WITHOUT_REASON).then_some(errno) }
        }
        _ => Error::Died,
    }
}
