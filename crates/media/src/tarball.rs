//! Archives of whole systems, in whatever compression. Where all is below one directory (`root.x86_64` of Arch), that
//! becomes the root.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use bootstrap::extract::{Directories, Extractor, Outcome};
use bootstrap::tar_reader::{self, Entry, Kind, TarReader};
use bootstrap::tree::{self, Tree};
use image::copy;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, Timespec, Timestamps, XattrFlags, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::format::Compression;
use crate::reader::Attribute;
use crate::unpack::{Observer, Report, is_kept};

/// The most memory that a compressed archive may ask for: what `xz -9` and `zstd --long` need.
const MEMORY: u64 = 256 << 20;
/// What may follow the end of an archive.
const LONGEST_REST: u64 = 64 << 20;
/// How much memory may be taken by what is to be done with directories at the end, in bytes: a million of them.
const MOST_OF_DIRECTORIES: usize = 128 << 20;
/// What the only directory is called while what is in it goes up.
const MOVED: &str = ".#redd.moved";
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// Why it was not unpacked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The observer said so.
    #[error("it was interrupted")]
    Interrupted,
    /// What is compressed cannot be decompressed.
    #[error("the archive cannot be read")]
    Read(#[from] io::Error),
    /// What is compressed is something else.
    #[error("it is compressed, and what is in it is no archive of tar(1)")]
    NoArchive,
    /// It ends too early.
    #[error("the archive is cut off: it has no mark at its end")]
    CutOff,
    /// Its entries.
    #[error(transparent)]
    Archive(#[from] tar_reader::Error),
    /// The tree.
    #[error(transparent)]
    Tree(#[from] tree::Error),
    /// Two entries that cannot both be.
    #[error("'/{0}' of the archive is in the way of another entry of that name")]
    Twice(String),
    /// The tree, afterwards.
    #[error("cannot finish the tree")]
    Finish(#[source] Errno),
}

/// Unpacks an archive into an empty directory, named in an open one.
///
/// # Errors
/// [`Error`]; what was made before it is left for the caller to remove.
pub fn unpack(
    file: &File,
    compression: Compression,
    into: BorrowedFd<'_>,
    observe: Observer<'_>,
) -> Result<Report, Error> {
    let mut file = file;
    file.rewind()?;
    let mut stream = Stream { inner: decompressed(BufReader::with_capacity(1 << 18, file), compression)?, zeroes: 0 };
    let mut start = vec![0; 512];
    let length = fill(&mut stream, &mut start)?;
    if !crate::format::is_tar(&start[..length]) {
        return Err(Error::NoArchive);
    }
    let tree = Tree::open(&PathBuf::from(format!("/proc/self/fd/{}/.", into.as_raw_fd())))?;
    let (directories, mut report) = (Directories::default(), Report::default());
    let mut extractor = Extractor::new(&tree, &directories, 0).replacing();
    start.truncate(length);
    let mut reader = TarReader::new(io::Cursor::new(start).chain(stream));
    let mut made = Made::default();
    while let Some(mut entry) = reader.next_entry()? {
        let directory = (entry.kind == Kind::Directory).then(|| Directory::take(&mut entry));
        let apart = beside(&mut entry);
        let is_device = matches!(entry.kind, Kind::BlockDevice | Kind::CharacterDevice);
        let mut content = Observed { inner: &mut reader, report: &mut report, observe: &mut *observe };
        let outcome = extractor.extract(&entry, &mut content);
        match outcome {
            // Who is root in a user namespace alone makes none.
            Err(error) if is_device && error.source.kind() == io::ErrorKind::PermissionDenied => report.devices += 1,
            Err(error) if error.source.kind() == io::ErrorKind::ConnectionAborted => return Err(Error::Interrupted),
            Err(error) => return Err(error.into()),
            Ok(Outcome::InTheWay) => return Err(Error::Twice(shown(&entry.path))),
            Ok(Outcome::Made | Outcome::Kept) => set(&tree, &entry, apart, &mut report)?,
        }
        report.progress.entries += 1;
        if report.progress.entries.is_multiple_of(64) && !observe(report.progress) {
            return Err(Error::Interrupted);
        }
        if let Some(directory) = directory {
            made.insert(&entry.path, directory)?;
        }
    }
    let (_, mut stream) = reader.into_inner().into_inner();
    if stream.zeroes < 512 {
        return Err(Error::CutOff);
    }
    // Sums at the end of what is compressed are looked at, too.
    io::copy(&mut stream.by_ref().take(LONGEST_REST), &mut io::sink())?;
    // From the inside out: what was put into directories has changed their times.
    made.directories.iter().rev().try_for_each(|(path, directory)| finish(&tree, path, directory, &mut report))?;
    lift(tree.root()).map_err(Error::Finish)?;
    Ok(report)
}

fn decompressed<'a>(file: BufReader<&'a File>, compression: Compression) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(file),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Compression::Xz => {
            let flags = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(MEMORY, flags)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(file, stream))
        }
        Compression::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(file)?),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(file)),
        Compression::Lz4 => Box::new(lz4_flex::frame::FrameDecoder::new(file)),
    })
}

