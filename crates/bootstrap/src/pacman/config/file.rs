//! The files of a configuration: lines of `[section]` and `key = value`, and other files that `Include` names.

use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::Error;
use crate::pacman::pattern;

/// How deep files can include each other below the first, as pacman has it.
const DEEPEST: usize = 10;
/// The most that is read: lines and files. A file that includes itself twice would otherwise be read a thousand times.
const MOST_LINES: usize = 200_000;
/// The longest file: mirror lists have some 50 KiB.
const LONGEST_FILE: u64 = 4 << 20;

/// Where something is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// What a configuration is read with: the machine's files, or others.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The files that a pattern of glob(7) means, in order.
    fn expand(&self, pattern: &str) -> Vec<PathBuf>;
}

/// The machine's files.
#[derive(Debug, Clone, Copy)]
pub struct HostFiles;

impl Files for HostFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(LONGEST_FILE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > LONGEST_FILE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 4 MiB"));
        }
        Ok(bytes)
    }

    fn expand(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::new()];
        for component in Path::new(pattern).components() {
            let Component::Normal(name) = component else {
                found.iter_mut().for_each(|path| path.push(component));
                continue;
            };
            let name = name.to_str().unwrap_or_default();
            found = found.into_iter().flat_map(|directory| matching(directory, name)).collect();
        }
        found
    }
}

/// What a component of a pattern means in a directory. Names with a leading dot are meant only by patterns with one.
fn matching(directory: PathBuf, name: &str) -> Vec<PathBuf> {
    if !is_pattern(name) {
        let path = directory.join(name);
        return if path.symlink_metadata().is_ok() { vec![path] } else { Vec::new() };
    }
    let place = if directory.as_os_str().is_empty() { Path::new(".") } else { &directory };
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.retain(|found| {
        found.starts_with('.') == name.starts_with('.') && pattern::matches(name.as_bytes(), found.as_bytes())
    });
    names.sort();
    names.into_iter().map(|found| directory.join(found)).collect()
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// `key = value`, or a key alone, in a section.
#[derive(Debug, Clone)]
pub(super) struct Directive {
    /// Where it is.
    pub(super) place: Place,
    /// The key.
    pub(super) key: String,
    /// The value, without blanks around it; may be empty. None without a `=`.
    pub(super) value: Option<String>,
}

/// A section, with what is in it. The same name can come more than once.
#[derive(Debug, Clone)]
pub(super) struct Section {
    /// Where it begins.
    pub(super) place: Place,
    /// What is between its brackets.
    pub(super) name: String,
    /// What it says, in order.
    pub(super) directives: Vec<Directive>,
}

/// Reads a configuration with all that it includes. A section goes on behind an included file: in the last section of
/// that, if it has any, as for pacman.
pub(super) fn read(path: &Path, files: &dyn Files) -> Result<Vec<Section>, Error> {
    let mut reader = Reader { files, sections: Vec::new(), lines: 0 };
    reader.file(path, None, 0)?;
    Ok(reader.sections)
}

struct Reader<'a> {
    files: &'a dyn Files,
    sections: Vec<Section>,
    lines: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, included_at: Option<&Place>, depth: usize) -> Result<(), Error> {
        let text = self.files.read(path).map_err(|source| match included_at {
            None => Error::Read { file: path.to_owned(), source },
            Some(place) => Error::Include { place: place.clone(), file: path.to_owned(), source },
        })?;
        let file: Arc<Path> = path.into();
        for (number, line) in text.split(|byte| *byte == b'\n').enumerate() {
            self.lines += 1;
            let place = Place { file: Arc::clone(&file), line: number + 1 };
            if self.lines > MOST_LINES {
                return Err(Error::TooLong { place, lines: MOST_LINES });
            }
            self.line(line, place, depth)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], place: Place, depth: usize) -> Result<(), Error> {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Ok(());
        }
        let Ok(line) = std::str::from_utf8(line) else { return Err(Error::NoText { place }) };
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(Error::NoText { place });
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            self.sections.push(Section { place, name: name.to_owned(), directives: Vec::new() });
            return Ok(());
        }
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.trim_end(), Some(value.trim_start())),
            None => (line, None),
        };
        if key == "Include" {
            let value = value.unwrap_or_default();
            return self.include(value, &place, depth);
        }
        let Some(section) = self.sections.last_mut() else {
            return Err(Error::NoSection { place, key: key.to_owned() });
        };
        section.directives.push(Directive { place, key: key.to_owned(), value: value.map(str::to_owned) });
        Ok(())
    }

    fn include(&mut self, pattern: &str, place: &Place, depth: usize) -> Result<(), Error> {
        if pattern.is_empty() {
            return Err(Error::NoValue { place: place.clone(), key: "Include".to_owned() });
        }
        if depth == DEEPEST {
            return Err(Error::TooDeep { place: place.clone(), deepest: DEEPEST });
        }
        let mut paths = if is_pattern(pattern) { self.files.expand(pattern) } else { Vec::new() };
        if paths.is_empty() {
            paths.push(PathBuf::from(pattern));
        }
        paths.iter().try_for_each(|path| self.file(path, Some(place), depth + 1))
    }
}
