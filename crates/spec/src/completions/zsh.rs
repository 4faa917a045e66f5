//! Completion for zsh(1).

use super::{MACHINES, proposals, rows};
use crate::options::{Argument, Merge, OptionRow, ValueKind};

pub(super) fn script(name: &str) -> String {
    let function = format!("_{name}");
    let mut text =
        format!("#compdef {name}\n# Completion of {name} for zsh.\n{function}() {{\n    _arguments -s -S \\\n");
    for row in rows() {
        for spec in specs(row) {
            text.push_str(&format!("        {spec} \\\n"));
        }
    }
    text.push_str("        '*:: :_default'\n}\n");
    // In a directory of $fpath this file is the function's body; read by `source` it has to be made known.
    text.push_str(&format!(
        "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    {function} \"$@\"\nelse\n    compdef {function} {name}\nfi\n"
    ));
    text
}

/// One specification for each spelling, see zshcompsys(1), `_arguments`.
fn specs(row: &OptionRow) -> Vec<String> {
    let short = row.short.map(|short| format!("-{short}"));
    let long = Some(row.long).filter(|long| !long.is_empty()).map(|long| format!("--{long}"));
    let repeated = row.merge != Merge::Last;
    let exclusion = match (&short, &long, repeated) {
        (_, _, true) => "*".to_owned(),
        (Some(short), Some(long), false) => format!("({short} {long})"),
        _ => String::new(),
    };
    let help = escape(row.help);
    let spec = |spelling: &str, is_long: bool| {
        let value = match (row.argument, is_long) {
            (Argument::None, _) => format!("{spelling}[{help}]"),
            (Argument::Required(_), true) => format!("{spelling}=[{help}]{}", value(row, ":")),
            (Argument::Required(_), false) => format!("{spelling}+[{help}]{}", value(row, ":")),
            (Argument::Optional(_), _) => format!("{spelling}=-[{help}]{}", value(row, "::")),
        };
        format!("'{exclusion}{value}'")
    };
    short.iter().map(|name| spec(name, false)).chain(long.iter().map(|name| spec(name, true))).collect()
}

fn value(row: &OptionRow, colons: &str) -> String {
    let action = match row.kind {
        ValueKind::Directory => "_files -/".into(),
        ValueKind::Path => "_files".into(),
        ValueKind::User => "_users".into(),
        ValueKind::Group => "_groups".into(),
        ValueKind::Machine => format!("_files -W {MACHINES} -/"),
        ValueKind::Link => "_net_interfaces".into(),
        ValueKind::Capabilities | ValueKind::SomeCapabilities => {
            format!("_values -s , capability {}", row.kind.words().join(" "))
        }
        ValueKind::Rlimit => {
            let names: Vec<_> = row.kind.words().iter().map(|name| format!("RLIMIT_{name}=")).collect();
            format!("compadd -S \"\" -- {}", names.join(" "))
        }
        ValueKind::Words(_) | ValueKind::Boolean | ValueKind::Signal => format!("({})", proposals(row).join(" ")),
        ValueKind::Free | ValueKind::Inside | ValueKind::SystemCalls => " ".into(),
    };
    let name = row.argument.name().unwrap_or_default();
    format!("{colons}{}:{action}", escape(name))
}

/// Brackets and colons mean something to `_arguments`, quotes to the shell.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '[' | ']' | ':' | '\\' => escaped.extend(['\\', letter]),
            '\'' => escaped.push_str("'\\''"),
            other => escaped.push(other),
        }
    }
    escaped
}
