//! From a file to a machine's tree.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use bootstrap::tar_reader;
use image::copy::{self, Progress};
use image::disk::Format;
use image::pool::{self, Image, Pool};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Stat, StatVfs, openat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use crate::choose::{self, NESTED, choose};
use crate::erofs::Erofs;
use crate::extents::Extents;
use crate::format::{Compression, Found, detect};
use crate::iso::Iso;
use crate::reader::{self, Reader};
use crate::squashfs::Squashfs;
use crate::{mounted, tarball, unpack};

/// How much of a file that describes the system is read.
const LONGEST: u64 = 64 << 10;

/// What is to be imported, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The medium or image.
    pub file: &'a Path,
    /// What the machine is called.
    pub name: &'a str,
    /// Nothing is written to the tree later.
    pub read_only: bool,
    /// The kernel mounts nothing.
    pub user_space: bool,
    /// The sum that the file has to have.
    pub sha256: Option<[u8; 32]>,
    /// The file on the medium that has the system.
    pub inner: Option<&'a str>,
}

/// What was imported.
#[derive(Debug)]
pub struct Imported {
    /// The new image.
    pub image: Image,
    /// What it was made of, in words.
    pub source: String,
    /// What the system calls itself.
    pub system: Option<String>,
    /// How much it was.
    pub progress: Progress,
    /// What a person should know, as sentences.
    pub notices: Vec<String>,
}

