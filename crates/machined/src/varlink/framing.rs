//! Messages of one connection, see <https://varlink.org/Wire-Protocol>: JSON with a NUL behind; descriptors go beside the first
//! byte of the message that names them.

use std::io::{ErrorKind, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// The longest call, in bytes.
const LONGEST: usize = 1 << 20;
/// How much is read at once.
const PIECE: usize = 8192;
/// How many descriptors go with an answer.
const DESCRIPTORS: usize = 4;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    /// Up to here there is no end of a message.
    searched: usize,
}

impl Connection {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, received: Vec::new(), searched: 0 }
    }

    /// The next message; none at the end. Descriptors that come with it are closed by the kernel: nobody asked for them.
    ///
    /// # Errors
    /// `InvalidData` for one that is too long, `UnexpectedEof` for one that is cut off.
    pub(super) async fn next(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.received[self.searched..].iter().position(|byte| *byte == 0) {
                let rest = self.received.split_off(self.searched + end + 1);
                let mut message = std::mem::replace(&mut self.received, rest);
                message.pop();
                self.searched = 0;
                return Ok(Some(message));
            }
            self.searched = self.received.len();
            if self.received.len() > LONGEST {
                return Err(ErrorKind::InvalidData.into());
            }
            self.stream.readable().await?;
            let mut piece = [0; PIECE];
            match self.stream.try_read(&mut piece) {
                Ok(0) if self.received.is_empty() => return Ok(None),
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => self.received.extend_from_slice(&piece[..length]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a message, and copies of descriptors.
    ///
    /// # Errors
    /// Those of sendmsg(2).
    pub(super) async fn send(&self, mut message: Vec<u8>, descriptors: &[OwnedFd]) -> std::io::Result<()> {
        message.push(0);
        let mut rest = message.as_slice();
        let mut beside = descriptors;
        while !rest.is_empty() {
            self.stream.writable().await?;
            let sent = self.stream.try_io(Interest::WRITABLE, || send_once(self.stream.as_fd(), rest, beside));
            match sent {
                Ok(sent) => {
                    rest = &rest[sent..];
                    beside = &[];
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn send_once(socket: BorrowedFd<'_>, bytes: &[u8], descriptors: &[OwnedFd]) -> std::io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let borrowed: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
    if !borrowed.is_empty() && !control.push(SendAncillaryMessage::ScmRights(&borrowed)) {
        return Err(ErrorKind::InvalidInput.into());
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)?)
}
