//! `cargo xtask acceptance`: what takes long or is measured. Run before a release; its table says how it went.

use std::fs::File;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::conformance::{self, Conformance};
use crate::docs::{self, Mark};
use crate::packages;
use crate::released::musl_target;
use crate::summary::Summary;
use crate::workspace::{cargo, cargo_with, find_program, root, run, say, target_directory};

/// How long the second start of an installed system may take, in seconds.
const SECOND_START: f64 = 1.0;

/// The fuzz targets, and for how many minutes each has a processor: those that read what users and images bring for
/// longer, and first, so that all processors are busy to the end.
const FUZZED: [(&str, u32); 22] = [
    ("settings", 20),
    ("option_arguments", 20),
    ("oci_config", 20),
    ("gpt", 20),
    ("iso", 10),
    ("squashfs", 10),
    ("erofs", 10),
    ("archive", 1),
    ("deb", 1),
    ("signature", 1),
    ("detached_signature", 1),
    ("keybox", 1),
    ("trust_database", 1),
    ("pkginfo", 1),
    ("hook", 1),
    ("pacman_config", 1),
    ("pacman_database", 1),
    ("command_line", 1),
    ("dbus", 1),
    ("control", 1),
    ("machined", 1),
    ("transfer", 1),
];

/// Which steps.
#[derive(Debug, clap::Args)]
pub(crate) struct Acceptance {
    /// Only these steps, by their names
    #[arg(long, value_delimiter = ',', value_name = "STEP,...")]
    only: Vec<String>,
}

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 11] = [
    ("packages", packages::install),
    ("release build", || cargo(&["build", "--release", "--locked"])),
    ("long tests", long_tests),
    ("tests with musl", musl_tests),
    ("owners of a million files", million_files),
    ("conformance", || conformance::compare(&Conformance::everything())),
    ("first command of the README", first_start),
    ("the same again without a network", second_start),
    ("long pages", || docs::build().and_then(|()| docs::run_blocks(Mark::Acceptance, &[]))),
    ("fuzzing", fuzzing),
    ("benchmarks", || cargo(&["xtask", "bench"])),
];

/// Everything, or what is wanted; a failure does not keep the rest from being done.
pub(crate) fn acceptance(wanted: &Acceptance) -> Result<()> {
    if let Some(unknown) = wanted.only.iter().find(|only| !STEPS.iter().any(|(name, _)| name == only)) {
        bail!("there is no step {unknown:?}; these are: {}", STEPS.map(|(name, _)| name).join(", "));
    }
    let mut summary = Summary::default();
    for (name, step) in STEPS {
        if wanted.only.is_empty() || wanted.only.iter().any(|only| only == name) {
            summary.step(name, step);
        }
    }
    summary.finish()
}

/// The tests that are too long for every change: boots of all suites, kill storms.
fn long_tests() -> Result<()> {
    let words = ["test", "--workspace", "--locked", "--no-fail-fast", "--", "--ignored", "--nocapture"];
    cargo_with(&[&words[..], &["--skip", MILLION_FILES]].concat(), &[("REDD_REQUIRED", "1")])
}

/// The programs are installed with the musl C library where that can be done, and tested with the usual one otherwise.
fn musl_tests() -> Result<()> {
    let Some(triple) = musl_target() else { bail!("there is no Rust target for musl, or no C compiler for it") };
    let words = ["test", "--locked", "--no-fail-fast", "--target", &triple];
    let packages = ["redd-sys", "redd-machine", "redd-runtime", "redd-machined", "redd-spawn", "redd"];
    let packages = packages.iter().flat_map(|package| ["-p", package]);
    cargo_with(&words.into_iter().chain(packages).collect::<Vec<_>>(), &[("REDD_REQUIRED", "1")])
}

/// The one test that is about a time, which is that of the program as it is installed.
const MILLION_FILES: &str = "a_million_files";

fn million_files() -> Result<()> {
    let words =
        ["test", "--release", "--locked", "--package=redd-spawn", "--test=shift", "--", "--ignored", "--nocapture"];
    cargo_with(&[&words[..], &[MILLION_FILES]].concat(), &[("REDD_REQUIRED", "1")])
}

/// Each target for a while, from the seeds in the repository, as many at once as there are processors. The toolchain is a
/// stable one, which has to be told that what cargo-fuzz asks of it is meant. What a target says is kept in a file beside
/// its findings.
fn fuzzing() -> Result<()> {
    if find_program("cargo-fuzz").is_none() {
        cargo(&["install", "cargo-fuzz"])?;
    }
    cargo_with(&["fuzz", "build"], &[("RUSTC_BOOTSTRAP", "1")])?;
    let processors = std::thread::available_parallelism()?.get();
    let waiting = Mutex::new(FUZZED.iter());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
    let work = || std::iter::from_fn(next).map(|&(target, minutes)| fuzz(target, minutes)).collect::<Vec<_>>();
    let outcomes = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect::<Vec<_>>()
    });
    let failed = outcomes.iter().filter_map(|outcome| outcome.as_ref().err().map(|error| format!("{error:#}")));
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() { Ok(()) } else { bail!("{}", failed.join("; ")) }
}

/// One target, to its end.
fn fuzz(target: &str, minutes: u32) -> Result<()> {
    let directory = root().join("fuzz");
    let corpus = directory.join("corpus").join(target);
    std::fs::create_dir_all(&corpus)?;
    let log = corpus.with_extension("log");
    let output = File::create(&log)?;
    let mut command = Command::new(env!("CARGO"));
    command.current_dir(root()).env("RUSTC_BOOTSTRAP", "1").args(["fuzz", "run", target]);
    command.arg(corpus).arg(directory.join("seeds").join(target));
    command.args(["--", &format!("-max_total_time={}", minutes * 60), "-max_len=65536"]);
    let status = command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).status()?;
    let text = std::fs::read_to_string(&log)?;
    let last = text.lines().rev().find(|line| line.starts_with("Done ") || line.contains("ERROR"));
    say(&format!("{target}: {status}; {}; all of it is in {}", last.unwrap_or("no last word"), log.display()));
    if status.success() { Ok(()) } else { bail!("{target} found something, which is in {}", log.display()) }
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
