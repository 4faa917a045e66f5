//! Who may do what: root everything; others what polkit permits them, by the names of actions that systemd-machined has.
//! Where there is no polkit, nothing.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bus::{Call, Connection, Value, Writer};

use super::Error;

/// The system bus.
const BUS: &str = "/run/dbus/system_bus_socket";
/// How long polkit may take to answer.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long a person may take to answer.
const PATIENCE_WITH_PEOPLE: Duration = Duration::from_secs(300);
/// How many callers may wait for polkit at once: each of them keeps a thread from others.
const WAITING: usize = 24;
/// How many do.
static WAIT: AtomicUsize = AtomicUsize::new(0);

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A process at the other end of a socket.
    Process {
        /// Its number; 0 where it has none here.
        pid: i32,
        /// When it started, in clock ticks since the host did: another one may have its number by now.
        start_time: u64,
        /// Its user.
        uid: u32,
    },
    /// A connection to the system bus.
    Bus {
        /// Its unique name.
        name: String,
        /// The process behind it, as the bus says.
        pid: i32,
        /// Its user, as the bus says.
        uid: u32,
    },
}

impl Caller {
    /// The process at the other end of a socket, by its credentials.
    #[must_use]
    pub fn of_peer(peer: sys::peer::Peer) -> Self {
        Self::Process { pid: peer.pid, start_time: start_time(peer.pid).unwrap_or(0), uid: peer.uid }
    }

    /// Its user.
    #[must_use]
    pub fn uid(&self) -> u32 {
        match self {
            Self::Process { uid, .. } | Self::Bus { uid, .. } => *uid,
        }
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        match self {
            Self::Process { pid, .. } | Self::Bus { pid, .. } => *pid,
        }
    }

    /// The kind of polkit's subject, and what describes it.
    fn subject(&self) -> (&'static str, Vec<(&'static str, Value)>) {
        match self {
            Self::Process { pid, start_time, uid } => (
                "unix-process",
                vec![
                    ("pid", Value::U32(pid.unsigned_abs())),
                    ("start-time", Value::U64(*start_time)),
                    ("uid", Value::I32(uid.cast_signed())),
                ],
            ),
            Self::Bus { name, .. } => ("system-bus-name", vec![("name", Value::String(name.clone()))]),
        }
    }
}

/// The 22nd field of `/proc/PID/stat`, see proc_pid_stat(5).
fn start_time(pid: i32) -> Option<u64> {
    let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let behind_name = text.iter().rposition(|byte| *byte == b')')? + 1;
    std::str::from_utf8(&text[behind_name..]).ok()?.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The names of polkit's actions.
pub mod action {
    /// A login prompt in a machine.
    pub const LOGIN: &str = "org.freedesktop.machine1.login";
    /// One on the host.
    pub const HOST_LOGIN: &str = "org.freedesktop.machine1.host-login";
    /// A shell in a machine.
    pub const SHELL: &str = "org.freedesktop.machine1.shell";
    /// One on the host.
    pub const HOST_SHELL: &str = "org.freedesktop.machine1.host-shell";
    /// A terminal of a machine.
    pub const OPEN_PTY: &str = "org.freedesktop.machine1.open-pty";
    /// One of the host.
    pub const HOST_OPEN_PTY: &str = "org.freedesktop.machine1.host-open-pty";
    /// Steering machines, and reaching into their files.
    pub const MANAGE_MACHINES: &str = "org.freedesktop.machine1.manage-machines";
    /// Changing images.
    pub const MANAGE_IMAGES: &str = "org.freedesktop.machine1.manage-images";
    /// Registering a machine that gets a unit.
    pub const CREATE_MACHINE: &str = "org.freedesktop.machine1.create-machine";
    /// Registering a machine that has one.
    pub const REGISTER_MACHINE: &str = "org.freedesktop.machine1.register-machine";
}

/// Lets the caller pass, or not. Waits for polkit, and where `interactive` for a person as well.
///
/// # Errors
/// [`Error::NotPermitted`], [`Error::Interactive`] where a person could permit it.
pub fn check(caller: &Caller, action: &'static str, interactive: bool, details: &[(&str, &str)]) -> Result<(), Error> {
    if caller.uid() == 0 {
        return Ok(());
    }
    let before = WAIT.fetch_add(1, Ordering::Relaxed);
    // Too many wait already: nobody is asked, and nobody who needs no permission waits.
    let answer = (before < WAITING).then(|| ask(caller, action, interactive, details));
    WAIT.fetch_sub(1, Ordering::Relaxed);
    let Some(answer) = answer else { return Err(Error::NotPermitted(action)) };
    match answer {
        Ok((true, _)) => Ok(()),
        Ok((false, true)) if !interactive => Err(Error::Interactive(action)),
        // No polkit, no permission; what it says when it cannot say anything is no permission, either.
        Ok((false, _)) | Err(_) => Err(Error::NotPermitted(action)),
    }
}

/// `CheckAuthorization` of `org.freedesktop.PolicyKit1.Authority`: whether it is permitted, and whether a person could do so.
fn ask(caller: &Caller, action: &str, interactive: bool, details: &[(&str, &str)]) -> Result<(bool, bool), bus::Error> {
    let mut connection = Connection::open_bus(Path::new(BUS))?;
    connection = connection.patient_for(if interactive { PATIENCE_WITH_PEOPLE } else { PATIENCE });
    let (kind, description) = caller.subject();
    let mut body = Writer::default();
    body.structure();
    body.string(kind);
    body.properties(&description);
    body.string(action);
    body.array(8, |array| {
        for (name, value) in details {
            array.structure();
            array.string(name);
            array.string(value);
        }
    });
    body.u32(u32::from(interactive));
    // Nobody takes the question back.
    body.string("");
    let call = Call {
        destination: "org.freedesktop.PolicyKit1",
        path: "/org/freedesktop/PolicyKit1/Authority",
        interface: "org.freedesktop.PolicyKit1.Authority",
        member: "CheckAuthorization",
        signature: "(sa{sv})sa{ss}us",
    };
    let answer = connection.call(&call, body)?;
    if answer.signature != "(bba{ss})" {
        return Err(bus::Malformed("an answer of the wrong type").into());
    }
    let mut body = answer.body();
    Ok((body.u32()? == 1, body.u32()? == 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_may_and_without_polkit_nobody_else() {
        let process = |uid| Caller::Process { pid: 1, start_time: 0, uid };
        assert!(check(&process(0), action::MANAGE_MACHINES, false, &[]).is_ok());
        if !Path::new(BUS).exists() {
            let refused = check(&process(65533), action::MANAGE_MACHINES, true, &[]);
            assert!(matches!(refused, Err(Error::NotPermitted(action::MANAGE_MACHINES))));
        }
    }

    #[test]
    fn polkit_is_not_waited_for_by_everybody() {
        let caller = Caller::Process { pid: 1, start_time: 0, uid: 65533 };
        WAIT.fetch_add(WAITING, Ordering::Relaxed);
        let refused = check(&caller, action::MANAGE_IMAGES, true, &[]);
        WAIT.fetch_sub(WAITING, Ordering::Relaxed);
        assert!(matches!(refused, Err(Error::NotPermitted(action::MANAGE_IMAGES))));
    }

    #[test]
    fn a_process_is_known_by_when_it_started() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let caller = Caller::of_peer(sys::peer::Peer { pid, uid: 7 });
        assert!(matches!(caller, Caller::Process { start_time: 1.., .. }));
        assert_eq!((caller.pid(), caller.uid()), (pid, 7));
    }
}
