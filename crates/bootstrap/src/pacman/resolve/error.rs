//! Why nothing is chosen, in words that name what stands against it.

use std::collections::BTreeSet;
use std::fmt;

use super::super::dependency::Dependency;
use super::super::package::{Candidate, Package};
use super::pool::Pool;

/// How many packages are named where any number can be meant.
const MOST_NAMED: usize = 10;

/// Something that is needed and cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What is needed.
    pub dependency: Dependency,
    /// By whom.
    pub needed_by: String,
    /// Why it cannot be had, where there is more to say than that nothing is called so.
    pub cause: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} needs '{}'", self.needed_by, self.dependency)?;
        match &self.cause {
            Some(cause) => write!(f, ": {cause}"),
            None => f.write_str(", which no repository has"),
        }
    }
}

/// Two packages that cannot be beside each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The one that is to be installed.
    pub package: String,
    /// Its version.
    pub version: String,
    /// The other one.
    pub other: String,
    /// Its version.
    pub other_version: String,
    /// What one of them is in conflict with, by its own words.
    pub reason: Dependency,
    /// Whether the other one is installed.
    pub other_is_installed: bool,
}

impl Conflict {
    pub(super) fn new(one: &Package, other: &Package, reason: &Dependency, other_is_installed: bool) -> Self {
        Self {
            package: one.name.clone(),
            version: one.version.to_string(),
            other: other.name.clone(),
            other_version: other.version.to_string(),
            reason: reason.clone(),
            other_is_installed,
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { package, version, other, other_version, reason, .. } = self;
        let installed = if self.other_is_installed { ", which is installed," } else { "" };
        write!(f, "{package} {version} and {other} {other_version}{installed} are in conflict")?;
        if reason.version.is_none() && (reason.name == *package || reason.name == *other) {
            return Ok(());
        }
        write!(f, " ({reason})")
    }
}

/// Why nothing is chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A target names a repository that is not there.
    #[error("there is no repository '{repository}' for '{target}'; these are: {}", known.join(", "))]
    UnknownRepository {
        /// The target.
        target: String,
        /// The repository.
        repository: String,
        /// Those that are there.
        known: Vec<String>,
    },
    /// A target is no package, no group and nothing that is provided.
    #[error("there is no package or group '{target}'{}", among(near))]
    Unknown {
        /// The target.
        target: String,
        /// What is called much alike.
        near: Vec<String>,
    },
    /// A target is there in other versions only.
    #[error("'{target}' cannot be had: there is {}", there.join(", "))]
    OtherVersion {
        /// The target.
        target: String,
        /// What there is.
        there: Vec<String>,
    },
    /// The same package is wanted from two repositories.
    #[error("'{first}' and '{second}' are both wanted, and only one of them can be installed")]
    Twice {
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// A package is for another kind of machine.
    #[error("the package '{name}' is for {architecture}, and only {wanted} can be installed")]
    Architecture {
        /// The package.
        name: String,
        /// What it is for.
        architecture: String,
        /// What can be.
        wanted: String,
    },
    /// Something that is needed cannot be had.
    #[error("not all that is needed can be had: {}", joined(.0))]
    Unsatisfied(Vec<Missing>),
    /// Packages need each other in so many ways, while something cannot be had, that not all of them are tried.
    #[error("packages need each other in too many ways to try them all, and of what is needed not all can be had: {}", first(.0))]
    Entangled(Vec<Missing>),
    /// Packages that cannot be beside each other.
    #[error("not everything can be installed together: {}", joined(.0))]
    Conflicts(Vec<Conflict>),
    /// The answer was no.
    #[error("nothing is done, as was answered")]
    Declined,
}

impl Error {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::UnknownRepository { .. } => "repositories are sections of pacman.conf, which -C names",
            Self::Unknown { .. } => {
                "look for its name with 'pacman -Ss' or on the distribution's site; the repository that has it has to be in pacman.conf"
            }
            Self::OtherVersion { .. } => "name it without a version, or add a repository that has this one",
            Self::Twice { .. } => "name it once",
            Self::Architecture { .. } => "set 'Architecture' in pacman.conf as the packages are",
            Self::Unsatisfied(_) | Self::Entangled(_) => {
                "add the repository that has it to pacman.conf, or leave out what needs it"
            }
            Self::Conflicts(_) => "leave one of them out, or answer with -i that what is installed goes",
            Self::Declined => return None,
        })
    }
}

