//! What changes the tree: packages are removed, unpacked, written down, and their scripts run, in order.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::archive::{self, PackageArchive};
use super::super::local::{self, Installed, LocalDatabase};
use super::super::log::Source;
use super::super::remove::{Counts, Removal};
use super::super::scriptlet::{Function, Runner};
use super::super::unpack::{Unpacked, Unpacking, hash, hash_of};
use super::{Error, PackageFile, Transaction, each};
use crate::extract::Directories;
use crate::progress::Phase;
use crate::tar_reader::lossy;

impl Transaction<'_> {
    /// Removes and installs.
    ///
    /// # Errors
    /// The first failure.
    pub(super) fn commit(
        &self,
        runner: &Runner<'_>,
        archives: &[PackageArchive],
        database: &mut LocalDatabase<'_>,
    ) -> Result<(), Error> {
        let size = archives.iter().map(|archive| archive.package.installed_size).fold(0, u64::saturating_add);
        runner.progress.begin(Phase::Unpack, archives.len() as u64, size);
        let mut commit = Commit {
            transaction: self,
            runner,
            directories: Directories::default(),
            installed: Counts::default(),
            incoming: Counts::default(),
            unfinished: database.unfinished().iter().map(|one| one.name().to_owned()).collect(),
        };
        let result = commit.run(archives, database);
        runner.progress.end(Phase::Unpack);
        result
    }
}

/// A transaction that is being carried out.
struct Commit<'a> {
    transaction: &'a Transaction<'a>,
    runner: &'a Runner<'a>,
    directories: Directories,
    /// The paths of what is installed, and of what will be; empty where nothing can have to be removed.
    installed: Counts,
    incoming: Counts,
    /// The packages of which a killed run has left a part.
    unfinished: HashSet<String>,
}

