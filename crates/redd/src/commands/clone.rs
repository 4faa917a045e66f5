//! `machinectl clone`: a new image from another one.

use std::process::ExitCode;

use anyhow::anyhow;
use image::pool::Cloned;
use image::template::Made;

use crate::failure::{Failure, warn};
use crate::form;
use crate::machinectl::{Json, Options, images};
use crate::whole_or_nothing;

/// Make a new image from another one: a snapshot on btrfs, else a copy that shares contents where it can
///
/// The new image shows up in /var/lib/machines when it is complete. Host name, machine ID and the like stay as they are in the
/// original. Settings files are copied, too.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Make the new image read-only
    #[arg(long)]
    read_only: bool,
    /// The original
    #[arg(value_name = "NAME")]
    original: String,
    /// The new image
    #[arg(value_name = "NEW-NAME")]
    new: String,
}

/// Makes it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    let original = images::find(&pool, &arguments.original)?;
    let cloned = whole_or_nothing::run("copying", options.quiet(), |observe| {
        pool.clone_image(&original, &arguments.new, arguments.read_only, observe)
    })?;
    let cloned = cloned.map_err(images::failure)?;
    report(&arguments.original, &cloned, options)?;
    Ok(ExitCode::SUCCESS)
}

fn report(original: &str, cloned: &Cloned, options: &Options) -> Result<(), Failure> {
    if cloned.in_use {
        warn(&anyhow!("{original} is in use: files that were changed while they were copied may not fit together"));
    }
    if let Made::Copy(report) = &cloned.made {
        for (attribute, count) in &report.lost {
            warn(&anyhow!(
                "{count} files have lost the attribute {attribute}, which the file system of the copy refuses"
            ));
        }
    }
    let value = images::as_json(&cloned.image);
    match options.json() {
        Json::Off => {}
        Json::Pretty => drop(form::print(&format!("{value:#}\n"))?),
        Json::Short => drop(form::print(&format!("{value}\n"))?),
    }
    Ok(())
}