/// Knows how many zeroes it ended with: an archive does with a thousand of them.
struct Stream<'a> {
    inner: Box<dyn Read + 'a>,
    zeroes: u64,
}

impl Read for Stream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match buffer[..length].iter().rposition(|byte| *byte != 0) {
            Some(last) => self.zeroes = (length - last - 1) as u64,
            None => self.zeroes += length as u64,
        }
        Ok(length)
    }
}

/// Counts what is read of a file, and asks whether to go on.
struct Observed<'a, R> {
    inner: &'a mut R,
    report: &'a mut Report,
    observe: Observer<'a>,
}

impl<R: Read> Read for Observed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const ASKED_EVERY: u64 = 4 << 20;
        let length = self.inner.read(buffer)?;
        let before = self.report.progress.bytes;
        self.report.progress.bytes += length as u64;
        let asked = before / ASKED_EVERY != self.report.progress.bytes / ASKED_EVERY;
        if asked && !(self.observe)(self.report.progress) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Ok(length)
    }
}

fn fill(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// What a directory gets when all is in it. Before, its group and its default access list would be handed on to that, and its
/// time would not stay.
#[derive(Debug)]
struct Directory {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime: (i64, u32),
    access_lists: Vec<Attribute>,
}

const SET_GROUP_ID: u32 = 0o2000;

impl Directory {
    /// Takes it out of an entry.
    fn take(entry: &mut Entry) -> Self {
        let is_list = |name: &[u8]| name.starts_with(b"system.posix_acl_");
        let (lists, rest) = std::mem::take(&mut entry.xattrs).into_iter().partition(|(name, _)| is_list(name));
        let directory =
            Self { uid: entry.uid, gid: entry.gid, mode: entry.mode, mtime: entry.mtime, access_lists: lists };
        (entry.xattrs, entry.mode) = (rest, entry.mode & !SET_GROUP_ID);
        directory
    }

    fn weight(&self) -> usize {
        let lists = self.access_lists.iter().map(|(name, value)| name.len() + value.len() + size_of::<Attribute>());
        size_of::<Self>() + lists.sum::<usize>()
    }
}

/// All directories of an archive. Of one that is there several times the last entry counts, as for tar(1).
#[derive(Debug, Default)]
struct Made {
    /// By their paths, of plain names.
    directories: BTreeMap<Vec<u8>, Directory>,
    weight: usize,
}

impl Made {
    fn insert(&mut self, path: &[u8], directory: Directory) -> Result<(), Error> {
        let names: Vec<&[u8]> =
            path.split(|byte| *byte == b'/').filter(|name| !name.is_empty() && *name != b".").collect();
        let path = names.join(&b'/');
        let length = path.len();
        self.weight += length + directory.weight();
        if let Some(before) = self.directories.insert(path, directory) {
            self.weight -= length + before.weight();
        }
        if self.weight > MOST_OF_DIRECTORIES {
            return Err(Error::Archive(tar_reader::Error::Damaged("it has too many directories")));
        }
        Ok(())
    }
}

/// Takes those attributes out of an entry that a package does not have, and a whole system may have.
fn beside(entry: &mut Entry) -> Vec<Attribute> {
    // What one of a directory says that is there again counts, too, which it does not in packages.
    if entry.kind == Kind::Directory {
        return std::mem::take(&mut entry.xattrs);
    }
    let of_packages = |name: &[u8]| name == b"security.capability" || name.starts_with(b"system.posix_acl_");
    let (kept, apart) = std::mem::take(&mut entry.xattrs).into_iter().partition(|(name, _)| of_packages(name));
    entry.xattrs = kept;
    apart
}

fn set(tree: &Tree, entry: &Entry, attributes: Vec<Attribute>, report: &mut Report) -> Result<(), Error> {
    for (name, value) in attributes {
        let done = if is_kept(&name) { set_one(tree, entry, &name, &value) } else { Err(Errno::PERM) };
        settle(tree, done, &name, &entry.path, report)?;
    }
    Ok(())
}

/// Whether an attribute was set, counts as left out, or is an error.
fn settle(
    tree: &Tree,
    done: rustix::io::Result<()>,
    name: &[u8],
    path: &[u8],
    report: &mut Report,
) -> Result<(), Error> {
    match done {
        Ok(()) => Ok(()),
        Err(errno) if errno == Errno::LOOP || copy::is_refusal(errno, || copy::has_room(tree.root())) => {
            report.lose(name);
            Ok(())
        }
        Err(errno) => {
            Err(tree::Error { action: "set an attribute of", path: shown(path), source: errno.into() }.into())
        }
    }
}

fn set_one(tree: &Tree, entry: &Entry, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    if !matches!(entry.kind, Kind::File | Kind::Directory) {
        return Err(Errno::OPNOTSUPP);
    }
    let file = tree.open_at(&entry.path, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)?;
    rustix::fs::fsetxattr(&file, name, value, XattrFlags::empty())
}

/// Gives a directory, the root as well, what the archive says of it.
fn finish(tree: &Tree, path: &[u8], of: &Directory, report: &mut Report) -> Result<(), Error> {
    let error = |errno: Errno| tree::Error { action: "finish", path: shown(path), source: errno.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
    let directory = match tree.open_at(path, flags) {
        // A link that leads to a directory, or what has come to be in its place.
        Err(Errno::LOOP | Errno::NOTDIR | Errno::NOENT) => return Ok(()),
        other => other.map_err(error)?,
    };
    let (uid, gid) = (rustix::fs::Uid::from_raw(of.uid), rustix::fs::Gid::from_raw(of.gid));
    rustix::fs::fchown(&directory, Some(uid), Some(gid)).map_err(error)?;
    rustix::fs::fchmod(&directory, Mode::from_raw_mode(of.mode)).map_err(error)?;
    for (name, value) in &of.access_lists {
        let done = rustix::fs::fsetxattr(&directory, &**name, value, XattrFlags::empty());
        settle(tree, done, name, path, report)?;
    }
    let time = Timespec { tv_sec: of.mtime.0, tv_nsec: i64::from(of.mtime.1) };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::futimens(&directory, &times).map_err(error)?;
    Ok(())
}

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).trim_start_matches("./").chars().take(300).collect()
}

