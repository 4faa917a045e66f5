//! Package files (`NAME-VERSION-ARCHITECTURE.pkg.tar.zst` and the like): what they say of themselves, and their files.
//!
//! Read as hostile input: what is in a package may have any path, point anywhere and claim any size.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use self::list::{FileList, is_path};
use super::decoder::decoder;
use super::mtree::{self, Listed};
use super::package::Package;
use super::pkginfo;
use super::version::Version;
use crate::tar_reader::{self, Entry, Kind, TarReader, lossy};

pub(super) mod list;

/// The most that each of `.PKGINFO`, `.INSTALL` and the like may need.
const LARGEST_OWN: u64 = 16 << 20;
/// How many entries may come before the files.
const MOST_OWN: usize = 64;
/// What a package without a list of its files may take beyond twice the size that it says.
const TOLERANCE: u64 = 1 << 30;
/// What it may take whatever it says: all packages of Arch Linux are far smaller, and have a list.
const LARGEST: u64 = 64 << 30;
/// What may follow an archive's end in its file: tar fills its last record.
const LONGEST_END: u64 = 1 << 20;

/// Why a package file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("package file '{path}'")]
pub struct Error {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub source: Problem,
}

/// What is wrong with a package file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[from] io::Error),
    /// It is no archive, a damaged one, or goes beyond a limit.
    #[error(transparent)]
    Archive(#[from] tar_reader::Error),
    /// It does not say what it is.
    #[error("it is no package: it has no '.PKGINFO'")]
    NoInfo,
    /// What it says of itself is wrong.
    #[error("its '.PKGINFO' is wrong")]
    Info(#[from] pkginfo::Error),
    /// One of the files about the package is too large, or there are too many.
    #[error("'{0}' in it is too large, or there is too much of that kind")]
    Own(String),
    /// It holds another package than was asked for.
    #[error("it holds '{found}' instead of '{expected}'")]
    Other {
        /// What was asked for.
        expected: String,
        /// What is in it.
        found: String,
    },
    /// It is for other machines.
    #[error("it is for '{0}'")]
    Architecture(String),
    /// A path is none of a file below the root.
    #[error("it has the path '{0}', which is none of a file below the root")]
    Path(String),
    /// Two files have the same path.
    #[error("it has '/{0}' twice")]
    Twice(String),
    /// More files than are kept in mind.
    #[error("it has more than {} files, or their paths are too long", list::MOST_FILES)]
    TooMany,
    /// The list of the files and the archive differ.
    #[error("its '.MTREE' and its files differ: '/{0}'")]
    List(String),
    /// A hard link to something that is no file of the package.
    #[error("'/{0}' in it is another name of a file that it does not have")]
    HardLink(String),
    /// There is more in it than it says.
    #[error("it takes more room than it says")]
    Bomb,
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self.source {
            Problem::Architecture(_) => Some("see 'Architecture' in pacman.conf, or take the package for this machine"),
            Problem::Other { .. } => Some("remove the file, so that it is fetched again"),
            Problem::Read(_) | Problem::Archive(tar_reader::Error::Read(_)) => {
                Some("the file may be incomplete: remove it, so that it is fetched again")
            }
            _ => Some("the package itself is broken: whoever built it has to make it again"),
        }
    }
}

/// A package file that has been looked through.
#[derive(Debug)]
pub struct PackageArchive {
    /// Where it is.
    pub path: PathBuf,
    /// The file itself, where it was open already.
    file: Option<Arc<File>>,
    /// The package.
    pub package: Package,
    /// Its files, in the order of the archive, each directory before what is in it.
    pub files: Vec<Listed>,
    /// `.MTREE`, compressed as it is.
    pub mtree: Option<Vec<u8>>,
    /// The scriptlet.
    pub install: Option<Vec<u8>>,
    /// What has changed.
    pub changelog: Option<Vec<u8>>,
    /// How it was built.
    pub build_info: Option<Vec<u8>>,
}

