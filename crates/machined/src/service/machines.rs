//! Machines: found, registered, steered.

use std::path::Path;

use machine::control::Client;
use machine::control::protocol::Whom;
use machine::init::misses_power_off;
use machine::machines::{ANY_CID, HOST, host};
use machine::registry::Machine;
use machine::state::{Class, State, Timestamp, VERSION};
use machine::{Process, registry};
use rustix::io::Errno;
use spec::MachineName;
use uuid::Uuid;

use super::{Caller, Error, Service, access};

/// The highest signal number.
const LAST_SIGNAL: i64 = 64;
/// Where the units of machines are.
const SLICE: &str = "machine.slice";

/// Which machine is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one of this name; [`HOST`] is the host.
    Name(String),
    /// The one that this process belongs to.
    Process(i32),
    /// The one of this name, if that process belongs to it.
    Both(String, i32),
}

/// What somebody tells of a machine that it runs.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: Option<Uuid>,
    /// Who runs it, such as `libvirt-qemu`.
    pub service: Option<String>,
    /// What kind it is; not the host.
    pub class: Class,
    /// Its first process; the caller where absent.
    pub leader: Option<Process>,
    /// Who looks after it; the caller where absent and not the first process.
    pub supervisor: Option<Process>,
    /// Its tree on the host.
    pub root_directory: Option<String>,
    /// Its links on the host.
    pub network_interfaces: Vec<i32>,
    /// Its address for vsock(7).
    pub v_sock_cid: Option<u32>,
    /// Where its SSH server is.
    pub ssh_address: Option<String>,
    /// The key for that.
    pub ssh_private_key_path: Option<String>,
    /// Where it is steered.
    pub control_address: Option<String>,
    /// It gets a unit of its own, with these properties; else it is in one already.
    pub unit: Option<Vec<(String, cgroup::scope::Value)>>,
}

impl Service {
    /// All machines by name, the host among them. What cannot be read is told to standard error and passed over.
    ///
    /// # Errors
    /// Those of the registry.
    pub fn machines(&self) -> Result<Vec<State>, Error> {
        let (machines, errors) = self.registry.list()?;
        for error in errors {
            crate::log::warn(&error);
        }
        let mut states = vec![host()];
        states.extend(machines.into_iter().map(|machine| machine.state));
        Ok(states)
    }

    /// One machine.
    ///
    /// # Errors
    /// [`Error::NoSuchMachine`], [`Error::NoMachineForProcess`], and those of the registry.
    pub fn machine(&self, which: &Which) -> Result<State, Error> {
        match which {
            Which::Name(name) if name == HOST => Ok(host()),
            Which::Name(name) => Ok(self.registry.find(name)?.state),
            Which::Process(pid) => self.machine_of(*pid),
            Which::Both(name, pid) => {
                let state = self.machine_of(*pid)?;
                if state.name == *name { Ok(state) } else { Err(Error::NoSuchMachine(name.clone())) }
            }
        }
    }

    /// The machine with this id, or with this first process.
    ///
    /// # Errors
    /// As [`Service::machines`].
    pub fn machine_by(&self, wanted: impl Fn(&State) -> bool) -> Result<Option<State>, Error> {
        Ok(self.machines()?.into_iter().find(wanted))
    }

