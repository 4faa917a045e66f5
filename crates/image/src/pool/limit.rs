//! How much space images take and may take.

use std::os::fd::AsFd;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::{Error, Image, Kind, Pool, UNKNOWN, failed};
use crate::tree::FileSystem;

/// What all images take together, in bytes; [`UNKNOWN`] where nobody counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What they take.
    pub usage: u64,
    /// What they may take.
    pub limit: u64,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Pool {
    /// Limits the space of an image, in bytes; none takes the limit away. A running machine meets it at once.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for all but subvolumes, [`Error::System`] where quotas are not in use.
    pub fn set_limit(&self, image: &Image, limit: Option<u64>) -> Result<(), Error> {
        image.refuse_protected()?;
        if image.kind != Kind::Subvolume {
            return Err(Error::Unsupported {
                name: image.name.clone(),
                kind: image.kind,
                problem: "only btrfs subvolumes can be limited; on btrfs a clone of it is one",
            });
        }
        let opened = openat(CWD, &image.path, DIRECTORY, Mode::empty()).map_err(failed("open", &image.path))?;
        let subvolume = sys::btrfs_subvolume::information(opened.as_fd()).map_err(failed("examine", &image.path))?;
        let set = sys::btrfs_subvolume::set_limit(opened.as_fd(), subvolume.id, limit);
        set.map_err(|source| match source {
            Errno::NOTCONN | Errno::NOENT | Errno::INVAL => Error::Unsupported {
                name: image.name.clone(),
                kind: image.kind,
                problem: "its file system does not count; a limit for all images ('set-limit BYTES') begins with that",
            },
            source => failed("limit", &image.path)(source),
        })
    }

    /// Limits the space of all images in [`Pool::path`] together, and begins to count it if nobody does yet. Subvolumes are counted
    /// that are there now, and those that are cloned later.
    ///
    /// # Errors
    /// [`Error::NotBtrfs`], [`Error::System`].
    pub fn set_pool_limit(&self, limit: Option<u64>) -> Result<(), Error> {
        let path = self.path();
        let opened = openat(CWD, path, DIRECTORY, Mode::empty()).map_err(failed("open", path))?;
        if FileSystem::of(opened.as_fd()) != Ok(FileSystem::Btrfs) {
            return Err(Error::NotBtrfs(path.to_owned()));
        }
        let subvolume = sys::btrfs_subvolume::information(opened.as_fd()).map_err(failed("examine", path))?;
        sys::btrfs_subvolume::enable_quotas(opened.as_fd()).map_err(failed("count the space of", path))?;
        sys::btrfs_subvolume::count_together(opened.as_fd(), subvolume.id)
            .map_err(failed("count the space of", path))?;
        for image in super::image::all_in(path)? {
            self.count(&image)?;
        }
        let counted = sys::btrfs_subvolume::count_anew(opened.as_fd())
            .and_then(|()| sys::btrfs_subvolume::await_count(opened.as_fd()));
        counted.map_err(failed("count the space of", path))?;
        sys::btrfs_subvolume::set_limit(opened.as_fd(), subvolume.id, limit).map_err(failed("limit", path))
    }

    /// Counts a new image with all others, if they are counted together. It is not waited for that.
    pub(super) fn count_new(&self, image: &Image) -> Result<(), Error> {
        if !self.count(image)? {
            return Ok(());
        }
        let opened = openat(CWD, &image.path, DIRECTORY, Mode::empty()).map_err(failed("open", &image.path))?;
        sys::btrfs_subvolume::count_anew(opened.as_fd()).map_err(failed("count the space of", &image.path))
    }

    /// Counts an image with all others of [`Pool::path`], if they are counted together and it is a subvolume there; false if not.
    fn count(&self, image: &Image) -> Result<bool, Error> {
        if image.kind != Kind::Subvolume || image.path.parent() != Some(self.path()) {
            return Ok(false);
        }
        let open = |path: &std::path::Path| openat(CWD, path, DIRECTORY, Mode::empty()).map_err(failed("open", path));
        let number = |opened: &std::os::fd::OwnedFd, path| {
            let subvolume = sys::btrfs_subvolume::information(opened.as_fd());
            subvolume.map(|subvolume| subvolume.id).map_err(failed("examine", path))
        };
        let (pool, own) = (open(self.path())?, open(&image.path)?);
        let (whole, id) = (number(&pool, self.path())?, number(&own, &image.path)?);
        if !sys::btrfs_subvolume::is_counted_together(pool.as_fd(), whole) {
            return Ok(false);
        }
        let added = sys::btrfs_subvolume::count_in(pool.as_fd(), id, whole);
        added.map(|()| true).map_err(failed("count the space of", &image.path))
    }

    /// What all images in [`Pool::path`] take together, where that is on btrfs with quotas.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let quota = openat(CWD, self.path(), DIRECTORY, Mode::empty()).ok().and_then(|opened| {
            let subvolume = sys::btrfs_subvolume::information(opened.as_fd()).ok()?;
            sys::btrfs_subvolume::quota(opened.as_fd(), subvolume.id).ok()?
        });
        Usage {
            usage: quota.map_or(UNKNOWN, |quota| quota.referenced),
            limit: quota.and_then(|quota| quota.referenced_limit).unwrap_or(UNKNOWN),
        }
    }
}
