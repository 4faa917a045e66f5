//! The form of what is printed: tables for people, JSON for programs.

use std::io::{IsTerminal, Write};

use anyhow::Context;

use crate::display;
use crate::failure::Failure;
use crate::machinectl::Json;

// No doc comment: it would become each verb's own description.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Form {
    /// Print JSON: pretty, short (one line) or off
    #[arg(long, value_name = "MODE", default_value = "off")]
    json: Json,
    /// The same as --json=pretty on a terminal, else --json=short
    #[arg(short = 'j')]
    as_json: bool,
    /// Print no headings
    #[arg(long)]
    no_legend: bool,
}

impl Form {
    /// How JSON is printed.
    pub(crate) fn json(&self) -> Json {
        match (self.json, self.as_json) {
            (Json::Off, true) if std::io::stdout().is_terminal() => Json::Pretty,
            (Json::Off, true) => Json::Short,
            (json, _) => json,
        }
    }

    /// The text for this, `None` if a table is wanted.
    pub(crate) fn as_json(&self, value: &serde_json::Value) -> Option<String> {
        match self.json() {
            Json::Off => None,
            Json::Pretty => Some(format!("{value:#}\n")),
            Json::Short => Some(format!("{value}\n")),
        }
    }

    /// Whether there are headings.
    pub(crate) fn legend(&self) -> bool {
        !self.no_legend
    }
}

/// Writes to standard output. False if nobody reads any more, such as head(1).
pub(crate) fn print(text: &str) -> Result<bool, Failure> {
    print_bytes(text.as_bytes())
}

/// The same of what need not be text.
pub(crate) fn print_bytes(text: &[u8]) -> Result<bool, Failure> {
    let mut output = std::io::stdout();
    match output.write_all(text).and_then(|()| output.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).context("cannot write").map_err(|error| Failure::new(error, None)),
    }
}

/// How a column is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    /// Words.
    Left(&'static str),
    /// Numbers.
    Right(&'static str),
}

/// Rows below headings; the last column is as long as it is, the others as their longest field. The first line is that of
/// the headings.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let title = |column: &Column| match column {
        Column::Left(title) | Column::Right(title) => (*title).to_owned(),
    };
    let headings: Vec<String> = columns.iter().map(title).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| all().map(|row| display::width(row.get(index).map_or("", String::as_str))).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let mut line = String::new();
        for (index, field) in row.iter().enumerate() {
            let room = " ".repeat(widths[index].saturating_sub(display::width(field)));
            if index > 0 {
                line.push(' ');
            }
            match columns[index] {
                Column::Right(_) => line.extend([&room, field.as_str()]),
                Column::Left(_) => line.extend([field.as_str(), &room]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    };
    all().map(line).collect()
}

/// An amount of memory or data in three or four figures, such as `1.5G`.
pub(crate) fn bytes(amount: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    if amount < 1024 {
        return format!("{amount}B");
    }
    let mut value = amount as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let shown = [0, 1023, 1024, 1536, 1 << 20, (1 << 20) - 1, u64::MAX].map(bytes);
        assert_eq!(shown, ["0B", "1023B", "1.0K", "1.5K", "1.0M", "1.0M", "16.0E"]);
    }

    #[test]
    fn columns_are_as_wide_as_they_must_be() {
        let rows = [["a", "12", "x"], ["日本", "1", "long"]].map(|row| row.map(str::to_owned).to_vec());
        let lines = table(&[Column::Left("NAME"), Column::Right("N"), Column::Left("REST")], &rows);
        assert_eq!(lines, ["NAME  N REST", "a    12 x", "日本  1 long"]);
    }
}
