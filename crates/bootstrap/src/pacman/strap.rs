//! What pacstrap(8) does: packages are chosen from repositories, fetched, verified and installed into a directory, and what
//! the system in it needs to go on by itself is put there.

mod host_files;
mod interrupted;
mod newer_keys;
mod package_files;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::config::{self, Config, Repository};
use super::database::{self, SyncDatabase};
use super::fetch::{self, Database, Fetcher, PackageCache, Servers};
use super::keyring::{self, Keyring, Web};
use super::local::{self, Installed, LocalDatabase, Validation};
use super::lock::Turn;
use super::package::Candidate;
use super::pattern::Patterns;
use super::resolve::{self, Dependencies, Questions, Request, Resolution, Source, resolve};
use super::target::{self, Target};
use super::transaction::{self, PackageFile, Transaction};
use crate::container::ContainerCommand;
use crate::http::proxies::Proxies;
use crate::http::{Client, Patience};
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};
use crate::staging::{self, Staging};
use crate::{open_files, tree};

pub use host_files::MirrorList;
use interrupted::Interrupted;

/// Where pacman has its databases, in a tree.
const DATABASES: &str = "var/lib/pacman";
/// Where it keeps packages, in a tree.
const PACKAGES: &str = "var/cache/pacman/pkg";
/// Where it has its keyring, in a tree.
const KEYRING: &str = "etc/pacman.d/gnupg";
/// Where hooks are that packages bring, in a tree.
const HOOKS: &str = "usr/share/libalpm/hooks";

