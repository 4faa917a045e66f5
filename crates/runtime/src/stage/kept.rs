//! What paths of the host led to when the container was started, for its next starts: between two of them the container may
//! have changed a directory above, where that is bound into it, so that the path leads elsewhere.
//!
//! A detached mount keeps what was found, and does not keep the host from unmounting where it was found. What the host
//! mounts below meanwhile does not reach it. So the path is looked up again, and what it leads to is taken if it is the same
//! as at first; the detached mount is for when it is not.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use plan::SourceNumber;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::files::{About, Failure};
use super::launch::detached;

/// The mount's number that is not used again for another one (`STATX_MNT_ID_UNIQUE`, since Linux 6.8; older kernels give
/// the other number, and pass over this flag).
const UNIQUE_MOUNT: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// The sources that were taken at the first start.
#[derive(Debug, Default)]
pub struct Kept {
    sources: Vec<Source>,
}

#[derive(Debug)]
struct Source {
    number: SourceNumber,
    place: Place,
    mount: OwnedFd,
}

/// A file in a mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    mount: u64,
    device: (u32, u32),
    inode: u64,
}

impl Place {
    fn of(file: &OwnedFd) -> rustix::io::Result<Self> {
        let status = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::MNT_ID | UNIQUE_MOUNT)?;
        let device = (status.stx_dev_major, status.stx_dev_minor);
        Ok(Self { mount: status.stx_mnt_id, device, inode: status.stx_ino })
    }
}

impl Kept {
    /// A detached mount of what the path leads to, or led to when it was taken first.
    ///
    /// # Errors
    /// Those of open_tree(2); `ESTALE` where the path leads elsewhere and the kernel cannot take a mount of a detached one.
    pub(super) fn take(&mut self, number: SourceNumber, path: &Path, recursive: bool) -> Result<OwnedFd, Failure> {
        let found = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
        if is_of_the_host_alone(number) {
            return detached(found.about(path.display())?.as_fd(), recursive).about(path.display());
        }
        if let Some(kept) = self.sources.iter().find(|source| source.number == number) {
            if let Ok(found) = found
                && Place::of(&found) == Ok(kept.place)
            {
                return detached(found.as_fd(), recursive).about(path.display());
            }
            return detached(kept.mount.as_fd(), recursive).map_err(|errno| match errno {
                // Before Linux 6.15 only what is mounted can be taken.
                Errno::INVAL => Failure { errno: Errno::STALE, detail: format!("{} has changed", path.display()) },
                errno => Failure { errno, detail: path.display().to_string() },
            });
        }
        let found = found.about(path.display())?;
        let place = Place::of(&found).about(path.display())?;
        let mount = detached(found.as_fd(), recursive).about(path.display())?;
        self.sources.push(Source { number, place, mount });
        detached(found.as_fd(), recursive).about(path.display())
    }
}

/// Files of the host's configuration at fixed paths, where the next start is to find what is there then.
fn is_of_the_host_alone(number: SourceNumber) -> bool {
    matches!(number, SourceNumber::OsRelease | SourceNumber::ResolvConf | SourceNumber::Localtime)
}
