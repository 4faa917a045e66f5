//! Files that are in each other's way, found before anything is written.

use std::collections::{HashMap, HashSet};
use std::fmt;

use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::archive::{PackageArchive, above};
use super::local::LocalDatabase;
use super::pattern::Patterns;
use crate::tar_reader::lossy;
use crate::tree::{self, Tree};

/// How many are shown.
const MOST_SHOWN: usize = 20;

/// A file that cannot be put where it belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conflict {
    /// Two packages have it.
    Both {
        /// The file.
        path: String,
        /// One package.
        first: String,
        /// The other.
        second: String,
    },
    /// Something is there already.
    Exists {
        /// The package.
        package: String,
        /// The file.
        path: String,
        /// The package that it belongs to.
        owner: Option<String>,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Both { path, first, second } => write!(f, "'/{path}' is in both '{first}' and '{second}'"),
            Self::Exists { package, path, owner: None } => {
                write!(f, "package '{package}': '/{path}' exists in the tree")
            }
            Self::Exists { package, path, owner: Some(owner) } => {
                write!(f, "package '{package}': '/{path}' exists in the tree (owned by '{owner}')")
            }
        }
    }
}

/// All conflicts, for people: one a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl fmt::Display for Conflicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for conflict in self.0.iter().take(MOST_SHOWN) {
            write!(f, "\n{conflict}")?;
        }
        match self.0.len().checked_sub(MOST_SHOWN) {
            Some(more) if more > 0 => write!(f, "\nand {more} more"),
            _ => Ok(()),
        }
    }
}

/// What is at a path of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    Nothing,
    Directory,
    /// A file, a link, …
    Other,
}

/// Looks for conflicts of packages that are to be installed together.
pub(crate) struct Search<'a> {
    tree: &'a Tree,
    /// Whose files may be overwritten, for they go: the names of packages that are replaced or removed.
    going: HashSet<&'a str>,
    overwrite: &'a Patterns,
    /// The packages of installed files; directories are not among them.
    owners: HashMap<&'a [u8], &'a str>,
    /// The packages of installed directories.
    directories: HashMap<&'a [u8], Vec<&'a str>>,
    /// What packages have left that were not installed to their end.
    left: HashSet<&'a [u8]>,
    /// Directories that have been looked at.
    seen: HashMap<Vec<u8>, There>,
}

impl<'a> Search<'a> {
    pub(crate) fn new(
        tree: &'a Tree,
        database: &'a LocalDatabase<'a>,
        going: HashSet<&'a str>,
        overwrite: &'a Patterns,
    ) -> Self {
        let (mut owners, mut directories) = (HashMap::new(), HashMap::<&[u8], Vec<&str>>::new());
        for one in database.installed() {
            for path in &one.files {
                match path.strip_suffix(b"/") {
                    Some(path) => directories.entry(path).or_default().push(&one.package.name),
                    None => drop(owners.insert(&**path, &*one.package.name)),
                }
            }
        }
        let left = database.unfinished().iter().flat_map(|one| &one.files);
        let left = left.map(|path| path.strip_suffix(b"/").unwrap_or(path)).collect();
        Self { tree, going, overwrite, owners, directories, left, seen: HashMap::new() }
    }

    /// All conflicts of the packages, with each other first.
    ///
    /// # Errors
    /// Where the tree cannot be looked at.
    pub(crate) fn all(&mut self, packages: &'a [PackageArchive]) -> Result<Vec<Conflict>, tree::Error> {
        let mut conflicts = among(packages);
        for package in packages {
            let backup: HashSet<&[u8]> = package.package.backup.iter().map(String::as_bytes).collect();
            for (path, directory) in with_parents(package) {
                let fits = match self.there(path)? {
                    There::Nothing => true,
                    There::Directory if directory => true,
                    There::Directory => self.directory_goes(path)?,
                    There::Other if directory => self.goes(path),
                    There::Other => {
                        // What keeps changes comes beside a file that nobody owns.
                        let beside = backup.contains(path) && !self.owners.contains_key(path);
                        self.goes(path) || beside || self.overwrite.match_path(path)
                    }
                };
                if !fits {
                    conflicts.push(Conflict::Exists {
                        package: package.package.name.clone(),
                        path: lossy(path),
                        owner: self.owner(path),
                    });
                }
            }
        }
        Ok(conflicts)
    }

