//! Unpacks packages into a tree, several at a time.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use md5::{Digest, Md5};
use rustix::fs::OFlags;

use super::deb::{self, ControlFile, Deb};
use super::package::{self, Package};
use super::relation::Field;
use crate::extract::{Directories, Extractor, Outcome};
use crate::interrupt::Interrupt;
use crate::progress::{Phase, Progress};
use crate::tar_reader::{self, Kind, lossy};
use crate::tree::{self, Tree};

/// Directories that moved below /usr, where links stand for them now.
pub(crate) const MERGED: &[&str] = &["bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin"];

/// Why a package cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file of the package cannot be opened.
    #[error("package '{package}': cannot open '{path}'")]
    Open {
        /// The package's name.
        package: String,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no usable package.
    #[error("package '{package}'")]
    Deb {
        /// The package's name.
        package: String,
        /// What is wrong.
        source: deb::Error,
    },
    /// The archive of its files cannot be read.
    #[error("package '{package}'")]
    Data {
        /// The package's name.
        package: String,
        /// What is wrong.
        source: tar_reader::Error,
    },
    /// A file cannot be made.
    #[error("package '{package}'")]
    Tree {
        /// The package's name.
        package: String,
        /// What is wrong.
        source: tree::Error,
    },
    /// Its control file cannot be read.
    #[error("package '{package}': its control file cannot be read")]
    Control {
        /// The package's name.
        package: String,
        /// What is wrong.
        source: Box<package::Error>,
    },
    /// The file holds another package than the index says.
    #[error("the file of package '{expected}' holds '{found}'")]
    Other {
        /// What was asked for.
        expected: String,
        /// What is in the file.
        found: String,
    },
    /// Two packages have the same file.
    #[error("package '{package}' has the file '/{path}', which {other}")]
    Collision {
        /// The package's name.
        package: String,
        /// The file.
        path: String,
        /// Whose it is already.
        other: String,
    },
    /// It was asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// A package and its verified file.
#[derive(Debug, Clone)]
pub struct Item {
    /// The package as the index has it.
    pub package: Package,
    /// The `.deb`.
    pub file: PathBuf,
}

/// A package that has been unpacked, as its `.deb` describes it.
#[derive(Debug)]
pub struct Unpacked {
    /// The package by its own control file.
    pub package: Package,
    /// The control files by name.
    pub control: BTreeMap<String, ControlFile>,
    /// The paths it has in the tree, without a slash in front, in the order of the archive.
    pub paths: Vec<Vec<u8>>,
    /// The configuration files (paths as in [`Unpacked::paths`]) and what dpkg notes of each: its MD5, by which
    /// it notices changes, or that it goes with an upgrade.
    pub conffiles: Vec<(String, String)>,
    in_the_way: Vec<Vec<u8>>,
}

#[cfg(test)]
impl Unpacked {
    /// A package as if it had been unpacked.
    pub(crate) fn for_tests<const N: usize>(
        package: Package,
        control: [(&str, ControlFile); N],
        paths: &[&str],
        conffiles: &[(&str, &str)],
    ) -> Self {
        Self {
            package,
            control: control.into_iter().map(|(name, file)| (name.to_owned(), file)).collect(),
            paths: paths.iter().map(|path| path.as_bytes().to_vec()).collect(),
            conffiles: conffiles.iter().map(|(path, hash)| ((*path).to_owned(), (*hash).to_owned())).collect(),
            in_the_way: Vec::new(),
        }
    }
}

/// Unpacks all packages into the tree. The first one comes first and by itself: it lays out the directories
/// (`base-files`). The result has the order of the items.
///
/// # Errors
/// The first failure; the tree is then half full.
pub fn unpack(
    tree: &Tree,
    items: &[Item],
    progress: &dyn Progress,
    interrupt: &Interrupt,
) -> Result<Vec<Unpacked>, Error> {
    let Some((first, rest)) = items.split_first() else { return Ok(Vec::new()) };
    let size = |item: &Item| item.package.size().unwrap_or(0);
    progress.begin(Phase::Unpack, items.len() as u64, items.iter().map(size).sum());
    let job = Job { tree, directories: Directories::default(), progress, interrupt, failed: AtomicBool::new(false) };
    let result = job.one(0, first).and_then(|laid_out| {
        lay_out(tree, &first.package)?;
        job.all(rest, laid_out)
    });
    progress.end(Phase::Unpack);
    let mut unpacked = result?;
    job.settle(items, &mut unpacked)?;
    Ok(unpacked)
}

/// Where the package that lays the directories out does not link those below /usr itself (before Debian 13), do it.
fn lay_out(tree: &Tree, package: &Package) -> Result<(), Error> {
    if tree.open_at(b"bin", OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY).is_err() && tree.exists("bin") {
        return Ok(());
    }
    let names: &[&str] = match package.architecture() {
        "amd64" | "x32" => &["bin", "lib", "lib32", "lib64", "libx32", "sbin"],
        "i386" => &["bin", "lib", "lib64", "libx32", "sbin"],
        "ppc64el" | "ppc64" | "loong64" | "mips64el" | "s390x" => &["bin", "lib", "lib32", "lib64", "sbin"],
        _ => &["bin", "lib", "sbin"],
    };
    let error = |source| Error::Tree { package: package.name().to_owned(), source };
    for name in names {
        // The package has the empty directory, if it has anything there.
        tree.make_directories(format!("usr/{name}").as_bytes()).map_err(error)?;
        tree.remove(name).map_err(error)?;
        tree.link(&format!("usr/{name}"), name).map_err(error)?;
    }
    Ok(())
}

struct Job<'a> {
    tree: &'a Tree,
    directories: Directories,
    progress: &'a dyn Progress,
    interrupt: &'a Interrupt,
    failed: AtomicBool,
}

