//! Faithful copies of directory trees: contents with their holes, hard links, owners, permissions, extended attributes
//! (ACLs and capabilities are such), times, links, device nodes, fifos and sockets.
//!
//! The tree is hostile: everything is opened by name in an opened directory, no symbolic link is followed, what is
//! mounted in the tree is not part of it. The copy is made where only the caller can reach it.

mod attributes;
mod contents;

use std::collections::{HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, linkat, mkdirat, mknodat, openat, readlinkat, symlinkat,
};
use rustix::io::Errno;
use sys::mount::{Attributes as MountAttributes, Change, set_attributes};
use sys::open::openat2;

use crate::Tree;
use crate::tree::Identity;

use attributes::{Attributes, Subject};
pub use attributes::{MOST_LOST, OTHERS, Wanted, has_room, is_refusal, of_root as attributes_of_root};
use contents::Contents;

/// How many directories are held open on each side.
const HELD_OPEN: usize = 32;
/// How often the observer is asked, in entries, and in bytes.
const ASKED_EVERY: u64 = 64;
const ASKED_AFTER: u64 = 8 << 20;
const RESOLVE: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::NO_XDEV);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// How far a copy has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Files, directories and all else.
    pub entries: u64,
    /// Bytes of contents, holes left out.
    pub bytes: u64,
}

/// Is told how far a copy has come, now and then, and says whether to go on.
pub type Observer<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// A copy that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How much it was.
    pub progress: Progress,
    /// Contents are shared with the original until one of them changes (reflinks).
    pub shared: bool,
    /// Attributes that the copy's file system does not take, and the number of times.
    pub lost: Vec<(String, u64)>,
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The observer said so.
    #[error("the copy was interrupted")]
    Interrupted,
    /// The file system is damaged, or made to harm.
    #[error("{path} of the tree is a directory that is elsewhere, too", path = .path.display())]
    Again {
        /// Relative to the tree.
        path: PathBuf,
    },
    /// The kernel said no.
    #[error("cannot {what} {path} of the tree", path = .path.display())]
    System {
        /// Which step.
        what: &'static str,
        /// Relative to the tree.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// Copies the tree to `name` in the directory `at`. An empty directory, such as a new subvolume, may be there already.
///
/// # Errors
/// [`Error`]; what was made before it is left for the caller to remove.
pub fn directory(tree: &Tree, at: BorrowedFd<'_>, name: &OsStr, observe: Observer<'_>) -> Result<Report, Error> {
    let from = without_mounts(tree);
    let from = from.map_err(|source| Error::System { what: "open the root", path: PathBuf::from("."), source })?;
    all(from, at, name, (|_| true, None), observe)
}

/// The same of a directory that is open for reading, the root of a file system that nobody writes to and that is hostile
/// itself: a directory in it that has several names is an error, as its copies would double with each level. Of extended
/// attributes those are copied that are wanted; the others count as lost.
///
/// # Errors
/// As [`directory`], and [`Error::Again`].
pub fn opened(
    from: OwnedFd,
    at: BorrowedFd<'_>,
    name: &OsStr,
    wanted: Wanted,
    observe: Observer<'_>,
) -> Result<Report, Error> {
    all(from, at, name, (wanted, Some(HashSet::new())), observe)
}

fn all(
    from: OwnedFd,
    at: BorrowedFd<'_>,
    name: &OsStr,
    (wanted, directories): (Wanted, Option<HashSet<Identity>>),
    observe: Observer<'_>,
) -> Result<Report, Error> {
    let error = |what| move |source| Error::System { what, path: PathBuf::from("."), source };
    match mkdirat(at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(error("make a directory for the copy")(errno)),
    }
    let to = openat(at, name, DIRECTORY, Mode::empty()).map_err(error("open the copy"))?;
    let root = rustix::io::dup(&to).map_err(error("open the copy"))?;
    let mut copy = Copy {
        levels: Vec::new(),
        root,
        links: HashMap::new(),
        directories,
        attributes: Attributes::of(wanted),
        contents: Contents::new(),
        progress: Progress::default(),
        asked: 0,
        observe,
    };
    copy.enter(CString::default(), from, to).map_err(|failure| copy.explain(failure))?;
    while !copy.levels.is_empty() {
        copy.step().map_err(|failure| copy.explain(failure))?;
    }
    let Copy { attributes, contents, mut progress, .. } = copy;
    progress.bytes = contents.bytes;
    Ok(Report { progress, shared: contents.shared, lost: attributes.lost })
}

/// Copies a file to `name` in the directory `at`, where nothing is: a disk image, say. The copy is open for writing then.
///
/// # Errors
/// [`Error`]; what was made before it is left for the caller to remove.
pub fn file(
    from: &OwnedFd,
    at: BorrowedFd<'_>,
    name: &OsStr,
    observe: Observer<'_>,
) -> Result<(OwnedFd, Report), Error> {
    let error = |what| move |source| Error::System { what, path: PathBuf::from(name), source };
    let status = rustix::fs::fstat(from).map_err(error("examine"))?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let to = openat(at, name, flags, Mode::RUSR | Mode::WUSR).map_err(error("make the copy of"))?;
    let mut contents = Contents::new();
    let mut position = 0;
    while let Some(next) = contents.copy(from, &to, &status, position).map_err(error("copy"))? {
        position = next;
        if !observe(Progress { entries: 1, bytes: contents.bytes }) {
            return Err(Error::Interrupted);
        }
    }
    let mut attributes = Attributes::new();
    let subjects = (Subject::Open(from.as_fd()), Subject::Open(to.as_fd()));
    attributes.copy(&subjects.0, &subjects.1, &status).map_err(error("copy the attributes of"))?;
    let progress = Progress { entries: 1, bytes: contents.bytes };
    Ok((to, Report { progress, shared: contents.shared, lost: attributes.lost }))
}

/// The root without what is mounted below it, where no device can be opened, also none that comes to be where a file was.
/// Without the privilege to make mounts, mount points are left empty.
fn without_mounts(tree: &Tree) -> rustix::io::Result<OwnedFd> {
    use rustix::mount::OpenTreeFlags as Flags;
    let flags = Flags::OPEN_TREE_CLONE | Flags::OPEN_TREE_CLOEXEC | Flags::AT_EMPTY_PATH;
    match rustix::mount::open_tree(&tree.fd, "", flags) {
        Ok(alone) => {
            set_attributes(alone.as_fd(), &Change { set: MountAttributes::NO_DEV, ..Change::default() })?;
            openat(&alone, ".", DIRECTORY, Mode::empty())
        }
        Err(_) => tree.reopen(),
    }
}

/// A failed step, and the name in the deepest directory that it was about.
struct Failure {
    what: &'static str,
    name: CString,
    reason: Reason,
}

enum Reason {
    Interrupted,
    /// A directory has been copied before.
    Again,
    System(Errno),
}

fn failure(what: &'static str, name: &CStr) -> impl FnOnce(Errno) -> Failure {
    let name = name.to_owned();
    move |errno| Failure { what, name, reason: Reason::System(errno) }
}

struct Level {
    name: CString,
    from: Option<OwnedFd>,
    to: Option<OwnedFd>,
    identities: (Identity, Identity),
    status: Stat,
    /// Directories in it that are still to be copied.
    children: Vec<CString>,
}

struct Copy<'a> {
    levels: Vec<Level>,
    /// The copy's root.
    root: OwnedFd,
    /// Where the first of several links to a file is in the copy, and how many are to come.
    links: HashMap<Identity, (Vec<CString>, u64)>,
    /// The directories that have been come to, of a file system that stays as it is. In others a new one can be what an old one was.
    directories: Option<HashSet<Identity>>,
    attributes: Attributes,
    contents: Contents,
    progress: Progress,
    /// How many bytes there were when the observer was asked last.
    asked: u64,
    observe: Observer<'a>,
}

