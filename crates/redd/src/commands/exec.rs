//! `redd exec`: a command in a machine that runs.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use machine::Registry;
use machine::join::{self, Command};
use machine::{machines, registry};

use crate::failure::Failure;
use crate::relay::{self, Outcome};
use crate::session::exit_code;

/// Run a command in a machine that runs, with its exit code
///
/// Nothing is needed in the machine but the program itself. The command may do what the machine's own processes may do, and
/// ends with 'redd exec'. Its input and outputs are ours; with -t it has a terminal of its own.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Give it a terminal
    #[arg(short = 't', long)]
    tty: bool,
    /// Run it as this user of the machine, by name or number
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Set a variable; without a value it is taken from here
    #[arg(short = 'E', long = "setenv", value_name = "NAME[=VALUE]")]
    environment: Vec<OsString>,
    /// Start it in this directory of the machine
    #[arg(long, value_name = "DIR")]
    chdir: Option<PathBuf>,
    /// A machine that runs, see redd list
    #[arg(value_name = "NAME")]
    name: String,
    /// The command and its arguments; the user's login shell where absent
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let environment = arguments.environment.iter().map(variable).collect::<Result<_, _>>().map_err(Failure::usage)?;
    let command = Command {
        user: arguments.user.clone(),
        arguments: arguments.command.clone(),
        environment,
        directory: arguments.chdir.clone(),
        terminal: arguments.tty,
        ..Command::default()
    };
    in_machine(&arguments.name, &command).map(exit_code)
}

/// `NAME=VALUE`, or the value that we have ourselves.
pub(crate) fn variable(word: &OsString) -> anyhow::Result<(OsString, OsString)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = word.as_bytes();
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(0) => return Err(anyhow!("{} names no variable; write NAME=VALUE", word.display())),
        Some(end) => (&bytes[..end], OsString::from_vec(bytes[end + 1..].to_vec())),
        None => (bytes, std::env::var_os(word).unwrap_or_default()),
    };
    Ok((OsString::from_vec(name.to_vec()), value))
}

/// Runs a command in a machine, with our own input and outputs.
pub(crate) fn in_machine(name: &str, command: &Command) -> Result<Outcome, Failure> {
    let machine = machines::machine(&Registry::system(), name).map_err(|error| {
        let hint = matches!(error, registry::Error::NoSuchMachine(_)).then_some("see 'redd list' for those that run");
        Failure::new(error, hint)
    })?;
    if !rustix::process::geteuid().is_root() {
        let error = anyhow!("only root may run commands in the machine {name}");
        return Err(Failure::new(error, Some("try sudo")));
    }
    let failed = |error: anyhow::Error| Failure::new(error, None);
    let signals = relay::Signals::take().context("cannot take signals").map_err(failed)?;
    let running = join::spawn(&machine, command).map_err(|error| {
        let code = error.exit_code();
        Failure::new(error, None).with_code(code)
    })?;
    relay::run(running, &signals).context("cannot look after the command").map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables() {
        let pair =
            |word: &str| variable(&word.into()).ok().map(|(name, value)| (name.into_string(), value.into_string()));
        assert_eq!(pair("A=b=c"), Some((Ok("A".into()), Ok("b=c".into()))));
        assert_eq!(pair("A="), Some((Ok("A".into()), Ok(String::new()))));
        assert_eq!(pair("=x"), None);
        assert_eq!(pair("REDD_TEST_UNSET"), Some((Ok("REDD_TEST_UNSET".into()), Ok(String::new()))));
    }
}
