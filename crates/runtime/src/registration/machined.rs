//! systemd-machined: asked over Varlink where it listens (since version 257 for all that is needed here), else over the bus.

use std::path::Path;

use bus::varlink::{self, Client};
use bus::{Call, Connection, Writer};
use plan::ServiceManager;
use rustix::io::Errno;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Sockets;

/// Who registers machines, as `machinectl list` shows it: who is asked by `$container` gets the same answer.
pub(crate) const SERVICE: &str = "systemd-nspawn";
const CLASS: &str = "container";

/// The bus name and the object of the list, and its interface.
const NAME: &str = "org.freedesktop.machine1";
const OBJECT: &str = "/org/freedesktop/machine1";
const LIST: &str = "org.freedesktop.machine1.Manager";

/// The interface for Varlink.
const INTERFACE: &str = "io.systemd.Machine";

/// Why it did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The list has a machine of this name, and it lives.
    #[error("a machine of this name is registered already")]
    Exists,
    /// Over the bus.
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// Over Varlink.
    #[error(transparent)]
    Varlink(#[from] varlink::Error),
}

impl Error {
    /// The list has no machine of this name.
    fn is_no_such_machine(&self) -> bool {
        self.is_called("NoSuchMachine")
    }

    fn is_called(&self, error: &str) -> bool {
        let (name, interface) = match self {
            Self::Bus(bus::Error::Call { name, .. }) => (name, NAME),
            Self::Varlink(varlink::Error::Call { name, .. }) => (name, INTERFACE),
            _ => return false,
        };
        name.strip_prefix(interface).and_then(|rest| rest.strip_prefix('.')) == Some(error)
    }

    /// What was asked for is newer than the service, or nobody listens.
    fn is_unknown(&self) -> bool {
        match self {
            Self::Varlink(varlink::Error::System { source, .. }) => {
                matches!(*source, Errno::NOENT | Errno::CONNREFUSED | Errno::ACCESS)
            }
            Self::Varlink(varlink::Error::Call { name, .. }) => matches!(
                name.as_str(),
                "org.varlink.service.InterfaceNotFound"
                    | "org.varlink.service.MethodNotFound"
                    | "org.varlink.service.MethodNotImplemented"
                    | "org.varlink.service.InvalidParameter"
            ),
            _ => false,
        }
    }
}

/// What the list says of a machine.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    /// Its id.
    pub(super) id: Uuid,
    /// Its first process.
    pub(super) leader: u32,
    /// Its tree, for people; empty where that is no text.
    pub(super) root: &'a str,
}

/// One machine in a service manager's list.
#[derive(Debug)]
pub(super) struct Machined<'a> {
    manager: &'a ServiceManager,
    machine: &'a str,
    varlink: Option<Client>,
    bus: Option<Connection>,
}

impl<'a> Machined<'a> {
    /// Whose list, and which machine.
    pub(super) fn new(manager: &'a ServiceManager, machine: &'a str) -> Self {
        Self { manager, machine, varlink: Client::connect(&manager.machined()).ok(), bus: None }
    }

    /// The machine's first process; nothing where the list does not have it.
    ///
    /// # Errors
    /// An [`Error`].
    pub(super) fn leader(&mut self) -> Result<Option<u32>, Error> {
        let answer = match self.over_varlink("List", &json!({ "name": self.machine })) {
            Some(answer) => answer.map(|machine| varlink_leader(&machine)),
            None => self.bus_leader(),
        };
        match answer {
            Ok(leader) => Ok(Some(leader)),
            Err(error) if error.is_no_such_machine() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts it into the list. Its unit is the one that its first process is in, and its supervisor who calls.
    ///
    /// # Errors
    /// [`Error::Exists`], or another one.
    pub(super) fn register(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let registered = self.try_register(entry);
        registered.map_err(|error| if error.is_called("MachineExists") { Error::Exists } else { error })
    }

    fn try_register(&mut self, entry: &Entry<'_>) -> Result<(), Error> {
        let mut parameters = json!({
            "name": self.machine,
            "id": entry.id.as_simple().to_string(),
            "service": SERVICE,
            "class": CLASS,
            "leader": entry.leader,
        });
        if Path::new(entry.root).is_absolute() {
            parameters["rootDirectory"] = entry.root.into();
        }
        if let Some(answer) = self.over_varlink("Register", &parameters) {
            return answer.map(drop);
        }
        let mut body = Writer::default();
        body.string(self.machine);
        body.bytes(entry.id.as_bytes());
        body.string(SERVICE);
        body.string(CLASS);
        body.u32(entry.leader);
        body.string(entry.root);
        // No links of the network on the host.
        body.array(4, |_| {});
        self.over_bus(LIST, OBJECT, ("RegisterMachineWithNetwork", "sayssusai"), body).map(drop)
    }

    /// Takes it out of the list. When this returns, the service has sent all signals and requests about the machine that it
    /// ever will: it waits for the service manager's answer to each.
    ///
    /// # Errors
    /// An [`Error`]; also where the list does not have it.
    pub(super) fn unregister(&mut self) -> Result<(), Error> {
        if let Some(answer) = self.over_varlink("Unregister", &json!({ "name": self.machine })) {
            return answer.map(drop);
        }
        let mut body = Writer::default();
        body.string(self.machine);
        self.over_bus(LIST, OBJECT, ("UnregisterMachine", "s"), body).map(drop)
    }

    /// Nothing if that does not work here; it is not tried again then.
    fn over_varlink(&mut self, method: &str, parameters: &Value) -> Option<Result<Value, Error>> {
        let client = self.varlink.as_ref()?;
        let answer = client.call(&format!("{INTERFACE}.{method}"), parameters.clone(), &[]).map_err(Error::from);
        if answer.as_ref().is_err_and(Error::is_unknown) {
            self.varlink = None;
            return None;
        }
        Some(answer)
    }

    fn over_bus(
        &mut self,
        interface: &str,
        path: &str,
        (member, signature): (&str, &str),
        body: Writer,
    ) -> Result<bus::Message, Error> {
        let connection = match &mut self.bus {
            Some(open) => open,
            none => none.insert(Connection::open_bus(&self.manager.bus())?),
        };
        Ok(connection.call(&Call { destination: NAME, path, interface, member, signature }, body)?)
    }

    fn bus_leader(&mut self) -> Result<u32, Error> {
        let mut body = Writer::default();
        body.string(self.machine);
        let found = self.over_bus(LIST, OBJECT, ("GetMachine", "s"), body)?;
        let wrong = || bus::Error::from(bus::Malformed("an answer of the wrong type"));
        if found.signature != "o" {
            return Err(wrong().into());
        }
        let path = found.body().string().map_err(bus::Error::from)?.to_owned();
        let mut body = Writer::default();
        body.string("org.freedesktop.machine1.Machine");
        body.string("Leader");
        let leader = self.over_bus("org.freedesktop.DBus.Properties", &path, ("Get", "ss"), body)?;
        if leader.signature != "v" {
            return Err(wrong().into());
        }
        Ok(leader.body().u32_variant().map_err(bus::Error::from)?)
    }
}

/// 0 where there is none.
fn varlink_leader(machine: &Value) -> u32 {
    let leader = &machine["leader"];
    let number = leader.as_u64().or_else(|| leader["pid"].as_u64());
    number.and_then(|number| number.try_into().ok()).unwrap_or(0)
}
