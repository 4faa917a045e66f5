//! The new mount API, as far as rustix lacks it:
//! [`mount_setattr(2)`](https://man7.org/linux/man-pages/man2/mount_setattr.2.html).

use std::ops::BitOr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Result;

use crate::clone::last_errno;

/// Attributes of one mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(u64);

impl Attributes {
    /// None.
    pub const NONE: Self = Self(0);
    /// No writing through this mount.
    pub const READ_ONLY: Self = Self(libc::MOUNT_ATTR_RDONLY);
    /// Set-user-id bits and file capabilities have no effect.
    pub const NO_SUID: Self = Self(libc::MOUNT_ATTR_NOSUID);
    /// Device nodes cannot be opened.
    pub const NO_DEV: Self = Self(libc::MOUNT_ATTR_NODEV);
    /// Nothing can be executed.
    pub const NO_EXEC: Self = Self(libc::MOUNT_ATTR_NOEXEC);
    /// Symbolic links are not followed.
    pub const NO_SYMFOLLOW: Self = Self(libc::MOUNT_ATTR_NOSYMFOLLOW);
    /// Access times are always written.
    pub const STRICT_ATIME: Self = Self(libc::MOUNT_ATTR_STRICTATIME);
    /// Access times are never written.
    pub const NO_ATIME: Self = Self(libc::MOUNT_ATTR_NOATIME);
    /// Access times of directories are never written.
    pub const NO_DIRATIME: Self = Self(libc::MOUNT_ATTR_NODIRATIME);

    /// All that is said of access times; cleared, they are written where they are old.
    pub const ACCESS_TIMES: Self = Self(libc::MOUNT_ATTR__ATIME);

    /// The bits as the kernel takes them.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Both sets together, in constants.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in the set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Attributes {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.with(other)
    }
}

/// Whom mounts and unmounts at a mount are passed on to, see
/// [`mount_namespaces(7)`](https://man7.org/linux/man-pages/man7/mount_namespaces.7.html).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Nobody, in neither direction.
    Private,
    /// It receives, and passes nothing on.
    Slave,
    /// Both directions.
    Shared,
}

/// A change to a mount, or to all mounts of a tree.
#[derive(Clone, Copy, Debug, Default)]
pub struct Change<'a> {
    /// Attributes to set.
    pub set: Attributes,
    /// Attributes to clear.
    pub clear: Attributes,
    /// The new propagation.
    pub propagation: Option<Propagation>,
    /// Map ids as this user namespace does; the mount must not have been attached yet.
    pub idmap: Option<BorrowedFd<'a>>,
    /// All mounts below it too.
    pub recursive: bool,
}

impl Change<'_> {
    fn as_kernel_has_it(&self) -> libc::mount_attr {
        let mut attr = libc::mount_attr {
            attr_set: self.set.0,
            attr_clr: self.clear.0,
            propagation: match self.propagation {
                None => 0,
                Some(Propagation::Private) => libc::MS_PRIVATE,
                Some(Propagation::Slave) => libc::MS_SLAVE,
                Some(Propagation::Shared) => libc::MS_SHARED,
            },
            userns_fd: 0,
        };
        if attr.attr_set & (libc::MOUNT_ATTR_STRICTATIME | libc::MOUNT_ATTR_NOATIME) != 0 {
            attr.attr_clr |= libc::MOUNT_ATTR__ATIME;
        }
        if let Some(namespace) = self.idmap {
            attr.attr_set |= libc::MOUNT_ATTR_IDMAP;
            attr.userns_fd = namespace.as_raw_fd() as u64;
        }
        attr
    }
}

/// Changes the mount that `mount` refers to.
///
/// # Errors
/// Those of [`mount_setattr(2)`](https://man7.org/linux/man-pages/man2/mount_setattr.2.html); with `idmap`, `EINVAL`
/// means that the file system cannot map ids.
pub fn set_attributes(mount: BorrowedFd<'_>, change: &Change<'_>) -> Result<()> {
    let mut attr = change.as_kernel_has_it();
    let recursive = if change.recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a NUL-terminated empty string, the structure lives across the call and has the size passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw mut attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

/// The number of open_tree_attr(2), the same on every architecture that this builds for.
const OPEN_TREE_ATTR: libc::c_long = 467;

/// A detached copy of the mount that `mount` refers to, with the change made to it. Unlike [`set_attributes`] it can map
/// the ids of a mount otherwise that maps ids already.
///
/// # Errors
/// Those of open_tree(2) and [`mount_setattr(2)`](https://man7.org/linux/man-pages/man2/mount_setattr.2.html); `ENOSYS`
/// before Linux 6.15.
pub fn copy_with_attributes(mount: BorrowedFd<'_>, change: &Change<'_>) -> Result<OwnedFd> {
    let mut attr = change.as_kernel_has_it();
    let recursive = if change.recursive { libc::AT_RECURSIVE as libc::c_uint } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_EMPTY_PATH as libc::c_uint | recursive;
    // SAFETY: the path is a NUL-terminated empty string, the structure lives across the call and has the size passed.
    let result = unsafe {
        libc::syscall(
            OPEN_TREE_ATTR,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            &raw mut attr,
            size_of::<libc::mount_attr>(),
        )
    };
    if result < 0 {
        return Err(last_errno());
    }
    let fd = i32::try_from(result).map_err(|_| rustix::io::Errno::OVERFLOW)?;
    // SAFETY: the kernel has just made the descriptor, and nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
