//! Mounts whose files belong to other ids than those on disk.

use std::os::fd::{AsFd, OwnedFd};

use plan::{IdLine, MountIds, RootIds};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};
use sys::clone::{Forked, Namespaces, Options};
use sys::mount::{Change, copy_with_attributes, set_attributes};

use super::files::{About, Failure, write_all};
use crate::proto::{self, Message};

/// Where a mount was taken that ids are to be mapped of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// On the host.
    Host,
    /// Inside, where the tree may be mapped already.
    Tree,
}

/// Maps the ids of a detached mount, and of those below it. `target` is what it will be attached to.
///
/// # Errors
/// `EINVAL` where one of its file systems cannot map ids.
pub(super) fn apply(mount: OwnedFd, ids: &MountIds, target: &OwnedFd, origin: Origin) -> Result<OwnedFd, Failure> {
    let users = namespace(&lines(&mount, ids, target, RootIds { host: 0, tree: 0 })?)?;
    match (set_attributes(mount.as_fd(), &change(&users)), origin) {
        (Ok(()), _) => Ok(mount),
        // What is seen of its owner is what the container's root makes of it.
        (Err(Errno::PERM), Origin::Tree) => {
            let seen = match ids {
                MountIds::Lines(_) => RootIds { host: 0, tree: 0 },
                MountIds::OwnerIsRoot(root) | MountIds::OwnerIsTargets(root) => *root,
            };
            let users = namespace(&lines(&mount, ids, target, seen)?)?;
            copy_with_attributes(mount.as_fd(), &change(&users))
                .about("its ids are mapped already, which only Linux 6.15 and later can change")
        }
        // Whoever has mapped it there had a reason.
        (Err(Errno::PERM), Origin::Host) => Err(Errno::PERM).about("its ids are mapped on the host already"),
        (Err(errno), _) => Err(errno).about("a file system of it or below it cannot map ids"),
    }
}

fn change(users: &OwnedFd) -> Change<'_> {
    Change { idmap: Some(users.as_fd()), recursive: true, ..Change::default() }
}

/// The lines of the map. Of the ids of the source those from `seen.tree` on are seen as those from `seen.host` on.
fn lines(mount: &OwnedFd, ids: &MountIds, target: &OwnedFd, seen: RootIds) -> rustix::io::Result<Vec<IdLine>> {
    let host = match ids {
        MountIds::Lines(lines) => return Ok(lines.clone()),
        MountIds::OwnerIsRoot(root) => root.host,
        MountIds::OwnerIsTargets(_) => rustix::fs::fstat(target)?.st_uid,
    };
    let owner = rustix::fs::fstat(mount)?.st_uid;
    let file_system = owner.checked_sub(seen.host).and_then(|id| id.checked_add(seen.tree)).ok_or(Errno::OVERFLOW)?;
    Ok(vec![IdLine { file_system, host, count: 1 }])
}

/// A user namespace with this map, for users and groups, that no process is in.
pub(super) fn namespace(lines: &[IdLine]) -> Result<OwnedFd, Failure> {
    in_new_namespace(|process| fill(process, lines))
}

/// Makes a user namespace without a map. `with` is given the directory in proc of the process that is in it meanwhile.
pub(crate) fn in_new_namespace<T>(with: impl FnOnce(&OwnedFd) -> Result<T, Failure>) -> Result<T, Failure> {
    let (mut receiver, sender) = proto::channel()?;
    // Seen by its own eyes: the process ids here may be others than those of the proc that is mounted.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let options = Options { namespaces: Namespaces::USER, ..Options::default() };
    match sys::clone::fork(&options).about("a user namespace")? {
        Forked::Child => {
            drop(receiver);
            if let Ok(itself) = rustix::fs::open("/proc/self", flags, Mode::empty()) {
                // It stays until it is let go, or the other side is gone.
                let _ = sender.descriptors(&[itself.as_fd()]).and_then(|()| sender.wait());
            }
            sys::clone::exit_now(0)
        }
        Forked::Parent { pidfd, .. } => {
            drop(sender);
            let result = match receiver.receive() {
                Ok(Some(Message::Descriptors(fds))) => {
                    fds.first().ok_or_else(|| Failure::from(Errno::PROTO)).and_then(with)
                }
                _ => Err(Errno::PROTO).about("a user namespace"),
            };
            let _ = receiver.let_go();
            drop(receiver);
            rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED))?;
            result
        }
    }
}

/// Writes the map of a process's user namespace, and opens the namespace.
fn fill(process: &OwnedFd, lines: &[IdLine]) -> Result<OwnedFd, Failure> {
    let text: String =
        lines.iter().map(|line| format!("{} {} {}\n", line.file_system, line.host, line.count)).collect();
    for name in ["uid_map", "gid_map"] {
        let file = openat(process, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).about(name)?;
        write_all(file.as_fd(), text.as_bytes()).about("the map of ids")?;
    }
    openat(process, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).about("a user namespace")
}
