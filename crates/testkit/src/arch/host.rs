//! A machine that installs: its configuration of pacman, keyring and cache, in place of the real ones.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use super::System;
use crate::fixture::{self, Tree};

/// In a mount table of its own: files of the host over those of `/etc`, which stay as they are, and another cache.
const PRETEND: &str = "mount -t overlay overlay -o \"lowerdir=$0/etc:/etc,upperdir=$1/upper,workdir=$1/work\" /etc && \
                       mount --bind \"$0/cache\" /var/cache/pacman && shift && exec \"$@\"";

/// A host that pacman could be on. It goes away with the value.
#[derive(Debug)]
pub struct Host {
    work: Tree,
    runs: AtomicU32,
}

impl Host {
    /// One that trusts the distribution, and has this repository of it as `core`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(system: &System, repository: &Path) -> Self {
        Self::with_mirror(system, &format!("file://{}", repository.display()))
    }

    /// The same, with any mirror.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn with_mirror(system: &System, mirror: &str) -> Self {
        let host = Self { work: fixture::empty(), runs: AtomicU32::new(0) };
        host.configure("SigLevel = Required\n");
        host.work.write("etc/pacman.d/mirrorlist", format!("Server = {mirror}\n"), 0o644);
        fs::create_dir_all(host.work.join("cache/pkg")).expect("directory");
        let keyring = host.work.join("etc/pacman.d/gnupg");
        fs::create_dir(&keyring).expect("directory");
        fixture::copy(&system.keyring(), &keyring);
        host
    }

    /// Writes its `pacman.conf`, with these lines among the general ones. Without a word on it, it is for machines
    /// like this.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn configure(&self, options: &str) {
        let machine = if options.contains("Architecture") { "" } else { "Architecture = auto\n" };
        let head = format!("[options]\nHoldPkg = pacman glibc\nCheckSpace\n{machine}");
        let text = format!("{head}{options}\n[core]\nInclude = /etc/pacman.d/mirrorlist\n");
        self.work.write("etc/pacman.conf", text, 0o644);
    }

    /// A path on it that is another than the real machine's: in `etc` or in `cache`, which is `/var/cache/pacman`.
    pub fn join(&self, inside: &str) -> PathBuf {
        self.work.join(inside)
    }

    /// A program that runs there.
    ///
    /// # Panics
    /// If its files cannot be made.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let run = self.work.join(&format!("run-{}", self.runs.fetch_add(1, Ordering::Relaxed)));
        for name in ["upper", "work"] {
            fs::create_dir_all(run.join(name)).expect("directory");
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation=private", "sh", "-c", PRETEND]);
        command.arg(self.work.path()).arg(run).arg(program);
        command
    }
}

/// Who installs.
#[derive(Debug, Clone, Copy)]
pub enum Installer<'a> {
    /// The installed pacstrap(8), with pacman(8).
    Real,
    /// This program's `pacstrap`.
    Redd(&'a str),
}

impl Installer<'_> {
    /// The command on that host; the directory is made. The installed pacstrap(8) takes any directory, and has no `-d` to ask for
    /// that.
    ///
    /// # Panics
    /// If the directory cannot be made.
    pub fn command(self, host: &Host, options: &[&str], root: &Path, packages: &[&str]) -> Command {
        fs::create_dir_all(root).expect("directory");
        let mut command = match self {
            Self::Real => host.command("pacstrap"),
            Self::Redd(program) => {
                let mut command = host.command(program);
                command.arg("pacstrap");
                command
            }
        };
        let real = matches!(self, Self::Real);
        command.args(options.iter().filter(|option| !real || **option != "-d"));
        command.arg(root).args(packages);
        command
    }
}