    fn machine_of(&self, pid: i32) -> Result<State, Error> {
        if pid <= 0 {
            return Err(Error::Invalid { parameter: "pid", why: format!("{pid} is no process") });
        }
        let states = self.machines()?;
        let guests = || states.iter().filter(|state| state.class != Class::Host);
        // The registry has seen that the leader lives: the number is its own.
        let leads = |state: &&State| {
            state.leader.pid == pid || state.supervisor.as_ref().is_some_and(|one| one.pid == pid && one.lives())
        };
        if let Some(state) = guests().find(leads) {
            return Ok(state.clone());
        }
        let text =
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).map_err(|_| Error::NoMachineForProcess(pid))?;
        let inside = guests().find(|state| is_in_group(state, &text));
        inside.cloned().ok_or(Error::NoMachineForProcess(pid))
    }

    /// One that is not the host, with what its registry entry says.
    fn guest(&self, which: &Which, what: &'static str) -> Result<Machine, Error> {
        let state = self.machine(which)?;
        if state.class == Class::Host {
            let why = "it is this host itself".to_owned();
            return Err(Error::NotSupported { machine: state.name, what, why });
        }
        Ok(self.registry.find(&state.name)?)
    }

    /// Enters a machine that somebody else runs. Our own supervisors tell of their machines as well, which are there then.
    ///
    /// # Errors
    /// [`Error::MachineExists`], [`Error::Invalid`], [`Error::NotPermitted`] for the process of another user.
    pub fn register(&self, registration: Registration, caller: &Caller) -> Result<State, Error> {
        let unit = registration.unit.clone();
        let mut state = self.read(registration, caller)?;
        match self.registry.find(&state.name) {
            // It may have another first process since, by a reboot.
            Ok(known) if known.state.supervised && speaks_for(&known.state, &state, caller) => return Ok(known.state),
            Ok(_) => return Err(Error::MachineExists(state.name)),
            Err(registry::Error::NoSuchMachine(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(properties) = unit {
            make_unit(&state, &properties)?;
            (state.unit, state.subgroup) = unit_of(state.leader.pid).unwrap_or_default();
        }
        self.registry.register(&state)?;
        self.look_or_warn();
        Ok(state)
    }

    /// Checks what somebody says, and adds what is seen.
    fn read(&self, registration: Registration, caller: &Caller) -> Result<State, Error> {
        let bad = |parameter, why: &str| Error::Invalid { parameter, why: why.to_owned() };
        MachineName::try_from(registration.name.as_str())
            .map_err(|error| Error::Invalid { parameter: "name", why: error.to_string() })?;
        if registration.class == Class::Host {
            return Err(bad("class", "only the host is one"));
        }
        let caller_process = || Process::of(caller.pid()).map_err(Error::system("recognise the caller's process"));
        let leader = registration.leader.map_or_else(caller_process, Ok)?;
        if leader.pid == 1 || !leader.lives() {
            return Err(bad("leader", "no process of a machine that runs"));
        }
        // Steering a machine reaches both of them.
        let of_others = |process: &Process| caller.uid() != 0 && owner(process.pid) != Some(caller.uid());
        if of_others(&leader) || registration.supervisor.as_ref().is_some_and(of_others) {
            return Err(Error::NotPermitted(access::action::REGISTER_MACHINE));
        }
        let root = registration.root_directory.filter(|path| !path.is_empty());
        if root.as_deref().is_some_and(|path| !Path::new(path).is_absolute() || path.contains('\0')) {
            return Err(bad("rootDirectory", "no absolute path"));
        }
        if registration.network_interfaces.iter().any(|link| *link <= 0) {
            return Err(bad("ifIndices", "links have positive numbers"));
        }
        for (parameter, text) in [
            ("service", &registration.service),
            ("sshAddress", &registration.ssh_address),
            ("sshPrivateKeyPath", &registration.ssh_private_key_path),
            ("controlAddress", &registration.control_address),
        ] {
            if text.as_deref().is_some_and(|text| text.chars().any(char::is_control)) {
                return Err(bad(parameter, "no control characters"));
            }
        }
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let supervisor = registration.supervisor.or_else(|| caller_process().ok().filter(|one| *one != leader));
        let (unit, subgroup) = unit_of(leader.pid).filter(|_| may_name_unit(leader.pid, caller)).unwrap_or_default();
        Ok(State {
            version: VERSION,
            name: registration.name,
            id: registration.id.filter(|id| !id.is_nil()),
            service: some(registration.service),
            class: registration.class,
            private_network: has_own_network(leader.pid),
            leader,
            supervisor,
            root_directory: root,
            unit,
            subgroup,
            control_group: None,
            timestamp: Timestamp::now(),
            network_interfaces: registration.network_interfaces,
            v_sock_cid: registration.v_sock_cid.filter(|cid| *cid != ANY_CID),
            ssh_address: some(registration.ssh_address),
            ssh_private_key_path: some(registration.ssh_private_key_path),
            control_address: some(registration.control_address),
            uid: caller.uid(),
            users: None,
            boots: true,
            supervised: false,
        })
    }

    /// Takes out a machine that somebody else runs. Our own supervisors ask for that in the end, and take it out themselves.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for the machines of ours and the host.
    pub fn unregister(&self, which: &Which, caller: &Caller) -> Result<(), Error> {
        let machine = self.guest(which, "taking out")?;
        if machine.state.supervised && runs(&machine.state, caller) {
            return Ok(());
        }
        self.registry.unregister(&machine.state.name)?;
        self.look_or_warn();
        Ok(())
    }

    /// Tells at once of what has just been done: whoever asked for it may look where sd-login(3) does. It is done, whether that
    /// can be told or not.
    fn look_or_warn(&self) {
        if let Err(error) = self.look() {
            crate::log::warn(&error);
        }
    }

    /// Kills all its processes at once. Where it is a service of the service manager's, that is told before, so that it takes this for
    /// an end that was asked for.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for the host; those of steering it.
    pub fn terminate(&self, which: &Which) -> Result<(), Error> {
        let client = Client::of(&self.guest(which, "ending")?);
        let stops = begin_to_stop(client.state());
        match client.terminate() {
            // One that does not boot has ended by that alone.
            Err(machine::control::Error::Ended(_)) if stops => Ok(()),
            done => Ok(done?),
        }
    }

    /// Sends a signal. The one that machinectl(1) powers off with is lost to init systems other than systemd: they are asked in their
    /// own way then.
    ///
    /// # Errors
    /// [`Error::Invalid`]; as [`Service::terminate`].
    pub fn kill(&self, which: &Which, whom: Whom, signal: i64) -> Result<(), Error> {
        let number = i32::try_from(signal).ok().filter(|_| (1..=LAST_SIGNAL).contains(&signal));
        let why = || format!("{signal} is no signal");
        let signal = number.ok_or_else(|| Error::Invalid { parameter: "signal", why: why() })?;
        let machine = self.guest(which, "signalling")?;
        let client = Client::of(&machine);
        if whom == Whom::Leader && misses_power_off(machine.state.leader.pid, signal) {
            return Ok(client.power_off(None).map(drop)?);
        }
        Ok(client.kill(whom, signal)?)
    }

    /// Stops all its processes where they are, or lets them go on.
    ///
    /// # Errors
    /// As [`Service::terminate`].
    pub fn pause(&self, which: &Which, paused: bool) -> Result<(), Error> {
        let client = Client::of(&self.guest(which, "pausing")?);
        let done = if paused { client.pause() } else { client.resume() };
        Ok(done?)
    }

    /// In which state it is, in the words of `org.freedesktop.machine1.Machine`: `running`, or `closing` for one that was
    /// asked to end.
    ///
    /// # Errors
    /// As [`Service::machine`].
    pub fn state_of(&self, state: &State) -> Result<&'static str, Error> {
        if !state.supervised {
            return Ok("running");
        }
        let described = Client::of(&self.registry.find(&state.name)?).describe();
        Ok(if described.is_ok_and(|described| described.is_some_and(|one| one.stopping)) {
            "closing"
        } else {
            "running"
        })
    }
}

/// False where it is no service.
fn begin_to_stop(state: &State) -> bool {
    let (Some(unit), Some(supervisor)) = (&state.unit, &state.supervisor) else { return false };
    if !unit.ends_with(".service") || !cgroup::scope::Manager::System.is_available() {
        return false;
    }
    cgroup::unit::begin_to_stop(unit, supervisor.pid).unwrap_or_else(|error| {
        crate::log::warn(&error);
        false
    })
}

/// Whether the caller looks after this machine of ours.
fn runs(known: &State, caller: &Caller) -> bool {
    // It holds the entry's lock: its number is its own.
    known.supervisor.as_ref().is_some_and(|supervisor| supervisor.pid == caller.pid())
}

/// Whether what is told is told of this very machine of ours.
fn speaks_for(known: &State, told: &State, caller: &Caller) -> bool {
    runs(known, caller) || (known.leader == told.leader && caller.uid() == 0)
}

/// Who a process belongs to.
fn owner(pid: i32) -> Option<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    let ids: Vec<u32> = line.split_ascii_whitespace().filter_map(|id| id.parse().ok()).collect();
    // All of them: a program that runs as somebody else is not the caller's.
    ids.first().copied().filter(|first| ids.len() == 4 && ids.iter().all(|id| id == first))
}

