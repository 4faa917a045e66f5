//! The command line of systemd-nspawn(1), with the grammar of getopt_long: clusters of short switches, unique
//! abbreviations of long ones, and an end at the first word that is no switch.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use thiserror::Error;

use crate::options::{Argument, OPTIONS, OptionRow};

/// What the words on a command line do not say right.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// No such switch.
    #[error("there is no option {0}; see --help")]
    Unknown(String),
    /// More than one switch begins like this.
    #[error("the option {0} could be {1}")]
    Ambiguous(String, String),
    /// Its value is missing.
    #[error("the option {0} needs a value")]
    Missing(String),
    /// It takes none.
    #[error("the option {0} takes no value")]
    Superfluous(String),
    /// Known, but not carried out.
    #[error("the option {0} is not carried out by this version of redd yet")]
    NotCarriedOut(String),
    /// Its value is none.
    #[error("{option}: {reason}")]
    Value {
        /// Which.
        option: String,
        /// Why.
        reason: String,
    },
    /// Options that exclude each other.
    #[error("{0}")]
    Conflict(&'static str),
}

/// A switch and its value, as they stand on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The long name, or the short one where there is no other.
    pub name: String,
    /// The value.
    pub value: Option<OsString>,
}

/// Parts a command line into its switches and the rest.
///
/// # Errors
/// A [`UsageError`] for the first word that is wrong.
pub fn split(arguments: &[OsString]) -> Result<(Vec<Word>, Vec<OsString>), UsageError> {
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.as_slice().first() {
        let bytes = word.as_bytes();
        if bytes == b"--" {
            rest.next();
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            break;
        }
        rest.next();
        if let Some(long) = bytes.strip_prefix(b"--") {
            words.push(long_switch(long, &mut rest)?);
        } else {
            short_switches(&bytes[1..], &mut rest, &mut words)?;
        }
    }
    Ok((words, rest.cloned().collect()))
}

fn long_switch(text: &[u8], rest: &mut std::slice::Iter<'_, OsString>) -> Result<Word, UsageError> {
    let (name, value) = match text.iter().position(|byte| *byte == b'=') {
        Some(at) => (&text[..at], Some(OsStr::from_bytes(&text[at + 1..]).to_owned())),
        None => (text, None),
    };
    let name = String::from_utf8_lossy(name).into_owned();
    let row = find_long(&name)?;
    let shown = format!("--{}", row.long);
    let value = match (row.argument, value) {
        (Argument::None, Some(_)) => return Err(UsageError::Superfluous(shown)),
        (Argument::Required(_), None) => Some(rest.next().cloned().ok_or(UsageError::Missing(shown.clone()))?),
        (_, value) => value,
    };
    carried_out(row, &shown)?;
    Ok(Word { name: row.long.to_owned(), value })
}

fn find_long(name: &str) -> Result<&'static OptionRow, UsageError> {
    let known = || OPTIONS.iter().filter(|row| !row.long.is_empty());
    if let Some(row) = known().find(|row| row.long == name) {
        return Ok(row);
    }
    let candidates: Vec<_> = known().filter(|row| !name.is_empty() && row.long.starts_with(name)).collect();
    match candidates[..] {
        [] => Err(UsageError::Unknown(format!("--{name}"))),
        [row] => Ok(row),
        _ => {
            let names: Vec<_> = candidates.iter().map(|row| format!("--{}", row.long)).collect();
            Err(UsageError::Ambiguous(format!("--{name}"), names.join(" or ")))
        }
    }
}

fn short_switches(
    cluster: &[u8],
    rest: &mut std::slice::Iter<'_, OsString>,
    words: &mut Vec<Word>,
) -> Result<(), UsageError> {
    for (at, byte) in cluster.iter().enumerate() {
        let shown = format!("-{}", char::from(*byte));
        let row = OPTIONS
            .iter()
            .find(|row| row.short == Some(char::from(*byte)))
            .ok_or_else(|| UsageError::Unknown(shown.clone()))?;
        carried_out(row, &shown)?;
        let name = if row.long.is_empty() { char::from(*byte).to_string() } else { row.long.to_owned() };
        if row.argument == Argument::None {
            words.push(Word { name, value: None });
            continue;
        }
        let attached = &cluster[at + 1..];
        let value = if attached.is_empty() {
            rest.next().cloned().ok_or(UsageError::Missing(shown))?
        } else {
            OsStr::from_bytes(attached).to_owned()
        };
        words.push(Word { name, value: Some(value) });
        return Ok(());
    }
    Ok(())
}

fn carried_out(row: &OptionRow, shown: &str) -> Result<(), UsageError> {
    if row.carried_out { Ok(()) } else { Err(UsageError::NotCarriedOut(shown.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<(Vec<(String, Option<OsString>)>, Vec<OsString>), UsageError> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        split(&words).map(|(words, rest)| (words.into_iter().map(|word| (word.name, word.value)).collect(), rest))
    }

    #[test]
    fn clusters_abbreviations_and_the_first_operand() {
        let expected = vec![("boot".to_owned(), None), ("directory".to_owned(), Some(OsString::from("/x")))];
        assert_eq!(parse(&["-bD/x"]), Ok((expected.clone(), vec![])));
        assert_eq!(parse(&["-bD", "/x"]), Ok((expected.clone(), vec![])));
        assert_eq!(parse(&["--boo", "--dir", "/x"]), Ok((expected.clone(), vec![])));
        assert_eq!(
            parse(&["-b", "--directory=/x", "ls", "-q"]),
            Ok((expected.clone(), vec!["ls".into(), "-q".into()]))
        );
        assert_eq!(parse(&["-b", "--directory=/x", "--", "-q"]), Ok((expected, vec!["-q".into()])));
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(parse(&["--nonsense"]), Err(UsageError::Unknown("--nonsense".into())));
        assert_eq!(parse(&["--private"]), parse(&["--private"]));
        assert!(matches!(parse(&["--private"]), Err(UsageError::Ambiguous(..))));
        assert_eq!(parse(&["-D"]), Err(UsageError::Missing("-D".into())));
        assert_eq!(parse(&["--boot=yes"]), Err(UsageError::Superfluous("--boot".into())));
    }

    #[test]
    fn what_is_not_carried_out_is_refused_by_name() {
        for row in OPTIONS.iter().filter(|row| !row.carried_out) {
            let word = if row.long.is_empty() {
                format!("-{}", row.short.expect("a spelling"))
            } else {
                format!("--{}", row.long)
            };
            let words: Vec<OsString> = vec![word.clone().into(), "value".into()];
            assert_eq!(split(&words).err(), Some(UsageError::NotCarriedOut(word)));
        }
    }
}
