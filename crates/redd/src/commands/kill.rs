//! `machinectl kill`: sends a signal to processes of machines.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use machine::control::Whom;

use crate::failure::Failure;
use crate::machinectl::{Options, steering};

/// Send a signal to processes of machines
///
/// It is sent at once, whether somebody takes it or not. `redd poweroff` lets a machine end in order.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Machines that run, see redd list
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Whom to send it to: leader (the first process), supervisor, or all processes of the machine
    #[arg(long, alias = "kill-who", value_name = "WHOM", default_value = "all", value_parser = whom)]
    kill_whom: Whom,
    /// The signal, by its name or number; help shows the names, list the numbers, too
    #[arg(short, long, value_name = "SIGNAL", default_value = "SIGTERM", value_parser = signal)]
    signal: Wanted,
}

/// What `--signal=` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Names,
    Numbers,
    Signal(spec::Signal),
}

fn whom(text: &str) -> Result<Whom, &'static str> {
    Whom::from_name(text).ok_or("it is none of leader, supervisor, all")
}

fn signal(text: &str) -> Result<Wanted, spec::ValueError> {
    match text {
        "help" => Ok(Wanted::Names),
        "list" => Ok(Wanted::Numbers),
        text => text.parse().map(Wanted::Signal),
    }
}

/// Signals them all.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let signal = match arguments.signal {
        Wanted::Signal(signal) => signal.number(),
        Wanted::Names => return print(&names()),
        Wanted::Numbers => return print(&numbers(options.legend())),
    };
    if arguments.names.is_empty() {
        let error = match options.as_machinectl {
            true => "Too few arguments.",
            false => "no machine is named: redd kill NAME... [--signal=SIGNAL]",
        };
        return Err(Failure::usage(anyhow::anyhow!(error)));
    }
    steering::each(&arguments.names, options, |client| {
        client.kill(arguments.kill_whom, signal).map_err(steering::failure)
    })
}

fn names() -> String {
    known().map(|(_, name)| format!("{name}\n")).collect()
}

fn numbers(legend: bool) -> String {
    let heading = if legend { "SIGNAL NAME\n" } else { "" };
    let lines = known().map(|(number, name)| format!("{number:<6} SIG{name}\n"));
    std::iter::once(heading.to_owned()).chain(lines).collect()
}

/// All signals that programs may use, by number.
fn known() -> impl Iterator<Item = (i32, String)> {
    let numbered = |name: String| Some((name.parse::<spec::Signal>().ok()?.number(), name));
    spec::Signal::names().into_iter().filter_map(numbered)
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    let written = std::io::stdout().write_all(text.as_bytes()).context("cannot write");
    written.map_err(|error| Failure::new(error, None))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_listed_as_by_the_original() {
        let numbers = numbers(true);
        let lines: Vec<_> = numbers.lines().collect();
        assert_eq!(lines[..2], ["SIGNAL NAME", "1      SIGHUP"]);
        assert_eq!(lines.last(), Some(&"64     SIGRTMIN+30"));
        assert!(names().starts_with("HUP\nINT\n"));
        assert_eq!(signal("list").unwrap(), Wanted::Numbers);
        assert!(matches!(signal("RTMIN+4").unwrap(), Wanted::Signal(signal) if signal.number() == 38));
        assert!(signal("NONE").is_err());
        assert_eq!(whom("leader"), Ok(Whom::Leader));
        assert!(whom("everybody").is_err());
    }
}
