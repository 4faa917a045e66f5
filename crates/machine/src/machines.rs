//! All machines of the host: those of our registry, and those that an upstream systemd-machined keeps in
//! `/run/systemd/machines`, whose files its own library reads, too (sd-login(3)). Who is in both is ours.

use std::collections::HashMap;
use std::path::Path;

use rustix::fs::CWD;

use crate::process::{Process, boot_id};
use crate::registry::{Error, Machine, Registry};
use crate::state::{Class, State, Timestamp, VERSION};

/// The host itself among the machines.
pub const HOST: &str = ".host";
/// Where systemd-machined has its files.
const UPSTREAM: &str = "/run/systemd/machines";
/// `VMADDR_CID_ANY` of vsock(7): none.
pub const ANY_CID: u32 = u32::MAX;
/// The longest of these files that is read, in bytes.
const LONGEST: usize = 64 << 10;

/// All of them by name, and what could not be read.
///
/// # Errors
/// [`Error::File`] if our directory cannot be read.
pub fn all(registry: &Registry) -> Result<(Vec<State>, Vec<Error>), Error> {
    let (mut states, errors) = all_seeing(registry, |_| {})?;
    states.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok((states, errors))
}

/// The same in the order in which they are found, and each is told of as soon as it is.
///
/// # Errors
/// [`Error::File`] if our directory cannot be read.
pub fn all_seeing(registry: &Registry, mut seen: impl FnMut(&State)) -> Result<(Vec<State>, Vec<Error>), Error> {
    let (ours, errors) = registry.list_seeing(|machine| seen(&machine.state))?;
    let mut states: Vec<State> = ours.into_iter().map(|machine| machine.state).collect();
    let own = states.len();
    if let Ok(names) = std::fs::read_dir(UPSTREAM) {
        for name in names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
            // What is said of a damaged one of ours is no better than what is known of it.
            let damaged = || errors.iter().any(|error| error.entry() == Some(name.as_str()));
            if !states[..own].iter().any(|state| state.name == name) && !damaged() {
                let state = of_upstream(Path::new(UPSTREAM), &name);
                state.iter().for_each(&mut seen);
                states.extend(state);
            }
        }
    }
    Ok((states, errors))
}

/// The one of this name; [`HOST`] is the host.
///
/// # Errors
/// [`Error::NoSuchMachine`], and those of reading it.
pub fn find(registry: &Registry, name: &str) -> Result<State, Error> {
    if name == HOST {
        return Ok(host());
    }
    machine(registry, name).map(|machine| machine.state)
}

/// The one of this name, with what is known of it to who runs commands in it.
///
/// # Errors
/// [`Error::NoSuchMachine`], and those of reading it.
pub fn machine(registry: &Registry, name: &str) -> Result<Machine, Error> {
    match registry.find(name) {
        Err(error @ Error::NoSuchMachine(_)) => {
            of_upstream(Path::new(UPSTREAM), name).map(Machine::of_others).ok_or(error)
        }
        other => other,
    }
}

/// The host, as systemd-machined shows it.
#[must_use]
pub fn host() -> State {
    // Init is not looked at closely: nobody else can have its number.
    let leader = Process { pid: 1, pidfd_id: None, start_time: None, boot_id: boot_id().unwrap_or_default() };
    State {
        version: VERSION,
        name: HOST.to_owned(),
        // It may be a link.
        id: std::fs::read_to_string("/etc/machine-id").ok().and_then(|id| id.trim().parse().ok()),
        service: None,
        class: Class::Host,
        leader: Process::of(1).unwrap_or(leader),
        supervisor: None,
        root_directory: Some("/".to_owned()),
        unit: Some("-.slice".to_owned()),
        subgroup: None,
        control_group: None,
        timestamp: Timestamp { realtime: booted(), monotonic: 0 },
        network_interfaces: Vec::new(),
        v_sock_cid: None,
        ssh_address: None,
        ssh_private_key_path: None,
        control_address: None,
        uid: 0,
        users: None,
        boots: true,
        private_network: false,
        supervised: false,
    }
}

