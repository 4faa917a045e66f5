//! Ranges of user and group ids that no two containers share (`--private-users=`).
//!
//! A picked range is locked by a file named after its first id, here and where `systemd-nspawn` looks. One that was
//! asked for is locked by a file `FIRST+COUNT`, which those who ask for the same share and pickers go around. A container whose
//! supervisor was killed holds no lock; one that lives on nevertheless is ended before its range is had by another one.

pub mod managed;
mod orphans;
mod taken;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use image::RunDirectory;
use image::lock_file::{LockFile, is_locked, list};
use rustix::io::Errno;
use spec::UidRange;
use sys::file_lock::Mode;

use taken::Taken;

const FIRST: u32 = UidRange::PICKED.0;
const LAST: u32 = UidRange::PICKED.1;
/// How many ids a range has.
const COUNT: u32 = UidRange::USUAL_COUNT;
/// How many of the files of `systemd-nspawn` are locked for a range that was asked for, which may be a very large one.
const PEER_FILES: u32 = 16;

/// Why a range cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("the user ids from {0} on are in use by another container; use --private-users=pick")]
    InUse(u32),
    /// A container has it whose supervisor was killed, and cannot be killed itself.
    #[error(
        "processes of {0}, whose supervisor was killed, still have user ids from {1} on, and do not end; use other ids, or end what they wait for"
    )]
    Orphans(String, u32),
    /// None is free.
    #[error("no range of user ids is free after {0} tries")]
    NoneFree(u32),
    /// The kernel said no.
    #[error("cannot lock {path}", path = .path.display())]
    System {
        /// The lock file.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// A range that is ours, or shared, as long as this lives.
#[derive(Debug)]
pub struct RangeLock {
    /// Those that `systemd-nspawn` sees, if it has ever been used here.
    _peer: Vec<LockFile>,
    _own: LockFile,
}

impl RangeLock {
    /// Takes the picked range that starts there.
    ///
    /// # Errors
    /// [`Error::InUse`] if another container has it.
    pub fn take(run: &RunDirectory, start: u32) -> Result<Self, Error> {
        let name = start.to_string();
        let range = UidRange::new(start, COUNT);
        range.map_or(Ok(()), |range| orphans::end(run, range))?;
        let own = lock(&run.ranges(), &name, Mode::Exclusive)?.ok_or(Error::InUse(start))?;
        if range.is_some_and(|range| in_use(&run.ranges(), range, Use::Shared)) {
            return Err(Error::InUse(start));
        }
        let peer = match run.has_peer() {
            true => vec![lock(run.peer_ranges(), &name, Mode::Exclusive)?.ok_or(Error::InUse(start))?],
            false => Vec::new(),
        };
        Ok(Self { _peer: peer, _own: own })
    }

    /// Keeps others from picking ids of a range that was asked for.
    ///
    /// # Errors
    /// [`Error::InUse`] if a container has picked some of them.
    pub fn share(run: &RunDirectory, range: UidRange) -> Result<Self, Error> {
        let in_use = || Error::InUse(range.start());
        orphans::end(run, range)?;
        let own = lock(&run.ranges(), &shared_name(range), Mode::Shared)?.ok_or_else(in_use)?;
        if self::in_use(&run.ranges(), range, Use::Alone) {
            return Err(in_use());
        }
        let mut peer = Vec::new();
        if run.has_peer() {
            let first = range.start() / COUNT;
            let last = (range.start() + (range.count() - 1)) / COUNT;
            for number in (first..=last).take(PEER_FILES as usize) {
                let name = (number * COUNT).to_string();
                peer.push(lock(run.peer_ranges(), &name, Mode::Shared)?.ok_or_else(in_use)?);
            }
        }
        Ok(Self { _peer: peer, _own: own })
    }
}

fn lock(directory: &Path, name: &str, mode: Mode) -> Result<Option<LockFile>, Error> {
    let lock = LockFile::acquire_patiently(directory, OsStr::new(name), mode);
    lock.map_err(|source| Error::System { path: directory.join(name), source })
}

fn shared_name(range: UidRange) -> String {
    format!("{}+{}", range.start(), range.count())
}

/// How a range is held.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Alone,
    Shared,
}

/// What a lock file's name says.
fn range_of(name: &str) -> Option<(UidRange, Use)> {
    match name.split_once('+') {
        Some((start, count)) => Some((UidRange::new(start.parse().ok()?, count.parse().ok()?)?, Use::Shared)),
        None => Some((UidRange::new(name.parse().ok()?, COUNT)?, Use::Alone)),
    }
}

/// Whether somebody holds ids of the range in this way.
fn in_use(directory: &Path, range: UidRange, how: Use) -> bool {
    let Ok(names) = list(directory) else { return false };
    names.iter().any(|name| {
        let held = name.to_str().and_then(range_of);
        held.is_some_and(|(held, as_what)| as_what == how && held.overlaps(range)) && is_locked(directory, name)
    })
}

/// A range that nobody has now: the one that the tree's files are owned by, else one that follows from the machine's
/// name, else the next ones that follow from that. Changes nothing.
///
/// # Errors
/// [`Error::NoneFree`].
pub fn find_free(run: &RunDirectory, machine: &str, tree_owner: u32) -> Result<u32, Error> {
    find_among(run, &Taken::read(Path::new("/")), machine, tree_owner)
}

fn find_among(run: &RunDirectory, taken: &Taken, machine: &str, tree_owner: u32) -> Result<u32, Error> {
    const TRIES: u32 = 128;
    let is_free = |start| UidRange::new(start, COUNT).is_some_and(|range| is_free(run, taken, range));
    let of_tree = tree_owner - tree_owner % COUNT;
    if (FIRST..=LAST).contains(&of_tree) && is_free(of_tree) {
        return Ok(of_tree);
    }
    for attempt in 0..TRIES {
        let ranges = u64::from((LAST - FIRST) / COUNT) + 1;
        let start = FIRST + (hash(machine, attempt) % ranges) as u32 * COUNT;
        if is_free(start) {
            return Ok(start);
        }
    }
    Err(Error::NoneFree(TRIES))
}

/// FNV-1a: the same on every host and in every version, so that a machine keeps its range.
fn hash(machine: &str, attempt: u32) -> u64 {
    let bytes = machine.bytes().chain(attempt.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn is_free(run: &RunDirectory, taken: &Taken, range: UidRange) -> bool {
    let name = OsString::from(range.start().to_string());
    let locked = [run.ranges().as_path(), run.peer_ranges()].iter().any(|place| is_locked(place, &name));
    !locked && !taken.overlaps(range) && !in_use(&run.ranges(), range, Use::Shared)
}
