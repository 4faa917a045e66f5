//! A machine as it is seen from the host: its processes and what they use. All that comes from inside is its own word.

use std::time::Instant;

use anyhow::Context;
use cgroup::View;
use cgroup::usage::{Amount, Groups, Transfer, Usage};
use machine::state::{Class, State};

use crate::failure::Failure;
use crate::host_process::{self, Stat};

/// A machine and its groups.
#[derive(Debug)]
pub(crate) struct Observed {
    /// Its entry in the registry.
    pub(crate) state: State,
    payload: View,
    groups: Groups,
}

/// What a machine uses at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// When that was.
    pub(crate) at: Instant,
    /// What it was.
    pub(crate) usage: Usage,
    /// How many processes there are.
    pub(crate) processes: u64,
    /// No controller counts the memory: it is what the processes have for themselves.
    pub(crate) memory_of_processes: bool,
    /// No controller counts what went through disks: it is what the processes that live have moved.
    pub(crate) transfer_of_processes: bool,
}

impl Observed {
    /// Finds the machine's groups.
    ///
    /// # Errors
    /// If its group is not known or gone.
    pub(crate) fn new(state: State) -> anyhow::Result<Self> {
        let path = match &state.control_group {
            Some(path) => path.into(),
            None => of_leader(&state)?,
        };
        let failed = |error: rustix::io::Errno| {
            anyhow::Error::from(error).context(format!("cannot look into the control group {}", path.display()))
        };
        let payload = View::of_machine(&path).map_err(failed)?;
        let whole = match path.parent() {
            Some(above) if path.ends_with("payload") => View::of_machine(above).map_err(failed)?,
            _ => View::of_machine(&path).map_err(failed)?,
        };
        let supervisor = state.supervisor.as_ref().map(|process| process.pid);
        let groups = Groups::find(whole, (state.leader.pid, supervisor), state.unit.as_deref());
        Ok(Self { state, payload, groups })
    }

    /// The one of this name.
    pub(crate) fn find(name: &str) -> Result<Self, Failure> {
        let machine = machine::machines::machine(&machine::Registry::system(), name);
        let machine = machine.map_err(|error| Failure::new(error, Some("see what runs with: redd list")))?;
        Self::new(machine.state).map_err(|error| Failure::new(error.context(format!("machine {name}")), None))
    }

    /// All its processes, by their numbers on the host.
    ///
    /// # Errors
    /// Those of reading its groups.
    pub(crate) fn processes(&self) -> rustix::io::Result<Vec<i32>> {
        self.payload.processes_below()
    }

    /// What it uses now. What no controller counts is summed up over the processes.
    ///
    /// # Errors
    /// Those of reading its groups, as when it has just ended.
    pub(crate) fn sample(&self) -> rustix::io::Result<Sample> {
        let mut usage = self.groups.usage();
        let at = Instant::now();
        let processes = self.processes()?;
        let memory_of_processes = usage.memory.is_none();
        let transfer_of_processes = usage.transfer.is_none();
        if memory_of_processes {
            let current =
                processes.iter().filter_map(|pid| host_process::own_memory(*pid)).fold(0, u64::saturating_add);
            usage.memory = Some(Amount { current, limit: None });
        }
        if transfer_of_processes {
            let mut all = Transfer::default();
            for (read, written) in processes.iter().filter_map(|pid| host_process::transferred(*pid)) {
                all = Transfer { read: all.read.saturating_add(read), written: all.written.saturating_add(written) };
            }
            usage.transfer = Some(all);
        }
        if usage.tasks.is_none() {
            let current = processes.iter().filter_map(|pid| Stat::of(*pid)).map(|stat| stat.threads).sum();
            usage.tasks = Some(Amount { current, limit: None });
        }
        let processes = u64::try_from(processes.len()).unwrap_or(u64::MAX);
        Ok(Sample { at, usage, processes, memory_of_processes, transfer_of_processes })
    }
}

/// The group of all that belongs to a machine: where its supervisor is in a group beside it, the one of both.
///
/// # Errors
/// If it is not known.
pub(crate) fn group_of(state: &State) -> anyhow::Result<std::path::PathBuf> {
    if state.class == Class::Host {
        return View::root().map(|(_, mount)| mount).context("cannot find the control groups");
    }
    let path = match &state.control_group {
        Some(path) => path.into(),
        None => of_leader(state)?,
    };
    Ok(match path.parent() {
        Some(above) if path.ends_with("payload") => above.to_owned(),
        _ => path,
    })
}

/// The group that the first process is in, for machines that somebody else has registered.
fn of_leader(state: &State) -> anyhow::Result<std::path::PathBuf> {
    if let Some(path) = machine::group::of_unit(state) {
        return Ok(path);
    }
    let text = host_process::read(state.leader.pid, "cgroup", 1 << 16).filter(|_| state.leader.lives());
    let text = text.with_context(|| format!("the first process of {} has ended", state.name))?;
    let text = String::from_utf8_lossy(&text);
    let group = text.lines().find_map(|line| line.strip_prefix("0::/")).context("its control group is not known")?;
    let (_, mount) = View::root().context("cannot find the control groups")?;
    // An init system has put itself into a group of its own.
    let group = std::path::Path::new(group);
    let own = if group.ends_with("init.scope") { group.parent().unwrap_or(group) } else { group };
    Ok(mount.join(own))
}