impl Commit<'_> {
    fn run(&mut self, archives: &[PackageArchive], database: &mut LocalDatabase<'_>) -> Result<(), Error> {
        if !database.installed().is_empty() || !database.unfinished().is_empty() {
            for one in database.installed() {
                self.installed.add(&one.files);
            }
            for archive in archives {
                self.incoming.add(&local::listed(archive));
            }
        }
        self.remove_unfinished(archives, database)?;
        for name in self.transaction.removals {
            self.remove(name, database)?;
        }
        let mut next = 0;
        while next < archives.len() {
            let end = next + self.together(&archives[next..], database);
            self.install(next, &archives[next..end], database)?;
            next = end;
        }
        Ok(())
    }

    /// Removes what killed runs have left of packages that they did not install to their end. Of those that are installed
    /// now, it is what the new files will not replace.
    fn remove_unfinished(&self, archives: &[PackageArchive], database: &mut LocalDatabase<'_>) -> Result<(), Error> {
        let kept = |path: &[u8]| self.installed.has(path) || self.incoming.has(path);
        for unfinished in database.unfinished().to_vec() {
            self.removal(&kept).remove_left(&unfinished)?;
            let name = unfinished.name();
            if database.find(name).is_none() && !archives.iter().any(|archive| archive.package.name == name) {
                database.forget(name, None)?;
            }
        }
        Ok(())
    }

    fn removal<'b>(&'b self, kept: &'b dyn Fn(&[u8]) -> bool) -> Removal<'b> {
        Removal { tree: self.transaction.tree, kept, no_upgrade: &self.transaction.options.no_upgrade }
    }

    /// Removes a package.
    fn remove(&mut self, name: &str, database: &mut LocalDatabase<'_>) -> Result<(), Error> {
        let Some(package) = database.find(name).cloned() else { return Ok(()) };
        let version = &package.package.version;
        let entry = database.entry_directory(name, version);
        let script = self.transaction.tree.read(&format!("{entry}/install"))?.unwrap_or_default();
        self.function(&script, Function::PreRemove(version.as_str()))?;
        self.installed.take(&package.files);
        self.say(&self.removal(&|path| self.installed.has(path)).remove(&package)?)?;
        database.forget(name, None)?;
        self.log(&format!("removed {name} ({version})"))?;
        self.function(&script, Function::PostRemove(version.as_str()))
    }

    /// How many of the packages can be unpacked at the same time so that no script sees a difference: new ones without a
    /// script before, up to one with a script after.
    fn together(&self, archives: &[PackageArchive], database: &LocalDatabase<'_>) -> usize {
        let mut count = 0;
        for archive in archives {
            let script = self.script(archive);
            let alone = database.find(&archive.package.name).is_some() || Function::PreInstall("").is_in(script);
            if alone {
                return count.max(1);
            }
            count += 1;
            if Function::PostInstall("").is_in(script) {
                break;
            }
        }
        count
    }

    fn script<'b>(&self, archive: &'b PackageArchive) -> &'b [u8] {
        archive.install.as_deref().filter(|_| self.transaction.options.scripts).unwrap_or_default()
    }

    /// Runs a function of a script. That it fails does not end the transaction.
    fn function(&self, script: &[u8], function: Function<'_>) -> Result<(), Error> {
        if self.transaction.options.scripts {
            self.runner.function(script, function)?;
        }
        Ok(())
    }

    /// Installs packages of which at most the only one has something before, and at most the last something after; the first
    /// is the one of that number among all.
    fn install(
        &mut self,
        number: usize,
        archives: &[PackageArchive],
        database: &mut LocalDatabase<'_>,
    ) -> Result<(), Error> {
        for archive in archives {
            database.begin(archive)?;
        }
        if let [archive] = archives {
            self.before(archive, database)?;
        }
        let failed = AtomicBool::new(false);
        let options = self.transaction.options;
        let job = Unpacking {
            tree: self.transaction.tree,
            directories: &self.directories,
            no_extract: &options.no_extract,
            no_upgrade: &options.no_upgrade,
            interrupt: self.runner.interrupt,
            failed: &failed,
        };
        let unpacked = unpack_all(&job, number, archives, database);
        for ((archive, unpacked), file) in archives.iter().zip(unpacked).zip(&self.transaction.packages[number..]) {
            self.finish(archive, unpacked?, file, database)?;
        }
        Ok(())
    }

    /// What comes before a package is unpacked: its script, and what the version before had and this one has not.
    fn before(&mut self, archive: &PackageArchive, database: &LocalDatabase<'_>) -> Result<(), Error> {
        let Some(before) = database.find(&archive.package.name) else {
            return self.function(self.script(archive), Function::PreInstall(archive.package.version.as_str()));
        };
        let (new, old) = (archive.package.version.as_str(), before.package.version.as_str());
        let was_new = database.was_new(&archive.package.name);
        let function = if was_new { Function::PreInstall(new) } else { Function::PreUpgrade(new, old) };
        self.function(self.script(archive), function)?;
        self.installed.take(&before.files);
        // What is not to be extracted any more goes, too.
        let backup = |path: &[u8]| archive.package.backup.iter().any(|backup| backup.as_bytes() == path);
        let no_extract = &self.transaction.options.no_extract;
        let saved = self.saved(archive, before)?;
        let comes = |path: &[u8]| {
            let stays = path.ends_with(b"/") || backup(path) || !no_extract.match_path(path);
            self.incoming.has(path) && stays && !saved.contains(path)
        };
        let kept = |path: &[u8]| self.installed.has(path) || comes(path);
        self.say(&self.removal(&kept).remove(before)?)
    }

    /// The files of the version before that kept changes and, in the new one, do not any more: what was changed in them
    /// is saved before they are replaced. A file that another package takes over is that one's matter.
    fn saved(&self, archive: &PackageArchive, before: &Installed) -> Result<HashSet<Vec<u8>>, Error> {
        let kept: HashSet<&str> = archive.package.backup.iter().map(String::as_str).collect();
        let own: HashSet<&[u8]> = archive.files.iter().map(|file| &*file.path).collect();
        let ended = before.backup.iter().map(|(path, _)| path);
        let ended = ended.filter(|path| !kept.contains(&***path) && own.contains(path.as_bytes()));
        let mut saved: HashSet<Vec<u8>> = ended.map(|path| path.clone().into_bytes()).collect();
        if !saved.is_empty() && self.unfinished.contains(&archive.package.name) {
            // A killed run may have come so far as to put the new ones there.
            let mut entries = archive.entries()?;
            while let Some(entry) = entries.next_entry()? {
                let Some(path) = saved.get(&entry.path) else { continue };
                let now = hash(self.transaction.tree, path)?;
                let new = hash_of(&mut entries)
                    .map_err(|error| archive::Error { path: archive.path.clone(), source: error.into() })?;
                if now == Some(new) {
                    saved.remove(&entry.path);
                }
            }
        }
        Ok(saved)
    }

    /// Writes an unpacked package down, and runs its script.
    fn finish(
        &mut self,
        archive: &PackageArchive,
        unpacked: Unpacked,
        file: &PackageFile,
        database: &mut LocalDatabase<'_>,
    ) -> Result<(), Error> {
        for (path, said, found) in &unpacked.modes {
            let there = self.directories.mode(*found);
            if there != *said {
                let path = lossy(path);
                let text =
                    format!("directory permissions differ on /{path}/\nfilesystem: {there:o}  package: {said:o}");
                self.say(&[format!("warning: {text}")])?;
            }
        }
        self.say(&unpacked.messages)?;
        let package = archive.package.clone();
        let before = database.find(&package.name).map(|before| (before.package.version.clone(), before.reason));
        let was_new = database.was_new(&package.name);
        let installed = Installed {
            package: package.clone(),
            reason: before.as_ref().filter(|_| !was_new).map_or(file.reason, |(_, reason)| *reason),
            validation: file.validation.clone(),
            install_date: jiff::Timestamp::now().as_second(),
            files: local::listed(archive),
            backup: unpacked.backup,
        };
        self.installed.add(&installed.files);
        database.finish(archive, installed)?;
        let version = &package.version;
        let before = before.map(|(before, _)| before).filter(|_| !was_new);
        self.log(&match &before {
            None => format!("installed {} ({version})", package.name),
            Some(before) => match version.compare(before) {
                std::cmp::Ordering::Greater => format!("upgraded {} ({before} -> {version})", package.name),
                std::cmp::Ordering::Equal => format!("reinstalled {} ({version})", package.name),
                std::cmp::Ordering::Less => format!("downgraded {} ({before} -> {version})", package.name),
            },
        })?;
        self.runner.progress.advance(Phase::Unpack, package.installed_size);
        self.runner.progress.item(Phase::Unpack, &package.name);
        let function = match &before {
            None => Function::PostInstall(version.as_str()),
            Some(before) => Function::PostUpgrade(version.as_str(), before.as_str()),
        };
        self.function(self.script(archive), function)
    }

    /// Tells a person, and the log.
    fn say(&self, messages: &[String]) -> Result<(), Error> {
        for message in messages {
            self.runner.progress.notice(message);
            self.log(message)?;
        }
        Ok(())
    }

    fn log(&self, text: &str) -> Result<(), Error> {
        Ok(self.runner.log.write(Source::Transaction, text)?)
    }
}

