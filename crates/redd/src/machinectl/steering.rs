//! What the verbs that steer machines share: finding them, doing it to several at once, and telling why it did not work.

use std::process::ExitCode;

use anyhow::anyhow;
use machine::control::{Client, Error};
use machine::{Registry, State, entrance, registry};

use super::Options;
use crate::failure::{Failure, warn};

/// The name that stands for the host, see machinectl(1).
const HOST: &str = ".host";

/// A machine that runs, whoever runs it.
pub(crate) fn find(name: &str, options: &Options) -> Result<Client, Failure> {
    if name == HOST {
        let error = anyhow!("{HOST} is this host, which is not steered like a machine");
        return Err(Failure::new(
            error,
            Some("the host has its own commands for that, such as poweroff(8) and kill(1)"),
        ));
    }
    match machine::machines::machine(&Registry::system(), name) {
        Ok(machine) => Ok(Client::of(&machine)),
        Err(error) => Err(unknown(name, error, options)),
    }
}

/// Whether one of this name runs, for all that can be said.
pub(crate) fn runs(name: &str) -> bool {
    !matches!(machine::machines::machine(&Registry::system(), name), Err(registry::Error::NoSuchMachine(_)))
}

/// A machine whose files are to be reached, whoever runs it.
pub(crate) fn with_files(name: &str, options: &Options) -> Result<State, Failure> {
    machine::machines::find(&Registry::system(), name).map_err(|error| unknown(name, error, options))
}

/// What can be done where there is no way to the files of a machine.
pub(crate) fn entrance_hint(error: &entrance::Error) -> Option<&'static str> {
    match error {
        entrance::Error::Supervisor(error) => hint(error),
        entrance::Error::Ended(_) => Some("`redd list` shows the machines that run"),
        entrance::Error::Host(_) | entrance::Error::SameMounts(_) => Some("cp(1) and mount(8) do that on the host"),
        entrance::Error::NotPermitted(_) => Some("try it as root"),
        _ => None,
    }
}

/// Why a machine is not found, in the original's words where it is asked for under that name.
pub(crate) fn unknown(name: &str, error: registry::Error, options: &Options) -> Failure {
    match error {
        registry::Error::NoSuchMachine(_) | registry::Error::Name(_) if options.as_machinectl => {
            Failure::new(anyhow!("Could not get path to machine: No machine '{name}' known"), None)
        }
        error @ registry::Error::NoSuchMachine(_) => {
            Failure::new(error, Some("`redd list` shows the machines that run"))
        }
        error => Failure::new(error, None),
    }
}

/// Does it to all of them; what fails with one does not keep it from the others.
pub(crate) fn each(
    names: &[String],
    options: &Options,
    mut act: impl FnMut(Client) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let mut failed = Vec::new();
    for name in names {
        if let Err(failure) = find(name, options).and_then(&mut act) {
            failed.push(failure);
        }
    }
    conclude(failed)
}

/// One failure is that of the whole; of several each is told.
pub(crate) fn conclude(mut failed: Vec<Failure>) -> Result<ExitCode, Failure> {
    match failed.pop() {
        None => Ok(ExitCode::SUCCESS),
        Some(last) => {
            failed.iter().for_each(|failure| warn(failure.error()));
            Err(last)
        }
    }
}

/// Why it did not work, and what can be done about it.
pub(crate) fn failure(error: Error) -> Failure {
    let hint = hint(&error);
    Failure::new(error, hint)
}

fn hint(error: &Error) -> Option<&'static str> {
    match error {
        Error::NotPermitted(_) => Some("try it as root"),
        Error::Busy(_) => Some("try it again in a moment"),
        Error::NoInit { .. } => Some("`redd terminate` ends it at once, `redd kill` sends a signal of your choice"),
        Error::NoGroup(_) | Error::NoSupervisor(_) => Some("--kill-whom=leader reaches its first process"),
        Error::OtherVersion(_) => Some("the redd that has started it can; `redd terminate` ends it at once"),
        Error::Talk { .. } | Error::TimedOut { .. } => Some("`redd terminate` ends it at once, whoever answers or not"),
        Error::Ended(_) => Some("`redd list` shows the machines that run"),
        _ => None,
    }
}
