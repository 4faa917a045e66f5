//! Databases of repositories, `NAME.db`, as repo-add(8) makes them: an archive with a directory for each package, in which
//! `desc` (and in old ones `depends`) describes it.

use std::collections::BTreeMap;
use std::io::{self, Read};

use base64::Engine;

use super::decoder::decoder;
use super::dependency::{self, Dependency};
use super::desc;
use super::package::{Candidate, Package};
use super::version::Version;
use crate::tar_reader::{self, Entry, Kind, TarReader, lossy};

/// The largest database, decompressed: Arch's have some 50 MiB, and with the lists of files, which are passed over, ten
/// times that.
const LARGEST: u64 = 2 << 30;
/// The longest description of one package: Arch's longest has some 20 KiB.
const LONGEST_DESC: u64 = 256 << 10;
/// The most entries: Arch has some 15,000 packages.
const MOST_ENTRIES: usize = 200_000;
/// The most lines and bytes of all descriptions together, which are kept: those of Arch's largest repository have a million lines
/// and 40 MiB.
const MOST_LINES: usize = 4_000_000;
const MOST_DESCRIBED: usize = 256 << 20;
/// The longest detached signature, as pacman has it.
const LONGEST_SIGNATURE: usize = 16 << 10;
/// The longest name of a file.
const LONGEST_NAME: usize = 255;

/// Why a database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is no archive, or ends early, or is too large.
    #[error("the database of '{repository}' cannot be read")]
    Archive {
        /// The repository.
        repository: String,
        /// Why.
        source: tar_reader::Error,
    },
    /// There is nothing in the file.
    #[error("the database of '{0}' is an empty file")]
    Empty(String),
    /// The archive holds what no database does.
    #[error("the database of '{repository}' has the entry '{entry}': {reason}")]
    Entry {
        /// The repository.
        repository: String,
        /// The entry's path.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A package's description is wrong.
    #[error("the database of '{repository}' describes '{package}' wrongly: {reason}")]
    Package {
        /// The repository.
        repository: String,
        /// The package's directory.
        package: String,
        /// What is wrong with it.
        reason: Reason,
    },
}

impl Error {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Archive { .. } | Self::Empty(_) => {
                "the mirror may be damaged or may have sent a page of its own: put another first"
            }
            Self::Entry { .. } | Self::Package { .. } => {
                "the repository has to be made anew with repo-add; nothing was installed"
            }
        })
    }
}

/// What is wrong with the description of a package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Something that has to be said is not.
    #[error("there is no %{0}%")]
    Missing(&'static str),
    /// A value would be no part of a file's name.
    #[error("'{value}' can be no %{field}%")]
    Value {
        /// The field.
        field: &'static str,
        /// Its value.
        value: String,
    },
    /// The directory is called otherwise.
    #[error("it calls itself '{0}'")]
    Other(String),
    /// Another directory is for a package of the same name.
    #[error("the package is in it twice, also as '{0}'")]
    Twice(String),
    /// A dependency, or the like, that names nothing.
    #[error(transparent)]
    Dependency(#[from] dependency::Error),
}

/// The packages of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncDatabase {
    name: String,
    /// By name.
    packages: Vec<Candidate>,
}

impl SyncDatabase {
    /// A repository that has these packages.
    #[must_use]
    pub fn new(name: &str, mut packages: Vec<Candidate>) -> Self {
        packages.sort_by(|a, b| a.package.name.cmp(&b.package.name));
        Self { name: name.to_owned(), packages }
    }

    /// Reads the database of the repository `name`, which is at the place `repository` in the configuration. It may be
    /// compressed in any way that repo-add offers. Nothing in it is believed: it comes from a mirror.
    ///
    /// # Errors
    /// What is no database, or has packages that are described wrongly or whose files or names could lead elsewhere.
    pub fn read(name: &str, repository: usize, content: Vec<u8>) -> Result<Self, Error> {
        if content.is_empty() {
            return Err(Error::Empty(name.to_owned()));
        }
        let archive = |source| Error::Archive { repository: name.to_owned(), source };
        let content = decoder(io::Cursor::new(content)).map_err(|error| archive(error.into()))?;
        let mut tar = TarReader::new(Limited { inner: content, left: LARGEST });
        let mut described: BTreeMap<String, Described> = BTreeMap::new();
        let (mut number, mut lines, mut length) = (0, 0, 0);
        while let Some(entry) = tar.next_entry().map_err(archive)? {
            number += 1;
            let refused =
                |reason| Error::Entry { repository: name.to_owned(), entry: shown(&lossy(&entry.path)), reason };
            if number > MOST_ENTRIES {
                return Err(refused("it is one more than a database can have"));
            }
            let Some(directory) = described_in(&entry).map_err(refused)? else { continue };
            if entry.size > LONGEST_DESC {
                return Err(refused("it is larger than a description can be"));
            }
            let mut bytes = Vec::new();
            tar.read_to_end(&mut bytes).map_err(|error| archive(error.into()))?;
            lines += bytes.iter().filter(|byte| **byte == b'\n').count();
            length += bytes.len();
            if lines > MOST_LINES || length > MOST_DESCRIBED {
                return Err(refused("there is more described than a database can have"));
            }
            let wrong = |reason| Error::Package { repository: name.to_owned(), package: shown(&directory), reason };
            let package = described.entry(directory.clone()).or_default();
            package.read(&String::from_utf8_lossy(&bytes)).map_err(wrong)?;
        }
        let mut packages: Vec<Candidate> = Vec::with_capacity(described.len());
        for (directory, package) in described {
            let wrong = |reason| Error::Package { repository: name.to_owned(), package: shown(&directory), reason };
            packages.push(package.finish(&directory, repository).map_err(wrong)?);
        }
        let database = Self::new(name, packages);
        if let Some([one, other]) =
            database.packages.array_windows().find(|[one, other]| one.package.name == other.package.name)
        {
            return Err(Error::Package {
                repository: name.to_owned(),
                package: directory_of(&one.package),
                reason: Reason::Twice(directory_of(&other.package)),
            });
        }
        Ok(database)
    }

