//! `/run`, as hosts have it: a file system in memory. Machines in which it is part of the disk are rare outside of virtual
//! machines for tests, and there each lock file costs what a disk's file system takes to make one.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::machine;
use crate::workspace::say;

/// Mounts one for this run of the benchmarks alone, in a mount namespace of its own: runs the same command again there,
/// and does not come back. Does nothing where `/run` lies in memory.
pub(super) fn in_memory() -> Result<()> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").context("cannot read /proc/self/mounts")?;
    let run = machine::mount_of(&mounts, Path::new("/run"));
    if run.starts_with("tmpfs ") {
        return Ok(());
    }
    say(&format!("/run is {run} here; measuring with a tmpfs there, as hosts have it"));
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", "mount -t tmpfs -o mode=755 tmpfs /run && exec \"$@\"", "sh"]);
    command.arg(std::env::current_exe()?).args(std::env::args_os().skip(1));
    Err(command.exec()).context("cannot run unshare")
}
