//! `machinectl show-image`: images, for programs.

use std::process::ExitCode;

use image::pool::{Image, Pool};
use serde_json::json;

use crate::failure::Failure;
use crate::machinectl::property::{self, Property};
use crate::machinectl::{Options, images};

/// Show the properties of images, or of the place where all are, for programs to read
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The images; none for the place where all are
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    if arguments.names.is_empty() {
        return property::print(&[of_pool(&pool)], false, options);
    }
    let (found, failure) = images::find_all(&pool, &arguments.names, options);
    let all: Vec<Vec<Property>> = found.iter().map(of_image).collect();
    if !all.is_empty() {
        property::print(&all, arguments.names.len() > 1, options)?;
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn of_image(image: &Image) -> Vec<Property> {
    let yes = if image.read_only { "yes" } else { "no" };
    vec![
        Property::text("Name", &image.name),
        Property::text("Path", &image.path.to_string_lossy()),
        Property::text("Type", image.kind.name()),
        Property("ReadOnly", yes.to_owned(), json!(image.read_only)),
        Property::time("CreationTimestamp", image.created),
        Property::time("ModificationTimestamp", image.modified),
        Property::number("Usage", image.usage),
        limit("Limit", image.limit),
        Property::number("UsageExclusive", image.usage_exclusive),
        limit("LimitExclusive", image.limit_exclusive),
    ]
}

/// The properties of the place where all are.
pub(super) fn of_pool(pool: &Pool) -> Vec<Property> {
    let usage = pool.usage();
    vec![
        Property::text("PoolPath", &pool.path().to_string_lossy()),
        Property::number("PoolUsage", usage.usage),
        Property::number("PoolLimit", usage.limit),
    ]
}

fn limit(name: &'static str, size: u64) -> Property {
    let text = images::known(size).map_or_else(|| "infinity".to_owned(), |size| size.to_string());
    Property(name, text, json!(size))
}
