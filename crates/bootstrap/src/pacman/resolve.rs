//! Chooses packages as `pacman -S` does: targets, what they depend on, what is in conflict, and in which order all is
//! installed. Pure: databases and what is installed come in, questions are asked through a trait.
//!
//! There is no search for a combination that fits, as there is none in pacman: each dependency takes the first package that
//! will do, and conflicts that come of it are errors. The steps, each in a module: targets become packages, dependencies
//! are added, conflicts are settled, everything is checked once more, and then sorted.

mod closure;
mod conflicts;
mod error;
mod list;
mod order;
mod pool;
mod questions;
mod targets;

use std::collections::HashSet;

use super::config::Usage;
use super::database::SyncDatabase;
use super::dependency::Dependency;
use super::local::{Installed, Reason};
use super::package::{Candidate, Package};
use super::version::Version;

pub use error::{Conflict, Error, Missing};
use list::List;
use pool::Pool;
pub use questions::{Defaults, Questions};

/// A repository to choose from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// Its packages.
    pub database: &'a SyncDatabase,
    /// What it is used for.
    pub usage: Usage,
}

/// How closely dependencies are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dependencies {
    /// They have to be there in the right version.
    #[default]
    Checked,
    /// Any version does: `-d`.
    AnyVersion,
    /// They are not looked at: `-dd`.
    Ignored,
}

/// What else decides.
#[derive(Debug, Clone, Default)]
pub struct Options<'a> {
    /// How closely dependencies are looked at.
    pub dependencies: Dependencies,
    /// What is up to date is not installed again: `--needed`.
    pub needed: bool,
    /// `IgnorePkg`
    pub ignore_packages: &'a [String],
    /// `IgnoreGroup`
    pub ignore_groups: &'a [String],
    /// `Architecture`; empty if it does not matter
    pub architectures: &'a [String],
}

/// What to choose from, and what is wanted.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The repositories in the order of the configuration.
    pub sources: &'a [Source<'a>],
    /// What is installed.
    pub installed: &'a [&'a Installed],
    /// As on pacman's command line: `name`, `repository/name`, `name>=version`, a group, or what a package provides.
    pub targets: &'a [String],
    /// What else decides.
    pub options: Options<'a>,
}

/// A package to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The package.
    pub candidate: &'a Candidate,
    /// What the local database has to say of it.
    pub reason: Reason,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution<'a> {
    /// What to install, in this order.
    pub install: Vec<Choice<'a>>,
    /// What to remove before, in this order: it is in conflict with something.
    pub remove: Vec<&'a Package>,
    /// What a person should know.
    pub notes: Vec<Note>,
}

/// What a person should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The package is not looked at for a dependency.
    Ignored {
        /// The package.
        name: String,
        /// Its version.
        version: Version,
    },
    /// A target was not taken, as the answer to a question was.
    TargetSkipped(String),
    /// It is installed once more.
    Reinstalled {
        /// The package.
        name: String,
        /// Its version.
        version: Version,
    },
    /// It is not installed once more.
    UpToDate {
        /// The package.
        name: String,
        /// Its version.
        version: Version,
    },
    /// What is installed is newer.
    Downgraded {
        /// The package.
        name: String,
        /// What is installed.
        from: Version,
        /// What will be.
        to: Version,
    },
    /// A dependency cannot be met, which is told before the question whether to go on without what needs it.
    Unresolvable {
        /// What is missing.
        dependency: Dependency,
        /// What needs it.
        needed_by: String,
    },
    /// A target is dropped: another is in conflict with it and provides it.
    DroppedForConflict {
        /// What is dropped.
        dropped: String,
        /// What stays.
        stays: String,
    },
    /// Packages need each other.
    Cycle {
        /// What is installed first.
        first: String,
        /// What it needs, and comes later.
        later: String,
    },
}

impl std::fmt::Display for Note {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ignored { name, version } => write!(f, "{name} {version} is passed over: it is to be ignored"),
            Self::TargetSkipped(target) => write!(f, "'{target}' is left out"),
            Self::Reinstalled { name, version } => write!(f, "{name} {version} is up to date and is installed again"),
            Self::UpToDate { name, version } => write!(f, "{name} {version} is up to date and is left as it is"),
            Self::Downgraded { name, from, to } => write!(f, "{name} {from} is replaced by the older {to}"),
            Self::Unresolvable { dependency, needed_by } => {
                write!(f, "'{dependency}' cannot be had, and {needed_by} needs it")
            }
            Self::DroppedForConflict { dropped, stays } => {
                write!(f, "{dropped} is left out: {stays} is in conflict with it and provides it")
            }
            Self::Cycle { first, later } => {
                write!(f, "packages need each other: {first} is installed before {later}, which it needs")
            }
        }
    }
}

/// Chooses what to install and what to remove.
///
/// # Errors
/// Targets that are not there, dependencies that cannot be met, packages that are in conflict, packages for other machines,
/// or a question that was answered so that nothing is done.
pub fn resolve<'a>(request: &Request<'a>, questions: &mut dyn Questions) -> Result<Resolution<'a>, Error> {
    let pool = Pool::new(request);
    let mut notes = Vec::new();
    let mut chosen = targets::choose(&pool, request.targets, questions, &mut notes)?;
    check_architectures(&chosen, request.options.architectures)?;
    let explicit: HashSet<&str> = chosen.iter().map(|candidate| candidate.package.name.as_str()).collect();
    let checked = request.options.dependencies != Dependencies::Ignored;
    if checked {
        chosen = closure::with_dependencies(&pool, &chosen, questions, &mut notes)?;
    }
    conflicts::among_chosen(&mut chosen, &mut notes)?;
    let mut remove = conflicts::with_installed(&chosen, request.installed, questions)?;
    if checked {
        closure::check(&pool, &chosen, &remove)?;
        let sorted = order::sort(&pool, &chosen, &remove);
        chosen = sorted.install;
        notes.extend(sorted.notes);
        remove = sorted.remove;
    }
    let reason = |candidate: &Candidate| {
        // What is installed already keeps its reason, whoever asks for it.
        let before = pool.installed(&candidate.package.name).map(|installed| installed.reason);
        // By name: what another target needs can come of another repository than what was asked for, in its place.
        let asked = explicit.contains(candidate.package.name.as_str());
        before.unwrap_or(if asked { Reason::Explicit } else { Reason::Dependency })
    };
    let install = chosen.iter().map(|candidate| Choice { candidate, reason: reason(candidate) }).collect();
    let resolution = Resolution { install, remove, notes };
    if !questions.proceed(&resolution) {
        return Err(Error::Declined);
    }
    Ok(resolution)
}

/// As in pacman only targets are looked at: what they depend on comes from the same repositories.
fn check_architectures(targets: &[&Candidate], architectures: &[String]) -> Result<(), Error> {
    let fits = |candidate: &&&Candidate| {
        let architecture = &candidate.package.architecture;
        architecture == "any" || architecture.is_empty() || architectures.contains(architecture)
    };
    if architectures.is_empty() {
        return Ok(());
    }
    match targets.iter().find(|candidate| !fits(candidate)) {
        None => Ok(()),
        Some(wrong) => Err(Error::Architecture {
            name: wrong.package.name.clone(),
            architecture: wrong.package.architecture.clone(),
            wanted: architectures.join(", "),
        }),
    }
}

#[cfg(test)]
mod against_pacman;
#[cfg(test)]
mod tests;