fn joined<T: fmt::Display>(all: &[T]) -> String {
    all.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// The first of them: where there are too many to try, there are too many to read.
fn first(all: &[Missing]) -> String {
    let more = if all.len() > MOST_NAMED { "; and so on" } else { "" };
    format!("{}{more}", joined(&all[..all.len().min(MOST_NAMED)]))
}

fn among(near: &[String]) -> String {
    match near {
        [] => String::new(),
        near => format!("; is one of these meant: {}?", near.join(", ")),
    }
}

/// Nothing is called as the target says.
pub(super) fn unknown(pool: &Pool<'_>, target: &str, name: &str, sources: &[usize]) -> Error {
    let candidates = || sources.iter().flat_map(|source| pool.sources[*source].database.packages());
    if let Ok(wanted) = name.parse::<Dependency>()
        && wanted.version.is_some()
    {
        let any = Dependency::any(&wanted.name);
        let there: Vec<String> =
            candidates().filter(|one| one.package.meets(&any)).map(|one| called(pool, one)).collect();
        if !there.is_empty() {
            return Error::OtherVersion { target: target.to_owned(), there };
        }
    }
    let mut names: BTreeSet<&str> = BTreeSet::new();
    for Candidate { package, .. } in candidates() {
        names.insert(&package.name);
        names.extend(package.groups.iter().map(String::as_str));
    }
    let mut near: Vec<(usize, &str)> =
        names.into_iter().filter_map(|other| Some((distance(name, other)?, other))).collect();
    near.sort_unstable();
    let near = near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect();
    Error::Unknown { target: target.to_owned(), near }
}

/// Why a dependency of a package cannot be had.
pub(super) fn why(pool: &Pool<'_>, dependency: &Dependency, needed_by: &Candidate) -> Missing {
    let any = Dependency::any(&dependency.name);
    let meeting: Vec<&Candidate> = pool.meeting(dependency).collect();
    let some = |these: &[&Candidate]| {
        let names: Vec<String> = these.iter().take(MOST_NAMED).map(|one| called(pool, one)).collect();
        let more = if these.len() > MOST_NAMED { " and others" } else { "" };
        format!("{}{more}", names.join(", "))
    };
    let cause = if let Some(one) = meeting.iter().find(|one| pool.ignores(&one.package)) {
        Some(format!("{} is to be ignored", called(pool, one)))
    } else if meeting.is_empty() {
        let there: Vec<&Candidate> = pool.meeting(&any).collect();
        (!there.is_empty()).then(|| format!("there is only {}", some(&there)))
    } else {
        Some(format!("{} cannot be installed", some(&meeting)))
    };
    Missing { dependency: dependency.clone(), needed_by: needed_by.package.name.clone(), cause }
}

/// A package with its repository and its version, for messages.
pub(super) fn called(pool: &Pool<'_>, candidate: &Candidate) -> String {
    let Package { name, version, .. } = &candidate.package;
    let source = pool.sources.iter().map(|source| source.database);
    let source =
        source.into_iter().find(|database| database.find(name).is_some_and(|one| std::ptr::eq(one, candidate)));
    format!("{}/{name} {version}", source.map_or("?", |database| database.name()))
}

/// How many letters differ, if they are few for names of that length.
fn distance(one: &str, other: &str) -> Option<usize> {
    const LONGEST: usize = 64;
    let most = (one.len() / 3).clamp(1, 3);
    if one.len() > LONGEST || one.len().abs_diff(other.len()) > most {
        return None;
    }
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, a) in one.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], at + 1);
        for (place, b) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row.last().copied().filter(|distance| *distance <= most)
}
