//! Whether there is room for what is to be installed (`CheckSpace` of pacman.conf(5)): roughly, by the sizes that packages
//! say.

use std::collections::HashMap;
use std::os::fd::AsFd;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::archive::{PackageArchive, above};
use crate::tree::{self, Tree};

/// What stays free at least, unless a twentieth of the file system is less.
const CUSHION: u64 = 20 << 20;

/// A file system without enough room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no room for the packages below '/{path}' in the tree: they need {needed} MiB, and {free} MiB are free"
)]
pub struct Full {
    /// A directory of it.
    pub path: String,
    /// What is needed, in MiB.
    pub needed: u64,
    /// What is free, in MiB.
    pub free: u64,
}

/// A file system of the tree.
struct FileSystem {
    path: String,
    block: u64,
    free: u64,
    cushion: u64,
    needed: u64,
}

/// Checks that there is room for the files of the packages, of which `gone` bytes take the place of others.
///
/// # Errors
/// Where the tree cannot be looked at. The inner error: where there is no room.
pub(crate) fn check(tree: &Tree, packages: &[PackageArchive], gone: u64) -> Result<Result<(), Full>, tree::Error> {
    let mut systems: HashMap<u64, FileSystem> = HashMap::new();
    let mut directories: HashMap<Vec<u8>, Option<u64>> = HashMap::new();
    let root = system_of(tree, b"", &mut systems)?.unwrap_or(0);
    for package in packages {
        for file in &package.files {
            let mut device = root;
            let parents: Vec<&[u8]> = above(&file.path).collect();
            // From the top: below what is missing nothing has to be looked at.
            for parent in parents.into_iter().rev() {
                let known = directories.get(parent).copied();
                let found = match known {
                    Some(found) => found,
                    None => system_of(tree, parent, &mut systems)?,
                };
                if known.is_none() {
                    directories.insert(parent.to_vec(), found);
                }
                match found {
                    Some(found) => device = found,
                    None => break,
                }
            }
            if let Some(system) = systems.get_mut(&device) {
                // A block for what is no file, too.
                let rounded = file.size.div_ceil(system.block).max(1).saturating_mul(system.block);
                system.needed = system.needed.saturating_add(rounded);
            }
        }
    }
    let mut gone = gone;
    for (device, system) in &systems {
        let freed = if *device == root { std::mem::take(&mut gone) } else { 0 };
        if system.needed > 0 && system.needed.saturating_sub(freed).saturating_add(system.cushion) > system.free {
            let mib = |bytes: u64| bytes.div_ceil(1 << 20);
            let needed = mib(system.needed.saturating_sub(freed).saturating_add(system.cushion));
            return Ok(Err(Full { path: system.path.clone(), needed, free: system.free >> 20 }));
        }
    }
    Ok(Ok(()))
}

/// The file system that a directory is on; `None` where it is missing.
fn system_of(tree: &Tree, path: &[u8], systems: &mut HashMap<u64, FileSystem>) -> Result<Option<u64>, tree::Error> {
    let error = |errno: Errno| tree::Error { action: "look at", path: tree::shown(path), source: errno.into() };
    let directory = match tree.open_at(path, OFlags::PATH | OFlags::DIRECTORY) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(None),
        other => other.map_err(error)?,
    };
    let device = rustix::fs::fstat(&directory).map_err(error)?.st_dev;
    if let std::collections::hash_map::Entry::Vacant(place) = systems.entry(device) {
        let status = rustix::fs::fstatvfs(directory.as_fd()).map_err(error)?;
        let (block, total) = (status.f_frsize.max(1), status.f_blocks.saturating_mul(status.f_frsize.max(1)));
        let free = status.f_bavail.saturating_mul(block);
        place.insert(FileSystem { path: tree::shown(path), block, free, cushion: CUSHION.min(total / 20), needed: 0 });
    }
    Ok(Some(device))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pacman::test_package::TestPackage;

    #[test]
    fn what_is_too_large_is_told_before() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("tree/usr")).unwrap();
        let tree = Tree::open(&directory.path().join("tree")).unwrap();
        let archive = |size: u64| {
            let list = format!("#mtree\n./usr type=dir\n./usr/lib type=dir\n./usr/lib/x type=file size={size}\n");
            PackageArchive::read(&TestPackage::new("a", "1-1").mtree(&list).write(directory.path())).unwrap()
        };
        check(&tree, &[archive(1000)], 0).unwrap().unwrap();
        let full = check(&tree, &[archive(1 << 60)], 0).unwrap().unwrap_err();
        assert!(full.needed > full.free && full.needed >= 1 << 40, "{full}");
        check(&tree, &[archive(1 << 60)], 1 << 60).unwrap().unwrap();
    }
}
