//! The command line of machinectl(1): options before and behind the verb, with the abbreviations and messages of getopt(3).
//!
//! It is put into the order that the verbs' own definitions know: the verb, its options, its arguments. Options that say
//! nothing to a verb are accepted and left out, as by the original.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// Names, letters, and whether they take an argument.
type Row = (&'static str, Option<u8>, bool);

/// All options that machinectl has or had.
const OPTIONS: &[Row] = &[
    ("help", Some(b'h'), false),
    ("version", None, false),
    ("property", Some(b'p'), true),
    ("value-of", Some(b'P'), true),
    ("value", None, false),
    ("all", Some(b'a'), false),
    ("full", Some(b'l'), false),
    ("kill-whom", None, true),
    ("kill-who", None, true),
    ("signal", Some(b's'), true),
    ("uid", None, true),
    ("setenv", Some(b'E'), true),
    ("mkdir", None, false),
    ("read-only", None, false),
    ("lines", Some(b'n'), true),
    ("output", Some(b'o'), true),
    ("runner", None, true),
    ("vmspawn", Some(b'V'), false),
    ("now", None, false),
    ("force", None, false),
    ("max-addresses", None, true),
    ("quiet", Some(b'q'), false),
    ("host", Some(b'H'), true),
    ("machine", Some(b'M'), true),
    ("system", None, false),
    ("user", None, false),
    ("no-pager", None, false),
    ("no-legend", None, false),
    ("no-ask-password", None, false),
    ("verify", None, true),
    ("format", None, true),
    ("json", None, true),
    ("as-json", Some(b'j'), false),
];

/// Of these there is only the letter.
const LETTERS_ONLY: &[&str] = &["value-of", "vmspawn", "as-json"];

/// What is written instead of a verb, and which it is.
const HELP: &str = "help";

/// Why a command line was refused, in the original's words.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Neither of machinectl nor of the verb.
    #[error("unrecognized option '--{0}'")]
    Unknown(String),
    /// Likewise.
    #[error("invalid option -- '{0}'")]
    UnknownLetter(char),
    /// Nothing follows.
    #[error("option '--{0}' requires an argument")]
    Missing(String),
    /// Nothing follows.
    #[error("option requires an argument -- '{0}'")]
    MissingForLetter(char),
    /// It takes none.
    #[error("option '--{0}' doesn't allow an argument")]
    Surplus(String),
    /// Several begin like this.
    #[error("option '--{given}' is ambiguous; possibilities: {}", .candidates.join(" "))]
    Ambiguous {
        /// What was written.
        given: String,
        /// Which they are.
        candidates: Vec<String>,
    },
    /// No verb has this name.
    #[error("Unknown command verb '{0}'.")]
    Verb(String),
}

/// An option that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Option_ {
    name: String,
    letter: Option<u8>,
    takes: bool,
}

/// A command line taken apart.
#[derive(Debug, Default)]
struct Parts {
    options: Vec<(Option_, Option<OsString>)>,
    words: Vec<OsString>,
}

/// The words after the program's name in the order `VERB OPTIONS ARGUMENTS`.
///
/// # Errors
/// Those of getopt(3), and a verb that there is not.
pub(crate) fn ordered(words: &[OsString], command: &clap::Command) -> Result<Vec<OsString>, Error> {
    let Parts { options, words } = take_apart(words, &known(command))?;
    let mut words = words.into_iter();
    let mut line: Vec<OsString> = Vec::new();
    let verb = match words.next() {
        Some(verb) if verb == HELP => return Ok(vec!["--help".into()]),
        Some(verb) => {
            let named = verb.to_str().and_then(|name| command.find_subcommand(name));
            line.push(verb.clone());
            Some(named.ok_or_else(|| Error::Verb(verb.to_string_lossy().into_owned()))?)
        }
        None => None,
    };
    for (option, value) in options {
        let known = |command: &clap::Command| {
            command.get_arguments().find_map(|argument| {
                let names = argument.get_long_and_visible_aliases().unwrap_or_default();
                let hidden = argument.get_all_aliases().unwrap_or_default();
                let by_name = names.iter().chain(&hidden).any(|name| *name == option.name);
                let by_letter = option.letter.is_some_and(|letter| argument.get_short() == Some(char::from(letter)));
                (by_name || by_letter).then(|| argument.get_short().filter(|_| !by_name))
            })
        };
        let Some(letter) = verb.and_then(known).or_else(|| known(command)).or_else(|| always(&option)) else {
            continue;
        };
        let mut word = match letter {
            Some(letter) => OsString::from(format!("-{letter}")),
            None => OsString::from(format!("--{}", option.name)),
        };
        match (value, letter) {
            (Some(value), None) => {
                word.push("=");
                word.push(value);
                line.push(word);
            }
            (Some(value), Some(_)) => {
                word.push(value);
                line.push(word);
            }
            (None, _) => line.push(word),
        }
    }
    let rest: Vec<OsString> = words.collect();
    if rest.iter().any(|word| word.as_bytes().starts_with(b"-")) {
        line.push("--".into());
    }
    line.extend(rest);
    Ok(line)
}