impl PackageArchive {
    /// Looks a package file through: what it says of itself, and its list of files. Where it has no list, it is read to its
    /// end for one.
    ///
    /// # Errors
    /// Where it is no usable package.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_file(path, None).map_err(|source| Error { path: path.to_owned(), source })
    }

    /// The same of a file that is open, and stays so; `path` is what it is called.
    ///
    /// # Errors
    /// Where it is no usable package.
    pub fn read_open(file: Arc<File>, path: &Path) -> Result<Self, Error> {
        Self::read_file(path, Some(file)).map_err(|source| Error { path: path.to_owned(), source })
    }

    /// The files of the package, to be unpacked.
    ///
    /// # Errors
    /// Where it cannot be opened.
    pub fn entries(&self) -> Result<Entries<'_>, Error> {
        let error = |source| Error { path: self.path.clone(), source };
        let archive = open(&self.path, self.file.as_deref()).map_err(|e| error(Problem::Read(e)))?;
        let left = self.files.iter().map(|file| (&*file.path, file)).collect();
        Ok(Entries { archive, package: self, left, files: HashSet::new() })
    }

    /// Checks that it is the package that was asked for, and one for this machine.
    ///
    /// # Errors
    /// Where it is not.
    pub fn check(&self, expected: Option<(&str, &Version)>, architectures: &[String]) -> Result<(), Error> {
        let error = |source| Error { path: self.path.clone(), source };
        let package = &self.package;
        if let Some((name, version)) = expected
            && (package.name != name || package.version != *version)
        {
            let found = format!("{}-{}", package.name, package.version);
            return Err(error(Problem::Other { expected: format!("{name}-{version}"), found }));
        }
        let architecture = &package.architecture;
        let fits = architecture.is_empty() || architecture == "any" || architectures.contains(architecture);
        // No architecture at all: pacman takes such packages, and any package where it is told of none.
        if fits || architectures.is_empty() { Ok(()) } else { Err(error(Problem::Architecture(architecture.clone()))) }
    }

    fn read_file(path: &Path, file: Option<Arc<File>>) -> Result<Self, Problem> {
        let mut archive = open(path, file.as_deref())?;
        let (mut info, mut mtree, mut install, mut changelog, mut build_info) = (None, None, None, None, None);
        let mut own = 0;
        let mut entry = archive.next_entry()?;
        while let Some(it) = &entry
            && it.path.starts_with(b".")
        {
            own += 1;
            if it.size > LARGEST_OWN || own > MOST_OWN {
                return Err(Problem::Own(lossy(&it.path)));
            }
            let place = match &*it.path {
                b".PKGINFO" => Some(&mut info),
                b".MTREE" => Some(&mut mtree),
                b".INSTALL" => Some(&mut install),
                b".CHANGELOG" => Some(&mut changelog),
                b".BUILDINFO" => Some(&mut build_info),
                // A package whose paths begin so would be installed as an empty one.
                path if path.starts_with(b"./") || path.starts_with(b"..") => return Err(Problem::Path(lossy(path))),
                _ => None,
            };
            if let Some(place) = place {
                let mut content = Vec::new();
                archive.read_to_end(&mut content)?;
                *place = Some(content);
            }
            entry = archive.next_entry()?;
        }
        let package = pkginfo::parse(&String::from_utf8_lossy(&info.ok_or(Problem::NoInfo)?))?;
        let listed = mtree.as_deref().map(mtree::files).transpose()?.flatten();
        let files = match listed {
            Some(listed) => listed,
            None => list(&mut archive, entry, package.installed_size)?,
        };
        Ok(Self { path: path.to_owned(), file, package, files, mtree, install, changelog, build_info })
    }
}

