//! The machine in the list of systemd-machined, see org.freedesktop.machine1(5).

use std::path::{Path, PathBuf};

use bus::{Call, Connection, Writer};
use plan::{Plan, Registration, ServiceManager};

/// Who registers it, as `machinectl list` shows it: who is asked by `$container` gets the same answer.
const SERVICE: &str = "systemd-nspawn";
const CLASS: &str = "container";

/// Why it is not in the list.
#[derive(Debug, thiserror::Error)]
#[error("cannot register the machine {machine} with systemd-machined; --register=no or auto goes on without")]
pub struct Error {
    machine: String,
    source: bus::Error,
}

/// A machine in the list.
#[derive(Debug)]
pub(crate) struct Registered {
    machine: String,
    bus: PathBuf,
}

/// Registers the process as the machine's first one, if the plan says so. Where it need not work, that it does not is
/// no error.
///
/// # Errors
/// An [`Error`] where it must work.
pub(crate) fn register(plan: &Plan, leader: i32) -> Result<Option<Registered>, Error> {
    let Some(registration) = &plan.registration else { return Ok(None) };
    let registered = Registered { machine: plan.machine.clone(), bus: registration.manager.bus() };
    match registered.enter(registration, leader) {
        Ok(()) => Ok(Some(registered)),
        Err(_) if !registration.required => Ok(None),
        Err(source) => Err(Error { machine: registered.machine, source }),
    }
}

impl Registered {
    fn enter(&self, registration: &Registration, leader: i32) -> Result<(), bus::Error> {
        let mut connection = Connection::open_bus(&self.bus)?;
        let mut body = Writer::default();
        body.string(&self.machine);
        body.bytes(registration.id.as_bytes());
        body.string(SERVICE);
        body.string(CLASS);
        body.u32(leader.unsigned_abs());
        body.string(&root(&registration.root));
        // No links of the network on the host.
        body.array(4, |_| {});
        connection.call(&manager("RegisterMachineWithNetwork", "sayssusai"), body).map(drop)
    }

    /// Takes it out of the list. That it is not there any more is no error: it goes with its first process, too.
    ///
    /// If systemd-machined sees the first process end before it hears of this, it asks the service manager to stop the
    /// machine's unit, and forgets it. A request that is still on its way when the next machine of the name has started would
    /// stop that one: so the service manager is asked something behind it, and has read it when it answers.
    pub(crate) fn end(self) {
        let Ok(mut connection) = Connection::open_bus(&self.bus) else { return };
        let mut body = Writer::default();
        body.string(&self.machine);
        drop(connection.call(&manager("UnregisterMachine", "s"), body));
        drop(connection.call(&PING, Writer::default()));
    }
}

/// Asks the service manager for nothing but an answer.
const PING: Call<'static> = Call {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.DBus.Peer",
    member: "Ping",
    signature: "",
};

fn manager<'a>(member: &'a str, signature: &'a str) -> Call<'a> {
    Call {
        destination: "org.freedesktop.machine1",
        path: "/org/freedesktop/machine1",
        interface: "org.freedesktop.machine1.Manager",
        member,
        signature,
    }
}

/// Paths that are no text cannot be told; it is for people to read.
fn root(path: &Path) -> String {
    path.to_str().unwrap_or_default().to_owned()
}

/// The sockets that a service manager's bus and its own are at.
pub(crate) trait Sockets {
    /// The bus.
    fn bus(&self) -> PathBuf;
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

    fn manager(&self) -> cgroup::scope::Manager<'_> {
        match self {
            Self::System => cgroup::scope::Manager::System,
            Self::User(directory) => cgroup::scope::Manager::User(directory),
        }
    }
}
