//! What is started at boot on hosts without a service manager: a file `/etc/redd/autostart/NAME` for each machine, with lines
//! `Restart=no|on-failure|always` and `Order=NUMBER`.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use spec::MachineName;

use crate::background::restart::Policy;

/// Where the records are.
pub(crate) const DIRECTORY: &str = "/etc/redd/autostart";
/// The place of machines that nobody has given one.
const USUAL_ORDER: u32 = 50;
/// What a record is written to before it is seen; no machine's name begins with a dot.
const NEW: &str = ".new";

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A file.
    #[error("cannot {action} {path}", path = .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What is in it.
    #[error("{path}:{line}: {reason}", path = .path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
}

/// How a machine is started at boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    /// When it is started again.
    pub(crate) restart: Policy,
    /// Those with lower numbers come first.
    pub(crate) order: u32,
}

impl Default for Record {
    fn default() -> Self {
        Self { restart: Policy::No, order: USUAL_ORDER }
    }
}

impl Record {
    fn to_text(self) -> String {
        format!(
            "# Started at boot by `redd autostart`. Written by `redd enable`.\nRestart={}\nOrder={}\n",
            self.restart.name(),
            self.order
        )
    }

    fn from_text(path: &Path, text: &str) -> Result<Self, Error> {
        let mut record = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let wrong = |reason: String| Error::Malformed { path: path.to_owned(), line: number + 1, reason };
            let Some((key, value)) = line.split_once('=') else {
                return Err(wrong(format!("{line:?} is no KEY=VALUE")));
            };
            let (key, value) = (key.trim(), value.trim());
            match key {
                "Restart" => {
                    let policy = Policy::from_name(value);
                    record.restart =
                        policy.ok_or_else(|| wrong(format!("Restart={value} is none of no, on-failure and always")))?;
                }
                "Order" => {
                    let order = value.parse();
                    record.order =
                        order.map_err(|_| wrong(format!("Order={value} is no number that is not negative")))?;
                }
                _ => return Err(wrong(format!("{key} is neither Restart nor Order"))),
            }
        }
        Ok(record)
    }
}

/// Whose record it is.
pub(crate) type Named = (MachineName, Record);

/// The records of a host.
#[derive(Debug)]
pub(crate) struct Records {
    directory: PathBuf,
}

impl Records {
    /// Those of this one.
    pub(crate) fn system() -> Self {
        Self { directory: DIRECTORY.into() }
    }

    /// The record of a machine, if it is started at boot.
    pub(crate) fn find(&self, name: &MachineName) -> Result<Option<Record>, Error> {
        let path = self.directory.join(name.as_str());
        match std::fs::read_to_string(&path) {
            Ok(text) => Record::from_text(&path, &text).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(Error::File { action: "read", path, source }),
        }
    }

