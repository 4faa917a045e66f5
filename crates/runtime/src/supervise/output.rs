//! From the container's console to our standard output.
//!
//! A buffer that is full holds the container up, as any terminal does; a reader that takes next to nothing for
//! the time of its patience is not waited for any longer, and what comes then is lost until it has caught
//! up. A reader that is gone loses all, and the container goes on.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::overheard::Overheard;
use super::ring::Ring;
use super::stall::Stall;

/// As much as the kernel buffers in a pipe.
const CAPACITY: usize = 64 * 1024;
/// What is certain not to block where poll(2) says that something can be written: see `PIPE_BUF` in pipe(7).
const CERTAIN: usize = 512;

/// How bytes are written without ever waiting.
#[derive(Debug)]
enum Sink {
    /// A file; or a description of our own, which does not block. The one that we were given is shared with others and
    /// stays as it is.
    Own(OwnedFd),
    /// A socket can be told at each call.
    Socket(OwnedFd),
    /// Something that could not be opened again: little at a time, when poll(2) says so.
    Plain(OwnedFd),
    /// Nobody reads it.
    Closed,
}

/// The buffer and what is behind it.
#[derive(Debug)]
pub(super) struct Output {
    buffer: Ring,
    stall: Stall,
    sink: Sink,
    overheard: Overheard,
}

impl Output {
    /// To `given`, whose reader is waited for with `patience`; everything is thrown away where that is absent.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(super) fn new(given: Option<BorrowedFd<'_>>, patience: Duration) -> rustix::io::Result<Self> {
        let sink = given.map(sink).transpose()?.unwrap_or(Sink::Closed);
        let (buffer, stall) = (Ring::new(CAPACITY), Stall::new(CERTAIN, patience));
        Ok(Self { buffer, stall, sink, overheard: Overheard::new(false) })
    }

    /// Listens to what an init system says.
    pub(super) fn listen(&mut self) {
        self.overheard = Overheard::new(true);
    }

    /// Whether it has said that it has too many files open.
    pub(super) fn said_shortage(&self) -> bool {
        self.overheard.has_heard()
    }

    /// The descriptor to wait for until it can be written to, if there is something to be written.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        match &self.sink {
            _ if self.buffer.is_empty() => None,
            Sink::Own(fd) | Sink::Socket(fd) | Sink::Plain(fd) => Some(fd.as_fd()),
            Sink::Closed => None,
        }
    }

    /// Whether the container's output is to be read on.
    pub(super) fn has_room(&self) -> bool {
        self.buffer.space() > 0 || self.stall.is_stalled() || matches!(self.sink, Sink::Closed)
    }

    /// Takes what the container has written. False where there is nothing more at the moment.
    ///
    /// # Errors
    /// Those of read(2).
    pub(super) fn fill(&mut self, master: BorrowedFd<'_>, now: Instant) -> rustix::io::Result<bool> {
        // A terminal hands no more out at once.
        let mut bytes = [0; 4096];
        let lose = matches!(self.sink, Sink::Closed) || (self.buffer.space() == 0 && self.stall.is_stalled());
        let most = if lose { bytes.len() } else { self.buffer.space().min(bytes.len()) };
        match rustix::io::read(master, &mut bytes[..most]) {
            // What was written before is never still on its way: the kernel hands that on before it says so.
            Ok(0) | Err(Errno::IO | Errno::AGAIN) => Ok(false),
            Err(Errno::INTR) => Ok(true),
            Err(errno) => Err(errno),
            Ok(count) => {
                self.overheard.hear(&bytes[..count]);
                if !lose {
                    self.buffer.push(&bytes[..count]);
                }
                if self.buffer.space() == 0 {
                    self.stall.full(now);
                }
                Ok(true)
            }
        }
    }

    /// Writes as much as can be written now, if that is certain not to wait.
    pub(super) fn flush_early(&mut self) {
        if !matches!(self.sink, Sink::Plain(_)) {
            self.flush();
        }
    }

    /// Writes as much as can be written now; to be called when poll(2) says that something can.
    pub(super) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let [first, _] = self.buffer.parts();
        let written = match &self.sink {
            Sink::Own(fd) => rustix::io::writev(fd, &self.buffer.slices()),
            Sink::Socket(fd) => rustix::net::send(fd, first, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Sink::Plain(fd) => rustix::io::write(fd, &first[..first.len().min(CERTAIN)]),
            Sink::Closed => return,
        };
        match written {
            Ok(count) => {
                self.buffer.consume(count);
                self.stall.taken(count, self.buffer.len() <= CAPACITY / 2);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            // EPIPE, EIO of a terminal that hung up, ENOSPC: whatever it is, the container is not to suffer from it.
            Err(_) => {
                self.sink = Sink::Closed;
                self.buffer.consume(CAPACITY);
            }
        }
    }

    /// Puts a short sequence of our own between what the container writes, if there is room.
    pub(super) fn insert(&mut self, text: &str) {
        if !matches!(self.sink, Sink::Closed) && self.buffer.space() >= text.len() {
            self.buffer.push(text.as_bytes());
        }
    }

    /// Notes that somebody waits for the reader.
    pub(super) fn is_waited_for(&mut self, now: Instant) {
        if !self.buffer.is_empty() {
            self.stall.full(now);
        }
    }

    /// Whether all of it is written, or nobody takes it.
    pub(super) fn is_done(&self) -> bool {
        self.buffer.is_empty() || self.stall.is_stalled()
    }

    /// When [`Output::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stall.deadline()
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        self.stall.expire(now);
    }
}

