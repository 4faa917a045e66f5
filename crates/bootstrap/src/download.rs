//! Fetching files whose size and SHA-256 are known into the cache: several at once, going on where an earlier run
//! stopped, again when a connection breaks.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::cache::{self, Cache, Partial};
use crate::digest::{Hasher, Sha256};
use crate::http::{self, Client, without_credentials};
use crate::progress::{Phase, Progress};

/// Why a file could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be fetched.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// It could not be kept.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// It is not as large as it should be.
    #[error("'{url}' has {got} bytes, and {expected} are in the index")]
    Size {
        /// The address.
        url: String,
        /// The size in the index.
        expected: u64,
        /// The size that the server says, or how much had come when it became too much.
        got: u64,
    },
    /// Its content is not what it should be.
    #[error("'{url}' has the SHA-256 {got}, and {expected} is in the index")]
    Hash {
        /// The address.
        url: String,
        /// The hash in the index.
        expected: Sha256,
        /// The hash of what came.
        got: Sha256,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Http(e) => e.hint(),
            Self::Cache(e) => e.hint(),
            Self::Size { .. } | Self::Hash { .. } => Some(
                "the mirror or a proxy before it is out of step or tampered with: try later, or another one with --mirror",
            ),
        }
    }
}

/// A file to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What it is called towards a person.
    pub name: String,
    /// Where it is; the next place is tried when the server has nothing there.
    pub urls: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Its hash.
    pub sha256: Sha256,
}

/// Fetches files into a cache.
#[derive(Clone, Copy)]
pub struct Downloader<'a> {
    /// How they are fetched.
    pub client: &'a Client,
    /// Where they are kept.
    pub cache: &'a Cache,
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// As which phase.
    pub phase: Phase,
}

/// How many files are fetched at once.
const CONNECTIONS: usize = 6;

impl std::fmt::Debug for Downloader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Downloader({:?}, {:?})", self.cache, self.phase)
    }
}