/// Why it was not.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file.
    #[error("cannot read {path}", path = .path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is {what}", path = .path.display())]
    Kind {
        /// Its path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
        /// What can be done.
        hint: &'static str,
    },
    /// It is another one than was meant.
    #[error("{path} has the SHA-256 sum {found}, and not the one that was given", path = .path.display())]
    Sum {
        /// Its path.
        path: PathBuf,
        /// The sum that it has.
        found: String,
    },
    /// Its sum is not that of what was imported.
    #[error("{path} was changed while it was imported", path = .path.display())]
    Changed {
        /// Its path.
        path: PathBuf,
    },
    /// The machine.
    #[error(transparent)]
    Pool(#[from] pool::Error),
    /// The medium has no system, or several.
    #[error(transparent)]
    Choose(#[from] choose::Error),
    /// It cannot be read here.
    #[error("cannot read {0}")]
    Read(String, #[source] reader::Error),
    /// Only the kernel can read it, and may not or cannot.
    #[error("{what} is read by the kernel alone{}", .kernel.as_ref().map(|error| format!(", which did not: {error}")).unwrap_or_default())]
    KernelAlone {
        /// What.
        what: String,
        /// Why the kernel did not.
        kernel: Option<String>,
    },
    /// It cannot be brought into a tree.
    #[error("cannot unpack {0}")]
    Unpack(String, #[source] unpack::Error),
    /// It cannot be copied.
    #[error("cannot copy {0}")]
    Mounted(String, #[source] mounted::Error),
    /// The archive cannot be unpacked.
    #[error("cannot unpack {0}")]
    Archive(String, #[source] tarball::Error),
    /// There is no system in it.
    #[error("{0} has neither usr nor bin in it, so it is no system's root")]
    NoSystem(String),
    /// The disk is full.
    #[error("there is no space left for the files of {0}")]
    Full(String),
    /// The tree cannot be made ready.
    #[error("cannot prepare the tree")]
    Prepare(#[source] Errno),
    /// The observer said so.
    #[error("the import was interrupted")]
    Interrupted,
}

impl Error {
    /// What can be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Kind { hint, .. } => hint,
            Self::Sum { .. } => "download it again, from where the sum is from",
            Self::Changed { .. } => "wait until it is complete, and start again",
            Self::Choose(choose::Error::Missing(_) | choose::Error::Several(_)) => "name one of its files with --file",
            Self::Choose(choose::Error::None) => {
                "media that install packages have no system in them; take a live medium or a root file system"
            }
            Self::Choose(choose::Error::Medium(_)) | Self::Read(..) => BROKEN,
            Self::Unpack(_, unpack::Error::Read { .. } | unpack::Error::Wrong { .. }) => BROKEN,
            Self::Mounted(_, error) if error.is_damage() => BROKEN,
            Self::Archive(_, tarball::Error::NoArchive) => "decompress it, and import what is in it",
            Self::Archive(_, tarball::Error::Archive(tar_reader::Error::Unsupported(_))) => {
                "make the archive again, without --sparse (-S)"
            }
            Self::Archive(_, error) if !matches!(error, tarball::Error::Finish(_)) => BROKEN,
            Self::KernelAlone { kernel: None, .. } => "import it without --user-space",
            Self::KernelAlone { .. } => "it can be imported as root on a host whose kernel knows it",
            Self::NoSystem(_) => "name a live medium, or with --file another file on it",
            Self::Full(_) => "nothing of it was kept; make room in /var/lib/machines and start again",
            _ => return None,
        })
    }
}

const BROKEN: &str =
    "it may not have been downloaded to the end: compare its size and its sum with what its maker says";

/// Makes a machine of a file. The observer is told how much has been written, now and then, and says whether to go on.
///
/// # Errors
/// [`Error`]; there is no machine then, and nothing is left.
pub fn import(pool: &Pool, request: Request<'_>, observe: copy::Observer<'_>) -> Result<Imported, Error> {
    pool.check_new(request.name)?;
    let failed = |source| Error::File { path: request.file.to_owned(), source };
    let file = open(request.file)?;
    let before = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
    if let Some(wanted) = request.sha256 {
        check_sum(&file, request.file, wanted, observe)?;
    }
    let size = size(&file).map_err(failed)?;
    let whole = Extents::new(&file, &[(0, size)]).ok_or_else(|| failed(io::ErrorKind::InvalidData.into()))?;
    let found = detect(&whole).map_err(failed)?;
    let mut work = Work { request, observe, source: request.file.display().to_string(), notices: Vec::new() };
    let mut done = (Progress::default(), None);
    let image = pool.create(request.name, request.read_only, |at, name| -> Result<(), Error> {
        done.0 = work.fill(&whole, found, at, name)?;
        done.1 = work.prepare(at, name)?;
        // Who has asked for the end gets no machine.
        if !(work.observe)(done.0) {
            return Err(Error::Interrupted);
        }
        // What was imported was read again, after the sum.
        let after = rustix::fs::fstat(&file).map_err(|errno| failed(errno.into()))?;
        match request.sha256 {
            Some(_) if is_changed(&before, &after) => Err(Error::Changed { path: request.file.to_owned() }),
            _ => Ok(()),
        }
    })?;
    let Work { source, notices, .. } = work;
    Ok(Imported { image, source, system: done.1, progress: done.0, notices })
}

/// A file or a block device, such as a drive with a medium in it.
fn open(path: &Path) -> Result<File, Error> {
    let error = |source: Errno| Error::File { path: path.to_owned(), source: source.into() };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(CWD, path, flags, Mode::empty()).map_err(error)?;
    let status = rustix::fs::fstat(&file).map_err(error)?;
    let kind = |what, hint| Error::Kind { path: path.to_owned(), what, hint };
    match FileType::from_raw_mode(status.st_mode) {
        FileType::RegularFile if status.st_size == 0 => Err(kind("empty", BROKEN)),
        FileType::RegularFile | FileType::BlockDevice => Ok(File::from(file)),
        FileType::Directory => Err(kind(
            "a directory",
            "a tree is run as it is, with 'redd spawn -D', or by its name from /var/lib/machines",
        )),
        _ => Err(kind("neither a file nor a block device", "save what comes from there to a file first")),
    }
}

/// In bytes, of a file or a block device.
pub(crate) fn size(file: &File) -> io::Result<u64> {
    let status = rustix::fs::fstat(file)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::BlockDevice => Ok(sys::grow::device_size(file.as_fd())?),
        FileType::RegularFile => Ok(u64::try_from(status.st_size).unwrap_or(0)),
        _ => Err(io::Error::other("it is no file")),
    }
}

/// Whether a file has been written to between two looks at it, or cut. Of a drive that is not seen.
fn is_changed(before: &Stat, after: &Stat) -> bool {
    let seen = |stat: &Stat| (stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
    seen(before) != seen(after)
}

fn check_sum(file: &File, path: &Path, wanted: [u8; 32], observe: copy::Observer<'_>) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut sum = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut file = file;
    loop {
        let length = file.read(&mut buffer).map_err(failed)?;
        if length == 0 {
            break;
        }
        sum.update(&buffer[..length]);
        if !observe(Progress::default()) {
            return Err(Error::Interrupted);
        }
    }
    file.rewind().map_err(failed)?;
    let found: [u8; 32] = sum.finalize().into();
    if found == wanted {
        return Ok(());
    }
    let found = found.iter().map(|byte| format!("{byte:02x}")).collect();
    Err(Error::Sum { path: path.to_owned(), found })
}

struct Work<'a> {
    request: Request<'a>,
    observe: copy::Observer<'a>,
    source: String,
    notices: Vec<String>,
}

impl Work<'_> {
    fn fill(&mut self, whole: &Extents<'_>, found: Found, at: BorrowedFd<'_>, name: &OsStr) -> Result<Progress, Error> {
        let kind = |what, hint| Error::Kind { path: self.request.file.to_owned(), what, hint };
        if let (Some(path), false) = (self.request.inner, found == Found::Iso) {
            return Err(Error::Choose(choose::Error::Missing(path.to_owned())));
        }
        match found {
            Found::Iso => {
                let (image, format) = self.of_medium(whole)?;
                self.file_system(&image, format, at, name)
            }
            Found::FileSystem(format) => self.file_system(whole, format, at, name),
            Found::Archive(compression) => self.archive(whole.file(), compression, at, name),
            Found::Other(what, hint) => Err(kind(what, hint)),
            Found::Nothing => Err(kind(
                "neither a medium nor a file system nor an archive that is known",
                "ISO 9660, squashfs, EROFS, ext4, XFS, btrfs and archives of tar(1) are",
            )),
        }
    }

    /// The file system on a medium.
    fn of_medium<'a>(&mut self, whole: &Extents<'a>) -> Result<(Extents<'a>, Format), Error> {
        let damage = |error| Error::Choose(choose::Error::Medium(error));
        let iso = Iso::open(whole).map_err(damage)?;
        let chosen = choose(&iso, whole, self.request.inner, std::env::consts::ARCH)?;
        self.source = format!("{} in {}", chosen.path, self.source);
        self.notices.extend(chosen.notices);
        if chosen.entry.compressed {
            return Err(Error::Read(self.source.clone(), reader::Error::Unsupported("zisofs compression".to_owned())));
        }
        let image = Extents::new(whole.file(), &chosen.entry.parts);
        let end = chosen.entry.parts.iter().map(|(start, length)| start.saturating_add(*length)).max();
        let there = |end: &u64| *end <= image::disk::storage::Storage::size(whole);
        let image = image.filter(|_| end.as_ref().is_some_and(there));
        let image = image.ok_or_else(|| Error::Read(self.source.clone(), reader::Error::CutOff))?;
        let failed = |source| Error::File { path: self.request.file.to_owned(), source };
        match detect(&image).map_err(failed)? {
            Found::FileSystem(format) => Ok((image, format)),
            _ => Err(Error::NoSystem(self.source.clone())),
        }
    }

    /// By the kernel where that may be and can be, else here.
    fn file_system(
        &mut self,
        image: &Extents<'_>,
        format: Format,
        at: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<Progress, Error> {
        let is_read_here = matches!(format, Format::Squashfs | Format::Erofs);
        let mut kernel = None;
        if !self.request.user_space {
            let source = self.source.clone();
            let copied = self.observed(at, |observe| mounted::copy(image, format, at, name, observe));
            match copied? {
                Ok(report) => {
                    self.lost(report.lost.into_iter().collect());
                    return Ok(report.progress);
                }
                Err(error @ (mounted::Error::Mount(_) | mounted::Error::Pieces)) => {
                    let reason = chain(&error);
                    if is_read_here {
                        self.notices.push(format!("{source} is read without the kernel: {reason}"));
                    }
                    kernel = Some(reason);
                }
                Err(mounted::Error::Interrupted) => return Err(Error::Interrupted),
                Err(error) => {
                    return Err(if is_full(&error) { Error::Full(source) } else { Error::Mounted(source, error) });
                }
            }
        }
        let what = format!("{} ({})", self.source, format.name());
        let report = match format {
            Format::Squashfs => {
                let opened = Squashfs::open(image).map_err(|error| Error::Read(self.source.clone(), error));
                self.read(&mut opened?, kernel, at, name)?
            }
            Format::Erofs => {
                let opened = Erofs::open(image).map_err(|error| Error::Read(self.source.clone(), error));
                self.read(&mut opened?, kernel, at, name)?
            }
            _ => return Err(Error::KernelAlone { what, kernel }),
        };
        self.report(report.lost, report.devices);
        Ok(report.progress)
    }

    /// From a file system that is read here.
    fn read<R: Reader>(
        &mut self,
        reader: &mut R,
        kernel: Option<String>,
        at: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<unpack::Report, Error> {
        let source = self.source.clone();
        let has = |reader: &mut R, path| {
            let found = reader::find(reader, path).map_err(|error| Error::Read(source.clone(), error));
            found.map(|found| found.is_some())
        };
        if !has(reader, "usr")? && !has(reader, "bin")? {
            for path in NESTED {
                if has(reader, path)? {
                    return Err(Error::KernelAlone { what: format!("{path} in {source}"), kernel });
                }
            }
        }
        let into = open_tree(at, name).map_err(Error::Prepare)?;
        let unpacked = self.observed(at, |observe| unpack::unpack(reader, into.as_fd(), observe))?;
        unpacked.map_err(|error| match error {
            unpack::Error::Interrupted => Error::Interrupted,
            error if is_full(&error) => Error::Full(source),
            error => Error::Unpack(source, error),
        })
    }

    fn archive(
        &mut self,
        file: &File,
        compression: Compression,
        at: BorrowedFd<'_>,
        name: &OsStr,
    ) -> Result<Progress, Error> {
        let into = open_tree(at, name).map_err(Error::Prepare)?;
        let source = self.source.clone();
        let unpacked = self.observed(at, |observe| tarball::unpack(file, compression, into.as_fd(), observe))?;
        let report = unpacked.map_err(|error| match error {
            tarball::Error::Interrupted => Error::Interrupted,
            error if is_full(&error) => Error::Full(source),
            error => Error::Archive(source, error),
        })?;
        self.report(report.lost, report.devices);
        Ok(report.progress)
    }

    /// Does something with an observer that stops it before it takes the last of the disk, too.
    fn observed<T>(&mut self, at: BorrowedFd<'_>, act: impl FnOnce(copy::Observer<'_>) -> T) -> Result<T, Error> {
        let mut full = false;
        let observe = &mut *self.observe;
        let done = act(&mut |progress| {
            full = rustix::fs::fstatvfs(at).is_ok_and(|space| is_nearly_full(&space));
            !full && observe(progress)
        });
        if full { Err(Error::Full(self.source.clone())) } else { Ok(done) }
    }

    fn report(&mut self, lost: BTreeMap<String, u64>, devices: u64) {
        if devices > 0 {
            self.notices.push(format!("{devices} devices were left out, which this user cannot make"));
        }
        self.lost(lost);
    }

    fn lost(&mut self, lost: BTreeMap<String, u64>) {
        for (attribute, count) in lost {
            if attribute == copy::OTHERS {
                self.notices.push(format!("{count} attributes with further names were left out"));
                continue;
            }
            let why = if unpack::is_kept(attribute.as_bytes()) {
                "which the file system of the tree refuses"
            } else {
                "which means nothing in a machine's tree"
            };
            self.notices.push(format!("{count} files come without the attribute {attribute}, {why}"));
        }
    }

    /// Looks whether it is a system, makes it one of its own, and asks for its name.
    fn prepare(&self, at: BorrowedFd<'_>, name: &OsStr) -> Result<Option<String>, Error> {
        let root = open_tree(at, name).map_err(Error::Prepare)?;
        if !tarball::has_system(root.as_fd()) {
            return Err(Error::NoSystem(self.source.clone()));
        }
        machine_id(root.as_fd()).map_err(Error::Prepare)?;
        Ok(["etc/os-release", "usr/lib/os-release"].iter().find_map(|path| pretty_name(root.as_fd(), path)))
    }
}

fn open_tree(at: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<rustix::fd::OwnedFd> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// All that an error says.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}

/// Whether what is left of a file system is not for machines: what it keeps for the host's root; a share where it keeps none; a
/// share of the files that it can have.
fn is_nearly_full(space: &StatVfs) -> bool {
    /// The most that is left in bytes, and in files.
    const BYTES: u64 = 256 << 20;
    const FILES: u64 = 100_000;
    let blocks = match space.f_bfree == space.f_bavail {
        true => (space.f_blocks / 100).min(BYTES / space.f_frsize.max(1)),
        false => 0,
    };
    let no_space = space.f_blocks > 0 && space.f_bavail <= blocks;
    let no_files = space.f_files > 0 && space.f_favail < (space.f_files / 100).min(FILES);
    no_space || no_files
}

/// Whether it is for want of space.
fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        let errno = error.downcast_ref::<Errno>().copied();
        let errno = errno.or_else(|| error.downcast_ref::<io::Error>().and_then(Errno::from_io_error));
        if matches!(errno, Some(Errno::NOSPC | Errno::DQUOT)) {
            return true;
        }
        next = error.source();
    }
    false
}

