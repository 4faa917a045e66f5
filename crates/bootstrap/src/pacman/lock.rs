//! `db.lck`: who holds it changes what is installed. pacman(8) does nothing while the file is there; here it is locked
//! besides, so that one which a killed run has left is known, and says what that run had begun.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, flock};
use rustix::io::Errno;

use crate::tree::{self, Tree, remove_at};

/// Its name.
const NAME: &str = "db.lck";
/// The name of what becomes the lock.
const PART: &str = ".db.lck.part";

/// The first line, by which a file that pacman has left is told from one of ours.
const MARK: &str = "# redd: being installed";

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("'/{0}' in the tree is locked: somebody else is installing packages there")]
    Held(String),
    /// pacman has left it, or runs.
    #[error("'/{0}' exists in the tree: pacman is at work there, or was killed")]
    Foreign(String),
    /// It cannot be used.
    #[error(transparent)]
    Tree(#[from] tree::Error),
}

/// What a run had begun to do with a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// To install it for somebody who asked for it; none of it was installed before.
    Explicit,
    /// To install it for another package; none of it was installed before.
    Dependency,
    /// To install it in place of what was installed before.
    Upgrade,
    /// To remove it.
    Remove,
}

impl Beginning {
    const ALL: [Self; 4] = [Self::Explicit, Self::Dependency, Self::Upgrade, Self::Remove];

    fn as_str(self) -> &'static str {
        match self {
            Self::Explicit => "install",
            Self::Dependency => "depend",
            Self::Upgrade => "upgrade",
            Self::Remove => "remove",
        }
    }
}

/// What a killed run had begun, by the names of packages.
pub type Begun = BTreeMap<String, Beginning>;

/// What a killed run had begun in the tree; nothing where none was killed.
///
/// # Errors
/// Where the file cannot be read.
pub(crate) fn begun(tree: &Tree, directory: &str) -> Result<Begun, tree::Error> {
    Ok(parse(&tree.read(&lock_path(directory))?.unwrap_or_default()).unwrap_or_default())
}

fn lock_path(directory: &str) -> String {
    format!("{}/{NAME}", directory.trim_matches('/'))
}

/// `None` if it is none of ours.
fn parse(content: &[u8]) -> Option<Begun> {
    let text = String::from_utf8_lossy(content);
    let mut lines = text.lines();
    if lines.next() != Some(MARK) {
        return None;
    }
    let entry = |line: &str| {
        let (word, name) = line.split_once(' ')?;
        let beginning = Beginning::ALL.into_iter().find(|one| one.as_str() == word)?;
        Some((name.to_owned(), beginning))
    };
    Some(lines.filter_map(entry).collect())
}

fn written(begun: &Begun) -> String {
    let mut text = format!("{MARK}\n");
    for (name, beginning) in begun {
        text.push_str(&format!("{} {name}\n", beginning.as_str()));
    }
    text
}

/// A run's turn at a tree: it keeps other runs away from before the first look at what is installed, and leaves nothing when
/// the run is killed. Until there is a [`Lock`], pacman may be at work there.
#[derive(Debug)]
pub(crate) struct Turn {
    /// Holds it.
    _directory: OwnedFd,
}

impl Turn {
    /// Takes it.
    ///
    /// # Errors
    /// Where another run has it, or pacman is at work.
    pub(crate) fn take(tree: &Tree, directory: &str) -> Result<Self, Error> {
        let path = directory.trim_matches('/');
        let error = |errno: Errno| tree::Error { action: "lock", path: path.to_owned(), source: errno.into() };
        tree.make_directories(path.as_bytes())?;
        let opened = tree.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(error)?;
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Err(Error::Held(path.to_owned())),
            // NFS locks only what is open for writing. There, runs are kept apart from when the first one has its `Lock`.
            Err(Errno::BADF) => {}
            other => other.map_err(error)?,
        }
        let lock = lock_path(directory);
        match tree.read(&lock)? {
            Some(content) if parse(&content).is_none() => Err(Error::Foreign(lock)),
            _ => Ok(Self { _directory: opened }),
        }
    }
}

