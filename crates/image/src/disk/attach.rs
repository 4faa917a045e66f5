//! An image is locked, its partitions become loop devices, and these are mounted: detached, so that nothing shows on
//! the host, and gone with the last process that uses them, whatever happens to it.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};
use spec::MachineName;
use sys::loop_device::{self, LoopDevice};

use super::format::Format;
use super::layout::{self, Layout, Part, dissect};
use super::role::{self, Role};
use super::storage::FileStorage;
use super::usr_root;
use crate::lock::{self, TreeLock};
use crate::run_directory::RunDirectory;
use crate::tree::{Identity, Tree};

/// How long those who have the image in use may take to be gone: a run that was killed still writes out what it has.
const DYING: Duration = Duration::from_secs(5);
/// How long it may take to write out what a file system has in memory.
const WRITING: Duration = Duration::from_secs(120);

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is nothing.
    #[error("{path} does not exist; name a disk image, or a directory tree with -D", path = .0.display())]
    Missing(PathBuf),
    /// It is something else.
    #[error("{path} is a directory and not a disk image; use it with -D", path = .0.display())]
    Directory(PathBuf),
    /// It is something else still.
    #[error("{path} is neither a regular file nor a block device, so it is no disk image", path = .0.display())]
    Kind(PathBuf),
    /// The kernel refused to open it.
    #[error("cannot open the disk image {path}", path = .path.display())]
    Open {
        /// The image.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// What is in it cannot be used.
    #[error("{path} {problem}", path = .path.display())]
    Layout {
        /// The image.
        path: PathBuf,
        /// Why.
        problem: layout::Error,
    },
    /// Beside it there is what protects it.
    #[error(
        "{path} is protected by dm-verity, with the data in {data}, which is not set up yet; to use it without, take the root hash away ({hash})", path = .path.display(), data = .data.display()
    )]
    Verity {
        /// The image.
        path: PathBuf,
        /// Its hashes.
        data: PathBuf,
        /// Where the root hash is.
        hash: String,
    },
    /// Another container uses it.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Somebody else has it as a loop device.
    #[error("{path} is in use: {device} is a part of it; unmount that, and detach it with \"losetup -d {device}\"", path = .path.display(), device = .device.display())]
    InUse {
        /// The image.
        path: PathBuf,
        /// The other's loop device.
        device: PathBuf,
    },
    /// Somebody has the block device, or a partition of it, mounted.
    #[error("{path} is in use; unmount it and its partitions first", path = .0.display())]
    DeviceInUse(PathBuf),
    /// The host has no loop devices.
    #[error("this host has no loop devices, which disk images need; load the kernel module \"loop\"")]
    NoLoopDevices,
    /// The loop device.
    #[error("cannot make a loop device of {part} in {path}", path = .path.display())]
    Loop {
        /// The image.
        path: PathBuf,
        /// Which part.
        part: String,
        /// Why.
        source: Errno,
    },
    /// The kernel has no such file system.
    #[error("{part} in {path} is {format}, which this kernel does not know; load the module \"{format}\"", path = .path.display())]
    Unknown {
        /// The image.
        path: PathBuf,
        /// Which part.
        part: String,
        /// The file system.
        format: &'static str,
    },
    /// The kernel does not mount it.
    #[error("cannot mount {part} in {path} as {format}{message}; the kernel's log (dmesg) may tell more, and fsck.{format}(8) may mend it", path = .path.display())]
    Mount {
        /// The image.
        path: PathBuf,
        /// Which part.
        part: String,
        /// The file system.
        format: &'static str,
        /// What the kernel says beside its reason.
        message: String,
        /// Why.
        source: Errno,
    },
    /// The root that is not on the disk.
    #[error("cannot make a root in memory for {path}, which has /usr alone", path = .path.display())]
    Memory {
        /// The image.
        path: PathBuf,
        /// Why.
        source: Errno,
    },
    /// It is still being written.
    #[error("{path} is still being written after two minutes; do not use it before {device} is gone", path = .path.display(), device = .device.display())]
    StillWritten {
        /// The image.
        path: PathBuf,
        /// The loop device.
        device: PathBuf,
    },
}

/// Who wants an image for what.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Where locks are.
    pub run: &'a RunDirectory,
    /// The image.
    pub path: &'a Path,
    /// The container's name.
    pub machine: &'a MachineName,
    /// It is to be written to, as far as that can be.
    pub write: bool,
}

