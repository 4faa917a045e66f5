//! The directory of running machines: `/run/redd/machines/NAME` with the files `state`, `lock`, `control`, `confinement`.
//!
//! Whoever runs a machine holds an exclusive lock on `lock` for as long as it does ([`Published`]), so the kernel says
//! whether that still is so. Machines that others have registered have no such file, and live as long as their first
//! process. Neither is told by a number of a process alone ([`Process`](crate::Process)).
//!
//! The kernel kills a first process with its supervisor, unless that process has seen to it that it does not, or its program has a
//! set-user-ID bit (`PR_SET_PDEATHSIG`). Such a one has nobody who looks after it, and ends when its entry is removed.
//!
//! Entries of others change under a lock of the whole registry (`.lock`, root's alone), so that a reader that tidies up, a
//! supervisor that begins and a registration that comes do not meet half-way.
//!
//! Trusts the host's root, who alone may write there. The names of entries are machine names, checked when they are read.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use image::lock_file::LockFile;
use image::run_directory::RunDirectory;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;
use rustix::process::Signal;
use spec::MachineName;
use sys::file_lock;

use crate::confinement::Confinement;
use crate::entry_file;
use crate::process::has_ended;
use crate::state::{State, VERSION};

/// The names of an entry's files.
const STATE: &str = "state";
const LOCK: &str = "lock";
const CONTROL: &str = "control";
const CONFINEMENT: &str = "confinement";
/// What a state is written to before it is seen.
const NEW_STATE: &str = "state.new";
const FILES: [&str; 5] = [NEW_STATE, STATE, CONTROL, CONFINEMENT, LOCK];
/// What is locked while entries of others change. No machine can be called so.
const CHANGES: &str = ".lock";
/// How long a machine that is killed may take to end.
const UNTIL_IT_ENDS: Duration = Duration::from_secs(2);
/// The longest state that is read, in bytes.
const LONGEST: usize = 1 << 20;
/// The longest confinement, with all its filters.
const LONGEST_CONFINEMENT: usize = 64 << 20;

/// Why the registry could not be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none, or it has ended.
    #[error("no machine named {0} is running")]
    NoSuchMachine(String),
    /// There is one.
    #[error("a machine named {0} is already registered")]
    Exists(String),
    /// It is one of ours, and not for others to take out or change.
    #[error("the machine {0} is run by redd, and is listed as long as it runs; terminate it instead")]
    Ours(String),
    /// No machine can have this name.
    #[error(transparent)]
    Name(#[from] spec::NameError),
    /// A file.
    #[error("cannot {action} {path}", path = .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why it failed.
        source: Errno,
    },
    /// What is in a file, or in its place.
    #[error(
        "{path} is not what a supervisor writes: {why}; end the process that has {lock} open, if fuser(1) shows one, and remove {entry}",
        path = .path.display(), lock = .entry.join(LOCK).display(), entry = .entry.display()
    )]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
        /// The directory of the machine's files.
        entry: PathBuf,
    },
    /// A later redd wrote it.
    #[error(
        "the machine {machine} is run by a later version of redd (its state has version {version}, this one knows {VERSION}); use that one"
    )]
    Later {
        /// Whose.
        machine: String,
        /// Which version.
        version: u32,
    },
}

impl Error {
    /// The machine whose entry cannot be used.
    pub(crate) fn entry(&self) -> Option<&str> {
        match self {
            Self::Malformed { entry, .. } => entry.file_name()?.to_str(),
            Self::File { path, .. } => path.parent()?.file_name()?.to_str(),
            Self::Later { machine, .. } => Some(machine),
            Self::NoSuchMachine(_) | Self::Exists(_) | Self::Ours(_) | Self::Name(_) => None,
        }
    }

    /// Why a file of an entry is of no use.
    fn unread(directory: &Path, name: &str, longest: usize, source: Unread) -> Self {
        let path = directory.join(name);
        let odd = entry_file::oddness(&path, longest);
        match (odd, source) {
            (None, Unread::System(source)) => failed("read", &path)(source),
            (odd, Unread::Nonsense(error)) => {
                let why = odd.unwrap_or_else(|| error.to_string());
                Self::Malformed { path, why, entry: directory.to_owned() }
            }
            (Some(why), Unread::System(_)) => Self::Malformed { path, why, entry: directory.to_owned() },
        }
    }
}

