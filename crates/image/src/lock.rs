//! Who may use a tree, or a machine name, at the same time.
//!
//! A writer locks its tree exclusively; an overlay copy holds a shared lock on its lower tree for life, because overlayfs
//! is undefined when a lower layer changes under it; a snapshot needs none once it is taken. Locks are open file
//! description locks on `/run/redd/locks/inode-<st_dev>:<st_ino>` (`block-<major>:<minor>` for a block device, which may have
//! several nodes), so that the kernel releases them whatever happens to the holder, and on the files that the reference
//! locks (`peer.rs`), so that both tools see each other.
//!
//! **Nested trees.** If tree A lies inside tree B, whoever writes B may change A and the other way round. So a lock is
//! also refused while a tree above or below, by path, is held in a mode that does not go with it. Each holder writes its
//! path into its lock file and marks it (`marks.rs`) *before* it looks at the others, so of two that start at once at
//! least one sees the other.
//! The same tree reached through a bind mount at another path is recognised (its inode is the same), a tree nested in
//! it by such a path is not.
//!
//! **The host's own `/`** contains every tree and is written by the host at all times: it is never locked exclusively
//! ([`Error::HostRoot`]), and it does not count as being above another tree.

use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno;
use spec::MachineName;
use sys::file_lock::{self, Mode};

use crate::escape::{escape, unescape};
use crate::lock_file::{LockFile, is_locked, list, read_all, would_conflict};
use crate::marks::{self, Mark};
use crate::peer::{self, PeerLock};
use crate::record::{self, Entry, Record};
use crate::run_directory::{RunDirectory, open_file};
use crate::tree::{Identity, Tree};

const NAME_PREFIX: &str = "name-";
/// How long the processes that a dead supervisor has made may take to be gone.
const DYING: Duration = Duration::from_secs(2);

/// Why a lock was not given.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else uses the tree in a way that does not go with the one wanted.
    #[error("{path} is in use{}{}", user(.machine.as_deref()), advice(*.copyable), path = .path.display())]
    TreeBusy {
        /// The tree.
        path: PathBuf,
        /// The machine that uses it, if known.
        machine: Option<String>,
        /// An ephemeral copy can be made meanwhile.
        copyable: bool,
    },
    /// A tree above or below is used in a way that does not go with the one wanted.
    #[error("{other}, which {} {path}, is in use{}{}", if .path.starts_with(.other) { "contains" } else { "lies inside" }, user(.machine.as_deref()), advice(*.copyable), path = .path.display(), other = .other.display())]
    NestedBusy {
        /// The tree wanted.
        path: PathBuf,
        /// The tree in use.
        other: PathBuf,
        /// The machine that uses it, if known.
        machine: Option<String>,
        /// An ephemeral copy can be made meanwhile.
        copyable: bool,
    },
    /// A machine of that name runs.
    #[error("a machine named {0} is already running; give this one another name with -M")]
    NameTaken(String),
    /// Nobody may have the host's own root for writing.
    #[error("the host's own root directory cannot be used for writing; use an ephemeral copy (-x) or a volatile mode")]
    HostRoot,
    /// The lock file could not be used.
    #[error("cannot use the lock file {path}", path = .path.display())]
    File {
        /// The lock file.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

fn user(machine: Option<&str>) -> String {
    machine.map_or_else(String::new, |machine| format!(" by machine {machine}"))
}

fn advice(copyable: bool) -> &'static str {
    if copyable { "; stop that first, or use an ephemeral copy (-x)" } else { "; stop that first" }
}

/// What is locked.
struct Target<'a> {
    path: &'a Path,
    /// The name of its locks.
    name: OsString,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tree,
    HostRoot,
    Image,
    BlockDevice,
}

impl<'a> Target<'a> {
    fn image(path: &'a Path, status: &Stat) -> Self {
        if FileType::from_raw_mode(status.st_mode) != FileType::BlockDevice {
            return Self { path, name: name_of(Identity::from(status)), kind: Kind::Image };
        }
        let name = format!("block-{}:{}", rustix::fs::major(status.st_rdev), rustix::fs::minor(status.st_rdev));
        Self { path, name: name.into(), kind: Kind::BlockDevice }
    }

