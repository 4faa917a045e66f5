//! `redd`: everything a person types. Called as `redd-spawn` or `systemd-nspawn`, it is the engine under that name.

mod autostart;
mod background;
mod cgroup_tree;
mod commands;
mod consumption;
mod container_command;
mod display;
mod failure;
mod form;
mod host_process;
mod inside_users;
mod interruption;
mod log;
mod machinectl;
mod moment;
mod observation;
mod progress;
mod relay;
mod screen;
mod session;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use commands::{Command, Redd};

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or(OsStr::new("redd"));
    if name == "redd-spawn" || name == "systemd-nspawn" {
        return spawn::main(arguments.into_iter());
    }
    // The engine's command line has a grammar of its own, that of systemd-nspawn.
    if arguments.get(1).is_some_and(|verb| verb == "spawn") {
        return commands::spawn::run(arguments.into_iter().skip(2));
    }
    // Neither has a service's.
    if name == "systemd-machined" {
        return machined::main(arguments.into_iter().skip(1));
    }
    if arguments.get(1).is_some_and(|verb| verb == "machined") {
        return machined::main(arguments.into_iter().skip(2));
    }
    if name == "systemd-cgls" {
        return commands::cgls::main(arguments);
    }
    if name == "machinectl" {
        return machinectl::run(arguments);
    }
    let mut line = machinectl::with_verbs(Redd::command());
    let matches = line.clone().get_matches_from(arguments);
    if let Some(result) = machinectl::verb_of(&matches) {
        return failure::report(result);
    }
    let read = Redd::from_arg_matches(&matches).map_err(|error| error.format(&mut line));
    match read.unwrap_or_else(|error| error.exit()).command {
        Command::Spawn => commands::spawn::run(std::iter::empty()),
        Command::Machined => machined::main(std::iter::empty()),
        Command::Bootstrap(arguments) => failure::report(commands::bootstrap::run(&arguments)),
        Command::Run(arguments) => failure::report(commands::run::run(&arguments)),
        Command::Exec(arguments) => failure::report(commands::exec::run(&arguments)),
        Command::Settings(arguments) => failure::report(commands::settings::run(&arguments)),
        Command::Cgls(arguments) => failure::report(commands::cgls::run(&arguments)),
        Command::Ps(arguments) => failure::report(commands::ps::run(&arguments)),
        Command::Stats(arguments) => failure::report(commands::stats::run(&arguments)),
        Command::Logs(arguments) => failure::report(commands::logs::run(&arguments)),
        Command::Top(arguments) => failure::report(commands::top::run(&arguments)),
        Command::Wait(arguments) => failure::report(commands::wait::run(&arguments)),
        Command::Completions(arguments) => failure::report(commands::completions::run(&arguments)),
        Command::Autostart(arguments) => failure::report(commands::autostart::run(&arguments)),
        Command::Keep(arguments) => failure::report(commands::keep::run(&arguments)),
    }
}
