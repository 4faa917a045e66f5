//! What both protocols do with their socket.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// How long the other side may take for one answer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(25);
/// How often it is tried again to get into its queue.
const QUEUED: Duration = Duration::from_millis(2);

/// A system call that failed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    /// What for.
    pub(crate) what: &'static str,
    /// Why.
    pub(crate) source: Errno,
}

/// Names what a system call was for.
pub(crate) fn failed(what: &'static str) -> impl Fn(Errno) -> Failed {
    move |source| Failed { what, source }
}

/// A connection to the socket at `path`, that does not block: [`ready`] waits.
pub(crate) fn open(path: &Path) -> Result<OwnedFd, Failed> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(failed("make a socket"))?;
    let address = SocketAddrUnix::new(path).map_err(failed("connect"))?;
    let until = Instant::now() + PATIENCE;
    loop {
        match connect(&socket, &address) {
            Ok(()) => return Ok(socket),
            // More are waiting to be accepted than its queue takes.
            Err(Errno::AGAIN) if Instant::now() < until => std::thread::sleep(QUEUED),
            Err(source) => return Err(failed("connect")(source)),
        }
    }
}

/// Waits until one of these events may have happened; false if the time is over.
pub(crate) fn ready(socket: &OwnedFd, events: PollFlags, until: Instant) -> Result<bool, Failed> {
    let left = until.saturating_duration_since(Instant::now());
    let limit = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: left.subsec_nanos().into() };
    match poll(&mut [PollFd::new(socket, events)], Some(&limit)) {
        Ok(0) => Ok(false),
        Ok(_) | Err(Errno::INTR) => Ok(true),
        Err(source) => Err(Failed { what: "wait for an answer", source }),
    }
}
