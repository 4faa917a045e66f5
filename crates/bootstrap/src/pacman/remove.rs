//! Takes the files of packages out of a tree.

use std::collections::HashMap;

use super::local::Installed;
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
                let saved = [&**path, b".pacsave"].concat();
                self.tree.rename_bytes(path, &saved)?;
                messages.push(format!("warning: /{path} saved as /{path}.pacsave", path = lossy(path)));
                continue;
            }
            self.tree.remove_bytes(path)?;
        }
        Ok(messages)
    }

    /// Removes what a package has left that was not installed to its end.
    ///
    /// # Errors
    /// Where something cannot be removed.
    pub(crate) fn remove_left(&self, files: &[Vec<u8>]) -> Result<(), tree::Error> {
        for path in files.iter().rev().filter(|path| !(self.kept)(path)) {
            match path.strip_suffix(b"/") {
                Some(directory) => self.tree.remove_if_empty(directory)?,
                None => self.tree.remove_bytes(path)?,
            }
        }
        Ok(())
    }
}
