//! Names and numbers that are checked once, where they come in.

use std::fmt::{self, Display, Formatter};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use thiserror::Error;

/// Why a name is none.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum NameError {
    /// A machine or host name.
    #[error("{0:?} is no valid host name: letters, digits, dots and dashes, 1 to 64 of them")]
    Host(String),
    /// A path.
    #[error("{0:?} is no absolute path without \"..\"")]
    Path(PathBuf),
    /// A range of ids.
    #[error("{0:?} is no range of user ids: FIRST or FIRST:COUNT, within 32 bits")]
    Range(String),
}

/// The name of a machine: valid as a host name, at most 64 bytes (machinectl(1), "Machine and Image Names").
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct MachineName(String);

/// A host name that the kernel and the resolver take (hostname(5)).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct HostName(String);

/// Labels of letters, digits and dashes, none empty, none starting or ending with a dash.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    (1..=64).contains(&text.len()) && text.split('.').all(label)
}

macro_rules! host_name {
    ($name:ident) => {
        impl $name {
            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<Self, NameError> {
                if is_host_name(text) { Ok(Self(text.to_owned())) } else { Err(NameError::Host(text.to_owned())) }
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::try_from(text)
            }
        }

        impl Display for $name {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

host_name!(MachineName);

impl MachineName {
    /// The name that is left of `text` without what a name cannot have; `None` where nothing is left.
    #[must_use]
    pub fn made_of(text: &str) -> Option<Self> {
        let allowed = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.');
        let kept: String = text.chars().filter(allowed).take(64).collect();
        let labels = kept.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty());
        Self::try_from(labels.collect::<Vec<_>>().join(".").as_str()).ok()
    }
}
host_name!(HostName);

/// An absolute path without `.` and `..`. Says nothing about what is there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct AbsPath(PathBuf);

impl AbsPath {
    /// The path.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl TryFrom<&Path> for AbsPath {
    type Error = NameError;

    fn try_from(path: &Path) -> Result<Self, NameError> {
        if is_clean(path.as_os_str().as_encoded_bytes()) {
            return Ok(Self(path.to_owned()));
        }
        let bad = || NameError::Path(path.to_owned());
        let mut clean = PathBuf::from("/");
        let mut components = path.components();
        if components.next() != Some(Component::RootDir) || path.as_os_str().as_encoded_bytes().contains(&0) {
            return Err(bad());
        }
        for component in components {
            match component {
                Component::Normal(name) => clean.push(name),
                Component::CurDir => {}
                Component::RootDir | Component::ParentDir | Component::Prefix(_) => return Err(bad()),
            }
        }
        Ok(Self(clean))
    }
}

/// Whether nothing of it would be left out: so it is with nearly all, and a plan has a hundred of them.
fn is_clean(path: &[u8]) -> bool {
    let Some((b'/', names)) = path.split_first() else { return false };
    names.split(|byte| *byte == b'/').all(|name| !matches!(name, b"" | b"." | b"..") && !name.contains(&0))
}

impl TryFrom<&str> for AbsPath {
    type Error = NameError;

    fn try_from(text: &str) -> Result<Self, NameError> {
        Self::try_from(Path::new(text))
    }
}

impl FromStr for AbsPath {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::try_from(text)
    }
}

impl Display for AbsPath {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Display::fmt(&self.0.display(), f)
    }
}

/// A range of user and of group ids on the host; never empty, never past 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct UidRange {
    start: u32,
    count: u32,
}

impl UidRange {
    /// How many ids a range has where nothing else is said: all that 16 bits can tell apart.
    pub const USUAL_COUNT: u32 = 0x1_0000;

    /// A range; `None` if it is empty or reaches past the last valid id (4294967294; the one after it means "no user").
    #[must_use]
    pub const fn new(start: u32, count: u32) -> Option<Self> {
        match start.checked_add(count) {
            Some(_) if count > 0 => Some(Self { start, count }),
            _ => None,
        }
    }

    /// The first and the last range of 65536 ids that are picked for containers (systemd-nspawn(1),
    /// `--private-users=`), by their first ids.
    pub const PICKED: (u32, u32) = (0x0008_0000, 0x6fff_0000);

    /// The range of files that are of no user of any host, by its first id: the foreign range
    /// (systemd-nspawn(1), `--private-users-ownership=`).
    pub const FOREIGN: u32 = 0x7ffe_0000;

    /// Whether some of its ids are among those that are picked for containers.
    #[must_use]
    pub const fn is_pickable(self) -> bool {
        self.start < Self::PICKED.1 + Self::USUAL_COUNT && self.start + self.count > Self::PICKED.0
    }

    /// Whether two ranges have an id in common.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.start < other.start + other.count && other.start < self.start + self.count
    }

    /// The first id.
    #[must_use]
    pub const fn start(self) -> u32 {
        self.start
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> u32 {
        self.count
    }
}

impl FromStr for UidRange {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().ok(),
            false => None,
        };
        let (start, count) = match text.split_once(':') {
            Some((start, count)) => (number(start), number(count)),
            None => (number(text), Some(Self::USUAL_COUNT)),
        };
        start.zip(count).and_then(|(start, count)| Self::new(start, count)).ok_or(NameError::Range(text.to_owned()))
    }
}

impl Display for UidRange {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.start, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_made_of_paths() {
        for (text, name) in [("deb_12", "deb12"), (".a..b-.", "a.b"), ("plain", "plain"), ("ä b", "b")] {
            assert_eq!(MachineName::made_of(text).as_ref().map(MachineName::as_str), Some(name), "{text}");
        }
        assert_eq!(MachineName::made_of("._-"), None);
        assert_eq!(MachineName::made_of(&"x".repeat(80)).map(|name| name.as_str().len()), Some(64));
    }

    #[test]
    fn host_names() {
        for good in ["a", "deb12", "my-machine", "a.b.c", "A.1", &"x".repeat(64)] {
            assert!(MachineName::try_from(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a..b", "-a", "a-", "a/b", "ä", "a b", "a_b", ".a", "a.", &"x".repeat(65)] {
            assert!(MachineName::try_from(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths_are_cleaned_and_never_lead_up() {
        assert_eq!(AbsPath::try_from("/a//b/./c/").map(|path| path.to_string()), Ok("/a/b/c".into()));
        for bad in ["", "a", "/a/../b", "..", "/\0"] {
            assert!(AbsPath::try_from(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn ranges() {
        assert_eq!("5".parse(), Ok(UidRange { start: 5, count: 65536 }));
        assert_eq!("524288:10".parse(), Ok(UidRange { start: 524_288, count: 10 }));
        for bad in ["", ":", "1:", ":1", "1:0", "-1", "+1", "4294967295:1", "1:2:3", "x"] {
            assert!(bad.parse::<UidRange>().is_err(), "{bad}");
        }
        let range = |start, count| UidRange::new(start, count).unwrap();
        assert!(range(0x8_0000, 1).is_pickable() && range(0x7_ffff, 2).is_pickable());
        assert!(range(0x6fff_ffff, 1).is_pickable());
        assert!(!range(0, 0x8_0000).is_pickable() && !range(0x7000_0000, 5).is_pickable());
        assert!(range(5, 5).overlaps(range(9, 1)) && range(9, 1).overlaps(range(5, 5)));
        assert!(!range(5, 5).overlaps(range(10, 1)) && !range(10, 1).overlaps(range(5, 5)));
    }
}