/// Unpacks packages, several at once, the largest first so that none of them is left for the end. The results have the order
/// of the packages; where one failed, others may not have been unpacked because of it and say that they were interrupted:
/// the failure then takes their place.
fn unpack_all(
    job: &Unpacking<'_>,
    number: usize,
    archives: &[PackageArchive],
    database: &LocalDatabase<'_>,
) -> Vec<Result<Unpacked, Error>> {
    let mut order: Vec<usize> = (0..archives.len()).collect();
    order.sort_by_key(|&index| std::cmp::Reverse(archives[index].package.installed_size));
    let slots: Vec<Mutex<Option<Result<Unpacked, Error>>>> = archives.iter().map(|_| Mutex::new(None)).collect();
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    each(archives.len(), |place| {
        let index = order[place];
        let archive = &archives[index];
        let result = job.unpack(number + index, archive, database.find(&archive.package.name));
        let result = result.map_err(Error::from);
        let done = result.is_ok();
        if let Err(error) = result {
            let first = !job.failed.swap(true, Ordering::SeqCst);
            if first {
                *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        } else {
            *slots[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
        done
    });
    let mut failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    slots
        .into_iter()
        .map(|slot| {
            let done = slot.into_inner().unwrap_or_else(PoisonError::into_inner);
            done.unwrap_or_else(|| Err(failure.take().unwrap_or(Error::Interrupted)))
        })
        .collect()
}
