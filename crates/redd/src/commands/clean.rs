//! `machinectl clean`: hidden images, or all.

use std::process::ExitCode;

use anyhow::{Context, anyhow};
use image::pool::{Clean, Cleaned};
use serde_json::{Value, json};

use crate::failure::{Failure, warn};
use crate::form;
use crate::machinectl::{Json, Options, images};

/// Remove hidden images and what interrupted copies and removals have left; with --all, all images
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {}

/// Removes them.
pub(crate) fn run(_: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let which = if options.all { Clean::All } else { Clean::Hidden };
    let cleaned = images::pool().clean(which).map_err(images::failure)?;
    let text = match options.json() {
        Json::Off => words(&cleaned),
        Json::Pretty => format!("{:#}\n", as_json(&cleaned)),
        Json::Short => format!("{}\n", as_json(&cleaned)),
    };
    form::print(&text)?;
    let failed = cleaned.failed.len();
    for (name, error) in cleaned.failed {
        warn(&anyhow::Error::from(error).context(format!("the image {name} stays")));
    }
    if failed > 0 {
        return Err(anyhow!("{failed} images were not removed"))
            .context("not all is clean")
            .map_err(|error| Failure::new(error, None));
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(cleaned: &Cleaned) -> Value {
    let rows = cleaned.removed.iter();
    rows.map(|(name, space)| json!({ "name": name, "usageExclusive": images::known(*space) })).collect()
}

fn words(cleaned: &Cleaned) -> String {
    let mut text = String::new();
    for (name, space) in &cleaned.removed {
        let freed = images::known(*space).map(images::size);
        let freed = freed.map_or_else(String::new, |size| format!(". Freed exclusive disk space: {size}"));
        text.push_str(&format!("Removed image '{}'{freed}\n", spec::printable(name)));
    }
    if cleaned.left_behind > 0 {
        text.push_str(&format!("Removed {} unfinished copies or removals.\n", cleaned.left_behind));
    }
    let total = images::known(cleaned.space()).filter(|space| *space > 0).map(images::size);
    let total = total.map_or_else(String::new, |size| format!(" Total freed exclusive disk space: {size}."));
    text.push_str(&format!("Removed {} images in total.{total}\n", cleaned.removed.len()));
    text
}
