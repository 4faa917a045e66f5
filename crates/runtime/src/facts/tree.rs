//! The tree that becomes the root. It is hostile: its files are reached inside of it and read as text of limited size.

use image::{FileSystem, Tree};
use plan::{EphemeralKind, TreeFacts};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2, readlinkat};
use uuid::Uuid;

pub(super) fn probe(tree: &Tree) -> TreeFacts {
    let exists = |path: &str| open(tree, path, OFlags::PATH).is_ok();
    TreeFacts {
        path: tree.path.clone(),
        host_root: tree.is_host_root,
        read_only: tree.read_only,
        owner: tree.uid,
        idmap: maps_ids(tree.fs),
        ephemeral: EphemeralKind::Overlay,
        os_release: exists("etc/os-release") || exists("usr/lib/os-release"),
        machine_id: machine_id(tree),
        merged_usr: exists("usr") && readlinkat(&tree.fd, "bin", Vec::new()).is_ok(),
    }
}

/// File systems whose mounts can map ids; the kernel has the last word.
fn maps_ids(fs: FileSystem) -> bool {
    !matches!(fs, FileSystem::Overlay | FileSystem::Other(_))
}

fn open(tree: &Tree, path: &str, flags: OFlags) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(&tree.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// What `/etc/machine-id` says, if it is set (machine-id(5)).
fn machine_id(tree: &Tree) -> Option<Uuid> {
    let file = open(tree, "etc/machine-id", OFlags::RDONLY | OFlags::NONBLOCK).ok()?;
    let mut text = [0; 33];
    let length = rustix::io::read(&file, &mut text).ok()?;
    let text = std::str::from_utf8(&text[..length]).ok()?.trim_end();
    Uuid::try_parse(text).ok().filter(|id| text.len() == 32 && !id.is_nil())
}
