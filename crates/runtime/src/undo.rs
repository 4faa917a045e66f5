//! Undoes what runs that died have left: at the next start of their tree, and for `--cleanup`.
//!
//! Whoever holds the lock of a machine's name knows that no run of that machine lives. What such a run has made stands
//! in the lock's file; it is found by its name, too, so that what outlived a reboot is also removed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cgroup::Certainty;
use image::holder::Purpose;
use image::lock::{NameLock, Standing};
use image::lock_file::LockFile;
use image::record::Entry;
use image::{RunDirectory, holder};
use spec::{ContainerSpec, MachineName, Source};
use sys::file_lock::Mode;

use crate::chain;

/// Where temporary directories are that are not beside a tree.
pub(crate) const TEMPORARY: &str = "/var/tmp";
/// How many directories beside a tree are looked at when it is started.
const LOOKED_AT: usize = 64;

/// What was undone.
#[derive(Debug, Default)]
pub struct Undone {
    /// What was removed, in words.
    pub removed: Vec<String>,
    /// What could not be.
    pub errors: Vec<String>,
}

impl Undone {
    fn note<E: std::error::Error>(&mut self, what: &str, result: Result<bool, E>) {
        match result {
            Ok(true) => self.removed.push(what.to_owned()),
            Ok(false) => {}
            Err(error) => self.errors.push(chain(&error)),
        }
    }
}

/// Undoes what dead runs of the machine have made, as its lock's file tells. The file is emptied if all went well.
pub fn machine(run: &RunDirectory, lock: &mut NameLock) -> Undone {
    let mut undone = Undone::default();
    let left = lock.left().to_vec();
    entries(run, &left, &mut undone);
    if undone.errors.is_empty()
        && let Err(error) = lock.clear()
    {
        undone.errors.push(chain(&error));
    }
    undone
}

/// Processes first: they may use the rest.
fn entries(run: &RunDirectory, left: &[Entry], undone: &mut Undone) {
    for entry in left {
        if let Entry::Group(path) = entry {
            undone.note(&format!("the control group {}", path.display()), cgroup::remove_dead(path, Certainty::Dead));
        }
    }
    for entry in left.iter().rev() {
        match entry {
            Entry::Supervisor(_) | Entry::Tree(_) | Entry::Group(_) => {}
            Entry::Directory(path) => directory(path, undone),
            Entry::Range(start) => {
                for place in [run.peer_ranges().to_owned(), run.ranges()] {
                    let file = start.to_string();
                    // Whoever has taken the range since keeps it: nothing is taken then, and else it is removed by
                    // being released.
                    let lock = LockFile::acquire_existing(&place, file.as_ref(), Mode::Exclusive);
                    undone.note(&format!("the lock {}/{file}", place.display()), lock.map(|lock| lock.is_some()));
                }
            }
        }
    }
}

fn directory(path: &Path, undone: &mut Undone) {
    for path in holder::found(path) {
        undone.note(&format!("the directory {}", path.display()), holder::remove_dead_at(&path));
    }
}

/// Where control groups are.
struct Groups {
    layout: Option<cgroup::Layout>,
    hierarchies: Vec<cgroup::limit::v1::Hierarchy>,
}

impl Groups {
    fn probe() -> Self {
        Self { layout: cgroup::Layout::probe().ok(), hierarchies: cgroup::limit::v1::hierarchies() }
    }
}

/// Undoes what a dead run of this machine has left in these places too, if there is one.
fn by_name(run: &RunDirectory, name: &str, places: &[PathBuf], groups: &Groups, undone: &mut Undone) {
    let Ok(machine) = MachineName::try_from(name) else { return };
    let lock = match NameLock::take_if_free(run, &machine) {
        Ok(Some(lock)) => lock,
        Ok(None) => return,
        Err(error) => return undone.errors.push(chain(&error)),
    };
    let before = undone.errors.len();
    let mut left = lock.left().to_vec();
    // A file without a record is no trace of a run: somebody else who tidies up has made it, or we.
    let known = !left.is_empty();
    if let Some(group) = groups.layout.as_ref().map(|layout| layout.machine(name))
        && !left.contains(&Entry::Group(group.clone()))
    {
        let certainty = if known { Certainty::Dead } else { Certainty::NoTrace };
        undone.note(&format!("the control group {}", group.display()), cgroup::remove_dead(&group, certainty));
    }
    let directories = places.iter().flat_map(|place| {
        Purpose::ALL.iter().map(|purpose| Entry::Directory(place.join(holder::name(name, *purpose))))
    });
    for entry in directories {
        if !left.contains(&entry) {
            left.push(entry);
        }
    }
    entries(run, &left, undone);
    undone.note(&format!("the entry of {name} in the list of machines"), machine::Registry::of(run).clear(name));
    // Their processes are those of the group above, which are dead by now.
    for hierarchy in &groups.hierarchies {
        let group = cgroup::limit::v1::path(&hierarchy.own, name);
        if !left.contains(&Entry::Group(group.clone())) {
            let certainty = if known { Certainty::Dead } else { Certainty::NoTrace };
            undone.note(&format!("the control group {}", group.display()), cgroup::remove_dead(&group, certainty));
        }
    }
    if undone.errors.len() > before {
        lock.keep();
    }
}

