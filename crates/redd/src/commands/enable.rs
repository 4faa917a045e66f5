//! `machinectl enable`: machines that are started at boot.

use std::io::Write;
use std::process::ExitCode;

use anyhow::anyhow;
use spec::MachineName;

use super::start;
use crate::autostart::{self, Records};
use crate::background::restart::Policy;
use crate::failure::Failure;
use crate::machinectl::{Options, steering, units};

/// Start machines whenever the host boots
///
/// Where systemd manages the host this enables the unit systemd-nspawn@NAME.service; elsewhere it is noted in /etc/redd/autostart, which
/// `redd autostart` reads at boot.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Images, see redd list-images
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Start them at once, too
    #[arg(long)]
    now: bool,
    /// When a machine is started again that has ended; not on hosts with systemd
    #[arg(long, value_name = "WHEN")]
    restart: Option<Policy>,
    /// Those with lower numbers are started first, those with equal ones by name; without it 50; not on hosts with systemd
    #[arg(long, value_name = "NUMBER")]
    order: Option<u32>,
}

/// Enables them all, then starts them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    if units::managed() {
        units::refuse("--restart=", arguments.restart.is_some())?;
        units::refuse("--order=", arguments.order.is_some())?;
        let names = units::images(&arguments.names)?;
        units::enable(&names, options.quiet())?;
        if arguments.now {
            units::start(&names)?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut failed = Vec::new();
    let mut enabled = Vec::new();
    for name in &arguments.names {
        match enable(name, arguments) {
            Ok(name) => enabled.push(name),
            Err(failure) => failed.push(failure),
        }
    }
    if !options.quiet() {
        for name in &enabled {
            tell(&format!("{name} is started at boot by `redd autostart` ({}/{name}).", autostart::DIRECTORY));
        }
    }
    if arguments.now {
        let names: Vec<String> = enabled.iter().map(|name| name.as_str().to_owned()).collect();
        failed.extend(start::start_all(&names, arguments.restart, options));
    }
    steering::conclude(failed)
}

fn enable(name: &str, arguments: &Arguments) -> Result<MachineName, Failure> {
    let name = named(name)?;
    image::locate::machine(&name).map_err(|error| Failure::new(error, None))?;
    let records = Records::system();
    // What is not said stays as it was.
    let mut record = records.find(&name).map_err(failure)?.unwrap_or_default();
    record.restart = arguments.restart.unwrap_or(record.restart);
    record.order = arguments.order.unwrap_or(record.order);
    records.set(&name, record).map_err(failure)?;
    Ok(name)
}

/// Of a machine, for root alone.
pub(super) fn named(name: &str) -> Result<MachineName, Failure> {
    if !rustix::process::geteuid().is_root() {
        let error = anyhow!("cannot change what is started at boot: only root may do that");
        return Err(Failure::new(error, Some("try it as root")));
    }
    MachineName::try_from(name).map_err(|error| Failure::new(error, None))
}

/// With the next step.
pub(super) fn failure(error: autostart::Error) -> Failure {
    let hint = match &error {
        autostart::Error::Malformed { .. } => {
            Some("correct the file, or remove it and `redd enable` the machine again")
        }
        autostart::Error::File { .. } => None,
    };
    Failure::new(error, hint)
}

pub(super) fn tell(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "{text}");
}
