//! `machinectl reboot`: lets machines begin anew.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::machinectl::{Options, steering};

/// Reboot machines
///
/// Their init system is asked in its own way.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Machines that run, see redd list
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Does it to all of them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    steering::each(&arguments.names, options, |client| client.reboot().map(drop).map_err(steering::failure))
}
