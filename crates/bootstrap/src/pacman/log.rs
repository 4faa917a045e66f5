//! `/var/log/pacman.log` in a tree: what was done, line by line, as pacman(8) writes it.

use std::io::Write;

use rustix::fs::OFlags;

use crate::tree::{self, Tree};

/// Who says a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// Whoever asked for the transaction: its command line.
    Caller,
    /// The transaction.
    Transaction,
    /// A script of a package, or a hook.
    Scriptlet,
}

impl Source {
    fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "PACMAN",
            Self::Transaction => "ALPM",
            Self::Scriptlet => "ALPM-SCRIPTLET",
        }
    }
}

/// The file, open to be added to.
#[derive(Debug)]
pub(crate) struct Log {
    file: std::fs::File,
    path: String,
}

impl Log {
    /// Opens the file, made where it is missing.
    ///
    /// # Errors
    /// Where it is no file, or cannot be made.
    pub(crate) fn open(tree: &Tree, path: &str) -> Result<Self, tree::Error> {
        let path = path.trim_start_matches('/').to_owned();
        if !tree.exists(&path) {
            tree.write(&path, b"", 0o644)?;
        }
        let error = |source| tree::Error { action: "write", path: path.clone(), source };
        let file = tree.open_file(path.as_bytes(), OFlags::WRONLY | OFlags::APPEND);
        let file = file.map_err(|errno| error(errno.into()))?.ok_or_else(|| error(tree::irregular()))?;
        Ok(Self { file, path })
    }

    /// Adds a line.
    ///
    /// # Errors
    /// Where it cannot be written.
    pub(crate) fn write(&self, source: Source, text: &str) -> Result<(), tree::Error> {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S+0000");
        let line = format!("[{now}] [{}] {text}\n", source.as_str());
        (&self.file).write_all(line.as_bytes()).map_err(|source| tree::Error {
            action: "write",
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_and_nothing_outside_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        for text in ["one", "two"] {
            Log::open(&tree, "/var/log/pacman.log").unwrap().write(Source::Transaction, text).unwrap();
        }
        let content = std::fs::read_to_string(directory.path().join("var/log/pacman.log")).unwrap();
        let lines: Vec<&str> = content.lines().collect();
        assert!(lines[0].starts_with("[2") && lines[0].ends_with("+0000] [ALPM] one"), "{content}");
        assert!(lines[1].ends_with("] [ALPM] two"));
        tree.link("/dev/null", "null").unwrap();
        assert!(Log::open(&tree, "null").is_err());
        tree.make_directories(b"d").unwrap();
        assert!(Log::open(&tree, "d").is_err());
    }

    #[test]
    fn a_device_is_not_opened() {
        testkit::requires!(root);
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        // No driver has it: whoever opens it is told that there is no such device.
        let (kind, mode) = (rustix::fs::FileType::CharacterDevice, rustix::fs::Mode::from_raw_mode(0o600));
        let device = rustix::fs::makedev(10, 199);
        rustix::fs::mknodat(rustix::fs::CWD, directory.path().join("device"), kind, mode, device).unwrap();
        let error = Log::open(&tree, "device").unwrap_err();
        assert_eq!(error.source.to_string(), "it is no regular file");
    }
}
