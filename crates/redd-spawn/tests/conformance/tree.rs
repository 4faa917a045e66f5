//! The tree of an engine, new for each case that needs it: copied, or only tidied where that comes to the same.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use testkit::fixture;

/// A tree, and what was in it when it was new.
pub(crate) struct Tree {
    path: PathBuf,
    new: HashMap<PathBuf, State>,
}

/// What differs where something has been changed.
#[derive(Debug, PartialEq, Eq)]
enum State {
    /// Every change of it has set its time of change.
    File { inode: u64, mode: u32, size: u64, changed: (i64, i64) },
    /// What comes and goes in a directory sets its time, too.
    Directory { inode: u64, mode: u32, owner: (u32, u32), attributes: Vec<u8> },
}

impl Tree {
    /// A new tree in this place.
    pub(crate) fn new(path: PathBuf) -> Self {
        let mut tree = Self { path, new: HashMap::new() };
        tree.copy();
        tree
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it as it was. Copying it takes as long as a case, and most have only added to it.
    pub(crate) fn renew(&mut self) {
        if !self.tidy() {
            fs::remove_dir_all(&self.path).expect("the last tree goes away");
            self.copy();
        }
    }

    fn copy(&mut self) {
        fs::create_dir(&self.path).expect("directory");
        fixture::tree_at(&self.path);
        self.new.clear();
        let mut directories = vec![self.path.clone()];
        while let Some(directory) = directories.pop() {
            for path in entries(&directory) {
                let metadata = path.symlink_metadata().expect("what is new in the tree");
                self.new.insert(path.clone(), State::of(&path, &metadata));
                if metadata.is_dir() {
                    directories.push(path);
                }
            }
            let metadata = directory.symlink_metadata().expect("what is new in the tree");
            self.new.insert(directory.clone(), State::of(&directory, &metadata));
        }
    }

    /// Removes what was added. False where something has been changed or removed.
    fn tidy(&self) -> bool {
        let (mut found, mut added) = (0, Vec::new());
        let mut left = vec![self.path.clone()];
        while let Some(path) = left.pop() {
            let Ok(metadata) = path.symlink_metadata() else { return false };
            match self.new.get(&path) {
                None => added.push((path, metadata.is_dir())),
                Some(state) if *state != State::of(&path, &metadata) => return false,
                Some(_) => {
                    found += 1;
                    if metadata.is_dir() {
                        left.extend(entries(&path));
                    }
                }
            }
        }
        let remove = |(path, is_directory): &(PathBuf, bool)| {
            if *is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        };
        found == self.new.len() && added.iter().all(|one| remove(one).is_ok())
    }
}

impl State {
    fn of(path: &Path, metadata: &Metadata) -> Self {
        if !metadata.is_dir() {
            let changed = (metadata.ctime(), metadata.ctime_nsec());
            return Self::File { inode: metadata.ino(), mode: metadata.mode(), size: metadata.size(), changed };
        }
        let mut attributes = vec![0; 4096];
        let length = rustix::fs::llistxattr(path, attributes.as_mut_slice()).expect("names of attributes");
        attributes.truncate(length);
        let owner = (metadata.uid(), metadata.gid());
        Self::Directory { inode: metadata.ino(), mode: metadata.mode(), owner, attributes }
    }
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory of the tree");
    entries.map(|entry| entry.expect("an entry of the tree").path()).collect()
}
