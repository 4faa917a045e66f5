//! The tasks of this repository: `cargo xtask test` checks and tests everything.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

fn main() -> ExitCode {
    let task = std::env::args().nth(1);
    let result = match task.as_deref() {
        Some("test" | "ci") => test(),
        _ => Err(anyhow::anyhow!("usage: cargo xtask test")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            use std::io::Write;
            let _ = writeln!(std::io::stderr(), "xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Formatting, then all tests.
fn test() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])?;
    cargo(&["build", "--workspace", "--locked"])?;
    cargo(&["test", "--workspace", "--locked"])
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let status = Command::new(env!("CARGO")).args(arguments).status().context("cannot run cargo")?;
    if !status.success() {
        bail!("cargo {} failed", arguments.join(" "));
    }
    Ok(())
}
