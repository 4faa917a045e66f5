//! What was installed below a prefix: a line each, directories that were made for it with a slash at the end.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::files::{File, Kind};

/// Where it is, below the prefix.
const PATH: &str = "share/redd/installed";

/// The notes.
#[derive(Debug)]
pub(super) struct Manifest {
    directory: PathBuf,
    files: BTreeSet<PathBuf>,
    directories: BTreeSet<PathBuf>,
}

impl Manifest {
    /// Those of a prefix; empty if there are none.
    pub(super) fn read(directory: &Path) -> Result<Self> {
        let mut manifest =
            Self { directory: directory.to_owned(), files: BTreeSet::new(), directories: BTreeSet::new() };
        let path = directory.join(PATH);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(manifest),
            other => other.with_context(|| format!("cannot read {}", path.display()))?,
        };
        for line in text.lines() {
            if line.is_empty() || !Path::new(line).components().all(|part| matches!(part, Component::Normal(_))) {
                bail!("{}: {line:?} is no path below the prefix", path.display());
            }
            match line.strip_suffix('/') {
                Some(made) => manifest.directories.insert(made.into()),
                None => manifest.files.insert(line.into()),
            };
        }
        Ok(manifest)
    }

    /// Whether nothing is noted.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether this file below the prefix is ours.
    pub(super) fn has(&self, path: &Path) -> bool {
        self.files.contains(path)
    }

    /// The same for a whole path.
    pub(super) fn has_at(&self, path: &Path) -> bool {
        path.strip_prefix(&self.directory).is_ok_and(|path| self.has(path))
    }

    /// Puts a file in its place at once, so that a running program is not disturbed, and notes it before.
    pub(super) fn put(&mut self, file: &File) -> Result<()> {
        self.make_directories(&file.path)?;
        self.files.insert(file.path.clone());
        self.write()?;
        let path = self.directory.join(&file.path);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let stage = path.with_file_name(format!(".{name}.new"));
        let failed = || format!("cannot write {}", stage.display());
        match fs::remove_file(&stage) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error).with_context(failed),
            _ => {}
        }
        let mode = match &file.kind {
            Kind::Program(built) => {
                fs::copy(built, &stage).with_context(|| format!("cannot copy {}", built.display()))?;
                Some(0o755)
            }
            Kind::Text(text, program) => {
                fs::write(&stage, text).with_context(failed)?;
                Some(if *program { 0o755 } else { 0o644 })
            }
            Kind::Link(target) => {
                symlink(target, &stage).with_context(failed)?;
                None
            }
        };
        if let Some(mode) = mode {
            fs::set_permissions(&stage, fs::Permissions::from_mode(mode)).with_context(failed)?;
        }
        fs::rename(&stage, &path).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Removes what an earlier version had installed and this one has not.
    pub(super) fn finish(&mut self, all: &[File]) -> Result<()> {
        let old: Vec<PathBuf> =
            self.files.iter().filter(|path| !all.iter().any(|file| file.path == **path)).cloned().collect();
        for path in old {
            remove(&self.directory.join(&path))?;
            self.files.remove(&path);
        }
        self.write()
    }

    /// Removes all of it, and the directories that were made for it where nothing else is in them.
    pub(super) fn remove_all(&self) -> Result<()> {
        for path in &self.files {
            remove(&self.directory.join(path))?;
        }
        remove(&self.directory.join(PATH))?;
        // Those below come after those above.
        for path in self.directories.iter().rev() {
            match fs::remove_dir(self.directory.join(path)) {
                Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
                    return Err(error).with_context(|| format!("cannot remove {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The directories of a file below the prefix.
    fn make_directories(&mut self, path: &Path) -> Result<()> {
        fs::create_dir_all(&self.directory).with_context(|| format!("cannot make {}", self.directory.display()))?;
        let above: Vec<&Path> = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
        for path in above.into_iter().rev() {
            match fs::create_dir(self.directory.join(path)) {
                Ok(()) => drop(self.directories.insert(path.to_owned())),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<()> {
        self.make_directories(Path::new(PATH))?;
        let files = self.files.iter().map(|path| format!("{}\n", path.display()));
        let directories = self.directories.iter().map(|path| format!("{}/\n", path.display()));
        let path = self.directory.join(PATH);
        let stage = path.with_extension("new");
        let written = fs::write(&stage, files.chain(directories).collect::<String>());
        written.and_then(|()| fs::rename(&stage, &path)).with_context(|| format!("cannot write {}", path.display()))
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
