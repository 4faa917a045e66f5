//! What is asked for becomes packages.

use std::collections::BTreeSet;

use super::super::dependency::Dependency;
use super::super::package::{Candidate, Package};
use super::error::{self, Error};
use super::pool::{Found, Pool};
use super::{Note, Questions};

/// The packages of all targets, in their order.
pub(super) fn choose<'a>(
    pool: &Pool<'a>,
    targets: &[String],
    questions: &mut dyn Questions,
    notes: &mut Vec<Note>,
) -> Result<Vec<&'a Candidate>, Error> {
    let mut chosen = Vec::new();
    for target in targets {
        for candidate in packages(pool, target, questions, notes)? {
            add(pool, candidate, &mut chosen, notes)?;
        }
    }
    Ok(chosen)
}

/// The packages of one target.
fn packages<'a>(
    pool: &Pool<'a>,
    target: &str,
    questions: &mut dyn Questions,
    notes: &mut Vec<Note>,
) -> Result<Vec<&'a Candidate>, Error> {
    let (sources, name) = sources(pool, target)?;
    let wanted: Dependency = name.parse().map_err(|_| error::unknown(pool, target, name, &sources))?;
    let used: Vec<usize> = if target.contains('/') {
        sources.clone()
    } else {
        sources.iter().copied().filter(|source| pool.is_used(*source)).collect()
    };
    match pool.find_target(&used, &wanted, questions) {
        Found::Package(candidate) => return Ok(vec![candidate]),
        Found::Ignored => {
            notes.push(Note::TargetSkipped(target.to_owned()));
            return Ok(Vec::new());
        }
        Found::Nothing => {}
    }
    let members = members(pool, &sources, name, questions, notes);
    if members.is_empty() {
        let exists = |source: &usize| {
            let packages = pool.sources[*source].database.packages();
            packages.iter().any(|candidate| candidate.package.groups.iter().any(|group| group == name))
        };
        return if sources.iter().any(exists) {
            Ok(members)
        } else {
            Err(error::unknown(pool, target, name, &sources))
        };
    }
    let chosen: BTreeSet<usize> = questions.choose_members(name, &members).into_iter().collect();
    Ok(chosen.into_iter().filter_map(|at| members.get(at).copied()).collect())
}

/// The sources that a target is looked for in, and the rest of its name.
fn sources<'t>(pool: &Pool<'_>, target: &'t str) -> Result<(Vec<usize>, &'t str), Error> {
    let Some((repository, name)) = target.split_once('/') else {
        return Ok(((0..pool.sources.len()).collect(), target));
    };
    let place = pool.sources.iter().position(|source| source.database.name() == repository);
    match place {
        Some(place) => Ok((vec![place], name)),
        None => Err(Error::UnknownRepository {
            target: target.to_owned(),
            repository: repository.to_owned(),
            known: pool.sources.iter().map(|source| source.database.name().to_owned()).collect(),
        }),
    }
}

/// The members of a group that can be chosen: of packages that several repositories have, the first.
fn members<'a>(
    pool: &Pool<'a>,
    sources: &[usize],
    group: &str,
    questions: &mut dyn Questions,
    notes: &mut Vec<Note>,
) -> Vec<&'a Candidate> {
    let mut members: Vec<&Candidate> = Vec::new();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for source in sources {
        for candidate in pool.sources[*source].database.packages() {
            let package = &candidate.package;
            if !package.groups.iter().any(|of| of == group) || !seen.insert(&package.name) {
                continue;
            }
            if is_up_to_date(pool, package) {
                notes.push(Note::UpToDate { name: package.name.clone(), version: package.version.clone() });
                continue;
            }
            if !pool.ignores(package) || questions.install_ignored(candidate) {
                members.push(candidate);
            }
        }
    }
    members
}

/// Whether a package is not installed again because that very version is.
fn is_up_to_date(pool: &Pool<'_>, package: &Package) -> bool {
    let same = |installed: &super::super::local::Installed| package.version.compare(&installed.package.version).is_eq();
    pool.request.options.needed && pool.installed(&package.name).is_some_and(same)
}

/// Adds a package to those that are chosen, unless it is there.
fn add<'a>(
    pool: &Pool<'a>,
    candidate: &'a Candidate,
    chosen: &mut Vec<&'a Candidate>,
    notes: &mut Vec<Note>,
) -> Result<(), Error> {
    let Package { name, version, .. } = &candidate.package;
    if let Some(before) = chosen.iter().find(|before| before.package.name == *name) {
        if std::ptr::eq(*before, candidate) {
            return Ok(());
        }
        let called = |candidate| error::called(pool, candidate);
        return Err(Error::Twice { first: called(before), second: called(candidate) });
    }
    if let Some(installed) = pool.installed(name) {
        let (name, version) = (name.clone(), version.clone());
        if is_up_to_date(pool, &candidate.package) {
            notes.push(Note::UpToDate { name, version });
            return Ok(());
        }
        let order = version.compare(&installed.package.version);
        if order.is_eq() {
            notes.push(Note::Reinstalled { name, version });
        } else if order.is_lt() {
            notes.push(Note::Downgraded { name, from: installed.package.version.clone(), to: version });
        }
    }
    chosen.push(candidate);
    Ok(())
}
