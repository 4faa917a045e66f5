//! Values as they stand on a command line or in a settings file.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::AbsPath;

/// Why a value is not taken.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Problem {
    /// It has no meaning.
    #[error("{0}")]
    Invalid(String),
    /// It has one, but this version does not carry it out; why, as the end of a sentence.
    #[error("not carried out by this version of redd: {0}")]
    Later(&'static str),
}

impl Problem {
    /// A value that has no meaning, for this reason.
    pub(super) fn invalid(reason: impl Display) -> Self {
        Self::Invalid(reason.to_string())
    }
}

/// What of the caller a value may refer to.
#[derive(Clone, Copy)]
pub struct Caller<'a> {
    /// Its working directory, without symbolic links.
    pub directory: &'a Path,
    /// Looks up its environment.
    pub variable: &'a dyn Fn(&OsStr) -> Option<OsString>,
}

/// A value and who gives it.
#[derive(Clone, Copy)]
pub struct Given<'a> {
    /// The value; absent where an optional one was left out.
    pub value: Option<&'a OsStr>,
    /// Who gives it.
    pub caller: Caller<'a>,
}

impl<'a> Given<'a> {
    /// The value, empty where it was left out.
    pub(super) fn raw(&self) -> &'a OsStr {
        self.value.unwrap_or_default()
    }

    /// The value as text.
    pub(super) fn text(&self) -> Result<&'a str, Problem> {
        self.raw().to_str().ok_or_else(|| Problem::invalid("it is no text in UTF-8"))
    }

    pub(super) fn boolean(&self) -> Result<bool, Problem> {
        let text = self.text()?;
        boolean(text).ok_or_else(|| Problem::invalid("it is neither yes nor no"))
    }

    /// A value that a `FromStr` implementation knows.
    pub(super) fn parse<T: std::str::FromStr<Err: Display>>(&self) -> Result<T, Problem> {
        self.text()?.parse().map_err(Problem::invalid)
    }

    /// The same; empty takes back what an earlier use has set.
    pub(super) fn parse_or_reset<T: std::str::FromStr<Err: Display>>(&self) -> Result<Option<T>, Problem> {
        if self.raw().is_empty() { Ok(None) } else { self.parse().map(Some) }
    }

    /// A path of the host, seen from the caller's working directory; empty takes back what an earlier use has set.
    pub(super) fn host_path(&self) -> Option<PathBuf> {
        Some(self.raw()).filter(|path| !path.is_empty()).map(|path| self.caller.directory.join(path))
    }

    /// The value that one of these words stands for.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Problem> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            Problem::Invalid(format!("it is none of {}", known.join(", ")))
        })
    }
}

/// The words that systemd takes for yes and no, see systemd.syntax(7); `None` for others.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "y" | "true" | "t" | "on" => Some(true),
        "0" | "no" | "n" | "false" | "f" | "off" => Some(false),
        _ => None,
    }
}

/// A whole number as strtol(3) reads it with base 0: decimal, `0x` and hexadecimal, `0` and octal.
pub(crate) fn integer(text: &str) -> Option<i64> {
    let text = text.trim_start_matches([' ', '\t', '\n', '\r']);
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (digits, base) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i64::from_str_radix(digits, base).ok()?;
    Some(if negative { -number } else { number })
}

/// A path inside the container.
pub(super) fn inside(path: &OsStr) -> Result<AbsPath, Problem> {
    AbsPath::try_from(Path::new(path)).map_err(Problem::invalid)
}

/// Parts a value at its colons; a backslash takes the next character as it is, so `\:` is a colon that does not part.
pub(super) fn fields(value: &OsStr) -> Result<Vec<OsString>, Problem> {
    let mut all = vec![Vec::new()];
    let mut bytes = value.as_bytes().iter();
    while let Some(byte) = bytes.next() {
        let last = all.len() - 1;
        match byte {
            b':' => all.push(Vec::new()),
            b'\\' => {
                let escaped = bytes.next().ok_or_else(|| Problem::invalid("it ends in a backslash"))?;
                all[last].push(*escaped);
            }
            other => all[last].push(*other),
        }
    }
    Ok(all.into_iter().map(OsString::from_vec).collect())
}

/// Takes `.` and `..` out of a path by its words alone. Only for paths whose first part has no symbolic links.
pub(super) fn without_dots(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            std::path::Component::Normal(name) => clean.push(name),
            std::path::Component::ParentDir => {
                clean.pop();
            }
            _ => {}
        }
    }
    clean
}
