//! `--ephemeral`: a copy of the tree that lives as long as the container, made in constant time wherever that is right.
//!
//! A btrfs subvolume is snapshotted. Anything else is the lower layer of an overlay whose upper layer is a directory
//! beside the tree; where none fits there, one in `/var/tmp`; where none fits there either, one in memory. A tree that
//! somebody writes to cannot be a lower layer, because overlayfs is undefined when that changes, and is copied.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, StatVfsMountFlags, mkdirat, openat};
use rustix::io::Errno;

use crate::holder::{self, Holder, Purpose};
use crate::tree::FileSystem;
use crate::{RunDirectory, Tree, copy, lock, remove, snapshot};

/// Where a copy's directory is made if it cannot be beside the tree.
const ELSEWHERE: &str = "/var/tmp";

/// Why no copy can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The directory for it.
    #[error(transparent)]
    Holder(#[from] holder::Error),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] snapshot::Error),
    /// The faithful copy.
    #[error(transparent)]
    Copy(#[from] copy::Error),
    /// The kernel said no.
    #[error("cannot {what} {path}", path = .path.display())]
    System {
        /// Which step.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
}

/// How the copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A btrfs snapshot.
    Snapshot,
    /// An overlay, whose upper layer is on disk.
    Overlay,
    /// An overlay, whose upper layer is in memory; nothing of it is here.
    Memory,
    /// File by file.
    Copy,
}

/// What fits this tree now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// How.
    pub kind: Kind,
    /// The directory in which the copy's own is made.
    pub place: PathBuf,
    /// What a person should know about it, as a sentence.
    pub notice: Option<String>,
}

/// Looks what fits; changes nothing.
///
/// # Errors
/// Those of looking at locks.
pub fn choose(run: &RunDirectory, tree: &Tree) -> Result<Choice, lock::Error> {
    // What is beside a block device is no disk.
    let is_device = tree.disk.as_ref().is_some_and(|disk| disk.is_block_device());
    let beside = tree.path.parent().filter(|_| !tree.is_mount_point && !tree.is_host_root && !is_device);
    if tree.is_subvolume
        && let Some(place) = beside.filter(|place| is_writable_on(place, tree))
    {
        return Ok(Choice { kind: Kind::Snapshot, place: place.to_owned(), notice: None });
    }
    let shown = tree.path.display();
    let near = beside
        .ok_or(if is_device { "it is a block device" } else { "it is a mount point" })
        .and_then(|place| fits(place).map(|()| place));
    let far = Path::new(ELSEWHERE);
    let written = !tree.is_host_root && lock::is_written(run, tree)?;
    let (place, notice) = match near {
        Ok(place) => (Some(place), None),
        Err(why) if fits(far).is_ok() => (
            Some(far),
            // Beside the host's own root and devices there is nothing, which surprises nobody.
            (!tree.is_host_root && !is_device)
                .then(|| format!("The changes to {shown} are kept in {ELSEWHERE} while it runs, because {why}.")),
        ),
        Err(why) => (None, Some(format!("The changes to {shown} are kept in memory while it runs, because {why}."))),
    };
    let place = match (place, written) {
        (Some(place), _) => place,
        (None, true) => far,
        (None, false) => return Ok(Choice { kind: Kind::Memory, place: PathBuf::new(), notice }),
    };
    if written {
        let notice = format!("{shown} is in use by a container that writes to it, so all of it is copied.");
        return Ok(Choice { kind: Kind::Copy, place: place.to_owned(), notice: Some(notice) });
    }
    Ok(Choice { kind: Kind::Overlay, place: place.to_owned(), notice })
}

/// Whether an upper layer can be on the file system of a directory; if not, why.
fn fits(place: &Path) -> Result<(), &'static str> {
    let fd = open(place).map_err(|_| "the directory beside it cannot be opened")?;
    match FileSystem::of(fd.as_fd()) {
        Ok(FileSystem::Ext4 | FileSystem::Btrfs | FileSystem::Xfs | FileSystem::Tmpfs) => {}
        Ok(FileSystem::Overlay) => return Err("the file system beside it is an overlay itself"),
        _ => return Err("the file system beside it cannot hold an upper layer"),
    }
    let flags = rustix::fs::fstatvfs(&fd).map_err(|_| "the file system beside it cannot be examined")?.f_flag;
    if flags.contains(StatVfsMountFlags::RDONLY) {
        return Err("the directory beside it is read-only");
    }
    Ok(())
}

