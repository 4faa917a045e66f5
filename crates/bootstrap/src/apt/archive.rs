//! What a source offers: its verified packages, and their files.
//!
//! The steps, in this order: [`Archive::open`] (fetch and verify), choose from [`Archive::packages`],
//! [`Archive::download`].

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::compression::Compression;
use super::package::{self, Package};
use super::release::{self, Listed, Release};
use super::source::{Keyring, Source};
use crate::cache::{self, Cache};
use crate::digest::Sha256;
use crate::download::{self, Downloader, File};
use crate::http::{self, Client, Patience, without_credentials};
use crate::progress::{Phase, Progress};
use crate::trust::{self, Certificates};

/// Larger release files are refused.
const LARGEST_RELEASE: u64 = 32 << 20;
/// Larger indices, decompressed, are refused.
const LARGEST_INDEX: u64 = 1 << 30;

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source's description is no good.
    #[error("'{value}' is not a {what}")]
    Source {
        /// What it should be.
        what: &'static str,
        /// What it is.
        value: String,
    },
    /// The keyring's file cannot be read.
    #[error("cannot read the keyring '{path}'")]
    Keyring {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The mirror does not have the suite.
    #[error("the mirror '{mirror}' has no suite '{suite}'")]
    NoSuite {
        /// The mirror.
        mirror: String,
        /// The suite.
        suite: String,
    },
    /// The release file could not be fetched.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// An index or a package could not be fetched.
    #[error(transparent)]
    Download(#[from] download::Error),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] cache::Error),
    /// The release file's signature is not accepted.
    #[error("'{url}' is not trusted")]
    Trust {
        /// The release file's address.
        url: String,
        /// Why.
        source: trust::Error,
    },
    /// The release file says something unfit.
    #[error("'{url}' cannot be used")]
    Release {
        /// The release file's address.
        url: String,
        /// Why.
        source: release::Error,
    },
    /// The release file has no index in a form that can be read.
    #[error("'{url}' lists no index '{directory}/Packages' in a form that can be read")]
    NoIndex {
        /// The release file's address.
        url: String,
        /// The index's directory.
        directory: String,
    },
    /// An index that is the right one cannot be read.
    #[error("the index '{url}' cannot be read")]
    Index {
        /// Its address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// A package in an index cannot be used.
    #[error("the index of '{mirror}' has a package that cannot be used")]
    Package {
        /// The mirror.
        mirror: String,
        /// Which one and why.
        source: package::Error,
    },
}

impl Error {
    /// What to do about it: the next step, for a person.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Source { .. } => Some("check --mirror, --suite, --components and --arch"),
            Self::Keyring { .. } => Some("--keyring takes a file of OpenPGP certificates, plain or armoured"),
            Self::NoSuite { .. } => Some("name a suite that it has with --suite, or another mirror with --mirror"),
            Self::Http(e) => e.hint(),
            Self::Download(e) => e.hint(),
            Self::Cache(e) => e.hint(),
            Self::Trust { source, .. } => source.hint(),
            Self::Release { source, .. } => source.hint(),
            Self::NoIndex { .. } | Self::Index { .. } | Self::Package { .. } => {
                Some("name another mirror with --mirror")
            }
        }
    }
}

/// A source whose release file and indices have been fetched and verified.
#[derive(Debug, Clone)]
pub struct Archive {
    source: Source,
    release: Release,
    client: Arc<Client>,
    cache: Cache,
    packages: Vec<Package>,
}

impl Archive {
    /// Fetches and verifies a source's release file and package indices. Threads are started and have ended when this
    /// returns.
    ///
    /// # Errors
    /// Anything that is missing, cannot be fetched, or is not what it should be; see [`Error::hint`].
    pub fn open(source: &Source, cache: &Cache, progress: &dyn Progress) -> Result<Self, Error> {
        let client = Client::new(source.proxy.as_deref(), Patience::default())?;
        Opening { source, cache, progress, client: Arc::new(client), now: SystemTime::now() }.run()
    }

    /// Where the packages come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The release file.
    pub fn release(&self) -> &Release {
        &self.release
    }