    /// Writes it; readers see the old or the new one.
    pub(crate) fn set(&self, name: &MachineName, record: Record) -> Result<(), Error> {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(&self.directory);
        made.map_err(|source| Error::File { action: "make", path: self.directory.clone(), source })?;
        let path = self.directory.join(name.as_str());
        let new = self.directory.join(format!(".{name}{NEW}"));
        let write = || {
            let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&new)?;
            file.write_all(record.to_text().as_bytes())?;
            // It is there after a crash, too, or the old one is.
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|source| {
            let _ = std::fs::remove_file(&new);
            Error::File { action: "write", path: path.clone(), source }
        })
    }

    /// Removes it, and the directories when nothing is left in them. False if there was none.
    pub(crate) fn remove(&self, name: &MachineName) -> Result<bool, Error> {
        let path = self.directory.join(name.as_str());
        match std::fs::remove_file(&path) {
            Ok(()) => {
                // Where something else is in them they stay.
                let _ = self.directory.ancestors().take(2).try_for_each(std::fs::remove_dir);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::File { action: "remove", path, source }),
        }
    }

    /// All, in the order in which they are started. Those that cannot be read are errors of their own.
    pub(crate) fn all(&self) -> Result<(Vec<Named>, Vec<Error>), Error> {
        let names = match std::fs::read_dir(&self.directory) {
            Ok(names) => names,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Vec::new(), Vec::new())),
            Err(source) => return Err(Error::File { action: "read", path: self.directory.clone(), source }),
        };
        let (mut all, mut errors) = (Vec::new(), Vec::new());
        for entry in names {
            let entry = entry.map_err(|source| Error::File { action: "read", path: self.directory.clone(), source })?;
            // What editors and package managers leave beside has no machine's name.
            let Some(name) = entry.file_name().to_str().and_then(|name| MachineName::try_from(name).ok()) else {
                continue;
            };
            match self.find(&name) {
                Ok(Some(record)) => all.push((name, record)),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        all.sort_by(|(one, a), (other, b)| (a.order, one.as_str()).cmp(&(b.order, other.as_str())));
        Ok((all, errors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> MachineName {
        MachineName::try_from(text).expect("name")
    }

    #[test]
    fn records_are_kept_in_their_order() {
        let directory = tempfile::tempdir().expect("directory");
        let records = Records { directory: directory.path().join("below/autostart") };
        assert!(records.all().is_ok_and(|(all, errors)| all.is_empty() && errors.is_empty()), "none is no error");
        for (machine, restart, order) in
            [("b", Policy::No, 50), ("a", Policy::Always, 50), ("z.first", Policy::OnFailure, 0)]
        {
            records.set(&name(machine), Record { restart: Policy::No, order: 9 }).expect("set");
            records.set(&name(machine), Record { restart, order }).expect("set again");
        }
        let (all, errors) = records.all().expect("all");
        assert!(errors.is_empty());
        let names: Vec<_> = all.iter().map(|(name, record)| (name.as_str(), record.restart)).collect();
        assert_eq!(names, [("z.first", Policy::OnFailure), ("a", Policy::Always), ("b", Policy::No)]);
        assert_eq!(std::fs::read_dir(&records.directory).expect("directory").count(), 3, "no new ones are left");
        assert!(records.remove(&name("a")).expect("remove") && !records.remove(&name("a")).expect("none"));
        assert_eq!(records.find(&name("a")).expect("find"), None);
        records.remove(&name("b")).expect("remove");
        assert!(records.directory.exists(), "one is left");
        records.remove(&name("z.first")).expect("remove");
        assert!(!directory.path().join("below").exists(), "no empty directories are left");
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        let path = Path::new("/etc/redd/autostart/x");
        assert_eq!(Record::from_text(path, "").expect("empty"), Record::default());
        let spaced = Record::from_text(path, "# a\n; b\n\n Restart = always \nOrder=7").expect("spaced");
        assert_eq!(spaced, Record { restart: Policy::Always, order: 7 });
        for (text, words) in [
            ("Restart=often", "/etc/redd/autostart/x:1: Restart=often is none of no, on-failure and always"),
            ("\nOrder=-1", "/etc/redd/autostart/x:2: Order=-1 is no number"),
            ("Color=red", "x:1: Color is neither Restart nor Order"),
            ("nonsense", "x:1: \"nonsense\" is no KEY=VALUE"),
        ] {
            let error = Record::from_text(path, text).expect_err(text).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn others_files_are_passed_over_and_bad_ones_are_told() {
        let directory = tempfile::tempdir().expect("directory");
        for (file, text) in [("good", ""), ("good~", "x"), (".hidden", "x"), ("bad", "x"), ("b\u{fc}cher", "x")] {
            std::fs::write(directory.path().join(file), text).expect("file");
        }
        let (all, errors) = Records { directory: directory.path().to_owned() }.all().expect("all");
        assert_eq!(all, [(name("good"), Record::default())]);
        assert!(errors.len() == 1 && errors[0].to_string().contains("/bad:1:"), "{errors:?}");
    }
}
