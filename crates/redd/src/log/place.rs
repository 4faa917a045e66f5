//! Where the log of a machine is: below its root directory, which is held by a descriptor, nothing of it is found by its path
//! on the host.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use image::locate;
use machine::{Registry, entrance, machines, registry};
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags, fstat};
use rustix::io::{self, Errno};

/// Where journald(8) keeps its files, for good and until the next boot.
const JOURNALS: [&str; 2] = ["var/log/journal", "run/log/journal"];
/// Where other daemons write what they were told: syslogd of BusyBox, OpenRC, rsyslog; socklog of Void.
const FILES: [&str; 4] =
    ["var/log/syslog", "var/log/messages", "var/log/socklog/everything/current", "var/log/everything/current"];
/// How many entries of a directory are looked at: whoever makes more of them has no journal there.
const MOST: usize = 10_000;

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The host.
    #[error("{0} is this host, whose journal is read by journalctl(1) alone", machines::HOST)]
    Host,
    /// Nobody of that name.
    #[error("no machine named {0} runs, and none is installed")]
    Unknown(String),
    /// The way to its files.
    #[error(transparent)]
    Entrance(#[from] entrance::Error),
    /// The registry.
    #[error(transparent)]
    Registry(registry::Error),
    /// Its tree.
    #[error(transparent)]
    Tree(locate::Error),
    /// A directory or file of it.
    #[error("cannot open {what} of {machine}")]
    Open {
        /// Which.
        what: String,
        /// The machine.
        machine: String,
        /// Why.
        source: Errno,
    },
}

/// A machine whose log is wanted.
pub(crate) struct Found {
    /// Its name.
    pub(crate) name: String,
    /// Its root directory; a disk image that is not in use has none.
    pub(crate) root: Option<OwnedFd>,
    /// Its first process, if it runs.
    pub(crate) leader: Option<OwnedFd>,
    /// The registry's entry, if it runs and is one of ours.
    pub(crate) entry: Option<registry::Machine>,
}

/// The machine of this name, be it running or only installed.
pub(crate) fn find(name: &str) -> Result<Found, Error> {
    if name == machines::HOST {
        return Err(Error::Host);
    }
    let registry = Registry::system();
    match machines::find(&registry, name) {
        Ok(state) => {
            let entry = registry.find(name).ok().filter(|entry| entry.state.leader.pid == state.leader.pid);
            let (root, leader) = entrance::root_directory(&state)?;
            Ok(Found { name: name.to_owned(), root: Some(root), leader: Some(leader), entry })
        }
        Err(registry::Error::NoSuchMachine(_)) => {
            let root = of_installed(name)?;
            Ok(Found { name: name.to_owned(), root, leader: None, entry: None })
        }
        Err(error) => Err(Error::Registry(error)),
    }
}

fn of_installed(name: &str) -> Result<Option<OwnedFd>, Error> {
    let unknown = || Error::Unknown(spec::printable(name));
    let valid = spec::MachineName::try_from(name).map_err(|_| unknown())?;
    match locate::machine(&valid) {
        Ok(locate::Machine::Tree(tree)) => Ok(Some(tree.fd)),
        Ok(locate::Machine::Image { .. }) => Ok(None),
        // What it has printed may still be there.
        Err(locate::Error::NoMachine { .. }) if machine::log::log_path(name).exists() => Ok(None),
        Err(locate::Error::NoMachine { .. }) => Err(unknown()),
        Err(error) => Err(Error::Tree(error)),
    }
}

/// A directory with files of the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    /// It itself; there are directories below it, one for each machine id.
    pub(crate) directory: OwnedFd,
    /// The group that may read the files in it.
    pub(crate) group: u32,
}