    /// The path that a lock may be beside.
    fn beside(&self) -> Option<&'a Path> {
        matches!(self.kind, Kind::Tree | Kind::Image).then_some(self.path)
    }

    /// Whether an ephemeral copy can be made where `wanted` is refused: of a tree always, of an image if its holder does not
    /// write to it either. `conflicts` tells whether a lock of this mode would be refused, too.
    fn is_copyable(&self, wanted: Mode, conflicts: impl FnOnce(Mode) -> bool) -> bool {
        let is_tree = matches!(self.kind, Kind::Tree | Kind::HostRoot);
        wanted == Mode::Exclusive && (is_tree || !conflicts(Mode::Shared))
    }
}

impl<'a> From<&'a Tree> for Target<'a> {
    fn from(tree: &'a Tree) -> Self {
        let kind = if tree.is_host_root { Kind::HostRoot } else { Kind::Tree };
        Self { path: &tree.path, name: name_of(tree.identity), kind }
    }
}

fn name_of(identity: Identity) -> OsString {
    format!("inode-{identity}").into()
}

/// A tree kept from others for as long as this lives.
#[derive(Debug)]
pub struct TreeLock {
    /// Released in this order: first the peer's, then ours.
    _peer: PeerLock,
    _own: Marked,
    dead: Vec<String>,
}

/// Our lock, and the mark that tells others of its tree's path.
#[derive(Debug)]
struct Marked {
    lock: LockFile,
    run: RunDirectory,
    name: OsString,
    path: PathBuf,
    mode: Mode,
}

impl Drop for Marked {
    fn drop(&mut self) {
        // Who shares a lock leaves the mark: others may have found the tree by the same path. The last one removes all.
        if !self.lock.become_sole() {
            return;
        }
        marks::unset(&self.run, &self.path, &self.name);
        if self.mode == Mode::Shared {
            let contents = self.lock.contents().unwrap_or_default();
            for holder in contents.split(|&byte| byte == b'\n').filter_map(Holder::parse) {
                marks::unset(&self.run, &holder.path, &self.name);
            }
        }
    }
}

impl TreeLock {
    /// For one that only reads, and relies on nobody writing.
    ///
    /// # Errors
    /// [`Error::TreeBusy`] or [`Error::NestedBusy`] while a writer exists.
    pub fn shared(run: &RunDirectory, tree: &Tree, holder: &MachineName) -> Result<Self, Error> {
        Self::take(run, &Target::from(tree), holder, Mode::Shared)
    }

    /// For a writer.
    ///
    /// # Errors
    /// [`Error::TreeBusy`] or [`Error::NestedBusy`] while anybody else holds a lock, [`Error::HostRoot`] for `/`.
    pub fn exclusive(run: &RunDirectory, tree: &Tree, holder: &MachineName) -> Result<Self, Error> {
        if tree.is_host_root {
            return Err(Error::HostRoot);
        }
        Self::take(run, &Target::from(tree), holder, Mode::Exclusive)
    }

    /// For a disk image, which is locked before the kernel reads any of its file systems. `status` is that of the file or of
    /// the block device's node.
    ///
    /// # Errors
    /// As those of a tree.
    pub fn of_image(
        run: &RunDirectory,
        (path, status): (&Path, &Stat),
        holder: &MachineName,
        shared: bool,
    ) -> Result<Self, Error> {
        let mode = if shared { Mode::Shared } else { Mode::Exclusive };
        Self::take(run, &Target::image(path, status), holder, mode)
    }

    fn take(run: &RunDirectory, tree: &Target<'_>, holder: &MachineName, mode: Mode) -> Result<Self, Error> {
        let (directory, name) = (run.locks(), &tree.name);
        let own = match acquire(&directory, name, mode)? {
            Some(lock) => lock,
            None => outlive(&directory, name, mode, || holders(&directory, name).is_empty())?
                .ok_or_else(|| busy(&directory, tree, mode))?,
        };
        let failed = |source| Error::File { path: directory.join(name), source };
        let dead = dead_holders(&own).map_err(failed)?;
        let line = Holder::line(mode, holder.as_str(), tree.path);
        own.append(line.as_bytes()).map_err(failed)?;
        if mode == Mode::Exclusive {
            dead.iter().for_each(|holder| marks::unset(run, &holder.path, name));
        }
        for holder in dead.iter().filter(|holder| holder.path != tree.path) {
            peer::remove_dead(&holder.path);
        }
        let own = Marked { lock: own, run: run.clone(), name: name.clone(), path: tree.path.to_owned(), mode };
        if tree.kind != Kind::HostRoot {
            marks::set(run, tree.path, name).map_err(|source| Error::File { path: run.trees(), source })?;
            refuse_nested(run, tree, mode)?;
        }
        let peer = PeerLock::take(run, name, tree.beside(), mode)?.ok_or_else(|| {
            let conflicts = |mode| peer::conflicts(run, name, tree.beside(), mode).unwrap_or(true);
            let copyable = tree.is_copyable(mode, conflicts);
            Error::TreeBusy { path: tree.path.to_owned(), machine: None, copyable }
        })?;
        Ok(Self { _peer: peer, _own: own, dead: dead.into_iter().map(|holder| holder.machine).collect() })
    }

