//! What the processes on the way in tell the client: words on a slate, because they have no descriptors in the end.

use std::ffi::CStr;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use sys::slate::{Message, layout};

use super::Error;
use crate::program::{self, Failure};

/// Which step failed; its number is what is sent.
const ACTIONS: [&str; 10] = [
    "enter the namespaces",
    "enter the control groups",
    "enter the root directory",
    "make a terminal",
    "find the user",
    "limit what it may do",
    "become the user",
    "enter the directory",
    "start the command",
    "take over the machine's resource limits",
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
    Resources,
}

/// A message that tells of a failed step.
const STEP: u8 = b's';
/// One of a program that could not be executed, with all that there is to be said.
const NO_PROGRAM: u8 = b'n';

/// Says that a step failed.
pub(super) fn failed(step: Step, failure: &Failure) -> Message {
    message(STEP, step as u8, failure)
}

/// Says that the program could not be executed.
pub(super) fn no_program(failure: &Failure) -> Message {
    message(NO_PROGRAM, 0, failure)
}

/// What the program of the last step puts its errors to.
pub(super) fn about(path: &CStr) -> Message {
    Message { detail: path.to_bytes().to_vec(), ..Message::default() }
}

fn message(kind: u8, step: u8, failure: &Failure) -> Message {
    let error = failure.errno.raw_os_error().unsigned_abs();
    Message { kind, step, error, detail: failure.detail.as_bytes().to_vec() }
}

/// The error that a message tells. It may have been written inside: nothing of it does anything on a terminal.
pub(super) fn error(message: &Message) -> Error {
    let number = i32::try_from(message.error).unwrap_or(0);
    let source = if (1..4096).contains(&number) { Errno::from_raw_os_error(number) } else { Errno::IO };
    let plain = |text: &str| text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect();
    let detail: String = plain(&String::from_utf8_lossy(&message.detail));
    match message.kind {
        NO_PROGRAM => Error::Program { program: detail, source },
        layout::NO_PROGRAM => Error::Program { program: program::explain(detail.as_ref(), source), source },
        _ if message.step == Step::User as u8 && source == Errno::SRCH => Error::NoSuchUser(detail),
        STEP => {
            let action = ACTIONS.get(usize::from(message.step)).copied().unwrap_or("start the command");
            Error::Inside { action, detail, source }
        }
        _ => Error::Inside { action: "start the command", detail, source },
    }
}

/// Both ends of what a terminal is passed by.
pub(super) fn channel() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

/// Passes a terminal on.
///
/// # Errors
/// Those of sendmsg(2).
pub(super) fn pass(channel: &OwnedFd, terminal: &OwnedFd) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [terminal.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(channel, &[IoSlice::new(b"t")], &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// The terminal that was passed; nothing where the other end was closed without.
///
/// # Errors
/// Those of recvmsg(2).
pub(super) fn take(channel: &OwnedFd) -> rustix::io::Result<Option<OwnedFd>> {
    let mut bytes = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    rustix::io::retry_on_intr(|| {
        recvmsg(channel, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_inside_is_shown_as_text() {
        let failure = Failure { errno: Errno::NOENT, detail: "/a\u{1b}]0;b\n\u{9b}c".into() };
        assert_eq!(error(&no_program(&failure)).to_string(), "cannot run /a?]0;b??c");
        // Anything may stand there.
        let message = Message { kind: 200, step: 200, error: u32::MAX, detail: vec![0xff] };
        assert_eq!(error(&message).to_string(), "cannot start the command: \u{fffd}");
    }

    #[test]
    fn a_terminal_is_passed() {
        let (ours, theirs) = channel().expect("socket pair");
        pass(&theirs, &theirs).expect("passed");
        assert!(take(&ours).expect("taken").is_some());
        drop(theirs);
        assert!(take(&ours).expect("taken").is_none());
    }
}
