//! What the stages tell the supervisor, one datagram a message, over a sequenced-packet socket pair.
//!
//! The supervisor knows that the payload runs when the socket closes without a failure: all its other ends are
//! close-on-exec. Every message carries a number that counts up, so that a lost or foreign one is noticed: one count for the
//! outer stage and one for the others, which may be at work at the same time.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

/// The longest detail of a failure, in bytes; more is cut off.
const DETAIL: usize = 512;
/// Kind, stage, sequence number, step, errno.
const HEADER: usize = 12;

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// In the container's mount namespace, with the host's privileges.
    Outer,
    /// Inside all namespaces.
    Inner,
    /// After the last step, on the way to the program.
    Payload,
}

/// A step that failed, or did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Where.
    pub stage: Stage,
    /// Which step of the stage's list.
    pub step: usize,
    /// The kernel's reason.
    pub errno: Errno,
    /// What it was about: a path, a list of programs.
    pub detail: String,
}

/// A message to the supervisor.
#[derive(Debug)]
pub enum Message {
    /// The container cannot start.
    Failed(Report),
    /// Something was left undone that the container can live without.
    Note(Report),
    /// What the supervisor serves: the notification socket, the kernel log's fifo, the console's master if there is one.
    Descriptors(Vec<OwnedFd>),
}

/// The supervisor's end.
#[derive(Debug)]
pub struct Receiver {
    socket: OwnedFd,
    next: [u16; 2],
}

/// The stages' end.
#[derive(Debug)]
pub struct Sender {
    socket: OwnedFd,
    next: std::cell::Cell<[u16; 2]>,
    /// Refers to the process that has made the pair.
    supervisor: OwnedFd,
}

/// Makes a pair.
///
/// # Errors
/// Those of socketpair(2) and pidfd_open(2).
pub fn channel() -> rustix::io::Result<(Receiver, Sender)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let supervisor = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok((Receiver { socket: ours, next: [0; 2] }, Sender { socket: theirs, next: [0; 2].into(), supervisor }))
}

impl Sender {
    /// Reports a failure. That the supervisor is gone is no error: nobody is left to tell.
    pub fn failed(&self, report: &Report) {
        let _ = self.send(b'F', report, &[]);
    }

    /// Reports what was left undone.
    pub fn note(&self, report: &Report) {
        let _ = self.send(b'N', report, &[]);
    }

    /// Hands descriptors over.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub fn descriptors(&self, fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
        let nothing =
            Report { stage: Stage::Inner, step: 0, errno: Errno::from_raw_os_error(1), detail: String::new() };
        self.send(b'D', &nothing, fds)
    }

    fn send(&self, kind: u8, report: &Report, fds: &[BorrowedFd<'_>]) -> rustix::io::Result<()> {
        let mut next = self.next.get();
        let number = count(&mut next, report.stage as u8);
        self.next.set(next);
        let mut bytes = [0u8; HEADER + DETAIL];
        bytes[0] = kind;
        bytes[1] = report.stage as u8;
        bytes[2..4].copy_from_slice(&number.to_ne_bytes());
        bytes[4..8].copy_from_slice(&(report.step as u32).to_ne_bytes());
        bytes[8..12].copy_from_slice(&report.errno.raw_os_error().to_ne_bytes());
        let detail = report.detail.as_bytes();
        let length = detail.len().min(DETAIL);
        bytes[HEADER..HEADER + length].copy_from_slice(&detail[..length]);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(Errno::NOBUFS);
        }
        sendmsg(&self.socket, &[IoSlice::new(&bytes[..HEADER + length])], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }
}

impl Sender {
    /// The kernel kills this process when the supervisor, its parent, is gone, also if that has happened already. Holds
    /// until the next change of ids, see `PR_SET_PDEATHSIG` in prctl(2).
    pub fn die_with_supervisor(&self) {
        let armed = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
        // Not by the socket, whose other end this process has a copy of, too.
        let mut fds = [rustix::event::PollFd::new(&self.supervisor, rustix::event::PollFlags::IN)];
        let nothing = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = rustix::event::poll(&mut fds, Some(&nothing)).unwrap_or(0) > 0;
        if armed.is_err() || gone {
            sys::clone::exit_now(1);
        }
    }

    /// Waits until the supervisor says that the payload may start, see [`Receiver::let_go`].
    ///
    /// # Errors
    /// `ECANCELED` if it does not.
    pub fn wait(&self) -> rustix::io::Result<()> {
        let mut word = [0; 1];
        match rustix::io::retry_on_intr(|| rustix::io::read(&self.socket, &mut word))? {
            1 => Ok(()),
            _ => Err(Errno::CANCELED),
        }
    }
}

