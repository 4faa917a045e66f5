//! Datagrams with credentials and descriptors: the transport of
//! [`sd_notify(3)`](https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html).
//!
//! Credentials are read here and not through rustix, whose type has no room for the process id 0 that the kernel reports for a
//! sender outside the receiver's PID namespace.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::{Errno, Result};
use rustix::net::sockopt::set_socket_passcred;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind,
    sendmsg_addr, socket_with,
};

use crate::clone::last_errno;

/// As many descriptors as the kernel lets one message carry (`SCM_MAX_FD`).
pub const MOST_DESCRIPTORS: usize = 253;

/// Room for the control messages of one datagram, aligned as `cmsghdr` wants it.
const CONTROL_WORDS: usize = 160;

/// A datagram socket of the Unix kind, bound to `address`, that asks for the credentials of its senders. Non-blocking and
/// close-on-exec.
///
/// # Errors
/// `EADDRINUSE` where the name exists, others of `bind(2)`.
pub fn listen(address: &SocketAddrUnix) -> Result<OwnedFd> {
    let socket = unbound()?;
    set_socket_passcred(&socket, true)?;
    bind(&socket, address)?;
    Ok(socket)
}

/// A datagram socket to send from. Non-blocking and close-on-exec.
///
/// # Errors
/// Those of `socket(2)`.
pub fn unbound() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)
}

/// Sends `message` and copies of `descriptors` to `address`.
///
/// # Errors
/// `E2BIG` for more descriptors than [`MOST_DESCRIPTORS`], `EAGAIN` where the receiver is behind, `ECONNREFUSED` and `ENOENT` where there is none, others of `sendmsg(2)`.
pub fn send(
    socket: BorrowedFd<'_>,
    address: &SocketAddrUnix,
    message: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<()> {
    if descriptors.len() > MOST_DESCRIPTORS {
        return Err(Errno::TOOBIG);
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::TOOBIG);
    }
    sendmsg_addr(socket, address, &[IoSlice::new(message)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// What came with a datagram.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer it filled.
    pub length: usize,
    /// It, or what came with it, did not fit.
    pub truncated: bool,
    /// The process id of the sender in our PID namespace; 0 where it has none there, `None` where the kernel did not say.
    pub sender: Option<i32>,
    /// Descriptors it carried, close-on-exec. They are closed with this value unless they are taken out.
    pub descriptors: Vec<OwnedFd>,
}

/// Takes the next datagram, if there is one.
///
/// # Errors
/// Those of [`recvmsg(2)`](https://man7.org/linux/man-pages/man2/recvmsg.2.html).
pub fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<Option<Received>> {
    let mut control = [0_usize; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: all zeroes are a valid msghdr.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    // The type of this field differs between C libraries, as does that of cmsg_len.
    header.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_CMSG_CLOEXEC | libc::MSG_DONTWAIT;
    // SAFETY: header points at the two buffers above, of the sizes it says, which outlive the call.
    let length = match unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags) } {
        -1 => {
            return match last_errno() {
                Errno::AGAIN | Errno::INTR => Ok(None),
                error => Err(error),
            };
        }
        length => length.unsigned_abs(),
    };
    let mut received = Received {
        length,
        truncated: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0,
        sender: None,
        descriptors: Vec::new(),
    };
    // SAFETY: the kernel filled header and its control buffer, and nothing has changed them since.
    unsafe { take_control(&header, &mut received) };
    Ok(Some(received))
}

/// Reads the control messages of a received header.
///
/// # Safety
/// The header must come from a successful `recvmsg(2)`, with its control buffer still in place, and must be given only once:
/// the descriptors in it become owned.
unsafe fn take_control(header: &libc::msghdr, received: &mut Received) {
    // SAFETY: the caller promises a header that the kernel filled, which is what these macros walk along. Data is read
    // unaligned and within the length of its message; each descriptor there is new and nobody else's.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(header);
        while let Some(found) = message.as_ref() {
            #[allow(clippy::unnecessary_cast)]
            let length = (found.cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
            let data = libc::CMSG_DATA(message);
            match (found.cmsg_level, found.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                    let numbers = data.cast::<libc::c_int>();
                    let count = length / size_of::<libc::c_int>();
                    received
                        .descriptors
                        .extend((0..count).map(|index| OwnedFd::from_raw_fd(numbers.add(index).read_unaligned())));
                }
                (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if length >= size_of::<libc::ucred>() => {
                    received.sender = Some(data.cast::<libc::ucred>().read_unaligned().pid);
                }
                _ => {}
            }
            message = libc::CMSG_NXTHDR(header, message);
        }
    }
}

/// Borrows every descriptor of a list.
#[must_use]
pub fn borrow_all(descriptors: &[OwnedFd]) -> Vec<BorrowedFd<'_>> {
    descriptors.iter().map(AsFd::as_fd).collect()
}

#[cfg(test)]
mod tests {
    use rustix::fs::{fstat, open};
    use rustix::io::{FdFlags, fcntl_getfd};

    use super::*;

    fn address(name: &str) -> SocketAddrUnix {
        SocketAddrUnix::new_abstract_name(format!("redd-test-{}-{name}", std::process::id()).as_bytes()).unwrap()
    }

    #[test]
    fn a_datagram_arrives_with_its_sender_and_descriptors() {
        let address = address("whole");
        let receiver = listen(&address).unwrap();
        let mut buffer = [0; 64];
        assert!(receive(receiver.as_fd(), &mut buffer).unwrap().is_none());
        let sender = unbound().unwrap();
        let null = open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        send(sender.as_fd(), &address, b"READY=1", &[null.as_fd(), receiver.as_fd()]).unwrap();
        let received = receive(receiver.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!(&buffer[..received.length], b"READY=1");
        assert_eq!(received.sender, Some(std::process::id().cast_signed()));
        assert!(!received.truncated);
        assert_eq!(received.descriptors.len(), 2);
        assert_eq!(fstat(&received.descriptors[0]).unwrap().st_rdev, fstat(&null).unwrap().st_rdev);
        assert!(fcntl_getfd(&received.descriptors[0]).unwrap().contains(FdFlags::CLOEXEC));
    }

    #[test]
    fn what_does_not_fit_is_marked_and_the_most_descriptors_fit() {
        let address = address("large");
        let receiver = listen(&address).unwrap();
        let sender = unbound().unwrap();
        send(sender.as_fd(), &address, &[b'x'; 65], &[]).unwrap();
        let mut buffer = [0; 64];
        assert!(receive(receiver.as_fd(), &mut buffer).unwrap().unwrap().truncated);
        let many = vec![receiver.as_fd(); MOST_DESCRIPTORS];
        send(sender.as_fd(), &address, b"", &many).unwrap();
        let received = receive(receiver.as_fd(), &mut buffer).unwrap().unwrap();
        assert_eq!((received.length, received.truncated, received.descriptors.len()), (0, false, MOST_DESCRIPTORS));
        assert_eq!(
            send(sender.as_fd(), &address, b"", &vec![receiver.as_fd(); MOST_DESCRIPTORS + 1]),
            Err(Errno::TOOBIG)
        );
    }
}
