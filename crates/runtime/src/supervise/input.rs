//! From our standard input to the container's console, with the key sequences taken out.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::io::Errno;
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};
use sys::terminal::{Standing, standing};

use super::raw_mode::RawMode;
use super::ring::Ring;
use super::shortcut::{Command, Shortcut};
use super::tint::Answer;

/// The most bytes that can be held back.
const MOST_HELD: usize = Shortcut::MOST_HELD + Answer::MOST_HELD;

/// As much as a terminal holds of a line (termios(3)).
const CAPACITY: usize = 4096;

/// Where input is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It is read.
    Open,
    /// It belongs to another job of the shell's for now.
    Background,
    /// It has ended, and the container has to be told.
    Ended,
    /// The container knows.
    Closed,
}

/// Our input on its way.
#[derive(Debug)]
pub(super) struct Input {
    source: OwnedFd,
    state: State,
    raw: Option<RawMode>,
    answer: Option<Answer>,
    tint: Option<String>,
    shortcut: Shortcut,
    buffer: Ring,
    /// The last byte that the container got.
    last: u8,
}

impl Input {
    /// From `source`, which becomes raw if it is a terminal that we may use.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(super) fn new(source: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        let mut input = Self {
            source: rustix::io::fcntl_dupfd_cloexec(source, 3)?,
            state: State::Background,
            raw: None,
            answer: None,
            tint: None,
            shortcut: Shortcut::default(),
            buffer: Ring::new(CAPACITY),
            last: b'\n',
        };
        input.resume();
        Ok(input)
    }

    /// Takes the terminal, if it is ours to take: at the start, and when a shell brings us to the foreground.
    pub(super) fn resume(&mut self) {
        if self.state != State::Background {
            return;
        }
        match standing(self.source.as_fd()) {
            Standing::Background => {}
            Standing::NotATerminal => self.state = State::Open,
            Standing::Foreground => {
                // One that cannot be raw is used as it is.
                self.raw = RawMode::enter(self.source.as_fd()).ok();
                self.state = State::Open;
            }
        }
    }

    /// Gives the terminal back, until [`Input::resume`].
    pub(super) fn suspend(&mut self) {
        if self.state == State::Open {
            self.raw = None;
            self.state = State::Background;
        }
    }

    /// The descriptor to wait for, if more can be taken.
    pub(super) fn waits_for(&self) -> Option<BorrowedFd<'_>> {
        let room = self.buffer.space() > MOST_HELD;
        (self.state == State::Open && room).then_some(self.source.as_fd())
    }

    /// Whether the container has still to take something.
    pub(super) fn is_pending(&self) -> bool {
        !self.buffer.is_empty() || self.state == State::Ended
    }

    /// Takes keys. The result is the sequence that was completed, if one was.
    pub(super) fn fill(&mut self, now: Instant) -> Option<Command> {
        let mut bytes = [0; CAPACITY];
        // What was held back may have come since somebody waited for more, and what is read then would be the end of all.
        let Some(room @ 1..) = self.buffer.space().checked_sub(MOST_HELD) else { return None };
        let count = match rustix::io::read(&self.source, &mut bytes[..room]) {
            Ok(0) => {
                self.end();
                return None;
            }
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(Errno::IO) if standing(self.source.as_fd()) == Standing::Background => {
                self.suspend();
                return None;
            }
            // A terminal that hung up has no more keys.
            Err(_) => {
                self.end();
                return None;
            }
        };
        if self.raw.is_none() && standing(self.source.as_fd()) == Standing::NotATerminal {
            // No keyboard, no key sequences: a file may hold any bytes.
            self.buffer.push(&bytes[..count]);
            return None;
        }
        let Self { answer, tint, shortcut, buffer, .. } = self;
        let mut command = None;
        let mut key = |key| {
            command = command.or(shortcut.feed(key, now, &mut |key| {
                buffer.push(&[key]);
            }));
        };
        for byte in &bytes[..count] {
            match answer {
                Some(expected) => {
                    if let Some(found) = expected.feed(*byte, now, &mut key) {
                        (*answer, *tint) = (None, Some(found));
                    }
                }
                None => key(*byte),
            }
        }
        command
    }

    /// Expects the terminal to say what background it has. False where there is no terminal of ours to ask.
    pub(super) fn expect_answer(&mut self, now: Instant) -> bool {
        self.answer = self.raw.is_some().then(|| Answer::new(now));
        self.answer.is_some()
    }

    /// Whether its answer may still come.
    pub(super) fn expects_answer(&self) -> bool {
        self.state == State::Open && self.answer.is_some()
    }

    /// The sequence that sets the tint, once, after the answer.
    pub(super) fn take_tint(&mut self) -> Option<String> {
        self.tint.take()
    }

    fn end(&mut self) {
        let Self { answer, shortcut, buffer, .. } = self;
        let now = Instant::now();
        if let Some(mut answer) = answer.take() {
            answer.release(&mut |key| {
                shortcut.feed(key, now, &mut |key| {
                    buffer.push(&[key]);
                });
            });
        }
        shortcut.release(&mut |key| {
            buffer.push(&[key]);
        });
        self.raw = None;
        self.state = State::Ended;
    }

    /// Passes on what the container takes.
    ///
    /// # Errors
    /// Those of write(2).
    pub(super) fn flush(&mut self, master: BorrowedFd<'_>) -> rustix::io::Result<()> {
        while !self.buffer.is_empty() {
            let [first, _] = self.buffer.parts();
            match rustix::io::write(master, first) {
                Ok(count) => {
                    self.last = first[count.max(1) - 1];
                    self.buffer.consume(count);
                }
                Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        if self.state == State::Ended {
            self.tell_end(master)?;
        }
        Ok(())
    }

    /// A terminal's end of file is a character; within a line it only ends the line, and is needed twice (termios(3),
    /// `VEOF`).
    fn tell_end(&mut self, master: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let modes = tcgetattr(master)?;
        let end = [modes.special_codes[SpecialCodeIndex::VEOF]; 2];
        let lines = modes.local_modes.contains(LocalModes::ICANON);
        let end = if lines && !matches!(self.last, b'\n' | b'\r') { &end[..] } else { &end[..1] };
        match rustix::io::write(master, end) {
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
            Ok(_) => {
                self.state = State::Closed;
                Ok(())
            }
        }
    }

    /// When [`Input::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let answer = self.answer.as_ref().and_then(Answer::deadline);
        [answer, self.shortcut.deadline()].into_iter().flatten().min()
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        let Self { answer, shortcut, buffer, .. } = self;
        if let Some(expected) = answer
            && !expected.expire(now, &mut |key| {
                shortcut.feed(key, now, &mut |key| {
                    buffer.push(&[key]);
                });
            })
        {
            *answer = None;
        }
        shortcut.expire(now, &mut |key| {
            buffer.push(&[key]);
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Keys that were held back are let go after somebody has seen that there is room for others.
    #[test]
    fn where_no_room_is_left_nothing_is_read() {
        for free in [MOST_HELD + 1, MOST_HELD + 2, MOST_HELD + 3] {
            let (source, keyboard) = rustix::pipe::pipe().expect("pipe");
            let now = Instant::now();
            let mut input = Input::new(source.as_fd()).expect("input");
            rustix::io::write(&keyboard, b"x").expect("a key");
            input.buffer.push(&vec![b'y'; CAPACITY - free]);
            for _ in 0..2 {
                input.shortcut.feed(0x1d, now, &mut |_| {});
            }
            assert!(input.waits_for().is_some());
            input.expire(now + Duration::from_secs(2));
            assert_eq!(input.buffer.space(), free - 2);
            assert_eq!(input.fill(now), None);
            assert_eq!(input.buffer.space(), if free > MOST_HELD + 2 { free - 3 } else { free - 2 });
            assert_eq!(input.state, State::Open, "that is not its end");
        }
    }
}
