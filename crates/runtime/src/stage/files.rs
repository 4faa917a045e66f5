//! Carries out [`FileStep`]s below a root that may be hostile: every path is resolved inside of it, links included.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use plan::{FileStep, FileSystem, MountFlags, MountIds, SourceNumber};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};
use sys::mount::{Attributes, Change, Propagation, set_attributes};
use sys::open::openat2;

use super::id_map::{self, Origin};
use super::{destination, device, new_mount};

/// Links stay inside the root; those of proc that lead anywhere are not followed at all.
const RESOLVE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

/// A step that failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    /// The kernel's reason.
    pub errno: Errno,
    /// What it was about, in addition to the step itself.
    pub detail: String,
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self { errno, detail: String::new() }
    }
}

impl From<machine::program::Failure> for Failure {
    fn from(machine::program::Failure { errno, detail }: machine::program::Failure) -> Self {
        Self { errno, detail }
    }
}

/// Adds what an error was about.
pub trait About<T> {
    /// Names the thing.
    ///
    /// # Errors
    /// The same error, with a name.
    fn about(self, thing: impl Display) -> Result<T, Failure>;
}

impl<T> About<T> for rustix::io::Result<T> {
    fn about(self, thing: impl Display) -> Result<T, Failure> {
        self.map_err(|errno| Failure { errno, detail: thing.to_string() })
    }
}

/// The mounts that were taken from the host.
pub type Sources = Vec<(SourceNumber, OwnedFd)>;

/// The place where steps are carried out.
#[derive(Debug)]
pub struct Files {
    root: OwnedFd,
    /// The directory that the last object was made in. Forgotten when anything is mounted.
    parent: Option<(PathBuf, OwnedFd)>,
}

impl Files {
    /// Works below `root`.
    pub fn new(root: OwnedFd) -> Self {
        Self { root, parent: None }
    }

