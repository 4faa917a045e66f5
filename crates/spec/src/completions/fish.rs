//! Completion for fish(1).

use super::{MACHINES, proposals, rows};
use crate::options::{Argument, OptionRow, ValueKind};

pub(super) fn script(name: &str) -> String {
    let mut text = format!("# Completion of {name} for fish.\n");
    for row in rows() {
        text.push_str(&format!("complete -c {name}"));
        if let Some(short) = row.short {
            text.push_str(&format!(" -s {short}"));
        }
        if !row.long.is_empty() {
            text.push_str(&format!(" -l {}", row.long));
        }
        text.push_str(&value(row));
        text.push_str(&format!(" -d {}\n", quote(row.help)));
    }
    text
}

fn value(row: &OptionRow) -> String {
    let given = match row.argument {
        Argument::None => return String::new(),
        Argument::Required(_) => "-r",
        Argument::Optional(_) => "",
    };
    let from = |command: &str| format!(" {given} -f -a {}", quote(&format!("({command})")));
    match row.kind {
        ValueKind::Directory => from("__fish_complete_directories (commandline -ct)"),
        ValueKind::Path => format!(" {given} -F"),
        ValueKind::User => from("__fish_complete_users"),
        ValueKind::Group => from("__fish_complete_groups"),
        ValueKind::Machine => from(&format!("command ls {MACHINES} 2>/dev/null")),
        ValueKind::Link => from("command ls /sys/class/net"),
        ValueKind::Capabilities | ValueKind::SomeCapabilities => {
            let names = row.kind.words().join("\\n");
            from(&format!("__fish_complete_list , 'printf \"{names}\\n\"'"))
        }
        ValueKind::Rlimit => {
            let names: Vec<_> = row.kind.words().iter().map(|name| format!("RLIMIT_{name}=")).collect();
            format!(" {given} -f -a {}", quote(&names.join(" ")))
        }
        ValueKind::Words(_) | ValueKind::Boolean | ValueKind::Signal => {
            format!(" {given} -f -a {}", quote(&proposals(row).join(" ")))
        }
        ValueKind::Free | ValueKind::Inside | ValueKind::SystemCalls => format!(" {given} -f"),
    }
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