/// When the host was booted, in microseconds since 1970.
fn booted() -> u64 {
    let Timestamp { realtime, .. } = Timestamp::now();
    let clock = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let up = u64::try_from(clock.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(clock.tv_nsec).unwrap_or(0) / 1000;
    realtime.saturating_sub(up)
}

/// What a file of systemd-machined says, if its machine lives. Its directory belongs to the host's root.
fn of_upstream(directory: &Path, name: &str) -> Option<State> {
    spec::MachineName::try_from(name).ok()?;
    let mut buffer = Vec::new();
    let text = crate::entry_file::read(CWD, directory.join(name), LONGEST, &mut buffer).ok()?;
    let text = std::str::from_utf8(text).ok()?;
    let fields: HashMap<&str, String> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, unescaped(value)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    let field = |name: &str| fields.get(name).cloned();
    let number = |name: &str| fields.get(name).and_then(|value| value.parse::<u64>().ok());
    let process = |pid: &str, id: &str| {
        let pid = i32::try_from(number(pid)?).ok()?;
        let known = Process { pid, pidfd_id: number(id), start_time: None, boot_id: boot_id().ok()? };
        // Before 257 there is nothing but the number; machined itself lets go of it in time.
        let process = if known.pidfd_id.is_some() { known } else { Process::of(pid).ok()? };
        process.lives().then_some(process)
    };
    let leader = process("LEADER", "LEADER_PIDFDID")?;
    let class = match field("CLASS").as_deref() {
        Some("vm") => Class::Vm,
        Some("host") => return None,
        _ => Class::Container,
    };
    let timestamp =
        Timestamp { realtime: number("REALTIME").unwrap_or(0), monotonic: number("MONOTONIC").unwrap_or(0) };
    let links = field("NETIF").unwrap_or_default();
    Some(State {
        version: VERSION,
        name: name.to_owned(),
        id: field("ID").and_then(|id| id.parse().ok()),
        service: field("SERVICE"),
        class,
        private_network: has_own_network(&leader),
        leader,
        supervisor: process("SUPERVISOR", "SUPERVISOR_PIDFDID"),
        root_directory: field("ROOT"),
        unit: field("SCOPE").or_else(|| field("UNIT")),
        subgroup: field("SUBGROUP"),
        control_group: None,
        timestamp,
        network_interfaces: links.split_ascii_whitespace().filter_map(|link| link.parse().ok()).collect(),
        v_sock_cid: number("VSOCK_CID").and_then(|cid| cid.try_into().ok()).filter(|cid| *cid != ANY_CID),
        ssh_address: field("SSH_ADDRESS"),
        ssh_private_key_path: field("SSH_PRIVATE_KEY_PATH"),
        control_address: field("CONTROL_ADDRESS"),
        uid: number("UID").and_then(|uid| uid.try_into().ok()).unwrap_or(0),
        users: None,
        boots: true,
        supervised: false,
    })
}

fn has_own_network(leader: &Process) -> bool {
    let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    network(&leader.pid.to_string()).is_some_and(|theirs| network("self").is_some_and(|own| own != theirs))
}

/// The value of an assignment as systemd writes it.
fn unescaped(value: &str) -> String {
    let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
    let mut result = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => result.extend(letters.next()),
            letter => result.push(letter),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_systemd_machined() {
        let directory = tempfile::tempdir().unwrap();
        let me = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let pidfd = me.pidfd_id.map(|id| format!("LEADER_PIDFDID={id}\n")).unwrap_or_default();
        let write = |name: &str, leader: i32, pidfd: &str| {
            let text = format!(
                "# This is private data. Do not parse.\nNAME={name}\nUID=0\nSCOPE=machine-a.scope\nSCOPE_JOB=\n\
                 SERVICE=systemd-nspawn\nROOT=\"/srv/my tree\"\nID=00112233445566778899aabbccddeeff\nLEADER={leader}\n{pidfd}\
                 CLASS=container\nREALTIME=1000000\nMONOTONIC=500\nNETIF=3 4\nVSOCK_CID=4294967295\n"
            );
            std::fs::write(directory.path().join(name), text).unwrap();
        };
        write("a", me.pid, &pidfd);
        let state = of_upstream(directory.path(), "a").unwrap();
        assert_eq!(state.leader.pid, me.pid);
        assert_eq!(state.root_directory.as_deref(), Some("/srv/my tree"));
        assert_eq!(
            (state.unit.as_deref(), state.service.as_deref()),
            (Some("machine-a.scope"), Some("systemd-nspawn"))
        );
        assert_eq!((state.network_interfaces.as_slice(), state.v_sock_cid), (&[3, 4][..], None));
        assert_eq!(state.timestamp, Timestamp { realtime: 1_000_000, monotonic: 500 });
        assert!(!state.supervised && !state.private_network);
        if me.pidfd_id.is_some() {
            write("b", me.pid, "LEADER_PIDFDID=1\n");
            assert_eq!(of_upstream(directory.path(), "b"), None, "another process has its number now");
        }
        write("c", i32::MAX, "");
        assert_eq!(of_upstream(directory.path(), "c"), None);
        assert_eq!(of_upstream(directory.path(), "../a"), None);
        assert_eq!(of_upstream(directory.path(), "d"), None);
    }

    #[test]
    fn the_host_is_a_machine() {
        let host = host();
        assert_eq!((host.name.as_str(), host.class, host.leader.pid), (HOST, Class::Host, 1));
        assert!(host.timestamp.realtime > 0);
    }
}
