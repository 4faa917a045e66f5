//! File systems of a test's own, on loop devices.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A new file system, mounted until the value goes away. Its thread is [`Isolated`](crate::Isolated), so that nobody
/// else sees it.
#[derive(Debug)]
pub struct Disk {
    directory: tempfile::TempDir,
}

impl Disk {
    /// Makes one of this type and size in MiB. `requires!(root, loop, program "mkfs.…", program "mount")` comes first.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(kind: &str, size: u64) -> Self {
        let directory =
            tempfile::Builder::new().prefix("redd-disk-").tempdir_in(crate::fixture::place()).expect("directory");
        let image = directory.path().join("image");
        let file = std::fs::File::create(&image).expect("image");
        file.set_len(size * 1024 * 1024).expect("size");
        run(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image));
        let disk = Self { directory };
        std::fs::create_dir(disk.path()).expect("mount point");
        run(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(disk.path()));
        disk
    }

    /// Its root directory.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// A file system in memory, for as long as the value lives.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Mounts something at a directory with mount(8).
    ///
    /// # Panics
    /// If that fails.
    pub fn new(arguments: &[&str], at: &Path) -> Self {
        run(Command::new("mount").args(arguments).arg(at));
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.0);
    }
}

/// With patience: processes that other threads are just starting have copies of this one's descriptors until they
/// execute their programs.
fn unmount(path: &Path) {
    for _ in 0..100 {
        if Command::new("umount").arg(path).output().is_ok_and(|output| output.status.success()) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(std::thread::panicking(), "cannot unmount {}", path.display());
}

/// Runs a command that has to succeed.
///
/// # Panics
/// With its words, if it does not.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}: {}{text}", String::from_utf8_lossy(&output.stderr));
    text
}