impl AsFd for Sender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Receiver {
    /// Lets the payload start: what the supervisor does beside the stages is done.
    ///
    /// # Errors
    /// Those of write(2); `EPIPE` if the stages have ended.
    pub fn let_go(&self) -> rustix::io::Result<()> {
        rustix::net::send(&self.socket, b"g", SendFlags::NOSIGNAL).map(drop)
    }

    /// The next message; `None` once all senders are gone.
    ///
    /// # Errors
    /// Those of recvmsg(2); `EPROTO` for a message that is none or out of its turn.
    pub fn receive(&mut self) -> rustix::io::Result<Option<Message>> {
        let mut bytes = [0u8; HEADER + DETAIL];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut iov = [IoSliceMut::new(&mut bytes)];
        let mut receive =
            || rustix::io::retry_on_intr(|| recvmsg(&self.socket, &mut iov, &mut control, RecvFlags::CMSG_CLOEXEC));
        let length = match receive() {
            Ok(message) => message.bytes,
            // The last sender died with a message of ours unread. That is told first, once, and its own last message,
            // if there is one, afterwards.
            Err(Errno::CONNRESET) => receive()?.bytes,
            Err(errno) => return Err(errno),
        };
        if length == 0 {
            return Ok(None);
        }
        let fds: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        let expected = count(&mut self.next, bytes[1]);
        let message = decode(&bytes[..length], expected, fds).ok_or(Errno::PROTO)?;
        Ok(Some(message))
    }
}

/// The number of a stage's message, see above.
fn count(next: &mut [u16; 2], stage: u8) -> u16 {
    let next = &mut next[usize::from(stage != Stage::Outer as u8)];
    let number = *next;
    *next = number.wrapping_add(1);
    number
}

fn decode(bytes: &[u8], expected: u16, fds: Vec<OwnedFd>) -> Option<Message> {
    let header: &[u8; HEADER] = bytes.first_chunk()?;
    let stage = match header[1] {
        0 => Stage::Outer,
        1 => Stage::Inner,
        2 => Stage::Payload,
        _ => return None,
    };
    if u16::from_ne_bytes([header[2], header[3]]) != expected {
        return None;
    }
    let report = Report {
        stage,
        step: u32::from_ne_bytes([header[4], header[5], header[6], header[7]]) as usize,
        errno: Errno::from_raw_os_error(i32::from_ne_bytes([header[8], header[9], header[10], header[11]])),
        detail: String::from_utf8_lossy(&bytes[HEADER..]).into_owned(),
    };
    match header[0] {
        b'F' => Some(Message::Failed(report)),
        b'N' => Some(Message::Note(report)),
        b'D' => Some(Message::Descriptors(fds)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_arrive_in_order_and_the_end_is_seen() {
        let (mut receiver, sender) = channel().expect("pair");
        let report = Report { stage: Stage::Outer, step: 7, errno: Errno::NOENT, detail: "/usr".into() };
        sender.note(&report);
        sender.descriptors(&[sender.as_fd()]).expect("send");
        sender.failed(&report);
        drop(sender);
        assert!(matches!(receiver.receive(), Ok(Some(Message::Note(got))) if got == report));
        assert!(matches!(receiver.receive(), Ok(Some(Message::Descriptors(fds))) if fds.len() == 1));
        assert!(matches!(receiver.receive(), Ok(Some(Message::Failed(got))) if got == report));
        assert!(matches!(receiver.receive(), Ok(None)));
    }

    #[test]
    fn the_last_words_are_heard_of_who_did_not_listen() {
        let (mut receiver, sender) = channel().expect("pair");
        let report = Report { stage: Stage::Outer, step: 7, errno: Errno::NOENT, detail: "/usr".into() };
        receiver.let_go().expect("send");
        sender.failed(&report);
        drop(sender);
        assert!(matches!(receiver.receive(), Ok(Some(Message::Failed(got))) if got == report));
        assert!(matches!(receiver.receive(), Ok(None)));
    }

    #[test]
    fn a_message_out_of_turn_is_refused() {
        let (mut receiver, sender) = channel().expect("pair");
        sender.next.set([5; 2]);
        sender.failed(&Report { stage: Stage::Inner, step: 0, errno: Errno::PERM, detail: String::new() });
        assert_eq!(receiver.receive().err(), Some(Errno::PROTO));
    }
}
