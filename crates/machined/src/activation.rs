//! How a service manager and this service talk: sockets that are passed (sd_listen_fds(3)), and what is told about ourselves
//! (sd_notify(3), sd_watchdog_enabled(3)).

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use crate::varlink::Face;

/// The directories and sockets of the faces.
const MACHINES: [&str; 2] = ["/run/systemd/machine/io.systemd.Machine", "/run/systemd/machine/io.systemd.MachineImage"];
const USERS: [&str; 1] = ["/run/systemd/userdb/io.systemd.Machine"];

/// Why there is no socket to serve.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Somebody else serves it.
    #[error("{0} is served by somebody else, perhaps by an upstream systemd-machined; stop that first")]
    Served(String),
    /// A step.
    #[error("cannot {what}")]
    System {
        /// Which.
        what: String,
        /// Why.
        source: std::io::Error,
    },
}

fn failed(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Error {
    let what = what.into();
    move |source| Error::System { what, source }
}

/// A socket, and what it offers.
pub(crate) type Socket = (UnixListener, Face);

/// The sockets that were passed to us, if any were.
///
/// # Errors
/// [`Error::System`] where they are not what was said.
pub(crate) fn passed() -> Result<Vec<Socket>, Error> {
    let variable = |name: &str| std::env::var(name).ok();
    let own = variable("LISTEN_PID").and_then(|pid| pid.parse::<u32>().ok()) == Some(std::process::id());
    let count = variable("LISTEN_FDS").and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
    if !own || count == 0 {
        return Ok(Vec::new());
    }
    let taken =
        sys::inherited::take(count).map_err(|errno| failed("take the sockets that were passed")(errno.into()))?;
    taken.into_iter().map(socket).collect()
}

/// What a passed socket offers, by where it is.
fn socket(fd: OwnedFd) -> Result<Socket, Error> {
    let listener = UnixListener::from(fd);
    let address = listener.local_addr().map_err(failed("look at a socket that was passed"))?;
    let users = address.as_pathname().and_then(Path::parent).is_some_and(|parent| parent.ends_with("userdb"));
    listener.set_nonblocking(true).map_err(failed("use a socket that was passed"))?;
    Ok((listener, if users { Face::Users } else { Face::Machines }))
}

/// The sockets that were not passed.
#[derive(Debug)]
pub(crate) struct Missing(Vec<(&'static str, Face)>);

impl Missing {
    /// Those that are not among these.
    pub(crate) fn beside(passed: &[Socket]) -> Self {
        let all = MACHINES.map(|path| (path, Face::Machines)).into_iter().chain(USERS.map(|path| (path, Face::Users)));
        Self(all.filter(|(path, _)| !are_at(passed, Path::new(path))).collect())
    }

    /// Makes them. Anybody may connect.
    ///
    /// # Errors
    /// [`Error::Served`], [`Error::System`].
    pub(crate) fn make(self) -> Result<Vec<Socket>, Error> {
        self.0.into_iter().map(|(path, face)| Ok((listen(path)?, face))).collect()
    }
}

/// Whether one of the sockets is there: at the path itself, or behind the link that a service manager has put there
/// (`Symlinks=` in systemd.socket(5)).
fn are_at(passed: &[Socket], path: &Path) -> bool {
    let places =
        passed.iter().filter_map(|(listener, _)| listener.local_addr().ok()?.as_pathname().map(Path::to_owned));
    let behind = path.canonicalize().ok();
    places.into_iter().any(|place| place == path || behind.is_some() && place.canonicalize().ok() == behind)
}

fn listen(path: &str) -> Result<UnixListener, Error> {
    let place = Path::new(path);
    if let Some(directory) = place.parent() {
        use std::os::unix::fs::DirBuilderExt;
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o755).create(directory);
        made.map_err(failed(format!("make {}", directory.display())))?;
    }
    if std::os::unix::net::UnixStream::connect(place).is_ok() {
        return Err(Error::Served(path.to_owned()));
    }
    match std::fs::remove_file(place) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(failed(format!("remove {path}"))(error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(place).map_err(failed(format!("listen at {path}")))?;
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    rustix::fs::chmod(place, mode).map_err(|errno| failed(format!("open {path} to everybody"))(errno.into()))?;
    listener.set_nonblocking(true).map_err(failed(format!("listen at {path}")))?;
    Ok(listener)
}

/// Tells the service manager, if one listens. That it does not hear is its own affair.
pub(crate) fn tell(words: &str) {
    if let Some(path) = std::env::var_os("NOTIFY_SOCKET") {
        let _ = notify(&path, words);
    }
}

fn notify(path: &OsStr, words: &str) -> rustix::io::Result<()> {
    let bytes = path.as_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None if bytes.starts_with(b"/") => SocketAddrUnix::new(bytes)?,
        None => return Err(Errno::INVAL),
    };
    sys::notify::send(sys::notify::unbound()?.as_fd(), &address, words.as_bytes(), &[])
}

/// How often the service manager wants to hear that we live: twice in the time that it waits.
pub(crate) fn watchdog() -> Option<Duration> {
    let variable = |name: &str| std::env::var(name).ok();
    let own = variable("WATCHDOG_PID").is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let time = variable("WATCHDOG_USEC")?.parse::<u64>().ok().filter(|time| *time > 1)?;
    own.then(|| Duration::from_micros(time / 2))
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::SocketAddr;

    use super::*;

    #[test]
    fn what_a_passed_socket_offers() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("userdb")).unwrap();
        let at = |path: &str| socket(UnixListener::bind(directory.path().join(path)).unwrap().into()).unwrap().1;
        assert_eq!(at("io.systemd.Machine"), Face::Machines);
        assert_eq!(at("userdb/io.systemd.Machine"), Face::Users);
        let unnamed = SocketAddr::from_abstract_name(format!("machined-test-{}", std::process::id())).unwrap();
        let listener = UnixListener::bind_addr(&unnamed).unwrap();
        assert_eq!(socket(listener.into()).unwrap().1, Face::Machines);
    }

    #[test]
    fn a_link_to_a_passed_socket_is_that_socket() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let passed = [(UnixListener::bind(at("one")).unwrap(), Face::Machines)];
        std::os::unix::fs::symlink("one", at("link")).unwrap();
        std::os::unix::fs::symlink("nothing", at("dangling")).unwrap();
        let other = UnixListener::bind(at("other")).unwrap();
        assert!(are_at(&passed, &at("one")) && are_at(&passed, &at("link")));
        assert!(["dangling", "other", "missing"].iter().all(|name| !are_at(&passed, &at(name))));
        drop(other);
    }

    #[test]
    fn a_socket_that_is_served_stays() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("there/socket");
        let path = path.to_str().unwrap();
        let served = listen(path).unwrap();
        assert!(matches!(listen(path), Err(Error::Served(_))));
        drop(served);
        assert!(listen(path).is_ok(), "what the dead have left is replaced");
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o666);
    }
}
