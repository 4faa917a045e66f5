//! A connection to a bus, or to a service manager itself.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::message::{Call, FIXED, Kind, Message};
use crate::socket::{self, Failed, PATIENCE};
use crate::wire::{Malformed, Writer};

/// How many signals are kept while an answer is waited for; the oldest go.
const KEPT: usize = 256;
/// The longest line of the authentication.
const LINE: usize = 512;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call.
    #[error("cannot {what}")]
    System {
        /// Which.
        what: &'static str,
        /// Why.
        source: Errno,
    },
    /// Nothing came in time.
    #[error("no answer came within {} seconds", PATIENCE.as_secs())]
    TimedOut,
    /// The other side has hung up.
    #[error("the connection was closed")]
    Closed,
    /// The other side does not believe that we are who we are.
    #[error("the authentication was refused")]
    Refused,
    /// Nonsense came.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// The call failed.
    #[error("{text} ({name})")]
    Call {
        /// The name of the error, such as `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// What the other side says about it.
        text: String,
    },
}

impl From<Failed> for Error {
    fn from(Failed { what, source }: Failed) -> Self {
        Self::System { what, source }
    }
}

/// A connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// Where what we say goes to, if that is not the same.
    writer: Option<OwnedFd>,
    serial: u32,
    /// What was received and not looked at yet.
    received: Vec<u8>,
    signals: VecDeque<Message>,
    patience: Duration,
}

