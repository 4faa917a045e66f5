//! The directory in which fetched files are kept for later runs: `by-hash` has whole files under their SHA-256,
//! `partial` those that are still being fetched, `current` the hashes of files that have newer versions now and then. Any number of runs may use it at once; a partial file is locked
//! (flock(2)) by the one that writes it, and moved to `by-hash` when it is whole and its hash is right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::digest::{Hasher, Sha256};

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is neither `XDG_CACHE_HOME` nor `HOME`.
    #[error("no place for the cache is known: neither XDG_CACHE_HOME nor HOME is set")]
    NoPlace,
    /// A file or directory of the cache cannot be used.
    #[error("cannot {action} '{path}' in the cache")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoPlace => Some("name a directory with --cache"),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                Some("make room there, or name a directory on another file system with --cache")
            }
            Self::Io { .. } => Some("name a directory that can be written with --cache"),
        }
    }
}

/// A directory of files by their SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// The cache in `directory`, which is made if it is missing.
    ///
    /// # Errors
    /// Where it can be neither found nor made.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        for path in ["by-hash", "partial", "current"].map(|name| directory.join(name)) {
            fs::create_dir_all(&path).map_err(|source| Error::Io { action: "make", path, source })?;
        }
        Ok(Self { directory: directory.to_owned() })
    }

    /// Where the cache is by default: `/var/cache/redd` for root, `$XDG_CACHE_HOME/redd` or `~/.cache/redd` for others.
    ///
    /// # Errors
    /// Where a user has neither variable.
    pub fn default_directory() -> Result<PathBuf, Error> {
        if rustix::process::geteuid().is_root() {
            return Ok(PathBuf::from("/var/cache/redd"));
        }
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path: &PathBuf| path.is_absolute());
        absolute("XDG_CACHE_HOME")
            .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
            .map(|path| path.join("redd"))
            .ok_or(Error::NoPlace)
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Where a file of that hash is or will be. It is not said that it is there.
    pub fn path(&self, hash: &Sha256) -> PathBuf {
        self.directory.join("by-hash").join(hash.to_string())
    }

    /// The file of that hash and size if it is there. It is read and hashed again: disks and people make mistakes. A
    /// file that is not what its name says is removed.
    ///
    /// # Errors
    /// Where it is there and cannot be read.
    pub fn find(&self, hash: &Sha256, size: u64) -> Result<Option<PathBuf>, Error> {
        let path = self.path(hash);
        let Some(mut file) = self.open_for_reading(&path)? else { return Ok(None) };
        let io = |action, source| Error::Io { action, path: path.clone(), source };
        let length = file.metadata().map_err(|e| io("look at", e))?.len();
        if length == size && hash_rest(&mut file).map_err(|e| io("read", e))?.finish() == *hash {
            return Ok(Some(path));
        }
        self.remove(&path)?;
        Ok(None)
    }

    /// The content of the file of that hash and size if it is there, as [`Cache::find`].
    ///
    /// # Errors
    /// As [`Cache::find`].
    pub fn read(&self, hash: &Sha256, size: u64) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(hash);
        let Some(file) = self.open_for_reading(&path)? else { return Ok(None) };
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
        // One byte more than expected, so that a file that is too large is noticed.
        file.take(size.saturating_add(1)).read_to_end(&mut content).map_err(|source| Error::Io {
            action: "read",
            path: path.clone(),
            source,
        })?;
        if content.len() as u64 == size && Sha256::of(&content) == *hash {
            return Ok(Some(content));
        }
        self.remove(&path)?;
        Ok(None)
    }

    /// Keeps some bytes whose hash is known to be `hash`.
    ///
    /// # Errors
    /// Where they cannot be written.
    pub fn store(&self, hash: &Sha256, content: &[u8]) -> Result<(), Error> {
        let Some(mut partial) = self.begin(hash)? else { return Ok(()) };
        partial.restart()?;
        partial.write(content)?;
        self.finish(partial, hash).map(|_| ())
    }

    /// Forgets the file of that hash.
    ///
    /// # Errors
    /// Where it cannot be removed.
    pub fn forget(&self, hash: &Sha256) -> Result<(), Error> {
        self.remove(&self.path(hash))
    }

    /// Says that the file of that hash is now what `name` means, and forgets the one that it meant before. A run that
    /// still wants that one fetches it again.
    ///
    /// # Errors
    /// Where that cannot be noted.
    pub(crate) fn supersede(&self, name: &str, hash: &Sha256) -> Result<(), Error> {
        let path = self.directory.join("current").join(Sha256::of(name.as_bytes()).to_string());
        let exchange = || {
            let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
            file.lock()?;
            let mut before = Vec::new();
            file.read_to_end(&mut before)?;
            // What cannot be read (a run was killed here) is no hash.
            let before = String::from_utf8_lossy(&before).trim().parse::<Sha256>().ok().filter(|before| before != hash);
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(format!("{hash}\n").as_bytes())?;
            Ok(before)
        };
        let before = exchange().map_err(|source| Error::Io { action: "write", path: path.clone(), source })?;
        before.map_or(Ok(()), |before| self.forget(&before))
    }

    /// Begins or goes on to write the file of that hash: waits until no other run does so. `None` where the other one
    /// has finished it meanwhile.
    ///
    /// # Errors
    /// Where the file cannot be opened or locked.
    pub(crate) fn begin(&self, hash: &Sha256) -> Result<Option<Partial>, Error> {
        let path = self.directory.join("partial").join(hash.to_string());
        let io = |action, source| Error::Io { action, path: path.clone(), source };
        loop {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits() as i32)
                .open(&path)
                .map_err(|e| io("open", e))?;
            file.lock().map_err(|e| io("lock", e))?;
            if self.path(hash).exists() {
                // Whoever has it open meanwhile sees that the name is gone, or means another file.
                self.remove(&path)?;
                return Ok(None);
            }
            // The one who had the lock before may have moved or removed the file that was opened here.
            let opened = file.metadata().map_err(|e| io("look at", e))?;
            match fs::symlink_metadata(&path) {
                Ok(named) if (named.dev(), named.ino()) == (opened.dev(), opened.ino()) => {
                    return Ok(Some(Partial { path, length: opened.len(), file }));
                }
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(io("look at", e)),
            }
        }
    }

    /// Moves a whole file to its place.
    pub(crate) fn finish(&self, partial: Partial, hash: &Sha256) -> Result<PathBuf, Error> {
        let path = self.path(hash);
        fs::rename(&partial.path, &path).map_err(|e| partial.io("move", e))?;
        Ok(path)
    }

    fn open_for_reading(&self, path: &Path) -> Result<Option<File>, Error> {
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::Io { action: "open", path: path.to_owned(), source }),
        }
    }

    fn remove(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_file(path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(Error::Io { action: "remove", path: path.to_owned(), source })
            }
            _ => Ok(()),
        }
    }
}

