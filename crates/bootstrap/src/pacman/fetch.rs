//! Fetching databases and packages from the mirrors of a repository, and verifying them.

mod package;
mod package_cache;
mod servers;

use std::fs::File;
use std::sync::Arc;
use std::time::SystemTime;

pub use package_cache::{Error as CacheError, PackageCache};
pub use servers::Servers;

use super::Candidate;
use super::config::Repository;
use super::keyring::{Signer, Web};
use super::sig_level::Check;
use super::verify::{self, LONGEST_SIGNATURE, Signed};
use crate::download::{self, Line, Stop, Transfer, at_once};
use crate::http::{self, Client};
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};
use crate::{cache, open_files, tree};

/// The largest database that is fetched, in bytes: as pacman.
const LARGEST_DATABASE: u64 = 128 * 1024 * 1024;

/// Why something could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A repository has no server.
    #[error("repository '{0}' has no server")]
    NoServer(String),
    /// There is nowhere to keep packages.
    #[error("no package cache is given")]
    NoCache,
    /// A database gives its package a file name that is none.
    #[error("package '{package}' has a file name that cannot be one: '{name}'")]
    Name {
        /// The package.
        package: String,
        /// The name of its file.
        name: String,
    },
    /// It could not be fetched or kept.
    #[error("cannot fetch '{file}' from repository '{repository}'")]
    Fetch {
        /// The file.
        file: String,
        /// The repository.
        repository: String,
        /// What the last server said.
        source: Box<download::Error>,
    },
    /// Its signature is not as it is asked for.
    #[error(transparent)]
    Verify(#[from] verify::Error),
    /// It could not be kept.
    #[error(transparent)]
    Cache(#[from] package_cache::Error),
    /// It was asked to stop.
    #[error("interrupted; what was fetched is kept")]
    Interrupted,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoServer(_) => "give it a Server, or Include a list of mirrors in which one is not commented out",
            Self::Interrupted => return None,
            Self::NoCache => "give a CacheDir in pacman.conf",
            Self::Name { .. } => "the repository is broken or tampered with: use another mirror",
            Self::Verify(e) => return e.hint(),
            Self::Cache(e) if tree::is_full(&e.source) => FULL,
            Self::Cache(_) => "check that the package cache is a directory that can be written",
            Self::Fetch { source, .. } => match &**source {
                download::Error::Cache(cache::Error::Io { source, .. }) if tree::is_full(source) => FULL,
                download::Error::Cache(_) => "check that the package cache can be written",
                download::Error::Http(http::Error::Proxy { .. }) => {
                    "correct it in the environment: http_proxy, https_proxy, all_proxy; no_proxy names exceptions"
                }
                download::Error::Http(e) if e.is_missing() => {
                    "the mirror has no such file: it is out of step with its database, or not a mirror of this \
                     repository; use another one"
                }
                download::Error::Http(_) => {
                    "check the network, the proxy if there is one, and the repository's servers, or use other ones; what \
                     was fetched is kept"
                }
                _ => "the mirror is out of step or tampered with: try later, or use another one",
            },
        })
    }
}

impl Error {
    /// Whether it has nothing to do with the server.
    pub(super) fn is_local(&self) -> bool {
        match self {
            Self::Cache(_) | Self::NoCache | Self::Interrupted => true,
            Self::Fetch { source, .. } => {
                matches!(**source, download::Error::Cache(_) | download::Error::Http(http::Error::Proxy { .. }))
                    || open_files::is_exhausted(self)
            }
            _ => false,
        }
    }

    /// Whether the server was not reached, or fell silent.
    fn is_connection(&self) -> bool {
        let Self::Fetch { source, .. } = self else { return false };
        matches!(**source, download::Error::Http(http::Error::Connection { .. } | http::Error::Stalled { .. }))
    }
}

const FULL: &str = "make room there; what was fetched is kept";

/// A repository's database as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its content, verified.
    pub content: Vec<u8>,
    /// When the server's was changed last, if that is known: pacman fetches it again when that is later.
    pub modified: Option<SystemTime>,
    /// Its signature.
    pub signature: Option<Vec<u8>>,
}

/// A package that lies in a cache, verified.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// In which of the caches.
    pub cache: usize,
    /// Under which name.
    pub name: String,
    /// The file that was verified: something else may have that name by now.
    pub file: Arc<File>,
    /// Who signed it; nobody where that was not asked for.
    pub signers: Vec<Signer>,
}

/// Fetches and verifies.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    /// How things are fetched: [`Client::with_files`] for repositories on the host.
    pub client: &'a Client,
    /// Which servers have failed in this run.
    pub servers: &'a Servers,
    /// Whose signatures count.
    pub web: &'a Web<'a>,
    /// Who is told.
    pub progress: &'a dyn Progress,
    /// Who may stop it.
    pub interrupt: &'a Interrupt,
    /// How many files are fetched at once: `ParallelDownloads`.
    pub parallel: usize,
}

impl std::fmt::Debug for Fetcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetcher({:?}, {} at once)", self.web, self.parallel)
    }
}

