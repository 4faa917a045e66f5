//! Settings files, see systemd.nspawn(5): from the text of a file to a [`SpecPatch`], and how that goes together with the
//! command line. No I/O: who calls finds and reads the file, see [`Files`].
//!
//! What a key means is in the row of the option table that names it; here is only what differs in a file: flags take yes
//! or no, some keys take lists of words, and an empty value takes back what the same file has set before.
//!
//! What in a file that nobody vouches for would give the container more than it has without the file is ignored with a
//! warning; the row of each key says what that is, see [`Trust`]. A key that counts but is not carried out by this
//! version refuses the start. All else that is wrong in a file is warned of and
//! ignored, as systemd-nspawn does, except what makes the file unreadable.

mod merge;
mod report;
mod specifier;
mod syntax;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::PathBuf;

use thiserror::Error;

use crate::options::{self, Argument, Caller, Effect, Given, OptionRow, Problem, Trust};
use crate::{Resource, SpecPatch};

pub use merge::Layers;
pub(crate) use merge::below;
pub use report::{Entry, Origin, report};
pub use syntax::{Assignment, Parsed, parse};

/// The largest settings file that is read, in bytes.
pub const LARGEST: usize = 1 << 16;

/// What to do that all of a file counts.
const TRUST: &str = "move the file to /etc/systemd/nspawn, or use --settings=trusted";

/// Why a settings file keeps a container from starting.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// It cannot be read.
    #[error("cannot read the settings in {path}: {reason}; repair it, or use --settings=no", path = .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A line that begins a section, but is none.
    #[error("{place}: this is no section: {text}")]
    Section {
        /// File and line.
        place: String,
        /// The line.
        text: String,
    },
    /// A key that counts, but that this version does not carry out.
    #[error("{place}: {key}= is not carried out by this version of redd: {why}")]
    NotCarriedOut {
        /// File and line.
        place: String,
        /// The key.
        key: String,
        /// The reason, as the end of a sentence.
        why: &'static str,
    },
}

/// A settings file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub text: Vec<u8>,
    /// It was found where only the administrator puts files.
    pub trusted: bool,
    /// The name of the machine that it is for, without the suffix of an ephemeral copy.
    pub machine: String,
}

/// Who finds settings files, knows the host and passes warnings on.
pub trait Files {
    /// The file for what this command line asks for.
    ///
    /// # Errors
    /// [`Error::Read`].
    fn find(&self, command_line: &SpecPatch) -> Result<Option<File>, Error>;
    /// What a letter after a percent sign stands for on this host; `None` where it has no meaning or cannot be known.
    fn specifier(&self, letter: char) -> Option<String>;
    /// Tells a person.
    fn warn(&self, text: &str);
}

/// Where there are none.
#[derive(Clone, Copy, Debug)]
pub struct NoFiles;

impl Files for NoFiles {
    fn find(&self, _: &SpecPatch) -> Result<Option<File>, Error> {
        Ok(None)
    }

    fn specifier(&self, _: char) -> Option<String> {
        None
    }

    fn warn(&self, _: &str) {}
}

/// A line of a settings file that counts.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The row of the option table.
    pub row: &'static OptionRow,
    /// The section.
    pub section: String,
    /// The key, as it is written.
    pub key: String,
    /// The words of the value, quotes and percent signs resolved.
    pub words: Vec<String>,
    /// The line.
    pub line: usize,
}

/// What a settings file says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The file; empty where there is none.
    pub path: PathBuf,
    /// All of its keys could take effect.
    pub trusted: bool,
    /// All of it.
    pub patch: SpecPatch,
    /// Line by line.
    pub assigned: Vec<Assigned>,
    /// What a person should know.
    pub warnings: Vec<String>,
}

/// The row of the option table for a key, with the place of its setting.
#[must_use]
pub fn find_key(section: &str, key: &str) -> Option<&'static OptionRow> {
    let rows = options::all().chain(std::iter::once(&options::ARGUMENTS));
    rows.into_iter().find(|row| {
        row.setting.is_some_and(|setting| {
            setting.section == section
                && match setting.key.strip_suffix('*') {
                    Some(start) => key.strip_prefix(start).is_some_and(is_limit),
                    None => setting.key == key,
                }
        })
    })
}

/// The part of a resource limit's name behind `RLIMIT_`.
fn is_limit(name: &str) -> bool {
    Resource::ALL.into_iter().any(|resource| resource.name().trim_start_matches("RLIMIT_") == name)
}

/// Reads a settings file. `trusted`: all of its keys may take effect. `caller` is whose working directory relative paths
/// are seen from.
///
/// # Errors
/// An [`enum@Error`] for what must not be ignored.
pub fn read(file: &File, trusted: bool, files: &dyn Files, caller: Caller<'_>) -> Result<Settings, Error> {
    let place = |line: usize| format!("{}:{line}", file.path.display());
    let parsed = parse(&file.text).map_err(|error| Error::Section { place: place(error.line), text: error.text })?;
    let mut settings = Settings { path: file.path.clone(), trusted, ..Settings::default() };
    for (line, text) in &parsed.complaints {
        settings.warnings.push(format!("{}: {text}", place(*line)));
    }
    for Assignment { section, key, value, line } in parsed.assignments {
        let known = find_key(&section, &key).and_then(|row| Some((row, row.setting?)));
        let Some((row, setting)) = known else {
            settings.warnings.push(format!("{}: there is no key {key}= in [{section}]; it is ignored", place(line)));
            continue;
        };
        if !trusted && !setting.trust.has_untrusted() {
            let place = place(line);
            settings.warnings.push(format!("{place}: {key}= is ignored: it is for trusted files only; {TRUST}"));
            continue;
        }
        if value.is_empty() {
            settings.assigned.retain(|earlier| earlier.key != key || earlier.section != section);
            continue;
        }
        let words = match split(&key, &value) {
            Ok(words) => words,
            Err(reason) => {
                settings.warnings.push(format!("{}: {key}={value} is ignored: {reason}", place(line)));
                continue;
            }
        };
        let mut kept = Vec::new();
        let value = |letter| resolve(letter, file, trusted, files);
        let words = words.iter().map(|word| specifier::expand(word, value, |what| kept.push(what))).collect();
        settings
            .warnings
            .extend(kept.iter().map(|what| {
                format!("{}: {key}=: {what} and stays as it is; write %% for a percent sign", place(line))
            }));
        settings.assigned.push(Assigned { row, section, key, words, line });
    }
    apply(&mut settings, &place, caller)?;
    Ok(settings)
}

