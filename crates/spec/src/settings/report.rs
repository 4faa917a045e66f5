//! Every setting, its value, and who says so. What counts is asked of [`Layers`], which a start asks as well.

use std::ffi::OsString;
use std::ops::ControlFlow::{Break, Continue};

use super::{Layers, Settings, set};
use crate::command_line::{UsageError, Words, read_words};
use crate::options::{self, Caller, Merge, OptionRow};
use crate::{PrivateUsers, Resource, SpecPatch};

/// Who says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody: it is what happens anyway.
    Default,
    /// A line of the settings file, counted from 1.
    Line(usize),
    /// The command line.
    CommandLine,
    /// A variable of the caller's environment.
    Environment,
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

/// All settings in the order of the option table, as a settings file (if there is one), a command line and the caller's
/// environment give them.
///
/// # Errors
/// A [`UsageError`] for a command line or a variable that is wrong.
pub fn report(file: &Settings, arguments: &[OsString], caller: Caller<'_>) -> Result<Vec<Entry>, UsageError> {
    let patch = match read_words(arguments, caller)? {
        Continue(patch) => patch,
        // They say nothing of a container.
        Break(_) => SpecPatch::default(),
    };
    let mut environment = SpecPatch::default();
    environment.read_environment(caller.variable)?;
    let layers = Layers::settle(environment, patch, file);
    let mut said = of_environment(&layers);
    said.extend(of_command_line(arguments, caller)?);
    said.extend(of_file(file));
    said.retain_mut(|one| one.counts(layers.of(&one.origin), caller));
    replace_sets(&mut said, &layers);
    let together = layers.together();
    let mut entries = Vec::new();
    for (section, key) in keys() {
        let all: Vec<_> = said.iter().filter(|one| one.key == key && one.row_section() == Some(section)).collect();
        // The last one counts.
        let counted =
            if all.iter().any(|one| one.accumulates()) { &all[..] } else { &all[all.len().saturating_sub(1)..] };
        if counted.is_empty() {
            let value = usual(&key, &together).map(str::to_owned);
            entries.push(Entry { section, value, key, origin: Origin::Default });
            continue;
        }
        entries.extend(counted.iter().map(|one| Entry {
            section,
            key: key.clone(),
            value: Some(one.text()),
            origin: one.origin.clone(),
        }));
    }
    Ok(entries)
}

impl Layers {
    /// What counts of what this source says.
    fn of(&self, origin: &Origin) -> &SpecPatch {
        match origin {
            Origin::Environment => &self.environment,
            Origin::CommandLine => &self.command_line,
            Origin::Line(_) | Origin::Default => &self.file,
        }
    }
}

/// What a source says of a key, as in a settings file.
#[derive(Debug)]
struct Said {
    row: &'static OptionRow,
    key: String,
    words: Vec<String>,
    origin: Origin,
}

impl Said {
    fn new(key: &str, word: impl Into<String>, origin: Origin) -> Option<Self> {
        let mut rows = rows();
        let row = rows.find(|row| row.setting.is_some_and(|setting| setting.key == key))?;
        Some(Self { row, key: key.to_owned(), words: vec![word.into()], origin })
    }

    fn row_section(&self) -> Option<&'static str> {
        self.row.setting.map(|setting| setting.section)
    }

    /// Whether something of it is left in what counts of its source. Variables that a later one replaces leave the list.
    fn counts(&mut self, layer: &SpecPatch, caller: Caller<'_>) -> bool {
        if self.key == "Environment" {
            let variables = layer.environment.iter().flatten();
            let kept: Vec<_> = variables.filter_map(|(name, value)| Some((name.to_str()?, value.to_str()?))).collect();
            self.words.retain(|word| word.split_once('=').is_some_and(|variable| kept.contains(&variable)));
        }
        // The caller's environment is in the words already.
        let caller = Caller { variable: &|_| None, ..caller };
        let mut alone = SpecPatch::default();
        for word in &self.words {
            // One that is none has been told of, and says nothing.
            let _ = set(&mut alone, self.row, &self.key, word, caller);
        }
        match alone.rlimits {
            Some(limits) => layer.rlimits.iter().flatten().any(|(resource, _)| limits.contains_key(resource)),
            None => alone.said().iter().any(|field| layer.said().contains(field)),
        }
    }

    /// Whether all values of the key count.
    fn accumulates(&self) -> bool {
        let list = matches!(self.row.merge, Merge::List | Merge::Union | Merge::ByName);
        self.key == "Parameters" || (list && !self.key.starts_with("Limit"))
    }

    fn text(&self) -> String {
        if matches!(self.key.as_str(), "Parameters" | "Environment") {
            quoted(&self.words)
        } else {
            self.words.join(" ")
        }
    }
}

/// Sets that two sources make together are shown as what each has part in: the words of one of them would say more.
fn replace_sets(said: &mut Vec<Said>, layers: &Layers) {
    const DROPPED: &str = "DropCapability";
    const FAMILIES: &str = "RestrictAddressFamilies";
    let mut sets = Vec::new();
    let dropped = layers.command_line.drop_capabilities.map(|set| set.to_string().replace(',', " "));
    if let Some((dropped, origin)) = dropped.zip(last(said, DROPPED, true)) {
        said.retain(|one| one.key != DROPPED || one.origin != origin);
        sets.push((DROPPED, dropped, origin));
    }
    for (layer, on_command_line) in [(&layers.command_line, true), (&layers.file, false)] {
        let Some((families, origin)) = layer.address_families.zip(last(said, FAMILIES, on_command_line)) else {
            continue;
        };
        sets.extend(families.values().into_iter().map(|value| (FAMILIES, value, origin.clone())));
    }
    said.retain(|one| one.key != FAMILIES);
    said.extend(sets.into_iter().filter_map(|(key, value, origin)| Said::new(key, value, origin)));
}

