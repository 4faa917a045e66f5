//! A whole installation: choose, fetch, unpack, configure, make ready.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::archive::Archive;
use super::ask_apt::{self, Question};
use super::cache::Cache;
use super::configure::{self, Configuration, needs_dpkg};
use super::container::Container;
use super::distribution::{self, Distribution};
use super::first_boot::FirstBoot;
use super::order::Order;
use super::package::Package;
use super::resolve::{self, Chosen, Request, closure, resolve};
use super::unpack::{self, Item, unpack};
use super::variant::Variant;
use super::{Source, archive, bare, deb, dpkg_database, extended_states};
use crate::container::ContainerCommand;
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};
use crate::staging::{self, Staging};
use crate::tree::{self, Tree};

/// Moves directories below /usr in an old system.
const MERGES: &str = "usrmerge";
/// Says that this has been done.
const MERGED: &str = "usr-is-merged";

/// Why there is no new system.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The programs of that architecture do not run here.
    #[error("packages for {wanted} cannot be configured on this machine ({})", .host.unwrap_or("of no architecture that Debian knows"))]
    Architecture {
        /// The one asked for.
        wanted: String,
        /// This machine's.
        host: Option<&'static str>,
    },
    /// The place for it cannot be used.
    #[error(transparent)]
    Staging(#[from] staging::Error),
    /// The archive cannot be fetched or trusted.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// No set of packages does what is asked.
    #[error("the packages cannot be chosen")]
    Resolve(#[from] resolve::Error),
    /// The tree cannot be opened.
    #[error("cannot open '{path}'")]
    Open {
        /// The tree.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A package cannot be unpacked.
    #[error("the packages cannot be unpacked")]
    Unpack(#[from] unpack::Error),
    /// dpkg failed.
    #[error(transparent)]
    Configure(#[from] configure::Error),
    /// A file of the tree cannot be read or written.
    #[error("the system cannot be made ready")]
    Tree(#[from] tree::Error),
    /// It was asked to stop.
    #[error("interrupted; nothing is left but the files fetched so far")]
    Interrupted,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let full = Some("make room on that file system, or choose another one");
        match self {
            Self::Architecture { .. } => Some("install it on a machine of that architecture: nothing is emulated"),
            Self::Staging(staging::Error::Occupied(_)) => Some("name a directory that does not exist yet"),
            Self::Staging(staging::Error::Io { source, .. }) if tree::is_full(source) => full,
            Self::Archive(error) => error.hint(),
            Self::Resolve(resolve::Error::Unknown(_)) => {
                Some("look for a misspelling, or add the component that has it with --components")
            }
            Self::Tree(error) | Self::Unpack(unpack::Error::Tree { source: error, .. }) if error.is_full() => full,
            Self::Configure(configure::Error::Tree(error)) if error.is_full() => full,
            Self::Configure(configure::Error::Failed { output, .. }) if output.contains("No space left on device") => {
                full
            }
            Self::Unpack(unpack::Error::Deb { source: deb::Error::Damaged(_), .. } | unpack::Error::Data { .. }) => {
                Some("the file is as the archive's index says, so the package itself is broken: report it there")
            }
            _ => None,
        }
    }
}

/// What is to be installed, where, and how.
#[derive(Debug, Clone)]
pub struct Installation<'a> {
    /// The distribution.
    pub distribution: Distribution,
    /// Where its packages come from.
    pub source: &'a Source,
    /// Where fetched files are kept.
    pub cache: &'a Cache,
    /// How much of it.
    pub variant: Variant,
    /// More packages.
    pub include: &'a BTreeSet<String>,
    /// Packages that must not be installed.
    pub exclude: &'a BTreeSet<String>,
    /// The directory that the system comes to; missing or empty.
    pub target: &'a Path,
    /// The system's name in its network.
    pub hostname: &'a str,
    /// Leave it as the packages are, as mmdebstrap does, instead of making it ready for its first boot.
    pub bare: bool,
    /// How containers are run.
    pub container: &'a ContainerCommand,
}

impl Installation<'_> {
    /// Does it, and says how many packages it has installed.
    ///
    /// # Errors
    /// The first failure. The target is then as it was; what has been fetched stays in the cache.
    pub fn run(&self, progress: &dyn Progress, interrupt: &Interrupt) -> Result<usize, Error> {
        let host = distribution::host_architecture();
        if !runs_here(&self.source.architecture, host) {
            return Err(Error::Architecture { wanted: self.source.architecture.clone(), host });
        }
        Staging::check(self.target)?;
        let archive = Archive::open(self.source, self.cache, progress)?;
        progress.begin(Phase::Resolve, 0, 0);
        let chosen = self.choose(archive.packages());
        progress.end(Phase::Resolve);
        let Chosen { packages, wanted } = chosen?;
        let files = archive.download(&packages, progress)?;
        let items: Vec<Item> =
            packages.into_iter().zip(files).map(|(package, file)| Item { package: package.clone(), file }).collect();
        if interrupt.is_wanted() {
            return Err(Error::Interrupted);
        }
        self.build((&items, &wanted), progress, interrupt)?;
        Ok(items.len())
    }

    /// The packages to install, dependencies first.
    ///
    /// # Errors
    /// Where they cannot be had together.
    pub fn choose<'p>(&self, available: &'p [Package]) -> Result<Chosen<'p>, resolve::Error> {
        let packages = self.wanted(available);
        let request = Request { packages, exclude: self.exclude.clone() };
        let chosen = resolve(available, &request)?;
        // A program that merges directories into /usr is of no use where they are merged from the start.
        let is_there = |name: &str| available.iter().any(|package| package.name() == name);
        let merges = chosen.packages.iter().any(|package| package.name() == MERGES);
        if !merges || request.packages.contains(MERGES) || !is_there(MERGED) {
            return Ok(chosen);
        }
        let named = request.packages.contains(MERGED);
        let mut instead = request;
        instead.packages.insert(MERGED.to_owned());
        let Ok(mut other) = resolve(available, &instead) else { return Ok(chosen) };
        if !named {
            other.wanted.remove(MERGED);
        }
        Ok(other)
    }

    /// The names that were asked for, by the variant or themselves.
    fn wanted(&self, available: &[Package]) -> BTreeSet<String> {
        let mut packages = self.variant.packages(available);
        packages.retain(|name| !self.exclude.contains(name));
        packages.extend(self.include.iter().cloned());
        packages
    }

    /// Makes a system of package files, and of the names of those that were asked for.
    ///
    /// # Errors
    /// The first failure; nothing is left then.
    pub fn build(
        &self,
        what: (&[Item], &BTreeSet<String>),
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        interrupt.set_staged(true);
        let result = self.build_staged(what, progress, interrupt);
        interrupt.set_staged(false);
        match result {
            Err(_) if interrupt.is_wanted() => Err(Error::Interrupted),
            other => other,
        }
    }

    fn build_staged(
        &self,
        (items, wanted): (&[Item], &BTreeSet<String>),
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(), Error> {
        let staging = Staging::begin(self.target)?;
        let path = staging.path();
        let tree = Tree::open(path).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        // Packages that dpkg itself has to unpack; what it needs to run is never among them.
        let chosen: Vec<&Package> = items.iter().map(|item| &item.package).collect();
        let early = closure(&chosen, |package| package.is_essential() || package.priority() == "required")?;
        let (mut ours, mut left) = (Vec::new(), Vec::new());
        for item in items {
            let late = !early.contains(item.package.name()) && needs_dpkg(item)?;
            if late { left.push(item.clone()) } else { ours.push(item.clone()) }
        }
        let mut unpacked = unpack(&tree, &ours, progress, interrupt)?;
        let host = rustix::system::uname();
        let hostname = if self.bare { host.nodename().to_str().unwrap_or(self.hostname) } else { self.hostname };
        let container = Container { command: self.container, tree: path, hostname, keeps_resolver: self.bare };
        let order = self.order(Question { tree: &tree, container, items, wanted }, progress, interrupt)?;
        let places: HashMap<&str, usize> = order.unpacked().enumerate().map(|(place, name)| (name, place)).collect();
        unpacked.sort_by_key(|one| places.get(one.package.name()).copied());
        dpkg_database::write(&tree, &unpacked)?;
        if self.bare {
            bare::begin(&tree, self.source)?;
        }
        if tree.exists("usr/bin/dpkg") || !left.is_empty() {
            let (unpacked, left, order) = (&unpacked, &left, &order);
            Configuration { tree: &tree, container, order, unpacked, left }.run(progress, interrupt)?;
        }
        if tree.exists("etc/apt") {
            let automatic = order.automatic(wanted);
            extended_states::write(&tree, &automatic, &self.source.architecture)?;
        }
        if self.bare {
            bare::end(&tree)?;
        } else {
            FirstBoot { distribution: self.distribution, source: self.source, hostname: self.hostname }
                .prepare(&tree)?;
        }
        if interrupt.is_wanted() {
            return Err(Error::Interrupted);
        }
        Ok(staging.finish()?)
    }

    /// The order in which the packages count as unpacked and are configured.
    fn order(&self, question: Question<'_>, progress: &dyn Progress, interrupt: &Interrupt) -> Result<Order, Error> {
        if question.tree.exists("usr/bin/apt-get") {
            match question.ask(interrupt) {
                Ok(order) => return Ok(order),
                Err(ask_apt::Error::Interrupted) => return Err(Error::Interrupted),
                Err(ask_apt::Error::Tree(error)) => return Err(error.into()),
                Err(error) => progress.notice(&told(&error)),
            }
        }
        Ok(Order::own(question.items)?)
    }
}

/// An error and its causes, and what comes of it.
fn told(error: &ask_apt::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    format!("{text}\nthe packages are installed in another order than apt's")
}

/// Whether this machine can run programs of the architecture.
fn runs_here(architecture: &str, host: Option<&str>) -> bool {
    host == Some(architecture) || (architecture == "i386" && host == Some("amd64"))
}
