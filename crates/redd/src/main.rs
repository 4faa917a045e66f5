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
mod pacman;
mod progress;
mod relay;
mod screen;
mod session;
mod verbs;
mod whole_or_nothing;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::FromArgMatches as _;

use commands::Verb;

/// See `Cargo.toml`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    sys::signal::keep_children();
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let name = arguments.first().map(Path::new).and_then(Path::file_name).unwrap_or(OsStr::new("redd"));
    if name == "redd-spawn" || name == "systemd-nspawn" {
        return spawn::main(arguments.into_iter());
    }
    // The engine's command line has a grammar of its own, that of systemd-nspawn.
    if arguments.get(1).is_some_and(|verb| verb == "spawn") {
        return commands::spawn::main(arguments.into_iter().skip(2));
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
    if name == "pacstrap" {
        return commands::pacstrap::main(arguments);
    }
    if name == "machinectl" {
        return machinectl::run(arguments);
    }
    run(&arguments)
}

/// What a person types.
fn run(arguments: &[OsString]) -> ExitCode {
    let mut line = commands::line(arguments.get(1).and_then(|verb| verb.to_str()));
    let matches = line.try_get_matches_from_mut(arguments).unwrap_or_else(|error| error.exit());
    let of_machinectl = machinectl::verb_of(&matches, arguments.get(1..).unwrap_or_default());
    let done = of_machinectl.unwrap_or_else(|| Verb::from_arg_matches(&matches).map(|verb| verb.carry_out()));
    match done {
        Ok(result) => failure::report(result),
        Err(error) => error.format(&mut line).exit(),
    }
}
