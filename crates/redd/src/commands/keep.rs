//! `redd keep`: the process behind a machine in the background; nobody types it.

use std::process::ExitCode;

use spec::MachineName;

use crate::background::{keeper, restart::Policy};
use crate::failure::Failure;

/// Keep a machine in the background; `redd start` does this
#[derive(Debug, clap::Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// When it is started again
    #[arg(long)]
    restart: Policy,
    /// Which
    name: MachineName,
}

/// Keeps it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    keeper::run(&arguments.name, arguments.restart)?;
    Ok(ExitCode::SUCCESS)
}
