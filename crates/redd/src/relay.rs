//! Carries bytes and signals between us and a command in a machine, until it ends.

use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use machine::join::{End, Running};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::{Errno, read, retry_on_intr, write};
use rustix::process::Signal;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use sys::signal::SignalSet;

/// How much is carried at a time, in bytes. Where a pipe is ready for writing it takes no less than this without a wait.
const PIECE: usize = 4096;
/// What a terminal takes for the end of what is typed.
const END_OF_INPUT: u8 = 4;
/// Leaves a session: this key three times within a second.
const LEAVE: u8 = 0x1d;
/// How long the three keys may take.
const WITHIN: Duration = Duration::from_secs(1);
/// How often a terminal that nobody has open inside is looked at again: programs for logins hang it up before they use it.
const HUNG_UP: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// What ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The command.
    Ended(End),
    /// Whoever was at the keyboard, or a signal to us.
    Left,
    /// The machine has ended, whatever became of the command.
    Gone,
}

/// The other side of a terminal: what runs there, and when that is over.
pub(crate) trait Party {
    /// A process whose end is the end of all.
    fn process(&self) -> BorrowedFd<'_>;

    /// What that means.
    ///
    /// # Errors
    /// Those of waitid(2).
    fn outcome(&self) -> rustix::io::Result<Outcome>;

    /// Whether it has ended while that process lives. Asked as long as nobody has the terminal open.
    fn look(&mut self) -> Option<Outcome> {
        None
    }

    /// Passes a signal on; `false` where a signal to us means that we leave.
    fn pass_on(&self, signal: i32) -> bool;
}

/// A command of ours. Three times ^] and signals leave it if it is somebody's session.
pub(crate) struct Own<'a> {
    pub(crate) command: &'a Running,
    pub(crate) session: bool,
}

impl Party for Own<'_> {
    fn process(&self) -> BorrowedFd<'_> {
        self.command.pidfd.as_fd()
    }

    fn outcome(&self) -> rustix::io::Result<Outcome> {
        self.command.wait().map(Outcome::Ended)
    }

    fn pass_on(&self, signal: i32) -> bool {
        if !self.session {
            // It may have ended meanwhile.
            let _ = sys::signal::send(self.process(), signal);
        }
        !self.session
    }
}

/// Signals that are passed on; they are blocked from here on.
pub(crate) struct Signals {
    descriptor: OwnedFd,
}

impl Signals {
    /// Takes them, before the command is made.
    pub(crate) fn take() -> rustix::io::Result<Self> {
        let mut set = SignalSet::empty();
        let all = [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::WINCH];
        // What was ignored when we started stays so.
        all.iter().filter(|signal| !sys::signal::is_ignored(signal.as_raw())).for_each(|one| set.insert(one.as_raw()));
        sys::signal::block(&set)?;
        Ok(Self { descriptor: sys::signal::open(&set)? })
    }
}

/// Our terminal, whose keys mean nothing to it for as long as this lives.
struct Raw {
    before: Termios,
}

