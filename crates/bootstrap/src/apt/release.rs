//! The release file of a suite: what it is, how long it holds, and the hashes of its indices.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use super::control::{Paragraph, paragraphs};
use crate::digest::Sha256;

/// By how much this machine's clock may be slow.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(24 * 3600);

/// What is wrong with a release file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A field is missing.
    #[error("the release file has no field {0}")]
    Missing(&'static str),
    /// A field's value cannot be used.
    #[error("the release file's field {field} has the value '{value}', which is {reason}")]
    Value {
        /// The field's name.
        field: &'static str,
        /// What stands there.
        value: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It is of another suite.
    #[error("the release file is that of suite '{suite}' (codename '{codename}'), not of '{wanted}'")]
    OtherSuite {
        /// The suite in the file.
        suite: String,
        /// The codename in the file.
        codename: String,
        /// The one asked for.
        wanted: String,
    },
    /// Its time is over.
    #[error("the release file held until {0}")]
    Expired(String),
    /// It is of tomorrow.
    #[error("the release file is of {0}, which is in the future")]
    FromTheFuture(String),
    /// It does not have that.
    #[error("the suite has no {what} '{name}' ({have})")]
    NoSuch {
        /// What kind of thing.
        what: &'static str,
        /// The one asked for.
        name: String,
        /// Those that it has.
        have: String,
    },
}

impl Error {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Expired(_) => {
                "the mirror is no longer kept up to date: name another one with --mirror, or accept it with --accept-expired"
            }
            Self::FromTheFuture(_) => "check this machine's clock",
            Self::OtherSuite { .. } => "name the suite as the archive does, with --suite",
            Self::NoSuch { what: "component", .. } => "name components of the suite with --components",
            Self::NoSuch { .. } => "name an architecture of the suite with --arch, or another mirror with --mirror",
            Self::Missing(_) | Self::Value { .. } => "name another mirror with --mirror",
        })
    }
}

/// A file that the release file vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its size in bytes.
    pub size: u64,
    /// Its hash.
    pub sha256: Sha256,
}

/// A release file whose signature has been verified. Its times and names have not been looked at yet, see
/// [`Release::check`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    suite: String,
    codename: String,
    date: SystemTime,
    valid_until: Option<SystemTime>,
    by_hash: bool,
    all_is_everywhere: bool,
    components: Vec<String>,
    architectures: Vec<String>,
    files: HashMap<String, Listed>,
}

