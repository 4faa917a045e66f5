//! Logs that are files of lines: their last lines, and what is added to them. They may be cut off, replaced or moved away at
//! any time.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::sink::Sink;

/// How often it is looked for more.
const INTERVAL: Duration = Duration::from_millis(200);
/// How much is read at a time, in bytes.
const PIECE: usize = 64 << 10;
/// How far back the beginning of the last lines is looked for, in bytes.
const FURTHEST: u64 = 64 << 20;

/// A log: how to open it, again after it was replaced.
pub(crate) type Opener<'a> = &'a dyn Fn() -> rustix::io::Result<OwnedFd>;

/// Shows the last lines, all without a number. The result is what was read, for going on; `None` if nobody reads any more.
pub(crate) fn show(open: Opener<'_>, lines: Option<u64>, sink: &mut Sink) -> std::io::Result<Option<File>> {
    let mut file = File::from(open()?);
    if let Some(lines) = lines {
        let begin = begin_of_last(&mut file, lines)?;
        file.seek(SeekFrom::Start(begin))?;
    }
    Ok(if read_on(&mut file, sink)? { Some(file) } else { None })
}

/// Shows what is added, until nobody reads any more or the machine has ended.
pub(crate) fn follow(
    open: Opener<'_>,
    mut file: File,
    machine: Option<&OwnedFd>,
    sink: &mut Sink,
) -> std::io::Result<()> {
    loop {
        // Asked before it is read for the last time.
        let over = wait(machine.map(AsFd::as_fd))?;
        if over == Some(Over::NobodyReads) {
            return Ok(());
        }
        let known = file.metadata()?;
        if known.len() < file.stream_position()? {
            file.seek(SeekFrom::Start(0))?;
        }
        if !read_on(&mut file, sink)? {
            return Ok(());
        }
        // Between two files there may be none.
        if let Ok(next) = open().map(File::from) {
            let now = next.metadata()?;
            if (now.dev(), now.ino()) != (known.dev(), known.ino()) {
                // Written between the look at the old one and its replacement.
                if !read_on(&mut file, sink)? {
                    return Ok(());
                }
                file = next;
                if !read_on(&mut file, sink)? {
                    return Ok(());
                }
            }
        }
        if over == Some(Over::MachineEnded) {
            return Ok(());
        }
    }
}

/// Why nothing more is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    MachineEnded,
    NobodyReads,
}

fn wait(machine: Option<BorrowedFd<'_>>) -> std::io::Result<Option<Over>> {
    let mut fds = vec![PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty())];
    fds.extend(machine.map(|machine| PollFd::from_borrowed_fd(machine, PollFlags::IN)));
    let limit = Timespec { tv_sec: 0, tv_nsec: INTERVAL.subsec_nanos().into() };
    rustix::io::retry_on_intr(|| poll(&mut fds, Some(&limit)))?;
    let happened: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
    Ok(match happened[..] {
        [output, ..] if output.intersects(PollFlags::ERR | PollFlags::HUP) => Some(Over::NobodyReads),
        [_, machine] if !machine.is_empty() => Some(Over::MachineEnded),
        _ => None,
    })
}

/// False if nobody reads any more.
fn read_on(file: &mut File, sink: &mut Sink) -> std::io::Result<bool> {
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(true),
            length => {
                if !sink.take(&piece[..length])? {
                    return Ok(false);
                }
            }
        }
    }
}

/// How many lines there are.
pub(crate) fn count(open: Opener<'_>) -> std::io::Result<u64> {
    let mut file = File::from(open()?);
    let (mut lines, mut last) = (0, b'\n');
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(lines + u64::from(last != b'\n')),
            length => {
                lines += piece[..length].iter().filter(|byte| **byte == b'\n').count() as u64;
                last = piece[length - 1];
            }
        }
    }
}

/// Where the last lines begin, in bytes. A line without an end counts as one.
fn begin_of_last(file: &mut File, lines: u64) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    if lines == 0 {
        return Ok(length);
    }
    let mut end = length;
    let mut left = lines;
    let mut piece = vec![0; PIECE];
    while end > length.saturating_sub(FURTHEST) {
        let begin = end.saturating_sub(PIECE as u64);
        let size = usize::try_from(end - begin).unwrap_or(PIECE);
        file.seek(SeekFrom::Start(begin))?;
        match file.read_exact(&mut piece[..size]) {
            // It was cut off meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(0),
            other => other?,
        }
        for (index, byte) in piece[..size].iter().enumerate().rev() {
            let at = begin + index as u64;
            if *byte == b'\n' && at + 1 < length {
                left -= 1;
                if left == 0 {
                    return Ok(at + 1);
                }
            }
        }
        end = begin;
    }
    Ok(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"one\ntwo\n\nfour").unwrap();
        let begins = [0, 1, 2, 3, 4, 100].map(|lines| begin_of_last(&mut file, lines).unwrap());
        assert_eq!(begins, [13, 9, 8, 4, 0, 0]);
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, format!("first\n{}\nlast\n", "x".repeat(3 * PIECE)).as_bytes()).unwrap();
        assert_eq!(begin_of_last(&mut file, 2).unwrap(), 6);
        assert_eq!(begin_of_last(&mut file, 1).unwrap(), 6 + 3 * PIECE as u64 + 1);
        assert_eq!(begin_of_last(&mut tempfile::tempfile().unwrap(), 5).unwrap(), 0);
    }
}
