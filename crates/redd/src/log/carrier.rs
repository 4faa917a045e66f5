//! Carries what a reader of logs prints to whoever wants it.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{read, retry_on_intr};

use super::sink::{self, Sink};

/// How long a reader may be silent after the machine's end before nothing more is expected of it.
const SILENCE: Duration = Duration::from_millis(500);
/// How much is carried at a time, in bytes.
const PIECE: usize = 16 << 10;

/// What ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// The reader has closed its output.
    Reader,
    /// Nobody reads any more.
    NobodyReads,
    /// The machine.
    Machine,
}

/// Carries until one of them ends. Errors of the reader go to standard error.
pub(crate) fn carry(
    output: &OwnedFd,
    errors: &OwnedFd,
    machine: Option<&OwnedFd>,
    sink: &mut Sink,
) -> std::io::Result<Over> {
    let mut piece = vec![0; PIECE];
    let (mut complains, mut told) = (true, Vec::new());
    let mut silent_since = None;
    loop {
        let mut fds = vec![
            PollFd::new(output, PollFlags::IN),
            PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty()),
        ];
        if complains {
            fds.push(PollFd::new(errors, PollFlags::IN));
        }
        let watched = machine.filter(|_| silent_since.is_none());
        fds.extend(watched.map(|machine| PollFd::from_borrowed_fd(machine.as_fd(), PollFlags::IN)));
        let limit = Timespec { tv_sec: 0, tv_nsec: SILENCE.subsec_nanos().into() };
        retry_on_intr(|| poll(&mut fds, silent_since.map(|_: Instant| &limit)))?;
        let happened: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        if watched.is_some() && happened.last().is_some_and(|flags| !flags.is_empty()) {
            silent_since = Some(Instant::now());
        }
        if complains && !happened[2].is_empty() {
            match retry_on_intr(|| read(errors, &mut piece))? {
                0 => complains = false,
                length => told.extend_from_slice(&piece[..length]),
            }
            told = complain(told, !complains);
        }
        if !happened[0].is_empty() {
            match retry_on_intr(|| read(output, &mut piece))? {
                0 => {
                    if complains {
                        rest(errors, told)?;
                    }
                    return Ok(Over::Reader);
                }
                length if !sink.take(&piece[..length])? => return Ok(Over::NobodyReads),
                _ => silent_since = silent_since.map(|_| Instant::now()),
            }
        } else if happened[1].intersects(PollFlags::ERR | PollFlags::HUP) {
            return Ok(Over::NobodyReads);
        } else if silent_since.is_some_and(|since| since.elapsed() >= SILENCE) {
            return Ok(Over::Machine);
        }
    }
}

/// What the reader complains of before its end.
fn rest(errors: &OwnedFd, mut told: Vec<u8>) -> std::io::Result<()> {
    let mut piece = [0; PIECE];
    loop {
        match retry_on_intr(|| read(errors, &mut piece))? {
            0 => break,
            length => told.extend_from_slice(&piece[..length]),
        }
    }
    complain(told, true);
    Ok(())
}

/// Tells whole lines, the last one too if it is `over`, and gives back what is left.
fn complain(mut told: Vec<u8>, over: bool) -> Vec<u8> {
    let end = if over { told.len() } else { told.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1) };
    let rest = told.split_off(end);
    let text = String::from_utf8_lossy(&told);
    for line in text.lines() {
        // Nobody is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "{}", sink::printable(line));
    }
    rest
}
