//! `redd completions`: what a shell needs to complete redd's command line.

use std::process::ExitCode;

use crate::failure::Failure;

/// Print the completions of a shell, to be read by it
///
/// For example: redd completions bash > /usr/share/bash-completion/completions/redd
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    clap_complete::generate(arguments.shell, &mut super::line(None), "redd", &mut std::io::stdout());
    Ok(ExitCode::SUCCESS)
}