/// A file that is being fetched, locked. What was written so far stays there if it is dropped.
#[derive(Debug)]
pub(crate) struct Partial {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Partial {
    /// That file, which is called `path` towards a person.
    pub(crate) fn new(path: PathBuf, file: File) -> Result<Self, Error> {
        let length =
            file.metadata().map_err(|source| Error::Io { action: "look at", path: path.clone(), source })?.len();
        Ok(Self { path, file, length })
    }

    /// The file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// The file itself, which is nobody's to write to any more.
    pub(crate) fn into_file(self) -> Result<File, Error> {
        self.file.unlock().map_err(|e| self.io("unlock", e))?;
        Ok(self.file)
    }

    /// How many bytes are there.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Hashes what is there and places the next write behind it.
    pub(crate) fn resume(&mut self) -> Result<Hasher, Error> {
        self.file.seek(SeekFrom::Start(0)).map_err(|e| self.io("seek in", e))?;
        hash_rest(&mut self.file).map_err(|e| self.io("read", e))
    }

    /// Throws away what is there.
    pub(crate) fn restart(&mut self) -> Result<Hasher, Error> {
        self.file.set_len(0).map_err(|e| self.io("truncate", e))?;
        self.file.seek(SeekFrom::Start(0)).map_err(|e| self.io("seek in", e))?;
        self.length = 0;
        Ok(Hasher::default())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(|e| self.io("write", e))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn io(&self, action: &'static str, source: io::Error) -> Error {
        Error::Io { action, path: self.path.clone(), source }
    }
}

fn hash_rest(file: &mut File) -> io::Result<Hasher> {
    let mut hasher = Hasher::default();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_found_and_checked() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(&directory.path().join("deep/cache")).unwrap();
        let hash = Sha256::of(b"content");
        assert_eq!(cache.find(&hash, 7).unwrap(), None);
        cache.store(&hash, b"content").unwrap();
        cache.store(&hash, b"content").unwrap();
        assert_eq!(cache.find(&hash, 7).unwrap(), Some(cache.path(&hash)));
        assert_eq!(cache.read(&hash, 7).unwrap().unwrap(), b"content");

        fs::write(cache.path(&hash), "Content").unwrap();
        assert_eq!(cache.find(&hash, 7).unwrap(), None);
        assert!(!cache.path(&hash).exists());
        fs::write(cache.path(&hash), "content and more").unwrap();
        assert_eq!(cache.read(&hash, 7).unwrap(), None);
        assert!(!cache.path(&hash).exists());
    }

