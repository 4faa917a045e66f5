//! Puts the files of a package into a tree, by pacman's rules for what is there already.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};

use md5::{Digest, Md5};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::archive::{self, Entries, PackageArchive};
use super::local::{Backup, Installed};
use super::pattern::Patterns;
use crate::extract::{Directories, Extractor, Found, Outcome, is_taken_over};
use crate::interrupt::Interrupt;
use crate::tar_reader::{Entry, Kind, lossy};
use crate::tree::{self, Tree};

/// Why the files of a package are not in the tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The package file is damaged.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A file cannot be made.
    #[error("package '{package}'")]
    Tree {
        /// The package.
        package: String,
        /// What is wrong.
        source: tree::Error,
    },
    /// Something has come to a path since it was looked at.
    #[error("package '{package}': something is in the way of '/{path}' in the tree")]
    InTheWay {
        /// The package.
        package: String,
        /// The path.
        path: String,
    },
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The same of a file by the name that it is to have.
    fn of_path(mut self, name: &[u8]) -> Self {
        match &mut self {
            Self::Tree { source, .. } => source.path = tree::shown(name),
            Self::InTheWay { path, .. } => *path = lossy(name),
            Self::Archive(_) | Self::Interrupted => {}
        }
        self
    }
}

/// What is unpacked how.
pub(crate) struct Unpacking<'a> {
    pub(crate) tree: &'a Tree,
    pub(crate) directories: &'a Directories,
    pub(crate) no_extract: &'a Patterns,
    pub(crate) no_upgrade: &'a Patterns,
    pub(crate) interrupt: &'a Interrupt,
    /// Another package has failed.
    pub(crate) failed: &'a AtomicBool,
}

/// A package that is in the tree.
#[derive(Debug, Default)]
pub(crate) struct Unpacked {
    /// The files that keep changes, each as the package has it.
    pub(crate) backup: Backup,
    /// What a person should know.
    pub(crate) messages: Vec<String>,
    /// Its directories, the mode that it says of each, and what was there.
    pub(crate) modes: Vec<(Vec<u8>, u32, Found)>,
}

/// One package, being unpacked.
struct One<'a> {
    job: &'a Unpacking<'a>,
    package: &'a str,
    /// The MD5 of files as the version before had them.
    before: BTreeMap<&'a [u8], &'a str>,
    backup: HashSet<&'a [u8]>,
    extractor: Extractor<'a>,
    /// The MD5 of what keeps changes, as the package has it.
    hashes: BTreeMap<Vec<u8>, String>,
    unpacked: Unpacked,
}

impl Unpacking<'_> {
    /// Unpacks a package, the one of that number among all, in place of `before`, which it may find.
    ///
    /// # Errors
    /// Where it is damaged or a file cannot be made; a part of its files is in the tree then.
    pub(crate) fn unpack(
        &self,
        number: usize,
        archive: &PackageArchive,
        before: Option<&Installed>,
    ) -> Result<Unpacked, Error> {
        let hashes = before.into_iter().flat_map(|before| &before.backup);
        let mut one = One {
            job: self,
            package: &archive.package.name,
            before: hashes.filter_map(|(path, hash)| Some((path.as_bytes(), hash.as_deref()?))).collect(),
            backup: archive.package.backup.iter().map(String::as_bytes).collect(),
            extractor: Extractor::new(self.tree, self.directories, number),
            hashes: BTreeMap::new(),
            unpacked: Unpacked::default(),
        };
        let mut entries = archive.entries()?;
        while let Some(entry) = entries.next_entry()? {
            if self.interrupt.is_wanted() || self.failed.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            if !self.no_extract.match_path(&slashed(&entry)) {
                one.entry(entry, &mut entries)?;
            }
        }
        let hash = |path: &String| (path.clone(), one.hashes.remove(path.as_bytes()));
        one.unpacked.backup = archive.package.backup.iter().map(hash).collect();
        Ok(one.unpacked)
    }
}

