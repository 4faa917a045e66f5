//! The database of what is installed, `/var/lib/pacman/local` in a tree, as pacman(8) keeps it.
//!
//! A package has the directory `NAME-VERSION` there, with `desc` (what it is), `files` (what it has in the tree), `mtree` and
//! `install` (from its file). One without `desc` that a killed run had begun has not been installed to its end: its files
//! count as its own, so that the next run can put them there again, and it is no installed package.

use std::collections::HashSet;

use rustix::fs::OFlags;

use super::archive::PackageArchive;
use super::dependency::Dependency;
use super::desc;
use super::lock::{self, Beginning, Begun};
use super::package::Package;
use super::version::Version;
use crate::tree::{self, Tree};

/// The version of the format, in `ALPM_DB_VERSION`.
const VERSION: &str = "9";

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of it cannot be read or written.
    #[error("the database of installed packages")]
    Tree(#[from] tree::Error),
    /// It is of another version.
    #[error("the database of installed packages has the version '{0}' instead of {VERSION}")]
    Version(String),
    /// An entry is damaged.
    #[error("the entry '{0}' of the database of installed packages is damaged")]
    Entry(String),
    /// An entry does not say what it is of, and no killed run has left it so.
    #[error("the entry '{0}' of the database of installed packages is damaged: it has no 'desc'")]
    NoDesc(String),
}

impl Error {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Tree(error) if error.is_full() => Some("make room on that file system, or choose another one"),
            Self::Tree(_) => None,
            Self::Version(_) => {
                Some("if a pacman of another age made it, let pacman-db-upgrade(8) in there bring it up to date")
            }
            Self::Entry(_) | Self::NoDesc(_) => Some("restore that entry, or remove it and install the package again"),
        }
    }
}

/// Why a package is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Somebody asked for it.
    Explicit,
    /// Another package needs it.
    Dependency,
}

/// How it was made sure that a package's file is the right one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// Not at all.
    None,
    /// By its MD5.
    Md5,
    /// By its SHA-256.
    Sha256,
    /// By a signature.
    Pgp,
}

impl Validation {
    fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Md5 => "md5",
            Self::Sha256 => "sha256",
            Self::Pgp => "pgp",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::None, Self::Md5, Self::Sha256, Self::Pgp].into_iter().find(|one| one.as_str() == text)
    }
}

/// The files that keep what was changed in them, with the MD5 of each as it was installed; none where it was not.
pub type Backup = Vec<(String, Option<String>)>;

/// A package that is installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The package.
    pub package: Package,
    /// Why it is installed.
    pub reason: Reason,
    /// How its file was checked.
    pub validation: Vec<Validation>,
    /// When, in seconds since the epoch.
    pub install_date: i64,
    /// What it has in the tree: paths without a slash at the beginning, directories with one at the end. Sorted.
    pub files: Vec<Vec<u8>>,
    /// The files that keep changes.
    pub backup: Backup,
}

impl AsRef<Package> for Installed {
    fn as_ref(&self) -> &Package {
        &self.package
    }
}

/// A package whose installation was begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// `NAME-VERSION`
    pub entry: String,
    /// What it may have in the tree, as in [`Installed::files`].
    pub files: Vec<Vec<u8>>,
    /// Those of them that keep changes: they may be somebody else's, who had them before the package came.
    pub backup: Vec<String>,
}

impl Unfinished {
    /// The package's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.entry.rsplitn(3, '-').nth(2).unwrap_or(&self.entry)
    }
}

/// The database.
#[derive(Debug)]
pub struct LocalDatabase<'a> {
    tree: &'a Tree,
    /// Its directory in the tree.
    directory: String,
    installed: Vec<Installed>,
    unfinished: Vec<Unfinished>,
    /// What a killed run had begun.
    begun: Begun,
}

