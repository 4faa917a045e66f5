//! `machinectl list`: the machines that run.

use std::io::IsTerminal;
use std::process::ExitCode;

use machine::addresses::{self, Address};
use machine::os_release::Reading;
use machine::state::{Class, State};
use machine::{OsRelease, Process, Registry, machines};
use serde_json::{Value, json};

use crate::display;
use crate::failure::{Failure, warn};
use crate::form::{self, Column};
use crate::machinectl::{Json, Options, pager};

/// List the machines that run; the host itself, too, with --all
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// How many addresses of each machine are shown: a number or all
    ///
    /// In JSON there are all, or with 0 none.
    #[arg(long, value_name = "NUMBER", default_value = "1", value_parser = most)]
    max_addresses: Most,
    /// Print JSON (json, json-pretty, json-sse, json-seq); what else journalctl(1) knows is a table
    #[arg(short, long, value_name = "MODE", default_value = "short", value_parser = super::status::mode)]
    output: String,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Most(usize);

impl Default for Most {
    fn default() -> Self {
        Self(1)
    }
}

fn most(text: &str) -> Result<Most, String> {
    match text {
        "all" | "" => Ok(Most(usize::MAX)),
        text => text.parse().map(Most).map_err(|_| "it is neither a number nor all".to_owned()),
    }
}

/// What is shown of a machine.
struct Row {
    state: State,
    system: Option<OsRelease>,
    addresses: Vec<Address>,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let mut systems = Reading::new();
    let seen = |state: &State| match state.class {
        Class::Container => systems.add(state),
        // Its first process is the one on the host.
        Class::Vm | Class::Host => {}
    };
    let (states, errors) =
        machines::all_seeing(&Registry::system(), seen).map_err(|error| Failure::new(error, None))?;
    for error in errors {
        warn(&anyhow::Error::from(error));
    }
    let json = match (options.json(), arguments.output.as_str()) {
        (Json::Off, "json-pretty") => Json::Pretty,
        (Json::Off, "json" | "json-sse" | "json-seq") => Json::Short,
        (json, _) => json,
    };
    let most = match arguments.max_addresses {
        Most(0) => 0,
        _ if options.full || json != Json::Off => usize::MAX,
        Most(most) => most,
    };
    let mut rows = rows(states, systems, most > 0);
    rows.sort_unstable_by(|one, other| one.state.name.cmp(&other.state.name));
    if options.all {
        rows.insert(0, Row::of_host(most > 0));
    }
    let all: Value = match json {
        Json::Off => Value::Null,
        _ => rows.iter().map(|row| as_json(row, most)).collect(),
    };
    let text = match json {
        Json::Off => table(&rows, most, options),
        Json::Pretty => format!("{all:#}\n"),
        Json::Short => format!("{all}\n"),
    };
    pager::print(&text, options)?;
    Ok(ExitCode::SUCCESS)
}

/// What is not known, because the caller may not see it or a machine has just ended, is left out.
fn rows(states: Vec<State>, systems: Reading, with_addresses: bool) -> Vec<Row> {
    let apart = |state: &&State| with_addresses && state.private_network;
    let leaders: Vec<&Process> = states.iter().filter(apart).map(|state| &state.leader).collect();
    let mut addresses = addresses::of_machines(&leaders).into_iter();
    let mut systems = systems.results().into_iter();
    let row = |state: State| Row {
        addresses: match apart(&&state) {
            true => addresses.next().and_then(Result::ok).unwrap_or_default(),
            false => Vec::new(),
        },
        system: match state.class {
            Class::Container => systems.next().and_then(Result::ok),
            Class::Vm | Class::Host => None,
        },
        state,
    };
    states.into_iter().map(row).collect()
}

impl Row {
    fn of_host(with_addresses: bool) -> Self {
        let addresses = if with_addresses { addresses::of_host().unwrap_or_default() } else { Vec::new() };
        Self { state: machines::host(), system: OsRelease::of_host().ok(), addresses }
    }

    fn of_system(&self, field: &str) -> Option<&str> {
        self.system.as_ref()?.get(field)
    }

    /// The lines in the last column: with a sign if there are more.
    fn shown_addresses(&self, most: usize) -> Vec<String> {
        let all = &self.addresses;
        let mut lines: Vec<String> = all.iter().take(most).map(|address| address.address.to_string()).collect();
        if let Some(last) = lines.last_mut().filter(|_| all.len() > most) {
            last.push('…');
        }
        lines
    }
}

