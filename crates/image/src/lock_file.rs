//! A file that exists only while somebody holds its lock.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::io::Errno;
use sys::file_lock::{self, Mode};

use crate::run_directory::open_file;

/// How often a lock is tried to be had that somebody may hold for a moment only.
const ATTEMPTS: u32 = 20;
/// How long it is waited in between.
const PAUSE: Duration = Duration::from_millis(1);

/// A held lock. Dropping it releases it and removes the file if nobody else holds it too.
///
/// Copies of the descriptor in child processes share the lock: they end it neither by closing nor by dying. The holder
/// alone drops this value; a child leaves by `exec` or `_exit`.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    fd: OwnedFd,
}

impl LockFile {
    /// Takes the lock on `directory/name`, making both as needed, without waiting; none if somebody is in the way.
    ///
    /// Whoever releases a lock last removes the file, so a lock won on a file that has just been removed counts for
    /// nothing and the file is opened anew.
    ///
    /// # Errors
    /// Those of `openat(2)`, `mkdir(2)` and `F_OFD_SETLK`.
    pub fn acquire(directory: &Path, name: &OsStr, mode: Mode) -> rustix::io::Result<Option<Self>> {
        loop {
            let fd = open_file(directory, name, OFlags::RDWR | OFlags::CREATE | OFlags::APPEND)?;
            if let Some(lock) = Self::lock(directory.join(name), fd, mode)? {
                return Ok(lock.ok());
            }
        }
    }

    /// The same with a few attempts: who releases a shared lock, or sweeps it, has it exclusively for a moment.
    ///
    /// # Errors
    /// As [`LockFile::acquire`].
    pub fn acquire_patiently(directory: &Path, name: &OsStr, mode: Mode) -> rustix::io::Result<Option<Self>> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            if let Some(lock) = Self::acquire(directory, name, mode)? {
                return Ok(Some(lock));
            }
        }
        Ok(None)
    }

    /// As [`LockFile::acquire`] if the file exists; none also if it does not.
    ///
    /// # Errors
    /// As [`LockFile::acquire`].
    pub fn acquire_existing(directory: &Path, name: &OsStr, mode: Mode) -> rustix::io::Result<Option<Self>> {
        let fd = match open_file(directory, name, OFlags::RDWR | OFlags::APPEND) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        Ok(Self::lock(directory.join(name), fd, mode)?.and_then(Result::ok))
    }

    /// None if the file was removed before it was locked, an error inside if somebody is in the way.
    fn lock(path: PathBuf, fd: OwnedFd, mode: Mode) -> rustix::io::Result<Option<Result<Self, ()>>> {
        if !file_lock::try_lock(fd.as_fd(), mode)? {
            return Ok(Some(Err(())));
        }
        let removed = rustix::fs::fstat(&fd)?.st_nlink == 0;
        Ok(if removed { None } else { Some(Ok(Self { path, fd })) })
    }

    /// Where the file is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds to the contents, in one write.
    ///
    /// # Errors
    /// Those of `write(2)`; `EIO` if only a part fitted.
    pub fn append(&self, text: &[u8]) -> rustix::io::Result<()> {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&self.fd, text))?;
        if written == text.len() { Ok(()) } else { Err(Errno::IO) }
    }

    /// Whether there are no contents.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn is_empty(&self) -> rustix::io::Result<bool> {
        Ok(rustix::fs::fstat(&self.fd)?.st_size == 0)
    }

    /// Removes the contents.
    ///
    /// # Errors
    /// Those of `ftruncate(2)`.
    pub fn clear(&self) -> rustix::io::Result<()> {
        rustix::fs::ftruncate(&self.fd, 0)
    }

    /// Whether nobody else holds it too.
    ///
    /// # Errors
    /// Those of `F_OFD_GETLK`.
    pub fn is_alone(&self) -> rustix::io::Result<bool> {
        Ok(!file_lock::would_conflict(self.fd.as_fd(), Mode::Exclusive)?)
    }

    /// Takes the lock exclusively, if nobody else holds it too.
    pub(crate) fn become_sole(&self) -> bool {
        file_lock::try_lock(self.fd.as_fd(), Mode::Exclusive) == Ok(true)
    }

    /// Releases the lock and leaves the file.
    pub fn keep(self) {
        let _ = file_lock::unlock(self.fd.as_fd());
        // Without the removal; the descriptor stays open until the process ends.
        std::mem::forget(self);
    }

    /// The contents.
    ///
    /// # Errors
    /// Those of `pread(2)`.
    pub fn contents(&self) -> rustix::io::Result<Vec<u8>> {
        read_all(&self.fd)
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // Only the last holder removes the file: with the exclusive lock in hand nobody else can hold it, and who opened
        // it meanwhile sees that it is gone. A failure leaves an empty name without a lock, which disturbs nobody.
        if self.become_sole() {
            let _ = rustix::fs::unlink(&self.path);
        }
        let _ = file_lock::unlock(self.fd.as_fd());
    }
}

/// Whether somebody holds the lock `directory/name` exclusively or shared; false also if it cannot be looked at.
#[must_use]
pub fn is_locked(directory: &Path, name: &OsStr) -> bool {
    would_conflict(directory, name, Mode::Exclusive).unwrap_or(false)
}

/// Whether somebody holds the lock `directory/name` in a way that `mode` does not go with; nobody does if there is no file.
///
/// # Errors
/// Those of openat(2) and `F_OFD_GETLK`.
pub(crate) fn would_conflict(directory: &Path, name: &OsStr, mode: Mode) -> rustix::io::Result<bool> {
    match open_file(directory, name, OFlags::RDWR) {
        Err(Errno::NOENT) => Ok(false),
        other => file_lock::would_conflict(other?.as_fd(), mode),
    }
}

/// All bytes of an open file, from its beginning.
pub(crate) fn read_all(fd: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = rustix::io::retry_on_intr(|| rustix::io::pread(fd, &mut buffer, contents.len() as u64))?;
        if count == 0 {
            return Ok(contents);
        }
        contents.extend_from_slice(&buffer[..count]);
    }
}

/// The names in a directory, without `.` and `..`; none if it does not exist.
///
/// # Errors
/// Those of openat(2) and getdents(2).
pub fn list(directory: &Path) -> rustix::io::Result<Vec<OsString>> {
    use std::os::unix::ffi::OsStrExt;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = match rustix::fs::open(directory, flags, rustix::fs::Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::new(fd)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}