/// An image in use: locked, its parts loop devices.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    identity: Identity,
    block_device: bool,
    layout: Layout,
    devices: Vec<Device>,
    /// Keeps others from mounting partitions of a block device.
    _claim: Option<OwnedFd>,
    lock: TreeLock,
}

#[derive(Debug)]
struct Device {
    part: Part,
    node: LoopDevice,
    read_only: bool,
}

impl Disk {
    /// Takes an image apart and into use.
    ///
    /// # Errors
    /// [`Error`]; nothing is left then.
    pub fn open(request: Request<'_>) -> Result<Self, Error> {
        let path = std::fs::canonicalize(request.path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Missing(request.path.to_owned()),
            _ => {
                Error::Open { path: request.path.to_owned(), source: Errno::from_io_error(&error).unwrap_or(Errno::IO) }
            }
        })?;
        let opened = |source| Error::Open { path: path.clone(), source };
        let node = openat(CWD, &path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(opened)?;
        let status = rustix::fs::fstat(&node).map_err(opened)?;
        let kind = FileType::from_raw_mode(status.st_mode);
        match kind {
            FileType::RegularFile | FileType::BlockDevice => {}
            FileType::Directory => return Err(Error::Directory(path)),
            _ => return Err(Error::Kind(path)),
        }
        let (file, mut writable) = open_file(&path, request.write).map_err(opened)?;
        let status = rustix::fs::fstat(&file).map_err(opened)?;
        let identity = Identity::from(&status);
        if kind == FileType::BlockDevice {
            writable &= !sys::grow::device_is_read_only(file.as_fd()).map_err(opened)?;
        }
        verity_beside(&path, &file)?;
        let read_only = |part: &Part| !writable || !part.can_be_written();
        let look = || look(&path, &file, kind);
        let is_read = |layout: &Layout| layout.parts.iter().all(read_only);
        // How it is locked follows from what is in it, which counts only once it is locked.
        let mut reader = look().is_ok_and(|layout| is_read(&layout));
        let (lock, layout) = loop {
            let lock = TreeLock::of_image(request.run, (&path, &status), request.machine, reader)?;
            let layout = look()?;
            if !reader || is_read(&layout) {
                break (lock, layout);
            }
            reader = false;
        };
        await_others(&path, &file, reader)?;
        let claim = if kind == FileType::BlockDevice { claim(&path, reader)? } else { None };
        let mut devices = Vec::new();
        for part in &layout.parts {
            let read_only = read_only(part);
            let node = attach(&path, &file, part, layout.sector, read_only)?;
            devices.push(Device { part: part.clone(), node, read_only });
        }
        Ok(Self { path, identity, block_device: kind == FileType::BlockDevice, layout, devices, _claim: claim, lock })
    }

    /// Its path, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// It is a block device, and not a file.
    #[must_use]
    pub fn is_block_device(&self) -> bool {
        self.block_device
    }

    /// Which file it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// What a person should know, as sentences.
    #[must_use]
    pub fn notices(&self) -> Vec<String> {
        self.layout.notices.iter().map(|text| format!("{}: {text}.", self.path.display())).collect()
    }

    /// Its parts, and whether they are used read-only.
    pub fn parts(&self) -> impl Iterator<Item = (&Part, bool)> {
        self.devices.iter().map(|device| (&device.part, device.read_only))
    }

    /// The machines that had the image in use and died.
    #[must_use]
    pub fn dead(&self) -> &[String] {
        self.lock.dead()
    }

    /// A detached mount of the part for `role`. Where only `/usr` is on the disk, the root is a new one in memory.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::Mount`] and [`Error::Memory`].
    pub fn mount(&self, role: Role) -> Result<OwnedFd, Error> {
        if role == Role::Root && !self.devices.iter().any(|device| device.part.role == role) {
            let usr = self.mount(Role::Usr)?;
            let roles = self.devices.iter().map(|device| device.part.role);
            return usr_root::make(usr.as_fd(), roles)
                .map_err(|source| Error::Memory { path: self.path.clone(), source });
        }
        let Some(device) = self.devices.iter().find(|device| device.part.role == role) else {
            return Err(Error::Mount {
                path: self.path.clone(),
                part: format!("the partition for {role}"),
                format: "",
                message: String::new(),
                source: Errno::NOENT,
            });
        };
        let format = device.part.format.file_system().unwrap_or_default();
        let (path, part) = (self.path.clone(), device.part.to_string());
        // Where a log would have to be replayed first and nothing may be written, the state before it is shown.
        let mut result = mount(device, format, false);
        if device.read_only && matches!(result, Err((Errno::ROFS | Errno::ACCESS, _))) {
            result = mount(device, format, true);
        }
        result.map_err(|(source, message)| match source {
            Errno::NODEV => Error::Unknown { path, part, format },
            source => Error::Mount { path, part, format, message, source },
        })
    }

