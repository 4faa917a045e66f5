//! Ranges of ids that `systemd-nsresourced` gives (`--private-users=managed`).
//!
//! The service writes the map of a user namespace that it is shown, and knows the range as taken until that namespace is
//! gone. Here that is one that no process is in; the container's own has the same map.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use bus::varlink::{self, Client};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use serde_json::json;
use spec::UidRange;

use crate::stage::files::Failure;
use crate::stage::id_map;

/// Where the service listens.
pub const SOCKET: &str = "/run/systemd/io.systemd.NamespaceResource";

/// Why there is no range.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no service.
    #[error(
        "systemd-nsresourced, which --private-users=managed needs, does not listen at {path}; start \
         systemd-nsresourced.socket, or use --private-users=pick",
        path = .path.display()
    )]
    NoService {
        /// Its socket.
        path: PathBuf,
        /// Why.
        source: varlink::Error,
    },
    /// The kernel lacks what it needs.
    #[error(
        "systemd-nsresourced cannot give ranges of ids on this host, whose kernel lets it load no BPF program; use \
         --private-users=pick"
    )]
    NotSupported(#[source] varlink::Error),
    /// It said no.
    #[error("systemd-nsresourced gives no range of ids; use --private-users=pick")]
    Refused(#[source] varlink::Error),
    /// It has given none after all.
    #[error("systemd-nsresourced has given {0:?} in place of a range of 65536 ids")]
    Map(String),
    /// A namespace.
    #[error("cannot make a user namespace for systemd-nsresourced")]
    Namespace(#[source] Errno),
}

/// A range that is the container's as long as this lives.
#[derive(Debug)]
pub struct Managed {
    start: u32,
    _users: OwnedFd,
}

impl Managed {
    /// Asks for a range in the machine's name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn allocate(socket: &Path, machine: &str) -> Result<Self, Error> {
        let no_service = |source| Error::NoService { path: socket.to_owned(), source };
        let client = Client::connect(socket).map_err(no_service)?;
        let asked = id_map::in_new_namespace(|process| Ok(ask(&client, process, machine)));
        asked.map_err(|Failure { errno, .. }| Error::Namespace(errno))?
    }

    /// The first id.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.start
    }
}

fn ask(client: &Client, process: &OwnedFd, machine: &str) -> Result<Managed, Error> {
    let users =
        openat(process, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(Error::Namespace)?;
    let parameters = json!({
        "name": machine,
        "mangleName": true,
        "size": UidRange::USUAL_COUNT,
        "target": 0,
        "userNamespaceFileDescriptor": 0,
    });
    let answer = client.call("io.systemd.NamespaceResource.AllocateUserRange", parameters, &[users.as_fd()]);
    match answer {
        Ok(_) => {}
        Err(error @ varlink::Error::Call { .. }) if is_not_supported(&error) => return Err(Error::NotSupported(error)),
        Err(error) => return Err(Error::Refused(error)),
    }
    let map = openat(process, "uid_map", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(Error::Namespace)?;
    let mut text = [0; 512];
    let length = rustix::io::read(&map, &mut text).map_err(Error::Namespace)?;
    let text = String::from_utf8_lossy(&text[..length]);
    Ok(Managed { start: start_of(&text)?, _users: users })
}

fn is_not_supported(error: &varlink::Error) -> bool {
    matches!(error, varlink::Error::Call { name, .. } if name.ends_with(".UserNamespaceInterfaceNotSupported"))
}

/// The first id outside of a map of one whole range.
fn start_of(map: &str) -> Result<u32, Error> {
    let words: Vec<u32> = map.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match words[..] {
        [0, start, UidRange::USUAL_COUNT] if start > 0 => Ok(start),
        _ => Err(Error::Map(map.trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_one_whole_range() {
        assert_eq!(start_of("         0     655360      65536\n").unwrap(), 655_360);
        for map in ["", "0 655360 1\n", "5 655360 65536\n", "0 0 65536", "0 655360 65536\n1 2 3\n", "0 0 4294967295"] {
            assert!(matches!(start_of(map), Err(Error::Map(_))), "{map}");
        }
    }

    #[test]
    fn no_service_is_told_by_its_socket() {
        let error = Managed::allocate(Path::new("/nonexistent/socket"), "m").unwrap_err();
        assert!(matches!(&error, Error::NoService { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/socket") && error.to_string().contains("pick"), "{error}");
    }
}