/// Where a source has spoken of a key last: the command line, or the file.
fn last(said: &[Said], key: &str, on_command_line: bool) -> Option<Origin> {
    let mut ours = said.iter().filter(|one| one.key == key).map(|one| &one.origin);
    ours.rfind(|origin| (**origin == Origin::CommandLine) == on_command_line).cloned()
}

fn rows() -> impl Iterator<Item = &'static OptionRow> {
    options::all().chain(std::iter::once(&options::ARGUMENTS))
}

/// All sections and keys, in the order of the option table.
fn keys() -> impl Iterator<Item = (&'static str, String)> {
    rows().filter_map(|row| row.setting).flat_map(|setting| {
        let keys = match setting.key.strip_suffix('*') {
            Some(start) => Resource::ALL.into_iter().map(|resource| format!("{start}{}", resource.name())).collect(),
            None => vec![setting.key.to_owned()],
        };
        keys.into_iter().map(move |key| (setting.section, key))
    })
}

fn of_file(file: &Settings) -> impl Iterator<Item = Said> {
    file.assigned.iter().map(|assigned| Said {
        row: assigned.row,
        key: assigned.key.clone(),
        words: assigned.words.clone(),
        origin: Origin::Line(assigned.line),
    })
}

/// The variables that have a key.
fn of_environment(layers: &Layers) -> Vec<Said> {
    let suppress = layers.environment.suppress_sync.map(|on| if on { "yes" } else { "no" });
    suppress.and_then(|word| Said::new("SuppressSync", word, Origin::Environment)).into_iter().collect()
}

/// The settings that a command line speaks of, with what a settings file would say.
fn of_command_line(arguments: &[OsString], caller: Caller<'_>) -> Result<Vec<Said>, UsageError> {
    let mut said = Vec::new();
    let mut words = Words::new(arguments);
    while let Some(word) = words.next_word()? {
        let value = word.value.as_ref().map(|value| value.to_string_lossy().into_owned());
        let Some(setting) = word.row.setting else {
            said.extend(also(word.row));
            continue;
        };
        let value = value.unwrap_or_else(|| "yes".to_owned());
        let (key, value) = match setting.key {
            "Limit*" => {
                let (name, limit) = value.split_once('=').unwrap_or((&value, ""));
                let name = name.parse().map_or(name, |resource: Resource| resource.name());
                (format!("Limit{name}"), limit.to_owned())
            }
            "Environment" if !value.contains('=') => {
                let own = word.value.as_deref().and_then(caller.variable).unwrap_or_default();
                (setting.key.to_owned(), format!("{value}={}", own.to_string_lossy()))
            }
            // Alone they are yes and no in a file.
            "PrivateUsers" if matches!(value.as_str(), "0" | "1") => (setting.key.to_owned(), format!("{value}:65536")),
            key => (key.to_owned(), value),
        };
        // An empty value has no meaning or takes something back.
        if !value.is_empty() {
            said.push(Said { row: word.row, key, words: vec![value], origin: Origin::CommandLine });
        }
    }
    let rest: Vec<_> = words.rest().iter().map(|word| word.to_string_lossy().into_owned()).collect();
    if !rest.is_empty() {
        let row = &options::ARGUMENTS;
        said.push(Said { row, key: "Parameters".to_owned(), words: rest, origin: Origin::CommandLine });
    }
    Ok(said)
}

/// Switches that stand for others.
fn also(row: &OptionRow) -> impl Iterator<Item = Said> + use<> {
    let others: &'static [(&str, &str)] = match row.short {
        Some('U') => &[("PrivateUsers", "pick"), ("PrivateUsersOwnership", "auto")],
        Some('j') => &[("LinkJournal", "try-guest")],
        _ => &[],
    };
    others.iter().filter_map(|(key, value)| Said::new(key, *value, Origin::CommandLine))
}

/// Words as they can be read again: one that has white space or a quote in it stands in quotes, of both kinds if need be.
fn quoted(words: &[String]) -> String {
    let quoted = words.iter().map(|word| {
        let bare = !word.is_empty() && !word.contains(|letter: char| letter.is_whitespace() || "'\"".contains(letter));
        match (bare, word.contains('"')) {
            (true, _) => word.clone(),
            (false, false) => format!("\"{word}\""),
            (false, true) => format!("'{}'", word.replace('\'', "'\"'\"'")),
        }
    });
    quoted.collect::<Vec<_>>().join(" ")
}

/// What happens where nobody says anything, in the words of a settings file; `None` where nothing is set then.
fn usual(key: &str, together: &SpecPatch) -> Option<&'static str> {
    Some(match key {
        "Boot" | "Ephemeral" | "ProcessTwo" | "NoNewPrivileges" | "NotifyReady" | "SuppressSync" | "ReadOnly"
        | "Volatile" | "PrivateUsers" | "Private" | "VirtualEthernet" => "no",
        "PrivateUsersDelegate" => "0",
        "PrivateUsersOwnership" => match together.private_users {
            Some(PrivateUsers::Pick | PrivateUsers::Managed) => "auto",
            _ => "off",
        },
        "ResolvConf" | "Timezone" | "LinkJournal" => "auto",
        _ => return None,
    })
}