/// Makes the only directory that has a system in it the root.
#[allow(clippy::unnecessary_cast)] // the fields' types differ between architectures
fn lift(root: BorrowedFd<'_>) -> rustix::io::Result<()> {
    if has_system(root) {
        return Ok(());
    }
    let names = names(root)?;
    let mut found = None;
    for name in &names {
        match openat(root, name, DIRECTORY, Mode::empty()) {
            Ok(directory) if has_system(directory.as_fd()) => {
                if found.replace((name, directory)).is_some() {
                    return Ok(());
                }
            }
            Ok(_) | Err(Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(errno),
        }
    }
    let Some((top, directory)) = found else { return Ok(()) };
    for other in names.iter().filter(|name| *name != top) {
        image::remove::tree(root, other).map_err(|error| error.source)?;
    }
    let status = rustix::fs::fstat(&directory)?;
    renameat(root, top, root, MOVED)?;
    for name in self::names(directory.as_fd())? {
        renameat(&directory, &name, root, &name)?;
    }
    let own = openat(root, ".", DIRECTORY, Mode::empty())?;
    copy::attributes_of_root(directory.as_fd(), own.as_fd(), 0)?;
    unlinkat(root, MOVED, AtFlags::REMOVEDIR)?;
    // The time that it had before it was emptied.
    let time = Timespec { tv_sec: status.st_mtime as _, tv_nsec: status.st_mtime_nsec as _ };
    rustix::fs::futimens(&own, &Timestamps { last_access: time, last_modification: time })
}

/// Whether it looks like the root of a system.
pub(crate) fn has_system(root: BorrowedFd<'_>) -> bool {
    let resolve = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    ["usr", "bin"].iter().any(|name| sys::open::openat2(root, *name, flags, Mode::empty(), resolve).is_ok())
}

fn names(directory: BorrowedFd<'_>) -> rustix::io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(OsString::from_vec(entry.file_name().to_bytes().to_vec()));
        }
    }
    names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_directories_little_is_kept_and_once() {
        let directory = |size| Directory {
            uid: 0,
            gid: 0,
            mode: 0o755,
            mtime: (0, 0),
            access_lists: vec![(b"system.posix_acl_default".to_vec(), vec![0; size])],
        };
        let mut made = Made::default();
        for path in ["./a", "a/", "/a", "a/.", "a//"].iter().cycle().take(500) {
            made.insert(path.as_bytes(), directory(1 << 20)).expect("the same");
        }
        assert_eq!(made.directories.len(), 1);
        assert!((1 << 20..2 << 20).contains(&made.weight), "{}", made.weight);
        let failed = (0..500).find_map(|number| made.insert(number.to_string().as_bytes(), directory(1 << 20)).err());
        assert!(matches!(failed, Some(Error::Archive(tar_reader::Error::Damaged(_)))), "{failed:?}");
    }
}