impl One<'_> {
    fn entry(&mut self, mut entry: Entry, content: &mut Entries<'_>) -> Result<(), Error> {
        let dropped: Vec<String> =
            entry.xattrs.iter().filter(|(name, _)| !is_taken_over(name)).map(|(name, _)| lossy(name)).collect();
        entry.xattrs.retain(|(name, _)| is_taken_over(name));
        for name in dropped {
            self.message(format!("warning: the attribute {name} of /{} is left out", lossy(&entry.path)));
        }
        if entry.kind == Kind::Directory {
            let found = self.extractor.keep_directory(&entry).map_err(|source| self.error(source))?;
            let found = found.ok_or_else(|| self.in_the_way(&entry.path))?;
            self.unpacked.modes.push((entry.path, entry.mode, found));
            return Ok(());
        }
        let keeps = self.backup.contains(&*entry.path);
        if keeps || self.job.no_upgrade.match_path(&entry.path) {
            return self.beside(entry, content, keeps);
        }
        self.put(&entry, content)
    }

    /// Puts a file where it belongs, in place of whatever file is there.
    fn put(&mut self, entry: &Entry, content: &mut Entries<'_>) -> Result<(), Error> {
        let mut outcome = self.extract(entry, content)?;
        if outcome != Outcome::Made {
            // The content has not been read yet.
            self.extractor.set_replacing(true);
            outcome = self.extract(entry, content)?;
            self.extractor.set_replacing(false);
        }
        if outcome == Outcome::Made { Ok(()) } else { Err(self.in_the_way(&entry.path)) }
    }

    fn extract(&mut self, entry: &Entry, content: &mut Entries<'_>) -> Result<Outcome, Error> {
        self.extractor.extract(entry, content).map_err(|source| self.error(source))
    }

    /// Puts a file beside the one that is there, or is not, then decides which of them stays; see pacman(8), "Handling config
    /// files". One that is there is kept by the next run: so it is never there in part.
    fn beside(&mut self, mut entry: Entry, content: &mut Entries<'_>, keeps: bool) -> Result<(), Error> {
        let path = std::mem::take(&mut entry.path);
        let exists = self.exists(&path);
        let current = if exists { self.hash(&path)? } else { None };
        // A `.pacnew` of before stays where none is needed now.
        entry.path = tree::part_path(&path);
        if let Err(error) = self.put(&entry, content) {
            // That it cannot be removed either is not what went wrong first.
            let _ = self.job.tree.remove_bytes(&entry.path);
            return Err(error.of_path(&path));
        }
        let new = if keeps || exists { self.hash(&entry.path)? } else { None };
        if let Some(new) = &new
            && keeps
        {
            self.hashes.insert(path.clone(), new.clone());
        }
        let before = self.before.get(&*path).map(|hash| (*hash).to_owned());
        let tree = self.job.tree;
        let mut becomes = [&*path, b".pacnew"].concat();
        if !exists {
            becomes.clone_from(&path);
        } else if !self.job.no_upgrade.match_path(&path) {
            if current.is_some() && (current == before || current == new) {
                becomes.clone_from(&path);
            } else if new.is_some() && new == before {
                return tree.remove_bytes(&entry.path).map_err(|source| self.error(source));
            }
        }
        tree.rename_bytes(&entry.path, &becomes).map_err(|source| self.error(source))?;
        if entry.kind == Kind::HardLink {
            // Of two names of one file neither is taken away: rename(2).
            tree.remove_bytes(&entry.path).map_err(|source| self.error(source))?;
        }
        if becomes != path {
            self.message(format!("warning: /{path} installed as /{path}.pacnew", path = lossy(&path)));
        }
        Ok(())
    }

    fn exists(&self, path: &[u8]) -> bool {
        self.job.tree.open_at(path, OFlags::PATH | OFlags::NOFOLLOW).is_ok()
    }

    fn hash(&self, path: &[u8]) -> Result<Option<String>, Error> {
        hash(self.job.tree, path).map_err(|source| self.error(source))
    }

    fn message(&mut self, text: String) {
        self.unpacked.messages.push(text);
    }

    fn error(&self, source: tree::Error) -> Error {
        Error::Tree { package: self.package.to_owned(), source }
    }

    fn in_the_way(&self, path: &[u8]) -> Error {
        Error::InTheWay { package: self.package.to_owned(), path: lossy(path) }
    }
}

/// The path as patterns are compared with: directories end with a slash.
fn slashed(entry: &Entry) -> Vec<u8> {
    let mut path = entry.path.clone();
    if entry.kind == Kind::Directory {
        path.push(b'/');
    }
    path
}

/// The MD5 of a file in the tree, links followed inside it; `None` where there is none, or something that is no file.
///
/// # Errors
/// Where it cannot be read.
pub(crate) fn hash(tree: &Tree, path: &[u8]) -> Result<Option<String>, tree::Error> {
    let error = |source| tree::Error { action: "read", path: tree::shown(path), source };
    let file = match tree.open_file(path, OFlags::RDONLY) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        other => other.map_err(|errno| error(errno.into()))?,
    };
    let Some(mut file) = file else { return Ok(None) };
    hash_of(&mut file).map(Some).map_err(error)
}

/// The MD5 of all that can be read.
///
/// # Errors
/// Where reading fails.
pub(crate) fn hash_of(content: &mut impl Read) -> io::Result<String> {
    let (mut md5, mut buffer) = (Md5::new(), vec![0; 1 << 16]);
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            read => md5.update(&buffer[..read]),
        }
    }
    Ok(md5.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests;
