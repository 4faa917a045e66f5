//! The directory in which pacman keeps packages by the names of their files, the host's own or that of a tree. What is
//! in a tree may be hostile: only names are used, in a directory that is open, and links are never followed.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::cache::Partial;
use crate::download::Line;
use crate::http;
use crate::tree::Tree;

/// How long it is waited between two looks at whether another run has ended.
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} '{}' in the package cache", .path.display())]
pub struct Error {
    /// What was tried.
    pub action: &'static str,
    /// With what.
    pub path: PathBuf,
    /// Why not.
    pub source: io::Error,
}

/// A directory of packages.
#[derive(Debug)]
pub struct PackageCache {
    directory: OwnedFd,
    path: PathBuf,
}

impl PackageCache {
    /// A directory of the host, made where it is missing.
    ///
    /// # Errors
    /// Where it can be neither made nor opened.
    pub fn of_host(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error { action: "open", path: path.to_owned(), source };
        std::fs::create_dir_all(path).map_err(failed)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
        Ok(Self { directory, path: path.to_owned() })
    }

    /// A directory of the tree in the directory `root`, made where it is missing; `path` has no slash in front.
    ///
    /// # Errors
    /// Where it can be neither made nor opened inside the tree.
    pub fn of_tree(tree: &Tree, root: &Path, path: &str) -> Result<Self, Error> {
        let shown = root.join(path);
        tree.make_directories(path.as_bytes()).map_err(|e| Error {
            action: "make",
            path: shown.clone(),
            source: e.source,
        })?;
        let directory = tree.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY);
        let failed = |errno: Errno| Error { action: "open", path: shown.clone(), source: errno.into() };
        Ok(Self { directory: directory.map_err(failed)?, path: shown })
    }

    /// The directory, as it is shown to a person.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file of that name; `None` where there is none, or something that is no file.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn open(&self, name: &str) -> Result<Option<File>, Error> {
        let Some(place) = self.place(name)? else { return Ok(None) };
        if !place.metadata().map_err(|e| self.io("look at", name, e))?.is_file() {
            return Ok(None);
        }
        through(&place, File::options().read(true)).map(Some).map_err(|e| self.io("open", name, e))
    }

    /// What has that name, only to be looked at: to open a device or a named pipe can do something already.
    fn place(&self, name: &str) -> Result<Option<File>, Error> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, single(name)?, flags, Mode::empty()) {
            Ok(place) => Ok(Some(File::from(place))),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(self.error("open", name, errno)),
        }
    }

    /// The content of a small file; `None` where there is none, or a larger one.
    pub(super) fn read(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(file) = self.open(name)? else { return Ok(None) };
        let mut content = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, limit + 1), &mut content)
            .map_err(|e| self.io("read", name, e))?;
        Ok((content.len() as u64 <= limit).then_some(content))
    }

    /// Whether anything has that name.
    pub(super) fn exists(&self, name: &str) -> Result<bool, Error> {
        match rustix::fs::statat(&self.directory, single(name)?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(self.error("look at", name, errno)),
        }
    }

    /// Removes the file or link of that name, if there is one.
    pub(super) fn remove(&self, name: &str) -> Result<(), Error> {
        match rustix::fs::unlinkat(&self.directory, single(name)?, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.error("remove", name, errno)),
        }
    }

    /// Begins or goes on to write `NAME.part`: waits until no other run does so. `None` where that was given up.
    pub(super) fn begin(&self, name: &str, line: &Line<'_>) -> Result<Option<Partial>, Error> {
        let part = part(name);
        let failed = |action, e| self.io(action, &part, e);
        let mut told = false;
        while !line.stop.is_wanted() {
            let Some(file) = self.open_part(&part)? else { continue };
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::Error(e)) => return Err(failed("lock", e)),
                Err(TryLockError::WouldBlock) => {
                    if !told {
                        let text = format!("another run fetches '{}'; waiting for it", self.path.join(name).display());
                        line.progress.notice(&text);
                        told = true;
                    }
                    http::wait(BETWEEN_LOOKS, &|| line.stop.is_wanted());
                    continue;
                }
            }
            let opened = file.metadata().map_err(|e| failed("look at", e))?;
            // The one who had the lock before may have moved or removed what was opened here.
            match rustix::fs::statat(&self.directory, part.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(named) if (named.st_dev, named.st_ino) == (opened.dev(), opened.ino()) => {
                    let partial = Partial::new(self.path.join(&part), file);
                    return partial.map(Some).map_err(|e| failed("look at", io::Error::other(e)));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.error("look at", &part, errno)),
            }
        }
        Ok(None)
    }

    /// Opens or makes a partial file; `None` where it has to be tried again.
    fn open_part(&self, part: &str) -> Result<Option<File>, Error> {
        let Some(place) = self.place(part)? else {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            return match rustix::fs::openat(&self.directory, single(part)?, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => Ok(Some(File::from(file))),
                Err(Errno::EXIST) => Ok(None),
                Err(errno) => Err(self.error("open", part, errno)),
            };
        };
        let status = place.metadata().map_err(|e| self.io("look at", part, e))?;
        // A file with a second name elsewhere is not ours to write to.
        if !status.is_file() || status.nlink() > 1 {
            self.remove(part)?;
            return Ok(None);
        }
        through(&place, File::options().read(true).write(true)).map(Some).map_err(|e| self.io("open", part, e))
    }

    /// Gives the partial file, which is whole, its name.
    pub(super) fn finish(&self, name: &str) -> Result<(), Error> {
        rustix::fs::renameat(&self.directory, part(name), &self.directory, single(name)?)
            .map_err(|errno| self.error("move", name, errno))
    }

    /// Writes a small file in place of whatever has that name.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let part = part(name);
        self.remove(&part)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.directory, single(&part)?, flags, Mode::from_raw_mode(0o644))
            .map_err(|errno| self.error("write", name, errno))?;
        File::from(file).write_all(content).map_err(|e| self.io("write", name, e))?;
        self.finish(name)
    }

    fn error(&self, action: &'static str, name: &str, errno: Errno) -> Error {
        self.io(action, name, errno.into())
    }

    pub(super) fn io(&self, action: &'static str, name: &str, source: io::Error) -> Error {
        Error { action, path: self.path.join(name), source }
    }
}

/// Opens what is at a place that is open to be looked at.
fn through(place: &File, options: &OpenOptions) -> io::Result<File> {
    options.open(format!("/proc/self/fd/{}", place.as_raw_fd()))
}

fn part(name: &str) -> String {
    format!("{name}.part")
}

/// Whether something can be the name of a file, and of nothing else: names of packages come from mirrors.
pub(super) fn is_single(name: &str) -> bool {
    !name.is_empty() && name.len() < 240 && !name.starts_with(['.', '-']) && !name.contains(['/', '\0'])
}

/// The name, if it is one of a file.
fn single(name: &str) -> Result<&str, Error> {
    let refused = || Error { action: "use", path: PathBuf::from(name), source: Errno::INVAL.into() };
    is_single(name).then_some(name).ok_or_else(refused)
}
