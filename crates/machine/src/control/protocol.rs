//! What goes over the socket of a supervisor. Calls come from whoever may connect: they are not trusted.
//!
//! Source of the framing: <https://varlink.org/Wire-Protocol>, of the service's own interface: <https://varlink.org/Service>.

use std::time::Duration;

use rustix::io::Errno;
use serde_json::{Map, Value, json};

/// The interface's name.
pub const INTERFACE: &str = "org.redd.Machine";
/// Its version. Within one, methods, parameters and fields are only added.
pub const VERSION: u32 = 1;
/// The longest call, in bytes.
pub const LONGEST_CALL: usize = 4096;
/// The interface that every service has.
pub(super) const SERVICE: &str = "org.varlink.service";
/// The highest signal number.
const LAST_SIGNAL: i64 = 64;

/// The interface in Varlink's own language.
pub const DESCRIPTION: &str = "\
# A machine, steered by its supervisor. Root and the machine's owner may call all of it, others Describe.
interface org.redd.Machine

# Whose signal it is: the first process's, the supervisor's, or that of all processes in the machine
type Whom (leader, supervisor, all)

# The state is what the registry says of the machine. Frozen once all processes are.
method Describe() -> (version: int, state: object, paused: bool, stopping: bool)

# Sends a signal at once, whether somebody takes it or not
method Kill(whom: ?Whom, signal: int) -> ()

# Asks the init system to power off, as soon as it can be asked. All processes are terminated after this time (90 seconds
# where absent), and killed soon afterwards. Tells who is asked.
method PowerOff(timeoutUSec: ?int) -> (init: string, timeoutUSec: int)

# Asks the init system to reboot, as soon as it can be asked
method Reboot() -> (init: string)

# Kills all processes at once
method Terminate() -> ()

# Stops all processes where they are
method Pause() -> ()

# Lets them go on
method Resume() -> ()

# Sets the size of the console, in characters
method Resize(columns: int, rows: int) -> ()

# Neither root nor the machine's owner
error NotPermitted()

# There are too many connections
error Busy()

# The machine has no console
error NoConsole()

# Process 1 is no init system that can be asked
error NoInit(program: string)

# It is about to end
error Stopping()

# The host's kernel cannot do it
error NotSupported(reason: string)

# The host's kernel refused
error SystemError(what: string, errno: int)
";

const SERVICE_DESCRIPTION: &str = "\
# The interface of every Varlink service
interface org.varlink.service

method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)

method GetInterfaceDescription(interface: string) -> (description: string)

error InterfaceNotFound (interface: string)

error MethodNotFound (method: string)

error MethodNotImplemented (method: string)

error InvalidParameter (parameter: string)

error PermissionDenied ()

error ExpectedMore ()
";

/// Whom a signal is for, see `--kill-whom=` in machinectl(1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Whom {
    /// The first process.
    Leader,
    /// The supervisor.
    Supervisor,
    /// All processes of the machine; not its supervisor.
    #[default]
    All,
}

impl Whom {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Leader, Self::Supervisor, Self::All];

    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Supervisor => "supervisor",
            Self::All => "all",
        }
    }

    /// The one that is written like this.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|whom| whom.name() == name)
    }
}

/// What is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// What the service is.
    GetInfo,
    /// An interface in Varlink's own language.
    GetInterfaceDescription(String),
    /// What is known of the machine.
    Describe,
    /// Send a signal.
    Kill {
        /// To whom.
        whom: Whom,
        /// Its number.
        signal: i32,
    },
    /// End in order.
    PowerOff {
        /// How long that may take.
        timeout: Option<Duration>,
    },
    /// End in order, and start again.
    Reboot,
    /// End at once.
    Terminate,
    /// Freeze.
    Pause,
    /// Thaw.
    Resume,
    /// Give the console another size.
    Resize {
        /// How wide, in characters.
        columns: u16,
        /// How high, in characters.
        rows: u16,
    },
}

impl Call {
    /// Whether everybody may call it.
    #[must_use]
    pub fn is_public(&self) -> bool {
        matches!(self, Self::GetInfo | Self::GetInterfaceDescription(_) | Self::Describe)
    }

