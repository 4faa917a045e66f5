//! `cargo xtask test`: all that a change must pass. Nothing in it looks at how long anything takes.

use anyhow::{Context, Result};

use crate::docs::{self, Mark};
use crate::summary::Summary;
use crate::workspace::{cargo, cargo_with, find_program, say, target_directory};
use crate::{layers, packages, sizes};

/// Everything, the quick checks first.
pub(crate) fn run(tasks: &[String]) -> Result<()> {
    let mut summary = Summary::default();
    summary.step("packages", packages::install);
    summary.step("formatting", format);
    summary.step("sizes and names", sizes::check);
    summary.step("layers", layers::check);
    summary.step("clippy", clippy);
    summary.step("rustdoc", rustdoc);
    summary.step("building", build);
    summary.step("documentation", || docs::check(tasks));
    summary.step("tests", tests);
    summary.step("tested pages", || docs::run_blocks(Mark::Tested, &[]));
    summary.finish()
}

/// rustfmt, without changing anything.
pub(crate) fn format() -> Result<()> {
    cargo(&["fmt", "--all", "--check"])
}

/// clippy and rustdoc, with warnings denied, and the dependencies' licences where cargo-deny is installed.
pub(crate) fn lint() -> Result<()> {
    clippy()?;
    rustdoc()?;
    match find_program("cargo-deny") {
        Some(_) => cargo(&["deny", "check"]),
        None => {
            say("cargo-deny is not installed: licences and advisories are not checked");
            Ok(())
        }
    }
}

fn clippy() -> Result<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"])
}

fn rustdoc() -> Result<()> {
    cargo_with(&["doc", "--workspace", "--no-deps", "--locked"], &[("RUSTDOCFLAGS", "-D warnings")])
}

/// All that is run after it. It is built once, as cargo does for the tests: chosen otherwise, packages have other features, and
/// half of them are built again.
fn build() -> Result<()> {
    cargo(&["test", "--workspace", "--locked", "--no-run"])
}

/// All tests; one that cannot run here is a failure. The engine's program is there before anything that runs it.
fn tests() -> Result<()> {
    let redd = target_directory()?.join("debug/redd");
    let redd = redd.to_str().context("the build directory's name is no text")?;
    let environment = [("REDD_REQUIRED", "1"), ("REDD_TEST_PROGRAM", redd)];
    cargo_with(&["test", "--workspace", "--locked", "--no-fail-fast"], &environment)
}
