//! What the processes on the way in tell the client.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

use super::Error;

/// The longest message, in bytes.
const LONGEST: usize = 4096;

/// Which step failed; its number is what is sent.
const ACTIONS: [&str; 9] = [
    "enter the namespaces",
    "enter the control groups",
    "enter the root directory",
    "make a terminal",
    "find the user",
    "limit what it may do",
    "become the user",
    "enter the directory",
    "start the command",
];

/// A step inside.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Namespaces,
    Groups,
    Root,
    Terminal,
    User,
    Confine,
    Become,
    Directory,
    Start,
}

/// A message.
#[derive(Debug)]
pub(super) enum Report {
    /// The command's process is there.
    Made { pid: i32, master: Option<OwnedFd> },
    /// It will not be, or has ended.
    Failed(Error),
}

/// The client's end.
#[derive(Debug)]
pub(super) struct Reports(OwnedFd);

/// The other end. It closes by itself when the command is executed.
#[derive(Debug)]
pub(super) struct Reporter(OwnedFd);

/// Both.
pub(super) fn channel() -> rustix::io::Result<(Reports, Reporter)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    Ok((Reports(ours), Reporter(theirs)))
}

impl Reporter {
    /// The command is there.
    pub(super) fn made(&self, pid: i32, master: Option<BorrowedFd<'_>>) {
        let mut message = vec![b'm'];
        message.extend(pid.to_ne_bytes());
        self.send(&message, master);
    }

    /// A step failed.
    pub(super) fn failed(&self, step: Step, errno: Errno, detail: &str) {
        self.send(&failure(b's', step as u8, errno, detail), None);
    }

    /// The program could not be executed.
    pub(super) fn no_program(&self, errno: Errno, detail: &str) {
        self.send(&failure(b'p', 0, errno, detail), None);
    }

    fn send(&self, message: &[u8], descriptor: Option<BorrowedFd<'_>>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = descriptor.as_slice();
        if !descriptors.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(descriptors));
        }
        // If nobody listens any more, nobody is interested.
        let _ = sendmsg(&self.0, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL);
    }
}

fn failure(kind: u8, step: u8, errno: Errno, detail: &str) -> Vec<u8> {
    let mut message = vec![kind, step];
    message.extend(errno.raw_os_error().to_ne_bytes());
    message.extend(detail.bytes().take(LONGEST - message.len()));
    message
}

impl Reports {
    /// The next message; nothing when all is said.
    ///
    /// # Errors
    /// Those of recvmsg(2).
    pub(super) fn next(&mut self) -> rustix::io::Result<Option<Report>> {
        let mut bytes = [0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            recvmsg(self.0.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        let master = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let number = |bytes: &[u8]| bytes.try_into().map(i32::from_ne_bytes).unwrap_or(0);
        Ok(match &bytes[..received.bytes] {
            [] => None,
            [b'm', pid @ ..] => Some(Report::Made { pid: number(pid), master }),
            [kind, step, a, b, c, d, detail @ ..] => {
                let source = Errno::from_raw_os_error(number(&[*a, *b, *c, *d]));
                let detail = String::from_utf8_lossy(detail).into_owned();
                Some(Report::Failed(match kind {
                    b'p' => Error::Program { program: detail, source },
                    _ if *step == Step::User as u8 && source == Errno::SRCH => Error::NoSuchUser(detail),
                    _ => {
                        let action = ACTIONS.get(usize::from(*step)).copied().unwrap_or("start the command");
                        Error::Inside { action, detail, source }
                    }
                }))
            }
            _ => return Err(Errno::PROTO),
        })
    }
}