/// These are everywhere.
fn always(option: &Option_) -> Option<Option<char>> {
    ["help", "version"].contains(&option.name.as_str()).then_some(None)
}

/// The original's options first, then those that only ours has.
fn known(command: &clap::Command) -> Vec<Option_> {
    let original = OPTIONS.iter().map(|(name, letter, takes)| Option_ {
        name: (*name).to_owned(),
        letter: *letter,
        takes: *takes,
    });
    let mut all: Vec<Option_> = original.collect();
    let commands = std::iter::once(command).chain(command.get_subcommands());
    for argument in commands.flat_map(clap::Command::get_arguments).filter(|argument| !argument.is_positional()) {
        let takes = argument.get_action().takes_values();
        let letter = argument.get_short().and_then(|letter| u8::try_from(letter).ok());
        let free = |letter: &u8| !all.iter().any(|option| option.letter == Some(*letter));
        let letter = letter.filter(free);
        if let Some(name) = argument.get_long().filter(|name| !all.iter().any(|option| option.name == *name)) {
            all.push(Option_ { name: name.to_owned(), letter, takes });
        } else if letter.is_some() {
            all.push(Option_ { name: String::new(), letter, takes });
        }
    }
    all
}

fn take_apart(words: &[OsString], known: &[Option_]) -> Result<Parts, Error> {
    let mut parts = Parts::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        // What follows is the command that is run inside, with its own options.
        let of_command = parts.words.first().is_some_and(|verb| verb == "shell") && parts.words.len() >= 3;
        let bytes = word.as_bytes();
        match bytes {
            _ if of_command => parts.words.push(word.clone()),
            b"--" => {
                parts.words.extend(words.by_ref().cloned());
            }
            [b'-', b'-', long @ ..] => {
                let (name, value) = match long.iter().position(|byte| *byte == b'=') {
                    Some(at) => (&long[..at], Some(OsString::from_vec(long[at + 1..].to_vec()))),
                    None => (long, None),
                };
                let name = String::from_utf8_lossy(name).into_owned();
                let option = by_name(&name, known)?;
                let value = match (option.takes, value) {
                    (true, None) => Some(words.next().cloned().ok_or_else(|| Error::Missing(option.name.clone()))?),
                    (false, Some(_)) => return Err(Error::Surplus(option.name)),
                    (_, value) => value,
                };
                parts.options.push((option, value));
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                let mut rest = letters;
                while let [letter, behind @ ..] = rest {
                    rest = behind;
                    let option = known.iter().find(|option| option.letter == Some(*letter));
                    let option = option.ok_or(Error::UnknownLetter(char::from(*letter)))?.clone();
                    let value = match (option.takes, behind) {
                        (false, _) => None,
                        (true, []) => {
                            let value = words.next().cloned();
                            Some(value.ok_or(Error::MissingForLetter(char::from(*letter)))?)
                        }
                        (true, behind) => {
                            rest = &[];
                            Some(OsStr::from_bytes(behind).to_owned())
                        }
                    };
                    parts.options.push((option, value));
                }
            }
            _ => parts.words.push(word.clone()),
        }
    }
    Ok(parts)
}

/// The option of this name, or the only one that begins like this.
fn by_name(given: &str, known: &[Option_]) -> Result<Option_, Error> {
    let named: Vec<&Option_> = known
        .iter()
        .filter(|option| !option.name.is_empty() && !LETTERS_ONLY.contains(&option.name.as_str()))
        .collect();
    if let Some(option) = named.iter().find(|option| option.name == given) {
        return Ok((*option).clone());
    }
    let (original, ours): (Vec<_>, Vec<_>) = named
        .into_iter()
        .filter(|option| option.name.starts_with(given))
        .partition(|option| OPTIONS.iter().any(|(name, ..)| *name == option.name));
    let candidates = if original.is_empty() { ours } else { original };
    match candidates.as_slice() {
        [] => Err(Error::Unknown(given.to_owned())),
        // The old name of the same thing.
        [one] | [one, _] if candidates.iter().all(|option| option.name.starts_with("kill-who")) => Ok((*one).clone()),
        [one] => Ok((*one).clone()),
        several => {
            let names: BTreeSet<_> = several.iter().map(|option| format!("'--{}'", option.name)).collect();
            Err(Error::Ambiguous { given: given.to_owned(), candidates: names.into_iter().collect() })
        }
    }
}

#[cfg(test)]
mod tests;
