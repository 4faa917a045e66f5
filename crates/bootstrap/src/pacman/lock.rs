//! `db.lck`: who holds it changes what is installed. pacman(8) does nothing while the file is there; here it is locked
//! besides, so that one which a killed run has left is known, and says what that run had begun.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::tree::{self, Tree};

/// The first line, by which a file that pacman has left is told from one of ours.
const MARK: &str = "# redd: being installed";

/// Why the lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody has it.
    #[error("'/{0}' in the tree is locked: somebody else is installing packages there")]
    Held(String),
    /// pacman has left it, or runs.
    #[error("'/{0}' exists in the tree: pacman is at work there, or was killed")]
    Foreign(String),
    /// It cannot be used.
    #[error(transparent)]
    Tree(#[from] tree::Error),
}

/// What a killed run had begun: the packages by name, each with whether an older one of it was installed before.
pub type Begun = BTreeMap<String, bool>;

/// The lock. It is given back by [`Lock::release`]; where it is only dropped, the file stays and says what was begun.
#[derive(Debug)]
pub(crate) struct Lock<'a> {
    tree: &'a Tree,
    path: String,
    /// Holds it.
    file: std::fs::File,
    begun: Begun,
}

/// What a killed run had begun in the tree; nothing where none was killed.
///
/// # Errors
/// Where the file cannot be read.
pub(crate) fn begun(tree: &Tree, directory: &str) -> Result<Begun, tree::Error> {
    Ok(parse(&tree.read(&lock_path(directory))?.unwrap_or_default()).unwrap_or_default())
}

fn lock_path(directory: &str) -> String {
    format!("{}/db.lck", directory.trim_matches('/'))
}

/// `None` if it is none of ours.
fn parse(content: &[u8]) -> Option<Begun> {
    let text = String::from_utf8_lossy(content);
    let mut lines = text.lines();
    if lines.next() != Some(MARK) {
        return None;
    }
    let entry = |line: &str| match line.split_once(' ') {
        Some(("install", name)) => Some((name.to_owned(), false)),
        Some(("upgrade", name)) => Some((name.to_owned(), true)),
        _ => None,
    };
    Some(lines.filter_map(entry).collect())
}

impl<'a> Lock<'a> {
    /// Takes the lock.
    ///
    /// # Errors
    /// Where somebody else has it.
    pub(crate) fn take(tree: &'a Tree, directory: &str) -> Result<Self, Error> {
        let path = lock_path(directory);
        let error = |source: io::Error| tree::Error { action: "lock", path: path.clone(), source };
        if !tree.exists(&path) {
            tree.write(&path, format!("{MARK}\n").as_bytes(), 0o600)?;
        }
        let file = tree.open_file(path.as_bytes(), OFlags::RDWR | OFlags::NOFOLLOW);
        let file = file.map_err(|errno| error(errno.into()))?.ok_or_else(|| error(tree::irregular()))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(Error::Held(path)),
            other => other.map_err(|errno| error(errno.into()))?,
        }
        let mut content = Vec::new();
        (&file).take(1 << 20).read_to_end(&mut content).map_err(error)?;
        match parse(&content) {
            Some(begun) => Ok(Self { tree, path, file, begun }),
            None => Err(Error::Foreign(path)),
        }
    }

    /// Writes down what is begun, before anything is changed. What a killed run had begun stays among it.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn begin(&mut self, begun: Begun) -> Result<(), tree::Error> {
        let error = |source: io::Error| tree::Error { action: "write", path: self.path.clone(), source };
        for (name, upgrade) in begun {
            self.begun.entry(name).or_insert(upgrade);
        }
        let mut text = format!("{MARK}\n");
        for (name, upgrade) in &self.begun {
            text.push_str(if *upgrade { "upgrade " } else { "install " });
            text.push_str(name);
            text.push('\n');
        }
        self.file.rewind().map_err(error)?;
        self.file.write_all(text.as_bytes()).map_err(error)
    }

    /// Gives it back: all is done.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub(crate) fn release(self) -> Result<(), tree::Error> {
        self.tree.remove(&self.path)
    }

    /// Gives it back without anything having been begun; what a killed run had begun stays written.
    ///
    /// # Errors
    /// Where the file cannot be removed.
    pub(crate) fn give_up(self) -> Result<(), tree::Error> {
        if self.begun.is_empty() { self.release() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_begun_is_known_to_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        let mine: Begun = [("a".to_owned(), false), ("b".to_owned(), true)].into();
        assert!(begun(&tree, "/db/").unwrap().is_empty());
        let mut lock = Lock::take(&tree, "/db/").unwrap();
        assert!(matches!(Lock::take(&tree, "db"), Err(Error::Held(_))));
        lock.begin(mine.clone()).unwrap();
        drop(lock);
        assert_eq!(begun(&tree, "db").unwrap(), mine);
        Lock::take(&tree, "db").unwrap().give_up().unwrap();
        let mut lock = Lock::take(&tree, "db").unwrap();
        lock.begin([("a".to_owned(), true), ("c".to_owned(), true)].into()).unwrap();
        let all = [("a".to_owned(), false), ("b".to_owned(), true), ("c".to_owned(), true)];
        assert_eq!(begun(&tree, "db").unwrap(), all.into());
        lock.release().unwrap();
        assert!(!tree.exists("db/db.lck"));
        Lock::take(&tree, "db").unwrap().give_up().unwrap();
        assert!(!tree.exists("db/db.lck"));
        tree.write("db/db.lck", b"", 0o600).unwrap();
        assert!(matches!(Lock::take(&tree, "db"), Err(Error::Foreign(_))));
        assert!(begun(&tree, "db").unwrap().is_empty());
    }
}