    /// The repository's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its packages, by name.
    #[must_use]
    pub fn packages(&self) -> &[Candidate] {
        &self.packages
    }

    /// The package of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Candidate> {
        let at = self.packages.binary_search_by(|candidate| candidate.package.name.as_str().cmp(name)).ok()?;
        Some(&self.packages[at])
    }
}

/// A stream that is no longer than it may be.
struct Limited<R> {
    inner: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("it has more than {LARGEST} bytes decompressed"))
        })?;
        Ok(read)
    }
}

/// The directory of an entry that describes a package; `None` for other entries.
fn described_in(entry: &Entry) -> Result<Option<String>, &'static str> {
    let Ok(path) = std::str::from_utf8(&entry.path) else { return Err("its name is not in UTF-8") };
    if !matches!(entry.kind, Kind::File | Kind::Directory) {
        return Err("a database has files and directories only");
    }
    let (directory, file) = path.split_once('/').unwrap_or((path, ""));
    if directory.starts_with('.') || !is_part(directory) || file.contains('/') || file == ".." {
        return Err("a database has a directory for each package, and files in it");
    }
    Ok((entry.kind == Kind::File && matches!(file, "desc" | "depends")).then(|| directory.to_owned()))
}

/// Whether a text can be part of a file's name and of a line on a terminal.
fn is_part(text: &str) -> bool {
    let wrong = |c: char| c == '/' || c == char::REPLACEMENT_CHARACTER || c.is_control() || c.is_whitespace();
    !text.is_empty() && text.len() <= LONGEST_NAME && !text.contains(wrong)
}

/// Text for messages.
fn shown(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).take(300).collect()
}

fn directory_of(package: &Package) -> String {
    format!("{}-{}", package.name, package.version)
}

/// What was read of a package.
#[derive(Default)]
struct Described {
    package: Option<Package>,
    file_name: String,
    compressed_size: u64,
    sha256: Option<crate::digest::Sha256>,
    signature: Option<Vec<u8>>,
}

impl Described {
    fn read(&mut self, text: &str) -> Result<(), Reason> {
        // What is shown to people must not steer their terminals. Names that have such are refused.
        let text = text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}");
        let package = self.package.get_or_insert_with(|| Package::new("", Version::new("")));
        for field in desc::fields(&text) {
            let value = |name| Reason::Value { field: name, value: shown(field.value()) };
            match field.name {
                "FILENAME" => field.value().clone_into(&mut self.file_name),
                "CSIZE" => self.compressed_size = field.value().parse().map_err(|_| value("CSIZE"))?,
                "SHA256SUM" => self.sha256 = Some(field.value().parse().map_err(|_| value("SHA256SUM"))?),
                "PGPSIG" => {
                    let decoded = base64::engine::general_purpose::STANDARD.decode(field.value()).ok();
                    let decoded = decoded.filter(|decoded| decoded.len() <= LONGEST_SIGNATURE);
                    self.signature = Some(decoded.ok_or_else(|| value("PGPSIG"))?);
                }
                // They decide nothing, and are not always written as they should be.
                "OPTDEPENDS" | "MAKEDEPENDS" | "CHECKDEPENDS" => {}
                _ => drop(desc::apply(package, &field)?),
            }
        }
        Ok(())
    }

    fn finish(self, directory: &str, repository: usize) -> Result<Candidate, Reason> {
        let package = self.package.unwrap_or_else(|| Package::new("", Version::new("")));
        check("NAME", &package.name)?;
        check("VERSION", package.version.as_str())?;
        check("FILENAME", &self.file_name)?;
        if directory_of(&package) != directory {
            return Err(Reason::Other(directory_of(&package)));
        }
        // A release is what the local database tells names and versions apart by.
        if package.version.as_str().matches('-').count() != 1 {
            return Err(Reason::Value { field: "VERSION", value: package.version.to_string() });
        }
        if !package.architecture.is_empty() {
            check("ARCH", &package.architecture)?;
        }
        for (field, dependencies) in [
            ("DEPENDS", &package.depends),
            ("PROVIDES", &package.provides),
            ("CONFLICTS", &package.conflicts),
            ("REPLACES", &package.replaces),
        ] {
            dependencies.iter().try_for_each(|dependency| check_dependency(field, dependency))?;
        }
        package.groups.iter().try_for_each(|group| check("GROUPS", group))?;
        Ok(Candidate {
            package,
            repository,
            file_name: self.file_name,
            compressed_size: self.compressed_size,
            sha256: self.sha256,
            signature: self.signature,
        })
    }
}

/// Names become parts of paths and words of command lines.
fn check(field: &'static str, value: &str) -> Result<(), Reason> {
    if value.is_empty() {
        return Err(Reason::Missing(field));
    }
    if !is_part(value) || value.starts_with(['.', '-']) {
        return Err(Reason::Value { field, value: shown(value) });
    }
    Ok(())
}

/// These may have slashes, but are shown, too.
fn check_dependency(field: &'static str, dependency: &Dependency) -> Result<(), Reason> {
    let version = dependency.version.as_ref().map_or("", |(_, version)| version.as_str());
    let wrong = |c: char| c == char::REPLACEMENT_CHARACTER || c.is_whitespace();
    if dependency.name.contains(wrong) || version.contains(wrong) {
        return Err(Reason::Value { field, value: shown(&dependency.to_string()) });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
