//! What a killed run had begun: the next one completes it, whatever that is asked for.

use std::collections::{BTreeMap, HashSet};

use super::super::dependency::Dependency;
use super::super::local::{LocalDatabase, Reason};
use super::super::lock::Beginning;
use super::{Error, Resolution};
use crate::progress::Progress;

/// How many names are shown.
const MOST_SHOWN: usize = 8;

/// The packages that a killed run had begun to install.
pub(super) struct Interrupted<'a> {
    /// With the reasons that are not in the database.
    begun: BTreeMap<&'a str, Option<Reason>>,
}

impl<'a> Interrupted<'a> {
    pub(super) fn of(database: &'a LocalDatabase<'_>) -> Self {
        let reason = |beginning| match beginning {
            Beginning::Explicit => Some(Some(Reason::Explicit)),
            Beginning::Dependency => Some(Some(Reason::Dependency)),
            Beginning::Upgrade => Some(None),
            // It is removed again without anybody asking for it.
            Beginning::Remove => None,
        };
        let begun = database.interrupted().iter();
        Self { begun: begun.filter_map(|(name, one)| Some((name.as_str(), reason(*one)?))).collect() }
    }

    /// What is asked for, and all that was begun.
    ///
    /// # Errors
    /// Where `exists` does not know something that was begun.
    pub(super) fn with_targets(
        &self,
        targets: &[String],
        exists: impl Fn(&str) -> bool,
        progress: &dyn Progress,
    ) -> Result<Vec<String>, Error> {
        let asked = names(targets);
        let more: Vec<&str> = self.begun.keys().copied().filter(|name| !asked.contains(*name)).collect();
        let missing: Vec<&str> = more.iter().copied().filter(|name| !exists(name)).collect();
        if !missing.is_empty() {
            return Err(Error::Begun(shown(&missing)));
        }
        if !more.is_empty() {
            progress.notice(&format!("completing what an interrupted run had begun to install: {}", shown(&more)));
        }
        Ok(targets.iter().cloned().chain(more.into_iter().map(str::to_owned)).collect())
    }

    /// What was begun for another package is installed for that, though it is a target now.
    pub(super) fn correct(&self, targets: &[String], resolution: &mut Resolution<'_>) {
        let asked = names(targets);
        for choice in &mut resolution.install {
            let name = &*choice.candidate.package.name;
            if let Some(Some(reason)) = self.begun.get(name).filter(|_| !asked.contains(name)) {
                choice.reason = *reason;
            }
        }
    }
}

/// The names in targets, without repositories and versions.
fn names(targets: &[String]) -> HashSet<String> {
    let name = |target: &String| {
        let name = target.rsplit('/').next().unwrap_or_default();
        name.parse::<Dependency>().map_or_else(|_| name.to_owned(), |dependency| dependency.name)
    };
    targets.iter().map(name).collect()
}

fn shown(names: &[&str]) -> String {
    let first = names[..names.len().min(MOST_SHOWN)].join(", ");
    match names.len().checked_sub(MOST_SHOWN) {
        Some(more) if more > 0 => format!("{first} and {more} more"),
        _ => first,
    }
}
