//! Where a copy goes in the end: its temporary name beside it, the last step, and removal.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, RenameFlags, openat, renameat, renameat_with, statat, unlinkat,
};
use rustix::io::Errno;

use super::report::{About, Failure, Report, Reporter, Step};
use super::stream::DEEPEST;
use super::worker::Roots;
use super::{Progress, split};

/// Where a copy goes.
pub(super) struct Target {
    /// The directory in which it is made first.
    pub(super) directory: OwnedFd,
    /// What it is called there in the end; absent where what is in it goes into the directory itself, which is there already.
    name: Option<OsString>,
    /// There is something else already.
    occupied: bool,
    /// For messages.
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Target {
    /// Looks at what is there. A link is not followed: it is something, and no directory.
    pub(super) fn find(above: OwnedFd, name: &OsStr, path: &Path, replace: bool) -> Result<Self, Failure> {
        let kind = kind_of(above.as_fd(), name).about(Step::Find, path)?;
        let target = |directory, name, occupied| Self { directory, name, occupied, path: path.to_owned() };
        match kind {
            Some(FileType::Directory) => {
                let directory = openat(&above, name, DIRECTORY, Mode::empty()).about(Step::Above, path)?;
                Ok(target(directory, None, true))
            }
            Some(_) if !replace => Err(Failure::new(Step::Exists, Errno::EXIST, path)),
            other => Ok(target(above, Some(name.to_owned()), other.is_some())),
        }
    }

    /// Whether something of this kind can be there.
    pub(super) fn fits(&self, directory: bool, path: &Path) -> Result<(), Failure> {
        match (self.occupied, self.name.is_none() == directory) {
            (true, false) => Err(Failure::new(Step::Kind, if directory { Errno::NOTDIR } else { Errno::ISDIR }, path)),
            _ => Ok(()),
        }
    }
}

/// What a name stands for; nothing if it is not there.
fn kind_of(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<Option<FileType>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) => Ok(Some(FileType::from_raw_mode(status.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Puts what is complete in its place.
pub(super) fn put(target: &Target, temporary: &OsStr, replace: bool) -> Result<(), Failure> {
    let directory = target.directory.as_fd();
    match &target.name {
        Some(name) => put_at(directory, temporary, (directory, name), replace).map_err(|errno| match errno {
            Errno::EXIST => Failure::new(Step::Exists, errno, &target.path),
            Errno::ISDIR | Errno::NOTDIR | Errno::NOTEMPTY => Failure::new(Step::Kind, errno, &target.path),
            errno => Failure::new(Step::Place, errno, &target.path),
        }),
        None => {
            let copy = openat(directory, temporary, DIRECTORY, Mode::empty()).about(Step::Place, &target.path)?;
            // All is looked at before the first thing is moved.
            let mut path = target.path.clone();
            merge(&copy, directory, &mut path, &mut |_, _| Ok(()), replace)?;
            merge(
                &copy,
                directory,
                &mut path,
                &mut |(from, to), name| put_at(from, name, (to, name), replace),
                replace,
            )?;
            clear(target, temporary, &|| ())
        }
    }
}

/// Gives it its name.
fn put_at(from: BorrowedFd<'_>, name: &OsStr, to: (BorrowedFd<'_>, &OsStr), replace: bool) -> rustix::io::Result<()> {
    if replace {
        return renameat(from, name, to.0, to.1);
    }
    match renameat_with(from, name, to.0, to.1, RenameFlags::NOREPLACE) {
        // The file system cannot tell.
        Err(Errno::INVAL) => match kind_of(to.0, to.1)? {
            Some(_) => Err(Errno::EXIST),
            None => renameat(from, name, to.0, to.1),
        },
        other => other,
    }
}

/// From where to where, and what.
type Move<'a> = dyn FnMut((BorrowedFd<'_>, BorrowedFd<'_>), &OsStr) -> rustix::io::Result<()> + 'a;

/// Goes through a directory, and through those in it that are directories at the same place, too. What is not there, or
/// is to be replaced, is given to `move_it`.
fn merge(
    from: &OwnedFd,
    to: BorrowedFd<'_>,
    path: &mut PathBuf,
    move_it: &mut Move<'_>,
    replace: bool,
) -> Result<(), Failure> {
    for name in names(from.as_fd()).about(Step::Place, path)? {
        path.push(&name);
        let ours = kind_of(from.as_fd(), &name).about(Step::Place, path)?;
        let theirs = kind_of(to, &name).about(Step::Place, path)?;
        match (ours, theirs) {
            (Some(FileType::Directory), Some(FileType::Directory)) => {
                let below = openat(from, &name, DIRECTORY, Mode::empty()).about(Step::Place, path)?;
                let there = openat(to, &name, DIRECTORY, Mode::empty()).about(Step::Place, path)?;
                let (one, other) = (device(&there).about(Step::Place, path)?, device(to).about(Step::Place, path)?);
                if one != other {
                    return Err(Failure::new(Step::Place, Errno::XDEV, &*path));
                }
                merge(&below, there.as_fd(), path, move_it, replace)?;
            }
            (Some(FileType::Directory), Some(_)) => return Err(Failure::new(Step::Kind, Errno::NOTDIR, &*path)),
            (_, Some(FileType::Directory)) => return Err(Failure::new(Step::Kind, Errno::ISDIR, &*path)),
            (_, Some(_)) if !replace => return Err(Failure::new(Step::Exists, Errno::EXIST, &*path)),
            _ => move_it((from.as_fd(), to), &name).map_err(|errno| match errno {
                Errno::EXIST => Failure::new(Step::Exists, errno, &*path),
                errno => Failure::new(Step::Place, errno, &*path),
            })?,
        }
        path.pop();
    }
    Ok(())
}

fn device(directory: impl AsFd) -> rustix::io::Result<u64> {
    Ok(rustix::fs::fstat(directory)?.st_dev)
}

fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes what was made under the temporary name. `life` is called on the way.
pub(super) fn clear(target: &Target, temporary: &OsStr, life: &dyn Fn()) -> Result<(), Failure> {
    let around = if target.name.is_some() { target.path.parent().unwrap_or(&target.path) } else { &target.path };
    let path = around.join(temporary);
    let removed = remove(target.directory.as_fd(), temporary, 2 * DEEPEST, life);
    removed.about(Step::Remove, &path)
}

/// Removes what somebody has left who was killed: beside the destination, or in it.
pub(super) fn clear_left(
    roots: &Roots,
    destination: &Path,
    temporary: &OsStr,
    reporter: &Reporter,
) -> Result<(), Failure> {
    let (above, name) = split(destination);
    let path = above.join(temporary);
    let above = match roots.directory(above) {
        // Nothing can be there.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
        other => other.about(Step::Remove, &path)?,
    };
    let life = || reporter.tell(&Report::Progress(Progress::default()));
    if let Ok(directory) = openat(&above, name, DIRECTORY, Mode::empty()) {
        remove(directory.as_fd(), temporary, 2 * DEEPEST, &life).about(Step::Remove, &path)?;
    }
    remove(above.as_fd(), temporary, 2 * DEEPEST, &life).about(Step::Remove, &path)
}

/// Removes a file or a directory with all that is in it, if it is there.
fn remove(directory: BorrowedFd<'_>, name: &OsStr, depth: usize, life: &dyn Fn()) -> rustix::io::Result<()> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        // What is read-only has nothing that we have made, as long as it has nothing.
        Err(errno) => return if kind_of(directory, name)?.is_none() { Ok(()) } else { Err(errno) },
    }
    // Deeper than it was made: somebody inside goes on with it.
    let depth = depth.checked_sub(1).ok_or(Errno::NOTEMPTY)?;
    let opened = openat(directory, name, DIRECTORY, Mode::empty())?;
    for below in names(opened.as_fd())? {
        remove(opened.as_fd(), &below, depth, life)?;
        life();
    }
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
