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

/// What a cache has of a package.
enum Found {
    /// The package, and who signed it.
    Good(File, Vec<Signer>),
    /// Something else, for that reason.
    Wrong(String),
    Nothing,
}

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
            match self.find(cache)? {
                Found::Good(file, signers) => {
                    self.line.progress.advance(self.line.phase, self.candidate.compressed_size);
                    self.line.progress.item(self.line.phase, &self.candidate.package.name);
                    return Ok(Some(Fetched { cache: nr, name: name.clone(), file: Arc::new(file), signers }));
                }
                // In the first one it is dealt with when nobody else is at it.
                Found::Wrong(reason) if nr > 0 => self.tell(cache, &reason),
                Found::Wrong(_) | Found::Nothing => {}
            }
        }
        let first = caches.first().ok_or(Error::NoCache)?;
        let fetched = self.fetch(first)?;
        Ok(fetched.map(|(file, signers)| Fetched { cache: 0, name: name.clone(), file: Arc::new(file), signers }))
    }

    /// What that cache has of the package.
    fn find(&self, cache: &PackageCache) -> Result<Found, Error> {
        let name = &self.candidate.file_name;
        let Some(mut file) = cache.open(name)? else {
            let wrong = cache.exists(name)?.then(|| Found::Wrong("it is no file".to_owned()));
            return Ok(wrong.unwrap_or(Found::Nothing));
        };
        if !self.is_right(cache, &mut file)? {
            return Ok(Found::Wrong("its size or SHA-256 is not that of the database".to_owned()));
        }
        let signature = match &self.candidate.signature {
            Some(signature) => Some(signature.clone()),
            None => cache.read(&signature_of(name), LONGEST_SIGNATURE)?,
        };
        Ok(match self.check(&file, signature.as_deref()) {
            Ok(signers) => Found::Good(file, signers),
            Err(e) => Found::Wrong(super::chain(&e.source)),
        })
    }

    fn tell(&self, cache: &PackageCache, reason: &str) {
        let path = cache.path().join(&self.candidate.file_name);
        self.line.progress.notice(&format!("'{}' is not used: {reason}", path.display()));
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
        let Some(mut partial) = cache.begin(name, &self.line)? else { return Ok(None) };
        match self.find(cache)? {
            // Another run has fetched it meanwhile.
            Found::Good(file, signers) => {
                cache.remove(&format!("{name}.part"))?;
                return Ok(Some((file, signers)));
            }
            Found::Wrong(reason) => {
                self.tell(cache, &reason);
                cache.remove(name)?;
                cache.remove(&signature_of(name))?;
            }
            Found::Nothing => {}
        }
        let mut transfer = Transfer::new(self.line, candidate.compressed_size, candidate.sha256, &mut partial);
        let servers = [&self.repository.cache_servers[..], &self.repository.servers[..]].concat();
        let stop = self.line.stop;
        let done = self.fetcher.any_of(&self.repository.name, &servers, stop, |server| {
            let (url, failed) = (join(server, name), |e| fetch_error(name, self.repository, e));
            if !transfer.from(&url).map_err(failed)? {
                return Ok(None);
            }
            let check = self.repository.sig_level.package.check;
            let signature = match &self.candidate.signature {
                Some(signature) => Some(signature.clone()).filter(|_| check != Check::Never),
                None => self.fetcher.signature(&url, check, stop, &|e| failed(e.into()))?,
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
