//! `machinectl remove`: images that go.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::machinectl::{Options, images, steering};

/// Remove images with their settings files; those of running machines stay
///
/// All are tried, also after one that cannot be removed.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The images
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

/// Removes them.
pub(crate) fn run(arguments: &Arguments, _: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    let remove = |name: &String| {
        let image = images::find(&pool, name)?;
        pool.remove(&image).map_err(images::failure)
    };
    steering::conclude(arguments.names.iter().filter_map(|name| remove(name).err()).collect())
}
