//! What is in a tree, in words that can be compared.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr};

/// What every path of a tree is: kind, mode, owner, contents or target, names of the same file, extended attributes, and the
/// time of a file that is older than the tree.
#[derive(Debug)]
pub struct Listing {
    lines: BTreeMap<String, String>,
}

/// Texts of at most so many bytes are shown as they are.
const SHOWN: usize = 3000;

impl Listing {
    /// Reads a tree. Of times, in seconds since 1970, only those before `since` are compared, which are packages'.
    ///
    /// Not compared, because they differ from one time to the next: the times of pacman's database; where the tree is, and lines of
    /// its log that are not of the transaction, and the time of all; the machine's id; ldconfig's own
    /// cache; what GnuPG notes while it looks at a keyring.
    ///
    /// # Panics
    /// If the tree cannot be read.
    pub fn of(tree: &Path, since: i64) -> Self {
        let mut listing = Self { lines: BTreeMap::new() };
        let mut inodes = BTreeMap::new();
        listing.walk(tree, Path::new(""), since, &mut inodes);
        listing
    }

    fn walk(&mut self, tree: &Path, inside: &Path, since: i64, inodes: &mut BTreeMap<u64, String>) {
        let entries = fs::read_dir(tree.join(inside)).unwrap_or_else(|error| panic!("{}: {error}", inside.display()));
        let mut names: Vec<_> = entries.map(|entry| entry.expect("entry").file_name()).collect();
        names.sort();
        for name in names {
            let inside = inside.join(name);
            let path = tree.join(&inside);
            let status = fs::symlink_metadata(&path).expect("status");
            let shown = inside.as_os_str().as_bytes().escape_ascii().to_string();
            let first = inodes.entry(status.ino()).or_insert_with(|| shown.clone()).clone();
            let mut line = kind(&path, &inside, tree, &status);
            line += &format!(" mode {:o} owner {}:{}", status.mode() & 0o7777, status.uid(), status.gid());
            if !status.is_dir() && status.nlink() > 1 {
                line += &format!(" same as {first}");
            }
            let timed = !status.is_dir() && !shown.starts_with("var/lib/pacman/local/");
            if timed && status.mtime() < since {
                line += &format!(" of {}", status.mtime());
            }
            line += &attributes(&path);
            self.lines.insert(shown, line);
            if status.is_dir() {
                self.walk(tree, &inside, since, inodes);
            }
        }
    }

    /// The paths that are not the same in the other, each with both lines. Those below one of the prefixes are passed over.
    #[must_use]
    pub fn differences(&self, other: &Self, but: &[&str]) -> Vec<String> {
        let paths = self.lines.keys().chain(other.lines.keys().filter(|path| !self.lines.contains_key(*path)));
        let compared = paths.filter(|path| !but.iter().any(|prefix| path.starts_with(prefix)));
        let line = |of: &Self, path: &String| of.lines.get(path).cloned().unwrap_or_else(|| "is not there".into());
        let pairs = compared.map(|path| (path, line(self, path), line(other, path)));
        pairs.filter(|(_, one, two)| one != two).map(|(path, one, two)| format!("{path}:\n  {one}\n  {two}")).collect()
    }

    /// Whether a path is there.
    #[must_use]
    pub fn has(&self, path: &str) -> bool {
        self.lines.contains_key(path)
    }

    /// How many paths there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lines.len()
    }
}

fn kind(path: &Path, inside: &Path, tree: &Path, status: &fs::Metadata) -> String {
    let kind = status.file_type();
    if kind.is_symlink() {
        return format!("link to {}", fs::read_link(path).expect("link").display());
    }
    if kind.is_file() {
        return format!("file {}", contents(path, inside, tree));
    }
    let device = kind.is_char_device() || kind.is_block_device();
    match (kind.is_dir(), kind.is_fifo(), device) {
        (true, _, _) => "directory".into(),
        (_, true, _) => "pipe".into(),
        (_, _, true) => format!("device {}", status.rdev()),
        _ => "socket".into(),
    }
}

