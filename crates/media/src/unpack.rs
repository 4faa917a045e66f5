//! From a file system that is read here into a directory: owners, permissions, extended attributes, times, links, holes,
//! devices.
//!
//! The directory is the caller's, reached by nobody else. Everything is made new and by name in a directory that was made
//! here before, so that no name and no link, whatever the image says, leads anywhere else.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use image::copy::{MOST_LOST, OTHERS, Progress, has_room, is_refusal};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid, XattrFlags, linkat, mkdirat,
    mknodat, openat, symlinkat,
};
use rustix::io::{Errno, pwrite};

use crate::reader::{self, Attribute, Entry, Kind, Node, Piece, ROOM, Reader};

/// How deep directories may lie: each one costs a descriptor.
const DEEPEST: usize = 400;
/// The longest name.
const LONGEST: usize = 255;
/// How many bytes the first names of what has several may have together.
const LINKS: usize = 128 << 20;
/// How much of files, holes included, is gone through before the observer is asked again.
const ASKED_EVERY: u64 = 4 << 20;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How much it was.
    pub progress: Progress,
    /// Attributes that were left out, and how often.
    pub lost: BTreeMap<String, u64>,
    /// Devices that could not be made.
    pub devices: u64,
}

impl Report {
    /// Counts an attribute that was left out. Each one of an image can have another name: after many they have one together.
    pub(crate) fn lose(&mut self, attribute: &[u8]) {
        let mut name = String::from_utf8_lossy(attribute).into_owned();
        if self.lost.len() >= MOST_LOST && !self.lost.contains_key(&name) {
            OTHERS.clone_into(&mut name);
        }
        *self.lost.entry(name).or_default() += 1;
    }
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The observer said so.
    #[error("it was interrupted")]
    Interrupted,
    /// The image.
    #[error("cannot read '/{path}' of the image")]
    Read {
        /// Relative to the root.
        path: String,
        /// Why.
        source: reader::Error,
    },
    /// The image has what cannot be.
    #[error("'/{path}' of the image {problem}")]
    Wrong {
        /// Relative to the root.
        path: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The tree.
    #[error("cannot {action} '/{path}' of the tree")]
    Write {
        /// What was tried.
        action: &'static str,
        /// Relative to the root.
        path: String,
        /// Why.
        source: io::Error,
    },
}

/// Is told how far it has come, now and then, and says whether to go on.
pub type Observer<'a> = &'a mut dyn FnMut(Progress) -> bool;

/// Whether an attribute is brought along. Those that steer overlays are not: they would make files of other trees vanish or
/// appear.
#[must_use]
pub fn is_kept(name: &[u8]) -> bool {
    !name.starts_with(b"trusted.") && !name.starts_with(b"user.overlay.")
}

/// Fills an empty directory with what the reader has.
///
/// # Errors
/// [`Error`]; what was made before it is left for the caller to remove.
pub fn unpack<R: Reader>(reader: &mut R, into: BorrowedFd<'_>, observe: Observer<'_>) -> Result<Report, Error> {
    let mut work = Work {
        reader,
        root: into,
        levels: Vec::new(),
        held: 0,
        links: HashMap::new(),
        named: 0,
        directories: HashSet::new(),
        report: Report::default(),
        since: 0,
        observe,
    };
    let root = work.reader.root().map_err(|source| work.unreadable(b"", source))?;
    let fd = openat(into, ".", DIRECTORY, Mode::empty()).map_err(|errno| work.failed("open", b"", errno))?;
    work.enter(Vec::new(), fd, root)?;
    while !work.levels.is_empty() {
        work.step()?;
    }
    Ok(work.report)
}

struct Level<I> {
    name: Vec<u8>,
    fd: OwnedFd,
    inode: I,
    left: std::vec::IntoIter<Entry>,
    /// What its entries weighed.
    weight: usize,
}

struct Work<'a, R: Reader> {
    reader: &'a mut R,
    root: BorrowedFd<'a>,
    levels: Vec<Level<R::Inode>>,
    /// What the entries of all levels weigh.
    held: usize,
    /// Where the first name of what has several is, and how long these names are together.
    links: HashMap<u64, Vec<u8>>,
    named: usize,
    directories: HashSet<u64>,
    report: Report,
    /// How many bytes, holes included, have come since the observer was asked last.
    since: u64,
    observe: Observer<'a>,
}

