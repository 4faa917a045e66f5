//! Packages come after what they depend on.

use super::super::package::{Candidate, Package};
use super::pool::Pool;
use super::{List, Note};

/// What is installed and removed, in order.
pub(super) struct Sorted<'a> {
    pub(super) install: Vec<&'a Candidate>,
    pub(super) remove: Vec<&'a Package>,
    pub(super) notes: Vec<Note>,
}

/// Sorts what is to be installed after what it needs, and what is to be removed before what it needs.
pub(super) fn sort<'a>(pool: &Pool<'a>, chosen: &[&'a Candidate], remove: &[&'a Package]) -> Sorted<'a> {
    let packages: Vec<&Package> = chosen.iter().map(|candidate| &candidate.package).collect();
    let local: Vec<&Package> = pool.local.items().iter().map(|installed| &installed.package).collect();
    let beside = |except: &[&[&Package]]| {
        let named = |package: &&Package| except.iter().any(|list| list.iter().any(|one| one.name == package.name));
        local.iter().copied().filter(|package| !named(package)).collect::<Vec<_>>()
    };
    let (places, notes) = in_order(&packages, &beside(&[&packages, remove]));
    let (mut removed, _) = in_order(remove, &beside(&[remove]));
    removed.reverse();
    Sorted {
        install: places.into_iter().map(|place| chosen[place]).collect(),
        remove: removed.into_iter().map(|place| remove[place]).collect(),
        notes,
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Begun,
    Done,
}

/// The order of packages, by their places, as a walk in depth comes back from them. What is installed can lie between two
/// of them, and only such is looked at.
fn in_order<'a>(packages: &[&'a Package], local: &[&'a Package]) -> (Vec<usize>, Vec<Note>) {
    let (all, needs) = graph(packages, local);
    let mut states = vec![State::New; all.len()];
    let (mut order, mut notes) = (Vec::with_capacity(packages.len()), Vec::new());
    for start in 0..all.len() {
        if states[start] != State::New {
            continue;
        }
        // The way to where the walk is, and for each how many of those it needs were looked at.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        states[start] = State::Begun;
        while let Some((at, looked)) = way.last_mut() {
            let (at, next) = (*at, needs[*at].get(*looked).copied());
            *looked += 1;
            match next {
                None => {
                    states[at] = State::Done;
                    way.pop();
                    if at < packages.len() {
                        order.push(at);
                    }
                }
                Some(next) if states[next] == State::New => {
                    states[next] = State::Begun;
                    way.push((next, 0));
                }
                Some(next) if states[next] == State::Begun && next < packages.len() => {
                    let from = way.iter().rev().map(|(place, _)| *place).find(|place| *place < packages.len());
                    if let Some(first) = from.filter(|first| *first != next) {
                        let name = |place: usize| all[place].name.clone();
                        notes.push(Note::Cycle { first: name(first), later: name(next) });
                    }
                }
                Some(_) => {}
            }
        }
    }
    (order, notes)
}

/// All packages with those of the installed ones that are needed, and which of these each needs.
fn graph<'a>(packages: &[&'a Package], local: &[&'a Package]) -> (Vec<&'a Package>, Vec<Vec<usize>>) {
    let mut list = List::new(packages.iter().copied());
    let local_list = List::new(local.iter().copied());
    let mut added = vec![false; local.len()];
    let mut needs = Vec::new();
    while let Some(package) = list.items().get(needs.len()).copied() {
        let mut places: Vec<usize> =
            package.depends.iter().flat_map(|dependency| list.satisfying(dependency)).collect();
        places.sort_unstable();
        places.dedup();
        let mut installed: Vec<usize> =
            package.depends.iter().flat_map(|dependency| local_list.satisfying(dependency)).collect();
        installed.sort_unstable();
        for place in installed {
            if !std::mem::replace(&mut added[place], true) {
                places.push(list.items().len());
                list.push(local[place]);
            }
        }
        needs.push(places);
    }
    (list.items().to_vec(), needs)
}
