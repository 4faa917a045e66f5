//! `machinectl disable`: machines that are not started at boot any more.

use std::process::ExitCode;

use super::enable::{failure, named, tell};
use super::poweroff;
use crate::autostart::Records;
use crate::background;
use crate::failure::Failure;
use crate::machinectl::{Options, steering, units};

/// Start machines no longer when the host boots
///
/// Those that run go on; --now powers them off.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Machines; their images need not be there any more
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
    /// Power them off at once, too
    #[arg(long)]
    now: bool,
}

/// Disables them all, then powers them off.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let mut failed = Vec::new();
    if units::managed() {
        units::disable(&units::names(&arguments.names)?, options.quiet())?;
    } else {
        for name in &arguments.names {
            match named(name).and_then(|name| Records::system().remove(&name).map_err(failure)) {
                Ok(false) if !options.quiet() => tell(&format!("{name} was not started at boot.")),
                Ok(_) => {}
                Err(failure) => failed.push(failure),
            }
        }
    }
    if arguments.now && failed.is_empty() {
        let running: Vec<String> =
            arguments.names.iter().filter(|name| steering::runs(name) || background::keeps(name)).cloned().collect();
        return poweroff::power_off(&running, options);
    }
    steering::conclude(failed)
}
