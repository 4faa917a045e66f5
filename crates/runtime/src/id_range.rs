//! Ranges of user and group ids that no two containers share (`--private-users=pick`).

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;

/// The first and the last start of a range that is picked (systemd-nspawn(1), `--private-users=`).
const FIRST: u32 = 524_288;
const LAST: u32 = 1_878_982_656;
/// How many ids a range has.
const COUNT: u32 = 0x1_0000;

/// Where the locks are; the second place is the one where `systemd-nspawn` keeps its own.
const LOCKS: &str = "/run/redd/ids";
const PEER_LOCKS: &str = "/run/systemd/nspawn-uid";

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
    path: PathBuf,
    _files: Vec<OwnedFd>,
}

impl RangeLock {
    /// Takes the range that starts there.
    ///
    /// # Errors
    /// [`Error::InUse`] if another container has it.
    pub fn take(start: u32) -> Result<Self, Error> {
        let path = Path::new(LOCKS).join(start.to_string());
        let error = |source| Error::System { path: path.clone(), source };
        std::fs::create_dir_all(LOCKS).map_err(|e| error(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        let mut files = Vec::new();
        loop {
            let file = open(&path, true).map_err(error)?;
            lock(&file).map_err(|errno| errno.map_or(Error::InUse(start), error))?;
            // Somebody may have removed the name between the two calls.
            if names(&path, &file) {
                files.push(file);
                break;
            }
        }
        if Path::new(PEER_LOCKS).is_dir() {
            let peer = Path::new(PEER_LOCKS).join(start.to_string());
            if let Ok(file) = open(&peer, false) {
                lock(&file).map_err(|errno| errno.map_or(Error::InUse(start), error))?;
                files.push(file);
            }
        }
        Ok(Self { path, _files: files })
    }
}

impl Drop for RangeLock {
    fn drop(&mut self) {
        // The name goes before the lock does, so that nobody is found with a lock on a file that has no name.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn open(path: &Path, create: bool) -> rustix::io::Result<OwnedFd> {
    let create = if create { OFlags::CREATE } else { OFlags::empty() };
    rustix::fs::openat(CWD, path, OFlags::RDWR | OFlags::CLOEXEC | create, Mode::RUSR | Mode::WUSR)
}

/// `None` in the error stands for somebody else's lock.
fn lock(file: &OwnedFd) -> Result<(), Option<Errno>> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(Errno::WOULDBLOCK) => Err(None),
        Err(errno) => Err(Some(errno)),
    }
}

fn names(path: &Path, file: &OwnedFd) -> bool {
    match (rustix::fs::stat(path), rustix::fs::fstat(file)) {
        (Ok(named), Ok(open)) => (named.st_dev, named.st_ino) == (open.st_dev, open.st_ino),
        _ => false,
    }
}

/// A range that nobody has now: the one that the tree's files are owned by, else one that follows from the machine's
/// name, else the next ones that follow from that. Changes nothing.
///
/// # Errors
/// [`Error::NoneFree`].
pub fn find_free(machine: &str, tree_owner: u32) -> Result<u32, Error> {
    const TRIES: u32 = 64;
    if (FIRST..=LAST).contains(&tree_owner) && tree_owner.is_multiple_of(COUNT) && is_free(tree_owner) {
        return Ok(tree_owner);
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

fn is_free(start: u32) -> bool {
    [LOCKS, PEER_LOCKS].iter().all(|place| match File::open(Path::new(place).join(start.to_string())) {
        Ok(file) => flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok(),
        Err(_) => true,
    })
}
