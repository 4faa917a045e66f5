//! The help text.

use crate::options::{Argument, Group, OptionRow};

/// How the help text looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HelpStyle {
    /// Characters in a line; at least 40 are used.
    pub width: usize,
    /// Headings and options stand out.
    pub colours: bool,
}

/// The column that the explanations start in.
const INDENT: usize = 30;

/// The options by group, each in as many lines as it needs.
#[must_use]
pub fn help(name: &str, style: HelpStyle) -> String {
    let width = style.width.max(40);
    let mut text =
        format!("{name} [OPTIONS...] [COMMAND [ARGUMENTS...]]\n{name} --boot [OPTIONS...] [ARGUMENTS...]\n\n");
    for line in wrap("Runs a command or boots an operating system in a lightweight namespace container.", width) {
        text.push_str(&line);
        text.push('\n');
    }
    for group in Group::ALL {
        text.push_str(&format!("\n{}\n", style.heading(&format!("{}:", group.title()))));
        for row in group.rows() {
            describe(&mut text, row, width, style);
        }
    }
    text.push('\n');
    for line in wrap("Options marked with * are not carried out by this version; they are refused.", width) {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

impl HelpStyle {
    fn heading(self, text: &str) -> String {
        if self.colours { format!("\x1b[1;4m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn option(self, text: &str, carried_out: bool) -> String {
        match (self.colours, carried_out) {
            (false, _) => text.to_owned(),
            (true, true) => format!("\x1b[1m{text}\x1b[0m"),
            (true, false) => format!("\x1b[2m{text}\x1b[0m"),
        }
    }
}

/// The spellings of an option and its value, such as `-D --directory=PATH`.
pub(crate) fn synopsis(row: &OptionRow) -> String {
    let short = row.short.map_or("   ".to_owned(), |short| format!("-{short} "));
    let long = match (row.long, row.argument) {
        ("", _) => String::new(),
        (name, Argument::None) => format!("--{name}"),
        (name, Argument::Required(value)) => format!("--{name}={value}"),
        (name, Argument::Optional(value)) => format!("--{name}[={value}]"),
    };
    format!("{short}{long}").trim_end().to_owned()
}

fn describe(text: &mut String, row: &OptionRow, width: usize, style: HelpStyle) {
    let mark = if row.carried_out() { ' ' } else { '*' };
    let synopsis = format!("{mark} {}", synopsis(row));
    let shown = style.option(&synopsis, row.carried_out());
    text.push_str(&shown);
    let mut lines = wrap(row.help, width - INDENT).into_iter();
    if synopsis.len() < INDENT {
        text.push_str(&" ".repeat(INDENT - synopsis.len()));
        text.push_str(&lines.next().unwrap_or_default());
    }
    text.push('\n');
    for line in lines {
        text.push_str(&" ".repeat(INDENT));
        text.push_str(&line);
        text.push('\n');
    }
}

/// Parts a text into lines at its spaces.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