impl Job<'_> {
    /// Unpacks `rest`, the largest ones first so that none of them is left for the end.
    fn all(&self, rest: &[Item], first: Unpacked) -> Result<Vec<Unpacked>, Error> {
        let mut order: Vec<usize> = (0..rest.len()).collect();
        order.sort_by_key(|&index| std::cmp::Reverse(rest[index].package.size().unwrap_or(0)));
        let results: Vec<Mutex<Option<Result<Unpacked, Error>>>> = rest.iter().map(|_| Mutex::new(None)).collect();
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(&index) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                if self.failed.load(Ordering::Relaxed) {
                    break;
                }
                let result = self.one(index + 1, &rest[index]);
                if result.is_err() {
                    self.failed.store(true, Ordering::Relaxed);
                }
                *results[index].lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
        };
        let threads = std::thread::available_parallelism().map_or(2, |count| count.get().min(16));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
        let mut unpacked = vec![first];
        for result in results {
            match result.into_inner().unwrap_or_else(PoisonError::into_inner) {
                // The others stop because of the one that failed.
                Some(Err(Error::Interrupted)) if !self.interrupt.is_wanted() => {}
                Some(result) => unpacked.push(result?),
                None => {}
            }
        }
        if unpacked.len() == rest.len() + 1 { Ok(unpacked) } else { Err(Error::Interrupted) }
    }

    fn one(&self, number: usize, item: &Item) -> Result<Unpacked, Error> {
        let name = || item.package.name().to_owned();
        let mut deb = open(item)?;
        let own = own_control(item, &deb)?;
        let conffiles = conffile_names(&deb.control);
        let mut hashes: BTreeMap<Vec<u8>, String> = BTreeMap::new();
        let mut unpacked = Unpacked {
            package: own,
            control: std::mem::take(&mut deb.control),
            paths: Vec::new(),
            conffiles: Vec::new(),
            in_the_way: Vec::new(),
        };
        let mut extractor = Extractor::new(self.tree, &self.directories, number);
        let mut data = Hashing { inner: deb.data, hash: None };
        loop {
            if self.interrupt.is_wanted() || self.failed.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let entry = data.inner.next_entry().map_err(|source| Error::Data { package: name(), source })?;
            let Some(entry) = entry else { break };
            let path = plain(&entry.path);
            let is_conffile = entry.kind == Kind::File && conffiles.contains(&path);
            data.hash = is_conffile.then(Md5::new);
            let outcome =
                extractor.extract(&entry, &mut data).map_err(|source| Error::Tree { package: name(), source })?;
            if let Some(hash) = data.hash.take() {
                hashes.insert(path.clone(), hash.finalize().iter().map(|b| format!("{b:02x}")).collect());
            }
            if outcome == Outcome::InTheWay {
                unpacked.in_the_way.push(path.clone());
            }
            if !path.is_empty() {
                unpacked.paths.push(path);
            }
        }
        unpacked.conffiles = noted_conffiles(&unpacked.control, &hashes);
        self.progress.advance(Phase::Unpack, item.package.size().unwrap_or(0));
        self.progress.item(Phase::Unpack, item.package.name());
        Ok(unpacked)
    }

    /// Decides whose a file is that two packages have: that of the one which replaces the other, see deb-control(5).
    fn settle(&self, items: &[Item], unpacked: &mut [Unpacked]) -> Result<(), Error> {
        if unpacked.iter().all(|one| one.in_the_way.is_empty()) {
            return Ok(());
        }
        let merged: Vec<&[u8]> = MERGED
            .iter()
            .filter(|name| {
                self.tree.open_at(name.as_bytes(), OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY).is_err()
            })
            .map(|name| name.as_bytes())
            .collect();
        let mut owners: HashMap<Vec<u8>, Vec<usize>> = HashMap::new();
        for (index, one) in unpacked.iter().enumerate() {
            for path in &one.paths {
                owners.entry(canonical(path, &merged)).or_default().push(index);
            }
        }
        for index in 0..unpacked.len() {
            let mut take = Vec::new();
            for path in std::mem::take(&mut unpacked[index].in_the_way) {
                let key = canonical(&path, &merged);
                let others = owners.get(&key).into_iter().flatten().copied().filter(|&other| other != index);
                let mut others: Vec<usize> = others.collect();
                others.dedup();
                let collision = |other: &str| Error::Collision {
                    package: unpacked[index].package.name().to_owned(),
                    path: lossy(&path),
                    other: other.to_owned(),
                };
                if others.is_empty() {
                    return Err(collision("it has twice, or which is in the way"));
                }
                let mut wins = true;
                for &other in &others {
                    if replaces(&unpacked[index].package, &unpacked[other].package)? {
                        continue;
                    }
                    if !replaces(&unpacked[other].package, &unpacked[index].package)? {
                        return Err(collision(&format!("package '{}' has too", unpacked[other].package.name())));
                    }
                    wins = false;
                }
                let losers = if wins { others } else { vec![index] };
                for loser in losers {
                    unpacked[loser].paths.retain(|path| canonical(path, &merged) != key);
                }
                if wins {
                    take.push(path);
                }
            }
            if !take.is_empty() {
                self.take_over(index, &items[index], &take)?;
            }
        }
        Ok(())
    }

    /// Unpacks some paths of a package again, in place of what is there.
    fn take_over(&self, number: usize, item: &Item, paths: &[Vec<u8>]) -> Result<(), Error> {
        let name = || item.package.name().to_owned();
        let mut deb = open(item)?;
        let mut extractor = Extractor::new(self.tree, &self.directories, number).replacing();
        while let Some(entry) = deb.data.next_entry().map_err(|source| Error::Data { package: name(), source })? {
            let path = plain(&entry.path);
            if paths.contains(&path) {
                let outcome = extractor
                    .extract(&entry, &mut deb.data)
                    .map_err(|source| Error::Tree { package: name(), source })?;
                if outcome == Outcome::InTheWay {
                    let other = "is a directory already".to_owned();
                    return Err(Error::Collision { package: name(), path: lossy(&path), other });
                }
            }
        }
        Ok(())
    }
}

