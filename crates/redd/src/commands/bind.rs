//! `machinectl bind`: files of the host shown in a machine that runs.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use machine::bind::{self, Bind, Error};
use rustix::io::Errno;

use crate::failure::Failure;
use crate::machinectl::{Options, steering};

/// Show a file or directory of the host in a machine that runs
///
/// What is mounted below it on the host is shown, too. Where the machine has users of its own, the owners are mapped: root's files are those
/// of the machine's root. The mount stays until the machine ends or unmounts it.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Nothing can be written through it
    #[arg(long)]
    read_only: bool,
    /// Make the destination first, and the directories above it
    #[arg(long)]
    mkdir: bool,
    /// A machine that runs, see redd list
    #[arg(value_name = "NAME")]
    name: String,
    /// The file or directory of the host
    #[arg(value_name = "PATH")]
    source: PathBuf,
    /// Where it is seen inside; at the same path where absent
    #[arg(value_name = "DESTINATION")]
    destination: Option<PathBuf>,
}

/// Shows it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let source = std::path::absolute(&arguments.source)
        .with_context(|| format!("cannot look up {:?}", arguments.source.display()))
        .map_err(Failure::usage)?;
    let state = steering::with_files(&arguments.name, options)?;
    let bind = Bind {
        destination: arguments.destination.clone().unwrap_or_else(|| source.clone()),
        source,
        read_only: arguments.read_only,
        make_destination: arguments.mkdir,
    };
    match bind::bind(&state, &bind) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(failure(error)),
    }
}

fn failure(error: Error) -> Failure {
    let hint = match &error {
        Error::Entrance(error) => steering::entrance_hint(error),
        Error::Missing { .. } => Some("--mkdir makes it"),
        Error::Map { source: Errno::INVAL, .. } => Some(
            "take a directory of a file system that can, such as ext4, XFS, Btrfs or tmpfs; copy-to copies files from any",
        ),
        Error::Inside { source: Errno::LOOP, .. } => Some("links are followed inside of the machine only"),
        Error::Inside { source: Errno::ROFS, .. } => Some("--mkdir makes nothing where the machine is read-only"),
        Error::Path { .. } => return Failure::usage(anyhow!(error)),
        _ => None,
    };
    Failure::new(error, hint)
}
