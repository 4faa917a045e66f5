//! `machinectl pause`: stops machines where they are.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::machinectl::{Options, steering};

/// Stop all processes of machines where they are
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Machines that run, see redd list
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// Does it to all of them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    steering::each(&arguments.names, options, |client| client.pause().map_err(steering::failure))
}
