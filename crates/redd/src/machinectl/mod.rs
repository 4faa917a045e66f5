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

use crate::commands::{self, Redd};
use crate::failure::{Failure, report_plainly};

/// Controls machines and their images.
#[derive(Debug, clap::Parser)]
#[command(name = "machinectl", version, disable_help_subcommand = true)]
struct Machinectl {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Option<Verb>,
}

/// What can be done with machines and images.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    List(commands::list::Arguments),
    Status(commands::status::Arguments),
    Show(commands::show::Arguments),
    Start(commands::start::Arguments),
    Enable(commands::enable::Arguments),
    Disable(commands::disable::Arguments),
    #[command(name = "poweroff", visible_alias = "stop")]
    PowerOff(commands::poweroff::Arguments),
    #[command(visible_alias = "restart")]
    Reboot(commands::reboot::Arguments),
    Terminate(commands::terminate::Arguments),
    Kill(commands::kill::Arguments),
    Pause(commands::pause::Arguments),
    Resume(commands::resume::Arguments),
    Login(commands::login::Arguments),
    Shell(commands::shell::Arguments),
    Bind(commands::bind::Arguments),
    CopyTo(commands::copy_to::Arguments),
    CopyFrom(commands::copy_from::Arguments),
    ListImages(commands::list_images::Arguments),
    ImageStatus(commands::image_status::Arguments),
    ShowImage(commands::show_image::Arguments),
    Edit(commands::edit::Arguments),
    Cat(commands::cat::Arguments),
    Clone(commands::clone::Arguments),
    Rename(commands::rename::Arguments),
    ReadOnly(commands::read_only::Arguments),
    Remove(commands::remove::Arguments),
    SetLimit(commands::set_limit::Arguments),
    Clean(commands::clean::Arguments),
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

/// The command line of `redd`: its own verbs, and these.
pub(crate) fn with_verbs(mut redd: clap::Command) -> clap::Command {
    for verb in Verb::augment_subcommands(clap::Command::new("verbs")).get_subcommands() {
        redd = redd.subcommand(Options::augment_args(verb.clone()));
    }
    redd
}

/// What `redd` was asked for, if it is one of these verbs.
pub(crate) fn verb_of(matches: &clap::ArgMatches) -> Option<Result<ExitCode, Failure>> {
    let (name, below) = matches.subcommand()?;
    if !Verb::has_subcommand(name) {
        return None;
    }
    let read = Verb::from_arg_matches(matches).and_then(|verb| Ok((verb, Options::from_arg_matches(below)?)));
    match read {
        Ok((verb, options)) => {
            let words: Vec<OsString> = std::env::args_os().skip(1).collect();
            let elsewhere = match grammar::ordered(&words, &Machinectl::command()) {
                Ok(line) => elsewhere::carry_out(&line, &options),
                Err(error) => Some(Err(Failure::usage(error))),
            };
            Some(elsewhere.unwrap_or_else(|| carry_out(&verb, &options)))
        }
        Err(error) => error.format(&mut with_verbs(Redd::command())).exit(),
    }
}

fn carry_out(verb: &Verb, options: &Options) -> Result<ExitCode, Failure> {
    options.check()?;
    match verb {
        Verb::List(arguments) => commands::list::run(arguments, options),
        Verb::Status(arguments) => commands::status::run(arguments, options),
        Verb::Show(arguments) => commands::show::run(arguments, options),
        Verb::Start(arguments) => commands::start::run(arguments, options),
        Verb::Enable(arguments) => commands::enable::run(arguments, options),
        Verb::Disable(arguments) => commands::disable::run(arguments, options),
        Verb::PowerOff(arguments) => commands::poweroff::run(arguments, options),
        Verb::Reboot(arguments) => commands::reboot::run(arguments, options),
        Verb::Terminate(arguments) => commands::terminate::run(arguments, options),
        Verb::Kill(arguments) => commands::kill::run(arguments, options),
        Verb::Pause(arguments) => commands::pause::run(arguments, options),
        Verb::Resume(arguments) => commands::resume::run(arguments, options),
        Verb::Login(arguments) => commands::login::run(arguments, options),
        Verb::Shell(arguments) => commands::shell::run(arguments, options),
        Verb::Bind(arguments) => commands::bind::run(arguments, options),
        Verb::CopyTo(arguments) => commands::copy_to::run(arguments, options),
        Verb::CopyFrom(arguments) => commands::copy_from::run(arguments, options),
        Verb::ListImages(arguments) => commands::list_images::run(arguments, options),
        Verb::ImageStatus(arguments) => commands::image_status::run(arguments, options),
        Verb::ShowImage(arguments) => commands::show_image::run(arguments, options),
        Verb::Edit(arguments) => commands::edit::run(arguments, options),
        Verb::Cat(arguments) => commands::cat::run(arguments, options),
        Verb::Clone(arguments) => commands::clone::run(arguments, options),
        Verb::Rename(arguments) => commands::rename::run(arguments, options),
        Verb::ReadOnly(arguments) => commands::read_only::run(arguments, options),
        Verb::Remove(arguments) => commands::remove::run(arguments, options),
        Verb::SetLimit(arguments) => commands::set_limit::run(arguments, options),
        Verb::Clean(arguments) => commands::clean::run(arguments, options),
    }
}