/// What a letter after a percent sign stands for.
fn resolve(letter: char, file: &File, trusted: bool, files: &dyn Files) -> Result<String, specifier::Kept> {
    match letter {
        'i' | 'I' => Ok(file.machine.clone()),
        _ if !trusted && specifier::tells_of_the_host(letter) => Err(specifier::Kept::Untrusted),
        _ => files.specifier(letter).ok_or(specifier::Kept::Meaningless),
    }
}

/// Reads the values into the patch, in order; those that have no meaning are warned of and leave the list.
fn apply(settings: &mut Settings, place: &dyn Fn(usize) -> String, caller: Caller<'_>) -> Result<(), Error> {
    // The caller's environment is not the file's.
    let caller = Caller { variable: &|_| None, ..caller };
    for mut assigned in std::mem::take(&mut settings.assigned) {
        let Assigned { row, key, line, .. } = &assigned;
        let (row, line, key) = (*row, *line, key.clone());
        let mut taken = Vec::new();
        for word in std::mem::take(&mut assigned.words) {
            if !settings.trusted && gives_back(row, &key, &word, caller) {
                settings.warnings.push(format!(
                    "{}: {key}={word} is ignored: in a file that is not trusted it can only take access away; {TRUST}",
                    place(line)
                ));
                continue;
            }
            match set(&mut settings.patch, row, &key, &word, caller) {
                Ok(()) => taken.push(word),
                Err(Problem::Later(why)) => return Err(Error::NotCarriedOut { place: place(line), key, why }),
                Err(Problem::Invalid(reason)) => {
                    settings.warnings.push(format!("{}: {key}={word} is ignored: {reason}", place(line)));
                }
            }
        }
        if !taken.is_empty() {
            settings.assigned.push(Assigned { words: taken, ..assigned });
        }
    }
    Ok(())
}

/// Whether a value is none for a file that is not trusted.
fn gives_back(row: &'static OptionRow, key: &str, word: &str, caller: Caller<'_>) -> bool {
    let Some(Trust::OnlyAway(back)) = row.setting.map(|setting| setting.trust) else { return false };
    let mut alone = SpecPatch::default();
    set(&mut alone, row, key, word, caller).is_ok() && back(&alone)
}

/// What of a value is read at once.
fn split(key: &str, value: &str) -> Result<Vec<String>, &'static str> {
    let quoted = matches!(key, "Parameters" | "Environment");
    let listed = matches!(
        key,
        "Capability" | "DropCapability" | "AmbientCapability" | "Interface" | "MACVLAN" | "IPVLAN" | "BindUser"
    );
    match (quoted, listed) {
        (true, _) => syntax::words(value),
        (_, true) => Ok(value.split_ascii_whitespace().map(str::to_owned).collect()),
        _ => Ok(vec![value.to_owned()]),
    }
}

/// One value of a key.
fn set(
    patch: &mut SpecPatch,
    row: &'static OptionRow,
    key: &str,
    word: &str,
    caller: Caller<'_>,
) -> Result<(), Problem> {
    if key == "Parameters" {
        patch.arguments.get_or_insert_default().push(word.into());
        return Ok(());
    }
    if key == "Environment" && !word.contains('=') {
        return Err(Problem::Invalid("it is not of the form NAME=VALUE".into()));
    }
    // On a command line these two are ids; in a file they are no and yes, as in all other keys that take these words.
    let word = match (key, word) {
        ("PrivateUsers", "0") => "no",
        ("PrivateUsers", "1") => "yes",
        _ => word,
    };
    let limit = key.strip_prefix("Limit").filter(|name| is_limit(name)).map(|name| format!("{name}={word}"));
    let word = limit.as_deref().unwrap_or(word);
    let flag = matches!(row.argument, Argument::None);
    if flag {
        let on = options::boolean(word).ok_or_else(|| Problem::Invalid("it is neither yes nor no".into()))?;
        if !on {
            return merge::turn_off(patch, key);
        }
        let other = if key == "Boot" { patch.as_pid2 } else { patch.boot };
        if matches!(key, "Boot" | "ProcessTwo") && other == Some(true) {
            return Err(Problem::Invalid(
                "Boot= and ProcessTwo= exclude each other, and the other one came first".into(),
            ));
        }
    }
    match row.effect {
        Effect::Patch(parse) => parse(patch, &Given { value: (!flag).then_some(OsStr::new(word)), caller }),
        Effect::Later(why) => Err(Problem::Later(why)),
        Effect::Help | Effect::Version | Effect::Completions => {
            Err(Problem::Invalid("it says nothing about a container".into()))
        }
    }
}
