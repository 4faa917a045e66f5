//! All that can be chosen, and all that is installed.

use super::super::dependency::Dependency;
use super::super::local::Installed;
use super::super::package::{Candidate, Package};
use super::super::pattern;
use super::{Dependencies, List, Note, Questions, Request, Source};

/// All that can be chosen, and all that is installed.
pub(super) struct Pool<'a> {
    pub(super) sources: &'a [Source<'a>],
    pub(super) request: Request<'a>,
    /// All packages of each source.
    lists: Vec<List<'a, Candidate>>,
    pub(super) local: List<'a, Installed>,
}

/// What comes of looking for a package.
pub(super) enum Found<'a> {
    /// It is this one.
    Package(&'a Candidate),
    /// There are such, and all are ignored.
    Ignored,
    /// There is none.
    Nothing,
}

/// What is looked for.
struct Search<'s, 'a> {
    sources: &'s [usize],
    wanted: &'s Dependency,
    /// Packages of these names are not taken.
    excluded: Option<&'s List<'a, Candidate>>,
}

impl Search<'_, '_> {
    fn excludes(&self, package: &Package) -> bool {
        self.excluded.is_some_and(|excluded| excluded.named(&package.name).is_some())
    }
}

/// What is done with packages that are to be ignored.
enum IfIgnored<'n> {
    /// Whether they are taken is asked.
    Ask,
    /// They are not taken, which is told.
    Tell(&'n mut Vec<Note>),
}

impl IfIgnored<'_> {
    fn takes(&mut self, candidate: &Candidate, questions: &mut dyn Questions) -> bool {
        match self {
            Self::Ask => questions.install_ignored(candidate),
            Self::Tell(notes) => {
                let Package { name, version, .. } = &candidate.package;
                let note = Note::Ignored { name: name.clone(), version: version.clone() };
                if !notes.contains(&note) {
                    notes.push(note);
                }
                false
            }
        }
    }
}

impl<'a> Pool<'a> {
    pub(super) fn new(request: &Request<'a>) -> Self {
        let lists = request.sources.iter().map(|source| List::new(source.database.packages())).collect();
        let mut installed: Vec<&Installed> = request.installed.to_vec();
        installed.sort_by(|a, b| a.package.name.cmp(&b.package.name));
        Self { sources: request.sources, request: request.clone(), lists, local: List::new(installed) }
    }

    /// The package that is installed by that name.
    pub(super) fn installed(&self, name: &str) -> Option<&'a Installed> {
        self.local.named(name)
    }

    /// How many packages can be chosen, and dependencies they have, together.
    pub(super) fn dependencies(&self) -> usize {
        let packages = self.sources.iter().flat_map(|source| source.database.packages());
        packages.map(|candidate| 1 + candidate.package.depends.len()).sum()
    }

    /// All that meet a dependency, source by source.
    pub(super) fn meeting(&self, dependency: &Dependency) -> impl Iterator<Item = &'a Candidate> {
        self.lists.iter().flat_map(move |list| list.satisfying(dependency).map(|place| list.items()[place]))
    }

    /// Whether a package is to be ignored.
    pub(super) fn ignores(&self, package: &Package) -> bool {
        let fits = |pattern: &String, name: &str| pattern::matches(pattern.as_bytes(), name.as_bytes());
        let options = &self.request.options;
        options.ignore_packages.iter().any(|pattern| fits(pattern, &package.name))
            || options.ignore_groups.iter().any(|pattern| package.groups.iter().any(|group| fits(pattern, group)))
    }

    /// A dependency as closely as it is looked at.
    pub(super) fn wanted(&self, dependency: &Dependency) -> Dependency {
        let mut wanted = dependency.clone();
        if self.request.options.dependencies == Dependencies::AnyVersion {
            wanted.version = None;
        }
        wanted
    }

    /// Looks in some sources, as it is done for targets.
    pub(super) fn find_target(
        &self,
        sources: &[usize],
        wanted: &Dependency,
        questions: &mut dyn Questions,
    ) -> Found<'a> {
        self.find(&Search { sources, wanted, excluded: None }, &mut IfIgnored::Ask, questions)
    }

    /// Looks in all sources, without packages of the names that are chosen.
    pub(super) fn find_dependency(
        &self,
        wanted: &Dependency,
        chosen: &List<'a, Candidate>,
        questions: &mut dyn Questions,
        notes: &mut Vec<Note>,
    ) -> Found<'a> {
        let sources: Vec<usize> = (0..self.sources.len()).filter(|source| self.is_used(*source)).collect();
        let search = Search { sources: &sources, wanted, excluded: Some(chosen) };
        self.find(&search, &mut IfIgnored::Tell(notes), questions)
    }

    /// Whether packages are installed from a source without its being named.
    pub(super) fn is_used(&self, source: usize) -> bool {
        let usage = self.sources[source].usage;
        usage.install || usage.upgrade
    }

    /// The package of that name in the first source that has it in the right version; else one that provides it: what is
    /// installed already, or what is answered.
    fn find(&self, search: &Search<'_, 'a>, ignored: &mut IfIgnored<'_>, questions: &mut dyn Questions) -> Found<'a> {
        let Search { sources, wanted, .. } = search;
        let mut passed_over = false;
        for source in *sources {
            let Some(candidate) = self.sources[*source].database.find(&wanted.name) else { continue };
            let package = &candidate.package;
            if !wanted.is_met_by_name(&package.name, &package.version) || search.excludes(package) {
                continue;
            }
            if self.ignores(package) && !ignored.takes(candidate, questions) {
                passed_over = true;
                continue;
            }
            return Found::Package(candidate);
        }
        let mut providers = Vec::new();
        for source in *sources {
            let list = &self.lists[*source];
            for place in list.satisfying(wanted) {
                let candidate = list.items()[place];
                let package = &candidate.package;
                if package.name == wanted.name || search.excludes(package) {
                    continue;
                }
                if self.ignores(package) && !ignored.takes(candidate, questions) {
                    passed_over = true;
                    continue;
                }
                if self.installed(&package.name).is_some() {
                    return Found::Package(candidate);
                }
                providers.push(candidate);
            }
        }
        match providers[..] {
            [] if passed_over => Found::Ignored,
            [] => Found::Nothing,
            [only] => Found::Package(only),
            _ => {
                let at = questions.choose_provider(wanted, &providers);
                providers.get(at).map_or(Found::Nothing, |candidate| Found::Package(candidate))
            }
        }
    }
}
