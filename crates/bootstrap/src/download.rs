//! Fetching files whose size and SHA-256 are known into the cache: several at once, going on where an earlier run
//! stopped, again when a connection breaks.

mod at_once;
mod stop;
mod transfer;

use std::path::PathBuf;

pub(crate) use at_once::at_once;
pub(crate) use stop::Stop;
pub(crate) use transfer::{Line, Transfer};

use crate::cache::{self, Cache, Partial};
use crate::digest::Sha256;
use crate::http::{self, Client};
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
        let bytes = files.iter().map(|file| file.size).fold(0, u64::saturating_add);
        self.progress.begin(self.phase, files.len() as u64, bytes);
        let result = self.all_at_once(files);
        self.progress.end(self.phase);
        result
    }

    fn all_at_once(&self, files: &[File]) -> Result<Vec<PathBuf>, Error> {
        // The largest ones first, so that none of them is left over at the end.
        let mut order: Vec<usize> = (0..files.len()).collect();
        order.sort_by_key(|nr| std::cmp::Reverse(files[*nr].size));
        let stop = Stop::default();
        at_once(CONNECTIONS, &order, &stop, |nr| self.one(&files[nr], &stop))
    }

    /// One file; `None` when it was given up because another one failed.
    fn one(&self, file: &File, stop: &Stop<'_>) -> Result<Option<PathBuf>, Error> {
        if stop.is_wanted() {
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
        let path = self.cache.finish(partial, &file.sha256)?;
        self.progress.item(self.phase, &file.name);
        Ok(Some(path))
    }

    /// Fetches until the partial file is whole and right; false when it was given up.
    fn fetch(&self, file: &File, partial: &mut Partial, stop: &Stop<'_>) -> Result<bool, Error> {
        let line = Line { client: self.client, progress: self.progress, phase: self.phase, stop };
        let mut transfer = Transfer::new(line, file.size, Some(file.sha256), partial);
        let mut urls = file.urls.iter();
        let nowhere = || http::Error::Url { url: file.name.clone(), reason: "no place is known for it".to_owned() };
        let mut url = urls.next().ok_or_else(nowhere)?;
        loop {
            match (transfer.from(url), urls.next()) {
                (Err(Error::Http(http::Error::Status { status: 404 | 410, .. })), Some(next)) => url = next,
                (result, _) => return result,
            }
        }
    }
}

#[cfg(test)]
mod tests;
