//! `cargo xtask acceptance`: what takes long or is measured. Run before a release; its table says how it went.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};

use crate::conformance::{self, Conformance};
use crate::docs::{self, Mark};
use crate::packages;
use crate::summary::Summary;
use crate::workspace::{cargo, cargo_with, find_program, root, run, say, target_directory};

/// How long the second start of an installed system may take, in seconds.
const SECOND_START: f64 = 1.0;

/// The fuzz targets, and how long each is run, in seconds.
const FUZZED: [&str; 9] =
    ["archive", "deb", "signature", "command_line", "dbus", "oci_config", "settings", "option_arguments", "gpt"];
const FUZZING: u32 = 60;

/// Everything; a failure does not keep the rest from being done.
pub(crate) fn acceptance() -> Result<()> {
    let mut summary = Summary::default();
    summary.step("packages", packages::install);
    summary.step("release build", || cargo(&["build", "--release", "--locked"]));
    summary.step("long tests", long_tests);
    summary.step("conformance", || conformance::compare(&Conformance::everything()));
    summary.step("first command of the README", first_start);
    summary.step("the same again, without a network", second_start);
    summary.step("long pages", || docs::run_blocks(Mark::Acceptance));
    summary.step("fuzzing", fuzzing);
    summary.step("benchmarks", || cargo(&["xtask", "bench"]));
    summary.finish()
}

/// The tests that are too long for every change: boots of all suites, kill storms.
fn long_tests() -> Result<()> {
    let words = ["test", "--workspace", "--locked", "--no-fail-fast", "--", "--ignored", "--nocapture"];
    cargo_with(&words, &[("REDD_REQUIRED", "1")])
}

/// Each target for a while, from the seeds in the repository. The toolchain is a stable one, which has to be told that what
/// cargo-fuzz asks of it is meant.
fn fuzzing() -> Result<()> {
    if find_program("cargo-fuzz").is_none() {
        cargo(&["install", "cargo-fuzz"])?;
    }
    for target in FUZZED {
        let directory = root().join("fuzz");
        let corpus = directory.join("corpus").join(target);
        std::fs::create_dir_all(&corpus)?;
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(root()).env("RUSTC_BOOTSTRAP", "1").args(["fuzz", "run", target]);
        command.arg(corpus).arg(directory.join("seeds").join(target));
        run(command.args(["--", &format!("-max_total_time={FUZZING}"), "-max_len=65536"]))?;
    }
    Ok(())
}

/// From nothing but the repository to a command in a Debian.
fn first_start() -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    run(command.current_dir(root()).args(["run", "--release", "--", "run", "debian", "--", "true"]))
}

/// The second time it comes from the cache: in a network with nothing in it, and at once.
fn second_start() -> Result<()> {
    let redd = target_directory()?.join("release/redd");
    let started = Instant::now();
    run(Command::new("unshare").arg("--net").arg(redd).args(["run", "debian", "--", "true"]))?;
    in_time(started.elapsed().as_secs_f64())
}

fn in_time(seconds: f64) -> Result<()> {
    say(&format!("it took {seconds:.2} s"));
    if seconds > SECOND_START {
        bail!("it took {seconds:.2} s, more than {SECOND_START:.2} s");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_second_start_fails() {
        assert!(in_time(0.2).is_ok());
        assert!(in_time(1.2).is_err());
    }
}
