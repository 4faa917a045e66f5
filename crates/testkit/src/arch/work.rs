//! Programs that are run for a fixture.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// Who builds packages: makepkg(8) does not want to be root. Nobody of this machine has this id.
pub(super) const BUILDER: u32 = 61_234;

/// A program that the builder runs, at home in this directory.
pub(super) fn as_builder(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.uid(BUILDER).gid(BUILDER).env_clear().env("HOME", home).env("GNUPGHOME", home).env("LC_ALL", "C.UTF-8");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command
}

/// Runs it.
///
/// # Panics
/// With all that it said, if it fails.
pub(super) fn done(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let said = || [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{command:?}: {}: {}", output.status, said());
    output
}

/// The same; what it printed.
pub(super) fn shown(command: &mut Command) -> String {
    String::from_utf8_lossy(&done(command).stdout).into_owned()
}
