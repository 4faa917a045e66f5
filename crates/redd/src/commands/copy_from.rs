//! `machinectl copy-from`: files of a machine that runs copied to the host.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use machine::transfer::{self, Copy};

use crate::failure::Failure;
use crate::machinectl::{Options, copying, steering};

/// Copy a file or directory of a machine that runs to the host
///
/// Modes, times, holes and extended attributes of users are kept, links stay links; set-user-ID bits are not kept. Owners are kept, unless the
/// machine has users of its own: then all of it belongs to root. The copy is there when it is complete.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
    /// A machine that runs, see redd list
    #[arg(value_name = "NAME")]
    name: String,
    /// The file or directory of the machine
    #[arg(value_name = "PATH")]
    source: PathBuf,
    /// What it is called on the host; the same path where absent
    #[arg(value_name = "DESTINATION")]
    destination: Option<PathBuf>,
}

/// Copies it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let destination = arguments.destination.as_ref().unwrap_or(&arguments.source);
    let destination = std::path::absolute(destination)
        .with_context(|| format!("cannot look up {:?}", destination.display()))
        .map_err(Failure::usage)?;
    let state = steering::with_files(&arguments.name, options)?;
    let copy = Copy { source: arguments.source.clone(), destination, replace: arguments.force };
    let code = copying::run(options, &mut |observe| transfer::copy_from(&state, &copy, observe))?;
    copying::note_link(&copy.source, &copy.destination);
    Ok(code)
}
