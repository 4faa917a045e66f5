//! Chooses packages: what is wanted, and whatever that depends on.
//!
//! As apt does it: an alternative that is chosen already will do, else the first one that can be installed is taken, a
//! package of that name before one that provides it, the highest version first. Where that leads into a conflict, the
//! latest choice that had another possibility is taken back, so a solution is found if there is one. The same input
//! gives the same result.

use std::cell::OnceCell;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use super::package::{self, Package};
use super::relation::{Dependency, Field, Relation};

/// How many choices are taken back before giving up.
const MOST_ATTEMPTS: usize = 50_000;

/// Why there is no choice of packages.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The package asked for is not there.
    #[error("there is no package '{0}' in this release")]
    Unknown(String),
    /// A relation in the index cannot be read.
    #[error(transparent)]
    Package(#[from] package::Error),
    /// Something that is needed cannot be had.
    #[error("{0}")]
    Unsatisfiable(String),
}

/// What to install.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Names of packages.
    pub packages: BTreeSet<String>,
    /// Names of packages that must not be installed.
    pub exclude: BTreeSet<String>,
}

/// What was chosen.
#[derive(Debug, Clone)]
pub struct Chosen<'a> {
    /// All packages.
    pub packages: Vec<&'a Package>,
    /// The names of those that are there because they were asked for: each under its own name, or as what provides the name that
    /// was.
    pub wanted: BTreeSet<String>,
}

/// Chooses from `available`; the packages are sorted so that dependencies tend to come before what needs them, and the
/// package `base-files` first if it is there.
///
/// # Errors
/// Where something asked for does not exist or cannot be installed.
pub fn resolve<'a>(available: &'a [Package], request: &Request) -> Result<Chosen<'a>, Error> {
    let pool = Pool::new(available)?;
    let mut goals = Vec::new();
    for name in &request.packages {
        if !pool.by_name.contains_key(name.as_str()) && !pool.providers.contains_key(name.as_str()) {
            return Err(Error::Unknown(name.clone()));
        }
        let relation = Relation { name: name.clone(), architecture: None, constraint: None };
        goals.push(Goal { dependency: Rc::new(Dependency { alternatives: vec![relation] }), of: None });
    }
    let mut search = Search { pool: &pool, request, chosen: Vec::new(), by_name: HashMap::new(), goals };
    search.run()?;
    let mut wanted = BTreeSet::new();
    for name in &request.packages {
        wanted.extend(search.fulfils(name)?.map(|index| available[index].name().to_owned()));
    }
    let chosen = std::mem::take(&mut search.chosen);
    Ok(Chosen { packages: order(&pool, &chosen)?, wanted })
}

/// A set of packages with all they depend on, out of those chosen.
///
/// # Errors
/// A relation that cannot be read.
pub fn closure<'a>(chosen: &[&'a Package], start: impl Fn(&Package) -> bool) -> Result<BTreeSet<&'a str>, Error> {
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    let mut work: Vec<&Package> = chosen.iter().copied().filter(|package| start(package)).collect();
    while let Some(package) = work.pop() {
        if !reached.insert(package.name()) {
            continue;
        }
        for field in [Field::PreDepends, Field::Depends] {
            for dependency in package.relations(field)? {
                for relation in &dependency.alternatives {
                    for other in chosen {
                        if satisfies(other, relation)? {
                            work.push(other);
                        }
                    }
                }
            }
        }
    }
    Ok(reached)
}

/// Whether a package is what a relation means, by its own name or by one that it provides.
fn satisfies(package: &Package, relation: &Relation) -> Result<bool, Error> {
    if package.name() == relation.name {
        return Ok(relation.constraint.as_ref().is_none_or(|constraint| constraint.admits(package.version())));
    }
    Ok(package.relations(Field::Provides)?.iter().flat_map(|provided| &provided.alternatives).any(|provided| {
        provided.name == relation.name
            && match (&relation.constraint, &provided.constraint) {
                (None, _) => true,
                (Some(wanted), Some(given)) => wanted.admits(&given.version),
                (Some(_), None) => false,
            }
    }))
}