    /// What it is on the wire: a method, and its parameters.
    #[must_use]
    pub fn written(&self) -> (String, Value) {
        let ours = |name: &str, parameters| (format!("{INTERFACE}.{name}"), parameters);
        let services = |name: &str, parameters| (format!("{SERVICE}.{name}"), parameters);
        match self {
            Self::GetInfo => services("GetInfo", json!({})),
            Self::GetInterfaceDescription(interface) => {
                services("GetInterfaceDescription", json!({ "interface": interface }))
            }
            Self::Describe => ours("Describe", json!({})),
            Self::Kill { whom, signal } => ours("Kill", json!({ "whom": whom.name(), "signal": signal })),
            Self::PowerOff { timeout: None } => ours("PowerOff", json!({})),
            Self::PowerOff { timeout: Some(timeout) } => {
                ours("PowerOff", json!({ "timeoutUSec": microseconds(*timeout) }))
            }
            Self::Reboot => ours("Reboot", json!({})),
            Self::Terminate => ours("Terminate", json!({})),
            Self::Pause => ours("Pause", json!({})),
            Self::Resume => ours("Resume", json!({})),
            Self::Resize { columns, rows } => ours("Resize", json!({ "columns": columns, "rows": rows })),
        }
    }

    fn read(method: &str, parameters: &Map<String, Value>) -> Result<Self, Refusal> {
        let Some((interface, name)) = method.rsplit_once('.') else {
            return Err(Refusal::MethodNotFound(method.to_owned()));
        };
        let parameters = Parameters(parameters);
        Ok(match (interface, name) {
            (SERVICE, "GetInfo") => Self::GetInfo,
            (SERVICE, "GetInterfaceDescription") => {
                let name = parameters.get("interface").and_then(Value::as_str);
                Self::GetInterfaceDescription(name.ok_or(Refusal::InvalidParameter("interface"))?.to_owned())
            }
            (INTERFACE, "Describe") => Self::Describe,
            (INTERFACE, "Kill") => Self::Kill { whom: parameters.whom()?, signal: parameters.signal()? },
            (INTERFACE, "PowerOff") => Self::PowerOff { timeout: parameters.timeout()? },
            (INTERFACE, "Reboot") => Self::Reboot,
            (INTERFACE, "Terminate") => Self::Terminate,
            (INTERFACE, "Pause") => Self::Pause,
            (INTERFACE, "Resume") => Self::Resume,
            (INTERFACE, "Resize") => {
                Self::Resize { columns: parameters.characters("columns")?, rows: parameters.characters("rows")? }
            }
            (SERVICE | INTERFACE, _) => return Err(Refusal::MethodNotFound(method.to_owned())),
            _ => return Err(Refusal::InterfaceNotFound(interface.to_owned())),
        })
    }
}

fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The parameters of a call; those that nobody knows are passed over.
struct Parameters<'a>(&'a Map<String, Value>);