    #[test]
    fn superseded_files_go() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let versions = [&b"one"[..], b"two", b"two"];
        for version in versions {
            cache.store(&Sha256::of(version), version).unwrap();
            cache.supersede("name", &Sha256::of(version)).unwrap();
        }
        cache.supersede("other name", &Sha256::of(b"three")).unwrap();
        assert!(!cache.path(&Sha256::of(b"one")).exists());
        assert_eq!(cache.read(&Sha256::of(b"two"), 3).unwrap().unwrap(), b"two");
    }

    #[test]
    fn a_full_file_system() {
        testkit::requires!(root);
        let directory = tempfile::tempdir().unwrap();
        let isolated = testkit::Isolated::enter();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", directory.path(), "tmpfs", flags, c"size=64k").unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let content = vec![7; 1 << 20];
        let error = cache.store(&Sha256::of(&content), &content).unwrap_err();
        assert!(matches!(&error, Error::Io { action: "write", .. }), "{error}");
        assert!(error.hint().unwrap().contains("make room"), "{error}");
        assert_eq!(cache.find(&Sha256::of(&content), 1 << 20).unwrap(), None);
        rustix::mount::unmount(directory.path(), rustix::mount::UnmountFlags::DETACH).unwrap();
        drop(isolated);
    }

    #[test]
    fn a_partial_file_is_gone_on_with() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let hash = Sha256::of(b"content");
        cache.begin(&hash).unwrap().unwrap().write(b"cont").unwrap();
        let mut partial = cache.begin(&hash).unwrap().unwrap();
        assert_eq!(partial.length(), 4);
        let mut hasher = partial.resume().unwrap();
        partial.write(b"ent").unwrap();
        hasher.update(b"ent");
        assert_eq!(hasher.finish(), hash);
        cache.finish(partial, &hash).unwrap();
        assert_eq!(cache.read(&hash, 7).unwrap().unwrap(), b"content");
        assert!(cache.begin(&hash).unwrap().is_none());
    }

    #[test]
    fn two_writers_take_turns() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::open(directory.path()).unwrap();
        let hash = Sha256::of(b"content");
        let mut first = cache.begin(&hash).unwrap().unwrap();
        std::thread::scope(|scope| {
            let second = scope.spawn(|| cache.begin(&hash).unwrap().is_none());
            std::thread::sleep(std::time::Duration::from_millis(50));
            first.write(b"content").unwrap();
            cache.finish(first, &hash).unwrap();
            assert!(second.join().unwrap(), "the second one sees that the file is there");
        });
        assert_eq!(fs::read_dir(directory.path().join("partial")).unwrap().count(), 0);
    }
}