fn as_json(row: &Row, most: usize) -> Value {
    let addresses = row.shown_addresses(most);
    let mut value = json!({
        "machine": row.state.name,
        "class": row.state.class.name(),
        "service": row.state.service,
        "os": row.of_system("ID"),
        "version": row.of_system("VERSION_ID"),
    });
    if most > 0 {
        value["addresses"] = if addresses.is_empty() { Value::Null } else { addresses.join("\n").into() };
    }
    value
}

fn table(rows: &[Row], most: usize, options: &Options) -> String {
    let legend = options.legend();
    if rows.is_empty() {
        return if legend { "No machines.\n".to_owned() } else { String::new() };
    }
    let mut titles = vec!["MACHINE", "CLASS", "SERVICE", "OS", "VERSION", "ADDRESSES"];
    if most == 0 {
        titles.pop();
    }
    let columns: Vec<Column> = titles.iter().map(|title| Column::Left(if legend { title } else { "" })).collect();
    let mut cells: Vec<Vec<String>> = Vec::with_capacity(rows.len());
    for row in rows {
        let dash = |text: Option<&str>| text.filter(|text| !text.is_empty()).map_or("-".to_owned(), spec::printable);
        let mut cell = vec![
            row.state.name.clone(),
            row.state.class.name().to_owned(),
            dash(row.state.service.as_deref()),
            dash(row.of_system("ID")),
            dash(row.of_system("VERSION_ID")),
        ];
        let mut addresses = row.shown_addresses(most).into_iter();
        if most > 0 {
            cell.push(addresses.next().unwrap_or_else(|| "-".to_owned()));
        }
        cells.push(cell);
        for address in addresses {
            let mut line = vec![String::new(); titles.len() - 1];
            line.push(address);
            cells.push(line);
        }
    }
    let mut lines = form::table(&columns, &cells);
    if !legend {
        lines.remove(0);
    }
    if std::io::stdout().is_terminal() && !options.full {
        let columns = display::columns();
        lines.iter_mut().for_each(|line| *line = display::shortened(line, columns, display::unicode()));
    }
    if !legend {
        return lines.join("\n") + "\n";
    }
    if display::colors() {
        lines[0] = format!("\u{1b}[4m{}\u{1b}[0m", lines[0]);
    }
    format!("{}\n\n{} machines listed.\n", lines.join("\n"), rows.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, addresses: &[&str]) -> Row {
        let addresses = addresses.iter().map(|address| Address::everywhere(address.parse().unwrap()));
        let state = State { name: name.to_owned(), class: Class::Container, ..machines::host() };
        let system = Some(OsRelease::parse(b"ID=debian\nVERSION_ID=12\n"));
        Row { state, system, addresses: addresses.collect() }
    }

    #[test]
    fn a_table_like_the_original_s() {
        let mut second = row("longer-name", &[]);
        second.system = None;
        second.state.service = Some("systemd-nspawn".to_owned());
        let rows = [row("a", &["10.0.0.2", "fd00::1"]), second];
        let options = Options::default();
        let expected = "MACHINE     CLASS     SERVICE        OS     VERSION ADDRESSES
a           container -              debian 12      10.0.0.2…
longer-name container systemd-nspawn -      -       -

2 machines listed.
";
        assert_eq!(table(&rows, 1, &options), expected);
        let all = table(&rows, usize::MAX, &options);
        let second = format!("12      10.0.0.2\n{}fd00::1\n", " ".repeat(52));
        assert!(all.contains(&second), "{all}");
        assert!(!table(&rows, 0, &options).contains("ADDRESSES"));
        assert_eq!(table(&[], 1, &options), "No machines.\n");
    }

    #[test]
    fn json_has_the_columns_names() {
        let value = as_json(&row("a", &["10.0.0.2", "fd00::1"]), usize::MAX);
        let expected = json!({ "machine": "a", "class": "container", "service": null, "os": "debian", "version": "12",
            "addresses": "10.0.0.2\nfd00::1" });
        assert_eq!(value, expected);
    }

    #[test]
    fn how_many_addresses() {
        assert_eq!((most("all"), most("3"), most("0")), (Ok(Most(usize::MAX)), Ok(Most(3)), Ok(Most(0))));
        assert!(most("few").is_err());
    }
}
