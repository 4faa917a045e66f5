//! `redd machined`: the service.

use std::process::ExitCode;

use crate::failure::Failure;

/// Serve the interfaces of systemd-machined, for programs that ask it
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {}

/// Runs it with its defaults: the words behind the verb are its own, and are read by it.
pub(crate) fn run(_: &Arguments) -> Result<ExitCode, Failure> {
    Ok(machined::main(std::iter::empty()))
}
