//! The walk through what is copied. It follows no link, and opens nothing but directories and files: names can change under
//! it at any moment.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    Dir, FileType, Mode, OFlags, SeekFrom, Stat, fgetxattr, flistxattr, fstat, fstatfs, openat, readlinkat, seek,
};
use rustix::io::{Errno, pread};

use super::report::{About, Failure, Report, Reporter, Step};
use super::stream::{DEEPEST, Facts, Frame};
use super::worker::Roots;
use super::{Skipped, split};

/// How much is read at once, in bytes.
const PIECE: usize = 256 << 10;
/// How often something is looked at that becomes something else meanwhile.
const ATTEMPTS: usize = 16;
/// The longest list of attributes and the longest value, in bytes, see xattr(7).
const LONGEST_ATTRIBUTE: usize = 64 << 10;
/// What the first entry is called: the other side has a name of its own for it.
const FIRST: &str = "copy";

/// File systems that are no files, as statfs(2) tells them: what is below `/proc` and `/sys`, mostly.
const KERNEL: [u32; 15] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x6265_6570, // configfs
    0x1980_0202, // mqueue
    0x4249_4e4d, // binfmt_misc
    0x6e73_6673, // nsfs
];

/// Sends what is at a path.
pub(super) fn send(
    roots: &Roots,
    source: &Path,
    (stream, reporter): (OwnedFd, &Reporter),
    temporary: &OsStr,
) -> Result<(), Failure> {
    let (above, name) = split(source);
    let parent = roots.directory(above).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => Failure::new(Step::Missing, Errno::NOENT, source),
        errno => Failure::new(Step::Find, errno, source),
    })?;
    let mut sender = Sender {
        output: BufWriter::with_capacity(PIECE, File::from(stream)),
        reporter,
        path: source.to_owned(),
        temporary,
        buffer: vec![0; PIECE],
    };
    let mut levels = Vec::new();
    match sender.entry(parent.as_fd(), name, OsStr::new(FIRST))? {
        Sent::Directory(level) => levels.push(level),
        Sent::Whole => {}
        Sent::Skipped(Skipped::Gone) => return Err(Failure::new(Step::Missing, Errno::NOENT, source)),
        Sent::Skipped(_) => return Err(Failure::new(Step::NoContents, Errno::OPNOTSUPP, source)),
    }
    sender.below(levels)?;
    sender.write(&Frame::Done)?;
    sender.output.flush().map_err(|_| sender.cut())
}

/// What became of an entry.
enum Sent {
    /// It is a directory; what is in it comes next.
    Directory(Level),
    /// It was sent as a whole.
    Whole,
    /// It was not sent.
    Skipped(Skipped),
}

/// A directory on the way.
struct Level {
    entries: Dir,
    device: u64,
}

struct Sender<'a> {
    output: BufWriter<File>,
    reporter: &'a Reporter,
    /// Where the walk is, for messages.
    path: PathBuf,
    /// What the other side's own copy is called meanwhile, which may be in the way.
    temporary: &'a OsStr,
    buffer: Vec<u8>,
}

