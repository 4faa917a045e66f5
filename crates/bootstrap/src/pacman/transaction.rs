//! Package files are installed into a tree, as `pacman -U` does: looked through, checked against each other and against
//! what is there, unpacked, written down, their scripts and hooks run.
//!
//! Until all has been checked the tree is as it was. From then on, a run that fails or is killed leaves what it had begun
//! written in the tree (`db.lck`, and entries without `desc`), and the next one completes it.

mod commit;
mod hooks;

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::archive::{self, PackageArchive};
use super::conflict::{Conflicts, Search};
use super::local::{self, LocalDatabase, Reason, Validation};
use super::lock::{self, Beginning, Begun, Lock};
use super::log::{Log, Source};
use super::pattern::Patterns;
use super::scriptlet::{self, Runner};
use super::version::Version;
use super::{hook, space, unpack};
use crate::container::ContainerCommand;
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};
use crate::tree::{self, Tree};

/// Why packages are not installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A package file cannot be used.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// Two files hold the same package.
    #[error("package '{0}' is to be installed twice")]
    Twice(String),
    /// A package that is to be removed is not installed.
    #[error("package '{0}' cannot be removed: it is not installed")]
    NotInstalled(String),
    /// Files are in each other's way.
    #[error("files are in each other's way:{0}")]
    Conflicts(Conflicts),
    /// There is no room.
    #[error(transparent)]
    Space(#[from] space::Full),
    /// The database of what is installed cannot be used.
    #[error(transparent)]
    Database(#[from] local::Error),
    /// Somebody else is at work.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// A hook of the tree is wrong.
    #[error(transparent)]
    Hook(#[from] hook::Error),
    /// A hook that has to succeed did not.
    #[error("the hook '{0}' failed, without which nothing is installed")]
    HookFailed(String),
    /// A package cannot be unpacked.
    #[error(transparent)]
    Unpack(unpack::Error),
    /// A script cannot be run.
    #[error("the scripts of the packages cannot be run")]
    Script(#[source] scriptlet::Error),
    /// A file of the tree cannot be read or written.
    #[error("the packages cannot be installed")]
    Tree(#[from] tree::Error),
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl From<unpack::Error> for Error {
    fn from(error: unpack::Error) -> Self {
        match error {
            unpack::Error::Interrupted => Self::Interrupted,
            other => Self::Unpack(other),
        }
    }
}

impl From<scriptlet::Error> for Error {
    fn from(error: scriptlet::Error) -> Self {
        match error {
            scriptlet::Error::Interrupted => Self::Interrupted,
            other => Self::Script(other),
        }
    }
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        let room = Some("make room on that file system, or choose another one");
        match self {
            Self::Archive(error) | Self::Unpack(unpack::Error::Archive(error)) => error.hint(),
            Self::Conflicts(_) => {
                Some("remove or rename these files, or choose packages that do not have the same; nothing was changed")
            }
            Self::Space(_) => room,
            Self::Tree(error) | Self::Unpack(unpack::Error::Tree { source: error, .. }) if error.is_full() => room,
            Self::Lock(lock::Error::Tree(error)) if error.is_full() => room,
            Self::Lock(lock::Error::Foreign(_)) => Some("if no pacman runs there, remove that file"),
            Self::Lock(lock::Error::Held(_)) => Some("wait until that is done"),
            Self::Database(error) => error.hint(),
            Self::Hook(_) => Some("correct that file, or take it out of the tree"),
            _ => None,
        }
    }
}

/// A package file to be installed.
#[derive(Debug)]
pub struct PackageFile {
    /// Where it is.
    pub path: PathBuf,
    /// The file itself, where it is open already: what was verified is what is installed then.
    pub file: Option<Arc<File>>,
    /// The package that it has to hold: name and version.
    pub expected: Option<(String, Version)>,
    /// Why it is installed. A package that is installed already keeps its reason.
    pub reason: Reason,
    /// How it was checked.
    pub validation: Vec<Validation>,
}

/// How packages are installed: what pacman.conf(5) and the command line say. Paths are of the tree.
#[derive(Debug, Clone)]
pub struct Options {
    /// `DBPath`
    pub database: String,
    /// `LogFile`
    pub log: String,
    /// Where hooks are, the later ones before the earlier ones: `/usr/share/libalpm/hooks` and each `HookDir`.
    pub hook_directories: Vec<String>,
    /// `Architecture`; none allows all.
    pub architectures: Vec<String>,
    /// `NoExtract`
    pub no_extract: Patterns,
    /// `NoUpgrade`
    pub no_upgrade: Patterns,
    /// `--overwrite`
    pub overwrite: Patterns,
    /// `CheckSpace`
    pub check_space: bool,
    /// Whether scripts and hooks are run: not with `--noscriptlet`.
    pub scripts: bool,
    /// What was asked for, for the log.
    pub command_line: String,
}

impl Default for Options {
    /// As pacman does where nothing is said.
    fn default() -> Self {
        Self {
            database: "var/lib/pacman".to_owned(),
            log: "var/log/pacman.log".to_owned(),
            hook_directories: ["usr/share/libalpm/hooks", "etc/pacman.d/hooks"].map(str::to_owned).to_vec(),
            architectures: Vec::new(),
            no_extract: Patterns::default(),
            no_upgrade: Patterns::default(),
            overwrite: Patterns::default(),
            check_space: false,
            scripts: true,
            command_line: String::new(),
        }
    }
}

/// Packages to be installed into a tree, and others to be removed from it.
#[derive(Debug)]
pub struct Transaction<'a> {
    /// The tree.
    pub tree: &'a Tree,
    /// The path of the tree, for containers.
    pub path: &'a Path,
    /// What is installed, in this order.
    pub packages: &'a [PackageFile],
    /// The names of what is removed before.
    pub removals: &'a [String],
    /// How.
    pub options: &'a Options,
    /// How containers are run.
    pub container: &'a ContainerCommand,
}

impl Transaction<'_> {
    /// Does it.
    ///
    /// # Errors
    /// The first failure. Where it is one of the checks, nothing has been changed.
    pub fn run(&self, progress: &dyn Progress, interrupt: &Interrupt) -> Result<(), Error> {
        // Until something is begun, each way out gives it back.
        let lock = Lock::take(self.tree, &self.options.database)?;
        let (archives, database) = self.check(progress, interrupt)?;
        // What a killed run has removed in part goes, unless it comes again.
        let comes = |name: &str| archives.iter().any(|archive| archive.package.name == name);
        let leaving = database.leaving().filter(|name| !comes(name)).map(str::to_owned);
        let own: HashSet<&String> = self.removals.iter().collect();
        let leaving: Vec<String> = leaving.filter(|name| !own.contains(name)).collect();
        let removals = [self.removals, &*leaving].concat();
        let whole = Transaction { removals: &removals, ..*self };
        whole.carry_out(lock, &archives, database, (progress, interrupt))
    }

    /// Does what has been checked.
    fn carry_out(
        &self,
        mut lock: Lock<'_>,
        archives: &[PackageArchive],
        mut database: LocalDatabase<'_>,
        (progress, interrupt): (&dyn Progress, &Interrupt),
    ) -> Result<(), Error> {
        let log = Log::open(self.tree, &self.options.log)?;
        if !self.options.command_line.is_empty() {
            log.write(Source::Caller, &format!("Running '{}'", self.options.command_line))?;
        }
        let script = format!("{}/.script", self.options.database.trim_matches('/'));
        let (tree, path, container, log) = (self.tree, self.path, self.container, &log);
        let runner = Runner { tree, path, container, log, progress, interrupt, script };
        let changes = self.changes(archives, &database);
        self.pre_hooks(&runner, &changes, &database)?;
        let begun = self.beginnings(archives, &database);
        lock.begin(begun.clone())?;
        // That of a killed run.
        tree.remove(&runner.script)?;
        log.write(Source::Transaction, "transaction started")?;
        if let Err(error) = self.commit(&runner, archives, &mut database) {
            if let Err(unwritten) = log.write(Source::Transaction, "transaction interrupted") {
                progress.notice(&unwritten.to_string());
            }
            return Err(error);
        }
        log.write(Source::Transaction, "transaction completed")?;
        if self.options.scripts {
            runner.ldconfig()?;
        }
        self.post_hooks(&runner, &changes, &database)?;
        // Another package that a killed run had begun, and that is there, is still to be completed.
        Ok(lock.finish(|name| begun.contains_key(name) || database.find(name).is_none())?)
    }

    /// What is about to be done with each package.
    fn beginnings(&self, archives: &[PackageArchive], database: &LocalDatabase<'_>) -> Begun {
        let removed = self.removals.iter().map(|name| (name.clone(), Beginning::Remove));
        let installed = archives.iter().zip(self.packages).map(|(archive, file)| {
            let name = &archive.package.name;
            let beginning = match file.reason {
                _ if database.find(name).is_some() => Beginning::Upgrade,
                Reason::Explicit => Beginning::Explicit,
                Reason::Dependency => Beginning::Dependency,
            };
            (name.clone(), beginning)
        });
        removed.chain(installed).collect()
    }

    /// All that can be known before something is changed.
    fn check(
        &self,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(Vec<PackageArchive>, LocalDatabase<'_>), Error> {
        progress.begin(Phase::Check, self.packages.len() as u64, 0);
        let result = self.check_all(progress, interrupt);
        progress.end(Phase::Check);
        result
    }

    fn check_all(
        &self,
        progress: &dyn Progress,
        interrupt: &Interrupt,
    ) -> Result<(Vec<PackageArchive>, LocalDatabase<'_>), Error> {
        let archives = self.read_archives(progress, interrupt)?;
        let mut names: HashSet<&str> = HashSet::new();
        for archive in &archives {
            if !names.insert(&archive.package.name) {
                return Err(Error::Twice(archive.package.name.clone()));
            }
        }
        let database = LocalDatabase::read(self.tree, &self.options.database)?;
        if let Some(missing) = self.removals.iter().find(|name| database.find(name).is_none()) {
            return Err(Error::NotInstalled(missing.clone()));
        }
        names.extend(self.removals.iter().map(String::as_str).chain(database.leaving()));
        let gone = database.installed().iter().filter(|one| names.contains(&*one.package.name));
        let gone = gone.map(|one| one.package.installed_size).fold(0_u64, u64::saturating_add);
        let conflicts = Search::new(self.tree, &database, names, &self.options.overwrite).all(&archives)?;
        if !conflicts.is_empty() {
            return Err(Error::Conflicts(Conflicts(conflicts)));
        }
        if self.options.check_space {
            space::check(self.tree, &archives, gone)??;
        }
        Ok((archives, database))
    }

    /// Looks all package files through, several at once.
    fn read_archives(&self, progress: &dyn Progress, interrupt: &Interrupt) -> Result<Vec<PackageArchive>, Error> {
        let slots: Vec<Mutex<Option<Result<PackageArchive, Error>>>> =
            self.packages.iter().map(|_| Mutex::new(None)).collect();
        each(self.packages.len(), |index| {
            let file = &self.packages[index];
            let read = match &file.file {
                Some(open) => PackageArchive::read_open(Arc::clone(open), &file.path),
                None => PackageArchive::read(&file.path),
            };
            let result = read.and_then(|archive| {
                let expected = file.expected.as_ref().map(|(name, version)| (&**name, version));
                archive.check(expected, &self.options.architectures).map(|()| archive)
            });
            if let Ok(archive) = &result {
                progress.item(Phase::Check, &archive.package.name);
            }
            let failed = result.is_err();
            *slots[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result.map_err(Error::from));
            !failed && !interrupt.is_wanted()
        });
        slots
            .into_iter()
            .filter_map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner))
            .collect::<Result<Vec<_>, _>>()
            .and_then(
                |archives| {
                    if archives.len() == self.packages.len() { Ok(archives) } else { Err(Error::Interrupted) }
                },
            )
    }

    /// What the transaction does, as hooks see it.
    fn changes(&self, archives: &[PackageArchive], database: &LocalDatabase<'_>) -> hook::Changes {
        use hook::Operation::{Install, Remove, Upgrade};
        let mut changes = hook::Changes::default();
        let mut paths: HashMap<Vec<u8>, (bool, bool)> = HashMap::new();
        for archive in archives {
            let before = database.find(&archive.package.name);
            let before = before.filter(|_| !database.was_new(&archive.package.name));
            let operation = if before.is_some() { Upgrade } else { Install };
            changes.packages.insert(archive.package.name.clone().into_bytes(), vec![operation]);
            for path in local::listed(archive) {
                if !self.options.no_extract.match_path(&path) {
                    paths.entry(path).or_default().0 = true;
                }
            }
            for path in before.into_iter().flat_map(|before| &before.files) {
                paths.entry(path.clone()).or_default().1 = true;
            }
        }
        for removed in self.removals.iter().filter_map(|name| database.find(name)) {
            changes.packages.entry(removed.package.name.clone().into_bytes()).or_insert_with(|| vec![Remove]);
            for path in &removed.files {
                paths.entry(path.clone()).or_default().1 = true;
            }
        }
        changes.paths = paths
            .into_iter()
            .map(|(path, comes_and_goes)| {
                let operation = match comes_and_goes {
                    (true, true) => Upgrade,
                    (true, false) => Install,
                    _ => Remove,
                };
                (path, vec![operation])
            })
            .collect();
        changes
    }
}

/// Calls `work` for each number below `count`, several at once, until it says no.
fn each(count: usize, work: impl Fn(usize) -> bool + Sync) {
    let next = AtomicUsize::new(0);
    let run = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            if !work(index) {
                next.fetch_max(count, Ordering::Relaxed);
            }
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, |threads| threads.get().min(16)).min(count);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(run);
        }
        run();
    });
}
