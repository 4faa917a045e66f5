//! What pacman asks.

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
