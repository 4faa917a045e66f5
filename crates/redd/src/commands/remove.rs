//! `machinectl remove`: images that go.

use std::process::ExitCode;

use crate::failure::Failure;
use crate::machinectl::{Options, images};

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
    let mut result = Ok(ExitCode::SUCCESS);
    for name in &arguments.names {
        let removed =
            images::find(&pool, name).and_then(|image| pool.remove(&image).map_err(images::failure));
        if let Err(failure) = removed {
            if let Err(earlier) = result {
                Failure::tell(earlier);
            }
            result = Err(failure);
        }
    }
    result
}
