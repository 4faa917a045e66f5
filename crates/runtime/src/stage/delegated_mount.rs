//! A mount that has to be made by a process in other namespaces than the stage's own.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::clone::{Forked, Options};

use super::files::Failure;
use crate::proto::{self, Message, Report, Stage};

/// Runs `make` in a process of its own, and takes over the mount that it made.
///
/// # Errors
/// What `make` failed with, or that the process could not be made.
pub(super) fn by(make: impl FnOnce() -> Result<OwnedFd, Failure>) -> Result<OwnedFd, Failure> {
    let (mut receiver, sender) = proto::channel()?;
    match sys::clone::fork(&Options::default())? {
        Forked::Child => {
            drop(receiver);
            match make().and_then(|mount| Ok(sender.descriptors(&[mount.as_fd()])?)) {
                Ok(()) => {}
                Err(Failure { errno, detail }) => {
                    sender.failed(&Report { stage: Stage::Outer, step: 0, errno, detail });
                }
            }
            sys::clone::exit_now(0)
        }
        Forked::Parent { pidfd, .. } => {
            drop(sender);
            let message = receiver.receive();
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))?;
            match message? {
                Some(Message::Descriptors(fds)) => fds.into_iter().next().ok_or_else(|| Errno::PROTO.into()),
                Some(Message::Failed(report)) => Err(Failure { errno: report.errno, detail: report.detail }),
                Some(Message::Note(_)) | None => Err(Errno::PROTO.into()),
            }
        }
    }
}