impl Release {
    /// Reads a release file.
    ///
    /// # Errors
    /// A field that is missing or cannot be read.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let paragraph = paragraphs(text).next().ok_or(Error::Missing("Date"))?;
        let field = |name| paragraph.field(name).unwrap_or_default().to_owned();
        let words = |name| paragraph.field(name).unwrap_or_default().split_whitespace().map(last_segment).collect();
        let release = Self {
            suite: field("Suite"),
            codename: field("Codename"),
            date: time(paragraph, "Date")?.ok_or(Error::Missing("Date"))?,
            valid_until: time(paragraph, "Valid-Until")?,
            by_hash: paragraph.field("Acquire-By-Hash") == Some("yes"),
            all_is_everywhere: paragraph
                .field("No-Support-for-Architecture-all")
                .is_some_and(|what| what.split_whitespace().any(|what| what == "Packages")),
            components: words("Components"),
            architectures: words("Architectures"),
            files: files(paragraph.field("SHA256").ok_or(Error::Missing("SHA256"))?)?,
        };
        if release.suite.is_empty() && release.codename.is_empty() {
            return Err(Error::Missing("Suite"));
        }
        Ok(release)
    }

    /// Looks at whether this is the suite that was asked for, and whether it holds at the time `now`.
    ///
    /// # Errors
    /// It is another one; its time is over (unless that is accepted) or yet to come.
    pub fn check(&self, wanted: &str, now: SystemTime, accept_expired: bool) -> Result<(), Error> {
        // "noble-updates" has the codename "noble" and is not that release.
        let is_part = self.suite.strip_prefix(&self.codename).is_some_and(|rest| rest.starts_with('-'));
        if wanted != self.suite && (wanted != self.codename || is_part) {
            let (suite, codename) = (self.suite.clone(), self.codename.clone());
            return Err(Error::OtherSuite { suite, codename, wanted: wanted.to_owned() });
        }
        if self.date > now + CLOCK_TOLERANCE {
            return Err(Error::FromTheFuture(show(self.date)));
        }
        match self.valid_until {
            Some(until) if until < now && !accept_expired => Err(Error::Expired(show(until))),
            _ => Ok(()),
        }
    }

    /// The suite's name for the state it is in: `stable`, `noble-updates`.
    pub fn suite(&self) -> &str {
        &self.suite
    }

    /// The release's own name, which it keeps: `trixie`.
    pub fn codename(&self) -> &str {
        &self.codename
    }

    /// When the file was made.
    pub fn date(&self) -> SystemTime {
        self.date
    }

    /// Whether files may be asked for by their hash.
    pub fn by_hash(&self) -> bool {
        self.by_hash
    }

    /// The file of that path below the suite's directory.
    pub fn file(&self, path: &str) -> Option<Listed> {
        self.files.get(path).copied()
    }

    /// The directories of the package indices for some components and an architecture, below the suite's directory.
    /// Packages of the architecture `all` have one of their own in some archives.
    ///
    /// # Errors
    /// A component or architecture that the suite does not have.
    pub fn index_directories(&self, components: &[String], architecture: &str) -> Result<Vec<String>, Error> {
        let no_such = |what, name: &str, have: &[String]| Error::NoSuch {
            what,
            name: name.to_owned(),
            have: format!("it has {}", have.join(" ")),
        };
        if !self.architectures.iter().any(|have| have == architecture) {
            return Err(no_such("architecture", architecture, &self.architectures));
        }
        let mut directories = Vec::new();
        for component in components {
            if !self.components.contains(component) {
                return Err(no_such("component", component, &self.components));
            }
            directories.push(format!("{component}/binary-{architecture}"));
            let all = format!("{component}/binary-all");
            if !self.all_is_everywhere && self.architectures.iter().any(|have| have == "all") && self.has_index(&all) {
                directories.push(all);
            }
        }
        Ok(directories)
    }

    fn has_index(&self, directory: &str) -> bool {
        ["Packages.xz", "Packages.gz", "Packages.zst", "Packages"]
            .iter()
            .any(|name| self.files.contains_key(&format!("{directory}/{name}")))
    }
}

/// `updates/main`, as old security archives call it, is `main`.
fn last_segment(word: &str) -> String {
    word.rsplit('/').next().unwrap_or(word).to_owned()
}

/// The lines `hash size path`.
fn files(value: &str) -> Result<HashMap<String, Listed>, Error> {
    let mut files = HashMap::with_capacity(value.len() / 96);
    for line in value.lines().filter(|line| !line.trim().is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(hash), Some(size), Some(path), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(bad("SHA256", line, "not a hash, a size and a path"));
        };
        let sha256 = hash.parse().map_err(|_| bad("SHA256", line, "not a hash, a size and a path"))?;
        let size = size.parse().map_err(|_| bad("SHA256", line, "not a hash, a size and a path"))?;
        files.insert(path.to_owned(), Listed { size, sha256 });
    }
    Ok(files)
}

fn time(paragraph: Paragraph<'_>, field: &'static str) -> Result<Option<SystemTime>, Error> {
    let Some(value) = paragraph.field(field) else { return Ok(None) };
    // RFC 2822 writes the zone differently from what archives do.
    let zone = value.strip_suffix("UTC").or_else(|| value.strip_suffix("GMT")).or_else(|| value.strip_suffix('Z'));
    let numeric = zone.map_or_else(|| value.to_owned(), |rest| format!("{rest}+0000"));
    let zoned = jiff::fmt::rfc2822::parse(&numeric).map_err(|_| bad(field, value, "not a time"))?;
    let seconds = u64::try_from(zoned.timestamp().as_second()).map_err(|_| bad(field, value, "before 1970"))?;
    Ok(Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)))
}

fn show(time: SystemTime) -> String {
    let seconds = time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map_or_else(|| "a time out of range".to_owned(), |time| time.strftime("%F %T UTC").to_string())
}