impl Raw {
    /// Nothing where our input is no terminal.
    fn enter() -> rustix::io::Result<Option<Self>> {
        let input = rustix::stdio::stdin();
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(input)?;
        let mut raw = before.clone();
        raw.make_raw();
        // What was typed before is for the command.
        tcsetattr(input, OptionalActions::Drain, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // It is gone if this fails.
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// Where bytes go to, and those that have not gone yet.
struct Flow<'a> {
    from: BorrowedFd<'a>,
    to: BorrowedFd<'a>,
    pending: Vec<u8>,
    /// Nothing more comes, or nobody takes it.
    over: bool,
    /// Nobody has the terminal open at the moment that one end is.
    hung_up: bool,
}

impl<'a> Flow<'a> {
    fn new(from: BorrowedFd<'a>, to: BorrowedFd<'a>) -> Self {
        Self { from, to, pending: Vec::with_capacity(PIECE), over: false, hung_up: false }
    }

    /// What it waits for.
    fn poll_fd(&self) -> Option<PollFd<'_>> {
        match (self.over || self.hung_up, self.pending.is_empty()) {
            (true, _) => None,
            (false, true) => Some(PollFd::from_borrowed_fd(self.from, PollFlags::IN)),
            (false, false) => Some(PollFd::from_borrowed_fd(self.to, PollFlags::OUT)),
        }
    }

    /// Does what it was waiting for. The result is what has just come in.
    fn go_on(&mut self) -> rustix::io::Result<&mut Vec<u8>> {
        if self.pending.is_empty() {
            let mut piece = [0; PIECE];
            match retry_on_intr(|| read(self.from, &mut piece)) {
                // A terminal's other end was closed by all.
                Ok(0) | Err(Errno::IO) => self.over = true,
                Ok(length) => self.pending.extend_from_slice(&piece[..length]),
                Err(Errno::AGAIN) => {}
                Err(errno) => return Err(errno),
            }
            return Ok(&mut self.pending);
        }
        match retry_on_intr(|| write(self.to, &self.pending)) {
            Ok(length) => drop(self.pending.drain(..length)),
            Err(Errno::AGAIN) => {}
            // Nobody reads any more.
            Err(Errno::PIPE | Errno::IO) => {
                self.over = true;
                self.pending.clear();
            }
            Err(errno) => return Err(errno),
        }
        Ok(&mut self.pending)
    }
}

/// Carries all until the command ends.
pub(crate) fn run(mut running: Running, signals: &Signals) -> rustix::io::Result<Outcome> {
    match running.master.take() {
        Some(master) => on_terminal(&mut Own { command: &running, session: false }, &master, signals, false),
        None => with_pipes(running, signals),
    }
}

fn with_pipes(mut running: Running, signals: &Signals) -> rustix::io::Result<Outcome> {
    let mut input = running.input.take();
    if let Some(input) = &input {
        set_non_blocking(input)?;
    }
    let (output, errors) = (running.output.take().ok_or(Errno::BADF)?, running.errors.take().ok_or(Errno::BADF)?);
    let mut outward =
        [Flow::new(output.as_fd(), rustix::stdio::stdout()), Flow::new(errors.as_fd(), rustix::stdio::stderr())];
    let mut waiting = Vec::new();
    loop {
        let (ended, closed) = {
            let mut inward = input.as_ref().map(|input| {
                let mut flow = Flow::new(rustix::stdio::stdin(), input.as_fd());
                flow.pending.append(&mut waiting);
                flow
            });
            let ready = wait(running.pidfd.as_fd(), signals, inward.iter().chain(&outward), None)?;
            while let Some(delivered) = sys::signal::next(signals.descriptor.as_fd())? {
                // It may have ended meanwhile.
                let _ = sys::signal::send(running.pidfd.as_fd(), delivered.signal);
            }
            let (first, rest) = ready.flows.split_at(usize::from(inward.is_some()));
            if let Some(flow) = inward.as_mut().filter(|_| first == [true]) {
                flow.go_on()?;
            }
            for (flow, ready) in outward.iter_mut().zip(rest) {
                if *ready {
                    flow.go_on()?;
                }
            }
            let closed = inward.as_ref().is_some_and(|flow| flow.over);
            if let Some(flow) = inward {
                waiting = flow.pending;
            }
            (ready.ended, closed)
        };
        if closed {
            // The command reads the end.
            input = None;
        }
        if ended {
            drain(&mut outward)?;
            return Ok(Outcome::Ended(running.wait()?));
        }
    }
}

/// Carries what is typed and shown between our terminal and another one, whose master end is given, until the other party
/// has ended. `may_leave`: three times ^] leaves it.
///
/// # Errors
/// Those of poll(2), read(2) and write(2). Our terminal is as before then, too.
pub(crate) fn on_terminal(
    party: &mut dyn Party,
    master: &OwnedFd,
    signals: &Signals,
    may_leave: bool,
) -> rustix::io::Result<Outcome> {
    let _raw = Raw::enter()?;
    set_non_blocking(master)?;
    // Where our output is no terminal it keeps the size that it has.
    let _ = sys::terminal::copy_window_size(rustix::stdio::stdout(), master.as_fd());
    let (mut inward, mut outward) =
        (Flow::new(rustix::stdio::stdin(), master.as_fd()), [Flow::new(master.as_fd(), rustix::stdio::stdout())]);
    let mut keys = Vec::new();
    loop {
        let limit = outward[0].hung_up.then_some(&HUNG_UP);
        let ready = wait(party.process(), signals, [&inward, &outward[0]], limit)?;
        while let Some(delivered) = sys::signal::next(signals.descriptor.as_fd())? {
            if delivered.signal == Signal::WINCH.as_raw() {
                let _ = sys::terminal::copy_window_size(rustix::stdio::stdout(), master.as_fd());
            } else if !party.pass_on(delivered.signal) {
                return Ok(Outcome::Left);
            }
        }
        if ready.flows[0] {
            let reading = inward.pending.is_empty();
            let typed = inward.go_on()?;
            if may_leave && reading && leaves(&mut keys, typed) {
                return Ok(Outcome::Left);
            }
            if inward.over && reading {
                // A pipe has an end, which a terminal is told by a key.
                let _ = write(master, &[END_OF_INPUT]);
            }
        }
        if ready.flows[1] || outward[0].hung_up {
            look_again(&mut outward[0])?;
        }
        if ready.ended {
            drain(&mut outward)?;
            return party.outcome();
        }
        if outward[0].hung_up
            && let Some(outcome) = party.look()
        {
            return Ok(outcome);
        }
    }
}

/// Goes on with what comes from a terminal, which may be hung up and used again.
fn look_again(outward: &mut Flow<'_>) -> rustix::io::Result<()> {
    outward.hung_up = false;
    let reading = outward.pending.is_empty();
    outward.go_on()?;
    if reading && outward.over {
        (outward.over, outward.hung_up) = (false, true);
    }
    Ok(())
}

/// Whether the key that leaves was typed three times within a second.
fn leaves(keys: &mut Vec<Instant>, typed: &[u8]) -> bool {
    let now = Instant::now();
    for byte in typed {
        if *byte == LEAVE {
            keys.push(now);
        } else {
            keys.clear();
        }
    }
    keys.retain(|then| now.duration_since(*then) < WITHIN);
    keys.len() >= 3
}

/// What has happened.
struct Ready {
    flows: Vec<bool>,
    ended: bool,
}

fn wait<'a>(
    process: BorrowedFd<'_>,
    signals: &Signals,
    flows: impl IntoIterator<Item = &'a Flow<'a>>,
    limit: Option<&Timespec>,
) -> rustix::io::Result<Ready> {
    let flows: Vec<_> = flows.into_iter().map(Flow::poll_fd).collect();
    let mut fds =
        vec![PollFd::from_borrowed_fd(process, PollFlags::IN), PollFd::new(&signals.descriptor, PollFlags::IN)];
    fds.extend(flows.iter().flatten().cloned());
    retry_on_intr(|| poll(&mut fds, limit))?;
    let mut happened = fds.iter().map(|fd| !fd.revents().is_empty());
    let ended = happened.next().unwrap_or(false);
    let mut happened = happened.skip(1);
    let flows = flows.iter().map(|flow| flow.is_some() && happened.next().unwrap_or(false)).collect();
    Ok(Ready { flows, ended })
}