/// Why a file of an entry was not understood.
enum Unread {
    System(Errno),
    Nonsense(serde_json::Error),
}

/// The registry.
#[derive(Clone, Debug)]
pub struct Registry {
    directory: PathBuf,
}

/// A machine that runs.
#[derive(Clone, Debug)]
pub struct Machine {
    /// What is known of it.
    pub state: State,
    /// Its entry, if it is in our registry.
    directory: Option<PathBuf>,
}

impl Machine {
    /// One that is not in our registry.
    pub(crate) fn of_others(state: State) -> Self {
        Self { state: State { supervised: false, ..state }, directory: None }
    }

    /// The socket that its supervisor serves, if it has one of ours.
    #[must_use]
    pub fn control(&self) -> Option<PathBuf> {
        Some(self.directory.as_ref().filter(|_| self.state.supervised)?.join(CONTROL))
    }

    /// What commands that are run inside later may do; nothing for machines that others run. Only root may read it.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Malformed`].
    pub fn confinement(&self) -> Result<Option<Confinement>, Error> {
        let Some(directory) = &self.directory else { return Ok(None) };
        let path = directory.join(CONFINEMENT);
        match parsed(CWD, &path, LONGEST_CONFINEMENT, &mut Vec::new()) {
            Ok(confinement) => Ok(Some(confinement)),
            Err(Unread::System(Errno::NOENT)) if !self.state.supervised => Ok(None),
            Err(unread) => Err(Error::unread(directory, CONFINEMENT, LONGEST_CONFINEMENT, unread)),
        }
    }
}

impl Registry {
    /// That of the host.
    #[must_use]
    pub fn system() -> Self {
        Self::of(&RunDirectory::system())
    }

    /// The one in another directory for what runs.
    #[must_use]
    pub fn of(run: &RunDirectory) -> Self {
        Self { directory: run.base().join("machines") }
    }

    /// Where the entries are.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// All machines that run, by name. What the dead have left is removed where the caller may do that, and passed over.
    /// Entries that cannot be read are errors of their own: the others are there nevertheless.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be read.
    pub fn list(&self) -> Result<(Vec<Machine>, Vec<Error>), Error> {
        self.list_seeing(|_| {})
    }