fn sink(given: BorrowedFd<'_>) -> rustix::io::Result<Sink> {
    let ours = rustix::io::fcntl_dupfd_cloexec(given, 3)?;
    let status = rustix::fs::fstat(&ours)?;
    Ok(match FileType::from_raw_mode(status.st_mode) {
        FileType::Socket => Sink::Socket(ours),
        // A file never makes anybody wait for a reader. Opened again, it would begin at its start.
        FileType::RegularFile => Sink::Own(ours),
        FileType::Fifo | FileType::CharacterDevice => {
            sys::terminal::reopen(given, OFlags::WRONLY).map_or(Sink::Plain(ours), Sink::Own)
        }
        _ => Sink::Plain(ours),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    /// A pipe as output, and another one as the container's console.
    fn pipes() -> (Output, OwnedFd, OwnedFd, OwnedFd) {
        let (reader, writer) = rustix::pipe::pipe().expect("pipe");
        let (master, console) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("pipe");
        (Output::new(Some(writer.as_fd()), PATIENCE).expect("output"), reader, master, console)
    }

    #[test]
    fn what_goes_in_comes_out() {
        let (mut output, reader, master, console) = pipes();
        rustix::io::write(&console, b"hello").expect("write");
        assert!(output.fill(master.as_fd(), Instant::now()).expect("fill"));
        assert!(output.waits_for().is_some());
        output.flush();
        assert!(output.waits_for().is_none() && output.is_done());
        let mut bytes = [0; 16];
        assert_eq!(rustix::io::read(&reader, &mut bytes), Ok(5));
    }

    #[test]
    fn a_reader_that_takes_nothing_is_waited_for_a_while_and_then_loses() {
        let (mut output, _reader, master, console) = pipes();
        let mut now = Instant::now();
        let mut passed = 0;
        for _ in 0..200 {
            passed += rustix::io::write(&console, &[b'x'; 4096]).unwrap_or(0);
            if output.has_room() {
                output.fill(master.as_fd(), now).expect("fill");
            }
            output.flush();
            if !output.has_room() {
                now += PATIENCE;
                output.expire(now);
            }
        }
        assert_eq!(passed, 200 * 4096, "the console was blocked");
        assert!(output.is_done());
    }

    #[test]
    fn a_reader_that_is_gone_does_not_matter() {
        let (mut output, reader, master, console) = pipes();
        drop(reader);
        rustix::io::write(&console, b"hello").expect("write");
        output.fill(master.as_fd(), Instant::now()).expect("fill");
        output.flush();
        assert!(output.is_done() && output.has_room());
        rustix::io::write(&console, b"hello").expect("write");
        assert!(output.fill(master.as_fd(), Instant::now()).expect("fill"));
        assert!(output.waits_for().is_none());
    }
}