/// Heals what dead runs of the same tree have left, cheaply: `machines` are those that are known to have died, `place` is
/// the directory that the tree is in.
pub fn heal(run: &RunDirectory, machines: &[String], place: Option<&Path>) -> Undone {
    let mut undone = Undone::default();
    let beside = place.map(|place| holder::list(place, LOOKED_AT)).unwrap_or_default();
    if machines.is_empty() && beside.is_empty() {
        return undone;
    }
    let places: Vec<PathBuf> = place.map(Path::to_owned).into_iter().chain([TEMPORARY.into()]).collect();
    let groups = Groups::probe();
    for name in machines.iter().chain(&beside) {
        by_name(run, name, &places, &groups, &mut undone);
    }
    undone
}

/// Where machines are that have a name.
fn usual_places() -> Vec<PathBuf> {
    image::locate::SEARCH.iter().map(PathBuf::from).collect()
}

/// The machines that something is found of, alive or dead.
fn traces(run: &RunDirectory, places: &[PathBuf], groups: &Groups, errors: &mut Vec<String>) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = places.iter().flat_map(|place| holder::list(place, usize::MAX)).collect();
    match image::lock::machines(run) {
        Ok(machines) => names.extend(machines),
        Err(error) => errors.push(chain(&error)),
    }
    names.extend(cgroup::limit::v1::machines(&groups.hierarchies));
    if let Some(layout) = &groups.layout {
        match cgroup::machines(layout) {
            Ok(machines) => names.extend(machines),
            Err(error) => errors.push(chain(&error)),
        }
    }
    names
}

/// What dead runs have left, as far as it can be told without touching it.
#[derive(Debug, Default)]
pub struct Left {
    /// The machines they were.
    pub machines: Vec<String>,
    /// What could not be looked at.
    pub errors: Vec<String>,
}

/// Looks for what [`cleanup`] would remove of machines that have a name. Nothing is changed.
#[must_use]
pub fn left_behind() -> Left {
    let run = RunDirectory::system();
    let mut errors = Vec::new();
    let mut places = usual_places();
    places.push(TEMPORARY.into());
    let groups = Groups::probe();
    let names = traces(&run, &places, &groups, &mut errors);
    let machines = names.into_iter().filter(|name| is_dead(&run, name, &places, &groups)).collect();
    Left { machines, errors }
}

/// Whether nobody has the name and something is left of who had it.
fn is_dead(run: &RunDirectory, name: &str, places: &[PathBuf], groups: &Groups) -> bool {
    let Ok(machine) = MachineName::try_from(name) else { return false };
    match image::lock::standing(run, &machine) {
        Standing::Taken => return false,
        Standing::Dead => return true,
        Standing::Free => {}
    }
    let mut directories =
        places.iter().flat_map(|place| Purpose::ALL.iter().map(|purpose| place.join(holder::name(name, *purpose))));
    let unified = groups.layout.iter().map(|layout| layout.machine(name));
    let old = groups.hierarchies.iter().map(|hierarchy| cgroup::limit::v1::path(&hierarchy.own, name));
    directories.any(|path| holder::found(&path).iter().any(|path| holder::is_dead_at(path)))
        || unified.chain(old).any(|group| cgroup::is_left(&group))
}

/// `--cleanup`: removes all that dead runs have left, as far as it can be found from what is asked for.
pub fn cleanup(spec: &ContainerSpec) -> Undone {
    let run = RunDirectory::system();
    let mut undone = Undone::default();
    let mut places: Vec<PathBuf> = match &spec.image().source {
        Source::Directory(path) | Source::Image(path) => {
            let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
            path.parent().map(Path::to_owned).into_iter().collect()
        }
        Source::Machine(_) => usual_places(),
    };
    places.push(TEMPORARY.into());
    let groups = Groups::probe();
    let names = traces(&run, &places, &groups, &mut undone.errors);
    for name in &names {
        by_name(&run, name, &places, &groups, &mut undone);
    }
    match machine::Registry::of(&run).sweep() {
        Ok(machines) => {
            let entries = machines.iter().map(|name| format!("the entry of {name} in the list of machines"));
            undone.removed.extend(entries);
        }
        Err(error) => undone.errors.push(chain(&error)),
    }
    match image::lock::sweep(&run, &places) {
        Ok(0) => {}
        Ok(count) => undone.removed.push(format!("{count} lock files")),
        Err(error) => undone.errors.push(chain(&error)),
    }
    undone
}
