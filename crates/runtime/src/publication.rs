//! The machine in redd's own registry, for as long as it runs: what others list it by, and steer it with. It stays the same
//! entry while the container reboots.

use std::os::fd::OwnedFd;
use std::path::Path;

use machine::confinement::{self, Confinement};
use machine::process::Process;
use machine::registry::{Error, Published, Registry};
use machine::state::{Class, IdRange, State, Timestamp, VERSION};
use plan::{GroupPlace, LaunchStep, ParentStep, Plan};
use rustix::io::Errno;

use crate::filter::{Filter, Filters};
use crate::registration::SERVICE;
use crate::stage::launch::Launched;
use crate::supervise::Server;

/// The machine's part of the group of its unit.
const PAYLOAD: &str = "payload";

/// A machine that is entered, and its control socket.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Before the entry, so that its socket is closed when that goes.
    pub(crate) server: Server,
    published: Published,
}

/// Enters the machine, if the plan says so, or what has changed of it with another start.
///
/// # Errors
/// Those of the registry.
pub(crate) fn publish(
    entry: &mut Option<Entry>,
    (plan, filters): (&Plan, &Filters),
    launched: &Launched,
    (pid, pidfd): (i32, &OwnedFd),
) -> Result<(), Error> {
    if !plan.listed {
        return Ok(());
    }
    let unknown = |source: Errno| Error::File { action: "recognise a process in", path: "/proc".into(), source };
    let leader = Process::with(pid, pidfd).map_err(unknown)?;
    let supervisor = Process::of(rustix::process::getpid().as_raw_nonzero().get()).map_err(unknown)?;
    let state = state(plan, launched, leader, supervisor);
    if let Some(Entry { server, published }) = entry {
        published.update(&state)?;
        server.renew(state);
        return Ok(());
    }
    let published = Registry::system().publish(&state, &confinement(plan, filters))?;
    let path = published.control();
    let server = match Server::listen(&path, state.clone()) {
        // A dead one's: the lock of the entry is ours, and with it its name.
        Err(Errno::ADDRINUSE) => {
            let _ = rustix::fs::unlink(&path);
            Server::listen(&path, state)
        }
        other => other,
    };
    let server = server.map_err(|source| Error::File { action: "listen at", path, source })?;
    *entry = Some(Entry { server, published });
    Ok(())
}

fn state(plan: &Plan, launched: &Launched, leader: Process, supervisor: Process) -> State {
    let users = plan.namespaces.user.map(|user| IdRange { start: user.range.start(), count: user.range.count() });
    let unit = unit(plan, &launched.group);
    State {
        version: VERSION,
        name: plan.machine.clone(),
        id: Some(plan.supervision.uuid),
        service: Some(SERVICE.to_owned()),
        class: Class::Container,
        leader,
        supervisor: Some(supervisor),
        // For people: a path that is no text cannot be told.
        root_directory: plan.tree.to_str().map(str::to_owned),
        subgroup: unit.is_some().then(|| PAYLOAD.to_owned()),
        unit,
        control_group: launched.group.payload_path().to_str().map(str::to_owned),
        timestamp: Timestamp::now(),
        network_interfaces: Vec::new(),
        v_sock_cid: None,
        ssh_address: None,
        ssh_private_key_path: None,
        control_address: None,
        uid: rustix::process::getuid().as_raw(),
        users,
        boots: plan.supervision.boot,
        private_network: plan.namespaces.network,
        supervised: true,
    }
}

/// The unit that was made for it, or the caller's own, which is known by the group that it is in.
fn unit(plan: &Plan, group: &cgroup::Group) -> Option<String> {
    let made = plan.parent.iter().find_map(|step| match step {
        ParentStep::StartScope(scope) => Some(scope.unit.clone()),
        _ => None,
    });
    let callers = plan.launch.iter().any(|step| matches!(step, LaunchStep::MakeControlGroup(GroupPlace::CallersUnit)));
    made.or_else(|| callers.then(|| unit_of(group.path())).flatten())
}

fn unit_of(group: &Path) -> Option<String> {
    let name = group.file_name()?.to_str()?;
    (name.ends_with(".service") || name.ends_with(".scope")).then(|| name.to_owned())
}

fn confinement(plan: &Plan, filters: &Filters) -> Confinement {
    let filters = filters.usual.iter().chain(&filters.profile).map(written).collect();
    Confinement {
        capabilities: plan.limits.capabilities.bits(),
        no_new_privileges: plan.limits.no_new_privileges,
        filters,
        personality: plan.limits.personality.map(|personality| {
            match personality {
                spec::Personality::X86 => "x86",
                spec::Personality::X86_64 => "x86-64",
            }
            .to_owned()
        }),
        selinux_context: plan.limits.selinux_context.clone(),
        limits: Some(plan.limits.resources.iter().map(limit).collect()),
    }
}

fn limit(one: &plan::ResourceLimit) -> (String, confinement::Limit) {
    let plan::ResourceLimit { resource, limit: spec::Rlimit { soft, hard }, .. } = *one;
    (resource.name().to_owned(), confinement::Limit { soft, hard })
}

fn written(filter: &Filter) -> confinement::Filter {
    let instructions = filter.program.iter().map(|one| (one.code, one.jt, one.jf, one.k)).collect();
    let sys::seccomp::Flags { log, allow_speculation } = filter.flags;
    confinement::Filter { instructions, log, allow_speculation }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_of_a_group() {
        let unit = |path| unit_of(Path::new(path));
        assert_eq!(
            unit("/sys/fs/cgroup/machine.slice/systemd-nspawn@a.service").as_deref(),
            Some("systemd-nspawn@a.service")
        );
        assert_eq!(unit("/sys/fs/cgroup/user.slice/session-3.scope").as_deref(), Some("session-3.scope"));
        assert_eq!(unit("/sys/fs/cgroup/redd/a"), None);
        assert_eq!(unit("/"), None);
    }
}
