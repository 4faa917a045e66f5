//! Packages that cannot be beside each other.

use std::collections::HashSet;

use super::super::dependency::Dependency;
use super::super::local::Installed;
use super::super::package::{Candidate, Package};
use super::error::{Conflict, Error};
use super::{List, Note, Questions};

/// The pairs in which the first says that it is in conflict with the second, with what it says: in the order of those that
/// say it.
fn pairs<'p, 'a>(
    speaking: &'p [&'a Package],
    others: &'p List<'a, Package>,
) -> impl Iterator<Item = (&'a Package, &'a Package, &'a Dependency)> + 'p {
    speaking.iter().flat_map(move |package| {
        package.conflicts.iter().flat_map(move |conflict| {
            let others = others.satisfying(conflict).map(|place| others.items()[place]);
            others.filter(|other| other.name != package.name).map(move |other| (*package, other, conflict))
        })
    })
}

/// Settles conflicts among packages that are to be installed. Of two, one is dropped if the other provides it.
pub(super) fn among_chosen(chosen: &mut Vec<&Candidate>, notes: &mut Vec<Note>) -> Result<(), Error> {
    let packages: Vec<&Package> = chosen.iter().map(|candidate| &candidate.package).collect();
    let list = List::new(packages.iter().copied());
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    let mut dropped: HashSet<&str> = HashSet::new();
    for (one, other, reason) in pairs(&packages, &list) {
        let pair = (one.name.as_str(), other.name.as_str());
        // Both can say it; the first counts.
        if seen.contains(&(pair.1, pair.0)) || !seen.insert(pair) {
            continue;
        }
        if dropped.contains(pair.0) || dropped.contains(pair.1) {
            continue;
        }
        let (drop, stay) = if one.meets(&Dependency::any(&other.name)) {
            (other, one)
        } else if other.meets(&Dependency::any(&one.name)) {
            (one, other)
        } else {
            return Err(Error::Conflicts(vec![Conflict::new(one, other, reason, false)]));
        };
        notes.push(Note::DroppedForConflict { dropped: drop.name.clone(), stays: stay.name.clone() });
        dropped.insert(&drop.name);
    }
    chosen.retain(|candidate| !dropped.contains(candidate.package.name.as_str()));
    Ok(())
}

/// What is installed and has to go, if that is wanted.
pub(super) fn with_installed<'a>(
    chosen: &[&Candidate],
    installed: &[&'a Installed],
    questions: &mut dyn Questions,
) -> Result<Vec<&'a Package>, Error> {
    let coming: Vec<&Package> = chosen.iter().map(|candidate| &candidate.package).collect();
    let mut staying: Vec<&Package> = installed.iter().map(|installed| &installed.package).collect();
    staying.retain(|package| !coming.iter().any(|one| one.name == package.name));
    staying.sort_by(|a, b| a.name.cmp(&b.name));
    let (coming_list, staying_list) = (List::new(coming.iter().copied()), List::new(staying.iter().copied()));
    let said_by_coming = pairs(&coming, &staying_list);
    let said_by_staying = pairs(&staying, &coming_list).map(|(one, other, reason)| (other, one, reason));
    let mut remove: Vec<&Package> = Vec::new();
    let mut seen: HashSet<(&str, &str)> = HashSet::new();
    for (one, other, reason) in said_by_coming.chain(said_by_staying) {
        if !seen.insert((&one.name, &other.name)) || remove.iter().any(|removed| removed.name == other.name) {
            continue;
        }
        let conflict = Conflict::new(one, other, reason, true);
        if !questions.remove_conflicting(&conflict) {
            return Err(Error::Conflicts(vec![conflict]));
        }
        remove.extend(staying.iter().copied().find(|package| package.name == other.name));
    }
    Ok(remove)
}
