//! Two trees that ought to be equal.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a tree has at one path: all but times, inode numbers and the content of files, which lies in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeEntry {
    /// Type and permissions, as stat(2) has them.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Where a symbolic link leads.
    pub target: Option<PathBuf>,
    /// The number of a device.
    pub device: u64,
    /// The first path, in their order, of all that are the same file.
    pub same_as: Option<PathBuf>,
    /// Extended attributes.
    pub attributes: BTreeMap<OsString, Vec<u8>>,
}

/// Everything in a tree, the root itself included, by the paths below it.
#[derive(Debug)]
pub struct TreeState {
    root: PathBuf,
    entries: BTreeMap<PathBuf, TreeEntry>,
}

impl TreeState {
    /// Looks at everything.
    ///
    /// # Panics
    /// Where something cannot be looked at.
    #[track_caller]
    pub fn capture(root: &Path) -> Self {
        let mut paths = BTreeSet::new();
        walk(root, Path::new(""), &mut paths).unwrap_or_else(|e| panic!("cannot look at {}: {e}", root.display()));
        let mut inodes: HashMap<u64, PathBuf> = HashMap::new();
        let mut entries = BTreeMap::new();
        for path in paths {
            let whole = root.join(&path);
            let look = |e: io::Error| -> ! { panic!("cannot look at {}: {e}", whole.display()) };
            let status = fs::symlink_metadata(&whole).unwrap_or_else(|e| look(e));
            let mut entry = entry(&whole, &status).unwrap_or_else(|e| look(e));
            if !status.is_dir() && status.nlink() > 1 {
                entry.same_as = Some(inodes.entry(status.ino()).or_insert_with(|| path.clone()).clone());
            }
            entries.insert(path, entry);
        }
        Self { root: root.to_owned(), entries }
    }

    /// How many paths there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// The paths at which the two differ, and how.
    ///
    /// # Panics
    /// Where a file cannot be read.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<TreeDifference> {
        let paths: BTreeSet<&PathBuf> = self.entries.keys().chain(other.entries.keys()).collect();
        let difference = |path: &PathBuf| {
            let kind = match (self.entries.get(path), other.entries.get(path)) {
                (Some(_), None) => TreeDifferenceKind::OnlyFirst,
                (None, Some(_)) => TreeDifferenceKind::OnlySecond,
                (Some(one), Some(two)) => self.kind(path, one, two, other)?,
                (None, None) => return None,
            };
            Some(TreeDifference { path: path.clone(), kind })
        };
        paths.into_iter().filter_map(difference).collect()
    }

    fn kind(&self, path: &Path, one: &TreeEntry, two: &TreeEntry, other: &Self) -> Option<TreeDifferenceKind> {
        if one != two {
            return Some(TreeDifferenceKind::Kind(format!("{one:?}\n  {two:?}")));
        }
        if one.mode & 0o170_000 != 0o100_000 {
            return None;
        }
        let read = |root: &Path| fs::read(root.join(path)).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (first, second) = (read(&self.root), read(&other.root));
        (first != second).then(|| TreeDifferenceKind::Content(first_lines(&first, &second)))
    }
}

/// How one path differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TreeDifferenceKind {
    /// The second has nothing there.
    OnlyFirst,
    /// The first has nothing there.
    OnlySecond,
    /// Type, mode, owner, link, device, attributes or what it is a hard link of.
    Kind(String),
    /// The content of a file: the first lines in which they differ.
    Content(String),
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeDifference {
    /// The path below the root.
    pub path: PathBuf,
    /// How.
    pub kind: TreeDifferenceKind,
}

impl std::fmt::Display for TreeDifference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.path.display();
        match &self.kind {
            TreeDifferenceKind::OnlyFirst => write!(f, "only the first has /{path}"),
            TreeDifferenceKind::OnlySecond => write!(f, "only the second has /{path}"),
            TreeDifferenceKind::Kind(how) => write!(f, "/{path} is not the same:\n  {how}"),
            TreeDifferenceKind::Content(how) => write!(f, "/{path} has another content:\n{how}"),
        }
    }
}

fn walk(root: &Path, below: &Path, paths: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    paths.insert(below.to_owned());
    for entry in fs::read_dir(root.join(below))? {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            walk(root, &path, paths)?;
        } else {
            paths.insert(path);
        }
    }
    Ok(())
}

fn entry(path: &Path, status: &Metadata) -> io::Result<TreeEntry> {
    let target = if status.is_symlink() { Some(fs::read_link(path)?) } else { None };
    let (mode, uid, gid, device) = (status.mode(), status.uid(), status.gid(), status.rdev());
    Ok(TreeEntry { mode, uid, gid, target, device, same_as: None, attributes: attributes(path)? })
}

fn attributes(path: &Path) -> io::Result<BTreeMap<OsString, Vec<u8>>> {
    let mut names = vec![0; 65536];
    let length = match rustix::fs::llistxattr(path, &mut names[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        other => other?,
    };
    let mut all = BTreeMap::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 65536];
        let length = rustix::fs::lgetxattr(path, name, &mut value[..])?;
        value.truncate(length);
        all.insert(OsString::from_vec(name.to_vec()), value);
    }
    Ok(all)
}

fn first_lines(first: &[u8], second: &[u8]) -> String {
    let (first, second) = (String::from_utf8_lossy(first), String::from_utf8_lossy(second));
    let (mut ours, mut theirs) = (first.lines(), second.lines());
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return "  the same lines, ended in another way".to_owned(),
            (one, two) if one != two => {
                let short = |line: Option<&str>| line.unwrap_or("(the end)").chars().take(100).collect::<String>();
                return format!("  {}\n  {}", short(one), short(two));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().expect("a directory");
        let at = |path: &str| tree.path().join(path);
        fs::create_dir(at("d")).expect("made");
        fs::write(at("d/a"), "one\ntwo\n").expect("written");
        fs::hard_link(at("d/a"), at("d/b")).expect("linked");
        symlink("a", at("d/l")).expect("linked");
        tree
    }

    #[test]
    fn equal_trees_do_not_differ() {
        let (one, two) = (tree(), tree());
        assert_eq!(TreeState::capture(one.path()).differences(&TreeState::capture(two.path())), []);
    }

    #[test]
    fn every_difference_is_found() {
        type Change = (&'static str, fn(&Path));
        let first = tree();
        let changes: [Change; 7] = [
            ("d/a", |d| fs::write(d.join("d/a"), "one\nthree\n").expect("written")),
            ("d/a", |d| fs::set_permissions(d.join("d/a"), fs::Permissions::from_mode(0o4755)).expect("changed")),
            ("d/b", |d| fs::remove_file(d.join("d/b")).expect("removed")),
            ("d/b", |d| {
                fs::remove_file(d.join("d/b")).expect("removed");
                fs::copy(d.join("d/a"), d.join("d/b")).expect("copied");
            }),
            ("d/l", |d| {
                fs::remove_file(d.join("d/l")).expect("removed");
                symlink("b", d.join("d/l")).expect("linked");
            }),
            ("d/n", |d| fs::create_dir(d.join("d/n")).expect("made")),
            ("", |d| fs::set_permissions(d, fs::Permissions::from_mode(0o750)).expect("changed")),
        ];
        for (path, change) in changes {
            let second = tree();
            change(second.path());
            let found = TreeState::capture(first.path()).differences(&TreeState::capture(second.path()));
            assert!(found.iter().any(|one| one.path == Path::new(path)), "{path}: {found:?}");
        }
    }
}
