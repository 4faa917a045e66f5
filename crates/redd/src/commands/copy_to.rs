//! `machinectl copy-to`: files of the host copied into a machine that runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use machine::transfer::{self, Copy};

use crate::failure::Failure;
use crate::machinectl::{Options, copying, steering};

/// Copy a file or directory of the host into a machine that runs
///
/// Modes, times, holes and extended attributes of users are kept, links stay links. Owners are kept, too, unless the machine has users of its
/// own: then all of it belongs to the machine's root. The copy is there when it is complete.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Replace files that are there already
    #[arg(long)]
    force: bool,
    /// A machine that runs, see redd list
    #[arg(value_name = "NAME")]
    name: String,
    /// The file or directory of the host
    #[arg(value_name = "PATH")]
    source: PathBuf,
    /// What it is called inside; the same path where absent
    #[arg(value_name = "DESTINATION")]
    destination: Option<PathBuf>,
}

/// Copies it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let source = std::path::absolute(&arguments.source)
        .with_context(|| format!("cannot look up {:?}", arguments.source.display()))
        .map_err(Failure::usage)?;
    let state = steering::with_files(&arguments.name, options)?;
    let destination = arguments.destination.clone().unwrap_or_else(|| source.clone());
    let copy = Copy { source, destination, replace: arguments.force };
    let code = copying::run(options, &mut |observe| transfer::copy_to(&state, &copy, observe))?;
    copying::note_link(&copy.source, &copy.source);
    Ok(code)
}
