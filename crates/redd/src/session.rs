//! Sessions of people, as 'redd login' and 'redd shell' open them: with whom, what is said about it, and how they end.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use anyhow::{Context, anyhow};
use machine::join::{self, Command, End};
use machine::manager::{self, Progress};
use machine::{Machine, Registry, machines};

use crate::failure::{Failure, warn};
use crate::machinectl::{Options, steering};
use crate::relay::{self, Outcome, Own, Party, Signals};

/// With whom a session is.
pub(crate) enum Place {
    /// This host.
    Host,
    /// A machine that runs.
    Machine(Box<Machine>),
}

impl Place {
    /// The one of this name; an empty name and `.host` are the host.
    pub(crate) fn of(name: &str, options: &Options) -> Result<Self, Failure> {
        let place = if name.is_empty() || name == machines::HOST {
            Self::Host
        } else {
            let found = machines::machine(&Registry::system(), name);
            Self::Machine(Box::new(found.map_err(|error| steering::unknown(name, error, options))?))
        };
        if rustix::process::geteuid().is_root() {
            return Ok(place);
        }
        let error = anyhow!("only root may open sessions with {}", place.name());
        Err(Failure::new(error, Some("try sudo")))
    }

    /// The machine, if the service manager inside of it is to be asked for sessions.
    pub(crate) fn managed(&self) -> Result<Option<&Machine>, Failure> {
        let Self::Machine(machine) = self else { return Ok(None) };
        let managed = manager::manages(machine).map_err(|error| {
            let hint = steering::entrance_hint(&error);
            Failure::new(error, hint)
        })?;
        Ok(managed.then_some(&**machine))
    }

    fn name(&self) -> String {
        match self {
            Self::Host => "the local host".to_owned(),
            Self::Machine(machine) => format!("machine {}", machine.state.name),
        }
    }

    /// Holds a session with a command of ours: the first of these whose program is there.
    pub(crate) fn hold_own(
        &self,
        commands: &[Command],
        quiet: bool,
        explain: impl FnOnce(join::Error) -> Failure,
    ) -> Result<ExitCode, Failure> {
        let signals = signals()?;
        let mut failed = None;
        for command in commands {
            let spawned = match self {
                Self::Host => join::on_host(command),
                Self::Machine(machine) => join::spawn(machine, command),
            };
            match spawned {
                Ok(mut running) => {
                    let master = running.master.take().context("the command has no terminal").map_err(plain)?;
                    let mut party = Own { command: &running, session: true };
                    return self.relay(&mut party, &master, &signals, quiet).map(exit_code);
                }
                Err(error) => {
                    let missing = error.exit_code() == 127;
                    failed = Some(error);
                    if !missing {
                        break;
                    }
                }
            }
        }
        Err(failed.map_or_else(|| Failure::usage(anyhow!("there is nothing to run")), explain))
    }

    /// Holds one that the machine's service manager has begun.
    pub(crate) fn hold_managed(&self, session: manager::Session, quiet: bool) -> Result<ExitCode, Failure> {
        let signals = signals()?;
        let master = session.master.try_clone().context("cannot hold the terminal").map_err(plain)?;
        let mut party = Managed { session, failed: None };
        let outcome = self.relay(&mut party, &master, &signals, quiet);
        let Managed { session, failed } = party;
        if let Some(error) = failed {
            // A machine that powers off has no service manager in the end.
            if !session.machine_ends() {
                warn(&anyhow::Error::new(error));
            }
        } else if let Err(error) = session.dismiss() {
            warn(&anyhow::Error::new(error).context("the session may have left its unit behind"));
        }
        outcome.map(exit_code)
    }

    fn relay(
        &self,
        party: &mut dyn Party,
        master: &OwnedFd,
        signals: &Signals,
        quiet: bool,
    ) -> Result<Outcome, Failure> {
        let name = self.name();
        if !quiet {
            say(&format!("Connected to {name}. Press ^] three times within 1s to exit session.\n"));
        }
        let outcome = relay::on_terminal(party, master, signals, true);
        if !quiet {
            say(&format!("\nConnection to {name} terminated.\n"));
        }
        outcome.context("cannot look after the session").map_err(plain)
    }
}

/// A session that the machine's service manager looks after.
struct Managed {
    session: manager::Session,
    failed: Option<manager::Error>,
}

impl Party for Managed {
    fn process(&self) -> BorrowedFd<'_> {
        self.session.leader.as_fd()
    }

    fn outcome(&self) -> rustix::io::Result<Outcome> {
        Ok(Outcome::Gone)
    }

    fn look(&mut self) -> Option<Outcome> {
        match self.session.progress() {
            Ok(Progress::Runs) => None,
            Ok(Progress::Ended(end)) => Some(Outcome::Ended(end)),
            Err(error) => {
                self.failed = Some(error);
                Some(Outcome::Gone)
            }
        }
    }

    fn pass_on(&self, _: i32) -> bool {
        false
    }
}

fn signals() -> Result<Signals, Failure> {
    Signals::take().context("cannot take signals").map_err(plain)
}

fn plain(error: anyhow::Error) -> Failure {
    Failure::new(error, None)
}

/// Where people read it, not where programs do.
fn say(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// As shells have it. Who leaves has succeeded.
pub(crate) fn exit_code(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Ended(End::Exited(code)) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
        Outcome::Ended(End::Killed(signal)) => ExitCode::from(u8::try_from(128 + signal).unwrap_or(255)),
        Outcome::Left | Outcome::Gone => ExitCode::SUCCESS,
    }
}