/// What a package needs and what it cannot be together with.
struct Needs {
    depends: Vec<Rc<Dependency>>,
    against: Vec<Relation>,
}

/// All packages, by name.
struct Pool<'a> {
    packages: &'a [Package],
    by_name: HashMap<&'a str, Vec<usize>>,
    providers: HashMap<String, Vec<usize>>,
    needs: Vec<OnceCell<Needs>>,
}

impl<'a> Pool<'a> {
    fn new(packages: &'a [Package]) -> Result<Self, Error> {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::with_capacity(packages.len());
        let mut providers: HashMap<String, Vec<usize>> = HashMap::new();
        for (index, package) in packages.iter().enumerate() {
            by_name.entry(package.name()).or_default().push(index);
            for provided in package.relations(Field::Provides)? {
                for relation in provided.alternatives {
                    providers.entry(relation.name).or_default().push(index);
                }
            }
        }
        for same in by_name.values_mut() {
            same.sort_by(|&a, &b| packages[b].version().cmp(packages[a].version()));
        }
        let needs = packages.iter().map(|_| OnceCell::new()).collect();
        Ok(Self { packages, by_name, providers, needs })
    }

    fn needs(&self, index: usize) -> Result<&Needs, Error> {
        if let Some(needs) = self.needs[index].get() {
            return Ok(needs);
        }
        let package = &self.packages[index];
        let mut depends = Vec::new();
        for field in [Field::PreDepends, Field::Depends] {
            depends.extend(package.relations(field)?.into_iter().map(Rc::new));
        }
        let mut against = Vec::new();
        for field in [Field::Conflicts, Field::Breaks] {
            against.extend(package.relations(field)?.into_iter().flat_map(|dependency| dependency.alternatives));
        }
        Ok(self.needs[index].get_or_init(|| Needs { depends, against }))
    }

    /// All packages that a relation means, best first.
    fn candidates(&self, relation: &Relation) -> Result<Vec<usize>, Error> {
        let mut found = Vec::new();
        for &index in self.by_name.get(relation.name.as_str()).into_iter().flatten() {
            if satisfies(&self.packages[index], relation)? {
                found.push(index);
            }
        }
        let mut providers = Vec::new();
        for &index in self.providers.get(&relation.name).into_iter().flatten() {
            let package = &self.packages[index];
            if package.name() != relation.name && satisfies(package, relation)? && !providers.contains(&index) {
                providers.push(index);
            }
        }
        providers.sort_by_cached_key(|&index| {
            let package = &self.packages[index];
            (rank(package), package.name().to_owned(), std::cmp::Reverse(package.version().clone()))
        });
        found.extend(providers);
        Ok(found)
    }
}

/// The more a system needs the package, the lower.
fn rank(package: &Package) -> u8 {
    match package.priority() {
        _ if package.is_essential() => 0,
        "required" => 1,
        "important" => 2,
        "standard" => 3,
        "optional" => 4,
        _ => 5,
    }
}

/// Something that must be satisfied.
#[derive(Clone)]
struct Goal {
    dependency: Rc<Dependency>,
    /// The package that asks for it; none if the user does.
    of: Option<usize>,
}

/// A choice that can be taken back.
struct Choice {
    goal: usize,
    candidates: Vec<usize>,
    next: usize,
    /// How much had been chosen and asked for before.
    chosen: usize,
    goals: usize,
}

struct Search<'p, 'a> {
    pool: &'p Pool<'a>,
    request: &'p Request,
    chosen: Vec<usize>,
    by_name: HashMap<&'a str, usize>,
    goals: Vec<Goal>,
}

