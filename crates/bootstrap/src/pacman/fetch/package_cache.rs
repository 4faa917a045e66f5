//! The directory in which pacman keeps packages by the names of their files, the host's own or that of a tree. What is
//! in a tree may be hostile: only names are used, in a directory that is open, and links are never followed.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::cache::Partial;
use crate::tree::Tree;

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

    /// A directory of a tree, made where it is missing; `path` has no slash in front.
    ///
    /// # Errors
    /// Where it can be neither made nor opened inside the tree.
    pub fn of_tree(tree: &Tree, path: &str) -> Result<Self, Error> {
        let shown = Path::new("/").join(path);
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
        // Not blocking, so that a named pipe does not stop us.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.directory, single(name)?, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => Ok(None),
            Err(errno) => Err(self.error("open", name, errno)),
            Ok(file) => {
                let file = File::from(file);
                let status = file.metadata().map_err(|e| self.io("look at", name, e))?;
                Ok(status.is_file().then_some(file))
            }
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

    /// Begins or goes on to write `NAME.part`: waits until no other run does so.
    pub(super) fn begin(&self, name: &str) -> Result<Partial, Error> {
        let part = part(name);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        loop {
            let file = match rustix::fs::openat(&self.directory, single(&part)?, flags, Mode::from_raw_mode(0o644)) {
                // A link, a pipe without a reader: nothing to go on with.
                Err(Errno::LOOP | Errno::NXIO) => {
                    self.remove(&part)?;
                    continue;
                }
                other => File::from(other.map_err(|errno| self.error("open", &part, errno))?),
            };
            let failed = |action, e| self.io(action, &part, e);
            file.lock().map_err(|e| failed("lock", e))?;
            let opened = file.metadata().map_err(|e| failed("look at", e))?;
            // A file with a second name elsewhere is not ours to write to.
            if !opened.is_file() || opened.nlink() > 1 {
                self.remove(&part)?;
                continue;
            }
            // The one who had the lock before may have moved or removed what was opened here.
            match rustix::fs::statat(&self.directory, part.as_str(), AtFlags::SYMLINK_NOFOLLOW) {
                Ok(named) if (named.st_dev, named.st_ino) == (opened.dev(), opened.ino()) => {
                    return Partial::new(self.path.join(&part), file)
                        .map_err(|e| failed("look at", io::Error::other(e)));
                }
                Ok(_) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(self.error("look at", &part, errno)),
            }
        }
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