/// The same file, to be read from its beginning, wherever somebody else is in it.
pub(crate) fn reopened(file: &File) -> io::Result<File> {
    File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Opens it from its beginning, once more if it is open already: each reader is somewhere else in it.
fn open(path: &Path, open: Option<&File>) -> io::Result<TarReader<Box<dyn Read + Send>>> {
    let file = match open {
        Some(file) => reopened(file)?,
        None => File::open(path)?,
    };
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(TarReader::new(decoder(BufReader::with_capacity(1 << 17, file))?))
}

/// The files as the archive has them, read from `entry` to its end.
fn list(
    archive: &mut TarReader<Box<dyn Read + Send>>,
    mut entry: Option<Entry>,
    said: u64,
) -> Result<Vec<Listed>, Problem> {
    let limit = said.saturating_mul(2).saturating_add(TOLERANCE).min(LARGEST);
    let (mut files, mut total) = (FileList::default(), 0_u64);
    while let Some(it) = entry {
        // Each entry takes room too.
        total = total.saturating_add(it.size).saturating_add(512);
        if total > limit {
            return Err(Problem::Bomb);
        }
        if !it.path.starts_with(b".") {
            files.push(listed(&it)?)?;
        }
        entry = archive.next_entry()?;
    }
    files.finish()
}

fn listed(entry: &Entry) -> Result<Listed, Problem> {
    let directory = entry.kind == Kind::Directory;
    Ok(Listed { path: plain(&entry.path, directory)?.to_vec(), directory, size: entry.size })
}

/// The path without the slash that directories end with.
fn plain(path: &[u8], directory: bool) -> Result<&[u8], Problem> {
    let plain = if directory { path.strip_suffix(b"/").unwrap_or(path) } else { path };
    if is_path(plain) { Ok(plain) } else { Err(Problem::Path(lossy(path))) }
}

/// The directories above a path, the nearest first.
pub(crate) fn above(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = &rest[..rest.iter().rposition(|byte| *byte == b'/')?];
        Some(rest)
    })
}

/// The files of a package, being unpacked. Reading gives the content of the one that came last.
pub struct Entries<'a> {
    archive: TarReader<Box<dyn Read + Send>>,
    package: &'a PackageArchive,
    /// What is in the list and has not come yet.
    left: HashMap<&'a [u8], &'a Listed>,
    /// The regular files that came, which hard links may name.
    files: HashSet<Vec<u8>>,
}

impl Entries<'_> {
    /// The next file, its path without a slash at the end; `None` when all of the list have come.
    ///
    /// # Errors
    /// Where the archive is damaged, or is not as its list says.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.next().map_err(|source| Error { path: self.package.path.clone(), source })
    }

    fn next(&mut self) -> Result<Option<Entry>, Problem> {
        loop {
            let Some(mut entry) = self.archive.next_entry()? else {
                let mut left: Vec<&&[u8]> = self.left.keys().collect();
                left.sort();
                return match left.first() {
                    Some(path) => Err(Problem::List(lossy(path))),
                    None => self.end().map(|()| None),
                };
            };
            if entry.path.starts_with(b".") {
                if &*entry.path == b".INSTALL" && self.package.install.is_none() {
                    return Err(Problem::List(".INSTALL".to_owned()));
                }
                continue;
            }
            let listed = listed(&entry)?;
            entry.path.clone_from(&listed.path);
            let said = self.left.remove(&*listed.path).ok_or_else(|| Problem::List(lossy(&listed.path)))?;
            // The list has the size of the content behind a hard link.
            let same = entry.kind != Kind::File || said.size == entry.size;
            if said.directory != listed.directory || !same {
                return Err(Problem::List(lossy(&listed.path)));
            }
            match entry.kind {
                Kind::File => drop(self.files.insert(listed.path)),
                Kind::HardLink if !self.files.contains(&entry.link) => {
                    return Err(Problem::HardLink(lossy(&entry.path)));
                }
                _ => {}
            }
            return Ok(Some(entry));
        }
    }

    /// Reads on to the end of the file, where its check sum is.
    fn end(&mut self) -> Result<(), Problem> {
        let rest = io::copy(&mut self.archive.inner_mut().take(LONGEST_END + 1), &mut io::sink())?;
        if rest > LONGEST_END { Err(Problem::Bomb) } else { Ok(()) }
    }
}

impl Read for Entries<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.archive.read(buffer)
    }
}

#[cfg(test)]
mod tests;
