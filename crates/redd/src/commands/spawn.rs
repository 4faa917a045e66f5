//! `redd spawn`: the engine.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the engine with these arguments.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    spawn::main(std::iter::once(OsString::from("redd-spawn")).chain(arguments))
}