fn open(place: &Path) -> rustix::io::Result<std::os::fd::OwnedFd> {
    rustix::fs::open(place, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// A subvolume's neighbours are on another device, but in the same file system if that of their statfs(2) is.
fn is_writable_on(place: &Path, tree: &Tree) -> bool {
    let same = || -> rustix::io::Result<bool> {
        let (there, here) = (rustix::fs::statvfs(place)?, rustix::fs::fstatvfs(&tree.fd)?);
        let btrfs = FileSystem::of(open(place)?.as_fd())? == FileSystem::Btrfs;
        Ok(btrfs && there.f_blocks == here.f_blocks && !there.f_flag.contains(StatVfsMountFlags::RDONLY))
    };
    same().unwrap_or(false)
}

/// A copy, and the directory that it is in.
#[derive(Debug)]
pub struct Ephemeral {
    kind: Kind,
    holder: Holder,
    /// The directory of the layers, where it is not the holder itself.
    layers: Option<OwnedFd>,
    /// The copy's root, where it is a tree of its own.
    tree: Option<Tree>,
}

impl Ephemeral {
    /// The directory of the layers `upper` and `work`, and its path, if it is an overlay.
    #[must_use]
    pub fn layers(&self) -> Option<(BorrowedFd<'_>, &Path)> {
        let directory = self.layers.as_ref().map_or_else(|| self.holder.fd(), AsFd::as_fd);
        (self.kind == Kind::Overlay).then(|| (directory, self.holder.path()))
    }

    /// The copy, if it is a tree of its own.
    #[must_use]
    pub fn tree(&self) -> Option<&Tree> {
        self.tree.as_ref()
    }

    /// Removes it.
    ///
    /// # Errors
    /// The first thing that stays.
    pub fn remove(self) -> Result<(), remove::Error> {
        self.holder.remove()
    }
}

/// Makes the copy as chosen. `observe` is asked meanwhile whether to go on, if it takes long.
///
/// # Errors
/// [`Error`]; nothing is left then.
pub fn prepare(
    tree: &Tree,
    machine: &str,
    (kind, place): (Kind, &Path),
    observe: copy::Observer<'_>,
) -> Result<Option<Ephemeral>, Error> {
    if kind == Kind::Memory {
        return Ok(None);
    }
    let holder = Holder::create(place, machine, Purpose::Copy)?;
    match fill(tree, kind, &holder, observe) {
        Ok((layers, tree)) => Ok(Some(Ephemeral { kind, holder, layers, tree })),
        Err(error) => {
            // The first error is the one to tell; what stays is found again by its name.
            let _ = holder.remove();
            Err(error)
        }
    }
}

fn fill(
    tree: &Tree,
    kind: Kind,
    holder: &Holder,
    observe: copy::Observer<'_>,
) -> Result<(Option<OwnedFd>, Option<Tree>), Error> {
    let path = holder.path().join("root");
    let error = |what| move |source| Error::System { what, path: holder.path().to_owned(), source };
    match kind {
        Kind::Overlay => {
            let layers = layers(tree, holder.fd()).map_err(error("make the layers in"))?;
            return Ok((layers, None));
        }
        Kind::Memory => return Ok((None, None)),
        Kind::Snapshot => snapshot::take(tree, holder.fd(), "root".as_ref())?,
        Kind::Copy => {
            copy::directory(tree, holder.fd(), "root".as_ref(), observe)?;
        }
    }
    let copied = Tree::open_any(&path).map_err(|_| error("open the copy in")(Errno::NOENT))?;
    Ok((None, Some(copied)))
}

/// Makes the layers. Where the tree's files belong to the ids of a container's users, its root must be able to reach
/// them, so they are in a directory of its own then, inside the holder that only the host's root can reach.
fn layers(tree: &Tree, holder: BorrowedFd<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let (uid, gid) = (rustix::fs::Uid::from_raw(tree.uid), rustix::fs::Gid::from_raw(tree.gid));
    let own = if tree.uid == 0 {
        None
    } else {
        mkdirat(holder, "layers", Mode::RWXU)?;
        let directory = openat(holder, "layers", flags, Mode::empty())?;
        rustix::fs::fchown(&directory, Some(uid), Some(gid))?;
        Some(directory)
    };
    let holder = own.as_ref().map_or(holder, AsFd::as_fd);
    mkdirat(holder, "upper", Mode::RWXU)?;
    let upper = openat(holder, "upper", flags, Mode::empty())?;
    // The root directory of an overlay is that of its upper layer.
    copy::attributes_of_root(tree.fd.as_fd(), upper.as_fd(), 0)?;
    mkdirat(holder, "work", Mode::RWXU)?;
    if tree.uid != 0 || tree.gid != 0 {
        rustix::fs::chownat(holder, "work", Some(uid), Some(gid), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(own)
}
