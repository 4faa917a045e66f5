//! One image, and how it is found.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, IFlags, Mode, OFlags, StatVfsMountFlags, StatxFlags, openat, statx};
use rustix::io::Errno;

use super::{Error, HOST, failed, protected, versions};
use crate::tree::FileSystem;

/// Stands for a size or a limit that is not known, as on the bus.
pub const UNKNOWN: u64 = u64::MAX;
/// The ending of the names of disk images.
const RAW: &str = ".raw";
/// What temporary things are called, everybody's.
const TEMPORARY: &str = ".#";
const LONGEST_NAME: usize = 255;
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const LOOK: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tree in a plain directory.
    Directory,
    /// A tree in a btrfs subvolume.
    Subvolume,
    /// A disk image in a file.
    Raw,
    /// A disk image on a block device.
    Block,
}

impl Kind {
    /// As people and the bus write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Subvolume => "subvolume",
            Self::Raw => "raw",
            Self::Block => "block",
        }
    }

    /// It is a directory of files.
    #[must_use]
    pub fn is_tree(self) -> bool {
        matches!(self, Self::Directory | Self::Subvolume)
    }
}

/// One image, as it was found. The fields are those of `org.freedesktop.machine1.Image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub name: String,
    /// Where it is. The last part may be a symbolic link to it.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Nothing is to be written to it.
    pub read_only: bool,
    /// When it was made, in microseconds since 1970; 0 if that is not known.
    pub created: u64,
    /// When it was changed last, in microseconds since 1970; 0 if that is not known.
    pub modified: u64,
    /// The space that it takes, in bytes, or [`UNKNOWN`].
    pub usage: u64,
    /// What of that is shared with nothing else.
    pub usage_exclusive: u64,
    /// The most that it may take, in bytes, or [`UNKNOWN`].
    pub limit: u64,
    /// The most that it may take of what is shared with nothing else.
    pub limit_exclusive: u64,
}

impl Image {
    /// Its name begins with a dot: left by a tool, or meant for tools only.
    #[must_use]
    pub fn is_hidden(&self) -> bool {
        self.name.starts_with('.')
    }

    /// It is the host's own root.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.name == HOST
    }

    /// It is the work of packages.
    #[must_use]
    pub fn is_vendors(&self) -> bool {
        self.path.starts_with("/usr")
    }

    /// Refuses what must not be changed.
    pub(super) fn refuse_protected(&self) -> Result<(), Error> {
        if self.is_host() || self.is_vendors() {
            return Err(Error::Protected { name: self.name.clone() });
        }
        Ok(())
    }

    /// The directory that it is in, and its name there.
    pub(super) fn place(&self) -> Result<(&Path, &OsStr), Error> {
        match (self.path.parent(), self.path.file_name()) {
            (Some(place), Some(name)) => Ok((place, name)),
            _ => Err(Error::Protected { name: self.name.clone() }),
        }
    }
}

/// Whether an image can be called so, see machinectl(1), "Machine and Image Names".
#[must_use]
pub fn is_name(text: &str) -> bool {
    let whole = !text.is_empty() && text.len() <= LONGEST_NAME && !matches!(text, "." | ".." | "lost+found");
    whole && !text.starts_with(TEMPORARY) && !text.contains('/') && !text.chars().any(char::is_control)
}

/// The images in a directory; none if it is not there. A directory wins over a disk image of the same name.
pub(super) fn all_in(place: &Path) -> Result<Vec<Image>, Error> {
    let Some(opened) = open_place(place)? else { return Ok(Vec::new()) };
    let error = |source| failed("read", place)(source);
    let mut images: Vec<Image> = Vec::new();
    for entry in Dir::read_from(&opened).map_err(error)? {
        let file = OsString::from(OsStr::from_bytes(entry.map_err(error)?.file_name().to_bytes()));
        let Some((name, ending)) = file.to_str().and_then(split) else { continue };
        let Some(image) = examine(&opened, place, &file, name, ending) else { continue };
        match images.iter_mut().find(|other| other.name == image.name) {
            Some(other) if image.kind.is_tree() && !other.kind.is_tree() => *other = image,
            Some(_) => {}
            None => images.push(image),
        }
    }
    Ok(images)
}

