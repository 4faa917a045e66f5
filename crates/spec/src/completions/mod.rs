//! What shells need to complete command lines. What is not carried out is not proposed.

mod bash;
mod fish;
#[cfg(test)]
mod tests;
mod zsh;

use crate::options::{self, OptionRow};

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

/// The directories that machines are in, for the completion of their names.
const MACHINES: &str = "/var/lib/machines";