/// The lock. It is given back by [`Lock::finish`], and where it is dropped without anything having been begun; else the file
/// stays and says what was begun.
#[derive(Debug)]
pub(crate) struct Lock<'a> {
    place: Place<'a>,
    /// Holds it.
    file: File,
    begun: Begun,
}

/// Where the lock is.
#[derive(Debug)]
struct Place<'a> {
    tree: &'a Tree,
    directory: OwnedFd,
    path: String,
}

impl<'a> Lock<'a> {
    /// Takes the lock.
    ///
    /// # Errors
    /// Where somebody else has it.
    pub(crate) fn take(tree: &'a Tree, directory: &str) -> Result<Self, Error> {
        let opened = tree.make_directories(directory.trim_matches('/').as_bytes())?;
        let place = Place { tree, directory: opened, path: lock_path(directory) };
        let file = place.lock()?;
        let mut content = Vec::new();
        (&file).take(1 << 20).read_to_end(&mut content).map_err(|source| place.error("read", source))?;
        match parse(&content) {
            Some(begun) => Ok(Self { place, file, begun }),
            None => Err(Error::Foreign(place.path)),
        }
    }

    /// Writes down what is begun, before anything is changed. What a killed run had begun stays among it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn begin(&mut self, begun: Begun) -> Result<(), Error> {
        let mut all = self.begun.clone();
        for (name, beginning) in begun {
            let before = all.entry(name).or_insert(beginning);
            // Whether something was installed before that run is known from its beginning alone.
            if *before == Beginning::Remove || beginning == Beginning::Remove {
                *before = beginning;
            }
        }
        self.write(all)
    }

    /// The file has all of it, or what it had, and is locked all the time.
    fn write(&mut self, begun: Begun) -> Result<(), Error> {
        let file = self.place.written_part(&written(&begun))?;
        let directory = &self.place.directory;
        rustix::fs::renameat(directory, PART, directory, NAME)
            .map_err(|errno| self.place.error("write", errno.into()))?;
        (self.file, self.begun) = (file, begun);
        Ok(())
    }

    /// Gives it back, but for what a killed run had begun that is still to be done: where there is any, the file stays.
    ///
    /// # Errors
    /// Where the file cannot be removed or written.
    pub(crate) fn finish(mut self, done: impl Fn(&str) -> bool) -> Result<(), Error> {
        let left: Begun =
            self.begun.iter().filter(|(name, _)| !done(name)).map(|(name, one)| (name.clone(), *one)).collect();
        if left.is_empty() {
            self.begun = left;
            return Ok(self.place.remove(&self.file)?);
        }
        self.write(left)
    }
}

impl Drop for Lock<'_> {
    fn drop(&mut self) {
        if self.begun.is_empty() {
            // What went wrong first is what has to be told. The next run takes over a file that stays.
            let _ = self.place.remove(&self.file);
        }
    }
}

