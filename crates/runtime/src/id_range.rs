//! Ranges of user and group ids that no two containers share (`--private-users=pick`).

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use image::RunDirectory;
use image::lock_file::{LockFile, is_locked};
use rustix::io::Errno;
use sys::file_lock::Mode;

/// The first and the last start of a range that is picked (systemd-nspawn(1), `--private-users=`).
const FIRST: u32 = 524_288;
const LAST: u32 = 1_878_982_656;
/// How many ids a range has.
const COUNT: u32 = 0x1_0000;

/// Why a range cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("the user ids from {0} on are in use by another container")]
    InUse(u32),
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

/// A range that is ours as long as this lives.
#[derive(Debug)]
pub struct RangeLock {
    /// The one that `systemd-nspawn` sees, if its directory exists.
    _peer: Option<LockFile>,
    _own: LockFile,
}

impl RangeLock {
    /// Takes the range that starts there.
    ///
    /// # Errors
    /// [`Error::InUse`] if another container has it.
    pub fn take(run: &RunDirectory, start: u32) -> Result<Self, Error> {
        let own = lock(&run.ranges(), start)?;
        let peer = run.peer_ranges();
        let present = rustix::fs::access(peer, rustix::fs::Access::EXISTS).is_ok();
        Ok(Self { _peer: present.then(|| lock(peer, start)).transpose()?, _own: own })
    }
}

fn lock(directory: &Path, start: u32) -> Result<LockFile, Error> {
    let name = OsString::from(start.to_string());
    let lock = LockFile::acquire(directory, &name, Mode::Exclusive);
    lock.map_err(|source| Error::System { path: directory.join(&name), source })?.ok_or(Error::InUse(start))
}

/// A range that nobody has now: the one that the tree's files are owned by, else one that follows from the machine's
/// name, else the next ones that follow from that. Changes nothing.
///
/// # Errors
/// [`Error::NoneFree`].
pub fn find_free(run: &RunDirectory, machine: &str, tree_owner: u32) -> Result<u32, Error> {
    const TRIES: u32 = 64;
    if (FIRST..=LAST).contains(&tree_owner) && tree_owner.is_multiple_of(COUNT) && is_free(run, tree_owner) {
        return Ok(tree_owner);
    }
    for attempt in 0..TRIES {
        let ranges = u64::from((LAST - FIRST) / COUNT) + 1;
        let start = FIRST + (hash(machine, attempt) % ranges) as u32 * COUNT;
        if is_free(run, start) {
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

fn is_free(run: &RunDirectory, start: u32) -> bool {
    let name = OsString::from(start.to_string());
    ![run.ranges().as_path(), run.peer_ranges()].iter().any(|place| is_locked(place, &name))
}
