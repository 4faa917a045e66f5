//! `machinectl`, and the same verbs as `redd VERB`: who is asked, with which options, in which form.
//!
//! The verbs themselves are in [`crate::commands`], one file each.

pub(crate) mod copying;
mod elsewhere;
pub(crate) mod ending;
mod grammar;
pub(crate) mod images;
mod options;
mod others;
pub(crate) mod pager;
pub(crate) mod property;
pub(crate) mod settings_file;
pub(crate) mod steering;
pub(crate) mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args as _, CommandFactory as _, FromArgMatches as _, Subcommand as _};

pub(crate) use options::{Json, Options};

use crate::commands;
use crate::failure::{Failure, report_plainly};
use crate::verbs::verbs;

/// Controls machines and their images.
#[derive(Debug, clap::Parser)]
#[command(name = "machinectl", version, disable_help_subcommand = true)]
struct Machinectl {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Option<Verb>,
}

verbs! {
    /// What can be done with machines and images.
    #[derive(Debug)]
    enum Verb (options) (options: &Options) {
        List "list" list,
        Status "status" status,
        Show "show" show,
        Start "start" start,
        Enable "enable" enable,
        Disable "disable" disable,
        PowerOff "poweroff" ["stop"] poweroff,
        Reboot "reboot" ["restart"] reboot,
        Terminate "terminate" terminate,
        Kill "kill" kill,
        Pause "pause" pause,
        Resume "resume" resume,
        Login "login" login,
        Shell "shell" shell,
        Bind "bind" bind,
        CopyTo "copy-to" copy_to,
        CopyFrom "copy-from" copy_from,
        ListImages "list-images" list_images,
        ImageStatus "image-status" image_status,
        ShowImage "show-image" show_image,
        Edit "edit" edit,
        Cat "cat" cat,
        Clone "clone" clone,
        Rename "rename" rename,
        ReadOnly "read-only" read_only,
        Remove "remove" remove,
        SetLimit "set-limit" set_limit,
        Clean "clean" clean,
    }
}

/// Runs as `machinectl`.
pub(crate) fn run(arguments: Vec<OsString>) -> ExitCode {
    let mut command = Machinectl::command().mut_args(|argument| argument.global(true));
    let words = arguments.get(1..).unwrap_or_default();
    let line = match grammar::ordered(words, &command) {
        Ok(line) => line,
        Err(error) => return refused(&error),
    };
    let words = std::iter::once(OsString::from("machinectl")).chain(line.iter().cloned());
    let read = command.try_get_matches_from_mut(words).and_then(|matches| Machinectl::from_arg_matches(&matches));
    match read.map_err(|error| error.format(&mut command)) {
        Ok(Machinectl { mut options, verb }) => {
            options.as_machinectl = true;
            let verb = verb.unwrap_or(Verb::List(commands::list::Arguments::default()));
            let result = elsewhere::carry_out(&line, &options).unwrap_or_else(|| carry_out(&verb, &options));
            report_plainly(result.map_err(Failure::like_original))
        }
        Err(error) => not_understood(&error),
    }
}

/// In the original's words, where it has some for that.
fn not_understood(error: &clap::Error) -> ExitCode {
    use clap::error::{ContextKind, ContextValue, ErrorKind};
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let option = text(ContextKind::InvalidArg).unwrap_or_default();
    let value = text(ContextKind::InvalidValue).unwrap_or_default();
    let message = match error.kind() {
        // Options are known to be right by now.
        ErrorKind::UnknownArgument => "Too many arguments.".to_owned(),
        ErrorKind::MissingRequiredArgument => "Too few arguments.".to_owned(),
        ErrorKind::ValueValidation if option.starts_with("--max-addresses") => {
            format!("Invalid number of addresses: {value}")
        }
        ErrorKind::ValueValidation if option.starts_with("--signal") => {
            format!("Failed to parse signal string \"{value}\".")
        }
        _ => {
            // Nobody is left to tell if this fails.
            let _ = error.print();
            return ExitCode::from(u8::from(error.exit_code() != 0));
        }
    };
    report_plainly(Err(Failure::new(anyhow::anyhow!(message), None)))
}

fn refused(error: &grammar::Error) -> ExitCode {
    use std::io::Write;
    let text = match error {
        grammar::Error::Verb(name) => match others::reason(name) {
            Some((reason, hint)) => format!("machinectl: {name}: {reason}\nhint: {hint}\n"),
            None => format!("{error}\nhint: `machinectl --help` shows all verbs\n"),
        },
        _ => format!("machinectl: {error}\n"),
    };
    // Nobody is left to tell if this fails.
    let _ = std::io::stderr().write_all(spec::printable_lines(&text).as_bytes());
    ExitCode::FAILURE
}

/// What one of these verbs takes as `redd VERB`, or nothing if it is none of them.
pub(crate) fn describe(verb: &str) -> Option<clap::Command> {
    Verb::describe(verb).map(Options::augment_args)
}

/// All of them.
pub(crate) fn describe_all() -> impl Iterator<Item = clap::Command> {
    Verb::augment_subcommands(clap::Command::new("verbs"))
        .get_subcommands()
        .cloned()
        .map(Options::augment_args)
        .collect::<Vec<_>>()
        .into_iter()
}

/// What `redd` was asked for, if it is one of these verbs. `words` are those behind the program's name.
pub(crate) fn verb_of(
    matches: &clap::ArgMatches,
    words: &[OsString],
) -> Option<Result<Result<ExitCode, Failure>, clap::Error>> {
    let (name, below) = matches.subcommand()?;
    if !Verb::has_subcommand(name) {
        return None;
    }
    let read = Verb::from_arg_matches(matches).and_then(|verb| Ok((verb, Options::from_arg_matches(below)?)));
    Some(read.map(|(verb, options)| {
        if options.is_for_elsewhere() {
            let line = grammar::ordered(words, &Machinectl::command()).map_err(Failure::usage)?;
            if let Some(done) = elsewhere::carry_out(&line, &options) {
                return done;
            }
        }
        carry_out(&verb, &options)
    }))
}

fn carry_out(verb: &Verb, options: &Options) -> Result<ExitCode, Failure> {
    options.check()?;
    verb.carry_out(options)
}
