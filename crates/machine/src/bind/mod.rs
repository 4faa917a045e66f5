//! Files of the host shown in a machine that runs: a bind mount, as `machinectl bind` makes it, see machinectl(1).
//!
//! The mount is taken on the host, by the path as the host has it. Where the machine has users of its own, it is mapped to
//! them: files of the host's root are those of the machine's. A process of its own then enters the machine's mounts,
//! as the machine's root where there are users, and puts the mount in its place.
//!
//! **Inside is hostile.** The destination is looked up below the machine's root, so that no link leads out, and held by a
//! descriptor until the mount is on it. Where the machine has users of its own, the kernel locks the attributes of the mount
//! (read-only, `nosuid` and the like), as it does with mounts that were there from the start: the mount has been copied
//! into a mount namespace of these users on the way.

mod child;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::mount::{OpenTreeFlags, open_tree};
use sys::mount::{Attributes, Change, Propagation, set_attributes};

use crate::entrance::{self, Entrance};
use crate::errand::{self, Report};
use crate::state::State;

/// What is shown where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind {
    /// A file or directory of the host; links are followed there.
    pub source: PathBuf,
    /// Where it is seen inside: an absolute path without `..`.
    pub destination: PathBuf,
    /// Nothing can be written through it, nor through what is mounted below it.
    pub read_only: bool,
    /// Make the destination and the directories above it, as far as they are missing.
    pub make_destination: bool,
}

