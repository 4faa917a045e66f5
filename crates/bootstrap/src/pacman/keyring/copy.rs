//! The host's keyring, copied into a tree.

use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{OFlags, Timespec, Timestamps};

use super::{Error, new_directory};
use crate::tree::Tree;

/// Copies a keyring's directory of the host to `path` in a tree (without a slash in front), unless something is there:
/// modes and times stay, all is owned by root. What only running programs need (sockets, locks) is left out. Says whether
/// it was copied.
///
/// # Errors
/// Where it cannot be read, or not be written.
pub fn copy(directory: &Path, tree: &Tree, path: &str) -> Result<bool, Error> {
    new_directory::make(tree, path, |part| copy_directory(directory, tree, part))
}

fn copy_directory(from: &Path, tree: &Tree, to: &str) -> Result<(), Error> {
    let failed = |source| Error::Io { path: from.to_owned(), source };
    let status = fs::metadata(from).map_err(failed)?;
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let (name, from) = (entry.file_name(), entry.path());
        let kind = entry.file_type().map_err(failed)?;
        if is_of_a_running_program(&name, kind) {
            continue;
        }
        let refused = |reason: &str| Error::Io { path: from.clone(), source: io::Error::other(reason.to_owned()) };
        let name = name.to_str().ok_or_else(|| refused("its name is no UTF-8"))?;
        copy_one(&from, kind, tree, &format!("{to}/{name}"))?;
    }
    // At the end: what is written into a directory changes its time.
    new_directory::subdirectory(tree, to, status.permissions().mode() & 0o7777)?;
    set_times(tree, to, &status)
}

fn copy_one(from: &Path, kind: FileType, tree: &Tree, to: &str) -> Result<(), Error> {
    let failed = |source| Error::Io { path: from.to_owned(), source };
    if kind.is_dir() {
        new_directory::subdirectory(tree, to, 0o700)?;
        return copy_directory(from, tree, to);
    }
    if kind.is_symlink() {
        let target = fs::read_link(from).map_err(failed)?;
        let target = target.to_str().ok_or_else(|| failed(io::Error::other("its target is no UTF-8")))?;
        return Ok(tree.link(target, to)?);
    }
    let status = fs::symlink_metadata(from).map_err(failed)?;
    let content = fs::read(from).map_err(failed)?;
    tree.write(to, &content, status.permissions().mode() & 0o7777)?;
    set_times(tree, to, &status)
}

/// Sockets of agents, pipes, devices, and GnuPG's locks.
fn is_of_a_running_program(name: &OsStr, kind: FileType) -> bool {
    let name = name.as_encoded_bytes();
    let special = kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device();
    special || name.starts_with(b".#lk") || name.ends_with(b".lock")
}

fn set_times(tree: &Tree, path: &str, status: &Metadata) -> Result<(), Error> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: status.atime(), tv_nsec: status.atime_nsec() as _ },
        last_modification: Timespec { tv_sec: status.mtime(), tv_nsec: status.mtime_nsec() as _ },
    };
    tree.open_at(path.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK)
        .and_then(|file| rustix::fs::futimens(file, &times))
        .map_err(|errno| new_directory::error("set the times of", path, errno).into())
}
