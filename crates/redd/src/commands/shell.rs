//! `machinectl shell`: a shell in a machine that runs, or on the host.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::anyhow;
use machine::join::{self, Command};
use machine::manager;

use super::exec::variable;
use crate::failure::Failure;
use crate::machinectl::Options;
use crate::session::Place;

/// Where users are to be seen.
const USERS: &str = "its /etc/passwd shows those that it has";

/// Open a shell in a machine that runs, or run another program there, on a terminal of its own
///
/// Where systemd runs inside, the shell is a session of its own there; elsewhere nothing is needed inside but the program.
/// Its exit code becomes ours. Without a name, and with .host, the session is on this host.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Run it as this user; a user before the name wins
    #[arg(long = "uid", value_name = "USER")]
    uid: Option<String>,
    /// Set a variable; without a value it is taken from here
    #[arg(short = 'E', long = "setenv", value_name = "NAME[=VALUE]")]
    environment: Vec<OsString>,
    /// A machine that runs, see redd list, and the user
    #[arg(value_name = "[USER@]NAME")]
    name: Option<String>,
    /// The absolute path of a program, and its arguments; the user's login shell where absent
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PATH")]
    command: Vec<OsString>,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let (user, name) = parties(arguments.name.as_deref().unwrap_or_default());
    let user = user.or(arguments.uid.as_deref()).map(str::to_owned);
    let environment = arguments.environment.iter().map(variable).collect::<Result<_, _>>().map_err(Failure::usage)?;
    let arguments = arguments.command.clone();
    let command = Command { user, arguments, environment, terminal: true, ..Command::default() };
    let place = Place::of(name, options)?;
    match place.managed()? {
        Some(machine) => {
            let session = manager::shell(machine, &command).map_err(refused)?;
            place.hold_managed(session, options.quiet())
        }
        None => place.hold_own(&[command], options.quiet(), |error| unstarted(&place, error)),
    }
}

fn unstarted(place: &Place, error: join::Error) -> Failure {
    let code = error.exit_code();
    match (place, error) {
        (Place::Host, join::Error::NoSuchUser(user)) => {
            Failure::new(anyhow!("this host has no user {user} (in its /etc/passwd)"), None)
        }
        (Place::Machine(_), error @ join::Error::NoSuchUser(_)) => Failure::new(error, Some(USERS)),
        (_, error) => Failure::new(error, None).with_code(code),
    }
}

fn refused(error: manager::Error) -> Failure {
    let (hint, code) = match &error {
        manager::Error::NoSuchUser { .. } => (Some(USERS), 1),
        manager::Error::NoProgram(_) => (None, 127),
        manager::Error::Bridge { .. } | manager::Error::Talk { .. } => {
            (Some("`redd exec -t NAME` gives a shell without its help"), 1)
        }
        _ => (None, 1),
    };
    Failure::new(error, hint).with_code(code)
}

/// The user and the machine, as far as they are named.
fn parties(name: &str) -> (Option<&str>, &str) {
    match name.split_once('@') {
        Some(("", machine)) => (None, machine),
        Some((user, machine)) => (Some(user), machine),
        None => (None, name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_and_machines() {
        assert_eq!(parties("a"), (None, "a"));
        assert_eq!(parties("u@a"), (Some("u"), "a"));
        assert_eq!(parties("@a"), (None, "a"));
        assert_eq!(parties("u@"), (Some("u"), ""));
        assert_eq!(parties(""), (None, ""));
    }
}
