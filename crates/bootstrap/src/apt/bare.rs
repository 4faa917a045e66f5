//! Leaves a tree as mmdebstrap(1) leaves it: what the packages make of themselves, the device nodes that chroot(8)
//! needs, the host's name and resolver, one line of sources, and nothing of what a first boot wants.

use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::Source;
use crate::tree::{self, Error, Tree};

/// Character devices by their numbers, see null(4), full(4), random(4), tty(4), console(4), pts(4).
const DEVICES: &[(&str, u32, u32)] = &[
    ("console", 5, 1),
    ("full", 1, 7),
    ("null", 1, 3),
    ("ptmx", 5, 2),
    ("random", 1, 8),
    ("tty", 5, 0),
    ("urandom", 1, 9),
    ("zero", 1, 5),
];
const LINKS: &[(&str, &str)] = &[
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// Logs of the installation and what differs each time.
const REMOVED: &[&str] = &[
    "var/log/dpkg.log",
    "var/log/apt/history.log",
    "var/log/apt/term.log",
    "var/log/apt/eipp.log.xz",
    "var/log/alternatives.log",
    "var/cache/ldconfig/aux-cache",
    "var/lib/dbus/machine-id",
];
/// Where apt keeps what it is fetching, which is none of others' business.
const FETCHED: &[&str] = &["var/lib/apt/lists/partial", "var/cache/apt/archives/partial"];

/// What is there before the packages are configured.
///
/// # Errors
/// A file that cannot be made, or one of the host's that cannot be read.
pub fn begin(tree: &Tree, source: &Source) -> Result<(), Error> {
    devices(tree)?;
    tree.write("etc/fstab", b"# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", 0o644)?;
    let options = if source.accept_expired { "[check-valid-until=no] " } else { "" };
    let line = format!("deb {options}{} {} {}\n", source.mirror, source.suite, source.components.join(" "));
    tree.write("etc/apt/sources.list", line.as_bytes(), 0o644)?;
    tree.write("var/lib/dpkg/arch", format!("{}\n", source.architecture).as_bytes(), 0o644)?;
    for path in ["etc/hostname", "etc/resolv.conf"] {
        copy(tree, path)?;
    }
    Ok(())
}

/// What is left when they are.
///
/// # Errors
/// A file that cannot be changed.
pub fn end(tree: &Tree) -> Result<(), Error> {
    for path in REMOVED {
        tree.remove(path)?;
    }
    tree.empty("tmp")?;
    if tree.exists("etc/machine-id") {
        tree.write("etc/machine-id", b"", 0o644)?;
    }
    let users = tree.read("etc/passwd")?.unwrap_or_default();
    if let Some(user) = number_of(&String::from_utf8_lossy(&users), "_apt") {
        for path in FETCHED.iter().filter(|path| tree.exists(path)) {
            let error = |errno: Errno| Error { action: "give away", path: (*path).to_owned(), source: errno.into() };
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let directory = tree.open_at(path.as_bytes(), flags).map_err(error)?;
            rustix::fs::fchown(&directory, tree::owner(user, 0).0, None).map_err(error)?;
            rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o700)).map_err(error)?;
        }
    }
    Ok(())
}

fn devices(tree: &Tree) -> Result<(), Error> {
    let directory = tree.make_directories(b"dev")?;
    for (name, major, minor) in DEVICES {
        let error = |errno: Errno| Error { action: "make device", path: format!("dev/{name}"), source: errno.into() };
        let device = rustix::fs::makedev(*major, *minor);
        let kind = FileType::CharacterDevice;
        rustix::fs::mknodat(&directory, *name, kind, Mode::from_raw_mode(0o600), device).map_err(error)?;
        tree::set_mode(directory.as_fd(), name.as_ref(), 0o666).map_err(error)?;
    }
    for (name, target) in LINKS {
        tree.link(target, &format!("dev/{name}"))?;
    }
    for name in ["dev/pts", "dev/shm"] {
        tree.make_directories(name.as_bytes())?;
    }
    Ok(())
}

/// Copies a file of the host with its mode, if it has one.
fn copy(tree: &Tree, path: &str) -> Result<(), Error> {
    let host = Path::new("/").join(path);
    let error = |source| Error { action: "read the host's", path: path.to_owned(), source };
    match std::fs::metadata(&host) {
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(other) => Err(error(other)),
        Ok(status) => {
            let content = std::fs::read(&host).map_err(error)?;
            tree.write(path, &content, status.permissions().mode() & 0o7777)
        }
    }
}

/// The number of a user, by the text of passwd(5).
fn number_of(users: &str, name: &str) -> Option<u32> {
    users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_have_numbers() {
        let users = "root:x:0:0:root:/root:/bin/bash\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n\nbroken\n";
        assert_eq!(number_of(users, "_apt"), Some(42));
        assert_eq!(number_of(users, "broken"), None);
        assert_eq!(number_of(users, "nobody"), None);
    }

    #[test]
    fn what_a_first_boot_would_want_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let tree = Tree::open(directory.path()).unwrap();
        for path in ["var/log/dpkg.log", "var/log/wtmp", "tmp/x/y", "etc/machine-id"] {
            tree.write(path, b"x", 0o600).unwrap();
        }
        end(&tree).unwrap();
        for (path, there) in
            [("var/log/dpkg.log", false), ("var/log/wtmp", true), ("tmp/x", false), ("etc/hosts", false)]
        {
            assert_eq!(tree.exists(path), there, "{path}");
        }
        assert_eq!(tree.read("etc/machine-id").unwrap().unwrap(), b"");
    }
}
