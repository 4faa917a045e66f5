//! `redd check`: whether this system is ready for containers, feature by feature.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Context;
use check::{Engine, Finding, Leftovers, Need, Readiness, Report, State, Topic};
use serde_json::{Value, json};

use crate::container_command;
use crate::display;
use crate::failure::Failure;
use crate::form::{self, Form};
use crate::machinectl::Json;

/// The exit codes where not all of the main job works. Number 2 is that of a wrong command line.
const NOT_READY: u8 = 1;
const HALF: u8 = 3;
/// Where a line is broken that is not on a terminal: nowhere.
const ENDLESS: usize = usize::MAX;
/// How far explanations are set in.
const INDENT: usize = 6;

/// Show whether this system is ready for containers: what there is, what is missing, why it matters and what to do
///
/// Every feature is tried, by containers that are started and by processes that end with what they have made: namespaces,
/// mounts, filters, links. As with any use of them, the kernel may load modules for it. Nothing stays.
///
/// States: ok; limited (works in part); off (switched off); missing; denied (not to this user); unknown; absent (not there,
/// and nothing needs it).
///
/// The exit status is 0 if this user can start containers, with users of their own and without; 3 if only one of both works; 1 if
/// none does.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Explain what is ok, too
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    form: Form,
}

/// Tries everything and prints what was found.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let command = container_command::find()
        .context("cannot find the program that starts containers")
        .map_err(|error| Failure::new(error, None))?;
    let engine = Engine { program: command.program, arguments: command.arguments };
    let report = check::run(&engine, leftovers);
    let text = match arguments.form.json() {
        Json::Off => text(&report, arguments),
        _ => arguments.form.as_json(&as_json(&report)).unwrap_or_default(),
    };
    form::print(&text)?;
    Ok(ExitCode::from(match report.readiness() {
        Readiness::Ready => 0,
        Readiness::Half => HALF,
        Readiness::NotReady => NOT_READY,
    }))
}

/// What `--cleanup` would remove.
fn leftovers() -> Leftovers {
    if !rustix::process::geteuid().is_root() {
        let error = "what root's runs have left is not seen by other users".to_owned();
        return Leftovers { machines: Vec::new(), errors: vec![error] };
    }
    let left = spawn::left_behind();
    Leftovers { machines: left.machines, errors: left.errors }
}

fn as_json(report: &Report) -> Value {
    let row = |finding: &Finding| {
        json!({
            "feature": finding.feature.name,
            "topic": finding.feature.topic.title(),
            "need": finding.feature.need.word(),
            "state": finding.state.word(),
            "found": finding.found,
            "why": finding.feature.why,
            "advice": finding.advice,
        })
    };
    let readiness = match report.readiness() {
        Readiness::Ready => "ready",
        Readiness::Half => "half",
        Readiness::NotReady => "not ready",
    };
    json!({
        "readiness": readiness,
        "uid": report.caller.uid,
        "findings": report.findings.iter().map(row).collect::<Vec<_>>(),
    })
}

/// The sequences of a terminal, or nothing.
struct Colours {
    bold: &'static str,
    dim: &'static str,
    good: &'static str,
    fair: &'static str,
    bad: &'static str,
    off: &'static str,
}

const PLAIN: Colours = Colours { bold: "", dim: "", good: "", fair: "", bad: "", off: "" };
const COLOURED: Colours =
    Colours { bold: "\x1b[1m", dim: "\x1b[2m", good: "\x1b[32m", fair: "\x1b[33m", bad: "\x1b[1;31m", off: "\x1b[0m" };

impl Colours {
    /// By what it means that it stands so.
    fn of(&self, finding: &Finding) -> &'static str {
        match (finding.state, finding.feature.need) {
            (State::Works, _) => self.good,
            (State::Absent, _) => self.dim,
            (State::Missing | State::Off | State::Denied, Need::Needed) => self.bad,
            _ => self.fair,
        }
    }
}

fn text(report: &Report, arguments: &Arguments) -> String {
    let colours = if display::colors() { &COLOURED } else { &PLAIN };
    let columns = if std::io::stdout().is_terminal() { display::columns() } else { ENDLESS };
    let width = |texts: &mut dyn Iterator<Item = &'static str>| texts.map(display::width).max().unwrap_or(0);
    let name = width(&mut report.findings.iter().map(|finding| finding.feature.name));
    let state = width(&mut report.findings.iter().map(|finding| finding.state.word()));
    let mut text = String::new();
    for topic in Topic::ALL {
        if arguments.form.legend() {
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}{}{}{}\n", colours.bold, topic.title(), colours.off));
        }
        let mut told = None;
        for finding in report.findings.iter().filter(|finding| finding.feature.topic == topic) {
            // Spaces within the sequences would be as wide, but not as plain.
            let room = " ".repeat(state - finding.state.word().len());
            let head = format!("  {:name$}  ", finding.feature.name);
            let shown = format!("{}{}{}{room}  ", colours.of(finding), finding.state.word(), colours.off);
            let before = name + state + INDENT;
            text.push_str(&format!("{head}{shown}{}\n", set_in(&finding.found, before, columns)));
            if arguments.verbose || !finding.state.is_fine() {
                // What is to be done about several features in a row is said once.
                let advice = finding.advice.as_deref().filter(|advice| told != Some(*advice));
                explain(finding, advice, (colours, columns), &mut text);
            }
            told = finding.advice.as_deref();
        }
    }
    if arguments.form.legend() {
        text.push_str(&format!("\n{}\n", set_in(&summary(report, arguments.verbose), 0, columns)));
    }
    text
}

/// Why it matters, and what to do.
fn explain(finding: &Finding, advice: Option<&str>, (colours, columns): (&Colours, usize), text: &mut String) {
    let indent = " ".repeat(INDENT);
    let why = set_in(finding.feature.why, INDENT, columns);
    text.push_str(&format!("{indent}{}{why}{}\n", colours.dim, colours.off));
    if let Some(advice) = advice {
        let begin = "To do: ";
        text.push_str(&format!("{indent}{begin}{}\n", set_in(advice, INDENT + begin.len(), columns)));
    }
}

/// A text in lines that all begin so far to the right, but the first one, which goes on behind something.
fn set_in(text: &str, indent: usize, columns: usize) -> String {
    let width = columns.saturating_sub(indent);
    display::wrapped(text, width).join(&format!("\n{}", " ".repeat(indent)))
}

fn summary(report: &Report, verbose: bool) -> String {
    let ready = match report.readiness() {
        Readiness::Ready => "This user can start containers, with users of their own and without.",
        Readiness::Half => "This user can start containers in one of two ways only, see the top.",
        Readiness::NotReady => "This user cannot start containers.",
    };
    let count = report.findings.iter().filter(|finding| !finding.state.is_fine()).count();
    let rest = match count {
        0 => "Nothing has to be done.".to_owned(),
        1 => "One feature is not all that it could be.".to_owned(),
        count => format!("{count} features are not all that they could be."),
    };
    let more = if verbose { "" } else { " What each is for: redd check --verbose" };
    format!("{ready} {rest}{more}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_set_in() {
        assert_eq!(set_in("one two three", 4, 12), "one two\n    three");
        assert_eq!(set_in("one two three", 4, ENDLESS), "one two three");
    }
}
