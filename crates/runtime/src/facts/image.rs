//! Disk images: taken into use, and looked at. The tree in one is hostile, as any is.

use std::os::fd::AsFd;
use std::path::Path;

use image::disk::attach::{self, Request};
use image::disk::{Disk, Role};
use image::{FileSystem, RunDirectory, Tree};
use plan::{PartitionFacts, PartitionRole};
use rustix::fs::{Dir, Mode, OFlags, ResolveFlags};
use spec::{ContainerSpec, MachineName, Volatile};
use sys::open::openat2;

use super::Error;

/// Takes the image at `path` into use and mounts its root. It is locked first: a file system that somebody else writes
/// to cannot even be looked at. `suffix` is the random end of an ephemeral machine's name, `kept` that nothing is to be
/// written to it because of where it is or how it is marked.
pub(super) fn open(spec: &ContainerSpec, path: &Path, suffix: u64, kept: bool) -> Result<Tree, Error> {
    let name = plan::machine_name_of(spec, path, suffix).map_err(Error::Name)?;
    let machine = MachineName::try_from(name.as_str()).map_err(|_| Error::Name(plan::Error::NoName(name)))?;
    let image = spec.image();
    let shown_only = spec.run().dry_run.is_some();
    let write = !image.ephemeral && !image.read_only && image.volatile == Volatile::No && !kept && !shown_only;
    let run = RunDirectory::system();
    let disk = Disk::open(Request { run: &run, path, machine: &machine, write })?;
    let mut tree = attach::tree(disk)?;
    // What would be written to if this were no question only.
    if shown_only && !kept && !image.read_only {
        tree.read_only = tree.disk.iter().flat_map(|disk| disk.parts()).any(|(part, _)| !part.can_be_written());
    }
    tree.read_only |= kept;
    Ok(tree)
}

/// The partitions beside the root, in the tree's places for them.
pub(super) fn partitions(spec: &ContainerSpec, tree: &Tree) -> Vec<PartitionFacts> {
    let Some(disk) = &tree.disk else { return Vec::new() };
    // A layer above can be written to whatever is below; and a question is about what would be.
    let image = spec.image();
    let above = image.ephemeral || image.volatile == Volatile::Overlay || spec.run().dry_run.is_some();
    let has = |role| disk.parts().any(|(part, _)| part.role == role);
    // A place that is there, or that can be made.
    let makes = makes_places(spec, tree);
    let existing = |place: &'static str| {
        let there = makes || open_directory(tree, place.trim_start_matches('/'), OFlags::PATH).is_ok();
        there.then_some(place)
    };
    let parts = disk.parts().filter_map(|(part, read_only)| {
        let (role, place) = match part.role {
            Role::Root => return None,
            Role::Usr => (PartitionRole::Usr, existing("/usr")),
            Role::Home => (PartitionRole::Home, existing("/home")),
            Role::Srv => (PartitionRole::Srv, existing("/srv")),
            Role::Var => (PartitionRole::Var, existing("/var")),
            // The directory is in another partition then, which is there to be written to.
            Role::Tmp if has(Role::Var) => (PartitionRole::Tmp, Some("/var/tmp")),
            Role::Tmp => (PartitionRole::Tmp, existing("/var/tmp")),
            Role::Xbootldr => (PartitionRole::Xbootldr, existing("/boot")),
            Role::Esp if is_empty(tree, "efi") => (PartitionRole::Esp, Some("/efi")),
            Role::Esp => (PartitionRole::Esp, Some("/boot").filter(|_| !has(Role::Xbootldr) && is_empty(tree, "boot"))),
        };
        let file_system = part.format.file_system().unwrap_or_default();
        // Boot partitions are of no use to a container, and not every kernel has their file system.
        let boot = matches!(role, PartitionRole::Esp | PartitionRole::Xbootldr);
        let place = place.filter(|_| !boot || knows(file_system));
        let read_only = if above { !part.can_be_written() } else { read_only };
        Some(PartitionFacts { role, place, read_only, idmap: true })
    });
    parts.collect()
}

/// Whether a directory can be made in what the root is when the partitions are mounted.
fn makes_places(spec: &ContainerSpec, tree: &Tree) -> bool {
    let image = spec.image();
    match image.volatile {
        Volatile::Yes | Volatile::Overlay => true,
        Volatile::State => false,
        Volatile::No => !image.read_only && (image.ephemeral || !tree.read_only),
    }
}

fn is_empty(tree: &Tree, name: &str) -> bool {
    let Ok(directory) = open_directory(tree, name, OFlags::RDONLY) else { return false };
    let Ok(entries) = Dir::new(directory) else { return false };
    entries.flatten().all(|entry| matches!(entry.file_name().to_bytes(), b"." | b".."))
}

fn open_directory(tree: &Tree, name: &str, flags: OFlags) -> rustix::io::Result<std::os::fd::OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(&tree.fd, name, flags | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// Whether the kernel has a file system, or can load it.
fn knows(file_system: &str) -> bool {
    rustix::mount::fsopen(file_system, rustix::mount::FsOpenFlags::FSOPEN_CLOEXEC).is_ok()
}

/// Whether something is in the image's partition for `/usr`, where that is one of its own.
pub(super) fn usr_has(tree: &Tree, path: &str) -> bool {
    let Some(disk) = &tree.disk else { return false };
    let Some(inside) = path.strip_prefix("usr/") else { return false };
    if !disk.parts().any(|(part, _)| part.role == Role::Usr) {
        return false;
    }
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = |usr: std::os::fd::OwnedFd| {
        openat2(usr.as_fd(), inside, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).is_ok()
    };
    disk.mount(Role::Usr).is_ok_and(found)
}

/// The file system is one that can map ids, as far as can be told without asking the kernel.
pub(super) fn maps_ids(fs: FileSystem) -> bool {
    !matches!(fs, FileSystem::Overlay | FileSystem::Other(_))
}