pub(super) fn has_own_network(pid: i32) -> bool {
    let network = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    network(&pid.to_string()).is_some_and(|theirs| network("self").is_some_and(|own| own != theirs))
}

/// The unit that a process is in, and the group below it.
fn unit_of(pid: i32) -> Option<(Option<String>, Option<String>)> {
    unit_in(&std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?)
}

/// Whether the unit that a process of the caller's is in may be the machine's. All processes of a machine's unit are signalled
/// with it, so that of a user is one of their own: jobs of users run in units of the system's, too.
fn may_name_unit(pid: i32, caller: &Caller) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    caller.uid() == 0 || is_of_user(&text, caller.uid())
}

fn is_of_user(text: &str, uid: u32) -> bool {
    let slice = format!("/user.slice/user-{uid}.slice/");
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut of_units = paths.filter(|path| path.contains(".service") || path.contains(".scope")).peekable();
    of_units.peek().is_some() && of_units.all(|path| path.starts_with(&slice))
}

fn unit_in(text: &str) -> Option<(Option<String>, Option<String>)> {
    let path = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix));
    let named = text.lines().find_map(|line| line.split_once(":name=systemd:").map(|(_, path)| path));
    // Where systemd manages a container of a hybrid host it has no hierarchy of that name.
    let unit = |path: &str| {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let at = parts.iter().position(|part| part.ends_with(".scope") || part.ends_with(".service"))?;
        let below = parts[at + 1..].join("/");
        Some((Some(parts[at].to_owned()), Some(below).filter(|below| !below.is_empty())))
    };
    [named, path("0::")].into_iter().flatten().find_map(unit)
}

