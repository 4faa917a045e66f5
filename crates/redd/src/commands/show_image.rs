//! `machinectl show-image`: images, for programs.

use std::process::ExitCode;

use image::pool::{Image, Pool};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::form;
use crate::machinectl::{Json, Options, images};
use crate::moment;

/// Show the properties of images, or of the place where all are, for programs to read
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// The images; none for the place where all are
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// A property: its name on the bus, as text, and as it is.
struct Property(&'static str, String, Value);

impl Property {
    fn text(name: &'static str, text: &str) -> Self {
        Self(name, spec::printable(text), json!(text))
    }

    fn size(name: &'static str, size: u64) -> Self {
        Self(name, size.to_string(), json!(size))
    }

    fn limit(name: &'static str, size: u64) -> Self {
        let text = images::known(size).map_or_else(|| "infinity".to_owned(), |size| size.to_string());
        Self(name, text, json!(size))
    }

    fn time(name: &'static str, time: u64) -> Self {
        Self(name, moment::timestamp(time).unwrap_or_default(), json!(time))
    }
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let pool = images::pool();
    let all = if arguments.names.is_empty() {
        vec![of_pool(&pool)]
    } else {
        let found = arguments.names.iter().map(|name| images::find(&pool, name)).collect::<Result<Vec<_>, _>>()?;
        found.iter().map(of_image).collect()
    };
    let text = match options.json() {
        Json::Off => all.iter().map(|properties| lines(properties, options)).collect::<Vec<_>>().join("\n"),
        json => {
            let objects = all.iter().map(|properties| as_json(properties, options));
            let value: Value = if arguments.names.len() > 1 {
                objects.collect()
            } else {
                objects.into_iter().next().unwrap_or_default()
            };
            if json == Json::Pretty { format!("{value:#}\n") } else { format!("{value}\n") }
        }
    };
    form::print(&text)?;
    Ok(ExitCode::SUCCESS)
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
        Property::size("Usage", image.usage),
        Property::limit("Limit", image.limit),
        Property::size("UsageExclusive", image.usage_exclusive),
        Property::limit("LimitExclusive", image.limit_exclusive),
    ]
}

fn of_pool(pool: &Pool) -> Vec<Property> {
    let usage = pool.usage();
    vec![
        Property::text("PoolPath", &pool.path().to_string_lossy()),
        Property::size("PoolUsage", usage.usage),
        Property::size("PoolLimit", usage.limit),
    ]
}

fn lines(properties: &[Property], options: &Options) -> String {
    let wanted = properties
        .iter()
        .filter(|Property(name, text, _)| options.wants_property(name) && (options.all || !text.is_empty()));
    wanted
        .map(
            |Property(name, text, _)| {
                if options.values_only() { format!("{text}\n") } else { format!("{name}={text}\n") }
            },
        )
        .collect()
}

fn as_json(properties: &[Property], options: &Options) -> Value {
    let wanted = properties.iter().filter(|Property(name, ..)| options.wants_property(name));
    Value::Object(wanted.map(|Property(name, _, value)| ((*name).to_owned(), value.clone())).collect())
}
