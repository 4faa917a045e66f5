//! `redd settings`: every setting of a machine, and who says so.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use serde_json::json;
use spawn::Search;
use spec::command_line::{Request, read_with};
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
    let named = arguments.machine.to_str().is_some_and(|name| MachineName::try_from(name).is_ok());
    let is_image = std::fs::metadata(&arguments.machine).is_ok_and(|status| !status.is_dir());
    let switch = match (named, is_image) {
        (true, _) => "--machine",
        (false, true) => "--image",
        (false, false) => "--directory",
    };
    let mut words = vec![OsString::from(switch), arguments.machine.clone()];
    words.extend_from_slice(&arguments.options);
    let spec: ContainerSpec = match read_with(&words, caller, &found).map_err(Failure::usage)? {
        Request::Run(spec) => *spec,
        _ => return Err(Failure::usage(anyhow!("only options that say something about a container can be shown"))),
    };
    let mode = spec.run().settings;
    let file = found.file.borrow();
    let read = match &*file {
        Some(file) => {
            let trusted = file.trusted || mode == SettingsMode::Trusted;
            settings::read(file, trusted, &found, caller).map_err(Failure::usage)?
        }
        None => Settings::default(),
    };
    // The words that name the machine are none of its settings.
    let entries = settings::report(&read, &words, mode).map_err(Failure::usage)?;
    let text = if arguments.json {
        as_json(&entries, file.as_ref(), mode).context("cannot write JSON").map_err(failed)?
    } else {
        as_table(&entries, file.as_ref(), mode, colours())
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write").map_err(failed)?;
    Ok(ExitCode::SUCCESS)
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