/// Whether a process whose `/proc/PID/cgroup` this is belongs to the machine.
fn is_in_group(state: &State, text: &str) -> bool {
    let Some(path) = text.lines().find_map(|line| line.strip_prefix("0::")) else { return false };
    let path = Path::new(path);
    if let Some(group) = &state.control_group {
        let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
        let group = mounts.iter().find_map(|mount| Path::new(group).strip_prefix(mount).ok());
        return group.is_some_and(|group| path.starts_with(Path::new("/").join(group)));
    }
    let Some(unit) = &state.unit else { return false };
    // A service that many machines share says nothing.
    let own = unit.starts_with("machine-") || unit.starts_with("systemd-nspawn@") || unit.contains(&state.name);
    own && path.components().any(|part| part.as_os_str() == unit.as_str())
}

/// A scope of the service manager's, and the first process in it.
fn make_unit(state: &State, properties: &[(String, cgroup::scope::Value)]) -> Result<(), Error> {
    let manager = cgroup::scope::Manager::System;
    if !manager.is_available() {
        let why = "no systemd manages this host; register it without a unit".to_owned();
        return Err(Error::NotSupported { machine: state.name.clone(), what: "a unit", why });
    }
    let properties: Vec<_> = properties.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    let kind = if state.class == Class::Vm { "Virtual Machine" } else { "Container" };
    let scope = cgroup::scope::Scope {
        unit: &format!("machine-{}.scope", escaped(&state.name)),
        slice: SLICE,
        description: &format!("{kind} {}", state.name),
        process: Some(state.leader.pid.unsigned_abs()),
        properties: &properties,
    };
    cgroup::scope::start(manager, &scope)?;
    if state.leader.lives() {
        Ok(())
    } else {
        Err(Error::System { what: "keep its process".to_owned(), source: Errno::SRCH })
    }
}

/// A name as a part of a unit's, see systemd.unit(5).
fn escaped(name: &str) -> String {
    let mut result = String::new();
    for (index, byte) in name.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b':' => result.push(char::from(byte)),
            b'.' if index > 0 => result.push('.'),
            other => result.push_str(&format!("\\x{other:02x}")),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_the_groups_below() {
        let unit = |text: &str| unit_in(text).unwrap_or_default();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            unit("0::/machine.slice/machine-a.scope/payload/b.service\n"),
            (some("machine-a.scope"), some("payload/b.service"))
        );
        assert_eq!(unit("1:name=systemd:/system.slice/x.service\n0::/\n"), (some("x.service"), None));
        assert_eq!(unit("9:name=systemd:/\n0::/machine.slice/machine-a.scope\n"), (some("machine-a.scope"), None));
        assert_eq!(unit("0::/redd/a\n"), (None, None));
        assert_eq!(unit(""), (None, None));
    }

    #[test]
    fn units_of_the_system_are_no_user_s() {
        assert!(is_of_user("0::/user.slice/user-1000.slice/session-1.scope\n", 1000));
        assert!(!is_of_user("0::/user.slice/user-1000.slice/session-1.scope\n", 100));
        assert!(!is_of_user("0::/system.slice/cron.service\n", 1000));
        assert!(!is_of_user(
            "1:name=systemd:/system.slice/cron.service\n0::/user.slice/user-1000.slice/a.scope\n",
            1000
        ));
        assert!(!is_of_user("0::/\n", 1000));
    }

    #[test]
    fn unit_names_are_escaped() {
        assert_eq!(escaped("web-1.example"), "web\\x2d1.example");
        assert_eq!(escaped(".a"), "\\x2ea");
    }

    #[test]
    fn processes_in_groups() {
        let mut state = host();
        state.name = "web".to_owned();
        state.unit = Some("user@1000.service".to_owned());
        assert!(!is_in_group(&state, "0::/user.slice/user@1000.service/x\n"));
        state.unit = Some("machine-web.scope".to_owned());
        assert!(is_in_group(&state, "0::/machine.slice/machine-web.scope/x\n"));
        assert!(!is_in_group(&state, "0::/machine.slice/machine-web2.scope/x\n"));
        state.control_group = Some("/sys/fs/cgroup/unified/redd/web/payload".to_owned());
        assert!(is_in_group(&state, "1:cpu:/\n0::/redd/web/payload/sub\n"));
        assert!(!is_in_group(&state, "0::/redd/web\n"));
        assert!(!is_in_group(&state, ""));
    }
}
