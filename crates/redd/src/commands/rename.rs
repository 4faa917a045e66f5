//! `machinectl rename`: another name for an image.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::machinectl::{Options, images};

/// Rename an image, with its settings files
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The image
    #[arg(value_name = "NAME")]
    name: String,
    /// What it is to be called
    #[arg(value_name = "NEW-NAME")]
    new: String,
}

/// Renames it.
pub(crate) fn run(arguments: &Arguments, _: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    let image = images::find(&pool, &arguments.name)?;
    pool.rename(&image, &arguments.new).map_err(images::failure)?;
    Ok(ExitCode::SUCCESS)
}
