//! The directory of the machine's journal inside (systemd-nspawn(1), `--link-journal=`).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use plan::{FileStep, JOURNALS, SourceNumber};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind as bind_socket, socket_with};
use spec::AbsPath;
use sys::mount::{Change, set_attributes};

use super::files::{About, Failure, Files, Sources};

/// The directories above it: where they are links they may lead anywhere inside.
const ABOVE: [&str; 3] = ["/var", "/var/log", JOURNALS];

/// Makes it, and the directories above.
pub(super) fn make(files: &mut Files, id: &str) -> Result<PathBuf, Failure> {
    let path = PathBuf::from(format!("{JOURNALS}/{id}"));
    let own = path.to_str().unwrap_or_default();
    for path in ABOVE.into_iter().chain([own]) {
        let path = AbsPath::try_from(path).map_err(|_| Errno::INVAL)?;
        files.run(&FileStep::Directory { path, mode: 0o755 }, &Vec::new())?;
    }
    Ok(path)
}

/// Mounts the host's there. With users of the container's own the files on disk belong to the host's, and are the
/// container's by the mount: the next start may have another range.
pub(super) fn bind(
    files: &mut Files,
    sources: &Sources,
    id: &str,
    users: Option<BorrowedFd<'_>>,
) -> Result<(), Failure> {
    let (_, mount) = sources.iter().find(|(number, _)| *number == SourceNumber::Journal).ok_or(Errno::BADF)?;
    let path = make(files, id)?;
    if !FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode).is_dir() {
        return Err(Errno::NOTDIR).about(path.display());
    }
    if users.is_some() {
        let change = Change { idmap: users, ..Change::default() };
        set_attributes(mount.as_fd(), &change).about("the owners of its files")?;
    }
    drop(files.open(&path, OFlags::PATH | OFlags::DIRECTORY).about(path.display())?);
    files.place(mount, &path, true)
}

/// The socket at which the container's journald sends what it writes; others than root cannot call.
pub(super) fn listen(files: &mut Files) -> Result<OwnedFd, Failure> {
    /// As many connections as wait at once: there is one journald, and one more for each of its namespaces.
    const WAITING: i32 = 16;
    let directory = files.open(Path::new("/run/host/journal"), OFlags::PATH | OFlags::DIRECTORY)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::process::fchdir(&directory)?;
    bind_socket(&socket, &SocketAddrUnix::new("socket")?).about("/run/host/journal/socket")?;
    rustix::fs::chmodat(&directory, "socket", Mode::from_raw_mode(0o644), AtFlags::empty())?;
    rustix::process::fchdir(files.root())?;
    rustix::net::listen(&socket, WAITING)?;
    Ok(socket)
}
