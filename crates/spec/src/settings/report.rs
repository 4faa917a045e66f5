//! Every setting, its value, and who says so.

use std::ffi::OsString;

use super::{Settings, merge::group};
use crate::command_line::{UsageError, Words};
use crate::options::{self, OptionRow};
use crate::{Resource, SettingsMode};

/// Who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is what happens anyway.
    Default,
    /// A line of the settings file, counted from 1.
    Line(usize),
    /// The command line.
    CommandLine,
}

/// One setting. A key that has several values has an entry for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section.
    pub section: &'static str,
    /// The key.
    pub key: String,
    /// The value, as it is written in a settings file; absent where there is none.
    pub value: Option<String>,
    /// Who says it.
    pub origin: Origin,
}

/// All settings in the order of the option table, as a settings file (if there is one) and a command line give them.
///
/// # Errors
/// A [`UsageError`] for a command line that is wrong.
pub fn report(file: &Settings, arguments: &[OsString], mode: SettingsMode) -> Result<Vec<Entry>, UsageError> {
    let said = command_line(arguments)?;
    let file_wins = mode == SettingsMode::Override;
    let speaks = |keys: &[&str], key: &str| match key.starts_with("Limit") {
        true => keys.contains(&key),
        false => keys.iter().any(|other| group(other) == group(key)),
    };
    let file_keys: Vec<_> = file.assigned.iter().map(|assigned| assigned.key.as_str()).collect();
    let said_keys: Vec<_> = said.iter().map(|(key, _)| key.as_str()).collect();
    let mut entries = Vec::new();
    for (section, key) in keys() {
        // As in `combine`: a file with nothing but arguments leaves the rest of the start to the command line.
        let by_file = match (file_wins, group(&key)) {
            (true, "start") if key != "Parameters" => file_keys.iter().any(|key| matches!(*key, "Boot" | "ProcessTwo")),
            (true, _) => speaks(&file_keys, &key),
            (false, _) => !speaks(&said_keys, &key),
        };
        let before = entries.len();
        let mut entry = |value, origin| entries.push(Entry { section, key: key.clone(), value, origin });
        if by_file {
            for assigned in file.assigned.iter().filter(|assigned| assigned.key == key && assigned.section == section) {
                let separator = if key == "Parameters" || key == "Environment" { quoted } else { plain };
                entry(Some(separator(&assigned.words)), Origin::Line(assigned.line));
            }
        } else {
            for (_, value) in said.iter().filter(|(other, _)| *other == key) {
                entry(Some(value.clone()), Origin::CommandLine);
            }
        }
        if entries.len() == before {
            entries.push(Entry { section, value: usual(&key).map(str::to_owned), key, origin: Origin::Default });
        } else if !accumulates(&key) {
            // The last one counts.
            entries.drain(before..entries.len() - 1);
        }
    }
    Ok(entries)
}

/// All sections and keys, in the order of the option table.
fn keys() -> impl Iterator<Item = (&'static str, String)> {
    let rows = options::all().chain(std::iter::once(&options::ARGUMENTS)).filter_map(|row| row.setting);
    rows.flat_map(|setting| {
        let keys = match setting.key.strip_suffix('*') {
            Some(start) => Resource::ALL.into_iter().map(|resource| format!("{start}{}", short(resource))).collect(),
            None => vec![setting.key.to_owned()],
        };
        keys.into_iter().map(move |key| (setting.section, key))
    })
}

fn short(resource: Resource) -> &'static str {
    resource.name().trim_start_matches("RLIMIT_")
}

/// The settings that a command line speaks of, with what a settings file would say.
fn command_line(arguments: &[OsString]) -> Result<Vec<(String, String)>, UsageError> {
    let mut said = Vec::new();
    let mut words = Words::new(arguments);
    while let Some(word) = words.next_word()? {
        let value = word.value.as_ref().map(|value| value.to_string_lossy().into_owned());
        match word.row.setting {
            Some(setting) if setting.key.ends_with('*') => {
                let value = value.unwrap_or_default();
                let (name, limit) = value.split_once('=').unwrap_or((&value, ""));
                let name = name.trim_start_matches("RLIMIT_");
                said.push((format!("Limit{name}"), limit.to_owned()));
            }
            Some(setting) if setting.key == "Environment" => {
                said.push((setting.key.to_owned(), quoted(&[value.unwrap_or_default()])));
            }
            Some(setting) => said.push((setting.key.to_owned(), value.unwrap_or_else(|| "yes".to_owned()))),
            None => also(word.row, &mut said),
        }
    }
    if !words.rest().is_empty() {
        let words: Vec<_> = words.rest().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        said.push(("Parameters".to_owned(), quoted(&words)));
    }
    Ok(said)
}

/// Switches that stand for others.
fn also(row: &OptionRow, said: &mut Vec<(String, String)>) {
    match row.short {
        Some('U') => {
            said.push(("PrivateUsers".into(), "pick".into()));
            said.push(("PrivateUsersOwnership".into(), "auto".into()));
        }
        Some('j') => said.push(("LinkJournal".into(), "try-guest".into())),
        _ => {}
    }
}

fn plain(words: &[String]) -> String {
    words.join(" ")
}

fn quoted(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let bare = !word.is_empty() && !word.contains(|letter: char| letter.is_whitespace() || "'\"".contains(letter));
        match (bare, word.contains('"')) {
            (true, _) => word.clone(),
            (false, false) => format!("\"{word}\""),
            (false, true) => format!("'{word}'"),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// Whether all values of a key count.
fn accumulates(key: &str) -> bool {
    matches!(
        key,
        "Parameters" | "Environment" | "Capability" | "DropCapability" | "AmbientCapability" | "SystemCallFilter"
    ) || matches!(key, "Bind" | "BindReadOnly" | "BindUser" | "TemporaryFileSystem" | "Inaccessible")
        || matches!(key, "Overlay" | "OverlayReadOnly" | "RestrictAddressFamilies" | "VirtualEthernetExtra")
        || matches!(key, "Interface" | "MACVLAN" | "IPVLAN" | "Port")
}

/// What happens where nobody says anything, in the words of a settings file; `None` where nothing is set then.
fn usual(key: &str) -> Option<&'static str> {
    Some(match key {
        "Boot" | "Ephemeral" | "ProcessTwo" | "NoNewPrivileges" | "NotifyReady" | "SuppressSync" | "ReadOnly"
        | "Volatile" | "PrivateUsers" | "Private" | "VirtualEthernet" => "no",
        "PrivateUsersDelegate" => "0",
        "ResolvConf" | "Timezone" | "LinkJournal" => "auto",
        _ => return None,
    })
}