/// Hashes what is read while there is a hash.
struct Hashing<R> {
    inner: R,
    hash: Option<Md5>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        if let Some(hash) = &mut self.hash {
            hash.update(&buffer[..read]);
        }
        Ok(read)
    }
}

pub(crate) fn open(item: &Item) -> Result<Deb<BufReader<File>>, Error> {
    let package = || item.package.name().to_owned();
    let file =
        File::open(&item.file).map_err(|source| Error::Open { package: package(), path: item.file.clone(), source })?;
    Deb::read(BufReader::with_capacity(1 << 17, file)).map_err(|source| Error::Deb { package: package(), source })
}

/// The package as its own control file has it; it must be the one that the index promised.
fn own_control(item: &Item, deb: &Deb<BufReader<File>>) -> Result<Package, Error> {
    let control = deb.control.get("control").map(|file| &*file.content).unwrap_or_default();
    let own = Package::parse(&String::from_utf8_lossy(control))
        .map_err(|source| Error::Control { package: item.package.name().to_owned(), source: Box::new(source) })?;
    let same = own.name() == item.package.name()
        && own.version() == item.package.version()
        && own.architecture() == item.package.architecture();
    if same { Ok(own) } else { Err(Error::Other { expected: item.package.to_string(), found: own.to_string() }) }
}