    /// The packages of all components, for the source's architecture and for `all`. A name can occur more than once,
    /// in several versions.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// Has the files of these packages in the cache, whole and verified: says where they lie, in the same order. Several
    /// are fetched at once. What an earlier run has fetched is used; what this one has fetched when it fails stays for
    /// the next one.
    ///
    /// # Errors
    /// The first package that cannot be had.
    pub fn download(&self, packages: &[&Package], progress: &dyn Progress) -> Result<Vec<PathBuf>, Error> {
        let file = |package: &&Package| {
            let url = format!("{}/{}", self.source.mirror, package.filename()?);
            Ok(File {
                name: package.name().to_owned(),
                urls: vec![url],
                size: package.size()?,
                sha256: package.sha256()?,
            })
        };
        let files = packages
            .iter()
            .map(file)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| Error::Package { mirror: without_credentials(&self.source.mirror), source })?;
        let (client, cache) = (&*self.client, &self.cache);
        Ok(Downloader { client, cache, progress, phase: Phase::Download }.all(&files)?)
    }
}

/// An archive on its way.
struct Opening<'a> {
    source: &'a Source,
    cache: &'a Cache,
    progress: &'a dyn Progress,
    client: Arc<Client>,
    now: SystemTime,
}

/// An index in the form that was chosen.
struct Index {
    compression: Compression,
    file: File,
    /// What it is when it is not compressed, where the release file says so.
    plain: Option<Listed>,
}

