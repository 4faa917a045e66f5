//! The tree that becomes the root. It is hostile: its files are reached inside of it and read as text of limited size.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use image::ephemeral::{self, Kind};
use image::{FileSystem, RunDirectory, Tree};
use plan::{EphemeralFacts, EphemeralKind, TreeFacts};
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, readlinkat};
use spec::ContainerSpec;
use sys::open::openat2;
use uuid::Uuid;

use super::Error;

/// The directory of the tree that `--pivot-root=` makes the root, if that is another one.
pub(super) fn pivot(spec: &ContainerSpec, tree: &Tree) -> Result<Option<OwnedFd>, Error> {
    let Some(pivot) = &spec.image().pivot_root else { return Ok(None) };
    let path = pivot.new.as_path();
    let relative = path.strip_prefix("/").ok().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(&tree.fd, relative, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty(), resolve)
        .map(Some)
        .map_err(|source| Error::Pivot { path: path.to_owned(), source })
}

/// `root` is what [`pivot`] has found; `target` is where the tree will be, if it is to be made from `tree`; `zone` a time zone that it may have data of.
pub(super) fn probe(
    run: &RunDirectory,
    spec: &ContainerSpec,
    (tree, root): (&Tree, Option<BorrowedFd<'_>>),
    target: Option<PathBuf>,
    zone: Option<&str>,
) -> Result<TreeFacts, Error> {
    let pivots = root.is_some();
    let root = root.unwrap_or_else(|| tree.fd.as_fd());
    let exists = |path: &str| open(root, path, OFlags::PATH).is_ok() || !pivots && super::image::usr_has(tree, path);
    let copied = target.is_some();
    let fs = target.as_ref().and_then(|path| path.parent()).map_or(tree.fs, |parent| file_system(parent, tree.fs));
    let ephemeral = if spec.image().ephemeral { Some(copy(run, tree)?) } else { None };
    let (machine_id, machine_id_problem) = machine_id(root);
    let usr = exists("usr");
    Ok(TreeFacts {
        path: target.unwrap_or_else(|| tree.path.clone()),
        host_root: tree.is_host_root && !copied,
        read_only: tree.read_only && !copied,
        owner: tree.uid,
        group: tree.gid,
        half_shifted: image::shift::is_half_way(tree.uid),
        idmap: super::image::maps_ids(fs),
        ephemeral,
        template: copied.then(|| tree.path.clone()),
        os_release: exists("etc/os-release") || exists("usr/lib/os-release"),
        timezone: zone.is_some_and(|zone| exists(&format!("usr/share/zoneinfo/{zone}"))),
        machine_id,
        machine_id_problem,
        usr: usr || tree.disk.is_some(),
        merged_usr: usr && readlinkat(root, "bin", Vec::new()).is_ok(),
        partitions: super::image::partitions(spec, tree),
    })
}

fn copy(run: &RunDirectory, tree: &Tree) -> Result<EphemeralFacts, image::lock::Error> {
    let ephemeral::Choice { kind, place, notice } = ephemeral::choose(run, tree)?;
    let kind = match kind {
        Kind::Snapshot => EphemeralKind::Snapshot,
        Kind::Overlay => EphemeralKind::Overlay,
        Kind::Memory => EphemeralKind::Memory,
        Kind::Copy => EphemeralKind::Copy,
    };
    Ok(EphemeralFacts { kind, place, notice })
}

fn file_system(directory: &std::path::Path, otherwise: FileSystem) -> FileSystem {
    let opened = rustix::fs::open(directory, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    opened.and_then(|fd| FileSystem::of(fd.as_fd())).unwrap_or(otherwise)
}

fn open(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
}

/// What `/etc/machine-id` says, if it is set, or why it cannot be (machine-id(5)).
fn machine_id(root: BorrowedFd<'_>) -> (Option<Uuid>, Option<&'static str>) {
    let unset = (None, None);
    // Looked at first: opening a device or a fifo can do things by itself.
    let Ok(found) = open(root, "etc/machine-id", OFlags::PATH) else { return unset };
    let kind = rustix::fs::fstat(found).map(|status| FileType::from_raw_mode(status.st_mode));
    if kind == Ok(FileType::Directory) {
        return (None, Some("is a directory"));
    }
    if kind != Ok(FileType::RegularFile) {
        return unset;
    }
    let Ok(file) = open(root, "etc/machine-id", OFlags::RDONLY | OFlags::NONBLOCK) else { return unset };
    let mut text = [0; 40];
    let Ok(length) = rustix::io::read(&file, &mut text) else { return unset };
    parse_machine_id(&text[..length])
}

fn parse_machine_id(text: &[u8]) -> (Option<Uuid>, Option<&'static str>) {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    if matches!(text, b"" | b"uninitialized") {
        return (None, None);
    }
    match Uuid::try_parse_ascii(text) {
        Ok(id) if id.is_nil() => (None, Some("is all zeros")),
        Ok(id) if text.len() == 32 => (Some(id), None),
        _ => (None, Some("is no line of 32 hexadecimal digits")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_ids() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
        for text in ["0123456789abcdef0123456789abcdef\n", "0123456789ABCDEF0123456789abcdef"] {
            assert_eq!(parse_machine_id(text.as_bytes()), (Some(id), None), "{text:?}");
        }
        for text in ["", "\n", "uninitialized", "uninitialized\n"] {
            assert_eq!(parse_machine_id(text.as_bytes()), (None, None), "{text:?}");
        }
        for text in [
            "00000000000000000000000000000000\n",
            "01234567-89ab-cdef-0123-456789abcdef\n",
            "0123456789abcdef0123456789abcdef\n\n",
            " 0123456789abcdef0123456789abcdef",
            "0123456789abcdef0123456789abcde",
            "nonsense",
        ] {
            let (id, problem) = parse_machine_id(text.as_bytes());
            assert!(id.is_none() && problem.is_some(), "{text:?}");
        }
    }
}