const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// Makes the machine's ID empty, see machine-id(5): each machine gets one of its own, and a first boot that asks questions
/// does not come. What is no file there stays.
fn machine_id(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let etc = match sys::open::openat2(root, "etc", flags, Mode::empty(), INSIDE) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        other => other?,
    };
    let name = "machine-id";
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::statat(&etc, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if FileType::from_raw_mode(status.st_mode).is_file() && status.st_size > 0 => {
            rustix::fs::ftruncate(openat(&etc, name, flags, Mode::empty())?, 0)
        }
        Ok(_) => Ok(()),
        Err(Errno::NOENT) => {
            let mode = Mode::RUSR | Mode::RGRP | Mode::ROTH;
            let made = openat(&etc, name, flags | OFlags::CREATE | OFlags::EXCL, mode)?;
            rustix::fs::fchmod(made, mode)
        }
        Err(errno) => Err(errno),
    }
}

/// What a system calls itself, see os-release(5). The text is the image's.
fn pretty_name(root: BorrowedFd<'_>, path: &str) -> Option<String> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = sys::open::openat2(root, path, flags, Mode::empty(), INSIDE).ok()?;
    let status = rustix::fs::fstat(&file).ok()?;
    if !FileType::from_raw_mode(status.st_mode).is_file() {
        return None;
    }
    let mut text = Vec::new();
    File::from(file).take(LONGEST).read_to_end(&mut text).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let value = text.lines().find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    let value: String =
        value.trim().trim_matches(['"', '\'']).chars().filter(|one| !one.is_control()).take(120).collect();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use rustix::fs::StatVfsMountFlags;

    use super::*;

    #[test]
    fn something_of_a_disk_is_left() {
        let space = |free, available, files: (u64, u64)| StatVfs {
            f_bsize: 4096,
            f_frsize: 4096,
            f_blocks: 1_000_000,
            f_bfree: free,
            f_bavail: available,
            f_files: files.0,
            f_ffree: files.1,
            f_favail: files.1,
            f_fsid: 0,
            f_flag: StatVfsMountFlags::empty(),
            f_namemax: 255,
        };
        // With a part for root, and without.
        assert!(!is_nearly_full(&space(60_000, 10, (0, 0))));
        assert!(is_nearly_full(&space(50_000, 0, (0, 0))));
        assert!(!is_nearly_full(&space(10_001, 10_001, (0, 0))));
        assert!(is_nearly_full(&space(10_000, 10_000, (0, 0))));
        // Of a large disk a part of fixed size.
        let large = |free| StatVfs { f_blocks: 1 << 40, ..space(free, free, (0, 0)) };
        assert!(!is_nearly_full(&large(65_537)) && is_nearly_full(&large(65_536)));
        // Files.
        assert!(!is_nearly_full(&space(60_000, 10, (5000, 50))));
        assert!(is_nearly_full(&space(60_000, 10, (5000, 49))));
        assert!(!is_nearly_full(&space(60_000, 10, (1 << 40, 100_000))));
        // What has no sizes is not full.
        assert!(!is_nearly_full(&StatVfs { f_blocks: 0, ..space(0, 0, (0, 0)) }));
    }

    #[test]
    fn an_image_that_the_kernel_finds_damaged_has_a_next_step() {
        let error = |source| {
            let path = PathBuf::from("usr/x");
            Error::Mounted("a.sfs".into(), copy::Error::System { what: "read", path, source }.into())
        };
        for errno in [Errno::IO, Errno::EXIST, Errno::LOOP, Errno::UCLEAN, Errno::BADMSG] {
            assert_eq!(error(errno).hint(), Some(BROKEN));
        }
        assert_eq!(error(Errno::ROFS).hint(), None);
        assert!(chain(&error(Errno::IO)).contains("cannot read '/usr/x' of the image"), "{}", chain(&error(Errno::IO)));
        let again = copy::Error::Again { path: PathBuf::from("a") };
        assert_eq!(Error::Mounted("a.sfs".into(), again.into()).hint(), Some(BROKEN));
    }
}