/// The image of this name in a directory.
pub(super) fn named(place: &Path, name: &str) -> Result<Option<Image>, Error> {
    let Some(opened) = open_place(place)? else { return Ok(None) };
    let endings = [Ending::None, Ending::Raw, Ending::Versions, Ending::RawVersions];
    Ok(endings.into_iter().find_map(|ending| {
        let file = OsString::from(format!("{name}{}", ending.text()));
        // A name that ends as those of disk images do is none.
        let (split_name, split_ending) = split(file.to_str()?)?;
        if (split_name, split_ending) != (name, ending) {
            return None;
        }
        examine(&opened, place, &file, name, ending)
    }))
}

/// What a name in a directory of images ends in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    None,
    Raw,
    Versions,
    RawVersions,
}

impl Ending {
    fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Raw => RAW,
            Self::Versions => ".v",
            Self::RawVersions => ".raw.v",
        }
    }
}

/// The image's name that a file's stands for.
fn split(file: &str) -> Option<(&str, Ending)> {
    let longest_first = [Ending::RawVersions, Ending::Versions, Ending::Raw];
    let (name, ending) = longest_first
        .into_iter()
        .find_map(|ending| Some((file.strip_suffix(ending.text())?, ending)))
        .unwrap_or((file, Ending::None));
    is_name(name).then_some((name, ending))
}

fn open_place(place: &Path) -> Result<Option<OwnedFd>, Error> {
    match openat(CWD, place, DIRECTORY, Mode::empty()) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(source) => Err(failed("open", place)(source)),
    }
}

/// What is there, if it is an image.
fn examine(at: &OwnedFd, place: &Path, file: &OsStr, name: &str, ending: Ending) -> Option<Image> {
    if matches!(ending, Ending::Versions | Ending::RawVersions) {
        let raw = ending == Ending::RawVersions;
        let directory = openat(at, file, DIRECTORY, Mode::empty()).ok()?;
        let version = versions::newest(&directory, name, if raw { RAW } else { "" })?;
        let found = openat(&directory, &version, LOOK | OFlags::NOFOLLOW, Mode::empty()).ok()?;
        let image = look(&found, name, place.join(file).join(version))?;
        return (image.kind.is_tree() != raw).then_some(image);
    }
    let found = openat(at, file, LOOK, Mode::empty()).ok()?;
    let image = look_in(at, &found, name, place.join(file))?;
    let fits = match ending {
        Ending::Raw => image.kind == Kind::Raw,
        _ => image.kind != Kind::Raw,
    };
    fits.then_some(image)
}

/// Whether nothing is to be written to the image of this name, which is at `path` and was opened with `O_PATH`: because of
/// where it is, or of a mark, as [`Image::read_only`] says it.
pub(crate) fn is_read_only(found: &OwnedFd, name: &str, path: &Path) -> bool {
    let place = path.parent().and_then(|place| openat(CWD, place, DIRECTORY, Mode::empty()).ok());
    let image = match place {
        Some(at) => look_in(&at, found, name, path.to_owned()),
        None => look(found, name, path.to_owned()),
    };
    image.is_none_or(|image| image.read_only)
}

/// Examines something opened with `O_PATH` by this name in the directory `at`.
fn look_in(at: &OwnedFd, found: &OwnedFd, name: &str, path: PathBuf) -> Option<Image> {
    let mut image = look(found, name, path)?;
    if image.kind.is_tree() && !image.read_only {
        image.read_only =
            rustix::fs::fstat(found).is_ok_and(|status| protected::is_wished(at.as_fd(), name, status.st_ino));
    }
    Some(image)
}

/// The host's own.
pub(super) fn host() -> Option<Image> {
    let root = openat(CWD, "/", LOOK, Mode::empty()).ok()?;
    look(&root, HOST, PathBuf::from("/"))
}

