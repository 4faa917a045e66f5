//! A directory tree that holds an operating system, opened once and examined.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatVfsMountFlags, StatxAttributes, StatxFlags};
use rustix::io::Errno;

use crate::disk::Disk;

/// What a file system can do for copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// ext2, ext3 or ext4.
    Ext4,
    /// btrfs: snapshots and reflinks.
    Btrfs,
    /// XFS: reflinks, if made so.
    Xfs,
    /// tmpfs: in memory.
    Tmpfs,
    /// overlayfs: cannot be an upper layer.
    Overlay,
    /// squashfs: cannot be written.
    Squashfs,
    /// EROFS: cannot be written.
    Erofs,
    /// Anything else, by its magic number of [`statfs(2)`](https://man7.org/linux/man-pages/man2/statfs.2.html).
    Other(u64),
}

impl FileSystem {
    /// From the magic number.
    #[must_use]
    pub fn from_magic(magic: u64) -> Self {
        match magic {
            0xEF53 => Self::Ext4,
            0x9123_683E => Self::Btrfs,
            0x5846_5342 => Self::Xfs,
            0x0102_1994 => Self::Tmpfs,
            0x794C_7630 => Self::Overlay,
            0x7371_7368 => Self::Squashfs,
            0xE0F5_E1E2 => Self::Erofs,
            other => Self::Other(other),
        }
    }

    /// The file system that an open file is on.
    ///
    /// # Errors
    /// Those of `fstatfs(2)`.
    pub fn of(file: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        // The field's type differs between architectures; magic numbers are 32 bits wide.
        #[allow(clippy::unnecessary_cast)]
        let magic = rustix::fs::fstatfs(file)?.f_type as u64 & 0xffff_ffff;
        Ok(Self::from_magic(magic))
    }
}

/// Which file it is, whatever its path: the numbers that locks are named after and that are checked before deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl Identity {
    /// Of an open file, also one opened with `O_PATH`.
    ///
    /// # Errors
    /// Those of `fstat(2)`.
    pub fn of(file: BorrowedFd<'_>) -> rustix::io::Result<Self> {
        Ok(Self::from(&rustix::fs::fstat(file)?))
    }
}

impl From<&rustix::fs::Stat> for Identity {
    fn from(stat: &rustix::fs::Stat) -> Self {
        Self { device: stat.st_dev, inode: stat.st_ino }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.device, self.inode)
    }
}

/// An opened tree. All later work goes through the descriptor; the path is for people, for neighbours of the tree and
/// for the container's name.
#[derive(Debug)]
pub struct Tree {
    /// The root of the tree, opened with `O_PATH | O_DIRECTORY`.
    pub fd: OwnedFd,
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    /// Device and inode of the root directory.
    pub identity: Identity,
    /// Owner of the root directory.
    pub uid: u32,
    /// Group of the root directory.
    pub gid: u32,
    /// The file system it is on.
    pub fs: FileSystem,
    /// Whether it is the host's own `/`, by whatever path.
    pub is_host_root: bool,
    /// Whether something is mounted right there, so that its neighbours are on another mount.
    pub is_mount_point: bool,
    /// Whether it is the root of a btrfs subvolume.
    pub is_subvolume: bool,
    /// Whether it is not to be written: a read-only mount or subvolume, or a machine found by its name that is below `/usr` or
    /// marked read-only.
    pub read_only: bool,
    /// The disk image that it is in. The path is then the image's, and so is the identity.
    pub disk: Option<Box<Disk>>,
}

/// Why a path is no usable tree.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing.
    #[error("{path} does not exist; install a system there first, for example with \"redd bootstrap debian {path}\"", path = .0.display())]
    Missing(PathBuf),
    /// It is a file or the like.
    #[error("{path} is not a directory; a directory tree is needed here", path = .0.display())]
    NotADirectory(PathBuf),
    /// A directory without anything in it.
    #[error("{path} is empty; install a system there first, for example with \"redd bootstrap debian {path}\"", path = .0.display())]
    Empty(PathBuf),
    /// Neither `usr` nor `bin` is a directory in it.
    #[error("{path} does not look like an operating system tree: it has neither usr nor bin; check the path, or install a system there again", path = .0.display())]
    Half(PathBuf),
    /// The kernel refused to look.
    #[error("cannot open {path}", path = .path.display())]
    Open {
        /// What was opened.
        path: PathBuf,
        /// The kernel's answer.
        source: Errno,
    },
}

