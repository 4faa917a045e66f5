//! The command line of systemd-nspawn(1), with the grammar of getopt_long: clusters of short switches, unique
//! abbreviations of long ones, and an end at the first word that is no switch.

mod similar;
#[cfg(test)]
mod tests;

use std::ffi::{OsStr, OsString};
use std::ops::ControlFlow::{self, Break, Continue};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::options::{self, Argument, Caller, Effect, Given, OptionRow, Problem};
use crate::{ContainerSpec, SettingsMode, Shell, SpecPatch, oci, settings};

/// What the words on a command line do not say right.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// No such switch.
    #[error("there is no option {0}")]
    Unknown(String),
    /// No such switch, but one that is written almost like this.
    #[error("there is no option {0}; did you mean {1}?")]
    Misspelled(String, String),
    /// More than one switch begins like this.
    #[error("the option {0} could be {1}")]
    Ambiguous(String, String),
    /// Its value is missing.
    #[error("the option {0} needs a value: {1}")]
    Missing(String, &'static str),
    /// It takes none.
    #[error("the option {0} takes no value")]
    Superfluous(String),
    /// Known, but not carried out.
    #[error("the option {0} is not carried out by this version of redd: {1}")]
    NotCarriedOut(String, &'static str),
    /// Its value is none.
    #[error("{option}: {reason}")]
    Value {
        /// Which option, and its value.
        option: String,
        /// Why.
        reason: String,
    },
    /// Options that exclude each other, or one that misses another.
    #[error("{0}")]
    Conflict(&'static str),
    /// Limits of a forwarded journal where none is forwarded.
    #[error("{0}: there is nothing to limit without --forward-journal=; add it or leave this out")]
    NothingToLimit(String),
    /// Limits of a bundle for the unit that the caller is in.
    #[error(
        "--keep-unit excludes linux.resources of the bundle, which asks for {0}=: the unit is not redd's to limit; leave \
         one of them out"
    )]
    LimitsOfBundle(&'static str),
    /// A settings file keeps the container from starting.
    #[error(transparent)]
    Settings(#[from] settings::Error),
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// The help text.
    Help,
    /// The version.
    Version,
    /// What a shell needs to complete command lines.
    Completions(Shell),
    /// All values that an option takes, one a line.
    Values(String),
    /// A container.
    Run(Box<ContainerSpec>),
    /// A container, once the bundle in this directory has been read and put below the rest ([`with_bundle`]).
    Bundle(PathBuf, Box<SpecPatch>),
}

/// Reads a command line, without the program's own name. As with getopt_long, words count in their order: what comes
/// after `--help` is not looked at any more.
///
/// # Errors
/// A [`UsageError`] for the first word that is wrong, or for words that do not go together.
pub fn read(arguments: &[OsString], caller: Caller<'_>) -> Result<Request, UsageError> {
    read_with(arguments, caller, &settings::NoFiles)
}

/// The same, together with the settings file that belongs to the machine.
///
/// # Errors
/// As [`read`], and [`UsageError::Settings`].
pub fn read_with(
    arguments: &[OsString],
    caller: Caller<'_>,
    files: &dyn settings::Files,
) -> Result<Request, UsageError> {
    let mut patch = match read_words(arguments, caller)? {
        Continue(patch) => patch,
        Break(request) => return Ok(request),
    };
    if let Some(directory) = patch.oci_bundle.take() {
        // It takes the place of a settings file.
        patch.read_environment(caller.variable)?;
        return Ok(Request::Bundle(directory, Box::new(patch)));
    }
    let settings = find_settings(&patch, caller, files)?;
    settings.warnings.iter().for_each(|warning| files.warn(warning));
    let mut environment = SpecPatch::default();
    environment.read_environment(caller.variable)?;
    let layers = settings::Layers::settle(environment, patch, &settings);
    layers.warnings().iter().for_each(|warning| files.warn(warning));
    layers.together().validate(caller.directory).map(|spec| Request::Run(Box::new(spec)))
}

/// What the words alone ask for: what they say of a container, or something else.
pub(crate) type Asked = ControlFlow<Request, SpecPatch>;

/// Reads the words alone, without the rest that belongs to a start.
pub(crate) fn read_words(arguments: &[OsString], caller: Caller<'_>) -> Result<Asked, UsageError> {
    let mut words = Words::new(arguments);
    let mut patch = SpecPatch::default();
    while let Some(word) = words.next_word()? {
        let given = Given { value: word.value.as_deref(), caller };
        if word.row.lists && given.value.is_some_and(|value| value == "help") {
            return Ok(Break(Request::Values(word.row.kind.words().join("\n") + "\n")));
        }
        match word.row.effect {
            Effect::Help => return Ok(Break(Request::Help)),
            Effect::Version => return Ok(Break(Request::Version)),
            Effect::Completions => return completions(&word).map(Break),
            Effect::Later(why) => return Err(UsageError::NotCarriedOut(word.shown, why)),
            Effect::Patch(parse) => parse(&mut patch, &given).map_err(|problem| word.problem(&problem))?,
        }
    }
    let rest = words.rest();
    patch.arguments = Some(rest.to_vec()).filter(|rest| !rest.is_empty());
    Ok(Continue(patch))
}

/// What the settings file says, if one is wanted and there.
fn find_settings(
    patch: &SpecPatch,
    caller: Caller<'_>,
    files: &dyn settings::Files,
) -> Result<settings::Settings, settings::Error> {
    let mode = patch.settings.unwrap_or(SettingsMode::Yes);
    if mode == SettingsMode::No || patch.cleanup == Some(true) {
        return Ok(settings::Settings::default());
    }
    let Some(file) = files.find(patch)? else { return Ok(settings::Settings::default()) };
    let trusted = file.trusted || mode == SettingsMode::Trusted;
    settings::read(&file, trusted, files, caller)
}

/// What the command line says over what the bundle says, checked.
///
/// # Errors
/// A [`UsageError`] for what does not go together.
pub fn with_bundle(patch: SpecPatch, bundle: SpecPatch, current: &Path) -> Result<ContainerSpec, UsageError> {
    if let (Some(true), Some(limit)) = (patch.keep_unit, bundle.properties.iter().flatten().next()) {
        return Err(UsageError::LimitsOfBundle(limit.setting));
    }
    oci::combine(patch, bundle).validate(current)
}

fn completions(word: &Word) -> Result<Request, UsageError> {
    let name = word.value.as_deref().unwrap_or_default().to_string_lossy();
    match Shell::named(&name) {
        Some(shell) => Ok(Request::Completions(shell)),
        None => Err(word.problem(&Problem::Invalid("it is none of bash, zsh, fish".into()))),
    }
}

/// A switch and its value, as they stand on the command line.
#[derive(Debug, Clone)]
pub struct Word {
    /// Which.
    pub row: &'static OptionRow,
    /// As it was written, an abbreviation in full.
    pub shown: String,
    /// The value.
    pub value: Option<OsString>,
}

impl Word {
    fn problem(&self, problem: &Problem) -> UsageError {
        let option = match &self.value {
            Some(value) if self.shown.starts_with("--") => format!("{}={}", self.shown, visible(value)),
            Some(value) => format!("{} {}", self.shown, visible(value)),
            None => self.shown.clone(),
        };
        UsageError::Value { option, reason: problem.to_string() }
    }
}

/// The switches of a command line, one after the other.
#[derive(Debug)]
pub struct Words<'a> {
    rest: &'a [OsString],
    /// What is left of a cluster of short switches.
    cluster: &'a [u8],
}

impl<'a> Words<'a> {
    /// Starts at the first word.
    #[must_use]
    pub fn new(arguments: &'a [OsString]) -> Self {
        Self { rest: arguments, cluster: &[] }
    }

    /// What is no switch: the program and its arguments. Meant for after the last switch.
    #[must_use]
    pub fn rest(&self) -> &'a [OsString] {
        self.rest
    }

    /// The next switch; `None` at the first word that is none, and after `--`.
    ///
    /// # Errors
    /// A [`UsageError`] if it is none that exists, or misses a value, or has one that it cannot have.
    pub fn next_word(&mut self) -> Result<Option<Word>, UsageError> {
        if !self.cluster.is_empty() {
            return self.short_switch().map(Some);
        }
        let Some((word, rest)) = self.rest.split_first() else { return Ok(None) };
        let bytes = word.as_bytes();
        if bytes.len() < 2 || bytes[0] != b'-' {
            return Ok(None);
        }
        self.rest = rest;
        match bytes.strip_prefix(b"--") {
            Some(b"") => Ok(None),
            Some(long) => self.long_switch(long).map(Some),
            None => {
                self.cluster = &bytes[1..];
                self.short_switch().map(Some)
            }
        }
    }

    fn take(&mut self) -> Option<OsString> {
        let (word, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(word.clone())
    }

    fn long_switch(&mut self, text: &[u8]) -> Result<Word, UsageError> {
        let (name, value) = match text.iter().position(|byte| *byte == b'=') {
            Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]).to_owned())),
            None => (text, None),
        };
        let row = find_long(&visible(OsStr::from_bytes(name)))?;
        let shown = row.spelling();
        if row.long == "user" {
            return self.user(row, value);
        }
        let value = match (row.argument, value) {
            (Argument::None, Some(_)) => return Err(UsageError::Superfluous(shown)),
            (Argument::Required(what), None) => Some(self.take().ok_or(UsageError::Missing(shown.clone(), what))?),
            (_, value) => value,
        };
        Ok(Word { row, shown, value })
    }

    /// `--user` alone chooses a service manager; with a value, or before a word that is no switch, it is `--uid`.
    fn user(&mut self, row: &'static OptionRow, value: Option<OsString>) -> Result<Word, UsageError> {
        let is_name = |word: &&OsString| word.len() < 2 || word.as_bytes()[0] != b'-';
        let value = match value {
            Some(value) => Some(value),
            None if self.rest.first().filter(is_name).is_some() => self.take(),
            None => None,
        };
        let row = if value.is_some() { find_long("uid")? } else { row };
        Ok(Word { row, shown: "--user".into(), value })
    }

    fn short_switch(&mut self) -> Result<Word, UsageError> {
        let Some((byte, attached)) = self.cluster.split_first() else {
            return Err(UsageError::Unknown("-".into()));
        };
        self.cluster = attached;
        let shown = format!("-{}", byte.escape_ascii());
        let row = options::all()
            .find(|row| row.short == Some(char::from(*byte)))
            .ok_or_else(|| UsageError::Unknown(shown.clone()))?;
        let value = match row.argument {
            Argument::None => None,
            Argument::Optional(_) | Argument::Required(_) if !attached.is_empty() => {
                self.cluster = &[];
                Some(OsStr::from_bytes(attached).to_owned())
            }
            Argument::Optional(_) => None,
            Argument::Required(what) => Some(self.take().ok_or(UsageError::Missing(shown.clone(), what))?),
        };
        Ok(Word { row, shown, value })
    }
}

