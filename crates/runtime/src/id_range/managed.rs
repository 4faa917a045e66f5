//! Ranges of ids that `systemd-nsresourced` gives (`--private-users=managed`).
//!
//! The service writes the map of a user namespace that it is shown, and knows the range as taken until that namespace is
//! gone. The container joins it: to what runs in it the service gives ranges for containers inside, and to no other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use bus::varlink::{self, Client};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use serde_json::json;
use spec::UidRange;

use crate::stage::files::Failure;
use crate::stage::id_map;

/// Where services of systemd listen.
pub const PLACE: &str = "/run/systemd";
/// The socket of this one.
pub const SOCKET: &str = "io.systemd.NamespaceResource";
/// The socket of the one that mounts file systems for containers without privileges.
const MOUNTS: &str = "io.systemd.MountFileSystem";
/// How many ids a range has.
const COUNT: u32 = UidRange::USUAL_COUNT;

/// What containers inside need the host's sockets of, as far as it has them.
#[must_use]
pub fn sockets() -> Vec<String> {
    let is_there = |name: &&str| rustix::fs::access(Path::new(PLACE).join(name), rustix::fs::Access::EXISTS).is_ok();
    [SOCKET, MOUNTS].into_iter().filter(is_there).map(str::to_owned).collect()
}

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
    #[error(
        "systemd-nsresourced has given {map:?} in place of ranges of 65536 ids, of which {delegated} are passed on"
    )]
    Map {
        /// What it has given.
        map: String,
        /// How many further ones were asked for.
        delegated: u32,
    },
    /// A namespace.
    #[error("cannot make a user namespace for systemd-nsresourced")]
    Namespace(#[source] Errno),
}

/// A range that is the container's as long as this lives.
#[derive(Debug)]
pub struct Managed {
    start: u32,
    delegated: Vec<u32>,
    users: OwnedFd,
}

impl Managed {
    /// Asks for a range in the machine's name, and for further ones for containers inside.
    ///
    /// # Errors
    /// [`Error`].
    pub fn allocate(socket: &Path, machine: &str, delegate: u32) -> Result<Self, Error> {
        let no_service = |source| Error::NoService { path: socket.to_owned(), source };
        let client = Client::connect(socket).map_err(no_service)?;
        let asked = id_map::in_new_namespace(|process| Ok(ask(&client, process, machine, delegate)));
        asked.map_err(|Failure { errno, .. }| Error::Namespace(errno))?
    }

    /// The first id.
    #[must_use]
    pub fn start(&self) -> u32 {
        self.start
    }

    /// The first ids of the ranges for containers inside.
    #[must_use]
    pub fn delegated(&self) -> &[u32] {
        &self.delegated
    }

    /// The user namespace that has them.
    #[must_use]
    pub fn users(&self) -> BorrowedFd<'_> {
        self.users.as_fd()
    }
}

fn ask(client: &Client, process: &OwnedFd, machine: &str, delegate: u32) -> Result<Managed, Error> {
    let users =
        openat(process, "ns/user", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(Error::Namespace)?;
    let mut parameters = json!({
        "name": machine,
        "mangleName": true,
        "size": COUNT,
        "target": 0,
        "userNamespaceFileDescriptor": 0,
    });
    // Services before version 260 know no such parameter, and refuse every call that has it.
    if delegate > 0 {
        parameters["delegateContainerRanges"] = delegate.into();
    }
    let answer = client.call("io.systemd.NamespaceResource.AllocateUserRange", parameters, &[users.as_fd()]);
    match answer {
        Ok(_) => {}
        Err(error @ varlink::Error::Call { .. }) if is_not_supported(&error) => return Err(Error::NotSupported(error)),
        Err(error) => return Err(Error::Refused(error)),
    }
    let map = openat(process, "uid_map", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(Error::Namespace)?;
    let mut text = [0; 4096];
    let length = rustix::io::read(&map, &mut text).map_err(Error::Namespace)?;
    let text = String::from_utf8_lossy(&text[..length]);
    let (start, delegated) = ranges_of(&text, delegate)?;
    Ok(Managed { start, delegated, users })
}

fn is_not_supported(error: &varlink::Error) -> bool {
    matches!(error, varlink::Error::Call { name, .. } if name.ends_with(".UserNamespaceInterfaceNotSupported"))
}

/// The first id outside of the whole range that begins at 0 inside, and those of the others, which are the same inside.
fn ranges_of(map: &str, delegate: u32) -> Result<(u32, Vec<u32>), Error> {
    let wrong = || Error::Map { map: map.trim().to_owned(), delegated: delegate };
    let (mut own, mut delegated) = (None, Vec::new());
    for line in map.lines() {
        let words: Vec<u32> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        match words[..] {
            [0, start, COUNT] if start > 0 && own.is_none() => own = Some(start),
            // The kernel makes one line of neighbours where whoever wrote them has.
            [inside, outside, count] if inside == outside && count >= COUNT && count.is_multiple_of(COUNT) => {
                delegated.extend((0..count / COUNT).map(|number| inside + number * COUNT));
            }
            _ => return Err(wrong()),
        }
    }
    match own {
        Some(start) if delegated.len() == delegate as usize => Ok((start, delegated)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_whole_ranges() {
        assert_eq!(ranges_of("         0     655360      65536\n", 0).unwrap(), (655_360, vec![]));
        let two = "0 655360 65536\n 720896 720896 65536\n 1310720 1310720 65536\n";
        assert_eq!(ranges_of(two, 2).unwrap(), (655_360, vec![720_896, 1_310_720]));
        let neighbours = "720896 720896 131072\n0 655360 65536\n";
        assert_eq!(ranges_of(neighbours, 2).unwrap(), (655_360, vec![720_896, 786_432]));
        for (map, count) in [
            ("", 0),
            ("0 655360 1\n", 0),
            ("5 655360 65536\n", 0),
            ("0 0 65536", 0),
            ("0 655360 65536\n1 2 3\n", 0),
            ("0 0 4294967295", 0),
            (two, 0),
            (two, 3),
            ("720896 720896 65536\n", 1),
            ("0 655360 65536\n720896 786432 65536\n", 1),
            ("0 655360 65536\n0 720896 65536\n", 1),
            ("0 655360 65536\n720896 720896 65537\n", 1),
        ] {
            assert!(matches!(ranges_of(map, count), Err(Error::Map { .. })), "{map}");
        }
    }

    #[test]
    fn no_service_is_told_by_its_socket() {
        let error = Managed::allocate(Path::new("/nonexistent/socket"), "m", 0).unwrap_err();
        assert!(matches!(&error, Error::NoService { .. }), "{error}");
        assert!(error.to_string().contains("/nonexistent/socket") && error.to_string().contains("pick"), "{error}");
    }
}
