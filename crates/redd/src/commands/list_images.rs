//! `machinectl list-images`: the images that are installed.

use std::io::IsTerminal;
use std::process::ExitCode;

use image::pool::Image;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::form::{self, Column};
use crate::machinectl::{Json, Options, images};
use crate::moment;

/// List the images that are installed; hidden ones and the host's own with --all
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {}

/// Prints them.
pub(crate) fn run(_: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let mut found = images::pool().list().map_err(images::failure)?;
    found.retain(|image| options.all || !image.is_hidden());
    let rows: Value = found.iter().map(as_json).collect();
    let text = match options.json() {
        Json::Off => table(&found, options.legend()),
        Json::Pretty => format!("{rows:#}\n"),
        Json::Short => format!("{rows}\n"),
    };
    form::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The columns by their names, as all of systemd's tables are.
fn as_json(image: &Image) -> Value {
    let time = |microseconds: u64| (microseconds != 0).then_some(microseconds);
    json!({
        "name": image.name,
        "type": image.kind.name(),
        "ro": image.read_only,
        "usage": images::known(image.usage),
        "created": time(image.created),
        "modified": time(image.modified),
    })
}

fn table(images: &[Image], legend: bool) -> String {
    if images.is_empty() {
        return if legend { "No images.\n".to_owned() } else { String::new() };
    }
    let (dash, time) = (|| "-".to_owned(), moment::timestamp);
    let row = |image: &Image| {
        vec![
            spec::printable(&image.name),
            image.kind.name().to_owned(),
            if image.read_only { "yes" } else { "no" }.to_owned(),
            images::known(image.usage).map(images::size).unwrap_or_default(),
            time(image.created).unwrap_or_else(dash),
            time(image.modified).unwrap_or_else(dash),
        ]
    };
    let rows: Vec<Vec<String>> = images.iter().map(row).collect();
    let title = |title: &'static str| if legend { title } else { "" };
    let columns = [
        Column::Left(title("NAME")),
        Column::Left(title("TYPE")),
        Column::Left(title("RO")),
        Column::Right(title("USAGE")),
        Column::Left(title("CREATED")),
        Column::Left(title("MODIFIED")),
    ];
    let mut lines = form::table(&columns, &rows);
    if !legend {
        lines.remove(0);
        return lines.join("\n") + "\n";
    }
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        lines[0] = format!("\u{1b}[4m{}\u{1b}[0m", lines[0]);
    }
    format!("{}\n\n{} images listed.\n", lines.join("\n"), images.len())
}
