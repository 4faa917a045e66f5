//! What pacman asks, and the answers that people type.

use super::super::dependency::Dependency;
use super::super::package::Candidate;
use super::{Conflict, Resolution};

/// Who answers. Each method answers as pacman does with `--noconfirm`, unless it is written otherwise.
pub trait Questions {
    /// Several packages provide what is wanted: which one, from 0.
    fn choose_provider(&mut self, _wanted: &Dependency, _providers: &[&Candidate]) -> usize {
        0
    }

    /// A group was asked for: which of its members, from 0. What is no place of a member is passed over.
    fn choose_members(&mut self, _group: &str, members: &[&Candidate]) -> Vec<usize> {
        (0..members.len()).collect()
    }

    /// Whether to install a target although it is in `IgnorePkg` or `IgnoreGroup`.
    fn install_ignored(&mut self, _candidate: &Candidate) -> bool {
        true
    }

    /// Whether to remove what is installed and in conflict with what is to be installed.
    fn remove_conflicting(&mut self, _conflict: &Conflict) -> bool {
        false
    }

    /// Whether to go on without targets that need what cannot be had.
    fn skip_unresolvable(&mut self, _targets: &[&Candidate]) -> bool {
        false
    }

    /// Whether to do what was found.
    fn proceed(&mut self, _resolution: &Resolution<'_>) -> bool {
        true
    }
}

/// pacman's answers with `--noconfirm`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Defaults;

impl Questions for Defaults {}

/// An answer that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoSelection {
    /// It is no number.
    #[error("'{0}' is no number")]
    NoNumber(String),
    /// It is none of those that can be.
    #[error("{number} is not between {least} and {most}")]
    Beyond {
        /// The number.
        number: i64,
        /// The least that can be.
        least: usize,
        /// The most.
        most: usize,
    },
}

/// What is meant by an answer such as `1-3 5,7` or `^4`, of `count` members: their places from 0. Nothing means all, and so
/// does an answer that begins with what is left out.
///
/// # Errors
/// What is no number or none of these.
pub fn parse_selection(answer: &str, count: usize) -> Result<Vec<usize>, NoSelection> {
    let words: Vec<&str> = answer.split([' ', ',', '\t', '\n']).filter(|word| !word.is_empty()).collect();
    let all = words.first().is_none_or(|word| word.starts_with('^'));
    let mut chosen = vec![all; count];
    for word in words {
        let (range, take) = word.strip_prefix('^').map_or((word, true), |range| (range, false));
        let (from, to) = match range.split_once('-') {
            Some((from, to)) => {
                let from = number(from, 1, count)?;
                (from, number(to, from, count)?)
            }
            None => {
                let only = number(range, 1, count)?;
                (only, only)
            }
        };
        chosen[from - 1..to].fill(take);
    }
    Ok((0..count).filter(|at| chosen[*at]).collect())
}

/// What is meant by an answer such as `2`, of `count` possibilities: its place from 0. Nothing means the first.
///
/// # Errors
/// What is no number or none of these.
pub fn parse_choice(answer: &str, count: usize) -> Result<usize, NoSelection> {
    match answer.trim() {
        "" => Ok(0),
        answer => Ok(number(answer, 1, count)? - 1),
    }
}

fn number(text: &str, least: usize, most: usize) -> Result<usize, NoSelection> {
    let number: i64 = text.trim().parse().map_err(|_| NoSelection::NoNumber(text.to_owned()))?;
    match usize::try_from(number) {
        Ok(place) if (least..=most).contains(&place) => Ok(place),
        _ => Err(NoSelection::Beyond { number, least, most }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_pacman_does() {
        let of_five = |answer| parse_selection(answer, 5).unwrap();
        assert_eq!(of_five(""), [0, 1, 2, 3, 4]);
        assert_eq!(of_five("1-3 5"), [0, 1, 2, 4]);
        assert_eq!(of_five(" 2,4,, 2\n"), [1, 3]);
        assert_eq!(of_five("1-3 5 ^2"), [0, 2, 4]);
        assert_eq!(of_five("^4"), [0, 1, 2, 4]);
        assert_eq!(of_five("^1-5 2"), [1]);
        let refused = |answer| parse_selection(answer, 5).unwrap_err().to_string();
        assert_eq!(refused("x"), "'x' is no number");
        assert_eq!(refused("6"), "6 is not between 1 and 5");
        assert_eq!(refused("0"), "0 is not between 1 and 5");
        assert_eq!(refused("3-2"), "2 is not between 3 and 5");
        assert_eq!((parse_choice("", 2), parse_choice(" 2\n", 2)), (Ok(0), Ok(1)));
        assert!(parse_choice("3", 2).is_err() && parse_choice("1 2", 2).is_err());
    }
}