impl Found {
    /// Its journal, the one that stays first.
    pub(crate) fn journal(&self) -> Result<Option<Journal>, Error> {
        let Some(root) = &self.root else { return Ok(None) };
        for place in JOURNALS {
            let found = journal_at(root, place);
            let found = found.map_err(|source| Error::Open {
                what: format!("/{place}"),
                machine: self.name.clone(),
                source,
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The path inside of the file that other daemons write to.
    pub(crate) fn file(&self) -> Result<Option<&'static str>, Error> {
        let Some(root) = &self.root else { return Ok(None) };
        for path in FILES {
            match open_file(root, path) {
                Ok(_) => return Ok(Some(path)),
                Err(errno) if is_absent(errno) => {}
                Err(source) => {
                    return Err(Error::Open { what: format!("/{path}"), machine: self.name.clone(), source });
                }
            }
        }
        Ok(None)
    }

    /// Whether it runs.
    pub(crate) fn runs(&self) -> bool {
        self.leader.is_some()
    }
}

fn journal_at(root: &OwnedFd, place: &str) -> io::Result<Option<Journal>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let directory = match sys::open::openat2(root, place, flags, Mode::empty(), resolve) {
        Err(errno) if is_absent(errno) => return Ok(None),
        other => other?,
    };
    for entry in Dir::read_from(&directory)?.take(MOST) {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().unwrap_or_default();
        // Also those of namespaces, see systemd-journald.service(8): ID.NAMESPACE.
        let id = id.split_once('.').map_or(id, |(id, _)| id);
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            continue;
        }
        let Ok(below) = rustix::fs::openat(&directory, name, flags | OFlags::NOFOLLOW, Mode::empty()) else { continue };
        let mut files = Dir::read_from(&below)?.take(MOST).filter_map(Result::ok);
        if files.any(|file| {
            Path::new(file.file_name().to_str().unwrap_or_default())
                .extension()
                .is_some_and(|suffix| suffix == "journal")
        }) {
            let group = fstat(&below)?.st_gid;
            return Ok(Some(Journal { directory, group }));
        }
    }
    Ok(None)
}

/// A regular file inside, for reading.
pub(crate) fn open_file(root: &OwnedFd, path: &str) -> io::Result<OwnedFd> {
    // Found without being opened: a pipe or a device could do something.
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = sys::open::openat2(root, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve)?;
    if FileType::from_raw_mode(fstat(&found)?.st_mode) != FileType::RegularFile {
        return Err(Errno::NOENT);
    }
    sys::terminal::reopen(found.as_fd(), OFlags::RDONLY)
}

/// Nothing is there, or a link that leads nowhere.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use rustix::fs::CWD;

    use super::*;

    const ID: &str = "00112233445566778899aabbccddeeff";

    fn found(root: &Path) -> Found {
        let root = rustix::fs::open(root, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        Found { name: "x".to_owned(), root: Some(root), leader: None, entry: None }
    }

    #[test]
    fn a_journal_is_one_with_files() {
        let tree = tempfile::tempdir().unwrap();
        let root = tree.path();
        assert!(found(root).journal().unwrap().is_none());
        std::fs::create_dir_all(root.join("var/log/journal").join(ID)).unwrap();
        assert!(found(root).journal().unwrap().is_none(), "an empty one is none");
        std::fs::create_dir_all(root.join("run/log/journal").join(ID)).unwrap();
        std::fs::write(root.join("run/log/journal").join(ID).join("system.journal"), "").unwrap();
        assert!(found(root).journal().unwrap().is_some());
    }

    #[test]
    fn links_stay_inside_and_pipes_are_no_logs() {
        let (tree, host) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = tree.path();
        std::fs::create_dir_all(host.path().join(ID)).unwrap();
        std::fs::write(host.path().join(ID).join("system.journal"), "").unwrap();
        std::fs::write(host.path().join("log"), "the host's\n").unwrap();
        std::fs::create_dir_all(root.join("var/log")).unwrap();
        std::os::unix::fs::symlink(host.path(), root.join("var/log/journal")).unwrap();
        std::os::unix::fs::symlink(host.path().join("log"), root.join("var/log/syslog")).unwrap();
        rustix::fs::mknodat(CWD, root.join("var/log/messages"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let machine = found(root);
        assert!(machine.journal().unwrap().is_none());
        assert_eq!(machine.file().unwrap(), None);
        // One that is a directory of its own, but whose own one leads out.
        std::fs::remove_file(root.join("var/log/journal")).unwrap();
        std::fs::create_dir(root.join("var/log/journal")).unwrap();
        std::os::unix::fs::symlink(host.path().join(ID), root.join("var/log/journal").join(ID)).unwrap();
        assert!(machine.journal().unwrap().is_none());
        std::fs::remove_file(root.join("var/log/messages")).unwrap();
        std::fs::write(root.join("var/log/messages"), "x\n").unwrap();
        assert_eq!(machine.file().unwrap(), Some("var/log/messages"));
    }
}
