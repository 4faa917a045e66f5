//! Debian packages that the tests need beyond Rust, a C compiler and the base system.

use std::process::Command;

use anyhow::{Result, bail};

use crate::workspace::{find_program, run, say};

/// A program that tests use, and the package that has it.
struct Needed {
    program: &'static str,
    package: &'static str,
    reason: &'static str,
}

const fn needed(program: &'static str, package: &'static str, reason: &'static str) -> Needed {
    Needed { program, package, reason }
}

const NEEDED: &[Needed] = &[
    needed("cc", "gcc", "the programs that measure, and one of the dependencies"),
    needed("systemd-nspawn", "systemd-container", "the same cases run against the original"),
    needed("mkfs.btrfs", "btrfs-progs", "snapshots and reflinks"),
    needed("mkfs.ext4", "e2fsprogs", "file systems of their own"),
    needed("mkfs.xfs", "xfsprogs", "disk images"),
    needed("mkfs.vfat", "dosfstools", "disk images"),
    needed("sfdisk", "fdisk", "disk images with partition tables"),
    needed("mksquashfs", "squashfs-tools", "disk images"),
    needed("mkfs.erofs", "erofs-utils", "disk images"),
    needed("xorriso", "xorriso", "installation media"),
    needed("mmdebstrap", "mmdebstrap", "the same Debian made by another program"),
    needed("fish", "fish", "completions in the shell that they are for"),
    needed("zsh", "zsh", "completions in the shell that they are for"),
    needed("groff", "groff", "the manual page without warnings"),
    needed("man", "man-db", "the manual page without warnings"),
    needed("dbus-daemon", "dbus-daemon", "a message bus"),
    needed("ip", "iproute2", "links and namespaces"),
    needed("losetup", "mount", "devices that a container must not open"),
    needed("ipcmk", "util-linux", "objects that a container must not see"),
    needed("pacman", "pacman-package-manager", "what pacman itself makes of the same"),
    needed("vercmp", "makepkg", "how pacman orders versions"),
    needed("bsdtar", "libarchive-tools", "what repo-add reads packages with"),
    needed("newuidmap", "uidmap", "subordinate ids"),
    needed("pacstrap", "arch-install-scripts", "the same repository installed by the original"),
    needed("zstd", "zstd", "packages and databases"),
    needed("gpg", "gnupg", "a repository that is signed"),
    needed("busybox", "busybox-static", "an init system that is not systemd"),
    needed("/usr/lib/systemd/systemd-journal-remote", "systemd-journal-remote", "journals that are forwarded"),
];

/// Installs what is missing, where that can be done; elsewhere says what is missing.
pub(crate) fn install() -> Result<()> {
    let missing: Vec<_> = NEEDED.iter().filter(|one| find_program(one.program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for one in &missing {
        say(&format!("missing: {} ({}: {})", one.program, one.package, one.reason));
    }
    if find_program("apt-get").is_none() || !rustix::process::geteuid().is_root() {
        bail!("the tests need these programs; install them, or run this as root where there is apt");
    }
    let apt = || {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-y"]);
        command
    };
    run(apt().arg("update"))?;
    let packages = missing.iter().map(|one| one.package);
    run(apt().args(["install", "--no-install-recommends"]).args(packages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_once() {
        for (index, one) in NEEDED.iter().enumerate() {
            assert!(NEEDED[..index].iter().all(|other| other.program != one.program), "{}", one.program);
        }
    }
}
