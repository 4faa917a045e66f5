//! `redd settings`: every setting of a machine, and who says so.

use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::json;
use spawn::Search;
use spec::command_line::{Request, UsageError, read_with};
use spec::options::Caller;
use spec::settings::{self, Entry, Error, File, Files, Origin, Settings};
use spec::{ContainerSpec, MachineName, SettingsMode, SpecPatch};

use crate::failure::Failure;

/// Show every setting of a machine and where it comes from: a default, a line of its settings file, the command line
///
/// The settings file is looked for as a start of the machine would. Options of 'redd spawn' may follow the machine; then
/// the settings are shown as a start with these options would have them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// The machine: its name, or the path of its tree or disk image
    #[arg(value_name = "NAME|PATH")]
    machine: OsString,
    /// Options of 'redd spawn' that a start would be given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    options: Vec<OsString>,
}

/// Remembers what has been found.
struct Found<'a> {
    search: Search<'a>,
    file: RefCell<Option<File>>,
}

impl Files for Found<'_> {
    fn find(&self, command_line: &SpecPatch) -> Result<Option<File>, Error> {
        let file = self.search.find(command_line)?;
        self.file.borrow_mut().clone_from(&file);
        Ok(file)
    }

    fn specifier(&self, letter: char) -> Option<String> {
        self.search.specifier(letter)
    }

    fn warn(&self, text: &str) {
        self.search.warn(text);
    }
}

/// Prints the settings.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let failed = |error: anyhow::Error| Failure::new(error, None);
    let current = std::env::current_dir().context("there is no current directory").map_err(failed)?;
    let caller = Caller { directory: &current, variable: &|name| std::env::var_os(name) };
    let say = |text: &str| {
        // Nobody is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "redd: {}", spec::printable_lines(text));
    };
    let found = Found { search: Search { directory: &current, say: &say }, file: RefCell::default() };
    let target = Target::new(&arguments.machine);
    let mut words = vec![OsString::from(target.switch()), arguments.machine.clone()];
    words.extend_from_slice(&arguments.options);
    let spec: ContainerSpec = match read_with(&words, caller, &found).map_err(wrong)? {
        Request::Run(spec) => *spec,
        _ => return Err(Failure::usage(anyhow!("only options that say something about a container can be shown"))),
    };
    let mode = spec.run().settings;
    let file = found.file.borrow();
    if file.is_none() && found.search.find(&target.patch(&current)).map_err(unreadable)?.is_none() {
        target.look()?;
    }
    let read = match &*file {
        Some(file) => {
            let trusted = file.trusted || mode == SettingsMode::Trusted;
            settings::read(file, trusted, &found, caller).map_err(unreadable)?
        }
        None => Settings::default(),
    };
    // The words that name the machine are none of its settings.
    let entries = settings::report(&read, &words, caller).map_err(wrong)?;
    let text = if arguments.json {
        as_json(&entries, file.as_ref(), mode).context("cannot write JSON").map_err(failed)?
    } else {
        as_table(&entries, file.as_ref(), mode, colours())
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write").map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// The words are wrong, or the file is.
fn wrong(error: UsageError) -> Failure {
    match error {
        UsageError::Settings(error) => unreadable(error),
        error => Failure::usage(error),
    }
}

fn unreadable(error: Error) -> Failure {
    Failure::new(error, None)
}

/// What the first word names.
enum Target {
    /// A machine.
    Machine(MachineName),
    /// The path of a disk image.
    Image(PathBuf),
    /// The path of a tree.
    Directory(PathBuf),
}

impl Target {
    fn new(word: &OsStr) -> Self {
        match word.to_str().and_then(|name| MachineName::try_from(name).ok()) {
            Some(name) => Self::Machine(name),
            None if std::fs::metadata(word).is_ok_and(|status| !status.is_dir()) => Self::Image(word.into()),
            None => Self::Directory(word.into()),
        }
    }

    /// The option that names it.
    fn switch(&self) -> &'static str {
        match self {
            Self::Machine(_) => "--machine",
            Self::Image(_) => "--image",
            Self::Directory(_) => "--directory",
        }
    }

    /// A command line that names it and says nothing else.
    fn patch(&self, current: &Path) -> SpecPatch {
        let patch = SpecPatch::default();
        match self {
            Self::Machine(name) => SpecPatch { machine: Some(name.clone()), ..patch },
            Self::Image(path) => SpecPatch { image: Some(current.join(path)), ..patch },
            Self::Directory(path) => SpecPatch { directory: Some(current.join(path)), ..patch },
        }
    }

    /// Refuses what is not there. What is there and cannot be started has settings all the same.
    fn look(&self) -> Result<(), Failure> {
        match self {
            Self::Machine(name) => match image::locate::machine(name) {
                Err(image::locate::Error::NoMachine { name, searched }) => Err(Failure::new(
                    anyhow!(
                        "there is neither a machine named {name} in {} nor a settings file for it",
                        searched.join(", ")
                    ),
                    Some("`redd list-images` shows those that are there"),
                )),
                _ => Ok(()),
            },
            Self::Image(path) | Self::Directory(path) => match std::fs::metadata(path) {
                Err(error) => Err(Failure::new(
                    anyhow!("{}: {error}; there is no settings file beside it either", path.display()),
                    Some("take the path of a tree or disk image, or the name of a machine"),
                )),
                Ok(_) => Ok(()),
            },
        }
    }
}

