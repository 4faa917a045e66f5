//! Hooks of a transaction, see alpm-hooks(5): programs of the tree that are run when packages or files of some kind come,
//! change or go.

use std::collections::{BTreeMap, BTreeSet};

use super::pattern::Patterns;
use crate::tree::{self, Tree};

/// What hooks' file names end with.
const SUFFIX: &str = ".hook";
/// The most hooks in a directory, and the longest.
const MOST: usize = 10_000;

/// What a hook file says wrongly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hook '{file}': {problem}")]
pub struct Error {
    /// The file, as seen from the tree's root.
    pub file: String,
    /// What is wrong.
    pub problem: String,
}

/// When a hook is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before anything is changed.
    PreTransaction,
    /// When all is done.
    PostTransaction,
}

/// What happens to a package or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It comes.
    Install,
    /// It was there before and is there after.
    Upgrade,
    /// It goes.
    Remove,
}

/// What a trigger looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Path,
    Package,
}

/// One thing that makes a hook run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trigger {
    operations: BTreeSet<Operation>,
    kind: Kind,
    targets: Patterns,
}

/// A hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    /// The name of its file.
    pub name: String,
    /// What it does, for people.
    pub description: Option<String>,
    /// When it is run.
    pub when: When,
    /// The program and its arguments.
    pub words: Vec<String>,
    /// What has to be installed for it.
    pub depends: Vec<String>,
    /// Whether nothing is done if it fails.
    pub abort_on_fail: bool,
    /// Whether it reads what has triggered it.
    pub needs_targets: bool,
    triggers: Vec<Trigger>,
}

/// What a transaction does, as hooks see it.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Packages.
    pub packages: BTreeMap<Vec<u8>, Vec<Operation>>,
    /// Files by their paths, without a slash at the beginning, directories with one at the end.
    pub paths: BTreeMap<Vec<u8>, Vec<Operation>>,
}

impl Hook {
    /// Reads a hook file.
    ///
    /// # Errors
    /// What is wrong with it, the first thing.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let mut triggers: Vec<RawTrigger> = Vec::new();
        let mut action = RawAction::default();
        let mut section = "";
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |what: &str| Err(format!("line {}: {what}", number + 1));
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                section = match name {
                    "Trigger" => {
                        triggers.push(RawTrigger::default());
                        "Trigger"
                    }
                    "Action" => "Action",
                    other => return wrong(&format!("there is no section '{}'", shortened(other))),
                };
                continue;
            }
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key.trim_end(), Some(value.trim_start())),
                None => (line, None),
            };
            let set = match (section, triggers.last_mut()) {
                ("Trigger", Some(trigger)) => trigger.set(key, value),
                ("Action", _) => action.set(key, value),
                _ => return wrong("it belongs to no section"),
            };
            if let Err(what) = set {
                return wrong(&what);
            }
        }
        action.hook(name, triggers)
    }

    /// What of the changes triggers it, sorted and each once; `None` if nothing does.
    #[must_use]
    pub fn targets(&self, changes: &Changes) -> Option<Vec<Vec<u8>>> {
        let mut targets = BTreeSet::new();
        for trigger in &self.triggers {
            let changed = match trigger.kind {
                Kind::Path => &changes.paths,
                Kind::Package => &changes.packages,
            };
            for (target, operations) in changed {
                let wanted = operations.iter().any(|operation| trigger.operations.contains(operation));
                if wanted && trigger.targets.match_path(target) {
                    targets.insert(target.clone());
                }
            }
        }
        (!targets.is_empty()).then(|| targets.into_iter().collect())
    }
}

/// A trigger while it is read.
#[derive(Default)]
struct RawTrigger {
    operations: BTreeSet<Operation>,
    kind: Option<Kind>,
    targets: Vec<String>,
}

impl RawTrigger {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        let value = value.ok_or_else(|| no_value(key))?;
        match (key, value) {
            ("Operation", "Install") => drop(self.operations.insert(Operation::Install)),
            ("Operation", "Upgrade") => drop(self.operations.insert(Operation::Upgrade)),
            ("Operation", "Remove") => drop(self.operations.insert(Operation::Remove)),
            ("Type", "Path" | "File") => self.kind = Some(Kind::Path),
            ("Type", "Package") => self.kind = Some(Kind::Package),
            ("Target", target) => self.targets.push(target.to_owned()),
            _ => return Err(unknown(key, Some(value))),
        }
        Ok(())
    }

    fn finish(self) -> Result<Trigger, String> {
        let missing = |what: &str| format!("a trigger has no {what}");
        if self.targets.is_empty() {
            return Err(missing("Target"));
        }
        if self.operations.is_empty() {
            return Err(missing("Operation"));
        }
        let kind = self.kind.ok_or_else(|| missing("Type"))?;
        let targets = Patterns::new(self.targets.iter().map(String::as_str));
        Ok(Trigger { operations: self.operations, kind, targets })
    }
}

