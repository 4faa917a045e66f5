//! Gives all files of a tree to the ids of another range (`--private-users-ownership=chown`).
//!
//! The upper 16 bits of each id become those of the range, the lower 16 bits stay (systemd-nspawn(1),
//! `--private-users=`): owners, access lists, and the ids in file capabilities. Set-user-id bits and capabilities, which
//! the kernel takes away with a change of owners, are put back.
//!
//! It can be killed at any moment and begun anew. While it is at work the root directory belongs to ids that nobody
//! has, the same ones as with systemd-nspawn, so that a tree half way is known as such; it gets its own ids last. What a
//! file is about to lose is written into an attribute of it before.
//!
//! The tree is hostile: the work is done on a mount of the tree alone, which has no mounts in it, by name in opened
//! directories, and on descriptors that no link leads away from.

mod entry;
mod file_capability;
mod walk;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{Gid, IFlags, Mode, OFlags, Uid, openat};
use rustix::io::Errno;
use rustix::mount::OpenTreeFlags;
use sys::mount::{Change, Propagation, set_attributes};

/// The ids of the root directory of a tree half way, in their upper 16 bits.
const BUSY: u32 = 0xfffe_0000;
const LOWER: u32 = 0xffff;

/// Whether the owner of a tree's root directory says that a change of its owners has not come to its end.
#[must_use]
pub const fn is_half_way(owner: u32) -> bool {
    owner & !LOWER == BUSY
}

/// Is told how many files have been looked at, and says whether to go on.
pub type Observer<'a> = &'a mut dyn FnMut(u64) -> bool;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files, directories and all else; one with several names counts as often.
    pub entries: u64,
    /// Of these, files in read-only subvolumes, and directories there with all that is in them: their owners stay.
    pub read_only: u64,
    /// Files with capabilities that the kernel does not take any more.
    pub lost: u64,
}

/// Why it was not done. The tree is half way then, and can be gone on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The observer said so.
    #[error("the change of owners was interrupted; the next start with the same options goes on with it")]
    Interrupted,
    /// The base is none.
    #[error("ids from {0} on are no range whose upper 16 bits tell it")]
    Base(u32),
    /// The first id of the tree while it is half way is none here.
    #[error(
        "the owners of files cannot be changed here: this user namespace has not all ids; use \
         --private-users-ownership=map"
    )]
    NotMapped,
    /// Something is marked, so that nobody changes it.
    #[error(
        "cannot change the owner of {path} of the tree, which is marked {mark}; take that away with \"chattr -{letter}\" \
         and start again", path = .path.display(), mark = .mark.name(), letter = .mark.letter()
    )]
    Marked {
        /// Relative to the tree.
        path: PathBuf,
        /// How.
        mark: Mark,
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

/// A flag of a file that keeps its owner, see ioctl_iflags(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing of it can be changed.
    Immutable,
    /// It can be written to at its end alone.
    AppendOnly,
}

impl Mark {
    /// That of a file, if it is open for reading.
    fn of(file: BorrowedFd<'_>) -> Option<Self> {
        let flags = rustix::fs::ioctl_getflags(file).ok()?;
        let immutable = flags.contains(IFlags::IMMUTABLE).then_some(Self::Immutable);
        immutable.or(flags.contains(IFlags::APPEND).then_some(Self::AppendOnly))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Immutable => "immutable",
            Self::AppendOnly => "append-only",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Immutable => 'i',
            Self::AppendOnly => 'a',
        }
    }
}

/// Gives the tree to the 65536 ids that begin with `base`. `observe` is asked ten times a second; the work is done by
/// threads, one for each processor, which are gone when this returns.
///
/// # Errors
/// [`Error`]; after most the tree is half way.
pub fn tree(root: BorrowedFd<'_>, base: u32, observe: Observer<'_>) -> Result<Report, Error> {
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get().min(8));
    tree_by(root, base, workers, observe)
}

fn tree_by(root: BorrowedFd<'_>, base: u32, workers: usize, observe: Observer<'_>) -> Result<Report, Error> {
    if base & LOWER != 0 || base >= BUSY {
        return Err(Error::Base(base));
    }
    let error = |what| move |source| Error::System { what, path: PathBuf::from("."), source };
    let root = alone(root).map_err(error("open the root"))?;
    let status = rustix::fs::fstat(&root).map_err(error("examine the root"))?;
    let (uid, gid) = (status.st_uid & LOWER, status.st_gid & LOWER);
    let own =
        |upper: u32| rustix::fs::fchown(&root, Some(Uid::from_raw(upper | uid)), Some(Gid::from_raw(upper | gid)));
    own(BUSY).map_err(|errno| match (errno, Mark::of(root.as_fd())) {
        (Errno::PERM, Some(mark)) => Error::Marked { path: PathBuf::from("."), mark },
        (Errno::INVAL, _) => Error::NotMapped,
        _ => error("change the owner of the root")(errno),
    })?;
    let from = rustix::io::dup(&root).map_err(error("open the root"))?;
    let report = walk::run(from, base, workers, observe)?;
    entry::lists(root.as_fd(), base).map_err(error("change the access list of the root"))?;
    own(base).map_err(error("change the owner of the root"))?;
    Ok(report)
}

/// The tree without what is mounted in it.
fn alone(root: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    use OpenTreeFlags as Flags;
    let flags = Flags::OPEN_TREE_CLONE | Flags::OPEN_TREE_CLOEXEC | Flags::AT_EMPTY_PATH;
    let mount = rustix::mount::open_tree(root, "", flags)?;
    // Nor does anything appear in it that is mounted meanwhile.
    set_attributes(mount.as_fd(), &Change { propagation: Some(Propagation::Private), ..Change::default() })?;
    openat(&mount, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