impl<'a> LocalDatabase<'a> {
    /// Reads the database below `path` (`var/lib/pacman`). One that is not there is empty.
    ///
    /// # Errors
    /// Where it cannot be read, or is damaged.
    pub fn read(tree: &'a Tree, path: &str) -> Result<Self, Error> {
        let directory = format!("{}/local", path.trim_matches('/'));
        let version = tree.read(&format!("{directory}/ALPM_DB_VERSION"))?;
        if let Some(version) = version {
            let version = String::from_utf8_lossy(&version);
            if version.trim() != VERSION {
                return Err(Error::Version(version.trim().chars().take(20).collect()));
            }
        }
        let begun = lock::begun(tree, path)?;
        let mut database = Self { tree, directory, installed: Vec::new(), unfinished: Vec::new(), begun };
        let mut names = HashSet::new();
        for entry in tree.list(&database.directory)? {
            // A dot begins no package's name, but that of a file which a killed run was writing.
            let other = |entry: &str| entry == "ALPM_DB_VERSION" || entry.starts_with('.');
            let Some(entry) = entry.to_str().filter(|entry| !other(entry)) else { continue };
            match database.read_entry(entry)? {
                Some(installed) if names.insert(installed.package.name.clone()) => database.installed.push(installed),
                Some(installed) => database.second(entry, installed)?,
                None if !database.is_directory(entry) => {}
                None => {
                    let (files, backup) = database.read_files(entry)?;
                    let backup = backup.into_iter().map(|(path, _)| path).collect();
                    let unfinished = Unfinished { entry: entry.to_owned(), files, backup };
                    if !database.begun.contains_key(unfinished.name()) {
                        return Err(Error::NoDesc(unfinished.entry));
                    }
                    database.unfinished.push(unfinished);
                }
            }
        }
        Ok(database)
    }

    /// Takes an entry of a package of which there is one already: a run was killed after it had ended the new entry, and
    /// before it had removed the old one. The new one is to be ended again then.
    fn second(&mut self, entry: &str, installed: Installed) -> Result<(), Error> {
        let name = &installed.package.name;
        let first = self.installed.iter_mut().find(|one| one.package.name == *name);
        let Some(first) = first.filter(|_| self.begun.contains_key(name)) else {
            return Err(Error::Entry(entry.to_owned()));
        };
        let age = installed.install_date.cmp(&first.install_date);
        let older = age.then_with(|| installed.package.version.compare(&first.package.version)).is_lt();
        let newer = if older { std::mem::replace(first, installed) } else { installed };
        let entry = format!("{}-{}", newer.package.name, newer.package.version);
        self.unfinished.push(Unfinished { entry, files: newer.files, backup: newer.package.backup });
        Ok(())
    }

    fn is_directory(&self, entry: &str) -> bool {
        let path = format!("{}/{entry}", self.directory);
        self.tree.open_at(path.as_bytes(), OFlags::PATH | OFlags::DIRECTORY).is_ok()
    }

    /// The packages that are installed, by name.
    #[must_use]
    pub fn installed(&self) -> &[Installed] {
        &self.installed
    }

    /// The packages that are installed and whose scripts and hooks have been run: all but those that a killed run had
    /// begun, which the next one has to install again.
    pub fn whole(&self) -> impl Iterator<Item = &Installed> {
        self.installed.iter().filter(|one| !self.begun.contains_key(&one.package.name))
    }

    /// What a killed run had begun, by name, whether or not it is among [`LocalDatabase::installed`].
    #[must_use]
    pub fn interrupted(&self) -> &Begun {
        &self.begun
    }

    /// Whether a killed run has begun to install a package of which none was installed before.
    pub(crate) fn was_new(&self, name: &str) -> bool {
        matches!(self.begun.get(name), Some(Beginning::Explicit | Beginning::Dependency))
    }

    /// The packages that a killed run has begun to remove, and that are still there.
    pub(crate) fn leaving(&self) -> impl Iterator<Item = &str> {
        let leaving = self.begun.iter().filter(|(name, one)| **one == Beginning::Remove && self.find(name).is_some());
        leaving.map(|(name, _)| name.as_str())
    }

    /// The packages that have not been installed to their end.
    #[must_use]
    pub fn unfinished(&self) -> &[Unfinished] {
        &self.unfinished
    }