impl Parameters<'_> {
    /// Null is the same as absent.
    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    fn whom(&self) -> Result<Whom, Refusal> {
        let Some(value) = self.get("whom") else { return Ok(Whom::default()) };
        value.as_str().and_then(Whom::from_name).ok_or(Refusal::InvalidParameter("whom"))
    }

    fn signal(&self) -> Result<i32, Refusal> {
        let number = self.get("signal").and_then(Value::as_i64).filter(|number| (1..=LAST_SIGNAL).contains(number));
        number.and_then(|number| i32::try_from(number).ok()).ok_or(Refusal::InvalidParameter("signal"))
    }

    fn timeout(&self) -> Result<Option<Duration>, Refusal> {
        /// A year is as good as for ever, and can be added to any moment.
        const LONGEST: u64 = 365 * 24 * 60 * 60 * 1_000_000;
        let Some(value) = self.get("timeoutUSec") else { return Ok(None) };
        let time = value.as_u64().ok_or(Refusal::InvalidParameter("timeoutUSec"))?;
        Ok(Some(Duration::from_micros(time.min(LONGEST))))
    }

    fn characters(&self, name: &'static str) -> Result<u16, Refusal> {
        let number = self.get(name).and_then(Value::as_u64).and_then(|number| u16::try_from(number).ok());
        number.filter(|number| *number > 0).ok_or(Refusal::InvalidParameter(name))
    }
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Neither root nor the machine's owner.
    NotPermitted,
    /// There are too many connections.
    Busy,
    /// There is none to resize.
    NoConsole,
    /// Process 1 is this program, which cannot be asked for it.
    NoInit(String),
    /// It is about to end.
    Stopping,
    /// Why the host's kernel cannot do it.
    NotSupported(&'static str),
    /// The host's kernel refused.
    System {
        /// What.
        what: &'static str,
        /// Why.
        errno: Errno,
    },
    /// There is no such method.
    MethodNotFound(String),
    /// This parameter is missing or wrong.
    InvalidParameter(&'static str),
    /// There is no such interface.
    InterfaceNotFound(String),
}

impl Refusal {
    /// What it is on the wire: its name, and what belongs to it.
    #[must_use]
    pub fn written(&self) -> (String, Value) {
        let ours = |name: &str, parameters| (format!("{INTERFACE}.{name}"), parameters);
        let services = |name: &str, parameters| (format!("{SERVICE}.{name}"), parameters);
        match self {
            Self::NotPermitted => ours("NotPermitted", json!({})),
            Self::Busy => ours("Busy", json!({})),
            Self::NoConsole => ours("NoConsole", json!({})),
            Self::NoInit(program) => ours("NoInit", json!({ "program": program })),
            Self::Stopping => ours("Stopping", json!({})),
            Self::NotSupported(reason) => ours("NotSupported", json!({ "reason": reason })),
            Self::System { what, errno } => ours("SystemError", json!({ "what": what, "errno": errno.raw_os_error() })),
            Self::MethodNotFound(method) => services("MethodNotFound", json!({ "method": method })),
            Self::InvalidParameter(name) => services("InvalidParameter", json!({ "parameter": name })),
            Self::InterfaceNotFound(name) => services("InterfaceNotFound", json!({ "interface": name })),
        }
    }
}

/// A message that is no call: who sends such is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nonsense;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it asks for.
    pub call: Result<Call, Refusal>,
    /// It does not want to hear of it.
    pub oneway: bool,
}

impl Request {
    /// Reads a message without the NUL behind it.
    ///
    /// # Errors
    /// [`Nonsense`].
    pub fn parse(message: &[u8]) -> Result<Self, Nonsense> {
        let Ok(Value::Object(message)) = serde_json::from_slice(message) else { return Err(Nonsense) };
        let flag = |name| match message.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Nonsense),
        };
        let oneway = flag("oneway")?;
        // Each answer here is the only one; who would take more gets one.
        flag("more")?;
        let method = message.get("method").and_then(Value::as_str).ok_or(Nonsense)?;
        let none = Map::new();
        let parameters = match message.get("parameters") {
            None | Some(Value::Null) => &none,
            Some(Value::Object(parameters)) => parameters,
            Some(_) => return Err(Nonsense),
        };
        Ok(Self { call: Call::read(method, parameters), oneway })
    }
}

/// An answer as it is sent, with the NUL.
#[must_use]
pub fn answer(result: &Result<Value, Refusal>) -> Vec<u8> {
    let message = match result {
        Ok(parameters) => json!({ "parameters": parameters }),
        Err(refusal) => {
            let (name, parameters) = refusal.written();
            json!({ "error": name, "parameters": parameters })
        }
    };
    let mut text = message.to_string().into_bytes();
    text.push(0);
    text
}

/// What the service says of itself.
#[must_use]
pub fn info() -> Value {
    json!({
        "vendor": "redd",
        "product": "redd",
        "version": env!("CARGO_PKG_VERSION"),
        "url": "",
        "interfaces": [SERVICE, INTERFACE],
    })
}

/// An interface in Varlink's own language.
///
/// # Errors
/// [`Refusal::InterfaceNotFound`].
pub fn description(interface: &str) -> Result<Value, Refusal> {
    let text = match interface {
        SERVICE => SERVICE_DESCRIPTION,
        INTERFACE => DESCRIPTION,
        other => return Err(Refusal::InterfaceNotFound(other.to_owned())),
    };
    Ok(json!({ "description": text }))
}

#[cfg(test)]
mod tests;
