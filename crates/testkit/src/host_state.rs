//! What a container must leave as it was.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::requirement::cgroup2_mount;

/// What the machine looked like: mounts, links, control groups, notes of running containers, loop devices, temporary
/// directories, and the directories that were named.
#[derive(Debug, PartialEq, Eq)]
pub struct HostState {
    watched: Vec<PathBuf>,
    facts: BTreeMap<String, String>,
}

/// Where the paths of trees in use are.
const TREES: &str = "/run/redd/trees";
/// Directories that engines write to beside the trees.
const NOTES: [&str; 4] = ["/run/redd", "/run/systemd/nspawn-uid", "/run/systemd/nspawn", "/run/systemd/machines"];

impl HostState {
    /// Looks at the machine, at what lies beside `tree` (temporary copies are made there), and at everything in the
    /// `watched` directories. Control groups and notes count where their path has the tree's name in it: a machine is
    /// never quiet. To be exact about the rest, isolate the thread first: [`crate::Isolated`].
    pub fn capture(tree: &Path, watched: &[&Path]) -> Self {
        let mut all: Vec<PathBuf> = watched.iter().map(|path| path.to_path_buf()).collect();
        all.push(tree.to_owned());
        Self { facts: facts(tree, &all[..all.len() - 1]), watched: all }
    }

    /// Everything is as it was.
    ///
    /// # Panics
    /// With the differences, if there are any.
    #[track_caller]
    pub fn assert_same(&self) {
        let differences = self.differences();
        assert!(differences.is_empty(), "the host is not as it was:\n{}", differences.join("\n"));
    }

    /// What is not as it was, line by line.
    pub fn differences(&self) -> Vec<String> {
        let (tree, watched) = self.watched.split_last().expect("capture() puts the tree there");
        let now = facts(tree, watched);
        let mut all = Vec::new();
        for (key, old) in &self.facts {
            match now.get(key) {
                None => all.push(format!("gone: {key} {old}")),
                Some(new) if new != old => all.push(format!("changed: {key} from {old} to {new}")),
                Some(_) => {}
            }
        }
        all.extend(now.iter().filter(|(key, _)| !self.facts.contains_key(*key)).map(|(k, v)| format!("new: {k} {v}")));
        all
    }
}

fn facts(tree: &Path, watched: &[PathBuf]) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mounts = std::fs::read_to_string("/proc/thread-self/mountinfo").expect("mount table");
    for (number, line) in mounts.lines().enumerate() {
        facts.insert(format!("mount {number}"), line.to_owned());
    }
    if let Ok(devices) = std::fs::read_to_string("/proc/thread-self/net/dev") {
        for name in devices.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.trim()) {
            facts.insert(format!("link {name}"), String::new());
        }
    }
    let name = tree.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    for group in control_groups(&name) {
        facts.insert(format!("control group {}", group.display()), String::new());
    }
    // Those of trees have their whole paths: other tests' trees may bear the same name.
    let marked = tree.to_string_lossy().replace('/', ":");
    for directory in NOTES {
        list(Path::new(directory), &mut |path, _| {
            let word = if path.starts_with(TREES) { &marked } else { &name };
            // Directories for notes stay; what is noted of this tree must not.
            if !path.is_dir() && path.to_string_lossy().contains(word) {
                facts.insert(format!("note {}", path.display()), String::new());
            }
        });
    }
    let beside = [tree.parent(), Some(Path::new("/var/tmp")), Some(Path::new("/tmp"))];
    for directory in beside.into_iter().flatten() {
        // Other tests have trees there, too: what counts is what bears this tree's name or is redd's own.
        for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
            let entry_name = entry.file_name().to_string_lossy().into_owned();
            if entry_name.contains(&name) {
                facts.insert(format!("beside {}", entry.path().display()), String::new());
            }
        }
    }
    for entry in std::fs::read_dir("/sys/block").into_iter().flatten().flatten() {
        if let Ok(file) = std::fs::read_to_string(entry.path().join("loop/backing_file"))
            && file.contains(&name)
        {
            facts.insert(format!("loop {}", entry.path().display()), file);
        }
    }
    for directory in watched {
        list(directory, &mut |path, description| {
            facts.insert(format!("file {}", path.display()), description.to_owned());
        });
    }
    facts
}

fn control_groups(name: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let roots = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let mut waiting: Vec<PathBuf> = roots.chain(cgroup2_mount()).filter(|path| path.is_dir()).collect();
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(name) {
                    all.push(entry.path());
                }
                waiting.push(entry.path());
            }
        }
    }
    all.sort();
    all
}

/// Calls `see` for everything below a directory, with a description that changes when the file does.
fn list(directory: &Path, see: &mut dyn FnMut(&Path, &str)) {
    let mut waiting = vec![directory.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(status) = std::fs::symlink_metadata(&path) else { continue };
        let text = format!(
            "{:o} {}:{} {} bytes, device {}, changed {}.{}",
            status.mode(),
            status.uid(),
            status.gid(),
            if status.is_dir() { 0 } else { status.size() },
            status.rdev(),
            status.ctime(),
            status.ctime_nsec(),
        );
        see(&path, &text);
        if status.is_dir() {
            waiting.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::HostState;

    #[test]
    fn what_is_made_or_changed_in_a_watched_directory_is_seen() {
        let directory = tempfile::tempdir().expect("directory");
        std::fs::write(directory.path().join("old"), "1").expect("file");
        let tree = tempfile::tempdir().expect("directory");
        let state = HostState::capture(tree.path(), &[directory.path()]);
        assert_eq!(state.differences().iter().filter(|line| line.contains("file ")).count(), 0);
        std::fs::write(directory.path().join("old"), "22").expect("file");
        std::fs::write(directory.path().join("new"), "").expect("file");
        let differences = state.differences();
        assert!(differences.iter().any(|line| line.starts_with("changed: file ") && line.contains("/old")));
        assert!(differences.iter().any(|line| line.starts_with("new: file ") && line.contains("/new")));
    }
}