impl Fetcher<'_> {
    /// The databases of these repositories, in their order; `None` where the repository's is not to be fetched (`Usage`).
    ///
    /// # Errors
    /// The first one that no server has in a form that is accepted.
    pub fn databases(&self, repositories: &[Repository]) -> Result<Vec<Option<Database>>, Error> {
        let order: Vec<usize> = (0..repositories.len()).collect();
        let stop = Stop::with(self.interrupt);
        self.progress.begin(Phase::Indices, repositories.len() as u64, 0);
        let databases = at_once(self.parallel.max(1), &order, &stop, |nr| {
            let repository = &repositories[nr];
            let database = repository.usage.sync.then(|| self.database(repository, &stop)).transpose()?;
            self.progress.item(Phase::Indices, &repository.name);
            Ok(Some(database))
        });
        self.progress.end(Phase::Indices);
        self.unless_interrupted(databases)
    }

    fn database(&self, repository: &Repository, stop: &Stop<'_>) -> Result<Database, Error> {
        let file = format!("{}.db", repository.name);
        self.any_of(&repository.name, &repository.servers, stop, |server| {
            let failed = |e| fetch_error(&file, repository, download::Error::Http(e));
            let url = join(server, &file);
            let got = self.client.get_unless(&|| stop.is_wanted(), &url, LARGEST_DATABASE).map_err(failed)?;
            let http::Dated { content, modified } = got.ok_or(Error::Interrupted)?;
            self.progress.advance(Phase::Indices, content.len() as u64);
            let signature = self.signature(&url, repository.sig_level.database.check, stop, &failed)?;
            let content_of = Signed::Bytes(&content);
            verify::check(self.web, repository.sig_level.database, &file, signature.as_deref(), content_of)?;
            Ok(Database { content, modified, signature })
        })
    }

    /// The signature beside what is at that address, if it is looked at; `None` where there is none.
    fn signature(
        &self,
        url: &str,
        check: Check,
        stop: &Stop<'_>,
        failed: &dyn Fn(http::Error) -> Error,
    ) -> Result<Option<Vec<u8>>, Error> {
        if check == Check::Never {
            return Ok(None);
        }
        match self.client.get_unless(&|| stop.is_wanted(), &format!("{url}.sig"), LONGEST_SIGNATURE) {
            Ok(got) => Ok(Some(got.ok_or(Error::Interrupted)?.content)),
            Err(e) if e.is_missing() => Ok(None),
            // Many servers say so of what they do not have.
            Err(http::Error::Status { status: 400..=499, .. }) if check == Check::Optional => Ok(None),
            Err(e) => Err(failed(e)),
        }
    }

    /// Has these packages in one of the caches: those that are in none are fetched into the first one. What is there
    /// and is not what the database says is fetched anew. The results are in the same order.
    ///
    /// # Errors
    /// The first package that no server has in a form that is accepted. What has come of it and of the others stays
    /// for the next run.
    pub fn packages(
        &self,
        wanted: &[(&Candidate, &Repository)],
        caches: &[PackageCache],
    ) -> Result<Vec<Fetched>, Error> {
        // The largest ones first, so that none of them is left over at the end.
        let mut order: Vec<usize> = (0..wanted.len()).collect();
        order.sort_by_key(|nr| std::cmp::Reverse(wanted[*nr].0.compressed_size));
        let sizes = wanted.iter().map(|(candidate, _)| candidate.compressed_size);
        let bytes = sizes.fold(0, u64::saturating_add);
        let stop = Stop::with(self.interrupt);
        self.progress.begin(Phase::Download, wanted.len() as u64, bytes);
        let fetched = at_once(self.parallel.max(1), &order, &stop, |nr| {
            let (candidate, repository) = wanted[nr];
            let line = Line { client: self.client, progress: self.progress, phase: Phase::Download, stop: &stop };
            package::Wanted { fetcher: self, candidate, repository, line }.have(caches)
        });
        self.progress.end(Phase::Download);
        self.unless_interrupted(fetched)
    }

    /// What was given up because somebody wanted it is neither whole nor a failure of its own.
    fn unless_interrupted<T>(&self, result: Result<Vec<T>, Error>) -> Result<Vec<T>, Error> {
        if self.interrupt.is_wanted() { Err(Error::Interrupted) } else { result }
    }

    /// What the first server gives that does. Errors of this machine, such as a full disk, no other server can help.
    fn any_of<T>(
        &self,
        name: &str,
        servers: &[String],
        stop: &Stop<'_>,
        mut get: impl FnMut(&str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let servers = self.servers.worth_asking(servers, self.progress);
        let mut servers = servers.into_iter().peekable();
        loop {
            if stop.is_wanted() {
                return Err(Error::Interrupted);
            }
            let server = servers.next().ok_or_else(|| Error::NoServer(name.to_owned()))?;
            match get(server) {
                Err(e) if !e.is_local() => {
                    if e.is_connection() {
                        self.servers.failed(server);
                    }
                    if servers.peek().is_none() {
                        return Err(e);
                    }
                    self.progress.notice(&format!("{}; trying the next server", chain(&e)));
                }
                result => return result,
            }
        }
    }
}

fn fetch_error(file: &str, repository: &Repository, source: download::Error) -> Error {
    Error::Fetch { file: file.to_owned(), repository: repository.name.clone(), source: Box::new(source) }
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

fn join(server: &str, file: &str) -> String {
    format!("{}/{file}", server.trim_end_matches('/'))
}

#[cfg(test)]
pub(super) mod tests;