    /// The installed package of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Installed> {
        self.installed.iter().find(|one| one.package.name == name)
    }

    /// The directory of a package's entry, as seen from the tree's root.
    #[must_use]
    pub fn entry_directory(&self, name: &str, version: &Version) -> String {
        format!("{}/{name}-{version}", self.directory)
    }

    fn read_entry(&self, entry: &str) -> Result<Option<Installed>, Error> {
        let Some(text) = self.tree.read(&format!("{}/{entry}/desc", self.directory))? else { return Ok(None) };
        let text = String::from_utf8_lossy(&text);
        // A file that was not written to its end: neither name nor version may be there.
        let Some(mut installed) = read_desc(&text) else { return Err(Error::Entry(entry.to_owned())) };
        if entry != format!("{}-{}", installed.package.name, installed.package.version) {
            return Err(Error::Entry(entry.to_owned()));
        }
        let (files, backup) = self.read_files(entry)?;
        installed.package.backup = backup.iter().map(|(path, _)| path.clone()).collect();
        (installed.files, installed.backup) = (files, backup);
        Ok(Some(installed))
    }

    fn read_files(&self, entry: &str) -> Result<(Vec<Vec<u8>>, Backup), Error> {
        let content = self.tree.read(&format!("{}/{entry}/files", self.directory))?.unwrap_or_default();
        let (mut files, mut backup) = (Vec::new(), Vec::new());
        let mut field: &[u8] = b"";
        for line in content.split(|byte| *byte == b'\n') {
            match line {
                b"" => field = b"",
                b"%FILES%" | b"%BACKUP%" if field.is_empty() => field = line,
                path if field == b"%FILES%" => files.push(path.to_vec()),
                line if field == b"%BACKUP%" => {
                    let line = String::from_utf8_lossy(line);
                    let (path, hash) = line.split_once('\t').unwrap_or((&line, "(null)"));
                    backup.push((path.to_owned(), (hash != "(null)").then(|| hash.to_owned())));
                }
                _ => {}
            }
        }
        Ok((files, backup))
    }

    /// Begins the entry of a package that is about to be unpacked: all but `desc`. Where that very version is installed, its
    /// entry stays until the end.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn begin(&self, archive: &PackageArchive) -> Result<(), Error> {
        let version = format!("{}/ALPM_DB_VERSION", self.directory);
        if !self.tree.exists(&version) {
            self.tree.write(&version, format!("{VERSION}\n").as_bytes(), 0o644)?;
        }
        if self.is_same(archive) {
            return Ok(());
        }
        let backup: Backup = archive.package.backup.iter().map(|path| (path.clone(), None)).collect();
        self.write_metadata(archive, &backup)
    }

    fn is_same(&self, archive: &PackageArchive) -> bool {
        let package = &archive.package;
        self.find(&package.name).is_some_and(|one| one.package.version == package.version)
    }

    fn write_metadata(&self, archive: &PackageArchive, backup: &[(String, Option<String>)]) -> Result<(), Error> {
        let entry = self.entry_directory(&archive.package.name, &archive.package.version);
        self.tree.write(&format!("{entry}/files"), &written_files(&listed(archive), backup), 0o644)?;
        for (name, content) in
            [("mtree", &archive.mtree), ("install", &archive.install), ("changelog", &archive.changelog)]
        {
            let path = format!("{entry}/{name}");
            match content {
                Some(content) => self.tree.write(&path, content, 0o644)?,
                None => self.tree.remove(&path)?,
            }
        }
        Ok(())
    }

    /// Ends the entry of a package: from here on it is installed, and no other version of it is.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub fn finish(&mut self, archive: &PackageArchive, installed: Installed) -> Result<(), Error> {
        let package = &installed.package;
        let entry = self.entry_directory(&package.name, &package.version);
        if !installed.backup.is_empty() || self.is_same(archive) {
            self.write_metadata(archive, &installed.backup)?;
        }
        // It appears whole: a part of it would make the database unusable.
        let content = written_desc(&installed);
        self.tree.write(&format!("{entry}/.desc"), content.as_bytes(), 0o644)?;
        self.tree.rename(&format!("{entry}/.desc"), &format!("{entry}/desc"))?;
        self.forget(&package.name.clone(), Some(&package.version.clone()))?;
        let at = self.installed.partition_point(|other| other.package.name < installed.package.name);
        self.installed.insert(at, installed);
        Ok(())
    }

    /// Removes all entries of a package, but the one of that version.
    ///
    /// # Errors
    /// Where one cannot be removed.
    pub fn forget(&mut self, name: &str, but: Option<&Version>) -> Result<(), Error> {
        let keep = but.map(|version| format!("{name}-{version}"));
        let mut gone: Vec<String> = Vec::new();
        self.installed.retain(|one| {
            let own = one.package.name == name;
            if own {
                gone.push(format!("{name}-{}", one.package.version));
            }
            !own
        });
        self.unfinished.retain(|one| {
            let own = one.name() == name;
            if own {
                gone.push(one.entry.clone());
            }
            !own
        });
        for entry in gone.iter().filter(|entry| Some(*entry) != keep.as_ref()) {
            self.remove_entry(entry)?;
        }
        Ok(())
    }

    fn remove_entry(&self, entry: &str) -> Result<(), Error> {
        // Without `desc` it is no installed package any more, whatever happens next.
        self.tree.remove(&format!("{}/{entry}/desc", self.directory))?;
        Ok(self.tree.remove(&format!("{}/{entry}", self.directory))?)
    }
}