    /// The root directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Makes the root that of all processes in this mount namespace that had the host's, and lets go of that.
    ///
    /// # Errors
    /// Those of pivot_root(2).
    pub fn become_root(&self) -> Result<(), Failure> {
        rustix::process::fchdir(self.root())?;
        // The old root is put on top of the new one, and taken away from there.
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH)?;
        Ok(rustix::process::chdir("/")?)
    }

    /// Carries out one step.
    ///
    /// # Errors
    /// The kernel's reason and what it was about.
    pub fn run(&mut self, step: &FileStep, sources: &Sources) -> Result<(), Failure> {
        match step {
            FileStep::Mount { file_system, target, options, attributes } => {
                self.mount(*file_system, target.as_path(), options, *attributes)
            }
            FileStep::Attach { source, target, attributes, directory, ids } => {
                let (_, mount) = sources.iter().find(|(number, _)| number == source).ok_or(Errno::BADF)?;
                restrict(mount.as_fd(), *attributes, true)?;
                let Some(ids) = ids else { return self.place(mount, target.as_path(), *directory) };
                let mount = mount.try_clone().map_err(|_| Errno::MFILE)?;
                self.place_mapped(mount, target.as_path(), *directory, (ids, Origin::Host))
            }
            FileStep::Bind { source, target, attributes, recursive, attributes_below, optional, ids } => {
                let at = match self.open(source.as_path(), OFlags::PATH) {
                    Err(Errno::NOENT) if *optional => return Ok(()),
                    other => other.about(source)?,
                };
                let mount = take_mount(at.as_fd(), *recursive).about(source)?;
                restrict(mount.as_fd(), *attributes, *attributes_below)?;
                if source == target {
                    self.parent = None;
                    let mount = match ids {
                        Some(ids) => id_map::apply(mount, ids, &at, Origin::Tree)?,
                        None => mount,
                    };
                    return place_at(&mount, &at).about(target);
                }
                let directory = is_directory(&at)?;
                match ids {
                    Some(ids) => self.place_mapped(mount, target.as_path(), directory, (ids, Origin::Tree)),
                    None => self.place(&mount, target.as_path(), directory),
                }
            }
            FileStep::MountAny { kind, source, target, options, attributes } => {
                let mount = new_mount::any_mount(kind, source.as_deref(), options, *attributes)?;
                self.place(&mount, target.as_path(), true)
            }
            FileStep::Change { path, set, clear, relative_times, private, recursive } => {
                let times = if *relative_times { Attributes::ACCESS_TIMES } else { Attributes::NONE };
                let change = Change {
                    set: self::attributes(*set),
                    clear: self::attributes(*clear) | times,
                    propagation: private.then_some(Propagation::Private),
                    recursive: *recursive,
                    ..Change::default()
                };
                set_attributes(self.open(path.as_path(), OFlags::PATH)?.as_fd(), &change).about(path)
            }
            FileStep::Restrict { path, attributes } => {
                restrict(self.open(path.as_path(), OFlags::PATH)?.as_fd(), *attributes, false)?;
                Ok(())
            }
            FileStep::Detach { path } => self.detach(path.as_path()),
            FileStep::Mask { path, optional } => match self.mask(path.as_path()) {
                Err(Failure { errno: Errno::NOENT, .. }) if *optional => Ok(()),
                other => other,
            },
            FileStep::Directory { path, mode } => self.directory(path.as_path(), *mode),
            FileStep::File { path, mode, contents } => self.file(path.as_path(), *mode, contents),
            FileStep::PrivateFile { path, contents } => self.file(path.as_path(), 0o600, contents.reveal()),
            FileStep::Symlink { path, target } => {
                let (parent, name) = self.parent(path.as_path())?;
                Ok(symlinkat(target.as_os_str(), parent, name)?)
            }
            FileStep::Node { path, mode, kind } => {
                let (parent, name) = self.parent(path.as_path())?;
                let (file_type, device) = device::number(*kind);
                Ok(mknodat(parent, name, file_type, Mode::from_raw_mode(*mode), device)?)
            }
            FileStep::Device { path, mode, kind, uid, gid } => {
                device::make(self, path.as_path(), &device::Wanted { kind: *kind, mode: *mode, owner: (*uid, *gid) })
            }
        }
    }

    /// Opens something inside the root.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn open(&self, path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        openat2(&self.root, inside(path), flags | OFlags::CLOEXEC, Mode::empty(), RESOLVE)
    }

    /// The directory of `path`, and the last part of it. Nothing is known about whether that exists.
    ///
    /// # Errors
    /// Those of openat2(2).
    pub fn parent<'a>(&'a mut self, path: &'a Path) -> rustix::io::Result<(BorrowedFd<'a>, &'a OsStr)> {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::INVAL) };
        if self.parent.as_ref().is_none_or(|(known, _)| known != directory) {
            let fd = self.open(directory, OFlags::PATH | OFlags::DIRECTORY)?;
            self.parent = Some((directory.to_owned(), fd));
        }
        match &self.parent {
            Some((_, fd)) => Ok((fd.as_fd(), name)),
            None => Err(Errno::BADF),
        }
    }

    /// A new file system at `target`, which is made if it is missing.
    fn mount(
        &mut self,
        file_system: FileSystem,
        target: &Path,
        options: &[String],
        flags: MountFlags,
    ) -> Result<(), Failure> {
        if target.parent().is_some() {
            let at = self.target(target, true)?;
            self.parent = None;
            if new_mount::at_once(&at, &self.root, (file_system, options, flags)).is_ok() {
                return Ok(());
            }
        }
        let mount = new_mount::new_mount(file_system, options, flags)?;
        self.place(&mount, target, true)
    }

    /// Puts a detached mount at `target`, which is made if it is missing.
    ///
    /// # Errors
    /// The kernel's reason and what it was about.
    pub fn place(&mut self, mount: &OwnedFd, target: &Path, directory: bool) -> Result<(), Failure> {
        let at = self.target(target, directory)?;
        self.attach(mount, &at, target, directory)
    }

    /// The same for a mount whose ids are mapped.
    fn place_mapped(
        &mut self,
        mount: OwnedFd,
        target: &Path,
        directory: bool,
        (ids, origin): (&MountIds, Origin),
    ) -> Result<(), Failure> {
        let at = self.target(target, directory)?;
        let mount = id_map::apply(mount, ids, &at, origin)
            .map_err(|Failure { errno, detail }| Failure { errno, detail: format!("{detail}; use noidmap") })?;
        self.attach(&mount, &at, target, directory)
    }

    fn attach(&mut self, mount: &OwnedFd, at: &OwnedFd, target: &Path, directory: bool) -> Result<(), Failure> {
        self.parent = None;
        match place_at(mount, at) {
            Err(Errno::INVAL) if is_directory(at)? != directory => {
                let (errno, word) = if directory { (Errno::NOTDIR, "no") } else { (Errno::ISDIR, "a") };
                return Err(errno).about(format_args!("what is at {} is {word} directory", target.display()));
            }
            other => other.about(target.display())?,
        }
        if target.parent().is_none() {
            // From now on all is found in it.
            self.root = mount.try_clone().map_err(|_| Errno::MFILE)?;
        }
        Ok(())
    }

    /// What is mounted on, made if it is missing.
    fn target(&mut self, target: &Path, directory: bool) -> Result<OwnedFd, Failure> {
        match self.open(target, OFlags::PATH) {
            Err(Errno::NOENT) => destination::make(self, target, directory),
            other => other.about(target.display()),
        }
    }

    pub(super) fn directory(&mut self, path: &Path, mode: u32) -> Result<(), Failure> {
        let (parent, name) = self.parent(path).about(path.display())?;
        match mkdirat(parent, name, Mode::from_raw_mode(mode)) {
            // Somebody else's directory, or a link to one: where it leads is inside.
            Err(Errno::EXIST) => self.open(path, OFlags::PATH | OFlags::DIRECTORY).map(drop),
            other => other,
        }
        .about(path.display())
    }

    pub(super) fn file(&mut self, path: &Path, mode: u32, contents: &[u8]) -> Result<(), Failure> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (parent, name) = self.parent(path).about(path.display())?;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode)).about(path.display())?;
        write_all(file.as_fd(), contents).about(path.display())
    }

    fn mask(&mut self, path: &Path) -> Result<(), Failure> {
        let at = self.open(path, OFlags::PATH).about(path.display())?;
        let name = match FileType::from_raw_mode(rustix::fs::fstat(&at)?.st_mode) {
            FileType::Directory => "dir",
            FileType::CharacterDevice => "chr",
            FileType::BlockDevice => "blk",
            FileType::Fifo => "fifo",
            FileType::Socket => "sock",
            _ => "reg",
        };
        let empty = self.open(&Path::new("/run/host/inaccessible").join(name), OFlags::PATH)?;
        let mount = take_mount(empty.as_fd(), false)?;
        restrict(mount.as_fd(), MountFlags::API_READ_ONLY, false)?;
        self.parent = None;
        place_at(&mount, &at).about(path.display())
    }

    /// Takes away what was mounted for a while. It is put among the host's mounts of this namespace, and goes with them
    /// in [`Files::become_root`]: each unmounting by itself waits until all processors have seen it.
    fn detach(&mut self, path: &Path) -> Result<(), Failure> {
        let at = self.open(path, OFlags::PATH | OFlags::DIRECTORY).about(path.display())?;
        if place_on_host(at.as_fd(), Path::new("/sys")).is_err() {
            // By way of the working directory: unmounting takes a path, and this one needs no walk.
            rustix::process::fchdir(&at)?;
            rustix::mount::unmount(".", rustix::mount::UnmountFlags::DETACH).about(path.display())?;
            rustix::process::fchdir(&self.root)?;
        }
        let (parent, name) = self.parent(path)?;
        Ok(rustix::fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
    }
}