fn colours() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    std::io::stdout().is_terminal() && !plain && !dumb
}

/// How the file is taken.
fn standing(file: Option<&File>, mode: SettingsMode) -> String {
    match (file, mode) {
        (_, SettingsMode::No) => "No settings file is looked for (--settings=no).".into(),
        (None, _) => "There is no settings file.".into(),
        (Some(file), _) => {
            let path = printable(&file.path);
            let trust = match (file.trusted, mode) {
                (true, _) => "trusted",
                (false, SettingsMode::Trusted) => "trusted because of --settings=trusted",
                (false, _) => "not trusted: what raises privileges is ignored",
            };
            let order = match mode {
                SettingsMode::Override => "; it wins over the command line",
                _ => "",
            };
            format!("Settings file: {path} ({trust}{order})")
        }
    }
}

fn printable(path: &Path) -> String {
    spec::printable(&path.to_string_lossy())
}

fn as_table(entries: &[Entry], file: Option<&File>, mode: SettingsMode, colours: bool) -> String {
    let (bold, dim, off) = if colours { ("\u{1b}[1m", "\u{1b}[2m", "\u{1b}[0m") } else { ("", "", "") };
    let rows: Vec<[String; 3]> = entries
        .iter()
        .map(|entry| {
            let source = match (&entry.origin, file) {
                (Origin::Default, _) => "default".to_owned(),
                (Origin::Line(line), Some(file)) => format!("{}:{line}", printable(&file.path)),
                (Origin::Line(line), None) => format!("line {line}"),
                (Origin::CommandLine, _) => "command line".to_owned(),
                (Origin::Environment, _) => "environment".to_owned(),
            };
            let value = entry.value.as_deref().map_or_else(|| "-".to_owned(), spec::printable);
            [format!("{}={value}", entry.key), source, entry.section.to_owned()]
        })
        .collect();
    let width = rows.iter().map(|[setting, ..]| setting.chars().count()).max().unwrap_or(0).min(60);
    let mut text = format!("{}\n", standing(file, mode));
    let mut section = "";
    let mut ordered: Vec<_> = rows.iter().zip(entries).collect();
    ordered.sort_by_key(|([.., section], _)| section.clone());
    for ([setting, source, in_section], entry) in ordered {
        if in_section != section {
            section = in_section;
            text.push_str(&format!("\n{bold}[{section}]{off}\n"));
        }
        let (before, after) = if entry.origin == Origin::Default { (dim, off) } else { ("", "") };
        text.push_str(&format!("{before}{setting:width$}  {source}{after}\n"));
    }
    text
}

fn as_json(entries: &[Entry], file: Option<&File>, mode: SettingsMode) -> serde_json::Result<String> {
    let path = file.map(|file| file.path.to_string_lossy());
    let settings: Vec<_> = entries
        .iter()
        .map(|entry| {
            let source = match entry.origin {
                Origin::Default => json!({ "kind": "default" }),
                Origin::Line(line) => json!({ "kind": "file", "file": path, "line": line }),
                Origin::CommandLine => json!({ "kind": "command line" }),
                Origin::Environment => json!({ "kind": "environment" }),
            };
            json!({ "section": entry.section, "key": entry.key, "value": entry.value, "source": source })
        })
        .collect();
    let word = match mode {
        SettingsMode::No => "no",
        SettingsMode::Yes => "yes",
        SettingsMode::Override => "override",
        SettingsMode::Trusted => "trusted",
    };
    let trusted = file.map(|file| file.trusted || mode == SettingsMode::Trusted);
    let whole = json!({ "file": path, "trusted": trusted, "mode": word, "settings": settings });
    Ok(serde_json::to_string_pretty(&whole)? + "\n")
}
