//! `machinectl read-only`: images that are not to be written to.

use std::process::ExitCode;

use anyhow::anyhow;

use crate::failure::Failure;
use crate::machinectl::{Options, images};

/// Mark an image read-only, or writable again with 'no'
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The image
    #[arg(value_name = "NAME")]
    name: String,
    /// Yes or no
    #[arg(value_name = "BOOL", default_value = "yes")]
    read_only: String,
}

/// Marks it.
pub(crate) fn run(arguments: &Arguments, _: &Options) -> Result<ExitCode, Failure> {
    let Some(read_only) = spec::options::boolean(&arguments.read_only) else {
        return Err(Failure::usage(anyhow!("{:?} is neither yes nor no", arguments.read_only)));
    };
    let pool = images::pool();
    let image = images::find(&pool, &arguments.name)?;
    pool.mark_read_only(&image, read_only).map_err(images::failure)?;
    Ok(ExitCode::SUCCESS)
}