fn is_directory(at: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(at)?.st_mode).is_dir())
}

/// Puts a detached mount on top of something that is open.
pub(super) fn place_at(mount: &OwnedFd, at: &OwnedFd) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, "", at, "", flags)
}

/// A path as openat2(2) takes it below a root.
fn inside(path: &Path) -> &Path {
    match path.strip_prefix("/") {
        Ok(rest) if rest.as_os_str().is_empty() => Path::new("."),
        Ok(rest) => rest,
        Err(_) => path,
    }
}

/// A detached copy of the mount that `at` lies in, from there on. It receives what the host mounts later below, and
/// passes nothing on.
///
/// # Errors
/// Those of open_tree(2).
pub fn take_mount(at: BorrowedFd<'_>, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(at, "", flags)
}

/// Adds attributes to a mount, and if wanted to all below it.
///
/// # Errors
/// Those of mount_setattr(2).
pub fn restrict(mount: BorrowedFd<'_>, flags: MountFlags, recursive: bool) -> rustix::io::Result<()> {
    if flags == MountFlags::NONE {
        return Ok(());
    }
    set_attributes(mount, &Change { set: attributes(flags), recursive, ..Change::default() })
}

pub(super) fn attributes(flags: MountFlags) -> Attributes {
    [
        (flags.read_only, Attributes::READ_ONLY),
        (flags.no_suid, Attributes::NO_SUID),
        (flags.no_dev, Attributes::NO_DEV),
        (flags.no_exec, Attributes::NO_EXEC),
        (flags.no_symfollow, Attributes::NO_SYMFOLLOW),
        (flags.strict_atime, Attributes::STRICT_ATIME),
        (flags.no_atime, Attributes::NO_ATIME),
        (flags.no_diratime, Attributes::NO_DIRATIME),
    ]
    .into_iter()
    .filter(|(set, _)| *set)
    .fold(Attributes::NONE, |all, (_, one)| all | one)
}

/// Writes all of it.
///
/// # Errors
/// Those of write(2).
pub fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(file, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(())
}

/// Puts a detached mount at a path of the host, as this process's mount namespace has it.
///
/// # Errors
/// Those of move_mount(2).
pub fn place_on_host(mount: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<()> {
    move_mount(mount, "", CWD, OsStr::from_bytes(path.as_os_str().as_bytes()), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}
