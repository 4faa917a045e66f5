//! `machinectl show`: machines, for programs.

use std::process::ExitCode;

use machine::state::State;
use machine::{Process, Registry, machines};
use serde_json::json;

use crate::failure::Failure;
use crate::machinectl::property::{self, Property};
use crate::machinectl::{Options, images, steering};

/// Show the properties of machines, or of the place where images are, for programs to read
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Arguments {
    /// Machines that run, .host for the host; none for the place where images are
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// Prints them.
pub(crate) fn run(arguments: &Arguments, options: &Options) -> Result<ExitCode, Failure> {
    let registry = Registry::system();
    let (mut all, mut failed) = (Vec::new(), Vec::new());
    if arguments.names.is_empty() {
        all.push(super::show_image::of_pool(&images::pool()));
    }
    for name in &arguments.names {
        match machines::find(&registry, name) {
            Ok(state) => all.push(properties(&state)),
            Err(error) => failed.push(steering::unknown(name, error, options)),
        }
    }
    if !all.is_empty() {
        property::print(&all, arguments.names.len() > 1, options)?;
    }
    steering::conclude(failed)
}

/// In the order of `org.freedesktop.machine1.Machine`.
fn properties(state: &State) -> Vec<Property> {
    let text = |name, text: &Option<String>| Property::text(name, text.as_deref().unwrap_or_default());
    let pid = |process: Option<&Process>| process.and_then(|process| u64::try_from(process.pid).ok()).unwrap_or(0);
    let pidfd = |process: Option<&Process>| process.and_then(|process| process.pidfd_id).unwrap_or(0);
    let (leader, supervisor) = (Some(&state.leader), state.supervisor.as_ref());
    let links: Vec<String> = state.network_interfaces.iter().map(ToString::to_string).collect();
    let id = state.id.map(|id| id.simple().to_string()).unwrap_or_default();
    vec![
        Property::text("Name", &state.name),
        Property::text("Id", &id),
        Property::time("Timestamp", state.timestamp.realtime),
        Property::number("TimestampMonotonic", state.timestamp.monotonic),
        text("Service", &state.service),
        text("Unit", &state.unit),
        text("Subgroup", &state.subgroup),
        Property::number("Leader", pid(leader)),
        Property::number("LeaderPIDFDId", pidfd(leader)),
        Property::number("Supervisor", pid(supervisor)),
        Property::number("SupervisorPIDFDId", pidfd(supervisor)),
        Property::text("Class", state.class.name()),
        text("RootDirectory", &state.root_directory),
        Property("NetworkInterfaces", links.join(" "), json!(state.network_interfaces)),
        // Nobody has this address.
        Property::number("VSockCID", state.v_sock_cid.unwrap_or(u32::MAX)),
        text("SSHAddress", &state.ssh_address),
        text("SSHPrivateKeyPath", &state.ssh_private_key_path),
        Property::text("State", "running"),
        Property::number("UID", state.uid),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `busctl introspect org.freedesktop.machine1 /org/freedesktop/machine1/machine/_2ehost` of systemd 262.
    const ON_THE_BUS: &str = "Class Id Leader LeaderPIDFDId Name NetworkInterfaces RootDirectory SSHAddress \
        SSHPrivateKeyPath Service State Subgroup Supervisor SupervisorPIDFDId Timestamp TimestampMonotonic UID Unit VSockCID";

    #[test]
    fn the_properties_are_those_on_the_bus() {
        let properties = properties(&machines::host());
        let mut names: Vec<_> = properties.iter().map(|Property(name, ..)| *name).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), ON_THE_BUS);
    }

    #[test]
    fn the_host_as_text() {
        let properties = properties(&machines::host());
        let lines = property::lines(&properties, &Options::default());
        assert!(lines.starts_with("Name=.host\n"), "{lines}");
        assert!(lines.contains("\nUnit=-.slice\nLeader=1\n") && lines.contains("\nClass=host\nRootDirectory=/\n"));
        assert!(lines.contains("\nVSockCID=4294967295\nState=running\nUID=0\n"), "{lines}");
        assert!(!lines.contains("SSHAddress"), "what is empty is left out: {lines}");
        let mut options = Options::default();
        options.all = true;
        let all = property::lines(&properties, &options);
        assert!(all.contains("\nSSHAddress=\nSSHPrivateKeyPath=\n"), "{all}");
    }
}