    /// Makes the file systems that are marked so as large as their partitions. Where that does not work, all else does.
    fn grow(&mut self) {
        let wanted = self.devices.iter().filter(|device| device.part.grow && !device.read_only);
        let failed: Vec<String> = wanted
            .filter_map(|device| {
                let errno = self.grow_one(device).err()?;
                let reason = match (device.part.format, errno) {
                    // fs/ext4/resize.c asks for that of the host, and for nothing else.
                    (Format::Ext4, Errno::PERM) => "the kernel wants the capability CAP_SYS_RESOURCE for ext4, which \
                        this process lacks; resize2fs(8) does it on a loop device of the partition while nothing runs"
                        .to_owned(),
                    _ => std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string(),
                };
                Some(format!("{} does not become as large as its partition: {reason}", device.part))
            })
            .collect();
        self.layout.notices.extend(failed);
    }

    fn grow_one(&self, device: &Device) -> rustix::io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        // Its mount is told of where it is used.
        let Ok(mount) = self.mount(device.part.role) else { return Ok(()) };
        let root = openat(&mount, ".", flags, Mode::empty())?;
        match device.part.format {
            Format::Ext4 => sys::grow::ext4(root.as_fd(), device.part.size),
            Format::Btrfs => sys::grow::btrfs(root.as_fd()),
            Format::Xfs => sys::grow::xfs(root.as_fd(), device.part.size),
            _ => Ok(()),
        }
    }

    /// Gives the image back once all is written: the kernel takes file systems apart a moment after the last process
    /// that sees them has ended.
    ///
    /// # Errors
    /// [`Error::StillWritten`].
    pub fn release(mut self) -> Result<(), Error> {
        let limit = Instant::now() + WRITING;
        for device in &self.devices {
            while device.node.is_claimed().unwrap_or(false) {
                if Instant::now() > limit {
                    return Err(Error::StillWritten { path: self.path.clone(), device: device.node.path() });
                }
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        self.devices.drain(..).for_each(|device| device.node.release());
        Ok(())
    }
}

/// The tree in the root partition of an image.
///
/// # Errors
/// As [`Disk::mount`], and that it is no tree of an operating system.
pub fn tree(mut disk: Disk) -> Result<Tree, Error> {
    disk.grow();
    let root = disk.mount(Role::Root)?;
    let path = disk.path.clone();
    Tree::of_image(root, disk).map_err(|source| Error::Open { path, source })
}

/// Takes it apart.
fn look(path: &Path, file: &File, kind: FileType) -> Result<Layout, Error> {
    let opened = |source| Error::Open { path: path.to_owned(), source };
    let size = if kind == FileType::BlockDevice {
        sys::grow::device_size(file.as_fd()).map_err(opened)?
    } else {
        u64::try_from(rustix::fs::fstat(file).map_err(opened)?.st_size).unwrap_or(0)
    };
    dissect(&FileStorage { file, size }, role::native())
        .map_err(|problem| Error::Layout { path: path.to_owned(), problem })
}

/// The file, and whether it can be written.
fn open_file(path: &Path, write: bool) -> rustix::io::Result<(File, bool)> {
    let flags = OFlags::CLOEXEC | OFlags::NONBLOCK;
    if write {
        match openat(CWD, path, OFlags::RDWR | flags, Mode::empty()) {
            Err(Errno::ROFS | Errno::ACCESS | Errno::PERM | Errno::TXTBSY) => {}
            other => return other.map(|fd| (File::from(fd), true)),
        }
    }
    openat(CWD, path, OFlags::RDONLY | flags, Mode::empty()).map(|fd| (File::from(fd), false))
}

/// An image with a root hash and verity data beside it is meant to be protected by them (systemd-nspawn(1),
/// `--root-hash=`, `--verity-data=`).
fn verity_beside(path: &Path, file: &File) -> Result<(), Error> {
    const ATTRIBUTE: &str = "user.verity.roothash";
    let stem = if path.extension().is_some_and(|end| end == "raw") { path.with_extension("") } else { path.to_owned() };
    let beside = |end: &str| {
        let mut name = stem.clone().into_os_string();
        name.push(end);
        Some(PathBuf::from(name)).filter(|file| file.exists())
    };
    let Some(data) = beside(".verity") else { return Ok(()) };
    let hash = match beside(".roothash") {
        Some(file) => file.display().to_string(),
        None if rustix::fs::fgetxattr(file, ATTRIBUTE, &mut [0u8; 0][..]).is_ok() => {
            format!("the attribute {ATTRIBUTE}")
        }
        None => return Ok(()),
    };
    Err(Error::Verity { path: path.to_owned(), data, hash })
}

/// Waits a moment for other users of the image. Two that only read do not mind each other.
fn await_others(path: &Path, file: &File, reader: bool) -> Result<(), Error> {
    let limit = Instant::now() + DYING;
    loop {
        let users = loop_device::users(file.as_fd()).map_err(|source| Error::Open { path: path.to_owned(), source })?;
        let Some(user) = users.into_iter().find(|user| !(reader && user.read_only)) else { return Ok(()) };
        if Instant::now() > limit {
            return Err(Error::InUse { path: path.to_owned(), device: user.path });
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A block device of which anything is mounted cannot be claimed. Who only reads lets others read, too.
fn claim(path: &Path, reader: bool) -> Result<Option<OwnedFd>, Error> {
    match openat(CWD, path, OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC, Mode::empty()) {
        Ok(fd) => Ok((!reader).then_some(fd)),
        Err(Errno::BUSY) => Err(Error::DeviceInUse(path.to_owned())),
        Err(source) => Err(Error::Open { path: path.to_owned(), source }),
    }
}

fn attach(path: &Path, file: &File, part: &Part, sector: u32, read_only: bool) -> Result<LoopDevice, Error> {
    let wanted = loop_device::Part { offset: part.offset, size: part.size, block_size: sector, read_only };
    LoopDevice::attach(file.as_fd(), wanted).map_err(|source| match source {
        Errno::NOENT => Error::NoLoopDevices,
        source => Error::Loop { path: path.to_owned(), part: part.to_string(), source },
    })
}

/// A new mount of the device. `as_it_is`: without replaying a log.
fn mount(device: &Device, format: &'static str, as_it_is: bool) -> Result<OwnedFd, (Errno, String)> {
    let silent = |errno| (errno, String::new());
    let context = fsopen(format, FsOpenFlags::FSOPEN_CLOEXEC).map_err(silent)?;
    let attempt = || -> rustix::io::Result<OwnedFd> {
        fsconfig_set_string(&context, "source", device.node.path())?;
        if device.read_only {
            fsconfig_set_flag(&context, "ro")?;
        }
        match device.part.format {
            // An image must not choose that the host panics.
            Format::Ext4 => fsconfig_set_string(&context, "errors", "remount-ro")?,
            // Copies of the same image may be mounted at the same time.
            Format::Xfs => fsconfig_set_flag(&context, "nouuid")?,
            Format::Vfat => fsconfig_set_string(&context, "umask", "0077")?,
            _ => {}
        }
        match device.part.format {
            Format::Ext4 | Format::Xfs if as_it_is => fsconfig_set_flag(&context, "norecovery")?,
            Format::Btrfs if as_it_is => fsconfig_set_string(&context, "rescue", "nologreplay")?,
            // What is deleted inside makes the image smaller.
            Format::Ext4 | Format::Xfs | Format::Btrfs if !device.read_only => fsconfig_set_flag(&context, "discard")?,
            _ => {}
        }
        fsconfig_create(&context)?;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
    };
    attempt().map_err(|errno| (errno, message(&context)))
}

/// What the kernel has written about an attempt, see fsopen(2).
pub(super) fn message(context: &OwnedFd) -> String {
    let mut text = String::new();
    let mut bytes = [0; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut bytes) {
        let line = String::from_utf8_lossy(&bytes[..length]);
        // A letter for its weight and a space come first.
        text.push_str(": ");
        text.extend(line.get(2..).unwrap_or(&line).trim_end().chars().filter(|character| !character.is_control()));
    }
    text
}