/// The configuration files that the package declares, without a slash in front.
fn conffile_names(control: &BTreeMap<String, ControlFile>) -> Vec<Vec<u8>> {
    let text = control.get("conffiles").map(|file| &*file.content).unwrap_or_default();
    // A line can begin with a flag; "remove-on-upgrade" names a file that the package does not have any more.
    text.split(|byte| *byte == b'\n')
        .filter(|line| line.starts_with(b"/"))
        .map(|line| plain(line.trim_ascii_end()))
        .collect()
}

/// The configuration files as dpkg notes them, in the order in which the package declares them: those that came with their
/// hashes, and those that the package once had and that go with an upgrade.
fn noted_conffiles(
    control: &BTreeMap<String, ControlFile>,
    hashes: &BTreeMap<Vec<u8>, String>,
) -> Vec<(String, String)> {
    let text = control.get("conffiles").map(|file| &*file.content).unwrap_or_default();
    let text = String::from_utf8_lossy(text);
    let noted = |line: &str| {
        if let Some(path) = line.strip_prefix("remove-on-upgrade /") {
            return Some((path.trim_end().to_owned(), "newconffile remove-on-upgrade".to_owned()));
        }
        let path = plain(line.starts_with('/').then(|| line.trim_end().as_bytes())?);
        Some((String::from_utf8(path.clone()).ok()?, hashes.get(&path)?.clone()))
    };
    text.lines().filter_map(noted).collect()
}

/// A path without `./` or slashes at its ends and without double ones.
fn plain(path: &[u8]) -> Vec<u8> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".").collect();
    parts.join(&b'/')
}

/// The path with its first directory looked up below /usr, where links lead there.
fn canonical(path: &[u8], merged: &[&[u8]]) -> Vec<u8> {
    let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
    if first.len() < path.len() && merged.contains(&first) { [b"usr/", path].concat() } else { path.to_vec() }
}

/// Whether `one` may take files over from `other`.
fn replaces(one: &Package, other: &Package) -> Result<bool, Error> {
    let relations = one
        .relations(Field::Replaces)
        .map_err(|source| Error::Control { package: one.name().to_owned(), source: Box::new(source) })?;
    Ok(relations.iter().flat_map(|dependency| &dependency.alternatives).any(|relation| {
        relation.name == other.name() && relation.constraint.as_ref().is_none_or(|c| c.admits(other.version()))
    }))
}

#[cfg(test)]
mod tests;