/// A text, or what stands for what is long.
fn contents(path: &Path, inside: &Path, tree: &Path) -> String {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let inside = inside.to_string_lossy();
    // The loader's cache of libraries has inode numbers.
    let random = ["etc/machine-id", "var/cache/ldconfig/aux-cache", "trustdb.gpg", "tofu.db", "pubring.gpg~"];
    if random.iter().any(|end| inside.ends_with(end)) {
        return "whatever".into();
    }
    let text = match String::from_utf8(bytes) {
        Ok(text) if inside.starts_with("var/lib/pacman/local/") && inside.ends_with("/desc") => dated(&text),
        Ok(text) if inside == "var/log/pacman.log" => logged(&text, tree),
        Ok(text) if text.len() <= SHOWN => text,
        Ok(text) => return hashed(text.as_bytes()),
        Err(error) => return hashed(error.as_bytes()),
    };
    format!("{text:?}")
}

fn hashed(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("of {} bytes, {:x}", bytes.len(), hasher.finish())
}

/// Without the time of installation.
fn dated(text: &str) -> String {
    let mut lines = text.lines();
    let mut kept = Vec::new();
    while let Some(line) = lines.next() {
        kept.push(line);
        if line == "%INSTALLDATE%" {
            let number = lines.next().unwrap_or_default();
            kept.push(if number.parse::<u64>().is_ok() { "a time" } else { number });
        }
    }
    kept.join("\n")
}

/// What the transaction noted.
fn logged(text: &str, tree: &Path) -> String {
    let words = text.lines().filter_map(|line| line.split_once("] ").map(|(_, words)| words));
    let words = words.filter(|words| words.starts_with("[ALPM"));
    words.collect::<Vec<_>>().join("\n").replace(&*tree.to_string_lossy(), "")
}

fn attributes(path: &Path) -> String {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names[..]).unwrap_or(0);
    let mut all: Vec<String> = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; 4096];
        let name = String::from_utf8_lossy(name).into_owned();
        let length = lgetxattr(path, name.as_str(), &mut value[..]).unwrap_or(0);
        all.push(format!(" {name}={}", value[..length].escape_ascii()));
    }
    all.sort();
    all.concat()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::fixture;

    /// Two trees that are the same but for what is done to the second.
    fn differences(change: impl FnOnce(&fixture::Tree)) -> Vec<String> {
        let trees = [fixture::empty(), fixture::empty()];
        for tree in &trees {
            tree.write("a/file", "text", 0o644);
            tree.write("var/lib/pacman/local/a-1-1/desc", format!("%INSTALLDATE%\n{}\n", std::process::id()), 0o644);
            fs::hard_link(tree.join("a/file"), tree.join("a/hard")).expect("link");
            std::os::unix::fs::symlink("file", tree.join("a/link")).expect("link");
        }
        change(&trees[1]);
        let [one, two] = trees.each_ref().map(|tree| Listing::of(tree.path(), 0));
        one.differences(&two, &["passed"])
    }

    #[test]
    fn equal_trees_are_equal_and_what_may_differ_does_not_count() {
        assert_eq!(differences(|_| {}), [""; 0]);
        let date = |tree: &fixture::Tree| {
            tree.write("var/lib/pacman/local/a-1-1/desc", "%INSTALLDATE%\n1\n", 0o644);
            tree.write("passed/over", "", 0o644);
        };
        assert_eq!(differences(date), [""; 0]);
    }

    #[test]
    fn every_difference_is_seen() {
        type Change = fn(&fixture::Tree);
        let changes: [(&str, Change); 6] = [
            ("contents", |tree| drop(tree.write("a/file", "texts", 0o644))),
            ("mode", |tree| fs::set_permissions(tree.join("a"), fs::Permissions::from_mode(0o700)).expect("mode")),
            ("names of one file", |tree| {
                fs::remove_file(tree.join("a/hard")).expect("file");
                fs::copy(tree.join("a/file"), tree.join("a/hard")).expect("file");
            }),
            ("target", |tree| {
                fs::remove_file(tree.join("a/link")).expect("link");
                std::os::unix::fs::symlink("hard", tree.join("a/link")).expect("link");
            }),
            ("more", |tree| drop(tree.write("a/more", "", 0o644))),
            ("no time", |tree| drop(tree.write("var/lib/pacman/local/a-1-1/desc", "%INSTALLDATE%\nno\n", 0o644))),
        ];
        for (what, change) in changes {
            assert_ne!(differences(change), [""; 0], "{what}");
        }
    }
}
