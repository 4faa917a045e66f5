//! What shells need to complete command lines. What is not carried out is not proposed.

mod bash;
mod fish;
#[cfg(test)]
mod tests;
mod zsh;

use std::ffi::OsStr;
use std::path::Path;

use crate::SpecPatch;
use crate::options::{self, Caller, Effect, Given, OptionRow, Problem};

/// A shell that completes command lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// bash(1)
    Bash,
    /// zsh(1)
    Zsh,
    /// fish(1)
    Fish,
}

impl Shell {
    /// The shell of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "bash" => Some(Self::Bash),
            "zsh" => Some(Self::Zsh),
            "fish" => Some(Self::Fish),
            _ => None,
        }
    }
}

/// A script for the shell that completes the command `name`.
#[must_use]
pub fn completions(shell: Shell, name: &str) -> String {
    match shell {
        Shell::Bash => bash::script(name),
        Shell::Zsh => zsh::script(name),
        Shell::Fish => fish::script(name),
    }
}

/// The rows that are worth proposing.
fn rows() -> impl Iterator<Item = &'static OptionRow> {
    options::all().filter(|row| row.carried_out())
}

/// The words that are worth proposing as the value of an option.
fn proposals(row: &OptionRow) -> Vec<String> {
    let caller = Caller { directory: Path::new("/"), variable: &|_| None };
    let carried_out = |word: &String| match row.effect {
        Effect::Patch(parse) => {
            let given = Given { value: Some(OsStr::new(word)), caller };
            !matches!(parse(&mut SpecPatch::default(), &given), Err(Problem::Later(_)))
        }
        _ => true,
    };
    row.kind.words().into_iter().filter(carried_out).collect()
}

/// The directories that machines are in, for the completion of their names.
const MACHINES: &str = "/var/lib/machines";