/// Why it is not shown. Nothing has changed then, inside or outside.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way in.
    #[error(transparent)]
    Entrance(#[from] entrance::Error),
    /// The source.
    #[error("cannot take {path} of the host", path = .path.display())]
    Source {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: Errno,
    },
    /// The source cannot be mapped to the machine's users.
    #[error("cannot show {path} in the machine {machine}, which has users of its own: {why}", path = .path.display())]
    Map {
        /// Which.
        path: PathBuf,
        /// In which machine.
        machine: String,
        /// What stands against it.
        why: String,
        /// The kernel's reason.
        source: Errno,
    },
    /// No path for this.
    #[error("{path} cannot be a destination: {why}", path = .path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is not there.
    #[error("there is no {path} in the machine {machine}", path = .path.display())]
    Missing {
        /// What.
        path: PathBuf,
        /// Where.
        machine: String,
    },
    /// A directory cannot be shown in place of a file, nor the other way round.
    #[error("{path} in the machine {machine} is {is}, and {source_path} is {other}", path = .path.display(), source_path = .source_path.display())]
    Kind {
        /// The destination.
        path: PathBuf,
        /// In which machine.
        machine: String,
        /// What it is.
        is: &'static str,
        /// The source.
        source_path: PathBuf,
        /// What that is.
        other: &'static str,
    },
    /// A step inside.
    #[error("cannot {action} in the machine {machine}")]
    Inside {
        /// Which, and with what.
        action: String,
        /// Where.
        machine: String,
        /// Why it failed.
        source: Errno,
    },
    /// A system call of ours.
    #[error("cannot {0}")]
    System(&'static str, #[source] Errno),
}

/// Shows it. The caller has one thread, and is the host's root.
///
/// # Errors
/// An [`Error`].
pub fn bind(state: &State, bind: &Bind) -> Result<(), Error> {
    let destination = below_root(&bind.destination)?;
    let entrance = Entrance::of(state)?;
    let failed = |source| Error::Source { path: bind.source.clone(), source };
    let source = openat(CWD, &bind.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(failed)?;
    let directory = FileType::from_raw_mode(rustix::fs::fstat(&source).map_err(failed)?.st_mode) == FileType::Directory;
    let mount = take(&source, bind.read_only).map_err(failed)?;
    if let Some(users) = &entrance.users {
        map(&source, &mount, &users.namespace).map_err(|(why, errno)| Error::Map {
            path: bind.source.clone(),
            machine: entrance.machine.clone(),
            why,
            source: errno,
        })?;
    }
    let place = child::Place { destination, directory, make: bind.make_destination };
    let done = errand::run(|| child::put(&entrance, mount, &place));
    match done.map_err(|errno| Error::System("start a process that enters the machine", errno))? {
        Ok(()) => Ok(()),
        Err(report) => Err(told(bind, &entrance.machine, directory, report)),
    }
}

/// What the process inside has told.
fn told(bind: &Bind, machine: &str, directory: bool, report: Report) -> Error {
    let (path, machine) = (bind.destination.clone(), machine.to_owned());
    let kinds = |directory| if directory { "a directory" } else { "no directory" };
    match report.step {
        child::MISSING => Error::Missing { path, machine },
        child::KIND => Error::Kind {
            path,
            machine,
            is: kinds(!directory),
            source_path: bind.source.clone(),
            other: kinds(directory),
        },
        _ => Error::Inside { action: report.detail, machine, source: report.errno },
    }
}

/// A path below the machine's root, without the slash.
fn below_root(path: &Path) -> Result<&Path, Error> {
    let refuse = |why| Err(Error::Path { path: path.to_owned(), why });
    let Ok(below) = path.strip_prefix("/") else { return refuse("it is not absolute") };
    if below.components().any(|component| component == Component::ParentDir) {
        return refuse("it has .. in it");
    }
    if below.as_os_str().is_empty() {
        return refuse("that is the whole machine");
    }
    Ok(below)
}

/// A detached copy of what is mounted there. It receives what the host mounts later below, except where that were writable
/// against the word.
fn take(source: &OwnedFd, read_only: bool) -> rustix::io::Result<OwnedFd> {
    let mount = copy(source, true)?;
    let (set, propagation) = match read_only {
        true => (Attributes::READ_ONLY, Propagation::Private),
        false => (Attributes::NONE, Propagation::Slave),
    };
    let change = Change { set, propagation: Some(propagation), recursive: true, ..Change::default() };
    set_attributes(mount.as_fd(), &change)?;
    Ok(mount)
}

fn copy(source: &OwnedFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(source, "", flags)
}

/// Maps the host's ids to the machine's: each to the same number inside.
fn map(source: &OwnedFd, mount: &OwnedFd, users: &OwnedFd) -> Result<(), (String, Errno)> {
    let change = |recursive| Change { idmap: Some(users.as_fd()), recursive, ..Change::default() };
    let errno = match set_attributes(mount.as_fd(), &change(true)) {
        Ok(()) => return Ok(()),
        Err(errno) => errno,
    };
    // The mount itself, or one below it?
    let alone = copy(source, false).and_then(|alone| set_attributes(alone.as_fd(), &change(false)));
    let subject = match (alone, file_system(source)) {
        (Ok(()), _) => "something that is mounted below it".to_owned(),
        (Err(_), Some(kind)) => format!("its file system, {kind},"),
        (Err(_), None) => "its file system".to_owned(),
    };
    let why = match errno {
        Errno::INVAL => format!("{subject} cannot map owners"),
        Errno::PERM => {
            format!("{subject} is mounted with other owners already, or belongs to others than the host's root")
        }
        _ => format!("{subject} does not let owners be mapped"),
    };
    Err((why, errno))
}

/// The kind of file system that a file is on, by mountinfo(5).
fn file_system(file: &OwnedFd) -> Option<String> {
    let id = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID).ok()?.stx_mnt_id.to_string();
    let table = std::fs::read_to_string("/proc/thread-self/mountinfo").ok()?;
    let line = table.lines().find(|line| line.split(' ').next() == Some(&id))?;
    Some(line.split_once(" - ")?.1.split(' ').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations() {
        let below = |path: &str| below_root(Path::new(path)).map(Path::to_owned).map_err(|error| error.to_string());
        assert_eq!(below("/srv/data"), Ok("srv/data".into()));
        assert_eq!(below("//srv/./data/"), Ok("srv/data".into()));
        assert_eq!(below("srv"), Err("srv cannot be a destination: it is not absolute".to_owned()));
        assert_eq!(below("/srv/../data"), Err("/srv/../data cannot be a destination: it has .. in it".to_owned()));
        assert_eq!(below("/./"), Err("/./ cannot be a destination: that is the whole machine".to_owned()));
    }

    #[test]
    fn the_file_system_of_a_file() {
        let proc = openat(CWD, "/proc", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap();
        assert_eq!(file_system(&proc).as_deref(), Some("proc"));
    }
}