impl Connection {
    /// Connects to a socket and says who the caller is (SASL's mechanism EXTERNAL).
    ///
    /// # Errors
    /// An [`Error`]; `ENOENT` and `ECONNREFUSED` where nobody listens.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Self::over(socket::open(path)?)
    }

    /// Connects to a bus and gets a name there.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_bus(path: &Path) -> Result<Self, Error> {
        let mut connection = Self::open(path)?;
        connection.call(&Self::broker("Hello", ""), Writer::default())?;
        Ok(connection)
    }

    /// How long an answer may take from now on, in place of 25 seconds.
    #[must_use]
    pub fn patient_for(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Has a bus pass signals on that this rule fits.
    ///
    /// # Errors
    /// An [`Error`].
    pub fn subscribe(&mut self, rule: &str) -> Result<(), Error> {
        let mut body = Writer::default();
        body.string(rule);
        self.call(&Self::broker("AddMatch", "s"), body).map(drop)
    }

    fn broker<'a>(member: &'a str, signature: &'a str) -> Call<'a> {
        Call {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
            member,
            signature,
        }
    }

    /// Goes on from a socket that is connected and does not block.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn over(socket: OwnedFd) -> Result<Self, Error> {
        Self::greet(socket, None)
    }

    /// The same with a pipe in each direction, such as to systemd-stdio-bridge(1). SIGPIPE is ignored, as in every Rust program.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn over_pipes(reader: OwnedFd, writer: OwnedFd) -> Result<Self, Error> {
        for pipe in [&reader, &writer] {
            let flags = rustix::fs::fcntl_getfl(pipe);
            flags
                .and_then(|flags| rustix::fs::fcntl_setfl(pipe, flags | rustix::fs::OFlags::NONBLOCK))
                .map_err(socket::failed("prepare a pipe"))?;
        }
        Self::greet(reader, Some(writer))
    }

    fn greet(socket: OwnedFd, writer: Option<OwnedFd>) -> Result<Self, Error> {
        let mut connection =
            Self { socket, writer, serial: 0, received: Vec::new(), signals: VecDeque::new(), patience: PATIENCE };
        let until = Instant::now() + PATIENCE;
        // The user's number in decimal digits, those in hexadecimal.
        let user: String =
            rustix::process::geteuid().as_raw().to_string().bytes().map(|b| format!("{b:02x}")).collect();
        connection.send(format!("\0AUTH EXTERNAL {user}\r\nBEGIN\r\n").as_bytes(), until)?;
        loop {
            if let Some(end) = connection.received.windows(2).position(|two| two == b"\r\n") {
                let accepted = connection.received.starts_with(b"OK ");
                connection.received.drain(..end + 2);
                return if accepted { Ok(connection) } else { Err(Error::Refused) };
            }
            if connection.received.len() > LINE {
                return Err(Malformed("an endless line").into());
            }
            connection.receive_some(until)?;
        }
    }

    /// Calls a method and waits for its answer. Signals that come meanwhile are kept for [`signal`](Self::signal).
    ///
    /// # Errors
    /// An [`Error`]; [`Error::Call`] if the method fails.
    pub fn call(&mut self, call: &Call<'_>, body: Writer) -> Result<Message, Error> {
        let until = Instant::now() + self.patience;
        self.serial += 1;
        let serial = self.serial;
        self.send(&call.encode(serial, &body.into_bytes()), until)?;
        loop {
            let message = self.next(until)?;
            match message.kind {
                Kind::Reply(to) if to == serial => return Ok(message),
                Kind::Error(to) if to == serial => {
                    let described = message.signature.starts_with('s');
                    let text = if described { message.body().string().unwrap_or_default() } else { "" };
                    let text = if text.is_empty() { "the call failed" } else { text }.to_owned();
                    return Err(Error::Call { text, name: message.error_name });
                }
                Kind::Signal => {
                    if self.signals.len() == KEPT {
                        self.signals.pop_front();
                    }
                    self.signals.push_back(message);
                }
                _ => {}
            }
        }
    }

    /// The next signal, also one that came during a call.
    ///
    /// # Errors
    /// An [`Error`]; [`Error::TimedOut`] if none comes.
    pub fn signal(&mut self) -> Result<Message, Error> {
        self.signal_until(Instant::now() + self.patience)
    }

    /// The same up to this moment.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn signal_until(&mut self, until: Instant) -> Result<Message, Error> {
        if let Some(kept) = self.signals.pop_front() {
            return Ok(kept);
        }
        loop {
            let message = self.next(until)?;
            if message.kind == Kind::Signal {
                return Ok(message);
            }
        }
    }

    fn next(&mut self, until: Instant) -> Result<Message, Error> {
        loop {
            if let Some(fixed) = self.received.first_chunk::<FIXED>() {
                let length = Message::length(fixed)?;
                if self.received.len() >= length {
                    let message = Message::parse(&self.received[..length])?;
                    self.received.drain(..length);
                    return Ok(message);
                }
            }
            self.receive_some(until)?;
        }
    }

    fn receive_some(&mut self, until: Instant) -> Result<(), Error> {
        let mut bytes = [0; 4096];
        loop {
            match rustix::io::read(&self.socket, &mut bytes[..]) {
                Ok(0) => return Err(Error::Closed),
                Ok(count) => {
                    self.received.extend(&bytes[..count]);
                    return Ok(());
                }
                Err(Errno::AGAIN) => self.wait(&self.socket, PollFlags::IN, until)?,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(Error::Closed),
                Err(source) => return Err(Error::System { what: "receive", source }),
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], until: Instant) -> Result<(), Error> {
        while !bytes.is_empty() {
            let sent = match &self.writer {
                Some(pipe) => rustix::io::write(pipe, bytes),
                None => rustix::net::send(&self.socket, bytes, SendFlags::NOSIGNAL),
            };
            match sent {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::AGAIN) => self.wait(self.writer.as_ref().unwrap_or(&self.socket), PollFlags::OUT, until)?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Error::Closed),
                Err(source) => return Err(Error::System { what: "send", source }),
            }
        }
        Ok(())
    }

    fn wait(&self, end: &OwnedFd, what: PollFlags, until: Instant) -> Result<(), Error> {
        if socket::ready(end, what, until)? { Ok(()) } else { Err(Error::TimedOut) }
    }
}

#[cfg(test)]
mod tests;
