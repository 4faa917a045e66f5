//! `machinectl clone`: a new image from another one.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use image::copy::Progress;
use image::pool::Cloned;
use image::template::Made;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use sys::signal::{self, SignalSet};

use crate::failure::{Failure, warn};
use crate::form;
use crate::machinectl::{Json, Options, images};

/// What asks a program to end: SIGHUP, SIGINT, SIGQUIT and SIGTERM, the same numbers on every architecture.
const ENDING: [i32; 4] = [1, 2, 3, 15];

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
    let bar = (std::io::stderr().is_terminal() && !options.quiet()).then(bar);
    // A copy that is interrupted is removed first.
    let ending: SignalSet = ENDING.into_iter().collect();
    let before = signal::block(&ending).map_err(|error| Failure::new(error, None))?;
    let mut observe = |progress: Progress| {
        if let Some(bar) = &bar {
            let (entries, bytes) = (HumanCount(progress.entries), HumanBytes(progress.bytes));
            bar.set_message(format!("{entries} entries, {bytes}"));
        }
        !signal::end_is_pending()
    };
    let cloned = pool.clone_image(&original, &arguments.new, arguments.read_only, &mut observe);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    // Ends the program here if it was interrupted.
    signal::set_mask(&before).map_err(|error| Failure::new(error, None))?;
    let cloned = cloned.map_err(images::failure)?;
    report(&arguments.original, &cloned, options)?;
    Ok(ExitCode::SUCCESS)
}

fn bar() -> ProgressBar {
    let style =
        ProgressStyle::with_template("copying {spinner} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
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
