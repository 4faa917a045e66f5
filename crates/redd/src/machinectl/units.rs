//! Where systemd manages the host, machines in the background are its units `systemd-nspawn@NAME.service`.

use std::io::Write;

use anyhow::anyhow;
use cgroup::scope::Manager;
use cgroup::unit::{self, Change};
use spec::MachineName;

use crate::failure::{Failure, warn};

/// All of them belong to it.
const TARGET: &str = "machines.target";

/// Whether systemd manages the host.
pub(crate) fn managed() -> bool {
    Manager::System.is_available()
}

/// Refuses an option that has no meaning there.
pub(crate) fn refuse(option: &str, given: bool) -> Result<(), Failure> {
    if !given {
        return Ok(());
    }
    let error = anyhow!("{option} has no effect where systemd manages the host: the unit says that");
    Err(Failure::usage(error).or_else("`systemctl edit systemd-nspawn@NAME.service` changes the unit of one machine"))
}

/// Names of machines.
pub(crate) fn names(names: &[String]) -> Result<Vec<MachineName>, Failure> {
    names.iter().map(|name| MachineName::try_from(name.as_str()).map_err(|error| Failure::new(error, None))).collect()
}

/// The same, if all of them have an image.
pub(crate) fn images(all: &[String]) -> Result<Vec<MachineName>, Failure> {
    let all = names(all)?;
    for name in &all {
        image::locate::machine(name).map_err(|error| Failure::new(error, None))?;
    }
    Ok(all)
}

fn unit(name: &MachineName) -> String {
    format!("systemd-nspawn@{name}.service")
}

/// Starts them, and waits until they run.
pub(crate) fn start(names: &[MachineName]) -> Result<(), Failure> {
    let units: Vec<String> = names.iter().map(unit).collect();
    unit::start(&units).map_err(failure)
}

/// Where a machine is a service of the service manager's, has that begin to stop it: whoever kills it then does not make the unit
/// fail, or start it again. False where it is none.
pub(crate) fn begin_to_stop(machine: &machine::State) -> bool {
    let (Some(unit), Some(supervisor)) = (&machine.unit, &machine.supervisor) else { return false };
    if !unit.ends_with(".service") || !managed() || !rustix::process::geteuid().is_root() {
        return false;
    }
    unit::begin_to_stop(unit, supervisor.pid).unwrap_or_else(|error| {
        warn(&anyhow!(error).context(format!("cannot stop the unit {unit} of {}", machine.name)));
        false
    })
}

/// Has them started at boot, and the target that they belong to.
pub(crate) fn enable(names: &[MachineName], quiet: bool) -> Result<(), Failure> {
    let units: Vec<String> = std::iter::once(TARGET.to_owned()).chain(names.iter().map(unit)).collect();
    tell(&unit::enable(&units).map_err(failure)?, quiet);
    Ok(())
}

/// Has them started no more.
pub(crate) fn disable(names: &[MachineName], quiet: bool) -> Result<(), Failure> {
    let units: Vec<String> = names.iter().map(unit).collect();
    tell(&unit::disable(&units).map_err(failure)?, quiet);
    Ok(())
}

fn tell(changes: &[Change], quiet: bool) {
    if quiet {
        return;
    }
    for change in changes {
        let line = match change {
            Change::Linked { path, target } => format!("Created symlink {path} \u{2192} {target}."),
            Change::Removed { path } => format!("Removed \"{path}\"."),
        };
        // Nobody is left to tell if this fails.
        let _ = writeln!(std::io::stderr(), "{}", spec::printable_lines(&line));
    }
}

fn failure(error: unit::Error) -> Failure {
    let hint = match &error {
        unit::Error::Failed { unit, .. } => {
            Some(format!("see `systemctl status {unit}` and `journalctl -xeu {unit}` for why"))
        }
        unit::Error::Missing(_) => {
            Some("the unit comes with `cargo xtask install --upstream-names` and with systemd-container".to_owned())
        }
        unit::Error::Unreachable(_) | unit::Error::Refused(_) => None,
    };
    Failure::new(error, hint.as_deref())
}
