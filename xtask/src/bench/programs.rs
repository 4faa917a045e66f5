//! The small programs that are measured, or measure from inside a container.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::released::Released;
use crate::workspace::{find_program, root, run, target_directory};

/// What has been built.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// The least a start can cost.
    pub floor: PathBuf,
    /// Prints what a system call costs; linked statically, so that it runs in any tree.
    pub calls: PathBuf,
    /// Does nothing until it is killed; linked statically.
    pub pause: PathBuf,
    /// The engine.
    pub redd: PathBuf,
    /// The program that people type.
    pub client: PathBuf,
}

/// Builds the engine as it is installed, and the C programs with whichever compiler there is.
pub(super) fn build() -> Result<Programs> {
    let engine = Released::engine()?;
    let built = engine.build()?;
    let target = target_directory()?;
    let directory = target.join("bench");
    std::fs::create_dir_all(&directory)?;
    // As it is when it is installed: a linker writes a file piece by piece, which the kernel then maps piece by piece.
    let redd = directory.join("redd-spawn");
    std::fs::copy(built, &redd)?;
    let client = directory.join("redd");
    std::fs::copy(Released::client()?.build()?, &client)?;
    let floor = compile(&directory, "floor", &[])?;
    let calls = compile(&directory, "calls", &["-static"])?;
    let pause = compile(&directory, "pause", &["-static"])?;
    Ok(Programs { floor, calls, pause, redd, client })
}

fn compile(directory: &Path, name: &str, options: &[&str]) -> Result<PathBuf> {
    let Some(compiler) = ["cc", "gcc", "clang"].into_iter().find(|name| find_program(name).is_some()) else {
        bail!("no C compiler: install gcc");
    };
    let source = root().join("xtask/bench").join(name).with_extension("c");
    let program = directory.join(name);
    let mut command = Command::new(compiler);
    run(command.args(["-O2", "-Wall", "-Werror"]).args(options).arg("-o").arg(&program).arg(&source))?;
    Ok(program)
}