    /// The same, and each is told of as soon as it is found.
    ///
    /// # Errors
    /// As [`Registry::list`].
    pub fn list_seeing(&self, mut seen: impl FnMut(&Machine)) -> Result<(Vec<Machine>, Vec<Error>), Error> {
        let names = self.names()?;
        let (mut machines, mut errors) = (Vec::with_capacity(names.len()), Vec::new());
        let (base, mut buffer) = (self.open(), Vec::new());
        for name in &names {
            match self.look_at(&base, name, &mut buffer) {
                Ok(Some(machine)) => {
                    seen(&machine);
                    machines.push(machine);
                }
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        Ok((machines, errors))
    }

    /// Removes what a dead keeper has left of this machine, if there is something. A machine that runs stays.
    ///
    /// # Errors
    /// [`Error::Name`], and those of reading it.
    pub fn clear(&self, name: &str) -> Result<bool, Error> {
        MachineName::try_from(name)?;
        let directory = self.directory.join(name);
        let there = directory.exists();
        Ok(self.look(name)?.is_none() && there && !directory.exists())
    }

    /// Removes what the dead have left, and names it.
    ///
    /// # Errors
    /// [`Error::File`] if the directory cannot be read.
    pub fn sweep(&self) -> Result<Vec<String>, Error> {
        let mut removed = self.names()?;
        self.list()?;
        removed.retain(|name| !self.directory.join(name).exists());
        Ok(removed)
    }

    /// One machine.
    ///
    /// # Errors
    /// [`Error::NoSuchMachine`], [`Error::Name`], and those of reading it.
    pub fn find(&self, name: &str) -> Result<Machine, Error> {
        MachineName::try_from(name)?;
        self.look(name)?.ok_or_else(|| Error::NoSuchMachine(name.to_owned()))
    }

    /// The names of all entries, in order.
    fn names(&self) -> Result<Vec<String>, Error> {
        let names = match std::fs::read_dir(&self.directory) {
            Ok(names) => names,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed("read", &self.directory)(errno(&error))),
        };
        let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<_> = names.filter(|name| MachineName::try_from(name.as_str()).is_ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Nothing if it has ended, or is not there yet.
    fn look(&self, name: &str) -> Result<Option<Machine>, Error> {
        self.look_at(&self.open(), name, &mut Vec::new())
    }

    fn open(&self) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(CWD, &self.directory, flags, Mode::empty())
    }

    /// The same in our directory, with a buffer that is used again.
    fn look_at(
        &self,
        base: &rustix::io::Result<OwnedFd>,
        name: &str,
        buffer: &mut Vec<u8>,
    ) -> Result<Option<Machine>, Error> {
        let directory = self.directory.join(name);
        let base = match base {
            Ok(base) => base.as_fd(),
            Err(Errno::NOENT) => return Ok(None),
            Err(source) => return Err(failed("open", &self.directory)(*source)),
        };
        // Opened before it is asked for: whoever begins meanwhile has another file.
        let lock = entry_file::open(base, format!("{name}/{LOCK}"));
        let held = |lock: &OwnedFd| {
            let conflict = file_lock::would_conflict(lock.as_fd(), file_lock::Mode::Shared);
            conflict.map_err(failed("look at", &directory.join(LOCK)))
        };
        let state: State = match parsed(base, format!("{name}/{STATE}"), LONGEST, buffer) {
            Ok(state) => state,
            Err(Unread::System(Errno::NOENT)) => {
                self.remove_if_stale(name);
                return Ok(None);
            }
            // Whatever it says: whoever kept it is dead.
            Err(_) if lock.as_ref().is_ok_and(|lock| held(lock).is_ok_and(|held| !held)) => {
                self.remove_if_stale(name);
                return Ok(None);
            }
            Err(unread) => return Err(Error::unread(&directory, STATE, LONGEST, unread)),
        };
        if state.version > VERSION {
            return Err(Error::Later { machine: name.to_owned(), version: state.version });
        }
        let lives = match (state.supervised, lock) {
            (true, Ok(lock)) => held(&lock)?,
            // It begins or ends just now.
            (true, Err(Errno::NOENT)) => false,
            // Not for us to look at.
            (true, Err(Errno::ACCESS)) => state.supervisor.as_ref().is_some_and(crate::Process::lives),
            (true, Err(source)) => return Err(failed("open", &directory.join(LOCK))(source)),
            (false, _) => state.leader.lives(),
        };
        if !lives {
            self.remove_if_stale(name);
            return Ok(None);
        }
        Ok(Some(Machine { state, directory: Some(directory) }))
    }

    /// Removes an entry whose keeper died. That this may not or cannot be done is no error: it is passed over again.
    fn remove_if_stale(&self, name: &str) {
        let directory = self.directory.join(name);
        if !directory.exists() {
            return;
        }
        match LockFile::acquire_existing(&directory, OsStr::new(LOCK), file_lock::Mode::Exclusive) {
            // Nobody can begin under this name while we hold it.
            Ok(Some(lock)) => match read_state(&directory).is_none_or(|state| ends(&state)) {
                true => remove(&directory, Some(lock)),
                // Whoever looks next tries again.
                false => lock.keep(),
            },
            // Registered by others, or somebody holds it after all.
            Ok(None) => {
                let Ok(_changes) = self.lock_changes() else { return };
                match parsed::<State>(CWD, directory.join(STATE), LONGEST, &mut Vec::new()) {
                    Ok(state) if !state.supervised && !state.leader.lives() => remove(&directory, None),
                    // A registration that was killed, perhaps in the midst of its state: who is at it holds what we hold. Who
                    // ends just now still has its lock, and does that itself.
                    Err(Unread::System(Errno::NOENT)) if !directory.join(LOCK).exists() => remove(&directory, None),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    /// Enters a machine that the caller runs; the entry lasts as long as the result.
    ///
    /// # Errors
    /// [`Error::Exists`] while another one holds the name, [`Error::File`].
    pub fn publish(&self, state: &State, confinement: &Confinement) -> Result<Published, Error> {
        MachineName::try_from(state.name.as_str())?;
        let directory = self.directory.join(&state.name);
        let changes = self.lock_changes()?;
        // The same leader: systemd-machined was told first. What others run keeps its name.
        let others = read_state(&directory).filter(|other| !other.supervised && other.leader != state.leader);
        if others.is_some_and(|other| other.leader.lives()) {
            return Err(Error::Exists(state.name.clone()));
        }
        let lock = loop {
            make_directory(&directory)?;
            match LockFile::acquire(&directory, OsStr::new(LOCK), file_lock::Mode::Exclusive) {
                Ok(Some(lock)) => break lock,
                Ok(None) => return Err(Error::Exists(state.name.clone())),
                // Somebody has just removed what was stale.
                Err(Errno::NOENT) => {}
                Err(source) => return Err(failed("lock", &directory.join(LOCK))(source)),
            }
        };
        let published = Published { directory, lock: Some(lock) };
        published.write(CONFINEMENT, 0o600, &to_json(confinement))?;
        published.update(state)?;
        drop(changes);
        Ok(published)
    }

    /// Enters a machine that somebody else runs; it stays until its first process ends or it is taken out.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::File`].
    pub fn register(&self, state: &State) -> Result<(), Error> {
        MachineName::try_from(state.name.as_str())?;
        // Before the lock: what is stale is removed under it.
        if self.look(&state.name)?.is_some() {
            return Err(Error::Exists(state.name.clone()));
        }
        let _changes = self.lock_changes()?;
        let directory = self.directory.join(&state.name);
        match rustix::fs::mkdir(&directory, Mode::from_raw_mode(0o755)) {
            Err(Errno::EXIST) => return Err(Error::Exists(state.name.clone())),
            other => other.map_err(failed("make", &directory))?,
        }
        write(&directory, STATE, 0o644, &to_json(state)).inspect_err(|_| remove(&directory, None))
    }

    /// Changes what is known of a machine that somebody else runs.
    ///
    /// # Errors
    /// [`Error::NoSuchMachine`], also where another one has its name by now; [`Error::Ours`], [`Error::File`].
    pub fn amend(&self, state: &State) -> Result<(), Error> {
        let (_changes, known) = self.find_of_others(&state.name)?;
        if known.leader != state.leader {
            return Err(Error::NoSuchMachine(state.name.clone()));
        }
        write(&self.directory.join(&state.name), STATE, 0o644, &to_json(state))
    }

    /// Takes out a machine that somebody else runs.
    ///
    /// # Errors
    /// [`Error::NoSuchMachine`]; [`Error::Ours`] for one whose supervisor is ours: that takes it out itself.
    pub fn unregister(&self, name: &str) -> Result<(), Error> {
        let (_changes, _) = self.find_of_others(name)?;
        remove(&self.directory.join(name), None);
        Ok(())
    }

    /// A machine that somebody else runs, and the lock without which it does not change.
    fn find_of_others(&self, name: &str) -> Result<(OwnedFd, State), Error> {
        self.find(name)?;
        let changes = self.lock_changes()?;
        let state = read_state(&self.directory.join(name)).ok_or_else(|| Error::NoSuchMachine(name.to_owned()))?;
        if state.supervised {
            return Err(Error::Ours(name.to_owned()));
        }
        Ok((changes, state))
    }

    /// Waits for whoever changes entries of others just now. Given back by closing the descriptor.
    fn lock_changes(&self) -> Result<OwnedFd, Error> {
        let path = self.directory.join(CHANGES);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = || rustix::fs::open(&path, flags, Mode::RUSR | Mode::WUSR);
        let file = match opened() {
            Err(Errno::NOENT) => {
                make_directory(&self.directory)?;
                opened()
            }
            other => other,
        };
        let file = file.map_err(failed("open", &path))?;
        rustix::io::retry_on_intr(|| rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive))
            .map_err(failed("lock", &path))?;
        Ok(file)
    }
}

/// What an entry says, if it can be read.
fn read_state(directory: &Path) -> Option<State> {
    parsed(CWD, directory.join(STATE), LONGEST, &mut Vec::new()).ok()
}

/// Ends a machine whose supervisor has died, if it is still there. False where it does not end in time: processes of it wait for
/// something that the kernel does not let them leave.
fn ends(state: &State) -> bool {
    let Some(leader) = state.leader.open_in_this_boot().filter(|_| state.supervised) else { return true };
    let limit = Instant::now() + UNTIL_IT_ENDS;
    // All the others in its namespace die with it.
    let _ = sys::signal::send(leader.as_fd(), Signal::KILL.as_raw());
    while !has_ended(&leader) {
        if Instant::now() >= limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// An entry that is kept.
#[derive(Debug)]
pub struct Published {
    directory: PathBuf,
    /// Taken when it is dropped.
    lock: Option<LockFile>,
}

impl Published {
    /// Where the control socket belongs.
    #[must_use]
    pub fn control(&self) -> PathBuf {
        self.directory.join(CONTROL)
    }

    /// Changes what is known of it. Readers see the one or the other.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn update(&self, state: &State) -> Result<(), Error> {
        self.write(STATE, 0o644, &to_json(state))
    }

    fn write(&self, name: &str, mode: u32, contents: &[u8]) -> Result<(), Error> {
        write(&self.directory, name, mode, contents)
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        remove(&self.directory, self.lock.take());
    }
}

fn remove(directory: &Path, lock: Option<LockFile>) {
    for name in FILES {
        // The lock goes last, while it is held.
        if name != LOCK {
            let path = directory.join(name);
            if unlinkat(CWD, &path, AtFlags::empty()) == Err(Errno::ISDIR) {
                let _ = unlinkat(CWD, &path, AtFlags::REMOVEDIR);
            }
        }
    }
    drop(lock);
    // Fails where the next one has begun.
    let _ = unlinkat(CWD, directory, AtFlags::REMOVEDIR);
}

fn make_directory(path: &Path) -> Result<(), Error> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        Err(Errno::NOENT) => {
            if let Some(above) = path.parent() {
                make_directory(above)?;
            }
            make_directory_once(path)
        }
        other => other.map_err(failed("make", path)),
    }
}

fn make_directory_once(path: &Path) -> Result<(), Error> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) => Ok(()),
        other => other.map_err(failed("make", path)),
    }
}

/// By way of another name, so that it is there whole.
fn write(directory: &Path, name: &str, mode: u32, contents: &[u8]) -> Result<(), Error> {
    let new = directory.join(NEW_STATE);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(CWD, &new, flags, Mode::from_raw_mode(0o600)).map_err(failed("make", &new))?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)).map_err(failed("change the mode of", &new))?;
    let mut rest = contents;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, rest)).map_err(failed("write", &new))?;
        rest = &rest[written..];
    }
    renameat(CWD, &new, CWD, directory.join(name)).map_err(failed("write", &directory.join(name)))
}

/// What a file of an entry says.
fn parsed<T: serde::de::DeserializeOwned>(
    base: BorrowedFd<'_>,
    path: impl Arg,
    longest: usize,
    buffer: &mut Vec<u8>,
) -> Result<T, Unread> {
    let text = entry_file::read(base, path, longest, buffer).map_err(Unread::System)?;
    serde_json::from_slice(text).map_err(Unread::Nonsense)
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    // Of plain words and numbers: nothing in it can fail.
    let mut text = serde_json::to_vec(value).unwrap_or_default();
    text.push(b'\n');
    text
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    let path = path.to_owned();
    move |source| Error::File { action, path, source }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests;