fn bad(field: &'static str, value: &str, reason: &'static str) -> Error {
    Error::Value { field, value: value.chars().take(120).collect(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn release(more: &str) -> Result<Release, Error> {
        Release::parse(&format!(
            "Suite: stable\nCodename: trixie\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nArchitectures: all amd64\n\
             Components: main updates/contrib\n{more}SHA256:\n {HASH} 17 main/binary-amd64/Packages.xz\n {HASH}     \
             3 main/binary-all/Packages.gz\n"
        ))
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    /// 2026-11-21 09:15:44 UTC.
    const DATE: u64 = 1_795_252_544;

    #[test]
    fn read() {
        let release = release("Acquire-By-Hash: yes\n").unwrap();
        assert_eq!((release.suite(), release.codename(), release.by_hash()), ("stable", "trixie", true));
        assert_eq!(release.date(), at(DATE));
        let listed = release.file("main/binary-amd64/Packages.xz").unwrap();
        assert_eq!((listed.size, listed.sha256.to_string().as_str()), (17, HASH));
        assert_eq!(release.file("main"), None);
    }

    #[test]
    fn times() {
        let release = release("Valid-Until: Sat, 28 Nov 2026 09:15:44 +0000\n").unwrap();
        for name in ["stable", "trixie"] {
            release.check(name, at(DATE + 3600), false).unwrap();
        }
        let week = 7 * 24 * 3600;
        assert_eq!(
            release.check("stable", at(DATE + week + 1), false),
            Err(Error::Expired("2026-11-28 09:15:44 UTC".into()))
        );
        assert_eq!(release.check("stable", at(DATE + week + 1), true), Ok(()));
        let early = release.check("stable", at(DATE - 2 * 24 * 3600), true);
        assert_eq!(early, Err(Error::FromTheFuture("2026-11-21 09:15:44 UTC".into())));
        assert!(matches!(release.check("sid", at(DATE), false), Err(Error::OtherSuite { .. })));
        assert!(matches!(release.check("", at(DATE), false), Err(Error::OtherSuite { .. })));
    }

    #[test]
    fn updates_are_not_the_release() {
        let text = format!(
            "Suite: noble-updates\nCodename: noble\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n {HASH} 1 a\n"
        );
        let release = Release::parse(&text).unwrap();
        release.check("noble-updates", at(DATE), false).unwrap();
        assert!(matches!(release.check("noble", at(DATE), false), Err(Error::OtherSuite { .. })));
    }

    #[test]
    fn directories() {
        let names = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let apart = release("").unwrap();
        assert_eq!(
            apart.index_directories(&names(&["main", "contrib"]), "amd64").unwrap(),
            ["main/binary-amd64", "main/binary-all", "contrib/binary-amd64"]
        );
        let together = release("No-Support-for-Architecture-all: Packages\n").unwrap();
        assert_eq!(together.index_directories(&names(&["main"]), "amd64").unwrap(), ["main/binary-amd64"]);
        for (components, architecture) in [(names(&["universe"]), "amd64"), (names(&["main"]), "arm64")] {
            let error = apart.index_directories(&components, architecture).unwrap_err();
            assert!(matches!(error, Error::NoSuch { .. }) && error.hint().is_some(), "{error}");
        }
    }

    #[test]
    fn refused() {
        for more in ["Valid-Until: tomorrow\n", "Valid-Until:\n"] {
            assert!(matches!(release(more), Err(Error::Value { .. })), "{more}");
        }
        for text in [
            "",
            "Suite: a\n",
            "Suite: a\nSHA256:\n",
            "Suite: a\nDate: Sat, 21 Nov 2026 09:15:44 UTC\n",
            "Date: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n",
            "Suite: a\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n 00 1 a\n",
            &format!("Suite: a\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n {HASH} -1 a\n"),
            &format!("Suite: a\nDate: Sat, 21 Nov 2026 09:15:44 UTC\nSHA256:\n {HASH} 1\n"),
        ] {
            assert!(Release::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "((Suite|Date|Valid-Until|SHA256|Components): ?[A-Za-z0-9,: +/ä]{0,30}\n|\n| [0-9a-f]{0,64} [0-9]{0,3} x\n){0,10}") {
            let _ = Release::parse(&text);
        }

        #[test]
        fn dates_never_panic(date in "[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,5} [0-9:]{1,9} (UTC|GMT|Z|[+-][0-9]{1,5})") {
            let _ = Release::parse(&format!("Suite: a\nDate: {date}\nSHA256:\n"));
        }
    }
}
