//! What is received, written under a temporary name and put in its place in the end.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags, chownat, fchmod, fchown, fsetxattr,
    ftruncate, futimens, mkdirat, mknodat, openat, symlinkat, utimensat,
};
use rustix::io::{Errno, pwrite};

use super::place::{self, Target};
use super::report::{About, Failure, Report, Reporter, Step};
use super::stream::{Error as StreamError, Facts, Frame, Frames};
use super::worker::{Input, Roots};
use super::{Progress, split};

/// How often is told how far it is.
const AGAIN: Duration = Duration::from_millis(50);
/// The set-user-ID and set-group-ID bits.
const SPECIAL: u32 = 0o6000;

/// What files are given that are not theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    /// Who they belonged to they go on to belong to; else to root.
    pub(super) keep_owners: bool,
    /// They come out of a machine: what would run with others' rights does not.
    pub(super) foreign: bool,
    /// What is there already is replaced.
    pub(super) replace: bool,
}

impl Policy {
    /// The mode that a file gets.
    fn mode(self, facts: &Facts, directory: bool) -> Mode {
        let keep = self.keep_owners && (directory || !self.foreign);
        Mode::from_raw_mode(if keep { facts.mode } else { facts.mode & !SPECIAL })
    }

    fn owner(self, facts: &Facts) -> (Option<Uid>, Option<Gid>) {
        match self.keep_owners {
            true => (Some(Uid::from_raw(facts.uid)), Some(Gid::from_raw(facts.gid))),
            false => (Some(Uid::ROOT), Some(Gid::ROOT)),
        }
    }
}

/// Writes what comes to a path. Nothing of it is left if it fails.
pub(super) fn receive(
    roots: &Roots,
    destination: &Path,
    input: Input,
    policy: Policy,
    (temporary, reporter): (&OsStr, &Reporter),
) -> Result<(), Failure> {
    let (above, name) = split(destination);
    let above = roots.directory(above).about(Step::Above, above_of(destination))?;
    let target = Target::find(above, name, destination, policy.replace)?;
    let mut receiver = Receiver {
        target: &target,
        temporary,
        policy,
        reporter,
        path: destination.to_owned(),
        directories: Vec::new(),
        file: None,
        progress: Progress::default(),
        told: Instant::now(),
    };
    let mut frames = Frames::new(input);
    let received = receiver.all(&mut frames).and_then(|()| place::put(&target, temporary, policy.replace));
    if received.is_err() {
        let progress = receiver.progress;
        let life = || reporter.tell(&Report::Progress(progress));
        place::clear(&target, temporary, &life)?;
    }
    reporter.tell(&Report::Progress(receiver.progress));
    received
}

fn above_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

struct Receiver<'a> {
    target: &'a Target,
    temporary: &'a OsStr,
    policy: Policy,
    reporter: &'a Reporter,
    /// Where it is, for messages.
    path: PathBuf,
    /// The directories that have begun.
    directories: Vec<(OwnedFd, Facts)>,
    /// The file that has begun.
    file: Option<OpenFile>,
    progress: Progress,
    told: Instant,
}

struct OpenFile {
    file: OwnedFd,
    facts: Facts,
    written: u64,
}

