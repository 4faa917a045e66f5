//! What is seen of a machine from outside: its addresses, its operating system, its files.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use machine::addresses::{self, Address};
use machine::control::Client;
use machine::machines::HOST;
use machine::os_release::OsRelease;
use machine::state::{Class, State};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::errand::{self, Errand};
use super::machines::has_own_network;
use super::{Error, Service};

/// The numbers of the address families, see address_families(7).
const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

/// The family of an address, and its bytes.
#[must_use]
pub fn bytes_of(address: IpAddr) -> (i32, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

/// Files of the host or a machine that are to be had in the other.
#[derive(Clone, Debug)]
pub struct Files {
    /// The path where they are.
    pub source: String,
    /// The path where they are to be; the same where absent.
    pub destination: Option<String>,
}

impl Service {
    /// What is known of a machine as soon as its program runs. Before that, its first process may have the host's mounts, users
    /// and network, which are not the machine's.
    pub(super) fn settled(&self, state: &State) -> Result<State, Error> {
        if !state.supervised {
            return Ok(state.clone());
        }
        let described = Client::of(&self.registry.find(&state.name)?).describe()?;
        Ok(described.map_or_else(|| state.clone(), |described| described.state))
    }

    /// Its addresses, those that reach furthest first.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines, [`Error::NoPrivateNetworking`].
    pub fn addresses(&self, state: &State) -> Result<Vec<Address>, Error> {
        let state = &self.settled(state)?;
        let failed = || Error::system(format!("read the addresses of {}", state.name));
        match state.class {
            Class::Host => addresses::of_host().map_err(failed()),
            Class::Vm => Err(container_only(state, "reading the addresses")),
            Class::Container if !has_own_network(state.leader.pid) => {
                Err(Error::NoPrivateNetworking(state.name.clone()))
            }
            Class::Container => {
                let found = addresses::of_machines(&[&state.leader]).pop().unwrap_or(Err(Errno::SRCH));
                found.map_err(failed())
            }
        }
    }

    /// What its os-release(5) says.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines, [`Error::NoOsRelease`].
    pub fn os_release(&self, state: &State) -> Result<OsRelease, Error> {
        let state = &self.settled(state)?;
        let read = match state.class {
            Class::Host => OsRelease::of_host(),
            Class::Vm => return Err(container_only(state, "reading the operating system")),
            Class::Container => OsRelease::of_machine(state),
        };
        read.map_err(|errno| match errno {
            Errno::NOENT => Error::NoOsRelease(state.name.clone()),
            source => Error::System { what: format!("read the os-release file of {}", state.name), source },
        })
    }

    /// How to reach its SSH server, and the key for that.
    ///
    /// # Errors
    /// [`Error::NotAvailable`].
    pub fn ssh(&self, state: &State) -> Result<(String, String), Error> {
        match (&state.ssh_address, &state.ssh_private_key_path) {
            (Some(address), Some(key)) => Ok((address.clone(), key.clone())),
            _ => Err(Error::NotAvailable { machine: state.name.clone(), what: "how to reach the SSH server" }),
        }
    }

    /// Its root directory, for the host's root or whom root permits it.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines, [`Error::NoSuchMachine`] if it has just ended.
    pub fn root_directory(&self, state: &State) -> Result<OwnedFd, Error> {
        let state = &self.settled(state)?;
        let path = match state.class {
            Class::Host => "/".to_owned(),
            Class::Vm => return Err(container_only(state, "opening the root directory")),
            Class::Container => format!("/proc/{}/root", state.leader.pid),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(CWD, path, flags, Mode::empty())
            .map_err(Error::system(format!("open the root directory of {}", state.name)))?;
        // Looked at after it was opened: the number is the leader's then, too.
        if state.class != Class::Host && !state.leader.lives() {
            return Err(Error::NoSuchMachine(state.name.clone()));
        }
        Ok(opened)
    }

    /// Shows files of the host in a machine; `read_only` so that nothing can be written through it. With `make_destination` what
    /// is missing of the destination is made.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines and the host, [`Error::Invalid`], [`Error::Errand`].
    pub fn bind(&self, state: &State, files: Files, read_only: bool, make_destination: bool) -> Result<(), Error> {
        let (source, destination) = paths(state, files, "binding files")?;
        let bind = machine::bind::Bind { source, destination, read_only, make_destination };
        errand::run(&state.name, &Errand::Bind(bind))
    }

    /// Copies files of the host into a machine; `replace` those that are there.
    ///
    /// # Errors
    /// As [`Service::bind`].
    pub fn copy_to(&self, state: &State, files: Files, replace: bool) -> Result<(), Error> {
        let (source, destination) = paths(state, files, "copying files")?;
        errand::run(&state.name, &Errand::CopyTo(machine::transfer::Copy { source, destination, replace }))
    }

    /// Copies files of a machine to the host; `replace` those that are there.
    ///
    /// # Errors
    /// As [`Service::bind`].
    pub fn copy_from(&self, state: &State, files: Files, replace: bool) -> Result<(), Error> {
        let (source, destination) = paths(state, files, "copying files")?;
        errand::run(&state.name, &Errand::CopyFrom(machine::transfer::Copy { source, destination, replace }))
    }
}

/// The paths of both sides. Whoever asks may be anywhere: only whole paths mean something.
fn paths(state: &State, files: Files, what: &'static str) -> Result<(PathBuf, PathBuf), Error> {
    if state.class != Class::Container {
        return Err(container_only(state, what));
    }
    let destination = files.destination.unwrap_or_else(|| files.source.clone());
    for (parameter, path) in [("source", &files.source), ("destination", &destination)] {
        if !path.starts_with('/') || path.contains('\0') {
            return Err(Error::Invalid { parameter, why: format!("{path:?} is no absolute path") });
        }
    }
    Ok((files.source.into(), destination.into()))
}

pub(super) fn container_only(state: &State, what: &'static str) -> Error {
    let why = if state.name == HOST { "it is this host itself" } else { "only containers have it" };
    Error::NotSupported { machine: state.name.clone(), what, why: why.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_looked_at_directly() {
        let service = Service::system();
        let host = machine::machines::host();
        assert!(service.addresses(&host).is_ok());
        assert!(service.root_directory(&host).is_ok());
        assert!(matches!(service.ssh(&host), Err(Error::NotAvailable { .. })));
        let files = || Files { source: "/etc".to_owned(), destination: None };
        assert!(matches!(service.bind(&host, files(), true, false), Err(Error::NotSupported { .. })));
        assert!(matches!(service.copy_to(&host, files(), false), Err(Error::NotSupported { .. })));
        assert!(matches!(service.copy_from(&host, files(), false), Err(Error::NotSupported { .. })));
    }

    #[test]
    fn of_virtual_machines_nothing_is_seen() {
        let service = Service::system();
        let vm = State { name: "vm".to_owned(), class: Class::Vm, ..machine::machines::host() };
        assert!(matches!(service.addresses(&vm), Err(Error::NotSupported { .. })));
        assert!(matches!(service.os_release(&vm), Err(Error::NotSupported { .. })));
        assert!(matches!(service.root_directory(&vm), Err(Error::NotSupported { .. })));
    }
}
