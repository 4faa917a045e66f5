//! What a run has made on the host, so that it can be undone after a violent death.
//!
//! It stands in the file of the lock of the machine's name, written before the things are made: the file is there
//! anyway, and the lock tells whether the run lives. A line each, a word and a value.

use std::path::PathBuf;

use crate::escape::{escape, unescape};

/// One thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The process that looks after it; nothing to undo.
    Supervisor(u32),
    /// The tree that is run; nothing to undo.
    Tree(PathBuf),
    /// A directory named as in [`holder`](crate::holder).
    Directory(PathBuf),
    /// The lock of a range of ids that starts there.
    Range(u32),
    /// A control group.
    Group(PathBuf),
}

/// All that a run has made.
pub type Record = Vec<Entry>;

impl Entry {
    /// As a line.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Supervisor(pid) => format!("supervisor {pid}\n"),
            Self::Tree(path) => format!("tree {}\n", escape(path.as_os_str())),
            Self::Directory(path) => format!("directory {}\n", escape(path.as_os_str())),
            Self::Range(start) => format!("range {start}\n"),
            Self::Group(path) => format!("group {}\n", escape(path.as_os_str())),
        }
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let (word, value) = std::str::from_utf8(line).ok()?.split_once(' ')?;
        let path = || unescape(value).map(PathBuf::from);
        match word {
            "supervisor" => value.parse().ok().map(Self::Supervisor),
            "tree" => path().map(Self::Tree),
            "directory" => path().map(Self::Directory),
            "range" => value.parse().ok().map(Self::Range),
            "group" => path().map(Self::Group),
            _ => None,
        }
    }
}

/// Reads lines. Those of a later version that are not known are passed over, as is the last one if it was cut off.
#[must_use]
pub fn parse(text: &[u8]) -> Record {
    text.split_inclusive(|byte| *byte == b'\n').filter_map(|line| Entry::parse(line.strip_suffix(b"\n")?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_written() {
        let record = vec![
            Entry::Supervisor(17),
            Entry::Tree("/trees/a b\n".into()),
            Entry::Directory("/trees/.#redd.a".into()),
            Entry::Range(524_288),
            Entry::Group("/sys/fs/cgroup/redd/a".into()),
        ];
        let text: String = record.iter().map(Entry::line).collect();
        assert_eq!(parse(text.as_bytes()), record);
    }

    #[test]
    fn what_is_unknown_or_cut_off_is_passed_over() {
        assert_eq!(parse(b"later thing\ndirectory\nrange x\nrange 7\ndirectory /half"), vec![Entry::Range(7)]);
    }
}
