//! `machinectl start`: machines in the background.

use std::process::ExitCode;

use anyhow::anyhow;
use machine::Registry;
use spec::MachineName;

use crate::autostart::Records;
use crate::background::{self, restart::Policy};
use crate::failure::{Failure, warn};
use crate::machinectl::{Options, steering, units};

/// Start machines in the background, as the template unit systemd-nspawn@.service does
///
/// Each is found by its name in /var/lib/machines and the other directories of machines. The command returns when it runs, or says
/// why it does not.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Images, see redd list-images
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// When a machine is started again that has ended; on hosts with systemd its unit says that
    #[arg(long, value_name = "WHEN")]
    restart: Option<Policy>,
}

/// Starts them all, then waits for them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    if units::managed() {
        units::refuse("--restart=", arguments.restart.is_some())?;
        units::start(&units::images(&arguments.names)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    steering::conclude(start_all(&arguments.names, arguments.restart, options))
}

/// Starts them all, then waits for them. Without a policy it is what was noted when the machine was enabled.
pub(super) fn start_all(names: &[String], policy: Option<Policy>, options: &Options) -> Vec<Failure> {
    let mut failed = Vec::new();
    let mut starting = Vec::new();
    for name in names {
        let begun = MachineName::try_from(name.as_str()).map_err(|error| Failure::new(error, None)).and_then(|name| {
            let noted = || Records::system().find(&name).map_err(super::enable::failure);
            let policy = match policy {
                Some(policy) => policy,
                None => noted()?.unwrap_or_default().restart,
            };
            begin(&name, policy)
        });
        match begun {
            Ok(one) => starting.push((name, one)),
            Err(failure) => failed.push(failure),
        }
    }
    for (name, one) in starting {
        match one.wait() {
            Ok(true) => {}
            Ok(false) if options.quiet() || options.as_machinectl => {}
            Ok(false) => warn(&anyhow!("{name} runs already")),
            Err(failure) => failed.push(failure),
        }
    }
    failed
}

/// Why there is nothing to start.
fn unusable(error: image::locate::Error) -> Failure {
    let image::locate::Error::NoMachine { name, searched } = error else { return Failure::new(error, None) };
    let hint = format!(
        "`redd bootstrap debian /var/lib/machines/{name}` installs one, `redd list-images` shows those that are there"
    );
    Failure::new(anyhow!("no machine named {name} was found in {}", searched.join(", ")), Some(&hint))
}

/// Starts one of this name, if there is an image of this name and it does not run.
pub(super) fn begin(name: &MachineName, policy: Policy) -> Result<background::Starting, Failure> {
    if !rustix::process::geteuid().is_root() {
        let error = anyhow!("cannot start {name}: only root may start machines in the background");
        return Err(Failure::new(error, Some("try it as root")));
    }
    if background::Keeper::find(name).is_none() && Registry::system().find(name.as_str()).is_ok() {
        let error = anyhow!(
            "a machine named {name} is running already, and was not started with `redd start`, or its keeper was killed"
        );
        return Err(Failure::new(error, Some("`redd poweroff NAME` ends it, `redd list` shows what runs")));
    }
    image::locate::machine(name).map_err(unusable)?;
    background::begin(name, policy)
}
