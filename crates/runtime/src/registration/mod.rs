//! The machine in the list of systemd-machined, see org.freedesktop.machine1(5).
//!
//! That service looks after its machines in its own way, of which two things matter here. When it sees that the first
//! process of a machine has ended, it asks for the end of the rest: of the unit, or in newer versions (262) of the supervisor,
//! by `SIGTERM`, where that process was in a group below the unit's. And it finds units by their names. So nothing may be
//! outstanding for a name when the next unit of that name is made ([`forget`]), and the supervisor has to tell such a signal
//! from one that means it (`supervise::signals`).

mod machined;

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use plan::{Plan, ServiceManager};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::supervise;
pub(crate) use machined::SERVICE;
use machined::{Entry, Machined};

/// How long a dead machine of the same name may take to leave the list.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(3);

/// Why it is not in the list.
#[derive(Debug, thiserror::Error)]
#[error("cannot register the machine {machine} with systemd-machined; --register=no or auto goes on without")]
pub struct Error {
    machine: String,
    source: machined::Error,
}

/// A machine in the list.
#[derive(Debug)]
pub(crate) struct Registered {
    machine: String,
    manager: ServiceManager,
}

/// Registers the process as the machine's first one, if the plan says so. Where it need not work, that it does not is
/// no error.
///
/// # Errors
/// An [`Error`] where it must work.
pub(crate) fn register(plan: &Plan, leader: i32) -> Result<Option<Registered>, Error> {
    let Some(registration) = &plan.registration else { return Ok(None) };
    // Paths that are no text cannot be told; it is for people to read.
    let root = registration.root.to_str().unwrap_or_default();
    let entry = Entry { id: registration.id, leader: leader.unsigned_abs(), root };
    let machine = plan.machine.clone();
    let mut machined = Machined::new(&registration.manager, &machine);
    let registered = match machined.register(&entry) {
        // It was taken out before the container's reboot, and the service finishes that when it has nothing else to do.
        Err(machined::Error::Exists) => {
            await_forgotten(&mut machined);
            machined.register(&entry)
        }
        other => other,
    };
    drop(machined);
    match registered {
        Ok(()) => Ok(Some(Registered { machine, manager: registration.manager.clone() })),
        Err(_) if !registration.required => Ok(None),
        Err(source) => Err(Error { machine, source }),
    }
}

impl Registered {
    /// Takes it out of the list. That it is not there any more is no error: it goes with its first process, too.
    pub(crate) fn end(self) {
        drop(Machined::new(&self.manager, &self.machine).unregister());
    }
}

/// Waits until the list has no dead machine of this name: one whose supervisor was killed, and which the service has not
/// noticed yet. One that lives stays; registering says so.
pub(crate) fn forget(manager: &ServiceManager, machine: &str) {
    await_forgotten(&mut Machined::new(manager, machine));
}

fn await_forgotten(machined: &mut Machined<'_>) {
    let until = Instant::now() + FORGOTTEN_WITHIN;
    let mut pause = Duration::from_millis(1);
    // Where it cannot be asked, that is found again when it has to.
    while let Ok(Some(leader)) = machined.leader() {
        if !is_dead(leader) || Instant::now() >= until {
            return;
        }
        // It may be gone by now.
        drop(machined.unregister());
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn is_dead(process: u32) -> bool {
    let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) else { return true };
    match pidfd_open(process, PidfdFlags::empty()) {
        Ok(pidfd) => supervise::has_ended(pidfd.as_fd()).unwrap_or(false),
        // The number is a thread's by now.
        Err(errno) => matches!(errno, Errno::SRCH | Errno::INVAL),
    }
}

/// The sockets that a service manager's bus and its own are at.
pub(crate) trait Sockets {
    /// The bus.
    fn bus(&self) -> PathBuf;
    /// Its systemd-machined, for Varlink.
    fn machined(&self) -> PathBuf;
    /// The same for a scope.
    fn manager(&self) -> cgroup::scope::Manager<'_>;
}

impl Sockets for ServiceManager {
    fn bus(&self) -> PathBuf {
        match self {
            Self::System => cgroup::scope::BUS.into(),
            Self::User(directory) => directory.join(cgroup::scope::USER_BUS),
        }
    }

    fn machined(&self) -> PathBuf {
        const SOCKET: &str = "systemd/machine/io.systemd.Machine";
        match self {
            Self::System => Path::new("/run").join(SOCKET),
            Self::User(directory) => directory.join(SOCKET),
        }
    }

    fn manager(&self) -> cgroup::scope::Manager<'_> {
        match self {
            Self::System => cgroup::scope::Manager::System,
            Self::User(directory) => cgroup::scope::Manager::User(directory),
        }
    }
}

#[cfg(test)]
mod tests;
