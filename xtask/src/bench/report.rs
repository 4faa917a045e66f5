//! The figures as text, JSON and a page of the documentation.

use std::fmt::Write;

use serde::Serialize;

use super::machine::Machine;
use super::runner::Measured;

/// One measured work.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Table {
    /// Its short name.
    pub id: &'static str,
    /// What was done.
    pub title: String,
    /// What the figures are: `ms`, `KiB`, `ns`.
    pub unit: &'static str,
    /// One row a contestant; ratios are to the first.
    pub rows: Vec<Row>,
    /// What redd is to reach.
    pub bars: Vec<Bar>,
}

/// What one contestant took.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub name: String,
    pub rounds: usize,
    pub median: f64,
    pub minimum: f64,
    pub ratio: f64,
    pub ratio_of_minima: f64,
}

/// Something to reach: `value` is to be `limit` at the most.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Bar {
    pub text: String,
    pub value: f64,
    pub limit: f64,
    pub met: bool,
}

impl Table {
    pub(super) fn new(id: &'static str, title: impl Into<String>, unit: &'static str, measured: &[Measured]) -> Self {
        let least = measured.first().map_or(f64::NAN, Measured::minimum);
        let rows = measured
            .iter()
            .map(|one| Row {
                name: one.name.clone(),
                rounds: one.values.len(),
                median: one.median(),
                minimum: one.minimum(),
                ratio: one.ratio(),
                ratio_of_minima: one.minimum() / least,
            })
            .collect();
        Self { id, title: title.into(), unit, rows, bars: Vec::new() }
    }

    /// Adds something to reach.
    pub(super) fn bar(mut self, text: &str, value: f64, limit: f64) -> Self {
        self.bars.push(Bar { text: text.to_owned(), value, limit, met: value <= limit });
        self
    }

    /// Adds that `name` is to take no more than each of the others.
    pub(super) fn ahead(mut self, name: &str, others: &[&str]) -> Self {
        let Some(own) = self.row(name).cloned() else { return self };
        for other in others {
            if let Some(row) = self.row(other).cloned() {
                self =
                    self.bar(&format!("{name} / {other}"), (own.ratio / row.ratio).min(own.minimum / row.minimum), 1.0);
            }
        }
        self
    }

    pub(super) fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The ratio of a row to the first, of medians or of minima, whichever is less: load only ever adds. Not a number
    /// where there is no such row.
    pub(super) fn ratio(&self, name: &str) -> f64 {
        self.row(name).map_or(f64::NAN, |row| row.ratio.min(row.ratio_of_minima))
    }

    /// The table in Markdown, which is as readable on a terminal.
    pub(super) fn markdown(&self) -> String {
        let unit = self.unit;
        let mut text = format!("## {}: {}\n\n", self.id, self.title);
        let base = self.rows.first().map_or("", |row| &*row.name);
        let _ = writeln!(text, "| | median, {unit} | least, {unit} | to {base} | least to {base} | rounds |");
        text.push_str("|---|---:|---:|---:|---:|---:|\n");
        for row in &self.rows {
            let Row { name, rounds, median, minimum, ratio, ratio_of_minima } = row;
            let _ = writeln!(
                text,
                "| {name} | {median:.2} | {minimum:.2} | {ratio:.2} | {ratio_of_minima:.2} | {rounds} |"
            );
        }
        if !self.bars.is_empty() {
            text.push('\n');
        }
        for bar in &self.bars {
            let word = if bar.met { "reached" } else { "missed" };
            let _ = writeln!(text, "- {}: {:.2}, at most {:.2} wanted: {word}", bar.text, bar.value, bar.limit);
        }
        text
    }
}

/// How the figures came about, and what they mean.
const INTRODUCTION: &str = "# Benchmarks

Written by `cargo xtask bench --write`, with `--only` the tables of some works. All figures of a table are from one run on one machine, in which the programs took
turns: times swing with the machine, ratios much less. \"to\" is the median of the ratios round by round, \"least to\" the
ratio of the least values; what is wanted is compared with the lesser of both, because load only adds. No test judges times.

`floor` (`xtask/bench/floor.c`) is the least that a container start can cost: one process, seven mounts, six devices, no
supervision. It is no container program. The others are asked for the same namespaces as redd has by default, and for no
network of their own. bubblewrap, crun and runc make a quarter of the mounts, load no filter and join no control group
here: the comparison favours them. `/run` is a tmpfs, as on all hosts with systemd: where the machine has none there, one is
mounted for the benchmarks.
";

/// The whole page.
pub(super) fn page(machine: &Machine, versions: &[String], tables: &[Table]) -> String {
    let mut text = format!("{INTRODUCTION}\n## The machine\n\n");
    let Machine { processor, memory_gib, kernel, system, disk } = machine;
    let _ = writeln!(text, "- {processor}; {memory_gib} GiB\n- Linux {kernel}, {system}\n- trees on {disk}");
    for version in versions {
        let _ = writeln!(text, "- {version}");
    }
    for table in tables {
        let _ = write!(text, "\n{}", table.markdown());
    }
    text
}

/// The page with these tables in place of the ones of the same works, and the others as they are.
pub(super) fn renewed(page: &str, tables: &[Table]) -> String {
    let mut parts = page.split("\n## ");
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut left: Vec<&Table> = tables.iter().collect();
    for part in parts {
        let of = |table: &Table| part.split_once(": ").is_some_and(|(id, _)| id == table.id);
        if !tables.iter().any(of) {
            let _ = write!(text, "\n## {part}");
        }
        for table in left.extract_if(.., |table| of(table)) {
            let _ = write!(text, "\n{}", table.markdown());
        }
    }
    for table in left {
        let _ = write!(text, "\n{}", table.markdown());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_renewed() {
        let other = Table::new("P2", "copy", "ms", &[]);
        let page = format!("# Page\n\n## P1: old\n\nx\n\n## P1: old, too\n\nx\n\n{}", other.markdown());
        let new = renewed(&page, &[table(), Table::new("P3", "users", "ms", &[])]);
        let headings: Vec<&str> = new.lines().filter(|line| line.starts_with('#')).collect();
        assert_eq!(headings, ["# Page", "## P1: start", "## P2: copy", "## P3: users"], "{new}");
        assert_eq!(renewed(&new, &[table(), Table::new("P3", "users", "ms", &[])]), new);
    }

    fn table() -> Table {
        let one = Measured { name: "floor".into(), values: vec![2.0, 4.0], pairs: vec![(2.0, 2.0), (4.0, 4.0)] };
        let two = Measured { name: "redd".into(), values: vec![3.0, 6.0], pairs: vec![(3.0, 2.0), (6.0, 4.0)] };
        let three = Measured { name: "other".into(), values: vec![2.0, 4.0], pairs: vec![(2.0, 2.0), (4.0, 4.0)] };
        Table::new("P1", "start", "ms", &[one, two, three])
    }

    #[test]
    fn bars_can_be_missed() {
        let table = table();
        let ratio = table.ratio("redd");
        let table = table.bar("redd / floor", ratio, 1.5).ahead("redd", &["other", "absent"]);
        let met: Vec<_> = table.bars.iter().map(|bar| (&*bar.text, bar.met)).collect();
        assert_eq!(met, [("redd / floor", true), ("redd / other", false)]);
        assert!(!Table::new("P1", "", "ms", &[]).bar("x", f64::NAN, 1.0).bars[0].met, "nothing measured");
    }

    #[test]
    fn rows_in_markdown() {
        let text = table().markdown();
        assert!(text.contains("| redd | 4.50 | 3.00 | 1.50 | 1.50 | 2 |"), "{text}");
    }
}