impl Downloader<'_> {
    /// Has all these files in the cache and says where they lie, in the same order. Returns only when every connection
    /// has come to rest; after an error the others are given up, what they have fetched stays for the next run.
    ///
    /// # Errors
    /// The first file that cannot be had.
    pub fn all(&self, files: &[File]) -> Result<Vec<PathBuf>, Error> {
        self.progress.begin(self.phase, files.len() as u64, files.iter().map(|file| file.size).sum());
        let result = self.all_at_once(files);
        self.progress.end(self.phase);
        result
    }

    fn all_at_once(&self, files: &[File]) -> Result<Vec<PathBuf>, Error> {
        // The largest ones first, so that none of them is left over at the end.
        let mut order: Vec<usize> = (0..files.len()).collect();
        order.sort_by_key(|nr| std::cmp::Reverse(files[*nr].size));
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let paths: Mutex<Vec<Option<PathBuf>>> = Mutex::new(vec![None; files.len()]);
        let failure = Mutex::new(None);
        std::thread::scope(|scope| {
            for _ in 0..CONNECTIONS.min(files.len()) {
                scope.spawn(|| {
                    while let Some(nr) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                        match self.one(&files[*nr], &stop) {
                            Ok(Some(path)) => lock(&paths)[*nr] = Some(path),
                            Ok(None) => return,
                            Err(e) => {
                                stop.store(true, Ordering::Relaxed);
                                lock(&failure).get_or_insert(e);
                                return;
                            }
                        }
                    }
                });
            }
        });
        match failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(e) => Err(e),
            None => Ok(lock(&paths).drain(..).flatten().collect()),
        }
    }

    /// One file; `None` when it was given up because another one failed.
    fn one(&self, file: &File, stop: &AtomicBool) -> Result<Option<PathBuf>, Error> {
        if stop.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let from_cache = |path| {
            self.progress.advance(self.phase, file.size);
            self.progress.item(self.phase, &file.name);
            Ok(Some(path))
        };
        if let Some(path) = self.cache.find(&file.sha256, file.size)? {
            return from_cache(path);
        }
        let Some(mut partial) = self.cache.begin(&file.sha256)? else {
            // Another run has fetched it meanwhile. Should it have gone again, or be broken, one more look decides.
            return match self.cache.find(&file.sha256, file.size)? {
                Some(path) => from_cache(path),
                None => self.one(file, stop),
            };
        };
        if !self.fetch(file, &mut partial, stop)? {
            return Ok(None);
        }
        let path = partial.finish(&file.sha256)?;
        self.progress.item(self.phase, &file.name);
        Ok(Some(path))
    }

    /// Fetches until the partial file is whole and right; false when it was given up.
    fn fetch(&self, file: &File, partial: &mut Partial<'_>, stop: &AtomicBool) -> Result<bool, Error> {
        let patience = *self.client.patience();
        let (mut attempt, mut place, mut furthest) = (1, 0, partial.length());
        let mut transfer = Transfer { downloader: self, file, partial, told: 0 };
        loop {
            let Some(url) = file.urls.get(place) else {
                return Err(
                    http::Error::Url { url: file.name.clone(), reason: "no place is known for it".to_owned() }.into()
                );
            };
            let resumed = transfer.partial.length() > 0;
            match transfer.run(url, stop) {
                Ok(whole) => return Ok(whole),
                Err(Error::Http(http::Error::Status { status: 404 | 410, .. })) if place + 1 < file.urls.len() => {
                    place += 1
                }
                // What an earlier run left may have been something else.
                Err(Error::Hash { .. }) if resumed => {
                    transfer.partial.restart()?;
                }
                Err(Error::Http(e)) if e.is_transient() => {
                    if transfer.partial.length() > furthest {
                        (furthest, attempt) = (transfer.partial.length(), 1);
                    }
                    if attempt >= patience.attempts || stop.load(Ordering::Relaxed) {
                        return Err(e.into());
                    }
                    self.progress.notice(&format!("{e}; trying again"));
                    std::thread::sleep(patience.pause * (1 << (attempt - 1).min(6)));
                    attempt += 1;
                }
                Err(e) => {
                    if matches!(e, Error::Hash { .. } | Error::Size { .. }) {
                        transfer.partial.restart()?;
                    }
                    return Err(e);
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The fetching of one file, over several attempts.
struct Transfer<'a, 'c> {
    downloader: &'a Downloader<'a>,
    file: &'a File,
    partial: &'a mut Partial<'c>,
    /// How many bytes progress has been told of; attempts that begin anew do not tell of them twice.
    told: u64,
}

impl Transfer<'_, '_> {
    fn tell(&mut self) {
        let length = self.partial.length();
        if length > self.told {
            self.downloader.progress.advance(self.downloader.phase, length - self.told);
            self.told = length;
        }
    }

    /// One attempt; false when it was given up.
    fn run(&mut self, url: &str, stop: &AtomicBool) -> Result<bool, Error> {
        let size = self.file.size;
        if self.partial.length() > size {
            self.partial.restart()?;
        }
        let mut hasher = self.partial.resume()?;
        self.tell();
        if self.partial.length() < size || size == 0 {
            let mut response = self.downloader.client.get(url, self.partial.length())?;
            if response.offset() != self.partial.length() {
                hasher = self.partial.restart()?;
            }
            if let Some(length) = response.length()
                && response.offset() + length != size
            {
                return Err(self.size_error(url, response.offset() + length));
            }
            let mut buffer = vec![0; 128 * 1024];
            loop {
                if stop.load(Ordering::Relaxed) {
                    return Ok(false);
                }
                let count = response.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                if self.partial.length() + count as u64 > size {
                    return Err(self.size_error(url, self.partial.length() + count as u64));
                }
                hasher.update(&buffer[..count]);
                self.partial.write(&buffer[..count])?;
                self.tell();
            }
            if self.partial.length() < size {
                return Err(http::Error::Truncated { url: without_credentials(url), got: self.partial.length() }.into());
            }
        }
        self.check(url, hasher).map(|()| true)
    }

    fn check(&self, url: &str, hasher: Hasher) -> Result<(), Error> {
        let got = hasher.finish();
        if got == self.file.sha256 {
            return Ok(());
        }
        Err(Error::Hash { url: without_credentials(url), expected: self.file.sha256, got })
    }

    fn size_error(&self, url: &str, got: u64) -> Error {
        Error::Size { url: without_credentials(url), expected: self.file.size, got }
    }
}

#[cfg(test)]
mod tests;
