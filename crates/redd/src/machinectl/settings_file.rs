//! The settings file of a machine, systemd.nspawn(5): which it is, what is in it, and what is wrong there.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use image::pool::{Error, HOST, Pool, image::is_name};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use spawn::Search;
use spec::options::Caller;
use spec::settings::{self, LARGEST};

use super::images;
use crate::failure::Failure;

const ENDING: &str = ".nspawn";

/// The settings file that a word of the command line means, there or not.
#[derive(Debug)]
pub(crate) struct SettingsFile {
    /// Where it is, or where it belongs; no symbolic link.
    pub(crate) path: PathBuf,
    /// Where it was looked for, for people.
    pub(crate) machine: String,
    /// It is where only the administrator puts files.
    trusted: bool,
    /// What is in it, and whose it is; none if it is not there.
    pub(crate) now: Option<(Vec<u8>, Metadata)>,
    /// There is an image of that name, or a path was given.
    pub(crate) has_machine: bool,
}

impl SettingsFile {
    /// That of a machine, searched for as a start does: in the administrator's directories, then beside the image. With a
    /// slash in it the word is a path.
    pub(crate) fn find(pool: &Pool, word: &str) -> Result<Self, Failure> {
        if word.contains('/') {
            return Self::at(pool, word).map_err(Failure::usage);
        }
        let name = word.strip_suffix(ENDING).unwrap_or(word);
        if name == HOST {
            return Err(Failure::usage(anyhow!("{HOST} is the running system itself, which has no settings file")));
        }
        if !is_name(name) {
            return Err(images::failure(Error::Name(name.to_owned())));
        }
        let file = format!("{name}{ENDING}");
        let image = match pool.find(name) {
            Ok(image) => Some(image),
            Err(Error::Unknown(_)) => None,
            Err(error) => return Err(images::failure(error)),
        };
        let beside = image.as_ref().and_then(|image| image.path.parent());
        let own = pool.settings().iter().map(|directory| (directory.join(&file), true));
        for (path, trusted) in own.chain(beside.map(|directory| (directory.join(&file), false))) {
            // A file that came with a tree is no link; the administrator may link.
            let found = if trusted { followed(&path) } else { Ok(path.clone()) };
            let read = found.and_then(|path| Ok(read(&path)?.map(|now| (path, now))));
            if let Some((path, now)) = read.map_err(|error| Failure::new(error, None))? {
                let now = Some(now);
                return Ok(Self { path, machine: name.to_owned(), trusted, now, has_machine: image.is_some() });
            }
        }
        let Some(directory) = pool.settings().first() else {
            return Err(Failure::new(anyhow!("there is no place for settings files"), None));
        };
        let (path, machine) = (directory.join(&file), name.to_owned());
        Ok(Self { path, machine, trusted: true, now: None, has_machine: image.is_some() })
    }

    fn at(pool: &Pool, word: &str) -> anyhow::Result<Self> {
        let path = std::path::absolute(word).with_context(|| format!("cannot look up {word:?}"))?;
        let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(ENDING));
        let Some(machine) = name.filter(|name| !name.is_empty()).map(str::to_owned) else {
            bail!("{word:?} is no settings file: their names end in {ENDING}");
        };
        let trusted = path.parent().is_some_and(|parent| pool.settings().iter().any(|place| place == parent));
        let path = followed(&path)?;
        let now = read(&path)?;
        Ok(Self { path, machine, trusted, now, has_machine: true })
    }

    /// Reads it again: whether it is still as it was found.
    pub(crate) fn is_unchanged(&self) -> anyhow::Result<bool> {
        let now = read(&self.path)?;
        Ok(now.as_ref().map(|(text, _)| text) == self.now.as_ref().map(|(text, _)| text))
    }

    /// What a start would say of such a text in this place, line by line.
    pub(crate) fn complaints(&self, text: Vec<u8>) -> Vec<String> {
        let root = Path::new("/");
        let (path, machine) = (self.path.clone(), self.machine.clone());
        let file = settings::File { path, text, trusted: self.trusted, machine };
        let search = Search { directory: root, say: &|_| {} };
        let caller = Caller { directory: root, variable: &|_| None };
        match settings::read(&file, self.trusted, &search, caller) {
            Ok(read) => read.warnings,
            Err(error) => vec![error.to_string()],
        }
    }
}

/// Where a path leads that may be a link; itself where nothing is.
fn followed(path: &Path) -> anyhow::Result<PathBuf> {
    if path.is_symlink() {
        return std::fs::canonicalize(path).with_context(|| format!("the link {} leads nowhere", path.display()));
    }
    Ok(path.to_owned())
}

/// What is in a regular file; none if it is not there.
pub(crate) fn read(path: &Path) -> anyhow::Result<Option<(Vec<u8>, Metadata)>> {
    let problem = || format!("cannot read {}", path.display());
    // Neither a fifo nor a terminal holds us up.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: OwnedFd = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::LOOP) => return Err(anyhow!("it is a symbolic link")).with_context(problem),
        Err(error) => return Err(error).with_context(problem),
    };
    let file = File::from(file);
    let status = file.metadata().with_context(problem)?;
    if !status.is_file() {
        return Err(anyhow!("it is no regular file")).with_context(problem);
    }
    let mut text = Vec::new();
    file.take(LARGEST as u64 + 1).read_to_end(&mut text).with_context(problem)?;
    if text.len() > LARGEST {
        return Err(anyhow!("it is larger than {LARGEST} bytes")).with_context(problem);
    }
    Ok(Some((text, status)))
}