impl Copy<'_> {
    fn explain(&self, failure: Failure) -> Error {
        let names = self.levels.iter().map(|level| &level.name).chain([&failure.name]);
        let path = names.map(|name| OsStr::from_bytes(name.to_bytes())).collect();
        match failure.reason {
            Reason::Interrupted => Error::Interrupted,
            Reason::Again => Error::Again { path },
            Reason::System(source) => Error::System { what: failure.what, path, source },
        }
    }

    /// Copies the next directory of the deepest one, or finishes that.
    fn step(&mut self) -> Result<(), Failure> {
        let Some(child) = self.levels.last_mut().and_then(|level| level.children.pop()) else { return self.leave() };
        let (from, to) = self.here(&child)?;
        let source = match openat2(from, &child, DIRECTORY, Mode::empty(), RESOLVE) {
            Ok(source) => source,
            Err(Errno::NOENT) => return Ok(()),
            // Something is mounted there: a place for it, as nothing more is known of what is below.
            Err(Errno::XDEV) => {
                return mkdirat(to, &child, Mode::from_raw_mode(0o755)).map_err(failure("make", &child));
            }
            // It was a directory when it was listed. Should it be one again it can be left out as well as if it were gone.
            Err(Errno::NOTDIR | Errno::LOOP) => return self.entry(&child, FileType::Unknown).map(|_| ()),
            Err(errno) => return Err(failure("open", &child)(errno)),
        };
        match mkdirat(to, &child, Mode::RWXU) {
            // What comes and goes may be listed twice.
            Err(Errno::EXIST) => return Ok(()),
            other => other.map_err(failure("make", &child))?,
        }
        let target = openat(to, &child, DIRECTORY, Mode::empty()).map_err(failure("open the copy of", &child))?;
        self.enter(child, source, target)
    }

    /// Both sides of the deepest directory.
    fn here(&self, about: &CStr) -> Result<(BorrowedFd<'_>, BorrowedFd<'_>), Failure> {
        let level = self.levels.last();
        let sides = level.and_then(|level| Some((level.from.as_ref()?.as_fd(), level.to.as_ref()?.as_fd())));
        sides.ok_or_else(|| failure("open", about)(Errno::BADF))
    }

    /// Copies all that is in a directory and is none itself.
    fn enter(&mut self, name: CString, from: OwnedFd, to: OwnedFd) -> Result<(), Failure> {
        let look = |fd: &OwnedFd| rustix::fs::fstat(fd).map_err(failure("examine", &name));
        let (status, copied) = (look(&from)?, look(&to)?);
        if self.directories.as_mut().is_some_and(|seen| !seen.insert(Identity::from(&status))) {
            return Err(Failure { what: "copy", name, reason: Reason::Again });
        }
        let listing = Dir::read_from(&from).map_err(failure("read", &name))?;
        let identities = (Identity::from(&status), Identity::from(&copied));
        self.levels.push(Level { name, from: Some(from), to: Some(to), identities, status, children: Vec::new() });
        if let Some(far) = self.levels.len().checked_sub(HELD_OPEN + 1) {
            (self.levels[far].from, self.levels[far].to) = (None, None);
        }
        let mut children = Vec::new();
        for entry in listing {
            let entry = entry.map_err(failure("read", c"."))?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            self.count()?;
            if self.entry(name, entry.file_type())? {
                children.push(name.to_owned());
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.children = children;
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), Failure> {
        self.progress.entries += 1;
        if self.progress.entries.is_multiple_of(ASKED_EVERY) {
            self.ask()?;
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<(), Failure> {
        self.progress.bytes = self.contents.bytes;
        self.asked = self.contents.bytes;
        if (self.observe)(self.progress) {
            return Ok(());
        }
        Err(Failure { what: "copy", name: CString::default(), reason: Reason::Interrupted })
    }

    /// Copies one entry; tells whether it is a directory, which is not copied here. Somebody may be writing to the tree: what
    /// is gone is left out, and what has become something else since it was listed is looked at again.
    fn entry(&mut self, name: &CStr, kind: FileType) -> Result<bool, Failure> {
        if kind == FileType::Directory {
            return Ok(true);
        }
        let mut refused = None;
        if kind == FileType::RegularFile {
            refused = self.file(name)?;
            if refused.is_none() {
                return Ok(false);
            }
        }
        for _ in 0..2 {
            let Some((found, status)) = self.find(name)? else { return Ok(false) };
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => return Ok(true),
                FileType::RegularFile => {
                    refused = self.file(name)?;
                    if refused.is_none() {
                        return Ok(false);
                    }
                }
                kind => {
                    if !self.link(name, &status)? {
                        self.special(&found, name, kind, &status)?;
                    }
                    return Ok(false);
                }
            }
        }
        Err(failure("open", name)(refused.unwrap_or(Errno::STALE)))
    }

    /// What is there, opened as a mere place: opening a device or a fifo can do things by itself. None if it is gone
    /// meanwhile, or something is mounted there.
    fn find(&self, name: &CStr) -> Result<Option<(OwnedFd, Stat)>, Failure> {
        let (from, _) = self.here(name)?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = match openat2(from, name, flags, Mode::empty(), RESOLVE) {
            Err(Errno::NOENT | Errno::XDEV) => return Ok(None),
            other => other.map_err(failure("open", name))?,
        };
        let status = rustix::fs::fstat(&found).map_err(failure("examine", name))?;
        Ok(Some((found, status)))
    }

    /// Copies a regular file. An error is returned as such a result that may come from its being something else now.
    fn file(&mut self, name: &CStr) -> Result<Option<Errno>, Failure> {
        let (from, _) = self.here(name)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let source = match openat2(from, name, flags, Mode::empty(), RESOLVE) {
            // Gone meanwhile, or something is mounted there.
            Err(Errno::NOENT | Errno::XDEV) => return Ok(None),
            // A link, a socket, a device.
            Err(errno @ (Errno::LOOP | Errno::NXIO | Errno::NODEV | Errno::ACCESS)) => return Ok(Some(errno)),
            other => other.map_err(failure("open", name))?,
        };
        let status = rustix::fs::fstat(&source).map_err(failure("examine", name))?;
        if !FileType::from_raw_mode(status.st_mode).is_file() {
            return Ok(Some(Errno::STALE));
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if status.st_nlink > 1 && self.link(name, &status)? {
            return Ok(None);
        }
        let (_, to) = self.here(name)?;
        let target = match openat(to, name, flags, Mode::RUSR | Mode::WUSR) {
            // What comes and goes may be listed twice.
            Err(Errno::EXIST) => return Ok(None),
            other => other.map_err(failure("make the copy of", name))?,
        };
        let mut position = 0;
        loop {
            let done = self.contents.copy(&source, &target, &status, position).map_err(failure("copy", name))?;
            if done.is_some() || self.contents.bytes - self.asked >= ASKED_AFTER {
                self.ask()?;
            }
            match done {
                None => break,
                Some(next) => position = next,
            }
        }
        let (source, target) = (Subject::Open(source.as_fd()), Subject::Open(target.as_fd()));
        let copied = self.attributes.copy(&source, &target, &status);
        copied.map(|()| None).map_err(failure("copy the attributes of", name))
    }

    /// Copies a link, a device, a fifo or a socket, which was opened as a mere place.
    fn special(&mut self, found: &OwnedFd, name: &CStr, kind: FileType, status: &Stat) -> Result<(), Failure> {
        let (_, to) = self.here(name)?;
        let made = if kind == FileType::Symlink {
            let target = readlinkat(found, c"", Vec::new()).map_err(failure("read", name))?;
            symlinkat(&target, to, name)
        } else {
            mknodat(to, name, kind, Mode::from_raw_mode(status.st_mode & 0o7777), status.st_rdev)
        };
        match made {
            // What comes and goes may be listed twice.
            Err(Errno::EXIST) => return Ok(()),
            other => other.map_err(failure("make the copy of", name))?,
        }
        let to = rustix::io::dup(to).map_err(failure("open", name))?;
        let (source, target) = (Subject::linked(found.as_fd()), Subject::named(to.as_fd(), name));
        self.attributes.copy(&source, &target, status).map_err(failure("copy the attributes of", name))
    }

    /// Links the name to what was copied before from the same file, if that is so. Else remembers it.
    fn link(&mut self, name: &CStr, status: &Stat) -> Result<bool, Failure> {
        if status.st_nlink <= 1 {
            return Ok(false);
        }
        let identity = Identity::from(status);
        let Some((path, to_come)) = self.links.get_mut(&identity) else {
            let names = self.levels.iter().skip(1).map(|level| &level.name);
            let path = names.cloned().chain([name.to_owned()]).collect();
            #[allow(clippy::unnecessary_cast)] // its type differs between architectures
            self.links.insert(identity, (path, status.st_nlink as u64 - 1));
            return Ok(false);
        };
        *to_come -= 1;
        let (path, last) = (path.clone(), *to_come == 0);
        if last {
            self.links.remove(&identity);
        }
        let Some((old, directories)) = path.split_last() else { return Ok(false) };
        let mut place = rustix::io::dup(&self.root).map_err(failure("open the copy of", name))?;
        for directory in directories {
            place = openat(&place, directory, DIRECTORY, Mode::empty()).map_err(failure("open the copy of", name))?;
        }
        let (_, to) = self.here(name)?;
        match linkat(&place, old, to, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::EXIST) => Ok(true),
            Err(errno) => Err(failure("link the copy of", name)(errno)),
        }
    }

    /// The deepest directory is complete: it gets its attributes, and the one above is gone on with.
    fn leave(&mut self) -> Result<(), Failure> {
        let Some(level) = self.levels.pop() else { return Ok(()) };
        let (Some(from), Some(to)) = (&level.from, &level.to) else {
            return Err(failure("open", &level.name)(Errno::BADF));
        };
        if let Some(above) = self.levels.last_mut().filter(|above| above.from.is_none()) {
            let back = |below: &OwnedFd, identity| match openat(below, "..", DIRECTORY, Mode::empty()) {
                Ok(fd) if Identity::of(fd.as_fd()) == Ok(identity) => Ok(fd),
                Ok(_) => Err(failure("come back from", &level.name)(Errno::STALE)),
                Err(errno) => Err(failure("come back from", &level.name)(errno)),
            };
            above.from = Some(back(from, above.identities.0)?);
            above.to = Some(back(to, above.identities.1)?);
        }
        let (source, target) = (Subject::Open(from.as_fd()), Subject::Open(to.as_fd()));
        self.attributes.copy(&source, &target, &level.status).map_err(failure("copy the attributes of", &level.name))
    }
}
