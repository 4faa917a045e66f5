//! The fetching of one file, over several attempts.

use super::{Error, Stop};
use crate::cache::Partial;
use crate::digest::{Hasher, Sha256};
use crate::http::{self, Client, without_credentials};
use crate::progress::{Phase, Progress};

/// How files are fetched, and who is told.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) client: &'a Client,
    pub(crate) progress: &'a dyn Progress,
    pub(crate) phase: Phase,
    /// Whether it is given up.
    pub(crate) stop: &'a Stop<'a>,
}

/// The fetching of one file into a partial one.
pub(crate) struct Transfer<'a> {
    line: Line<'a>,
    size: u64,
    sha256: Option<Sha256>,
    partial: &'a mut Partial,
    /// How many bytes progress has been told of; attempts that begin anew do not tell of them twice.
    told: u64,
}

impl<'a> Transfer<'a> {
    /// A file of that size and, where it is known, hash.
    pub(crate) fn new(line: Line<'a>, size: u64, sha256: Option<Sha256>, partial: &'a mut Partial) -> Self {
        Self { line, size, sha256, partial, told: 0 }
    }

    /// Fetches from there until the file is whole and right, as often as the client's patience allows without getting
    /// further; false when it was given up. What had come before an error stays, unless it is wrong.
    pub(crate) fn from(&mut self, url: &str) -> Result<bool, Error> {
        let patience = *self.line.client.patience();
        let (mut attempt, mut furthest) = (1, self.partial.length());
        loop {
            let resumed = self.partial.length() > 0;
            match self.attempt(url) {
                Ok(whole) => return Ok(whole),
                // What an earlier run left may have been something else.
                Err(Error::Hash { .. }) if resumed => self.restart()?,
                Err(Error::Http(_)) if self.line.stop.is_wanted() => return Ok(false),
                Err(Error::Http(e)) if e.is_transient() => {
                    if self.partial.length() > furthest {
                        (furthest, attempt) = (self.partial.length(), 1);
                    }
                    if attempt >= patience.attempts {
                        return Err(e.into());
                    }
                    self.line.progress.notice(&format!("{e}; trying again"));
                    if !patience.wait_after(attempt, &|| self.line.stop.is_wanted()) {
                        return Ok(false);
                    }
                    attempt += 1;
                }
                Err(e) => {
                    if matches!(e, Error::Hash { .. } | Error::Size { .. }) {
                        self.restart()?;
                    }
                    return Err(e);
                }
            }
        }
    }

    /// Throws away what has come.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.partial.restart()?;
        Ok(())
    }

    /// The file as far as it has come.
    pub(crate) fn file(&self) -> &std::fs::File {
        self.partial.file()
    }

    fn tell(&mut self) {
        let length = self.partial.length();
        if length > self.told {
            self.line.progress.advance(self.line.phase, length - self.told);
            self.told = length;
        }
    }

    /// One attempt; false when it was given up.
    fn attempt(&mut self, url: &str) -> Result<bool, Error> {
        let size = self.size;
        if self.partial.length() > size {
            self.partial.restart()?;
        }
        let mut hasher = self.partial.resume()?;
        self.tell();
        if self.partial.length() < size || size == 0 {
            let stop = self.line.stop;
            let given_up = || stop.is_wanted();
            let answer = self.line.client.get_aside(&given_up, url, self.partial.length())?;
            let Some(mut response) = answer else { return Ok(false) };
            if response.offset != self.partial.length() {
                hasher = self.partial.restart()?;
            }
            if let Some(length) = response.length
                && response.offset.checked_add(length) != Some(size)
            {
                return Err(self.size_error(url, response.offset.saturating_add(length)));
            }
            loop {
                let Some(bytes) = response.next(&given_up, url)? else { return Ok(false) };
                if bytes.is_empty() {
                    break;
                }
                let length = self.partial.length().saturating_add(bytes.len() as u64);
                if length > size {
                    return Err(self.size_error(url, length));
                }
                hasher.update(&bytes);
                self.partial.write(&bytes)?;
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
        match self.sha256 {
            Some(expected) if expected != got => Err(Error::Hash { url: without_credentials(url), expected, got }),
            _ => Ok(()),
        }
    }

    fn size_error(&self, url: &str, got: u64) -> Error {
        Error::Size { url: without_credentials(url), expected: self.size, got }
    }
}
