//! One client of the control socket. It is not trusted: it may be slow, silent, or talk nonsense, and only its own
//! connection suffers from that.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use machine::control::protocol::{Call, LONGEST_CALL, Refusal, Request, answer};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use serde_json::Value;

/// How long it may say nothing, or not take its answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much is read at a time.
const PART: usize = 1024;

#[derive(Debug)]
pub(super) struct Connection {
    socket: OwnedFd,
    trusted: bool,
    /// What has come of the next call. Never longer than one.
    input: Vec<u8>,
    /// What it has not taken of its last answer. While there is any, nothing more is read.
    output: Vec<u8>,
    deadline: Instant,
    closed: bool,
}

impl Connection {
    /// `trusted` may call everything.
    pub(super) fn new(socket: OwnedFd, trusted: bool, now: Instant) -> Self {
        let deadline = now + PATIENCE;
        Self { socket, trusted, input: Vec::new(), output: Vec::new(), deadline, closed: false }
    }

    pub(super) fn is_trusted(&self) -> bool {
        self.trusted
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(super) fn watch(&self) -> PollFd<'_> {
        PollFd::new(&self.socket, if self.output.is_empty() { PollFlags::IN } else { PollFlags::OUT })
    }

    /// Who has been silent for too long is not waited for any more.
    pub(super) fn expire(&mut self, now: Instant) {
        self.closed |= self.deadline <= now;
    }

    /// Reads, carries out and answers, as far as the other side is ready for it.
    pub(super) fn carry(&mut self, now: Instant, act: &mut dyn FnMut(&Call) -> Result<Value, Refusal>) {
        if self.output.is_empty() {
            self.read();
        } else {
            self.write();
        }
        while self.output.is_empty() && !self.closed {
            let Some(end) = self.input.iter().position(|byte| *byte == 0) else { break };
            let Ok(request) = Request::parse(&self.input[..end]) else {
                self.closed = true;
                return;
            };
            self.input.drain(..=end);
            self.deadline = now + PATIENCE;
            let result = request.call.and_then(|call| match self.trusted || call.is_public() {
                true => act(&call),
                false => Err(Refusal::NotPermitted),
            });
            if !request.oneway {
                self.output = answer(&result);
                self.write();
            }
        }
        if self.input.len() >= LONGEST_CALL {
            self.closed = true;
        }
        if self.input.is_empty() {
            self.input = Vec::new();
        }
    }

    fn read(&mut self) {
        let mut part = [0; PART];
        let room = PART.min(LONGEST_CALL - self.input.len().min(LONGEST_CALL));
        // Descriptors that come beside it are closed by the kernel: there is no room for them.
        match recv(&self.socket, &mut part[..room], RecvFlags::DONTWAIT) {
            Ok((0, _)) => self.closed = true,
            Ok((length, _)) => self.input.extend_from_slice(&part[..length]),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.closed = true,
        }
    }

    fn write(&mut self) {
        match send(&self.socket, &self.output, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(sent) if sent == self.output.len() => self.output = Vec::new(),
            Ok(sent) => drop(self.output.drain(..sent)),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.closed = true,
        }
    }
}
