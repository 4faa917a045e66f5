//! Having one package in a cache.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::{
    Error, Fetched, Fetcher, LONGEST_SIGNATURE, Line, PackageCache, Repository, Signed, Signer, Transfer, fetch_error,
    join, verify,
};
use crate::digest::Hasher;
use crate::pacman::Candidate;
use crate::pacman::sig_level::Check;

/// A package that is to be had.
pub(super) struct Wanted<'a> {
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) candidate: &'a Candidate,
    pub(super) repository: &'a Repository,
    pub(super) line: Line<'a>,
}

impl Wanted<'_> {
    /// Finds or fetches it; `None` when it was given up because another one failed.
    pub(super) fn have(&self, caches: &[PackageCache]) -> Result<Option<Fetched>, Error> {
        let name = &self.candidate.file_name;
        if !super::package_cache::is_single(name) {
            return Err(Error::Name { package: self.candidate.package.name.clone(), name: name.clone() });
        }
        if self.line.stop.is_wanted() {
            return Ok(None);
        }
        for (nr, cache) in caches.iter().enumerate() {
            if let Some((file, signers)) = self.find(cache, nr == 0)? {
                self.line.progress.advance(self.line.phase, self.candidate.compressed_size);
                self.line.progress.item(self.line.phase, &self.candidate.package.name);
                return Ok(Some(Fetched { cache: nr, name: name.clone(), file: Arc::new(file), signers }));
            }
        }
        let first = caches.first().ok_or(Error::NoCache)?;
        let fetched = self.fetch(first)?;
        Ok(fetched.map(|(file, signers)| Fetched { cache: 0, name: name.clone(), file: Arc::new(file), signers }))
    }

    /// The package in that cache, and who signed it; `None` where it is not there or not what it should be. In a cache
    /// that is `ours`, such a thing is removed.
    fn find(&self, cache: &PackageCache, ours: bool) -> Result<Option<(File, Vec<Signer>)>, Error> {
        let name = &self.candidate.file_name;
        let reason = match cache.open(name)? {
            None => "it is no file".to_owned(),
            Some(mut file) => {
                if self.is_right(cache, &mut file)? {
                    let signature = match &self.candidate.signature {
                        Some(signature) => Some(signature.clone()),
                        None => cache.read(&signature_of(name), LONGEST_SIGNATURE)?,
                    };
                    match self.check(&file, signature.as_deref()) {
                        Ok(signers) => return Ok(Some((file, signers))),
                        Err(e) => super::chain(&e.source),
                    }
                } else {
                    "its size or SHA-256 is not that of the database".to_owned()
                }
            }
        };
        if cache.exists(name)? {
            self.line.progress.notice(&format!("'{}' is not used: {reason}", cache.path().join(name).display()));
            if ours {
                cache.remove(name)?;
                cache.remove(&signature_of(name))?;
            }
        }
        Ok(None)
    }

    /// Whether a file has the size and the hash that the database says.
    fn is_right(&self, cache: &PackageCache, file: &mut File) -> Result<bool, Error> {
        let name = &self.candidate.file_name;
        let length = file.metadata().map_err(|e| cache.io("look at", name, e))?.len();
        let Some(sha256) = self.candidate.sha256.filter(|_| length == self.candidate.compressed_size) else {
            return Ok(length == self.candidate.compressed_size);
        };
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match file.read(&mut buffer).map_err(|e| cache.io("read", name, e))? {
                0 => return Ok(hasher.finish() == sha256),
                count => hasher.update(&buffer[..count]),
            }
        }
    }

    fn check(&self, file: &File, signature: Option<&[u8]>) -> Result<Vec<Signer>, verify::Error> {
        let name = &self.candidate.file_name;
        verify::check(self.fetcher.web, self.repository.sig_level.package, name, signature, Signed::File(file))
    }

    /// Fetches it from the first server that has it as it should be; `None` when it was given up.
    fn fetch(&self, cache: &PackageCache) -> Result<Option<(File, Vec<Signer>)>, Error> {
        let (candidate, name) = (self.candidate, &self.candidate.file_name);
        let mut partial = cache.begin(name)?;
        // Another run may have fetched it meanwhile.
        if let Some(found) = self.find(cache, true)? {
            cache.remove(&format!("{name}.part"))?;
            return Ok(Some(found));
        }
        let mut transfer = Transfer::new(self.line, candidate.compressed_size, candidate.sha256, &mut partial);
        let servers = [&self.repository.cache_servers[..], &self.repository.servers[..]].concat();
        let done = self.fetcher.any_of(&self.repository.name, &servers, |server| {
            let (url, failed) = (join(server, name), |e| fetch_error(name, self.repository, e));
            if !transfer.from(&url).map_err(failed)? {
                return Ok(None);
            }
            let signature = match (&candidate.signature, self.repository.sig_level.package.check) {
                (_, Check::Never) => None,
                (Some(signature), _) => Some(signature.clone()),
                (None, _) => self.fetcher.signature(&url).map_err(|e| failed(e.into()))?,
            };
            match self.check(transfer.file(), signature.as_deref()) {
                Ok(signers) => Ok(Some((signers, signature))),
                Err(e) => {
                    // The next server's file, or that of the next run, is to be another one.
                    transfer.restart().map_err(failed)?;
                    Err(e.into())
                }
            }
        })?;
        let Some((signers, signature)) = done else { return Ok(None) };
        if let Some(signature) = signature {
            cache.write(&signature_of(name), &signature)?;
        }
        cache.finish(name)?;
        self.line.progress.item(self.line.phase, &candidate.package.name);
        let file = partial.into_file().map_err(|e| fetch_error(name, self.repository, e.into()))?;
        Ok(Some((file, signers)))
    }
}

fn signature_of(name: &str) -> String {
    format!("{name}.sig")
}
