//! `redd spawn`: the engine.

use std::ffi::OsString;
use std::process::ExitCode;

use crate::failure::Failure;

/// Run a command or boot a system in a container, with the options of systemd-nspawn
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs the engine with its defaults: the words behind the verb are its own, and are read by it.
pub(crate) fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    Ok(main(std::iter::empty()))
}

/// Runs the engine with these arguments.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    spawn::main(std::iter::once(OsString::from("redd-spawn")).chain(arguments))
}