impl<R: Reader> Work<'_, R> {
    fn path(&self, name: &[u8]) -> Vec<u8> {
        let names = self.levels.iter().skip(1).map(|level| &level.name[..]).chain([name]);
        names.filter(|name| !name.is_empty()).collect::<Vec<_>>().join(&b'/')
    }

    fn shown(&self, name: &[u8]) -> String {
        String::from_utf8_lossy(&self.path(name)).chars().take(300).collect()
    }

    fn unreadable(&self, name: &[u8], source: reader::Error) -> Error {
        Error::Read { path: self.shown(name), source }
    }

    fn wrong(&self, name: &[u8], problem: &'static str) -> Error {
        Error::Wrong { path: self.shown(name), problem }
    }

    fn failed(&self, action: &'static str, name: &[u8], errno: Errno) -> Error {
        match errno {
            Errno::EXIST => self.wrong(name, "is there twice"),
            errno => Error::Write { action, path: self.shown(name), source: errno.into() },
        }
    }

    /// Begins with a directory, which has been made.
    fn enter(&mut self, name: Vec<u8>, fd: OwnedFd, inode: R::Inode) -> Result<(), Error> {
        if self.levels.len() >= DEEPEST {
            return Err(self.wrong(&name, "lies too deep"));
        }
        if !self.directories.insert(self.reader.node(&inode).number) {
            return Err(self.wrong(&name, "is a directory that is elsewhere, too"));
        }
        let room = ROOM.saturating_sub(self.held);
        let entries = self.reader.entries(&inode, room).map_err(|source| self.unreadable(&name, source))?;
        let weight = entries.iter().map(Entry::weight).sum();
        self.held += weight;
        self.levels.push(Level { name, fd, inode, left: entries.into_iter(), weight });
        Ok(())
    }

    /// Makes what comes next in the deepest directory, or finishes that.
    fn step(&mut self) -> Result<(), Error> {
        let Some(level) = self.levels.last_mut() else { return Ok(()) };
        let Some(Entry { name, place }) = level.left.next() else { return self.leave() };
        if name.is_empty() || name.len() > LONGEST || name.contains(&b'/') || matches!(&name[..], b"." | b"..") {
            return Err(self.wrong(&name, "has a name that no file can have"));
        }
        if name.contains(&0) {
            return Err(self.wrong(&name, "has a zero in its name"));
        }
        self.report.progress.entries += 1;
        if self.report.progress.entries.is_multiple_of(64) {
            self.ask()?;
        }
        let inode = self.reader.inode(place).map_err(|source| self.unreadable(&name, source))?;
        let node = self.reader.node(&inode).clone();
        if node.kind == Kind::Directory {
            let at = self.here();
            let made = mkdirat(at, &*name, Mode::RWXU).and_then(|()| openat(at, &*name, DIRECTORY, Mode::empty()));
            let fd = made.map_err(|errno| self.failed("make the directory", &name, errno))?;
            return self.enter(name, fd, inode);
        }
        if node.links > 1 {
            let path = self.path(&name);
            if let Some(first) = self.links.get(&node.number).cloned() {
                return self.link(&first, &name);
            }
            self.named += path.len();
            if self.named > LINKS {
                return Err(self.wrong(&name, "is one of too many files with several names"));
            }
            self.links.insert(node.number, path);
        }
        match node.kind {
            Kind::File => self.file(&name, &node, &inode),
            _ => self.special(&name, &node, &inode),
        }
    }

    /// The deepest directory.
    fn here(&self) -> BorrowedFd<'_> {
        self.levels.last().map_or(self.root, |level| level.fd.as_fd())
    }

    fn ask(&mut self) -> Result<(), Error> {
        self.since = 0;
        if (self.observe)(self.report.progress) { Ok(()) } else { Err(Error::Interrupted) }
    }

    fn link(&mut self, first: &[u8], name: &[u8]) -> Result<(), Error> {
        let slash = first.iter().rposition(|byte| *byte == b'/');
        let (place, old) = slash.map_or((&b"."[..], first), |slash| (&first[..slash], &first[slash + 1..]));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let linked = sys::open::openat2(self.root, place, flags, Mode::empty(), RESOLVE)
            .and_then(|place| linkat(&place, old, self.here(), name, AtFlags::empty()));
        linked.map_err(|errno| self.failed("make the link", name, errno))
    }

    fn file(&mut self, name: &[u8], node: &Node, inode: &R::Inode) -> Result<(), Error> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(self.here(), name, flags, Mode::RUSR | Mode::WUSR);
        let file = made.map_err(|errno| self.failed("make the file", name, errno))?;
        let (mut position, mut failed) = (0u64, None);
        let (progress, since, observe) = (&mut self.report.progress, &mut self.since, &mut *self.observe);
        // Whatever happens, no more than its size is written.
        let read = self.reader.content(inode, &mut |piece| {
            let (length, written) = match piece {
                Piece::Data(bytes) => (bytes.len() as u64, write(&file, bytes, position)),
                Piece::Hole(length) => (length, Ok(())),
            };
            if let Err(errno) = written {
                failed = Some(Some(errno));
                return Err(stopped());
            }
            position += length;
            if matches!(piece, Piece::Data(_)) {
                progress.bytes += length;
            }
            *since += length;
            if *since >= ASKED_EVERY {
                *since = 0;
                if !observe(*progress) {
                    failed = Some(None);
                    return Err(stopped());
                }
            }
            Ok(())
        });
        match failed {
            Some(Some(errno)) => return Err(self.failed("write", name, errno)),
            Some(None) => return Err(Error::Interrupted),
            None => read.map_err(|source| self.unreadable(name, source))?,
        }
        if position != node.size {
            return Err(self.wrong(name, "is not as long as it says"));
        }
        rustix::fs::ftruncate(&file, node.size).map_err(|errno| self.failed("write", name, errno))?;
        let attributes = self.reader.attributes(inode).map_err(|source| self.unreadable(name, source))?;
        self.finish(&file, name, node, attributes)
    }

    /// Owner, permissions, attributes and times, in this order: a change of owner takes set-user-ID and capabilities away.
    fn finish(&mut self, fd: &OwnedFd, name: &[u8], node: &Node, attributes: Vec<Attribute>) -> Result<(), Error> {
        let error = |errno| self.failed("finish", name, errno);
        let (uid, gid) = owner(node).ok_or_else(|| self.wrong(name, "has an owner that nobody can be"))?;
        rustix::fs::fchown(fd, Some(uid), Some(gid)).map_err(error)?;
        rustix::fs::fchmod(fd, Mode::from_raw_mode(node.mode)).map_err(error)?;
        for (attribute, value) in attributes {
            let set = |key: &[u8], value: &[u8]| rustix::fs::fsetxattr(fd, key, value, XattrFlags::empty());
            self.set(&attribute, &value, name, set)?;
        }
        rustix::fs::futimens(fd, &times(node)).map_err(|errno| self.failed("finish", name, errno))
    }

    fn set(
        &mut self,
        attribute: &[u8],
        value: &[u8],
        name: &[u8],
        set: impl Fn(&[u8], &[u8]) -> rustix::io::Result<()>,
    ) -> Result<(), Error> {
        let done = if is_kept(attribute) { set(attribute, value) } else { Err(Errno::PERM) };
        match done {
            Ok(()) => Ok(()),
            Err(errno) if is_refusal(errno, || has_room(self.here())) => {
                self.report.lose(attribute);
                Ok(())
            }
            Err(errno) => Err(self.failed("set an attribute of", name, errno)),
        }
    }

    fn special(&mut self, name: &[u8], node: &Node, inode: &R::Inode) -> Result<(), Error> {
        let made = match kind(node.kind) {
            None => {
                let target = self.reader.target(inode).map_err(|source| self.unreadable(name, source))?;
                if target.is_empty() || target.contains(&0) {
                    return Err(self.wrong(name, "is a link that leads to no path"));
                }
                symlinkat(&*target, self.here(), name)
            }
            Some(kind) => {
                let device = rustix::fs::makedev(node.device.0, node.device.1);
                mknodat(self.here(), name, kind, Mode::RUSR | Mode::WUSR, device)
            }
        };
        match made {
            // Who is root in a user namespace alone makes none.
            Err(Errno::PERM) if matches!(node.kind, Kind::BlockDevice | Kind::CharacterDevice) => {
                self.report.devices += 1;
                self.links.remove(&node.number);
                return Ok(());
            }
            other => other.map_err(|errno| self.failed("make", name, errno))?,
        }
        let (uid, gid) = owner(node).ok_or_else(|| self.wrong(name, "has an owner that nobody can be"))?;
        let here = self.here();
        let finish = || -> rustix::io::Result<()> {
            rustix::fs::chownat(here, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
            if node.kind == Kind::Symlink {
                return Ok(());
            }
            // It was made here a moment ago, as no link.
            rustix::fs::chmodat(here, name, Mode::from_raw_mode(node.mode), AtFlags::empty())
        };
        finish().map_err(|errno| self.failed("finish", name, errno))?;
        let path = format!("/proc/self/fd/{}", here.as_raw_fd());
        let path = std::path::Path::new(&path).join(OsStr::from_bytes(name));
        let attributes = self.reader.attributes(inode).map_err(|source| self.unreadable(name, source))?;
        for (attribute, value) in attributes {
            let set = |key: &[u8], value: &[u8]| rustix::fs::lsetxattr(&path, key, value, XattrFlags::empty());
            self.set(&attribute, &value, name, set)?;
        }
        let set = rustix::fs::utimensat(CWD, &path, &times(node), AtFlags::SYMLINK_NOFOLLOW);
        set.map_err(|errno| self.failed("finish", name, errno))
    }

    /// The deepest directory is complete.
    fn leave(&mut self) -> Result<(), Error> {
        let Some(Level { name, fd, inode, weight, .. }) = self.levels.pop() else { return Ok(()) };
        self.held -= weight;
        let attributes = self.reader.attributes(&inode).map_err(|source| self.unreadable(&name, source))?;
        let node = self.reader.node(&inode).clone();
        self.finish(&fd, &name, &node, attributes)
    }
}