impl Sender<'_> {
    /// The other side has gone, and tells why itself.
    fn cut(&self) -> Failure {
        Failure::new(Step::Cut, Errno::PIPE, &self.path)
    }

    fn write(&mut self, frame: &Frame<'_>) -> Result<(), Failure> {
        frame.write(&mut self.output).map_err(|_| Failure::new(Step::Cut, Errno::PIPE, &self.path))
    }

    fn skip(&self, why: Skipped) -> Sent {
        self.reporter.tell(&Report::Skipped(why, self.path.clone()));
        Sent::Skipped(why)
    }

    /// All that is in the directories, the last one first.
    fn below(&mut self, mut levels: Vec<Level>) -> Result<(), Failure> {
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.read() else {
                self.write(&Frame::Up)?;
                levels.pop();
                self.path.pop();
                continue;
            };
            let name = OsString::from(OsStr::from_bytes(entry.about(Step::List, &self.path)?.file_name().to_bytes()));
            if name == "." || name == ".." || name == self.temporary {
                continue;
            }
            self.path.push(&name);
            if levels.len() >= DEEPEST {
                return Err(Failure::new(Step::TooDeep, Errno::NAMETOOLONG, &self.path));
            }
            let level = levels.last().ok_or_else(|| self.cut())?;
            let (parent, device) = (level.entries.fd().about(Step::List, &self.path)?, level.device);
            match self.entry(parent, &name, &name)? {
                Sent::Directory(below) => {
                    if below.device != device && self.is_of_the_kernel(&below)? {
                        // An empty directory, as the mount point is.
                        self.write(&Frame::Up)?;
                        self.skip(Skipped::KernelFiles);
                        self.path.pop();
                        continue;
                    }
                    levels.push(below);
                }
                Sent::Whole | Sent::Skipped(_) => drop(self.path.pop()),
            }
        }
        Ok(())
    }

    fn is_of_the_kernel(&self, level: &Level) -> Result<bool, Failure> {
        let directory = level.entries.fd().about(Step::List, &self.path)?;
        let kind = fstatfs(directory).about(Step::List, &self.path)?.f_type;
        // The kernel has 32 bits for it, whatever the width of the field.
        Ok(KERNEL.contains(&(kind as u32)))
    }

    /// One entry of a directory. Names may change at any time: what is sent is what was opened in the end.
    fn entry(&mut self, parent: BorrowedFd<'_>, name: &OsStr, shown: &OsStr) -> Result<Sent, Failure> {
        for _ in 0..ATTEMPTS {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let held = match openat(parent, name, flags, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(self.skip(Skipped::Gone)),
                other => other.about(Step::Find, &self.path)?,
            };
            let status = fstat(&held).about(Step::Find, &self.path)?;
            let kind = FileType::from_raw_mode(status.st_mode);
            match kind {
                FileType::Directory | FileType::RegularFile => {
                    let mut flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    // Neither a fifo nor a terminal can hold us up, if it has become one.
                    flags |= OFlags::NONBLOCK | OFlags::NOCTTY;
                    flags.set(OFlags::DIRECTORY, kind == FileType::Directory);
                    let opened = match openat(parent, name, flags, Mode::empty()) {
                        // It is something else by now.
                        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::NXIO) => continue,
                        other => other.about(Step::Read, &self.path)?,
                    };
                    let status = fstat(&opened).about(Step::Read, &self.path)?;
                    if FileType::from_raw_mode(status.st_mode) != kind {
                        continue;
                    }
                    return match kind {
                        FileType::Directory => self.directory(opened, &status, shown),
                        _ => self.file(&opened, &status, shown),
                    };
                }
                FileType::Symlink => {
                    let target = readlinkat(&held, "", Vec::new()).about(Step::Read, &self.path)?;
                    let target = OsStr::from_bytes(target.as_bytes());
                    self.write(&Frame::Link(facts(&status), shown, target))?;
                    return Ok(Sent::Whole);
                }
                FileType::Fifo => {
                    self.write(&Frame::Fifo(facts(&status), shown))?;
                    return Ok(Sent::Whole);
                }
                FileType::Socket => return Ok(self.skip(Skipped::Socket)),
                _ => return Ok(self.skip(Skipped::Device)),
            }
        }
        Err(Failure::new(Step::Changing, Errno::STALE, &self.path))
    }

    fn directory(&mut self, directory: OwnedFd, status: &Stat, name: &OsStr) -> Result<Sent, Failure> {
        self.write(&Frame::Directory(facts(status), name))?;
        self.attributes(&directory)?;
        let entries = Dir::new(directory).about(Step::List, &self.path)?;
        Ok(Sent::Directory(Level { entries, device: status.st_dev }))
    }

    fn file(&mut self, file: &OwnedFd, status: &Stat, name: &OsStr) -> Result<Sent, Failure> {
        self.write(&Frame::File(facts(status), name))?;
        self.attributes(file)?;
        let size = self.contents(file, status.st_size)?;
        self.write(&Frame::End(size))?;
        Ok(Sent::Whole)
    }

    /// The extended attributes that are the user's, see xattr(7).
    fn attributes(&mut self, file: &OwnedFd) -> Result<(), Failure> {
        let mut list = vec![0; LONGEST_ATTRIBUTE];
        let length = match flistxattr(file, &mut list[..]) {
            Err(Errno::OPNOTSUPP) => return Ok(()),
            other => other.about(Step::Read, &self.path)?,
        };
        list.truncate(length);
        let mut value = vec![0; LONGEST_ATTRIBUTE];
        for name in list.split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.")) {
            let name = OsStr::from_bytes(name);
            match fgetxattr(file, name, &mut value[..]) {
                // Removed meanwhile.
                Err(Errno::NODATA) => {}
                other => {
                    let length = other.about(Step::Read, &self.path)?;
                    self.write(&Frame::Attribute(name, &value[..length]))?;
                }
            }
        }
        Ok(())
    }

    /// What is in a file, without its holes, as long as it goes on; its size.
    fn contents(&mut self, file: &OwnedFd, size: i64) -> Result<u64, Failure> {
        // Files of the kernel's have no size, nor holes.
        let mut holes = size != 0;
        let mut offset = 0;
        loop {
            let (start, end) = match next_extent(file, offset, &mut holes).about(Step::Read, &self.path)? {
                Some(extent) => extent,
                None => return seek(file, SeekFrom::End(0)).about(Step::Read, &self.path),
            };
            offset = start;
            while offset < end {
                let wanted = usize::try_from(end - offset).unwrap_or(PIECE).min(PIECE);
                let mut buffer = std::mem::take(&mut self.buffer);
                let read = rustix::io::retry_on_intr(|| pread(file, &mut buffer[..wanted], offset));
                let sent = match read {
                    Ok(0) => Ok(()),
                    Ok(length) => self.write(&Frame::Data(offset, &buffer[..length])),
                    // Whoever waits for more of it waits for ever.
                    Err(Errno::AGAIN) => Ok(()),
                    Err(errno) => Err(Failure::new(Step::Read, errno, &self.path)),
                };
                self.buffer = buffer;
                sent?;
                match read {
                    Ok(length) if length > 0 => offset += length as u64,
                    _ => return Ok(offset),
                }
            }
        }
    }
}

/// Where data is from this offset on, see lseek(2); nothing where there is none.
fn next_extent(file: &OwnedFd, offset: u64, holes: &mut bool) -> rustix::io::Result<Option<(u64, u64)>> {
    if !*holes {
        return Ok(Some((offset, u64::MAX)));
    }
    let whole = |holes: &mut bool| {
        *holes = false;
        Ok(Some((offset, u64::MAX)))
    };
    let start = match seek(file, SeekFrom::Data(offset)) {
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return whole(holes),
        other => other?,
    };
    match seek(file, SeekFrom::Hole(start)) {
        // Cut off meanwhile.
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => whole(holes),
        // A file system that says nothing else would be asked for ever.
        Ok(end) if end <= start => whole(holes),
        other => Ok(Some((start, other?))),
    }
}

fn facts(status: &Stat) -> Facts {
    let nanoseconds = |part| u32::try_from(part).unwrap_or(0).min(999_999_999);
    Facts {
        mode: status.st_mode & 0o7777,
        uid: status.st_uid,
        gid: status.st_gid,
        accessed: (status.st_atime, nanoseconds(status.st_atime_nsec)),
        modified: (status.st_mtime, nanoseconds(status.st_mtime_nsec)),
    }
}