impl Place<'_> {
    /// The file, made where it is missing, and locked.
    fn lock(&self) -> Result<File, Error> {
        loop {
            let file = match self.tree.open_file(self.path.as_bytes(), OFlags::RDWR | OFlags::NOFOLLOW) {
                Err(Errno::NOENT) => match self.made()? {
                    Some(file) => file,
                    None => continue,
                },
                other => {
                    let file = other.map_err(|errno| self.error("lock", errno.into()))?;
                    file.ok_or_else(|| self.error("lock", tree::irregular()))?
                }
            };
            self.flock(&file)?;
            // The one who had the lock may have removed or replaced what was opened here.
            if self.is(NAME, &file)? {
                return Ok(file);
            }
        }
    }

    /// A file of ours, which is there with all its content at once, and locked; `None` if somebody else has made one.
    fn made(&self) -> Result<Option<File>, Error> {
        let file = self.written_part(&written(&Begun::new()))?;
        let directory = &self.directory;
        match rustix::fs::renameat_with(directory, PART, directory, NAME, RenameFlags::NOREPLACE) {
            // Not every file system can do that.
            Err(Errno::INVAL) => self.linked(file),
            // Where the name is gone, somebody has taken it for what a killed run has left.
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::EXIST) => {
                self.remove_part(&file)?;
                Ok(None)
            }
            other => Ok(other.map(|()| Some(file)).map_err(|errno| self.error("lock", errno.into()))?),
        }
    }

    /// The same by a second name.
    fn linked(&self, file: File) -> Result<Option<File>, Error> {
        let linked = rustix::fs::linkat(&self.directory, PART, &self.directory, NAME, AtFlags::empty());
        self.remove_part(&file)?;
        match linked {
            Err(Errno::EXIST | Errno::NOENT) => Ok(None),
            other => Ok(other.map(|()| Some(file)).map_err(|errno| self.error("lock", errno.into()))?),
        }
    }

    /// Removes what did not become the lock, if it is still that file.
    fn remove_part(&self, file: &File) -> Result<(), tree::Error> {
        if !self.is(PART, file)? {
            return Ok(());
        }
        match remove_at(self.directory.as_fd(), OsStr::new(PART), 0) {
            Err(Errno::NOENT) => Ok(()),
            other => other.map_err(|errno| self.error("remove", errno.into())),
        }
    }

    /// A locked file beside the lock that has that content, from its beginning.
    fn written_part(&self, text: &str) -> Result<File, Error> {
        let mut file = self.part()?;
        let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes())).and_then(|()| file.rewind());
        match written {
            Ok(()) => Ok(file),
            Err(source) => {
                // It takes up no room then. That it cannot be removed either is not what went wrong first.
                let _ = remove_at(self.directory.as_fd(), OsStr::new(PART), 0);
                Err(self.error("write", source).into())
            }
        }
    }

    fn part(&self) -> Result<File, Error> {
        let failed = |errno: Errno| self.error("write", errno.into());
        let path = format!("{}{PART}", self.path.strip_suffix(NAME).unwrap_or_default());
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        loop {
            let file = match rustix::fs::openat(&self.directory, PART, flags, Mode::from_raw_mode(0o600)) {
                // Another run has left it, or is about to make the lock.
                Err(Errno::EXIST) => match self.tree.open_file(path.as_bytes(), OFlags::RDWR | OFlags::NOFOLLOW) {
                    Ok(Some(file)) => file,
                    Ok(None) => {
                        remove_at(self.directory.as_fd(), OsStr::new(PART), 0).map_err(failed)?;
                        continue;
                    }
                    Err(Errno::NOENT) => continue,
                    Err(other) => return Err(failed(other).into()),
                },
                other => File::from(other.map_err(failed)?),
            };
            // A file with a second name is not ours to write to: it may be the lock.
            let is_single = || Ok::<_, tree::Error>(rustix::fs::fstat(&file).map_err(failed)?.st_nlink == 1);
            if !is_single()? {
                remove_at(self.directory.as_fd(), OsStr::new(PART), 0).map_err(failed)?;
                continue;
            }
            self.flock(&file)?;
            if self.is(PART, &file)? && is_single()? {
                return Ok(file);
            }
        }
    }

    fn flock(&self, file: &File) -> Result<(), Error> {
        match flock(file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Err(Error::Held(self.path.clone())),
            other => other.map_err(|errno| self.error("lock", errno.into()).into()),
        }
    }

    /// Whether the file has that name.
    fn is(&self, name: &str, file: &File) -> Result<bool, tree::Error> {
        let failed = |errno: Errno| self.error("look at", errno.into());
        let own = rustix::fs::fstat(file).map_err(failed)?;
        match rustix::fs::statat(&self.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (own.st_dev, own.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Removes the lock, if it is that file. To be called while that is locked.
    fn remove(&self, file: &File) -> Result<(), tree::Error> {
        if self.is(NAME, file)? {
            remove_at(self.directory.as_fd(), OsStr::new(NAME), 0)
                .map_err(|errno| self.error("remove", errno.into()))?;
        }
        Ok(())
    }

    fn error(&self, action: &'static str, source: io::Error) -> tree::Error {
        tree::Error { action, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests;