    fn owner(&self, path: &[u8]) -> Option<String> {
        let directory = || self.directories.get(path).and_then(|owners| owners.first().copied());
        self.owners.get(path).copied().or_else(directory).map(ToOwned::to_owned)
    }

    /// Whether what is at the path, no directory, belongs to something that goes.
    fn goes(&self, path: &[u8]) -> bool {
        self.left.contains(path) || self.owners.get(path).is_some_and(|owner| self.going.contains(owner))
    }

    /// Whether a directory goes with all that is in it.
    fn directory_goes(&self, path: &[u8]) -> Result<bool, tree::Error> {
        let owners = self.directories.get(path);
        let owned = owners.is_some_and(|owners| owners.iter().all(|owner| self.going.contains(owner)));
        if !owned && (owners.is_some() || !self.left.contains(path)) {
            return Ok(false);
        }
        for name in self.tree.names(path)? {
            let inner = [path, b"/", &name].concat();
            let goes = match look(self.tree, &inner)? {
                There::Nothing => true,
                There::Other => self.goes(&inner),
                There::Directory => self.directory_goes(&inner)?,
            };
            if !goes {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What is at a path whose directories have been asked for before.
    fn there(&mut self, path: &[u8]) -> Result<There, tree::Error> {
        if let Some(there) = self.seen.get(path) {
            return Ok(*there);
        }
        // What is in the way further up is a conflict itself, or goes.
        let there = match above(path).next() {
            Some(parent) if self.seen.get(parent).is_some_and(|there| *there != There::Directory) => There::Nothing,
            _ => look(self.tree, path)?,
        };
        if self.seen.len() < 1 << 20 {
            self.seen.insert(path.to_vec(), there);
        }
        Ok(there)
    }
}

/// What is at a path, itself and no link's target.
fn look(tree: &Tree, path: &[u8]) -> Result<There, tree::Error> {
    let error = |errno: Errno| tree::Error { action: "look at", path: tree::shown(path), source: errno.into() };
    match tree.open_at(path, OFlags::PATH | OFlags::NOFOLLOW) {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(There::Nothing),
        Err(other) => Err(error(other)),
        Ok(file) => {
            let mode = rustix::fs::fstat(&file).map_err(error)?.st_mode;
            let directory = FileType::from_raw_mode(mode) == FileType::Directory;
            Ok(if directory { There::Directory } else { There::Other })
        }
    }
}

/// A package's paths, and whether each is a directory; those that it needs and does not name are among them, and each
/// comes before what is in it.
fn with_parents(package: &PackageArchive) -> Vec<(&[u8], bool)> {
    let mut known: HashSet<&[u8]> = HashSet::with_capacity(package.files.len());
    let mut paths: Vec<(&[u8], bool)> = Vec::with_capacity(package.files.len());
    for file in &package.files {
        let missing: Vec<&[u8]> = above(&file.path).take_while(|above| !known.contains(above)).collect();
        for above in missing.into_iter().rev() {
            known.insert(above);
            paths.push((above, true));
        }
        if known.insert(&file.path) {
            paths.push((&file.path, file.directory));
        }
    }
    paths
}

/// The files that more than one package has.
fn among(packages: &[PackageArchive]) -> Vec<Conflict> {
    let mut first: HashMap<&[u8], (&str, bool)> = HashMap::new();
    let mut conflicts = Vec::new();
    for package in packages {
        let name = &*package.package.name;
        for (path, directory) in with_parents(package) {
            let (other, was_directory) = *first.entry(path).or_insert((name, directory));
            if other != name && !(directory && was_directory) {
                let second = name.to_owned();
                conflicts.push(Conflict::Both { path: lossy(path), first: other.to_owned(), second });
            }
        }
    }
    conflicts
}

#[cfg(test)]
mod tests;
