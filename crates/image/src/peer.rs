//! The locks of `systemd-nspawn`, taken as it takes them, so that both tools see each other whichever comes first: a file in
//! its directory in `/run`, and one beside the tree, `.#NAME.lck`, which is seen also by those who share the tree but not
//! `/run`. Each is there only while somebody holds it.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, statat};
use rustix::io::Errno;
use sys::file_lock::Mode;

use crate::lock::{Error, acquire};
use crate::lock_file::{LockFile, would_conflict};
use crate::run_directory::RunDirectory;

/// Both locks, or those of them that can be had here.
#[derive(Debug)]
pub(crate) struct PeerLock {
    _run: Option<LockFile>,
    _beside: Option<LockFile>,
}

impl PeerLock {
    /// Takes the lock `name`, and the one beside `path` if there is one to take; none if somebody is in the way.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn take(
        run: &RunDirectory,
        name: &OsStr,
        path: Option<&Path>,
        mode: Mode,
    ) -> Result<Option<Self>, Error> {
        let beside = match path.and_then(place) {
            Some((directory, file)) => match acquire(directory, &file, mode) {
                Ok(Some(lock)) => Some(lock),
                Ok(None) => return Ok(None),
                Err(Error::File { source, .. }) if is_no_place(source) => None,
                Err(error) => return Err(error),
            },
            None => None,
        };
        let directory = run.peer_locks();
        let run = if run.make_peer_locks().map_err(|source| Error::File { path: directory.to_owned(), source })? {
            match acquire(directory, name, mode)? {
                Some(lock) => Some(lock),
                None => return Ok(None),
            }
        } else {
            None
        };
        Ok(Some(Self { _run: run, _beside: beside }))
    }
}

/// Whether somebody holds one of the two locks in a way that `mode` does not go with.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn conflicts(run: &RunDirectory, name: &OsStr, path: Option<&Path>, mode: Mode) -> Result<bool, Error> {
    let looked = |directory: &Path, file: &OsStr| {
        would_conflict(directory, file, mode).map_err(|source| Error::File { path: directory.join(file), source })
    };
    if looked(run.peer_locks(), name)? {
        return Ok(true);
    }
    path.and_then(place).map_or(Ok(false), |(directory, file)| match looked(directory, &file) {
        Err(Error::File { source, .. }) if is_no_place(source) => Ok(false),
        other => other,
    })
}

/// Removes the file beside a tree that a holder has left who is dead. Tells whether there was one.
pub(crate) fn remove_dead(path: &Path) -> bool {
    let left = place(path).map(|(directory, file)| LockFile::acquire_existing(directory, &file, Mode::Exclusive));
    matches!(left, Some(Ok(Some(_))))
}

/// The same for all of them in a directory. Tells how many there were.
pub(crate) fn remove_all_dead(directory: &Path) -> usize {
    let names = crate::lock_file::list(directory).unwrap_or_default();
    let trees = names.iter().filter_map(|name| name.to_str()?.strip_prefix(BEFORE)?.strip_suffix(BEHIND));
    trees.filter(|tree| remove_dead(&directory.join(tree))).count()
}

const BEFORE: &str = ".#";
const BEHIND: &str = ".lck";

/// Where the lock beside a tree is. A directory that others can write to has none that counts: anybody could hold it there,
/// or have something else in its place.
fn place(path: &Path) -> Option<(&Path, OsString)> {
    let (directory, name) = (path.parent()?, path.file_name()?);
    let status = statat(CWD, directory, AtFlags::empty()).ok()?;
    let own = status.st_uid == rustix::process::geteuid().as_raw() && status.st_mode & 0o022 == 0;
    let mut file = OsString::from(BEFORE);
    file.push(name);
    file.push(BEHIND);
    own.then_some((directory, file))
}

/// No lock can be there, so that nobody has it.
fn is_no_place(errno: Errno) -> bool {
    let refused = matches!(errno, Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::NAMETOOLONG | Errno::NOENT);
    let without_locks = matches!(errno, Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS);
    refused || without_locks || matches!(errno, Errno::NOSPC | Errno::DQUOT)
}