/// What the command has written before its end. What others that it has left behind write later is nobody's.
fn drain(flows: &mut [Flow<'_>]) -> rustix::io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    for flow in flows {
        while !flow.over && !flow.hung_up {
            let writing = !flow.pending.is_empty();
            let mut fds: Vec<_> = flow.poll_fd().into_iter().collect();
            let ready = retry_on_intr(|| poll(&mut fds, if writing { None } else { Some(&now) }))?;
            drop(fds);
            if ready == 0 {
                break;
            }
            flow.go_on()?;
        }
    }
    Ok(())
}

/// Our end alone; the other one stays as it was.
fn set_non_blocking(fd: &OwnedFd) -> rustix::io::Result<()> {
    debug_assert!(!FileType::from_raw_mode(fstat(fd)?.st_mode).is_file());
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_keys_in_a_second_leave() {
        let mut keys = Vec::new();
        assert!(!leaves(&mut keys, &[LEAVE, LEAVE]));
        assert!(leaves(&mut keys, &[LEAVE]));
        keys.clear();
        assert!(!leaves(&mut keys, &[LEAVE, LEAVE, b'x', LEAVE]));
        let long_ago = Instant::now().checked_sub(WITHIN * 2).unwrap();
        let mut keys = vec![long_ago, long_ago];
        assert!(!leaves(&mut keys, &[LEAVE]));
    }
}
