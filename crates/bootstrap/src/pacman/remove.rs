//! Takes the files of packages out of a tree.

use std::collections::{HashMap, HashSet};

use super::local::{Installed, Unfinished};
use super::pattern::Patterns;
use super::unpack::hash;
use crate::tar_reader::lossy;
use crate::tree::{self, Tree};

/// How many packages have each path; directories have a slash at the end.
#[derive(Debug, Default)]
pub(crate) struct Counts(HashMap<Vec<u8>, u32>);

impl Counts {
    pub(crate) fn add<'a>(&mut self, paths: impl IntoIterator<Item = &'a Vec<u8>>) {
        for path in paths {
            *self.0.entry(path.clone()).or_default() += 1;
        }
    }

    pub(crate) fn take<'a>(&mut self, paths: impl IntoIterator<Item = &'a Vec<u8>>) {
        for path in paths {
            if let Some(count) = self.0.get_mut(path) {
                *count = count.saturating_sub(1);
            }
        }
    }

    pub(crate) fn has(&self, path: &[u8]) -> bool {
        self.0.get(path).is_some_and(|count| *count > 0)
    }
}

/// How files are removed.
pub(crate) struct Removal<'a> {
    pub(crate) tree: &'a Tree,
    /// What has to stay: it belongs to another package, or to the new version.
    pub(crate) kept: &'a dyn Fn(&[u8]) -> bool,
    /// Files that are never touched.
    pub(crate) no_upgrade: &'a Patterns,
}

impl Removal<'_> {
    /// Removes the files of a package, what was changed of those that keep changes renamed instead. Says what a person
    /// should know.
    ///
    /// # Errors
    /// Where one cannot be removed.
    pub(crate) fn remove(&self, package: &Installed) -> Result<Vec<String>, tree::Error> {
        let mut messages = Vec::new();
        for path in package.files.iter().rev() {
            if (self.kept)(path) {
                continue;
            }
            if let Some(directory) = path.strip_suffix(b"/") {
                self.tree.remove_if_empty(directory)?;
                continue;
            }
            if self.no_upgrade.match_path(path) {
                continue;
            }
            let before = package.backup.iter().find(|(backup, _)| backup.as_bytes() == path);
            if let Some((_, before)) = before
                && let Some(now) = hash(self.tree, path)?
                && Some(&now) != before.as_ref()
            {
                self.save(path)?;
                messages.push(format!("warning: /{path} saved as /{path}.pacsave", path = lossy(path)));
                continue;
            }
            self.tree.remove_bytes(path)?;
        }
        Ok(messages)
    }

    /// Renames a file to `.pacsave`. What was saved there before becomes `.pacsave.1`, and so on.
    fn save(&self, path: &[u8]) -> Result<(), tree::Error> {
        let saved = [path, b".pacsave"].concat();
        let start = path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (directory, prefix) = (path[..start].strip_suffix(b"/").unwrap_or_default(), &saved[start..]);
        let names = self.tree.names(directory)?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| number(name.strip_prefix(prefix)?)).collect();
        numbers.sort_unstable();
        // The highest first, so that none is in the way of another.
        for before in numbers.into_iter().rev() {
            let numbered = |number: u64| [&*saved, format!(".{number}").as_bytes()].concat();
            let from = if before == 0 { saved.clone() } else { numbered(before) };
            self.tree.rename_bytes(&from, &numbered(before + 1))?;
        }
        self.tree.rename_bytes(path, &saved)
    }

    /// Removes what a package has left that was not installed to its end, but for what may have been there before.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub(crate) fn remove_left(&self, package: &Unfinished) -> Result<(), tree::Error> {
        let backup: HashSet<&[u8]> = package.backup.iter().map(String::as_bytes).collect();
        let stays = |path: &[u8]| (self.kept)(path) || backup.contains(path) || self.no_upgrade.match_path(path);
        for path in package.files.iter().rev().filter(|path| !stays(path)) {
            match path.strip_suffix(b"/") {
                Some(directory) => self.tree.remove_if_empty(directory)?,
                None => self.tree.remove_bytes(path)?,
            }
        }
        Ok(())
    }
}

/// The number of a file that was saved, by what comes after `.pacsave`: none is 0. Other names are somebody else's.
fn number(rest: &[u8]) -> Option<u64> {
    if rest.is_empty() {
        return Some(0);
    }
    let text = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?;
    let number: u64 = text.parse().ok()?;
    // One of them is followed by another.
    (number > 0 && number < u64::MAX && number.to_string() == text).then_some(number)
}