impl Search<'_, '_> {
    fn run(&mut self) -> Result<(), Error> {
        let mut choices: Vec<Choice> = Vec::new();
        let mut explanation = None;
        let mut attempts = 0;
        let mut current = 0;
        while current < self.goals.len() {
            let goal = self.goals[current].clone();
            if self.is_satisfied(&goal.dependency)? {
                current += 1;
                continue;
            }
            let mut choice = Choice {
                goal: current,
                candidates: self.possible(&goal.dependency)?,
                next: 0,
                chosen: self.chosen.len(),
                goals: self.goals.len(),
            };
            // Go back to the latest choice with something left to try.
            while choice.next == choice.candidates.len() {
                if explanation.is_none() {
                    explanation = Some(self.explain(&self.goals[choice.goal])?);
                }
                attempts += 1;
                match choices.pop() {
                    Some(earlier) if attempts < MOST_ATTEMPTS => choice = earlier,
                    _ => return Err(Error::Unsatisfiable(explanation.unwrap_or_default())),
                }
                self.take_back(&choice);
            }
            let index = choice.candidates[choice.next];
            choice.next += 1;
            current = choice.goal + 1;
            choices.push(choice);
            self.choose(index)?;
        }
        Ok(())
    }

    fn choose(&mut self, index: usize) -> Result<(), Error> {
        self.chosen.push(index);
        self.by_name.insert(self.pool.packages[index].name(), index);
        let needs = self.pool.needs(index)?;
        self.goals.extend(needs.depends.iter().map(|d| Goal { dependency: Rc::clone(d), of: Some(index) }));
        Ok(())
    }

    fn take_back(&mut self, choice: &Choice) {
        for index in self.chosen.drain(choice.chosen..) {
            self.by_name.remove(self.pool.packages[index].name());
        }
        self.goals.truncate(choice.goals);
    }