/// A word as it can be shown: what would move the cursor of a terminal, or do worse, is escaped.
fn visible(word: &OsStr) -> String {
    let mut text = String::new();
    for letter in word.to_string_lossy().chars() {
        match letter.is_control() {
            true => text.extend(letter.escape_default()),
            false => text.push(letter),
        }
    }
    text
}

/// The switch with this name, or the only one that begins like it.
fn find_long(name: &str) -> Result<&'static OptionRow, UsageError> {
    let known = || options::all().filter(|row| !row.long.is_empty());
    if let Some(row) = known().find(|row| row.long == name) {
        return Ok(row);
    }
    let begins = |row: &&OptionRow| !name.is_empty() && !row.own && row.long.starts_with(name);
    let candidates: Vec<_> = known().filter(begins).collect();
    match candidates[..] {
        [] => Err(match similar::closest(name, known().map(|row| row.long)) {
            Some(close) => UsageError::Misspelled(format!("--{name}"), format!("--{close}")),
            None => UsageError::Unknown(format!("--{name}")),
        }),
        [row] => Ok(row),
        [ref first @ .., last] => {
            let first: Vec<_> = first.iter().map(|row| row.spelling()).collect();
            Err(UsageError::Ambiguous(format!("--{name}"), format!("{} or {}", first.join(", "), last.spelling())))
        }
    }
}