/// The paths of a package as the database has them.
pub(crate) fn listed(archive: &PackageArchive) -> Vec<Vec<u8>> {
    let mut files: Vec<Vec<u8>> = archive
        .files
        .iter()
        .map(|file| {
            let mut path = file.path.clone();
            if file.directory {
                path.push(b'/');
            }
            path
        })
        .collect();
    files.sort();
    files
}

fn written_files(files: &[Vec<u8>], backup: &[(String, Option<String>)]) -> Vec<u8> {
    let mut content = Vec::new();
    if !files.is_empty() {
        content.extend_from_slice(b"%FILES%\n");
        for path in files {
            content.extend_from_slice(path);
            content.push(b'\n');
        }
        content.push(b'\n');
    }
    if !backup.is_empty() {
        let lines: Vec<String> =
            backup.iter().map(|(path, hash)| format!("{path}\t{}", hash.as_deref().unwrap_or("(null)"))).collect();
        let mut text = String::new();
        desc::write(&mut text, "BACKUP", lines.iter().map(String::as_str));
        content.extend_from_slice(text.as_bytes());
    }
    content
}

fn written_desc(installed: &Installed) -> String {
    fn one(value: &str) -> Option<&str> {
        Some(value).filter(|value| !value.is_empty())
    }
    fn all(values: &[String]) -> impl Iterator<Item = &str> {
        values.iter().map(String::as_str)
    }
    fn number(value: i64) -> Option<String> {
        (value != 0).then(|| value.to_string())
    }
    let package = &installed.package;
    let mut text = String::new();
    desc::write(&mut text, "NAME", one(&package.name));
    desc::write(&mut text, "VERSION", one(package.version.as_str()));
    desc::write(&mut text, "BASE", one(&package.base));
    desc::write(&mut text, "DESC", one(&package.description));
    desc::write(&mut text, "URL", one(&package.url));
    desc::write(&mut text, "ARCH", one(&package.architecture));
    desc::write(&mut text, "BUILDDATE", number(package.build_date).as_deref());
    desc::write(&mut text, "INSTALLDATE", number(installed.install_date).as_deref());
    desc::write(&mut text, "PACKAGER", one(&package.packager));
    let size = (package.installed_size != 0).then(|| package.installed_size.to_string());
    desc::write(&mut text, "SIZE", size.as_deref());
    desc::write(&mut text, "REASON", (installed.reason == Reason::Dependency).then_some("1"));
    desc::write(&mut text, "GROUPS", all(&package.groups));
    desc::write(&mut text, "LICENSE", all(&package.licenses));
    desc::write(&mut text, "VALIDATION", installed.validation.iter().map(|one| one.as_str()));
    let written = |dependencies: &[Dependency]| dependencies.iter().map(ToString::to_string).collect::<Vec<_>>();
    desc::write(&mut text, "REPLACES", all(&written(&package.replaces)));
    desc::write(&mut text, "DEPENDS", all(&written(&package.depends)));
    desc::write(&mut text, "OPTDEPENDS", all(&package.optional_depends));
    desc::write(&mut text, "CONFLICTS", all(&written(&package.conflicts)));
    desc::write(&mut text, "PROVIDES", all(&written(&package.provides)));
    desc::write(&mut text, "XDATA", all(&package.extended_data));
    text
}

fn read_desc(text: &str) -> Option<Installed> {
    let mut package = Package::new("", Version::new(""));
    let (mut reason, mut validation, mut install_date) = (Reason::Explicit, Vec::new(), 0);
    for field in desc::fields(text) {
        match field.name {
            "INSTALLDATE" => install_date = field.value().parse().unwrap_or(0),
            "REASON" if field.value() == "1" => reason = Reason::Dependency,
            "VALIDATION" => validation = field.lines().filter_map(Validation::parse).collect(),
            // What cannot be read is left out: the database is as good as its last writer.
            _ => drop(desc::apply(&mut package, &field)),
        }
    }
    let whole = !package.name.is_empty() && !package.version.as_str().is_empty();
    whole.then(|| Installed { package, reason, validation, install_date, files: Vec::new(), backup: Vec::new() })
}

#[cfg(test)]
mod tests;