/// Examines something opened with `O_PATH`.
fn look(found: &OwnedFd, name: &str, path: PathBuf) -> Option<Image> {
    let status = rustix::fs::fstat(found).ok()?;
    let kind = match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::Raw,
        FileType::BlockDevice => Kind::Block,
        _ => return None,
    };
    let mounted_read_only =
        rustix::fs::fstatvfs(found).is_ok_and(|status| status.f_flag.contains(StatVfsMountFlags::RDONLY));
    let mut image = Image {
        name: name.to_owned(),
        path,
        kind,
        read_only: false,
        created: made(found),
        modified: 0,
        usage: UNKNOWN,
        usage_exclusive: UNKNOWN,
        limit: UNKNOWN,
        limit_exclusive: UNKNOWN,
    };
    // Systemd's tools take hidden images for templates that nobody writes to.
    image.read_only = image.is_hidden() || image.is_vendors() || mounted_read_only;
    match kind {
        Kind::Directory | Kind::Subvolume => look_at_tree(found, status.st_ino, &mut image),
        Kind::Raw => {
            image.read_only |= status.st_mode & 0o222 == 0;
            image.modified = microseconds(status.st_mtime, status.st_mtime_nsec);
            image.usage = u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(512);
            image.usage_exclusive = image.usage;
            image.limit = u64::try_from(status.st_size).unwrap_or(0);
            image.limit_exclusive = image.limit;
        }
        Kind::Block => look_at_device(found, &mut image),
    }
    Some(image)
}

/// What cannot be read without privilege stays unknown.
fn look_at_tree(found: &OwnedFd, inode: u64, image: &mut Image) {
    let Ok(directory) = openat(found, ".", DIRECTORY, Mode::empty()) else { return };
    if inode == sys::btrfs::SUBVOLUME_ROOT_INODE && FileSystem::of(directory.as_fd()) == Ok(FileSystem::Btrfs) {
        image.kind = Kind::Subvolume;
        image.read_only |= sys::btrfs::is_read_only(directory.as_fd()).unwrap_or(false);
        look_at_subvolume(directory.as_fd(), image);
    } else {
        let flags = rustix::fs::ioctl_getflags(&directory).unwrap_or(IFlags::empty());
        image.read_only |= flags.contains(IFlags::IMMUTABLE);
    }
}

fn look_at_subvolume(directory: BorrowedFd<'_>, image: &mut Image) {
    let Ok(subvolume) = sys::btrfs_subvolume::information(directory) else { return };
    (image.created, image.modified) = (subvolume.made, subvolume.changed);
    if let Ok(Some(quota)) = sys::btrfs_subvolume::quota(directory, subvolume.id) {
        (image.usage, image.usage_exclusive) = (quota.referenced, quota.exclusive);
        image.limit = quota.referenced_limit.unwrap_or(UNKNOWN);
        image.limit_exclusive = quota.exclusive_limit.unwrap_or(UNKNOWN);
    }
}

fn look_at_device(found: &OwnedFd, image: &mut Image) {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(device) = rustix::fs::open(path, flags, Mode::empty()) else { return };
    if let Ok(size) = sys::grow::device_size(device.as_fd()) {
        (image.usage, image.usage_exclusive, image.limit, image.limit_exclusive) = (size, size, size, size);
    }
    image.read_only |= sys::grow::device_is_read_only(device.as_fd()).unwrap_or(false);
}

/// When a file was made, where its file system knows.
fn made(file: &OwnedFd) -> u64 {
    match statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BTIME) {
        Ok(status) if StatxFlags::from_bits_retain(status.stx_mask).contains(StatxFlags::BTIME) => {
            microseconds(status.stx_btime.tv_sec, u64::from(status.stx_btime.tv_nsec))
        }
        _ => 0,
    }
}

fn microseconds(seconds: i64, nanoseconds: u64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000).saturating_add(nanoseconds / 1000)
}