impl Opening<'_> {
    fn run(self) -> Result<Archive, Error> {
        check(self.source)?;
        let (url, release) = self.release()?;
        let wanted = |source| Error::Release { url: without_credentials(&url), source };
        release.check(&self.source.suite, self.now, self.source.accept_expired).map_err(wanted)?;
        let directories =
            release.index_directories(&self.source.components, &self.source.architecture).map_err(wanted)?;
        let indices = directories
            .iter()
            .map(|directory| self.choose(&url, &release, directory))
            .collect::<Result<Vec<_>, _>>()?;
        let packages = self.packages(&indices)?;
        let (source, cache) = (self.source.clone(), self.cache.clone());
        Ok(Archive { source, release, client: self.client, cache, packages })
    }

    fn certificates(&self) -> Result<Certificates, Error> {
        let (bytes, name) = match &self.source.keyring {
            Keyring::Embedded(distribution) => (distribution.keyring().to_vec(), distribution.name().to_owned()),
            Keyring::File(path) => {
                let bytes = fs::read(path).map_err(|source| Error::Keyring { path: path.clone(), source })?;
                (bytes, path.display().to_string())
            }
        };
        Certificates::parse(&bytes).map_err(|source| Error::Trust { url: name, source })
    }

    /// The release file, its signature verified, and its address.
    fn release(&self) -> Result<(String, Release), Error> {
        let certificates = self.certificates()?;
        let url = format!("{}/dists/{}/InRelease", self.source.mirror, self.source.suite);
        let message = match self.client.get_all(&url, LARGEST_RELEASE) {
            Err(http::Error::Status { status: 404 | 410, .. }) => {
                return Err(Error::NoSuite {
                    mirror: without_credentials(&self.source.mirror),
                    suite: self.source.suite.clone(),
                });
            }
            result => result?,
        };
        let (text, _) = certificates
            .verify_cleartext(&message, self.now)
            .map_err(|source| Error::Trust { url: without_credentials(&url), source })?;
        let release =
            Release::parse(&text).map_err(|source| Error::Release { url: without_credentials(&url), source })?;
        Ok((url, release))
    }

    fn choose(&self, url: &str, release: &Release, directory: &str) -> Result<Index, Error> {
        let chosen = Compression::ALL.into_iter().find_map(|compression| {
            let name = format!("Packages{}", compression.suffix());
            Some((compression, name.clone(), release.file(&format!("{directory}/{name}"))?))
        });
        let (compression, name, listed) =
            chosen.ok_or_else(|| Error::NoIndex { url: without_credentials(url), directory: directory.to_owned() })?;
        let base = format!("{}/dists/{}/{directory}", self.source.mirror, self.source.suite);
        let mut urls = vec![format!("{base}/{name}")];
        if release.by_hash() {
            urls.insert(0, format!("{base}/by-hash/SHA256/{}", listed.sha256));
        }
        let file = File { name: format!("{directory}/{name}"), urls, size: listed.size, sha256: listed.sha256 };
        Ok(Index { compression, file, plain: release.file(&format!("{directory}/Packages")) })
    }

    fn packages(&self, indices: &[Index]) -> Result<Vec<Package>, Error> {
        let mut texts = Vec::new();
        for index in indices {
            texts.push(match index.plain {
                Some(plain) => self.cache.read(&plain.sha256, plain.size)?,
                None => None,
            });
        }
        let missing: Vec<File> = indices
            .iter()
            .zip(&texts)
            .filter(|(_, text)| text.is_none())
            .map(|(index, _)| index.file.clone())
            .collect();
        let (client, cache, progress) = (&*self.client, self.cache, self.progress);
        Downloader { client, cache, progress, phase: Phase::Indices }.all(&missing)?;

        self.progress.begin(Phase::Parse, indices.len() as u64, 0);
        let result = std::thread::scope(|scope| {
            let readers: Vec<_> = indices
                .iter()
                .zip(texts)
                .map(|(index, text)| {
                    scope.spawn(move || {
                        let packages = self.read(index, text);
                        self.progress.item(Phase::Parse, &index.file.name);
                        packages
                    })
                })
                .collect();
            let mut packages = Vec::new();
            for reader in readers {
                packages.append(&mut reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
            }
            Ok(packages)
        });
        self.progress.end(Phase::Parse);
        result
    }

    /// The packages of an index: of its text if that was in the cache, else of its file, which is there now.
    fn read(&self, index: &Index, text: Option<Vec<u8>>) -> Result<Vec<Package>, Error> {
        let file = &index.file;
        let unreadable = |source| Error::Index { url: without_credentials(&file.urls[file.urls.len() - 1]), source };
        let invalid = |reason: &str| unreadable(io::Error::new(io::ErrorKind::InvalidData, reason));
        let (text, is_new) = match text {
            Some(text) => (text, false),
            None => self.text(index)?,
        };
        let text: Arc<str> = String::from_utf8(text).map_err(|_| invalid("it is not UTF-8"))?.into();
        std::thread::scope(|scope| {
            // The text is kept for the next run, which need not decompress it again, while this one reads it.
            let keeper = scope.spawn(|| match index.plain {
                Some(plain) if is_new && index.compression != Compression::Plain => self.keep(file, plain, &text),
                _ => Ok(true),
            });
            let packages = Package::parse_index(&text)
                .map_err(|source| Error::Package { mirror: without_credentials(&self.source.mirror), source });
            let kept = keeper.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            if kept { packages } else { Err(invalid("its text has another hash than the release file says")) }
        })
    }

    /// An index's text, of the file that was just fetched, and whether it is new to the cache. Another run may have put
    /// the text in the file's place at any moment, so both are looked for, and what has gone is fetched once more.
    fn text(&self, index: &Index) -> Result<(Vec<u8>, bool), Error> {
        const ATTEMPTS: usize = 5;
        let file = &index.file;
        let unreadable = |source| Error::Index { url: without_credentials(&file.urls[file.urls.len() - 1]), source };
        let limit = index.plain.map_or(LARGEST_INDEX, |plain| plain.size);
        if limit > LARGEST_INDEX {
            return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is larger than any index")));
        }
        for _ in 0..ATTEMPTS {
            if let Some(compressed) = self.cache.read(&file.sha256, file.size)? {
                return Ok((index.compression.decompress(&compressed, limit).map_err(unreadable)?, true));
            }
            if let Some(plain) = index.plain
                && let Some(text) = self.cache.read(&plain.sha256, plain.size)?
            {
                return Ok((text, false));
            }
            let (client, cache, progress) = (&*self.client, self.cache, self.progress);
            Downloader { client, cache, progress, phase: Phase::Indices }.all(std::slice::from_ref(file))?;
        }
        Err(unreadable(io::Error::other("it goes from the cache again and again")))
    }

    /// Keeps an index's text instead of its compressed file; false when it is not the text it should be.
    fn keep(&self, file: &File, plain: Listed, text: &str) -> Result<bool, Error> {
        if Sha256::of(text.as_bytes()) != plain.sha256 {
            return Ok(false);
        }
        self.cache.store(&plain.sha256, text.as_bytes())?;
        self.cache.forget(&file.sha256)?;
        self.cache.supersede(&file.urls[file.urls.len() - 1], &plain.sha256)?;
        Ok(true)
    }
}

/// What goes into addresses must not lead elsewhere.
fn check(source: &Source) -> Result<(), Error> {
    let bad = |what, value: &str| Err(Error::Source { what, value: without_credentials(value) });
    let is_name = |name: &str| {
        !name.is_empty()
            && name.split('/').all(|part| {
                !matches!(part, "" | "." | "..")
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._~".contains(&b))
            })
    };
    if !source.mirror.starts_with("http://") && !source.mirror.starts_with("https://") {
        return bad("mirror's address (http://… or https://…)", &source.mirror);
    }
    if !is_name(&source.suite) {
        return bad("suite's name", &source.suite);
    }
    if source.components.is_empty() {
        return bad("list of components", "");
    }
    if let Some(component) = source.components.iter().find(|component| !is_name(component)) {
        return bad("component's name", component);
    }
    if !is_name(&source.architecture) || source.architecture == "all" {
        return bad("architecture's name", &source.architecture);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