impl Tree {
    /// Opens and examines the tree at `path`, following symbolic links on the way (the path is the caller's, not the
    /// container's).
    ///
    /// # Errors
    /// [`Error`], one for each way in which the path is no tree.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let tree = Self::open_any(path)?;
        if has_directory(&tree.fd, "usr") || has_directory(&tree.fd, "bin") {
            return Ok(tree);
        }
        let empty = is_empty(&tree.fd).map_err(|source| Error::Open { path: tree.path.clone(), source })?;
        Err(if empty { Error::Empty(tree.path) } else { Error::Half(tree.path) })
    }

    /// Opens and examines a directory, whatever is in it.
    ///
    /// # Errors
    /// As [`Tree::open`], without [`Error::Empty`] and [`Error::Half`].
    pub fn open_any(path: &Path) -> Result<Self, Error> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|source| match source {
            Errno::NOENT => Error::Missing(path.to_owned()),
            Errno::NOTDIR => Error::NotADirectory(path.to_owned()),
            source => Error::Open { path: path.to_owned(), source },
        })?;
        Self::examine(fd, path).map_err(|source| Error::Open { path: path.to_owned(), source })
    }

    fn examine(fd: OwnedFd, path: &Path) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(&fd)?;
        let identity = Identity::from(&stat);
        let fs = FileSystem::of(fd.as_fd())?;
        let is_mount_point = is_mount_point(&fd)?;
        let root = rustix::fs::statat(CWD, "/", AtFlags::empty())?;
        let is_subvolume = fs == FileSystem::Btrfs && stat.st_ino == sys::btrfs::SUBVOLUME_ROOT_INODE;
        let flags = rustix::fs::fstatvfs(&fd)?.f_flag;
        let read_only = flags.contains(StatVfsMountFlags::RDONLY)
            || (is_subvolume && sys::btrfs::is_read_only(reopen(&fd)?.as_fd()).unwrap_or(false));
        Ok(Self {
            path: canonical(&fd, path)?,
            identity,
            uid: stat.st_uid,
            gid: stat.st_gid,
            fs,
            is_host_root: identity == Identity::from(&root),
            is_mount_point,
            is_subvolume,
            read_only,
            disk: None,
            fd,
        })
    }

    /// The root of a disk image; `fd` is its detached mount.
    ///
    /// # Errors
    /// Those of looking at it.
    pub fn of_image(fd: OwnedFd, disk: Disk) -> rustix::io::Result<Self> {
        let stat = rustix::fs::fstat(&fd)?;
        let read_only = rustix::fs::fstatvfs(&fd)?.f_flag.contains(StatVfsMountFlags::RDONLY);
        Ok(Self {
            path: disk.path().to_owned(),
            identity: disk.identity(),
            uid: stat.st_uid,
            gid: stat.st_gid,
            fs: FileSystem::of(fd.as_fd())?,
            is_host_root: false,
            is_mount_point: false,
            is_subvolume: false,
            read_only,
            disk: Some(Box::new(disk)),
            fd,
        })
    }

    /// The root opened for reading, as directory listings and ioctls need it.
    ///
    /// # Errors
    /// Those of `openat(2)`.
    pub fn reopen(&self) -> rustix::io::Result<OwnedFd> {
        reopen(&self.fd)
    }
}

fn reopen(fd: &OwnedFd) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(fd, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn is_mount_point(fd: &OwnedFd) -> rustix::io::Result<bool> {
    let statx = rustix::fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)?;
    Ok(statx.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// The path without symbolic links, as the kernel tells it for the open directory.
fn canonical(fd: &OwnedFd, path: &Path) -> rustix::io::Result<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .or_else(|_| std::fs::canonicalize(path))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn has_directory(root: &OwnedFd, name: &str) -> bool {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    sys::open::openat2(root, name, flags, Mode::empty(), resolve).is_ok()
}

fn is_empty(root: &OwnedFd) -> rustix::io::Result<bool> {
    let directory = reopen(root)?;
    for entry in rustix::fs::Dir::new(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