    fn is_satisfied(&self, dependency: &Dependency) -> Result<bool, Error> {
        for relation in &dependency.alternatives {
            if !is_native(relation) {
                continue;
            }
            if let Some(&index) = self.by_name.get(relation.name.as_str())
                && satisfies(&self.pool.packages[index], relation)?
            {
                return Ok(true);
            }
            for &index in self.pool.providers.get(&relation.name).into_iter().flatten() {
                let package = &self.pool.packages[index];
                if self.by_name.get(package.name()) == Some(&index) && satisfies(package, relation)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The chosen package that a name stands for that was asked for: the one that has it, else the first one that was chosen of those
    /// that provide it.
    fn fulfils(&self, name: &str) -> Result<Option<usize>, Error> {
        if let Some(&index) = self.by_name.get(name) {
            return Ok(Some(index));
        }
        let relation = Relation { name: name.to_owned(), architecture: None, constraint: None };
        for &index in &self.chosen {
            if satisfies(&self.pool.packages[index], &relation)? {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    /// The packages that would satisfy the dependency and can go together with what is chosen, best first.
    fn possible(&self, dependency: &Dependency) -> Result<Vec<usize>, Error> {
        let mut possible = Vec::new();
        for relation in dependency.alternatives.iter().filter(|relation| is_native(relation)) {
            for index in self.pool.candidates(relation)? {
                if !possible.contains(&index) && self.obstacle(index)?.is_none() {
                    possible.push(index);
                }
            }
        }
        Ok(possible)
    }

    /// Why a package cannot be chosen, if so.
    fn obstacle(&self, index: usize) -> Result<Option<String>, Error> {
        let package = &self.pool.packages[index];
        if self.request.exclude.contains(package.name()) {
            return Ok(Some(format!("'{}' is excluded", package.name())));
        }
        if let Some(&other) = self.by_name.get(package.name())
            && other != index
        {
            let version = self.pool.packages[other].version();
            return Ok(Some(format!("'{}' is needed in version {version} too", package.name())));
        }
        for &other in &self.chosen {
            for (one, two) in [(index, other), (other, index)] {
                if let Some(relation) = self.conflict(one, two)? {
                    let packages = &self.pool.packages;
                    return Ok(Some(format!("{} goes not together with {}: {relation}", packages[one], packages[two])));
                }
            }
        }
        Ok(None)
    }

    fn conflict(&self, one: usize, two: usize) -> Result<Option<&Relation>, Error> {
        let other = &self.pool.packages[two];
        if self.pool.packages[one].name() == other.name() {
            return Ok(None);
        }
        for relation in &self.pool.needs(one)?.against {
            if is_native(relation) && satisfies(other, relation)? {
                return Ok(Some(relation));
            }
        }
        Ok(None)
    }

    /// The chain from what was asked for to what cannot be had, and why it cannot.
    fn explain(&self, goal: &Goal) -> Result<String, Error> {
        let mut chain = Vec::new();
        let mut of = goal.of;
        while let Some(index) = of
            && chain.len() < 20
        {
            chain.push(self.pool.packages[index].name());
            // Whose dependency brought this package in: the first one in the list that it satisfies.
            let mut above = None;
            for earlier in &self.goals {
                if earlier.of == Some(index) {
                    break;
                }
                for relation in &earlier.dependency.alternatives {
                    if above.is_none() && satisfies(&self.pool.packages[index], relation)? {
                        above = Some(earlier.of);
                    }
                }
                if above.is_some() {
                    break;
                }
            }
            of = above.flatten();
        }
        chain.reverse();
        let dependency = &goal.dependency;
        let mut text = match chain.is_empty() {
            true => format!("'{dependency}' cannot be installed"),
            false => format!("'{}' needs '{dependency}', which cannot be installed", chain.join("' → '")),
        };
        let mut reasons = Vec::new();
        for relation in &dependency.alternatives {
            let candidates = if is_native(relation) { self.pool.candidates(relation)? } else { Vec::new() };
            if candidates.is_empty() {
                let others: Vec<String> = self
                    .pool
                    .by_name
                    .get(relation.name.as_str())
                    .into_iter()
                    .flatten()
                    .map(|&index| self.pool.packages[index].version().to_string())
                    .collect();
                reasons.push(match others.is_empty() {
                    true => format!("there is no '{}'", relation.name),
                    false => format!("'{}' is there only in version {}", relation.name, others.join(", ")),
                });
            }
            for index in candidates.into_iter().take(3) {
                reasons.extend(self.obstacle(index)?);
            }
        }
        reasons.truncate(6);
        if !reasons.is_empty() {
            text.push_str(": ");
            text.push_str(&reasons.join("; "));
        }
        Ok(text)
    }
}

/// Whether a relation can mean a package of the one architecture that is installed.
fn is_native(relation: &Relation) -> bool {
    // A qualified name is one of a foreign architecture unless it says otherwise; indices do not qualify by their own.
    matches!(relation.architecture.as_deref(), None | Some("any" | "native"))
}

/// Dependencies first, as far as they are no circles; `base-files` before all else.
fn order<'a>(pool: &Pool<'a>, chosen: &[usize]) -> Result<Vec<&'a Package>, Error> {
    let mut sorted = chosen.to_vec();
    sorted.sort_by_key(|&index| (rank(&pool.packages[index]), pool.packages[index].name()));
    let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
    for &index in &sorted {
        let package = &pool.packages[index];
        by_name.entry(package.name()).or_default().push(index);
    }
    for (name, providers) in &pool.providers {
        for &index in providers.iter().filter(|index| chosen.contains(index)) {
            by_name.entry(name).or_default().push(index);
        }
    }
    let mut placed = vec![false; pool.packages.len()];
    let mut result = Vec::with_capacity(sorted.len());
    for &start in &sorted {
        // Depth first, with a stack of its own: chains can be long.
        let mut stack = vec![(start, false)];
        while let Some((index, ready)) = stack.pop() {
            if ready {
                result.push(index);
                continue;
            }
            if std::mem::replace(&mut placed[index], true) {
                continue;
            }
            stack.push((index, true));
            for dependency in pool.needs(index)?.depends.iter().rev() {
                for relation in &dependency.alternatives {
                    for &other in by_name.get(relation.name.as_str()).into_iter().flatten() {
                        if !placed[other] {
                            stack.push((other, false));
                        }
                    }
                }
            }
        }
    }
    result.sort_by_key(|&index| pool.packages[index].name() != "base-files");
    Ok(result.into_iter().map(|index| &pool.packages[index]).collect())
}

#[cfg(test)]
mod tests;
