//! Files of the host that the new system gets.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Gid, OFlags, Timespec, Timestamps, Uid};

use super::Error;
use crate::tree::{self, Tree};

/// Where a system has its mirrors, in a tree.
const MIRROR_LIST: &str = "etc/pacman.d/mirrorlist";
/// The longest file that is copied, in bytes: mirror lists have some 50 KiB.
const LONGEST: u64 = 16 << 20;

/// Which mirrors the new system knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorList<'a> {
    /// Those of the package that brings a list: `-M`.
    OfPackage,
    /// Those of the host, in this file; without it, as before.
    Copied(&'a Path),
    /// These.
    Written(&'a str),
}

impl MirrorList<'_> {
    pub(super) fn copy(self, tree: &Tree) -> Result<(), Error> {
        match self {
            Self::OfPackage => Ok(()),
            Self::Copied(path) if !path.exists() => Ok(()),
            Self::Copied(path) => copy(path, tree, MIRROR_LIST),
            Self::Written(list) => Ok(tree.write(MIRROR_LIST, list.as_bytes(), 0o644)?),
        }
    }
}

/// Copies a file with owner, mode and time.
pub(super) fn copy(from: &Path, tree: &Tree, to: &str) -> Result<(), Error> {
    let failed = |source| Error::Copy { path: from.to_owned(), source };
    let file = File::open(from).map_err(failed)?;
    let status = file.metadata().map_err(failed)?;
    let mut content = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() as u64 > LONGEST {
        return Err(failed(std::io::ErrorKind::FileTooLarge.into()));
    }
    tree.write(to, &content, status.permissions().mode() & 0o7777)?;
    let written =
        |source: rustix::io::Errno| tree::Error { action: "write", path: to.to_owned(), source: source.into() };
    let copy = tree.open_file(to.as_bytes(), OFlags::WRONLY | OFlags::NOFOLLOW).map_err(written)?;
    let copy = copy.ok_or_else(|| tree::Error { action: "write", path: to.to_owned(), source: tree::irregular() })?;
    let (owner, group) = (Uid::from_raw(status.uid()), Gid::from_raw(status.gid()));
    rustix::fs::fchown(&copy, Some(owner), Some(group)).map_err(written)?;
    let time = |seconds, nanoseconds| Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
    let times = Timestamps {
        last_access: time(status.atime(), status.atime_nsec()),
        last_modification: time(status.mtime(), status.mtime_nsec()),
    };
    Ok(rustix::fs::futimens(&copy, &times).map_err(written)?)
}
