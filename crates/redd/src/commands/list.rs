//! `machinectl list`: the machines that run.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use machine::{Machine, Registry};
use serde_json::json;

use crate::failure::{Failure, warn};
use crate::machinectl::{Json, Options};

/// List the machines that run
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {}

/// Prints them.
pub(crate) fn run(_: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let (machines, errors) = Registry::system().list().map_err(|error| Failure::new(error, None))?;
    for error in errors {
        warn(&anyhow::Error::from(error));
    }
    let text = match options.json() {
        Json::Off => table(&machines, options.legend()),
        Json::Pretty => format!("{:#}\n", as_json(&machines)),
        Json::Short => format!("{}\n", as_json(&machines)),
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write").map_err(|error| Failure::new(error, None))?;
    Ok(ExitCode::SUCCESS)
}

fn as_json(machines: &[Machine]) -> serde_json::Value {
    let rows = machines.iter().map(
        |Machine { state, .. }| json!({ "machine": state.name, "class": state.class.name(), "service": state.service }),
    );
    rows.collect()
}

fn table(machines: &[Machine], legend: bool) -> String {
    if machines.is_empty() {
        return if legend { "No machines.\n".to_owned() } else { String::new() };
    }
    let width = machines.iter().map(|machine| machine.state.name.len()).max().unwrap_or(0).max("MACHINE".len());
    let mut text = String::new();
    if legend {
        text.push_str(&format!("{:width$} {:9} SERVICE\n", "MACHINE", "CLASS"));
    }
    for Machine { state, .. } in machines {
        let service = state.service.as_deref().unwrap_or("-");
        text.push_str(&format!("{:width$} {:9} {}\n", state.name, state.class.name(), spec::printable(service)));
    }
    if legend {
        text.push_str(&format!("\n{} machines listed.\n", machines.len()));
    }
    text
}
