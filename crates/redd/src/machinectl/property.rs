//! Properties as the verbs `show` and `show-image` print them: `NAME=VALUE`, or JSON.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Json, Options};
use crate::failure::Failure;
use crate::{form, moment};

/// A property: its name on the bus, as text, and as it is.
#[derive(Debug)]
pub(crate) struct Property(pub(crate) &'static str, pub(crate) String, pub(crate) Value);

impl Property {
    /// A string, made printable.
    pub(crate) fn text(name: &'static str, text: &str) -> Self {
        Self(name, spec::printable(text), json!(text))
    }

    /// A number, which is shown even if it is 0.
    pub(crate) fn number(name: &'static str, number: impl Into<u64>) -> Self {
        let number = number.into();
        Self(name, number.to_string(), json!(number))
    }

    /// A moment in microseconds since 1970; 0 is none.
    pub(crate) fn time(name: &'static str, time: u64) -> Self {
        Self(name, moment::timestamp(time).unwrap_or_default(), json!(time))
    }
}

/// Prints the properties of one thing or of several.
pub(crate) fn print(all: &[Vec<Property>], several: bool, options: &Options) -> Result<ExitCode, Failure> {
    let text = match options.json() {
        Json::Off => all.iter().map(|properties| lines(properties, options)).collect::<Vec<_>>().join("\n"),
        json => {
            let mut objects = all.iter().map(|properties| as_json(properties, options));
            let value: Value = if several { objects.collect() } else { objects.next().unwrap_or_default() };
            if json == Json::Pretty { format!("{value:#}\n") } else { format!("{value}\n") }
        }
    };
    form::print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// Empty ones only if all are wanted.
pub(crate) fn lines(properties: &[Property], options: &Options) -> String {
    let wanted =
        |Property(name, text, _): &&Property| options.wants_property(name) && (options.all || !text.is_empty());
    let line = |Property(name, text, _): &Property| match options.values_only() {
        true => format!("{text}\n"),
        false => format!("{name}={text}\n"),
    };
    properties.iter().filter(wanted).map(line).collect()
}

fn as_json(properties: &[Property], options: &Options) -> Value {
    let wanted = properties.iter().filter(|Property(name, ..)| options.wants_property(name));
    Value::Object(wanted.map(|Property(name, _, value)| ((*name).to_owned(), value.clone())).collect())
}
