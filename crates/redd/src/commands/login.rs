//! `machinectl login`: a login prompt of a machine that runs, or of the host.

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::anyhow;
use machine::join::{self, Command};
use machine::manager;

use crate::failure::Failure;
use crate::machinectl::Options;
use crate::session::Place;

/// Open a login prompt of a machine that runs, on a terminal of its own
///
/// Where systemd runs inside, it asks for the login; elsewhere login(1) of inside is run. Without a name, and with .host, the login is
/// on this host.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Refused: a login asks for the user
    #[arg(long = "uid", value_name = "USER", hide = true)]
    uid: Option<String>,
    /// Refused: a login has an environment of its own
    #[arg(short = 'E', long = "setenv", value_name = "NAME[=VALUE]", hide = true)]
    environment: Vec<OsString>,
    /// A machine that runs, see redd list
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

/// Runs it.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    if arguments.uid.is_some() || !arguments.environment.is_empty() {
        let error =
            anyhow!("a login asks for the user and has an environment of its own: it takes no --uid= and no --setenv=");
        return Err(Failure::new(error, Some("`redd shell` takes them")).with_code(2));
    }
    let place = Place::of(arguments.name.as_deref().unwrap_or_default(), options)?;
    match place.managed()? {
        Some(machine) => {
            let session = manager::login(machine)
                .map_err(|error| Failure::new(error, Some("`redd exec -t NAME` gives a shell without a login")))?;
            place.hold_managed(session, options.quiet())
        }
        None => {
            let command = |words: &&[&str]| Command {
                arguments: words.iter().map(OsString::from).collect(),
                terminal: true,
                ..Command::default()
            };
            let commands: Vec<Command> = join::LOGIN_PROGRAMS.iter().map(command).collect();
            place.hold_own(&commands, options.quiet(), explain)
        }
    }
}

fn explain(error: join::Error) -> Failure {
    if error.exit_code() == 127 {
        let error = anyhow!("there is neither login(1) nor BusyBox there, so nobody asks for user and password");
        return Failure::new(error, Some("`redd shell NAME` gives a shell without a login"));
    }
    let code = error.exit_code();
    Failure::new(error, None).with_code(code)
}
