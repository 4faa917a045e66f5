//! The machine's control socket: who may connect is anybody, so nothing here waits, and nothing grows beyond its bounds.
//!
//! What can be called is in [`machine::control::protocol`]; what each method does, in `event_loop/steering.rs`.

mod connection;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use machine::State;
use machine::control::protocol::{self, Call, Refusal};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, listen, send, socket_with,
};
use serde_json::Value;

use connection::Connection;

/// How many connections there are at most.
const MOST: usize = 16;
/// How many of them are of those who may only look.
const MOST_PUBLIC: usize = 8;
/// How many wait to be accepted, at most.
const BACKLOG: i32 = 64;
/// How many are accepted before something else has its turn.
const AT_ONCE: usize = 16;
/// How long the socket is left alone where no more descriptors can be opened.
const REST: Duration = Duration::from_millis(200);
/// How many descriptors are waited for, at most.
pub(super) const SLOTS: usize = 1 + MOST;

/// The socket, and who is connected.
#[derive(Debug)]
pub struct Server {
    listener: OwnedFd,
    /// Slots are filled and emptied; a connection stays in its own.
    connections: Vec<Connection>,
    state: State,
    rests_until: Option<Instant>,
}

impl Server {
    /// Makes the socket at `path`, that everybody may connect to: credentials decide. What is known of the machine is in
    /// `state`, so is its owner.
    ///
    /// # Errors
    /// Those of the system calls: `EADDRINUSE` if something is there.
    pub fn listen(path: &Path, state: State) -> rustix::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = SocketAddrUnix::new(path)?;
        // One thread is there whose mask this is, and the socket has its mode from the beginning.
        let before = rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o111));
        let bound = bind(&listener, &address);
        rustix::process::umask(before);
        bound?;
        listen(&listener, BACKLOG)?;
        Ok(Self { listener, connections: Vec::new(), state, rests_until: None })
    }

    /// What is known of the machine.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// It has begun anew.
    pub fn renew(&mut self, state: State) {
        self.state = state;
    }

    /// What to wait for: the socket first, each connection in its slot behind it.
    pub(super) fn watch<'a>(&'a self, fds: &mut [PollFd<'a>]) {
        if self.rests_until.is_none() {
            fds[0] = PollFd::new(&self.listener, PollFlags::IN);
        }
        for (fd, connection) in fds[1..].iter_mut().zip(&self.connections) {
            *fd = connection.watch();
        }
    }

    /// When [`Server::turn`] has something to do though nothing has happened.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.connections.iter().map(Connection::deadline).chain(self.rests_until).min()
    }

    /// Does what there is to do. `ready` says what of [`Server::watch`] something has happened to; `act` carries a call out.
    pub(super) fn turn(
        &mut self,
        ready: &[bool],
        now: Instant,
        act: &mut dyn FnMut(&State, &Call) -> Result<Value, Refusal>,
    ) {
        for (connection, ready) in self.connections.iter_mut().zip(&ready[1..]) {
            if *ready {
                connection.carry(now, &mut |call| match call {
                    Call::GetInfo => Ok(protocol::info()),
                    Call::GetInterfaceDescription(interface) => protocol::description(interface),
                    call => act(&self.state, call),
                });
            }
            connection.expire(now);
        }
        self.connections.retain(|connection| !connection.is_closed());
        if self.connections.is_empty() {
            // It may not be needed again for years.
            self.connections = Vec::new();
        }
        if self.rests_until.is_some_and(|until| until <= now) {
            self.rests_until = None;
        } else if ready[0] {
            self.accept(now);
        }
    }

    fn accept(&mut self, now: Instant) {
        for _ in 0..AT_ONCE {
            match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => self.admit(socket, now),
                Err(Errno::AGAIN) => return,
                // Gone before it was seen.
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(_) => {
                    self.rests_until = Some(now + REST);
                    return;
                }
            }
        }
    }

    fn admit(&mut self, socket: OwnedFd, now: Instant) {
        let Ok(peer) = sys::peer::of(socket.as_fd()) else { return };
        let trusted = peer.uid == 0 || peer.uid == self.state.uid;
        let public = self.connections.iter().filter(|connection| !connection.is_trusted()).count();
        if trusted && self.connections.len() >= MOST {
            // Those who may only look do not keep those out who may do more.
            let looker = self.connections.iter().position(|connection| !connection.is_trusted());
            if let Some(number) = looker {
                self.connections.remove(number);
            }
        }
        if self.connections.len() >= MOST || (!trusted && public >= MOST_PUBLIC) {
            // Whoever cannot take even this hears nothing.
            let _ = send(&socket, &protocol::answer(&Err(Refusal::Busy)), SendFlags::NOSIGNAL);
            return;
        }
        self.connections.push(Connection::new(socket, trusted, now));
    }
}

#[cfg(test)]
mod tests;
