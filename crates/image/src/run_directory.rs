//! Where the state of running machines is kept.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

/// The directories of locks. Each is made when first needed; all vanish with a reboot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDirectory {
    base: PathBuf,
    peer: PathBuf,
    peer_locks: PathBuf,
    peer_ranges: PathBuf,
}

impl RunDirectory {
    /// `/run/redd`, and the lock directories of `systemd-nspawn`, where that may be started.
    #[must_use]
    pub fn system() -> Self {
        Self {
            base: PathBuf::from("/run/redd"),
            peer: PathBuf::from("/run/systemd"),
            peer_locks: PathBuf::from("/run/systemd/nspawn/locks"),
            peer_ranges: PathBuf::from("/run/systemd/nspawn-uid"),
        }
    }

    /// Elsewhere: for users without privileges, and tests.
    #[must_use]
    pub fn at(base: PathBuf, peer_locks: PathBuf) -> Self {
        let (peer, peer_ranges) = (base.clone(), base.join("peer-ids"));
        Self { base, peer, peer_locks, peer_ranges }
    }

    /// The directory itself.
    #[must_use]
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// Where locks of trees and names are.
    #[must_use]
    pub fn locks(&self) -> PathBuf {
        self.base.join("locks")
    }

    /// Where the paths of trees that are held are marked.
    #[must_use]
    pub fn trees(&self) -> PathBuf {
        self.base.join("trees")
    }

    /// Where `systemd-nspawn` keeps its locks of trees; it need not exist.
    #[must_use]
    pub fn peer_locks(&self) -> &Path {
        &self.peer_locks
    }

    /// Whether a `systemd-nspawn` may be started at any time: its directories are in `/run/systemd`, whether it has made them
    /// already or not.
    #[must_use]
    pub fn has_peer(&self) -> bool {
        rustix::fs::access(&self.peer, rustix::fs::Access::EXISTS).is_ok()
    }

    /// Makes the directory of its locks as it does, for root alone; false where it cannot be started.
    pub(crate) fn make_peer_locks(&self) -> rustix::io::Result<bool> {
        if rustix::fs::access(&self.peer_locks, rustix::fs::Access::EXISTS).is_ok() {
            return Ok(true);
        }
        if !self.has_peer() {
            return Ok(false);
        }
        self.peer_locks.parent().map_or(Ok(()), make_directories)?;
        match rustix::fs::mkdir(&self.peer_locks, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => Ok(true),
            Err(errno) => Err(errno),
        }
    }

    /// Where locks of ranges of user and group ids are.
    #[must_use]
    pub fn ranges(&self) -> PathBuf {
        self.base.join("ids")
    }

    /// Where `systemd-nspawn` keeps its locks of ranges of ids; it need not exist.
    #[must_use]
    pub fn peer_ranges(&self) -> &Path {
        &self.peer_ranges
    }
}

/// Opens a file below a run directory, making the directory (0755, and its missing parents) if it is not there yet.
pub(crate) fn open_file(directory: &Path, name: &OsStr, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = directory.join(name);
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY;
    match rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR) {
        Err(Errno::NOENT) if flags.contains(OFlags::CREATE) => {
            make_directories(directory)?;
            rustix::fs::openat(CWD, &path, flags, Mode::RUSR | Mode::WUSR)
        }
        other => other,
    }
}

/// Makes a directory (0755), and its missing parents.
pub(crate) fn make_directories(path: &Path) -> rustix::io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