impl Receiver<'_> {
    fn all(&mut self, frames: &mut Frames<Input>) -> Result<(), Failure> {
        loop {
            match frames.next_frame() {
                Ok(Some(frame)) => self.step(&frame)?,
                Ok(None) => return Ok(()),
                Err(StreamError::Cut(_)) => return Err(Failure::new(Step::Cut, Errno::PIPE, &self.path)),
                Err(StreamError::Malformed(_)) => return Err(Failure::new(Step::Stream, Errno::PROTO, &self.path)),
            }
            if self.told.elapsed() >= AGAIN {
                self.told = Instant::now();
                self.reporter.tell(&Report::Progress(self.progress));
            }
        }
    }

    fn step(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        match frame {
            Frame::Directory(facts, name) => {
                let name = self.begin(name, true)?;
                let made = mkdirat(self.parent(), &name, Mode::RWXU).and_then(|()| {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    openat(self.parent(), &name, flags, Mode::empty())
                });
                self.directories.push((made.about(Step::Make, &self.path)?, *facts));
            }
            Frame::File(facts, name) => {
                let name = self.begin(name, false)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file =
                    openat(self.parent(), &name, flags, Mode::RUSR | Mode::WUSR).about(Step::Make, &self.path)?;
                self.file = Some(OpenFile { file, facts: *facts, written: 0 });
            }
            Frame::Link(facts, name, target) => {
                let name = self.begin(name, false)?;
                symlinkat(*target, self.parent(), &name).about(Step::Make, &self.path)?;
                self.finish_unopened(facts, &name, None)?;
            }
            Frame::Fifo(facts, name) => {
                let name = self.begin(name, false)?;
                let made = mknodat(self.parent(), &name, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0);
                made.about(Step::Make, &self.path)?;
                self.finish_unopened(facts, &name, Some(self.policy.mode(facts, false)))?;
            }
            Frame::Attribute(name, value) => self.attribute(name, value)?,
            Frame::Data(offset, bytes) => self.data(*offset, bytes)?,
            Frame::End(size) => self.end(*size)?,
            Frame::Up => {
                let (directory, facts) = self.directories.pop().ok_or_else(|| self.disordered())?;
                self.finish(&directory, &facts, true)?;
                self.leave();
            }
            Frame::Done => {}
        }
        Ok(())
    }

    /// The order of frames was checked before.
    fn disordered(&self) -> Failure {
        Failure::new(Step::Stream, Errno::PROTO, &self.path)
    }

    /// Where the next entry is made.
    fn parent(&self) -> BorrowedFd<'_> {
        self.directories.last().map_or(self.target.directory.as_fd(), |(directory, _)| directory.as_fd())
    }

    /// The name that an entry gets.
    fn begin(&mut self, name: &OsStr, directory: bool) -> Result<OsString, Failure> {
        self.progress.entries += 1;
        if self.directories.is_empty() {
            self.target.fits(directory, &self.path)?;
            return Ok(self.temporary.to_owned());
        }
        self.path.push(name);
        Ok(name.to_owned())
    }

    /// An entry has ended.
    fn leave(&mut self) {
        if !self.directories.is_empty() {
            self.path.pop();
        }
    }

    fn attribute(&mut self, name: &OsStr, value: &[u8]) -> Result<(), Failure> {
        let file = self.file.as_ref().map(|open| open.file.as_fd());
        let file = file.or(self.directories.last().map(|(directory, _)| directory.as_fd()));
        let set = fsetxattr(file.ok_or_else(|| self.disordered())?, name, value, XattrFlags::empty());
        match set {
            // Not every file system has them, or so much room for them.
            Err(Errno::OPNOTSUPP | Errno::PERM | Errno::TOOBIG | Errno::RANGE | Errno::NOSPC) => {
                self.reporter.tell(&Report::Lost);
                Ok(())
            }
            other => other.about(Step::Attributes, &self.path),
        }
    }

    fn data(&mut self, mut offset: u64, mut bytes: &[u8]) -> Result<(), Failure> {
        let open = self.file.as_mut().ok_or_else(|| Failure::new(Step::Stream, Errno::PROTO, &self.path))?;
        self.progress.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let written = rustix::io::retry_on_intr(|| pwrite(&open.file, bytes, offset));
            match written.about(Step::Write, &self.path)? {
                0 => return Err(Failure::new(Step::Write, Errno::IO, &self.path)),
                length => {
                    bytes = &bytes[length..];
                    offset += length as u64;
                }
            }
        }
        open.written = open.written.max(offset);
        Ok(())
    }

    fn end(&mut self, size: u64) -> Result<(), Failure> {
        let open = self.file.take().ok_or_else(|| self.disordered())?;
        if open.written != size {
            ftruncate(&open.file, size).about(Step::Write, &self.path)?;
        }
        self.finish(&open.file, &open.facts, false)?;
        self.leave();
        Ok(())
    }

    /// Gives a file its owner, its mode and its times, in the order in which each leaves the others alone.
    fn finish(&self, file: &OwnedFd, facts: &Facts, directory: bool) -> Result<(), Failure> {
        let (uid, gid) = self.policy.owner(facts);
        let given = fchown(file, uid, gid)
            .and_then(|()| fchmod(file, self.policy.mode(facts, directory)))
            .and_then(|()| futimens(file, &times(facts)));
        given.about(Step::Attributes, &self.path)
    }

    /// The same for what cannot be opened, in a directory that nobody else has.
    fn finish_unopened(&mut self, facts: &Facts, name: &OsStr, mode: Option<Mode>) -> Result<(), Failure> {
        let (uid, gid) = self.policy.owner(facts);
        let parent = self.parent();
        let given = chownat(parent, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| mode.map_or(Ok(()), |mode| chmod_fifo(parent, name, mode)))
            .and_then(|()| utimensat(parent, name, &times(facts), AtFlags::SYMLINK_NOFOLLOW));
        given.about(Step::Attributes, &self.path)?;
        self.leave();
        Ok(())
    }
}

/// Changes the mode of a fifo, and of nothing else that may have come into its place.
fn chmod_fifo(parent: BorrowedFd<'_>, name: &OsStr, mode: Mode) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
    let fifo = openat(parent, name, flags, Mode::empty())?;
    if FileType::from_raw_mode(rustix::fs::fstat(&fifo)?.st_mode) != FileType::Fifo {
        return Err(Errno::STALE);
    }
    fchmod(&fifo, mode)
}

fn times(facts: &Facts) -> Timestamps {
    let time = |(seconds, nanoseconds): (i64, u32)| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time(facts.accessed), last_modification: time(facts.modified) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_run_with_the_rights_of_others() {
        let policy = |keep_owners, foreign| Policy { keep_owners, foreign, replace: false };
        let mode =
            |policy: Policy, directory| policy.mode(&Facts { mode: 0o7755, ..Facts::default() }, directory).bits();
        assert_eq!(mode(policy(true, false), false), 0o7755);
        assert_eq!(mode(policy(true, true), false), 0o1755, "out of a machine");
        assert_eq!(mode(policy(true, true), true), 0o7755, "of a directory they say who owns what is made there");
        assert_eq!(mode(policy(false, false), false), 0o1755, "they would run as root");
        assert_eq!(mode(policy(false, true), true), 0o1755);
    }
}
