//! `machinectl image-status`: images, for people.

use std::process::ExitCode;

use image::pool::{Image, Metadata, Pool};
use serde_json::{Value, json};

use crate::failure::{Failure, warn};
use crate::form;
use crate::machinectl::{Json, Options, images};
use crate::moment;

/// Show what is known of images, or of the place where all are, for people to read
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The images; none for the place where all are
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Prints it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    if arguments.names.is_empty() {
        return print_pool(&pool, options);
    }
    let (found, failure) = images::find_all(&pool, &arguments.names, options);
    let described: Vec<(Image, Metadata)> = found
        .into_iter()
        .map(|image| {
            let metadata = pool.metadata(&image).unwrap_or_else(|error| {
                // An image that is used, or that has no file system yet.
                if !options.quiet() {
                    warn(&anyhow::Error::from(error));
                }
                Metadata::default()
            });
            (image, metadata)
        })
        .collect();
    let rows = || described.iter().map(|(image, metadata)| as_json(image, metadata)).collect::<Value>();
    let text = match options.json() {
        Json::Off => {
            let texts: Vec<String> = described.iter().map(|(image, metadata)| status(image, metadata)).collect();
            texts.join("\n")
        }
        Json::Pretty => format!("{:#}\n", rows()),
        Json::Short => format!("{}\n", rows()),
    };
    form::print(&text)?;
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// 32 hexadecimal digits.
fn hexadecimal(id: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(id))
}

fn as_json(image: &Image, metadata: &Metadata) -> Value {
    let mut value = images::as_json(image);
    let assignments = |pairs: &[(String, String)]| {
        (!pairs.is_empty()).then(|| pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
    };
    value["hostname"] = json!(metadata.hostname);
    value["machineId"] = json!(metadata.machine_id.map(hexadecimal));
    value["machineInfo"] = json!(assignments(&metadata.machine_info));
    value["OSRelease"] = json!(assignments(&metadata.os_release));
    value
}

/// Headings end in the same column.
fn status(image: &Image, metadata: &Metadata) -> String {
    let mut text = format!("{}\n", spec::printable(&image.name));
    let mut line = |heading: &str, value: &str| text.push_str(&format!("{heading}: {}\n", spec::printable(value)));
    line("\t    Type", image.kind.name());
    line("\t    Path", &image.path.to_string_lossy());
    if let Some(name) = &metadata.hostname {
        line("\tHostname", name);
    }
    if let Some(id) = metadata.machine_id {
        line("      Machine ID", &hexadecimal(id));
    }
    let deployment = metadata.machine_info.iter().find(|(name, _)| name == "DEPLOYMENT");
    if let Some((_, deployment)) = deployment.filter(|(_, value)| !value.is_empty()) {
        line("      Deployment", deployment);
    }
    if let Some(system) = metadata.operating_system() {
        line("\t      OS", system);
    }
    line("\t      RO", if image.read_only { "read-only" } else { "writable" });
    for (heading, time) in [("\t Created", image.created), ("\tModified", image.modified)] {
        if let Some(moment) = moment::timestamp(time) {
            line(heading, &format!("{moment}; {}", moment::ago(time)));
        }
    }
    for (heading, whole, exclusive) in
        [("\t   Usage", image.usage, image.usage_exclusive), ("\t   Limit", image.limit, image.limit_exclusive)]
    {
        match (images::known(whole), images::known(exclusive)) {
            (Some(whole), Some(exclusive)) if whole != exclusive => {
                line(heading, &format!("{} (exclusive: {})", images::size(whole), images::size(exclusive)));
            }
            (Some(whole), _) => line(heading, &images::size(whole)),
            (None, _) => {}
        }
    }
    text
}

fn print_pool(pool: &Pool, options: &Options) -> Result<ExitCode, Failure> {
    let usage = pool.usage();
    let path = pool.path().to_string_lossy();
    let (used, limit) = (images::known(usage.usage), images::known(usage.limit));
    let value = json!({ "path": path, "usage": used, "limit": limit });
    let text = match options.json() {
        Json::Off => {
            let mut text = format!("\t    Path: {path}\n");
            for (heading, size) in [("Usage", used), ("Limit", limit)] {
                if let Some(size) = size {
                    text.push_str(&format!("\t   {heading}: {}\n", images::size(size)));
                }
            }
            text
        }
        Json::Pretty => format!("{value:#}\n"),
        Json::Short => format!("{value}\n"),
    };
    form::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