/// Ends a reading that is over for another reason, which is told instead.
fn stopped() -> reader::Error {
    reader::Error::Io(io::ErrorKind::Interrupted.into())
}

fn write(file: &OwnedFd, bytes: &[u8], position: u64) -> rustix::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let at = position.checked_add(done as u64).ok_or(Errno::FBIG)?;
        done += rustix::io::retry_on_intr(|| pwrite(file, &bytes[done..], at))?;
    }
    Ok(())
}

/// None for links.
fn kind(kind: Kind) -> Option<FileType> {
    match kind {
        Kind::CharacterDevice => Some(FileType::CharacterDevice),
        Kind::BlockDevice => Some(FileType::BlockDevice),
        Kind::Fifo => Some(FileType::Fifo),
        Kind::Socket => Some(FileType::Socket),
        Kind::Directory | Kind::File | Kind::Symlink => None,
    }
}

/// The number above the highest means "no change" to the kernel.
fn owner(node: &Node) -> Option<(Uid, Gid)> {
    let real = node.uid != u32::MAX && node.gid != u32::MAX;
    real.then(|| (Uid::from_raw(node.uid), Gid::from_raw(node.gid)))
}

fn times(node: &Node) -> Timestamps {
    let time = Timespec { tv_sec: node.modified.0, tv_nsec: i64::from(node.modified.1) };
    Timestamps { last_access: time, last_modification: time }
}
