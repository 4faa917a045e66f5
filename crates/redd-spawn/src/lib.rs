//! The command line of the container engine: `redd-spawn`, also under the name `systemd-nspawn`.

mod bundle;

use std::ffi::{OsStr, OsString};
use std::io::{IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use plan::{CallerFacts, Listen, StandardStreams};
use runtime::engine::{Done, run};
pub use runtime::settings::Search;
pub use runtime::undo::{Left, left_behind};
use spec::HelpStyle;
use spec::command_line::{Request, UsageError, read_with, with_bundle};
use spec::options::Caller;

/// What wrong words on the command line end with.
const USAGE: u8 = 2;

/// Does what the command line says; its first word is the name that the program was called by.
pub fn main(mut arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let name = arguments.next().unwrap_or_else(|| "redd-spawn".into());
    let name = Path::new(&name).file_name().unwrap_or(OsStr::new("redd-spawn")).to_string_lossy().into_owned();
    let arguments: Vec<OsString> = arguments.collect();
    let complain = |text: &str| {
        // Nobody is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "{name}: {}", spec::printable_lines(text));
    };
    let current = match std::env::current_dir() {
        Ok(path) => path,
        Err(error) => {
            complain(&format!("there is no current directory: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let who = Caller { directory: &current, variable: &|name| std::env::var_os(name) };
    let files = Search { directory: &current, say: &complain };
    let spec = match read_with(&arguments, who, &files) {
        Ok(Request::Run(spec)) => spec,
        Ok(Request::Bundle(directory, patch)) => match bundle::read(&directory) {
            Ok(bundle) => match with_bundle(*patch, bundle, &current) {
                Ok(spec) => Box::new(spec),
                Err(error) => {
                    complain(&format!("{error} (see \"{name} --help\")"));
                    return ExitCode::from(USAGE);
                }
            },
            Err(error) => {
                complain(&runtime::chain(&error));
                return ExitCode::FAILURE;
            }
        },
        Ok(Request::Help) => return print(&spec::help(&name, help_style())),
        Ok(Request::Version) => return print(&version(&name)),
        Ok(Request::Values(text)) => return print(&text),
        Ok(Request::Completions(shell)) => return print(&spec::completions(shell, &name)),
        // The words are right, and no help on them helps.
        Err(UsageError::Settings(error)) => {
            complain(&error.to_string());
            return ExitCode::FAILURE;
        }
        Err(error) => {
            complain(&format!("{error} (see \"{name} --help\")"));
            return ExitCode::from(USAGE);
        }
    };
    match run(&spec, caller(), &complain) {
        Ok(Done::Text(text)) => print(&text),
        Ok(Done::Ended(code, left)) => {
            left.iter().for_each(|error| complain(error));
            code
        }
        Err(error) => {
            complain(&runtime::chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// As wide as the terminal, with colours there; 80 characters and no colours elsewhere, or where `$NO_COLOR` says so.
fn help_style() -> HelpStyle {
    let output = std::io::stdout();
    if !output.is_terminal() {
        return HelpStyle { width: 80, colours: false };
    }
    let width = sys::terminal::columns(output.as_fd());
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    HelpStyle { width: width.unwrap_or(80), colours: !plain && !dumb }
}

/// Scripts read the number after `systemd`: it is the version whose manual redd follows.
fn version(name: &str) -> String {
    let own = env!("CARGO_PKG_VERSION");
    match name {
        "systemd-nspawn" => format!("systemd 262 (redd {own})\n"),
        _ => format!("redd {own}\n"),
    }
}

/// What a service manager has passed to this process and no other, see sd_listen_fds(3).
fn listen(variable: &dyn Fn(&str) -> Option<OsString>, own: u32) -> Option<Listen> {
    let number = |name: &str| variable(name)?.to_str()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(own) {
        return None;
    }
    let count = number("LISTEN_FDS").filter(|count| *count > 0)?;
    Some(Listen { count, names: variable("LISTEN_FDNAMES") })
}

/// Within how many microseconds the service manager expects a sign of life, see sd_watchdog_enabled(3).
fn watchdog(variable: &dyn Fn(&str) -> Option<OsString>, own: u32) -> Option<u64> {
    let meant = match variable("WATCHDOG_PID") {
        Some(pid) => pid.to_str()?.parse::<u32>().ok()? == own,
        None => true,
    };
    let microseconds = variable("WATCHDOG_USEC")?.to_str()?.parse().ok()?;
    (meant && microseconds > 0).then_some(microseconds)
}

fn caller() -> CallerFacts {
    CallerFacts {
        term: std::env::var_os("TERM"),
        colorterm: std::env::var_os("COLORTERM"),
        no_color: std::env::var_os("NO_COLOR"),
        tint_background: std::env::var_os("SYSTEMD_TINT_BACKGROUND"),
        notify_socket: std::env::var_os("NOTIFY_SOCKET"),
        watchdog: watchdog(&|name| std::env::var_os(name), std::process::id()),
        listen: listen(&|name| std::env::var_os(name), std::process::id()),
        runtime_directory: std::env::var_os("XDG_RUNTIME_DIR"),
        console: StandardStreams {
            input_is_terminal: std::io::stdin().is_terminal(),
            output_is_terminal: std::io::stdout().is_terminal(),
        },
    }
}
