//! Messages to the kernel by [netlink(7)](https://man7.org/linux/man-pages/man7/netlink.7.html), as few as are needed to try
//! whether it makes what it is asked for.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};
use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

/// `NLM_F_REQUEST | NLM_F_ACK`.
pub(crate) const ACKNOWLEDGED: u16 = 1 | 4;
/// The same with `NLM_F_CREATE | NLM_F_EXCL`.
pub(crate) const CREATE: u16 = ACKNOWLEDGED | 0x400 | 0x200;
/// `NLM_F_REQUEST` alone.
pub(crate) const REQUEST: u16 = 1;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// `NLMSG_ERROR`: also an acknowledgement, which is error 0.
const ERROR: u16 = 2;
const HEADER: usize = 16;
/// How long the kernel may take. It answers while it is asked; modules may have to be loaded.
const PATIENCE: Duration = Duration::from_secs(20);

/// A message while it is written.
#[derive(Debug)]
pub(crate) struct Message(Vec<u8>);

impl Message {
    /// With a number that the answer has, too.
    pub(crate) fn new(kind: u16, flags: u16, number: u32) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes.extend([0; 4]);
        Self(bytes)
    }

    /// What stands in front of the attributes.
    pub(crate) fn fixed(mut self, bytes: &[u8]) -> Self {
        self.0.extend(bytes);
        self.pad();
        self
    }

    /// An attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.pad();
        self
    }

    /// An attribute that is text, with its end.
    pub(crate) fn text(self, kind: u16, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// An attribute that has attributes.
    pub(crate) fn nested(mut self, kind: u16, inside: impl FnOnce(Self) -> Self) -> Self {
        let at = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend((kind | NESTED).to_ne_bytes());
        let mut whole = inside(self);
        let length = u16::try_from(whole.0.len() - at).unwrap_or(u16::MAX);
        whole.0[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        whole
    }

    fn pad(&mut self) {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// Its bytes, with its length in front.
    pub(crate) fn finish(&self) -> Vec<u8> {
        let mut bytes = self.0.clone();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes[..4].copy_from_slice(&length.to_ne_bytes());
        bytes
    }
}

/// A socket to one of the kernel's services.
#[derive(Debug)]
pub(crate) struct Socket(OwnedFd);

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Self {
        Self(fd)
    }
}

impl Socket {
    pub(crate) fn open(protocol: Option<Protocol>) -> Result<Self> {
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol).map(Self)
    }

    /// Sends a message and waits until the kernel has done it.
    pub(crate) fn call(&self, message: &Message) -> Result<()> {
        self.send(&message.finish())?;
        self.acknowledged(1)
    }

    /// Sends a message and gives what the kernel says, without the header.
    pub(crate) fn ask(&self, message: &Message) -> Result<Vec<u8>> {
        self.send(&message.finish())?;
        loop {
            for (kind, body) in messages(&self.receive()?) {
                match error_of(kind, body) {
                    Some(Ok(())) => {}
                    Some(Err(errno)) => return Err(errno),
                    None => return Ok(body.to_vec()),
                }
            }
        }
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> Result<()> {
        send(&self.0, bytes, SendFlags::empty()).map(|_| ())
    }

    /// Waits for this many acknowledgements. The first error ends it.
    pub(crate) fn acknowledged(&self, mut count: usize) -> Result<()> {
        while count > 0 {
            for (kind, body) in messages(&self.receive()?) {
                match error_of(kind, body) {
                    Some(Ok(())) => count = count.saturating_sub(1),
                    Some(Err(errno)) => return Err(errno),
                    None => {}
                }
            }
        }
        Ok(())
    }

    fn receive(&self) -> Result<Vec<u8>> {
        let limit = Timespec { tv_sec: PATIENCE.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: 0 };
        if poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&limit))? == 0 {
            return Err(Errno::TIMEDOUT);
        }
        let mut buffer = vec![0; 16384];
        let (_, length) = recv(&self.0, &mut buffer[..], RecvFlags::empty())?;
        buffer.truncate(length);
        Ok(buffer)
    }
}

/// The kinds and bodies of the messages that came together.
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut all = Vec::new();
    while bytes.len() >= HEADER {
        let length = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize;
        if length < HEADER || length > bytes.len() {
            break;
        }
        all.push((u16::from_ne_bytes([bytes[4], bytes[5]]), &bytes[HEADER..length]));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    all
}

/// What a message says of the request, if it is about that.
fn error_of(kind: u16, body: &[u8]) -> Option<Result<()>> {
    if kind != ERROR {
        return None;
    }
    let number = body.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(-71, i32::from_ne_bytes);
    Some(if number == 0 { Ok(()) } else { Err(Errno::from_raw_os_error(number.saturating_neg())) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_as_the_kernel_has_them() {
        let message = Message::new(16, REQUEST, 7).fixed(&[1, 2, 3]).nested(18, |inside| inside.text(1, "veth"));
        let bytes = message.finish();
        let wanted = [
            &36u32.to_ne_bytes()[..],
            &16u16.to_ne_bytes(),
            &1u16.to_ne_bytes(),
            &7u32.to_ne_bytes(),
            &[0; 4],
            &[1, 2, 3, 0],
            &16u16.to_ne_bytes(),
            &0x8012u16.to_ne_bytes(),
            &9u16.to_ne_bytes(),
            &1u16.to_ne_bytes(),
            b"veth\0\0\0\0",
        ]
        .concat();
        // The length of the whole counts the padding.
        assert_eq!(bytes[4..], wanted[4..]);
        assert_eq!(bytes.len(), u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize);
    }

    #[test]
    fn answers_are_taken_apart() {
        let error = |number: i32| Message::new(ERROR, 0, 1).fixed(&number.to_ne_bytes()).finish();
        let both = [error(0), error(-17)].concat();
        let all: Vec<_> = messages(&both).into_iter().map(|(kind, body)| error_of(kind, body)).collect();
        assert_eq!(all, [Some(Ok(())), Some(Err(Errno::EXIST))]);
        for broken in [&b""[..], &[0; 16], &[255; 20], &both[..19]] {
            assert!(messages(broken).is_empty(), "{broken:?}");
        }
    }
}
