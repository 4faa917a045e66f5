//! What packages depend on is added to them, and whether all is there is checked in the end.

use std::collections::HashSet;

use super::super::dependency::Dependency;
use super::super::local::Installed;
use super::super::package::{Candidate, Package};
use super::error::{Error, Missing, why};
use super::pool::{Found, Pool};
use super::{List, Note, Questions};

/// How many dependencies are looked at for each that there is. What can be had is looked at once; what cannot be had is
/// looked at again for whatever else needs it, and in packages that mean harm that has no end.
const TIMES: usize = 8;
/// How many are looked at in any case.
const AT_LEAST: usize = 100_000;

/// A package whose dependencies are being added.
struct Frame<'a> {
    candidate: &'a Candidate,
    /// What is not there yet of what it needs.
    missing: std::vec::IntoIter<Dependency>,
    /// What is being added at the moment.
    current: Option<Dependency>,
    /// How many packages there were before it.
    before: usize,
    /// Whether something could not be had.
    failed: bool,
}

struct Closure<'p, 'a> {
    pool: &'p Pool<'a>,
    /// What is installed and stays as it is.
    staying: List<'a, Installed>,
    targets: List<'a, Candidate>,
    chosen: List<'a, Candidate>,
    missing: Vec<Missing>,
    /// Who lacks what, of all in `missing`.
    lacking: HashSet<(&'a str, String)>,
    /// How many dependencies may still be looked at.
    left: usize,
}

/// The targets with all they need, each followed by what is added for it.
pub(super) fn with_dependencies<'a>(
    pool: &Pool<'a>,
    targets: &[&'a Candidate],
    questions: &mut dyn Questions,
    notes: &mut Vec<Note>,
) -> Result<Vec<&'a Candidate>, Error> {
    let targets_list = List::new(targets.iter().copied());
    let local = pool.local.items().iter().copied();
    let staying = List::new(local.filter(|installed| targets_list.named(&installed.package.name).is_none()));
    let (chosen, missing, lacking) = (List::new([]), Vec::new(), HashSet::new());
    let left = AT_LEAST + TIMES * pool.dependencies();
    let mut closure = Closure { pool, staying, targets: targets_list, chosen, missing, lacking, left };
    let mut unresolvable = Vec::new();
    for target in targets {
        if !closure.add(target, questions, notes)? {
            unresolvable.push(*target);
        }
    }
    if !unresolvable.is_empty() {
        for missing in &closure.missing {
            let (dependency, needed_by) = (missing.dependency.clone(), missing.needed_by.clone());
            notes.push(Note::Unresolvable { dependency, needed_by });
        }
        if !questions.skip_unresolvable(&unresolvable) {
            return Err(Error::Unsatisfied(closure.missing));
        }
    }
    Ok(closure.chosen.items().to_vec())
}

impl<'a> Closure<'_, 'a> {
    /// Adds a package and what it needs. What cannot be had leaves nothing of it.
    fn add(
        &mut self,
        target: &'a Candidate,
        questions: &mut dyn Questions,
        notes: &mut Vec<Note>,
    ) -> Result<bool, Error> {
        let mut frames: Vec<Frame<'a>> = Vec::new();
        // What came of the latest package that was begun.
        let mut came: Option<bool> = self.begin(target, &mut frames)?;
        while let Some(frame) = frames.last_mut() {
            if let (Some(good), Some(dependency)) = (came.take(), frame.current.take())
                && !good
                && !self.is_met_locally(&dependency)
            {
                frame.failed = true;
                if self.lacking.insert((&frame.candidate.package.name, dependency.to_string())) {
                    self.missing.push(why(self.pool, &dependency, frame.candidate));
                }
            }
            if let Some(dependency) = frame.missing.next() {
                let found = if self.chosen.satisfier(&dependency).is_some() {
                    continue;
                } else if let Some(candidate) = self.targets.satisfier(&dependency) {
                    Some(candidate)
                } else {
                    match self.pool.find_dependency(&dependency, &self.chosen, questions, notes) {
                        Found::Package(candidate) => Some(candidate),
                        Found::Ignored | Found::Nothing => None,
                    }
                };
                frame.current = Some(dependency);
                came = match found {
                    Some(candidate) => self.begin(candidate, &mut frames)?,
                    None => Some(false),
                };
                continue;
            }
            let (before, failed) = (frame.before, frame.failed);
            if failed {
                self.chosen.truncate(before);
            }
            frames.pop();
            came = Some(!failed);
        }
        Ok(came.unwrap_or(true))
    }

    /// Begins with a package; `Some` if nothing is left to do for it.
    ///
    /// # Errors
    /// Where it has been tried for too long.
    fn begin(&mut self, candidate: &'a Candidate, frames: &mut Vec<Frame<'a>>) -> Result<Option<bool>, Error> {
        let package = &candidate.package;
        if self.chosen.named(&package.name).is_some() {
            return Ok(Some(true));
        }
        let Some(left) = self.left.checked_sub(1 + package.depends.len()) else {
            return Err(Error::Entangled(std::mem::take(&mut self.missing)));
        };
        self.left = left;
        let before = self.chosen.items().len();
        self.chosen.push(candidate);
        let met = |dependency: &Dependency| {
            package.meets(dependency)
                || self.staying.satisfying(dependency).any(|at| self.staying.items()[at].package.name != package.name)
        };
        let missing: Vec<Dependency> = package
            .depends
            .iter()
            .map(|dependency| self.pool.wanted(dependency))
            .filter(|dependency| !met(dependency))
            .collect();
        frames.push(Frame { candidate, missing: missing.into_iter(), current: None, before, failed: false });
        Ok(None)
    }

    /// Whether what is installed now does, although it will be replaced: whether that goes well is checked in the end.
    fn is_met_locally(&self, dependency: &Dependency) -> bool {
        let ignored = |installed: &Installed| self.pool.ignores(&installed.package);
        self.pool.local.satisfying(dependency).any(|at| !ignored(self.pool.local.items()[at]))
    }
}

/// Whether everything is there that is needed, by what comes and by what stays.
pub(super) fn check(pool: &Pool<'_>, chosen: &[&Candidate], remove: &[&Package]) -> Result<(), Error> {
    let coming = List::new(chosen.iter().copied());
    let goes = |package: &Package| {
        coming.named(&package.name).is_some() || remove.iter().any(|removed| removed.name == package.name)
    };
    let (going, staying): (Vec<&Installed>, Vec<&Installed>) =
        pool.local.items().iter().copied().partition(|installed| goes(&installed.package));
    let (going, staying) = (List::new(going), List::new(staying));
    let met =
        |dependency: &Dependency| coming.satisfier(dependency).is_some() || staying.satisfier(dependency).is_some();
    let mut missing = Vec::new();
    for candidate in chosen {
        let wanted = candidate.package.depends.iter().map(|dependency| pool.wanted(dependency));
        missing.extend(wanted.filter(|wanted| !met(wanted)).map(|wanted| why(pool, &wanted, candidate)));
    }
    for installed in staying.items() {
        for dependency in installed.package.depends.iter().map(|dependency| pool.wanted(dependency)) {
            if let Some(cause) = going.satisfier(&dependency)
                && !met(&dependency)
            {
                let by = chosen.iter().find(|candidate| candidate.package.name == cause.package.name);
                missing.push(Missing {
                    dependency,
                    needed_by: installed.package.name.clone(),
                    cause: Some(match by {
                        Some(by) => format!("installing {} {} breaks it", by.package.name, by.package.version),
                        None => format!("removing {} breaks it", cause.package.name),
                    }),
                });
            }
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(Error::Unsatisfied(missing)) }
}
