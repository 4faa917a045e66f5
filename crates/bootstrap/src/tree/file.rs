//! The content of files in a tree.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::{Error, Tree, remove_at};

/// The most that is read of a file: beyond what anything has that is read as a whole.
const LARGEST: u64 = 64 << 20;
/// The longest name that file systems take.
const LONGEST_NAME: usize = 255;

impl Tree {
    /// Opens a regular file; `None` where something else is at the path, which is not opened: to open a device alone
    /// can do something to the host.
    ///
    /// # Errors
    /// Those of `openat2(2)` and `open(2)`.
    pub(crate) fn open_file(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<Option<File>> {
        let found = self.open_at(path, OFlags::PATH | (flags & OFlags::NOFOLLOW))?;
        let status = rustix::fs::fstat(&found)?;
        if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        // Not blocking, so that nobody who has a lease on the file holds us up.
        let flags = (flags - OFlags::NOFOLLOW) | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::open(format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty()) {
            // The file is there: it is /proc that is not.
            Err(Errno::NOENT) => Err(Errno::OPNOTSUPP),
            other => Ok(Some(other?.into())),
        }
    }

    /// Sets when a file was changed last.
    ///
    /// # Errors
    /// Where there is no such file.
    pub fn set_modified(&self, path: &str, time: std::time::SystemTime) -> Result<(), Error> {
        let error = |source| Error { action: "set the time of", path: path.to_owned(), source };
        let file = self.open_file(path.as_bytes(), OFlags::WRONLY | OFlags::NOFOLLOW);
        let file = file.map_err(|errno| error(errno.into()))?.ok_or_else(|| error(irregular()))?;
        file.set_modified(time).map_err(error)
    }

    /// The content of a file; `None` if there is none.
    ///
    /// # Errors
    /// Where it is no file, is too large to be what is looked for, or cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>, Error> {
        let error = |source| Error { action: "read", path: path.to_owned(), source };
        let file = match self.open_file(path.as_bytes(), OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.map_err(|errno| error(errno.into()))?,
        };
        let mut content = Vec::new();
        file.ok_or_else(|| error(irregular()))?.take(LARGEST + 1).read_to_end(&mut content).map_err(error)?;
        if content.len() as u64 > LARGEST {
            return Err(error(io::Error::other(format!("it is larger than {} MiB", LARGEST >> 20))));
        }
        Ok(Some(content))
    }

    /// Writes a file of root's, in place of whatever file or link has that name; directories above it are made. The file
    /// has the new content, or is as it was, whatever happens meanwhile.
    ///
    /// # Errors
    /// Where it cannot be written, or a directory has that name.
    pub fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), Error> {
        let error = |source: io::Error| Error { action: "write", path: path.to_owned(), source };
        let (parent, name) = self.parent(path.as_bytes())?;
        let part = part_name(name);
        let file = create(parent.as_fd(), &part).map_err(|errno| error(errno.into()))?;
        let written = fill(file, content, mode).and_then(|()| Ok(rustix::fs::renameat(&parent, &part, &parent, name)?));
        written.map_err(|source| {
            // It takes up no room then. That it cannot be removed either is not what went wrong first.
            let _ = rustix::fs::unlinkat(&parent, &part, AtFlags::empty());
            error(source)
        })
    }
}

/// What is wrong with anything but a regular file.
pub(crate) fn irregular() -> io::Error {
    io::Error::other("it is no regular file")
}

/// The name of a file until it is written to its end. It is the same each time, so that what a killed run has left is
/// replaced, and begins with a dot: directories of configuration and databases are read without such files.
fn part_name(name: &OsStr) -> OsString {
    const AROUND: (&[u8], &[u8]) = (b".", b".part");
    let name = name.as_bytes();
    let length = name.len().min(LONGEST_NAME - AROUND.0.len() - AROUND.1.len());
    OsString::from_vec([AROUND.0, &name[..length], AROUND.1].concat())
}

/// The path that a file has until it is there as a whole.
pub(crate) fn part_path(path: &[u8]) -> Vec<u8> {
    let name = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let (directory, name) = path.split_at(name);
    [directory, part_name(OsStr::from_bytes(name)).as_bytes()].concat()
}

/// Makes a file, in place of whatever has that name.
fn create(parent: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    loop {
        match rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600)) {
            Err(Errno::EXIST) => remove_at(parent, name, 0)?,
            other => return Ok(other?.into()),
        }
    }
}

fn fill(mut file: File, content: &[u8], mode: u32) -> io::Result<()> {
    super::to_root(file.as_fd())?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
    file.write_all(content)
}
