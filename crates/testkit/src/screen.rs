//! Our end of a terminal: what is typed and what comes.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a terminal that nobody has open is left alone before it is looked at again.
const HUNG_UP: Duration = Duration::from_millis(20);

/// The master of a pseudo-terminal, read as a person would.
#[derive(Debug)]
pub struct Screen {
    pub(crate) master: std::fs::File,
    /// All that was written to it.
    transcript: String,
    /// The beginning of a character that has not come whole.
    begun: Vec<u8>,
    /// Up to where [`Self::expect`] has looked.
    seen: usize,
    /// Whoever has the other end may open it later, or again.
    comes_back: bool,
}

impl Screen {
    /// That of a terminal whose other end is opened and closed by others, as logins do.
    #[must_use]
    pub fn of(master: OwnedFd) -> Self {
        Self { comes_back: true, ..Self::of_child(master) }
    }

    /// That of a terminal which is over when its other end is closed.
    pub(crate) fn of_child(master: OwnedFd) -> Self {
        Self { master: master.into(), transcript: String::new(), begun: Vec::new(), seen: 0, comes_back: false }
    }

    /// Reads until `text` comes, and returns all since the last call, including it.
    ///
    /// # Panics
    /// With what came instead, if the text does not come in time.
    #[track_caller]
    pub fn expect(&mut self, text: &str, limit: Duration) -> String {
        match self.try_expect(text, limit) {
            Some(found) => found,
            None => panic!("{text:?} did not come in {limit:?}; there was:\n{}", self.transcript),
        }
    }

    /// The same, without a panic.
    pub fn try_expect(&mut self, text: &str, limit: Duration) -> Option<String> {
        let end = Instant::now() + limit;
        loop {
            if let Some(at) = self.transcript[self.seen..].find(text) {
                let to = self.seen + at + text.len();
                let found = self.transcript[self.seen..to].to_owned();
                self.seen = to;
                return Some(found);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            if !self.read(left) {
                if !self.comes_back {
                    return None;
                }
                std::thread::sleep(HUNG_UP);
            }
        }
    }

    /// Takes what comes within the time; false when the other side is closed.
    pub(crate) fn read(&mut self, limit: Duration) -> bool {
        let time = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: i64::from(limit.subsec_nanos()) };
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        if poll(&mut fds, Some(&time)).unwrap_or(0) == 0 {
            return true;
        }
        let mut buffer = [0; 4096];
        match self.master.read(&mut buffer) {
            Ok(length @ 1..) => {
                self.take(&buffer[..length]);
                true
            }
            _ => false,
        }
    }

    /// What is no text is replaced; a character may come in parts.
    fn take(&mut self, bytes: &[u8]) {
        self.begun.extend_from_slice(bytes);
        let incomplete = |part: &[u8]| std::str::from_utf8(part).is_err_and(|error| error.error_len().is_none());
        let last = self.begun.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
        let whole = self.begun.len() - if incomplete(last) { last.len() } else { 0 };
        let rest = self.begun.split_off(whole);
        self.transcript.push_str(&String::from_utf8_lossy(&self.begun));
        self.begun = rest;
    }

    pub(crate) fn pending(&self) -> bool {
        let mut fds = [PollFd::new(&self.master, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap_or(0) > 0
            && fds[0].revents().contains(PollFlags::IN)
    }

    /// Types something.
    ///
    /// # Panics
    /// If the terminal takes nothing.
    pub fn write(&mut self, text: &str) {
        self.master.write_all(text.as_bytes()).expect("terminal");
    }

    /// Types a line.
    pub fn write_line(&mut self, text: &str) {
        self.write(&format!("{text}\r"));
    }

    /// Everything that was written so far.
    #[must_use]
    pub fn transcript(&self) -> &str {
        &self.transcript
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_come_in_parts() {
        let mut screen = Screen::of(std::fs::File::open("/dev/null").expect("a descriptor").into());
        for part in [&b"a\xe2"[..], b"\x94", b"\x80b\xff", b"\xc3", b"c"] {
            screen.take(part);
        }
        assert_eq!(screen.transcript(), "a\u{2500}b\u{fffd}\u{fffd}c");
    }
}
