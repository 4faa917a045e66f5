//! A unit of its own for a process that opens logins and shells, where this service is one of systemd's.
//!
//! What is started in a machine is to have what the machine's processes have. The unit of this service has less (capabilities, families of
//! sockets, no new privileges), which nobody gets back, and ends all that is in it with the service. So the host's service manager starts
//! our own program once more, and that connects to a socket which root alone can reach.

use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use bus::{Connection, Value, Writer};
use machine::manager::manages_host;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Error;
use super::errand::{OPTION, errno};

/// The service manager's own socket.
const MANAGER: &str = "/run/systemd/private";
/// Where our sockets are.
const DIRECTORY: &str = "/run/redd/errands";
/// What systemd tells each service that it starts.
const INVOCATION: &str = "INVOCATION_ID";
/// How long our program may take to connect.
const PATIENCE: Timespec = Timespec { tv_sec: 25, tv_nsec: 0 };

/// A unit that runs.
#[derive(Debug)]
pub(super) struct Unit(String);

/// A socket that goes with the value.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // Somebody may have tidied up.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Whether we are in a unit of systemd's.
pub(super) fn are_in_one() -> bool {
    std::env::var_os(INVOCATION).is_some() && manages_host()
}

impl Unit {
    /// Starts our program for something that concerns this machine: the unit, and what it is talked to by.
    pub(super) fn start(machine: &str) -> Result<(Self, UnixStream), Error> {
        let failed =
            |what: &str, source| Error::System { what: format!("{what} a process that enters the machine"), source };
        let id = uuid::Uuid::new_v4().as_simple().to_string();
        let socket = Socket(Path::new(DIRECTORY).join(&id));
        let listener = listen(&socket.0).map_err(|error| failed("wait for", errno(&error)))?;
        let unit = Self(format!("redd-errand-{id}.service"));
        unit.ask(machine, &socket.0)?;
        let connected = || -> rustix::io::Result<UnixStream> {
            let mut ready = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
            if rustix::io::retry_on_intr(|| poll(&mut ready, Some(&PATIENCE)))? == 0 {
                return Err(Errno::TIMEDOUT);
            }
            let (stream, _) = listener.accept().map_err(|error| errno(&error))?;
            // Nobody else gets as far as here; it costs nothing to look.
            if sys::peer::of(stream.as_fd())?.uid == 0 { Ok(stream) } else { Err(Errno::ACCESS) }
        };
        match connected() {
            Ok(stream) => Ok((unit, stream)),
            Err(source) => {
                unit.stop();
                Err(failed("hear of", source))
            }
        }
    }

    fn ask(&self, machine: &str, socket: &Path) -> Result<(), Error> {
        let failed = |error: bus::Error| Error::Errand {
            text: format!("the service manager does not start {}: {}", self.0, crate::log::chain(&error)),
            errno: Errno::IO,
        };
        let program = std::env::current_exe()
            .map_err(|error| Error::System { what: "find our own program".to_owned(), source: errno(&error) })?;
        // What was replaced meanwhile has its successor at the same place.
        let program = program.to_string_lossy().trim_end_matches(" (deleted)").to_owned();
        let words = ["systemd-machined", OPTION, &socket.to_string_lossy()].map(str::to_owned).to_vec();
        let text = |value: &str| Value::String(value.to_owned());
        let properties = [
            ("Description", Value::String(format!("Terminal of Machine {machine} (redd)"))),
            ("Type", text("exec")),
            ("CollectMode", text("inactive-or-failed")),
            ("ExecStart", Value::Commands(vec![(program, words, false)])),
        ];
        let mut body = Writer::default();
        body.string(&self.0);
        body.string("fail");
        body.properties(&properties);
        // No further units.
        body.array(8, |_| {});
        let mut connection = Connection::open(Path::new(MANAGER)).map_err(failed)?;
        let asked = bus::manager::object(&mut connection, "StartTransientUnit", "ssa(sv)a(sa(sv))", body);
        let result = asked.and_then(|job| bus::manager::result_of(&mut connection, &job)).map_err(failed)?;
        match result.as_str() {
            "done" => Ok(()),
            other => {
                let text = format!("the service manager could not start {}: {other}", self.0);
                Err(Error::Errand { text, errno: Errno::IO })
            }
        }
    }

    /// Ends it, and all that depends on its process.
    pub(super) fn stop(&self) {
        let mut body = Writer::default();
        [self.0.as_str(), "replace"].iter().for_each(|word| body.string(word));
        let stopped = Connection::open(Path::new(MANAGER))
            .and_then(|mut connection| bus::manager::call(&mut connection, "StopUnit", "ss", body));
        match stopped {
            // It is gone already.
            Ok(_) | Err(bus::Error::Call { .. }) => {}
            Err(error) => crate::log::warn(&error),
        }
    }
}

/// Listens where root alone can connect.
fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    let directory = Path::new(DIRECTORY);
    match std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700))?;
    UnixListener::bind(socket)
}

/// Has whoever waits at this socket take the place of standard input, as for a process that was started directly.
pub(super) fn connect(socket: &Path) -> std::io::Result<()> {
    let stream = UnixStream::connect(socket)?;
    Ok(rustix::stdio::dup2_stdin(&stream)?)
}