    /// The machines that held this lock and died without releasing it, if nobody holds it now.
    #[must_use]
    pub fn dead(&self) -> &[String] {
        &self.dead
    }
}

/// The file exists only while somebody holds it, so if nobody else does, all that is in it was left by the dead. It is
/// emptied then.
fn dead_holders(own: &LockFile) -> rustix::io::Result<Vec<Holder>> {
    if own.is_empty()? || !own.is_alone()? {
        return Ok(Vec::new());
    }
    let contents = own.contents()?;
    own.clear()?;
    Ok(contents.split(|&byte| byte == b'\n').filter_map(Holder::parse).collect())
}

/// Whether somebody writes to the tree, or to one above or below it; changes nothing. To an image that was opened nobody
/// writes for whom that counts: it is locked since.
///
/// # Errors
/// [`Error::File`].
pub fn is_written(run: &RunDirectory, tree: &Tree) -> Result<bool, Error> {
    if tree.disk.is_some() {
        return Ok(false);
    }
    let (directory, tree) = (run.locks(), Target::from(tree));
    let own = would_conflict(&directory, &tree.name, Mode::Shared);
    if own.map_err(|source| Error::File { path: directory.join(&tree.name), source })?
        || peer::conflicts(run, &tree.name, tree.beside(), Mode::Shared)?
    {
        return Ok(true);
    }
    match refuse_nested(run, &tree, Mode::Shared) {
        Ok(()) => Ok(false),
        Err(Error::NestedBusy { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

pub(crate) fn acquire(directory: &Path, name: &OsStr, mode: Mode) -> Result<Option<LockFile>, Error> {
    let lock = LockFile::acquire_patiently(directory, name, mode);
    lock.map_err(|source| Error::File { path: directory.join(name), source })
}

/// Tries again while those who hold the lock are `dying`: children of a supervisor that was killed, which the kernel is
/// ending.
fn outlive(directory: &Path, name: &OsStr, mode: Mode, dying: impl Fn() -> bool) -> Result<Option<LockFile>, Error> {
    let limit = Instant::now() + DYING;
    while dying() && Instant::now() < limit {
        std::thread::sleep(Duration::from_millis(1));
        let lock = LockFile::acquire(directory, name, mode);
        if let Some(lock) = lock.map_err(|source| Error::File { path: directory.join(name), source })? {
            return Ok(Some(lock));
        }
    }
    Ok(None)
}

fn busy(directory: &Path, tree: &Target<'_>, mode: Mode) -> Error {
    let machine = holders(directory, &tree.name).into_iter().next().map(|holder| holder.machine);
    let copyable = tree.is_copyable(mode, |mode| would_conflict(directory, &tree.name, mode).unwrap_or(true));
    Error::TreeBusy { path: tree.path.to_owned(), machine, copyable }
}

/// Looks at the locks of trees above and below for one that is held in a mode that `mode` does not go with. A lock file that
/// cannot be read is that of a tree whose holder has just gone.
fn refuse_nested(run: &RunDirectory, tree: &Target<'_>, mode: Mode) -> Result<(), Error> {
    let directory = run.locks();
    let marks =
        marks::nested(run, tree.path, &tree.name).map_err(|source| Error::File { path: run.trees(), source })?;
    for Mark { lock, path } in marks {
        let Ok(fd) = open_file(&directory, &lock, OFlags::RDWR) else { continue };
        let Ok(contents) = read_all(&fd) else { continue };
        let holders: Vec<Holder> = contents.split(|&byte| byte == b'\n').filter_map(Holder::parse).collect();
        let nested = |path: &PathBuf| path.starts_with(tree.path) || tree.path.starts_with(path);
        let Some(other) = path.or_else(|| holders.iter().rev().map(|holder| holder.path.clone()).find(nested)) else {
            continue;
        };
        if file_lock::would_conflict(fd.as_fd(), mode)
            .map_err(|source| Error::File { path: directory.join(&lock), source })?
        {
            let machine = holders.iter().find(|holder| holder.is_alive(&directory, &lock)).map(|h| h.machine.clone());
            let copyable = tree.is_copyable(mode, |mode| file_lock::would_conflict(fd.as_fd(), mode).unwrap_or(true));
            return Err(Error::NestedBusy { path: tree.path.to_owned(), other, machine, copyable });
        }
    }
    Ok(())
}

/// One line of a lock file: who took it, and for which path. It is believed only while that process has the file open.
#[derive(Debug, PartialEq, Eq)]
struct Holder {
    pid: u32,
    machine: String,
    path: PathBuf,
}

impl Holder {
    fn line(mode: Mode, machine: &str, path: &Path) -> String {
        let mode = match mode {
            Mode::Shared => "shared",
            Mode::Exclusive => "exclusive",
        };
        format!("{} {mode} {machine} {}\n", std::process::id(), escape(path.as_os_str()))
    }

    fn parse(line: &[u8]) -> Option<Self> {
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let pid = words.next()?.parse().ok()?;
        words.next()?;
        let machine = words.next()?.to_owned();
        let path = unescape(words.next()?)?.into();
        Some(Self { pid, machine, path })
    }

    fn is_alive(&self, directory: &Path, name: &OsStr) -> bool {
        let file = directory.join(name);
        std::fs::read_dir(format!("/proc/{}/fd", self.pid)).is_ok_and(|descriptors| {
            descriptors.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == file))
        })
    }
}

/// The living holders of a lock.
fn holders(directory: &Path, name: &OsStr) -> Vec<Holder> {
    let contents = open_file(directory, name, OFlags::RDONLY).and_then(|fd| read_all(&fd)).unwrap_or_default();
    let mut holders: Vec<Holder> = contents.split(|&byte| byte == b'\n').filter_map(Holder::parse).collect();
    holders.retain(|holder| holder.is_alive(directory, name));
    holders
}

/// A machine name kept from others for as long as this lives. Its file tells what the run has made.
#[derive(Debug)]
pub struct NameLock {
    lock: LockFile,
    machine: String,
    left: Record,
}

impl NameLock {
    /// Takes the name.
    ///
    /// # Errors
    /// [`Error::NameTaken`] while a machine of that name runs.
    pub fn take(run: &RunDirectory, name: &MachineName) -> Result<Self, Error> {
        let (directory, file) = (run.locks(), OsString::from(format!("{NAME_PREFIX}{name}")));
        let lock = LockFile::acquire(&directory, &file, Mode::Exclusive);
        let lock = match lock.map_err(|source| Error::File { path: directory.join(&file), source })? {
            Some(lock) => Some(lock),
            None => outlive(&directory, &file, Mode::Exclusive, || !is_supervised(&directory, &file))?,
        };
        lock.map_or_else(|| Err(Error::NameTaken(name.to_string())), |lock| Self::read(lock, name.as_str()))
    }

    /// Takes the name if no machine of that name runs.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn take_if_free(run: &RunDirectory, name: &MachineName) -> Result<Option<Self>, Error> {
        match Self::take(run, name) {
            Ok(lock) => Ok(Some(lock)),
            Err(Error::NameTaken(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(lock: LockFile, machine: &str) -> Result<Self, Error> {
        let error = |source| Error::File { path: lock.path().to_owned(), source };
        let left =
            if lock.is_empty().map_err(error)? { Vec::new() } else { record::parse(&lock.contents().map_err(error)?) };
        Ok(Self { lock, machine: machine.to_owned(), left })
    }

    /// The name.
    #[must_use]
    pub fn machine(&self) -> &str {
        &self.machine
    }

    /// What a run of this name has made that died without undoing it.
    #[must_use]
    pub fn left(&self) -> &[Entry] {
        &self.left
    }

    /// Tells what is about to be made.
    ///
    /// # Errors
    /// Those of `write(2)`.
    pub fn note(&self, entries: &[Entry]) -> Result<(), Error> {
        let text: String = entries.iter().map(Entry::line).collect();
        self.lock.append(text.as_bytes()).map_err(|source| Error::File { path: self.lock.path().to_owned(), source })
    }

    /// Releases the name but leaves the file, because something of what it tells could not be undone.
    pub fn keep(self) {
        self.lock.keep();
    }

    /// What was left is undone.
    ///
    /// # Errors
    /// Those of `ftruncate(2)`.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.left.clear();
        self.lock.clear().map_err(|source| Error::File { path: self.lock.path().to_owned(), source })
    }
}

/// Whether the supervisor that has noted itself in the file lives; true also while there is no note yet.
fn is_supervised(directory: &Path, name: &OsStr) -> bool {
    let contents = open_file(directory, name, OFlags::RDONLY).and_then(|fd| read_all(&fd)).unwrap_or_default();
    // What an earlier one has left may stand before it, if it could not be undone.
    let noted = record::parse(&contents).into_iter().rev().find_map(|entry| match entry {
        Entry::Supervisor(pid) => Some(pid),
        _ => None,
    });
    noted.is_none_or(|pid| rustix::fs::access(format!("/proc/{pid}"), rustix::fs::Access::EXISTS).is_ok())
}

/// How the name of a machine stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A run has it, or the caller may not know.
    Taken,
    /// Nobody has it.
    Free,
    /// Nobody has it, and a run that had it has died without undoing what it made.
    Dead,
}

/// Looks how a name stands, without taking it.
#[must_use]
pub fn standing(run: &RunDirectory, name: &MachineName) -> Standing {
    let (directory, file) = (run.locks(), OsString::from(format!("{NAME_PREFIX}{name}")));
    if is_locked(&directory, &file) {
        return Standing::Taken;
    }
    match std::fs::read(directory.join(&file)) {
        Ok(record) if record.is_empty() => Standing::Free,
        Ok(_) => Standing::Dead,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Standing::Free,
        Err(_) => Standing::Taken,
    }
}

/// The machines that have lock files, alive or not.
///
/// # Errors
/// Those of listing the directory.
pub fn machines(run: &RunDirectory) -> Result<Vec<String>, Error> {
    let directory = run.locks();
    let names = list(&directory).map_err(|source| Error::File { path: directory, source })?;
    Ok(names.iter().filter_map(|name| name.to_str()?.strip_prefix(NAME_PREFIX)).map(str::to_owned).collect())
}

/// Removes the files of the locks of trees and of ranges of ids whose holders died without releasing them, and tells
/// how many: those in `/run`, those beside the trees that these speak of, and those in `places`, as a reboot leaves them.
/// Such files are in nobody's way; this is for `--cleanup`, after which nothing is to be left.
///
/// # Errors
/// Those of listing the directory or locking a file.
pub fn sweep(run: &RunDirectory, places: &[PathBuf]) -> Result<usize, Error> {
    let mut removed: usize = places.iter().map(|place| peer::remove_all_dead(place)).sum();
    for (ours, peer) in [(run.locks(), run.peer_locks()), (run.ranges(), run.peer_ranges())] {
        for name in list(&ours).map_err(|source| Error::File { path: ours.clone(), source })? {
            if name.as_bytes().starts_with(NAME_PREFIX.as_bytes()) {
                continue;
            }
            let contents = open_file(&ours, &name, OFlags::RDONLY).and_then(|fd| read_all(&fd)).unwrap_or_default();
            let trees = contents.split(|&byte| byte == b'\n').filter_map(Holder::parse).map(|holder| holder.path);
            removed += trees.filter(|path| peer::remove_dead(path)).count();
            for directory in [peer, ours.as_path()] {
                let lock = LockFile::acquire_existing(directory, &name, Mode::Exclusive)
                    .map_err(|source| Error::File { path: directory.join(&name), source })?;
                removed += usize::from(lock.is_some());
            }
        }
    }
    for (mark, lock) in marks::all(run).map_err(|source| Error::File { path: run.trees(), source })? {
        let sole = LockFile::acquire(&run.locks(), &lock, Mode::Exclusive);
        // Held until it is gone, so that it is nobody's who comes meanwhile.
        if let Some(_sole) = sole.map_err(|source| Error::File { path: run.locks().join(&lock), source })? {
            let _ = rustix::fs::unlink(mark);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_had_once_and_leaves_nothing() {
        let base = std::env::temp_dir().join(format!("redd-lock-{}", std::process::id()));
        let run = RunDirectory::at(base.clone(), base.join("peer"));
        let name = MachineName::try_from("m").expect("name");
        let held = NameLock::take(&run, &name).expect("free");
        assert!(NameLock::take(&run, &name).is_err());
        drop(held);
        drop(NameLock::take(&run, &name).expect("free again"));
        assert_eq!(std::fs::read_dir(run.locks()).expect("locks").count(), 0);
        std::fs::remove_dir_all(&base).expect("remove");
    }

    #[test]
    fn how_a_name_stands_is_seen_without_taking_it() {
        let base = tempfile::tempdir().expect("directory");
        let run = RunDirectory::at(base.path().join("run"), base.path().join("peer"));
        let name = MachineName::try_from("m").expect("name");
        assert_eq!(standing(&run, &name), Standing::Free);
        let held = NameLock::take(&run, &name).expect("free");
        assert_eq!(standing(&run, &name), Standing::Taken);
        held.note(&[Entry::Directory("/x".into())]).expect("record");
        assert_eq!(standing(&run, &name), Standing::Taken);
        // As after a death: the record stays, the lock is gone.
        held.keep();
        for _ in 0..2 {
            assert_eq!(standing(&run, &name), Standing::Dead);
        }
        NameLock::take(&run, &name).expect("free").clear().expect("cleared");
        assert_eq!(standing(&run, &name), Standing::Free);
    }

    /// In a directory that is not there, so that nothing is made in it.
    fn tree(path: &str, inode: u64) -> Target<'_> {
        Target { path: Path::new(path), name: name_of(Identity { device: 8, inode }), kind: Kind::Tree }
    }

    #[test]
    fn trees_above_and_below_are_kept_and_nothing_is_left() {
        let base = tempfile::tempdir().expect("directory");
        let run = RunDirectory::at(base.path().join("run"), base.path().join("peer"));
        let name = MachineName::try_from("m").expect("name");
        let take = |path, inode, mode| TreeLock::take(&run, &tree(path, inode), &name, mode);
        let marks = || marks::all(&run).expect("marks").len();
        let long = format!("/none/srv/{}", "long/".repeat(60));
        let below = long.replace("/srv", "/srv/a");
        let held = take("/none/srv/a", 1, Mode::Exclusive).expect("free");
        for (path, inode) in [("/none/srv", 2), ("/none/srv/a/b", 3), (&*below, 4)] {
            for mode in [Mode::Exclusive, Mode::Shared] {
                let refused = take(path, inode, mode).expect_err("in use");
                assert!(
                    matches!(&refused, Error::NestedBusy { other, .. } if other == Path::new("/none/srv/a")),
                    "{refused}"
                );
            }
        }
        assert!(take("/none/srv/ab", 5, Mode::Exclusive).is_ok() && take(&long, 6, Mode::Exclusive).is_ok());
        drop(held);
        assert_eq!(marks(), 0, "also of those that were refused");
        // One tree by two paths, one of them too long for a mark.
        let (one, other) =
            (take("/none/srv/a", 1, Mode::Shared).expect("free"), take(&long, 1, Mode::Shared).expect("shared"));
        assert!(take("/none/srv/a/b", 3, Mode::Shared).is_ok());
        drop(one);
        assert!(
            matches!(take("/none/srv/a/b", 3, Mode::Exclusive), Err(Error::NestedBusy { .. })),
            "the other holds it"
        );
        assert!(matches!(take("/none/srv/long/long", 3, Mode::Exclusive), Err(Error::NestedBusy { .. })));
        drop(other);
        assert_eq!((marks(), list(&run.locks()).expect("locks").len()), (0, 0));
    }

    #[test]
    fn marks_of_the_dead_are_in_nobody_s_way() {
        let base = tempfile::tempdir().expect("directory");
        let run = RunDirectory::at(base.path().join("run"), base.path().join("peer"));
        let name = MachineName::try_from("m").expect("name");
        let take = |path, inode| TreeLock::take(&run, &tree(path, inode), &name, Mode::Exclusive);
        marks::set(&run, Path::new("/none/srv"), OsStr::new("inode-8:1")).expect("mark");
        let own =
            LockFile::acquire(&run.locks(), OsStr::new("inode-8:2"), Mode::Exclusive).expect("file").expect("free");
        own.append(Holder::line(Mode::Exclusive, "dead", Path::new("/none/srv/a/old")).as_bytes()).expect("line");
        own.keep();
        marks::set(&run, Path::new("/none/srv/a/old"), OsStr::new("inode-8:2")).expect("mark");
        let held = take("/none/srv/a", 2).expect("free");
        assert_eq!(held.dead(), ["dead"]);
        assert_eq!(marks::all(&run).expect("marks").len(), 2, "the one of the lock's earlier holder is gone");
        sweep(&run, &[]).expect("sweep");
        assert_eq!(marks::all(&run).expect("marks").len(), 1, "that of who lives stays");
        drop(held);
        assert_eq!((marks::all(&run).expect("marks").len(), list(&run.locks()).expect("locks").len()), (0, 0));
    }
}