/// Why a system is not installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The place for it cannot be used.
    #[error(transparent)]
    Staging(#[from] staging::Error),
    /// The directory cannot be used.
    #[error(transparent)]
    Target(#[from] target::Error),
    /// A database or package cannot be fetched, or is not accepted.
    #[error(transparent)]
    Fetch(#[from] fetch::Error),
    /// A repository's database cannot be used.
    #[error(transparent)]
    Database(#[from] database::Error),
    /// There is no repository.
    #[error("the configuration names no repository")]
    NoRepository,
    /// What is installed already cannot be read.
    #[error(transparent)]
    Local(#[from] local::Error),
    /// There is no such set of packages.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
    /// A keyring cannot be read or written.
    #[error(transparent)]
    Keyring(#[from] keyring::Error),
    /// A package cache cannot be used.
    #[error(transparent)]
    Cache(#[from] fetch::CacheError),
    /// A package of keys is not signed by keys that are trusted fully.
    #[error("'{0}' is not signed by keys that are trusted fully")]
    Keys(String),
    /// A package file that was named cannot be used.
    #[error(transparent)]
    Files(#[from] package_files::Error),
    /// A run that was interrupted had begun with packages that cannot be had here.
    #[error("an interrupted run had begun to install {0}, which has to be completed first")]
    Begun(String),
    /// The packages cannot be installed.
    #[error(transparent)]
    Transaction(#[from] transaction::Error),
    /// A file of the host cannot be copied.
    #[error("cannot copy '{}'", path.display())]
    Copy {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A file of the tree cannot be written.
    #[error("the system cannot be made ready")]
    Tree(#[from] tree::Error),
    /// It was asked to stop.
    #[error("interrupted; the same command goes on from here")]
    Interrupted,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let own = |hint: Option<&'static str>| hint.map(str::to_owned);
        if open_files::is_exhausted(self) {
            return own(Some(open_files::HINT));
        }
        match self {
            Self::Staging(staging::Error::Occupied(_)) => own(Some("name a directory that does not exist yet")),
            Self::Target(error) => error.hint(),
            Self::Fetch(error) => own(error.hint()),
            Self::Database(error) => own(error.hint()),
            Self::NoRepository => {
                own(Some("add one to pacman.conf, such as [core] with a Server, or name another file with -C"))
            }
            Self::Local(error) => own(error.hint()),
            Self::Resolve(error) => own(error.hint()),
            Self::Keyring(error) => own(error.hint()),
            Self::Files(error) => own(error.hint()),
            Self::Begun(_) => own(Some("repeat the command that was interrupted, or name their files with -U")),
            Self::Transaction(error) => own(error.hint()),
            Self::Tree(error) if error.is_full() => own(Some("make room on that file system")),
            _ => None,
        }
    }

    /// Whether it was asked to stop.
    #[must_use]
    pub fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Interrupted
                | Self::Fetch(fetch::Error::Interrupted)
                | Self::Transaction(transaction::Error::Interrupted)
        )
    }
}

/// What is installed.
#[derive(Debug, Clone, Copy)]
pub enum Packages<'a> {
    /// Targets from repositories: `pacman -S`.
    Targets(&'a [String]),
    /// Package files of this machine: `pacman -U`.
    Files(&'a [String]),
}

/// Which keyring the new system has from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NewKeyring<'a> {
    /// None, unless a package brings one.
    None,
    /// An empty one with a key of its own: `-K`.
    Initialised,
    /// That of the host, in this directory.
    Copied(&'a Path),
}

/// Whose signatures are accepted.
#[derive(Debug, Clone)]
pub struct Trusted {
    /// The keys.
    pub keyring: Keyring,
    /// Whether newer ones that the distribution's own package of keys has, verified by these, are accepted too.
    pub renewed: bool,
}

/// Where packages are installed to, who is told, and who may stop it.
#[derive(Clone, Copy)]
struct Site<'a> {
    target: &'a Target,
    servers: &'a Servers,
    progress: &'a dyn Progress,
    interrupt: &'a Interrupt,
}

/// A system to be installed.
#[derive(Debug)]
pub struct Strap<'a> {
    /// The directory.
    pub root: &'a Path,
    /// What pacman.conf says.
    pub config: &'a Config,
    /// What is installed.
    pub packages: Packages<'a>,
    /// Where packages are kept, new ones in the first of these directories of the host: `-c`. Without one, in the cache of
    /// the tree.
    pub caches: &'a [PathBuf],
    /// Whether dependencies are not looked at: `-D`.
    pub ignore_dependencies: bool,
    /// Whose signatures are accepted.
    pub trusted: &'a Trusted,
    /// The keyring of the new system.
    pub keyring: NewKeyring<'a>,
    /// The mirror list of the new system.
    pub mirror_list: MirrorList<'a>,
    /// The configuration that the new system gets: `-P`.
    pub configuration: Option<&'a Path>,
    /// How containers are run.
    pub container: &'a ContainerCommand,
    /// The command line, for the log.
    pub command_line: &'a str,
}

impl Strap<'_> {
    /// Installs it into a directory that is missing or empty: there is all of it in the end, or nothing.
    ///
    /// # Errors
    /// The first failure; nothing is left then but what was fetched.
    pub fn run_new(
        &self,
        questions: &mut dyn Questions,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<usize, Error> {
        // Dropped last: whatever becomes of the directory, that is to be done to its end.
        let _staged = interrupt.staged();
        let staging = Staging::begin(self.root)?;
        match (Strap { root: staging.path(), ..*self }).run(questions, progress, interrupt) {
            Err(_) if interrupt.is_wanted() => Err(Error::Interrupted),
            Err(other) => Err(other),
            Ok(installed) => {
                staging.finish()?;
                Ok(installed)
            }
        }
    }

    /// Installs it, and says how many packages that were.
    ///
    /// # Errors
    /// The first failure. Until the packages are unpacked only empty directories, fetched packages and databases are in the
    /// tree; afterwards the same call goes on where the failed one ended.
    pub fn run(
        &self,
        questions: &mut dyn Questions,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<usize, Error> {
        open_files::allow_many();
        let target = Target::open(self.root)?;
        let _turn = Turn::take(target.tree(), DATABASES).map_err(transaction::Error::from)?;
        let site = Site { target: &target, servers: &Servers::default(), progress, interrupt };
        match self.keyring {
            NewKeyring::None => {}
            NewKeyring::Initialised => {
                keyring::initialise(target.tree(), KEYRING, SystemTime::now())?;
            }
            NewKeyring::Copied(directory) => {
                keyring::copy(directory, target.tree(), KEYRING)?;
            }
        }
        let installed = match self.packages {
            Packages::Targets(targets) => self.install_targets(&site, targets, questions)?,
            Packages::Files(files) => self.install_files(&site, files, questions)?,
        };
        self.mirror_list.copy(target.tree())?;
        if let Some(configuration) = self.configuration {
            host_files::copy(configuration, target.tree(), "etc/pacman.conf")?;
        }
        Ok(installed)
    }

    fn install_targets(
        &self,
        site: &Site<'_>,
        targets: &[String],
        questions: &mut dyn Questions,
    ) -> Result<usize, Error> {
        let Site { target, progress, .. } = *site;
        if self.config.repositories.is_empty() {
            return Err(Error::NoRepository);
        }
        let client = client(&self.config.options, Proxies::of_environment());
        let repositories = &self.config.repositories;
        let caches = self.caches(target)?;
        let now = SystemTime::now();
        let web = Web::new(&self.trusted.keyring, now);
        let fetcher = self.fetcher(&client, &web, site);
        let fetched = fetcher.databases(repositories)?;
        keep_databases(target, repositories, &fetched)?;
        let databases = self.read_databases(fetched, progress)?;
        let newer = match self.trusted.renewed {
            true => newer_keys::Sources { databases: &databases, repositories, fetcher: &fetcher, caches: &caches }
                .newer(&self.trusted.keyring)?,
            false => None,
        };
        let local = local(target)?;
        let interrupted = Interrupted::of(&local);
        let exists = |name: &str| databases.iter().any(|database| database.find(name).is_some());
        let all = interrupted.with_targets(targets, exists, progress)?;
        let sources: Vec<Source<'_>> = databases
            .iter()
            .zip(repositories)
            .map(|(database, repository)| Source { database, usage: repository.usage })
            .collect();
        let installed: Vec<&Installed> = local.whole().collect();
        let request = Request { sources: &sources, installed: &installed, targets: &all, options: self.options() };
        progress.begin(Phase::Resolve, 0, 0);
        progress.end(Phase::Resolve);
        let mut resolution = resolve(&request, questions)?;
        interrupted.correct(targets, &mut resolution);
        let web = newer.as_ref().map_or(web, |keyring| Web::new(keyring, now));
        let fetcher = self.fetcher(&client, &web, site);
        self.install(site, &resolution, &fetcher, &caches)?;
        Ok(resolution.install.len())
    }

    fn install(
        &self,
        site: &Site<'_>,
        resolution: &Resolution<'_>,
        fetcher: &Fetcher<'_>,
        caches: &[PackageCache],
    ) -> Result<(), Error> {
        let repositories = &self.config.repositories;
        let wanted: Vec<(&Candidate, &Repository)> = resolution
            .install
            .iter()
            .map(|choice| (choice.candidate, &repositories[choice.candidate.repository]))
            .collect();
        let fetched = fetcher.packages(&wanted, caches)?;
        let files: Vec<PackageFile> = resolution
            .install
            .iter()
            .zip(fetched)
            .map(|(choice, fetched)| PackageFile {
                path: caches[fetched.cache].path().join(&fetched.name),
                expected: Some((choice.candidate.package.name.clone(), choice.candidate.package.version.clone())),
                reason: choice.reason,
                validation: vec![validation(choice.candidate, !fetched.signers.is_empty())],
                file: Some(fetched.file),
            })
            .collect();
        let removals: Vec<String> = resolution.remove.iter().map(|package| package.name.clone()).collect();
        self.commit(site, &files, &removals)
    }

    fn commit(&self, site: &Site<'_>, packages: &[PackageFile], removals: &[String]) -> Result<(), Error> {
        let Site { target, progress, interrupt, .. } = *site;
        if interrupt.is_wanted() {
            return Err(Error::Interrupted);
        }
        let options = self.transaction_options();
        let transaction = Transaction {
            tree: target.tree(),
            path: target.path(),
            packages,
            removals,
            options: &options,
            container: self.container,
        };
        // From here on the end has to be in order.
        let _staged = interrupt.staged();
        match transaction.run(progress, interrupt) {
            Err(_) if interrupt.is_wanted() => Err(Error::Interrupted),
            other => Ok(other?),
        }
    }

    fn options(&self) -> resolve::Options<'_> {
        let options = &self.config.options;
        resolve::Options {
            dependencies: if self.ignore_dependencies { Dependencies::Ignored } else { Dependencies::Checked },
            needed: false,
            ignore_packages: &options.ignore_packages,
            ignore_groups: &options.ignore_groups,
            architectures: &options.architectures,
        }
    }

    fn transaction_options(&self) -> transaction::Options {
        let options = &self.config.options;
        let patterns = |patterns: &[String]| Patterns::new(patterns.iter().map(String::as_str));
        transaction::Options {
            // The directories of `HookDir` are the host's, also where pacman is told of another root.
            hook_directories: vec![HOOKS.to_owned()],
            architectures: options.architectures.clone(),
            no_extract: patterns(&options.no_extract),
            no_upgrade: patterns(&options.no_upgrade),
            check_space: options.check_space,
            command_line: self.command_line.to_owned(),
            ..transaction::Options::default()
        }
    }

    /// Where packages are kept: new ones in the first of these.
    fn caches(&self, target: &Target) -> Result<Vec<PackageCache>, Error> {
        if self.caches.is_empty() {
            return Ok(vec![PackageCache::of_tree(target.tree(), target.path(), PACKAGES)?]);
        }
        Ok(self.caches.iter().map(|path| PackageCache::of_host(path)).collect::<Result<_, _>>()?)
    }

    fn fetcher<'a>(&self, client: &'a Client, web: &'a Web<'a>, site: &Site<'a>) -> Fetcher<'a> {
        let parallel = self.config.options.parallel_downloads.get() as usize;
        let Site { servers, progress, interrupt, .. } = *site;
        Fetcher { client, servers, web, progress, interrupt, parallel }
    }

    fn read_databases(
        &self,
        fetched: Vec<Option<Database>>,
        progress: &dyn Progress,
    ) -> Result<Vec<SyncDatabase>, Error> {
        progress.begin(Phase::Parse, fetched.len() as u64, 0);
        let read =
            fetched.into_iter().zip(&self.config.repositories).enumerate().map(|(nr, (database, repository))| {
                progress.item(Phase::Parse, &repository.name);
                match database {
                    Some(database) => SyncDatabase::read(&repository.name, nr, database.content),
                    None => Ok(SyncDatabase::new(&repository.name, Vec::new())),
                }
            });
        let databases: Result<Vec<_>, _> = read.collect();
        progress.end(Phase::Parse);
        Ok(databases?)
    }
}

/// How things are fetched: by the proxies of the environment, and from the host's own directories.
fn client(options: &config::Options, proxies: Proxies) -> Client {
    let stall = Patience::default().stall.filter(|_| !options.disable_download_timeout);
    Client::with_proxies(proxies, Patience { stall, ..Patience::default() }).with_files()
}

/// How a package's file was checked, as pacman notes it: the signature, or else the best hash there is.
fn validation(candidate: &Candidate, signed: bool) -> Validation {
    match (signed, candidate.sha256) {
        (true, _) => Validation::Pgp,
        (false, Some(_)) => Validation::Sha256,
        (false, None) => Validation::None,
    }
}

/// What is installed already.
fn local(target: &Target) -> Result<LocalDatabase<'_>, Error> {
    Ok(LocalDatabase::read(target.tree(), DATABASES)?)
}

/// The databases stay in the tree, as `pacman -Sy` leaves them.
fn keep_databases(target: &Target, repositories: &[Repository], databases: &[Option<Database>]) -> Result<(), Error> {
    for (repository, database) in repositories.iter().zip(databases) {
        let Some(database) = database else { continue };
        let path = format!("{DATABASES}/sync/{}.db", repository.name);
        let signature_path = format!("{path}.sig");
        // Both have the time of the server's database: pacman fetches either again only if the server's is newer.
        let keep = |path: &str, content: &[u8]| {
            target.tree().write(path, content, 0o644)?;
            database.modified.map_or(Ok(()), |modified| target.tree().set_modified(path, modified))
        };
        keep(&path, &database.content)?;
        match &database.signature {
            Some(signature) => keep(&signature_path, signature)?,
            None => target.tree().remove(&signature_path)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