/// The rest of a hook while it is read.
#[derive(Default)]
struct RawAction {
    description: Option<String>,
    when: Option<When>,
    words: Vec<String>,
    depends: Vec<String>,
    abort_on_fail: bool,
    needs_targets: bool,
}

impl RawAction {
    fn set(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        match (key, value) {
            ("AbortOnFail", None) => self.abort_on_fail = true,
            ("NeedsTargets", None) => self.needs_targets = true,
            ("When", Some("PreTransaction")) => self.when = Some(When::PreTransaction),
            ("When", Some("PostTransaction")) => self.when = Some(When::PostTransaction),
            ("Description", Some(value)) => self.description = Some(value.to_owned()),
            ("Depends", Some(value)) => self.depends.push(value.to_owned()),
            ("Exec", Some(value)) => {
                self.words = words(value).ok_or_else(|| "a quote in Exec has no end".to_owned())?;
            }
            ("When" | "Description" | "Depends" | "Exec", None) => return Err(no_value(key)),
            _ => return Err(unknown(key, value)),
        }
        Ok(())
    }

    fn hook(self, name: &str, triggers: Vec<RawTrigger>) -> Result<Hook, String> {
        if triggers.is_empty() {
            return Err("it has no Trigger".to_owned());
        }
        let triggers = triggers.into_iter().map(RawTrigger::finish).collect::<Result<_, _>>()?;
        if self.words.is_empty() {
            return Err("it has no Exec".to_owned());
        }
        let when = self.when.ok_or("it has no When")?;
        if self.abort_on_fail && when == When::PostTransaction {
            return Err("AbortOnFail needs 'When = PreTransaction'".to_owned());
        }
        Ok(Hook {
            name: name.to_owned(),
            description: self.description,
            when,
            words: self.words,
            depends: self.depends,
            abort_on_fail: self.abort_on_fail,
            needs_targets: self.needs_targets,
            triggers,
        })
    }
}

fn no_value(key: &str) -> String {
    format!("'{}' has no value", shortened(key))
}

fn unknown(key: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("'{} = {}' means nothing", shortened(key), shortened(value)),
        None => format!("'{}' means nothing", shortened(key)),
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The words of a command line: parted by blanks; quotes of either kind keep what is between them together, and a backslash
/// the character after it. `None` where a quote has no end.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match (character, quote) {
            (_, Some(open)) if character == open => quote = None,
            ('\'' | '"', None) => {
                quote = Some(character);
                word.get_or_insert_default();
            }
            ('\\', None | Some('"')) => {
                let next = characters.next();
                // Between quotes it is itself before anything but a quote or another one.
                if quote.is_some() && !matches!(next, Some('"' | '\\')) {
                    word.get_or_insert_default().push('\\');
                }
                word.get_or_insert_default().extend(next);
            }
            (blank, None) if blank.is_whitespace() => words.extend(word.take()),
            (character, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

/// The hooks of a tree, in the order in which they are run, and what is wrong with others. Of two with the same file name,
/// the one in the later directory counts; a link to `/dev/null` stands for none.
///
/// # Errors
/// Where a directory or a file cannot be read.
pub fn read(tree: &Tree, directories: &[String]) -> Result<(Vec<Hook>, Vec<Error>), tree::Error> {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for directory in directories {
        let directory = directory.trim_matches('/');
        for name in tree.list(directory)?.into_iter().take(MOST) {
            if let Some(stem) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) {
                files.insert(stem.to_owned(), format!("{directory}/{stem}{SUFFIX}"));
            }
        }
    }
    let (mut hooks, mut wrong) = (Vec::new(), Vec::new());
    for (stem, path) in files {
        if tree.link_target(&path)?.as_deref() == Some(b"/dev/null") {
            continue;
        }
        let parsed = match tree.read(&path) {
            Ok(Some(content)) => Hook::parse(&format!("{stem}{SUFFIX}"), &String::from_utf8_lossy(&content)),
            Ok(None) => Err("its link leads nowhere".to_owned()),
            Err(error) => Err(error.source.to_string()),
        };
        match parsed {
            Ok(hook) => hooks.push(hook),
            Err(problem) => wrong.push(Error { file: path, problem }),
        }
    }
    Ok((hooks, wrong))
}

#[cfg(test)]
mod tests;
