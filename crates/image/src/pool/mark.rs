//! Images that are not to be written to.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{CWD, FileType, IFlags, Mode, OFlags, fchmod, openat};
use rustix::io::Errno;

use super::{Error, Image, Kind, Pool, failed, hold};
use crate::tree::Tree;

impl Pool {
    /// Makes an image read-only, or writable again: a subvolume by its property, a directory by the flag "immutable" of its
    /// root, a disk image by its permissions, a block device by what the kernel keeps of it until the next boot.
    ///
    /// # Errors
    /// [`Error`].
    pub fn mark_read_only(&self, image: &Image, read_only: bool) -> Result<(), Error> {
        image.refuse_protected()?;
        let _held = hold::Held::exclusively(self, image)?;
        self.mark(image, read_only)
    }

    /// The same for one who holds it.
    fn mark(&self, image: &Image, read_only: bool) -> Result<(), Error> {
        let error = || failed(if read_only { "make read-only" } else { "make writable" }, &image.path);
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat(CWD, &image.path, flags, Mode::empty()).map_err(error())?;
        match image.kind {
            Kind::Subvolume => sys::btrfs::set_read_only(opened.as_fd(), read_only).map_err(error()),
            Kind::Directory => {
                if Tree::open_any(&image.path)?.is_host_root {
                    return Err(Error::Protected { name: super::HOST.to_owned() });
                }
                let set = rustix::fs::ioctl_getflags(&opened).and_then(|flags| {
                    let wanted = if read_only { flags | IFlags::IMMUTABLE } else { flags - IFlags::IMMUTABLE };
                    if wanted == flags { Ok(()) } else { rustix::fs::ioctl_setflags(&opened, wanted) }
                });
                set.map_err(|source| match source {
                    Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL => unsupported(&image.name, image.kind),
                    source => error()(source),
                })
            }
            Kind::Raw => {
                let status = rustix::fs::fstat(&opened).map_err(error())?;
                let writable = if read_only { 0 } else { 0o200 };
                fchmod(&opened, Mode::from_raw_mode(status.st_mode & 0o7555 | writable)).map_err(error())
            }
            Kind::Block => sys::grow::set_device_read_only(opened.as_fd(), read_only).map_err(error()),
        }
    }
}

/// Why a directory cannot be marked.
pub(super) fn unsupported(name: &str, kind: Kind) -> Error {
    Error::Unsupported {
        name: name.to_owned(),
        kind,
        problem: "its file system has no flag \"immutable\", by which directories are marked read-only",
    }
}

/// What keeps a tree from being renamed or moved elsewhere, lifted while this lives.
pub(super) struct Lifted(Option<(OwnedFd, Protection)>);

/// How a tree is marked.
enum Protection {
    /// The flags of a directory, "immutable" among them.
    Flags(IFlags),
    /// A subvolume is read-only: it can be renamed, but not moved.
    Subvolume,
}

impl Lifted {
    /// Lifts it from what is there, if it is a directory that has it. Symbolic links have none.
    pub(super) fn lift(at: &OwnedFd, file: &OsStr) -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(directory) = openat(at, file, flags, Mode::empty()) else { return Self(None) };
        let is_directory =
            rustix::fs::fstat(&directory).is_ok_and(|status| FileType::from_raw_mode(status.st_mode).is_dir());
        let Ok(flags) = rustix::fs::ioctl_getflags(&directory) else { return Self(None) };
        if !is_directory || !flags.contains(IFlags::IMMUTABLE) {
            return Self(None);
        }
        // Best effort: if it does not help, what follows says why.
        let lifted = rustix::fs::ioctl_setflags(&directory, flags - IFlags::IMMUTABLE);
        Self(lifted.is_ok().then_some((directory, Protection::Flags(flags))))
    }

    /// The same for what is moved to another directory, which a read-only subvolume cannot be.
    pub(super) fn lift_to_move(at: &OwnedFd, file: &OsStr) -> Self {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(subvolume) = openat(at, file, flags, Mode::empty()) else { return Self(None) };
        if !sys::btrfs::is_read_only(subvolume.as_fd()).unwrap_or(false) {
            return Self::lift(at, file);
        }
        // As above.
        let lifted = sys::btrfs::set_read_only(subvolume.as_fd(), false);
        Self(lifted.is_ok().then_some((subvolume, Protection::Subvolume)))
    }

    /// Puts it back.
    pub(super) fn restore(self) {
        // It was taken away a moment ago by the same caller, so it can be set.
        let _ = match self.0 {
            Some((directory, Protection::Flags(flags))) => rustix::fs::ioctl_setflags(&directory, flags),
            Some((subvolume, Protection::Subvolume)) => sys::btrfs::set_read_only(subvolume.as_fd(), true),
            None => Ok(()),
        };
    }
}
