//! What is seen of a machine from outside: its addresses, its operating system, its files.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use machine::addresses::{self, Address};
use machine::machines::HOST;
use machine::os_release::OsRelease;
use machine::state::{Class, State};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

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

/// Files of the host in a machine.
#[derive(Clone, Debug)]
pub struct Bind {
    /// The path on the host.
    pub source: String,
    /// The path inside; the same where absent.
    pub destination: Option<String>,
    /// Nothing can be written through it.
    pub read_only: bool,
    /// Make what is missing of the destination.
    pub make_destination: bool,
}

impl Service {
    /// Its addresses, those that reach furthest first.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines, [`Error::NoPrivateNetworking`].
    pub fn addresses(&self, state: &State) -> Result<Vec<Address>, Error> {
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
        let read = match state.class {
            Class::Host => OsRelease::of_host(),
            Class::Vm => return Err(container_only(state, "reading the operating system")),
            Class::Container => OsRelease::of_machine(&state.leader),
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

    /// Shows files of the host in a machine. Entering it takes a process with one thread: that is redd under another name.
    ///
    /// # Errors
    /// [`Error::NotSupported`] for virtual machines and the host, [`Error::Worker`] with redd's words.
    pub fn bind(&self, state: &State, bind: &Bind) -> Result<(), Error> {
        if state.class != Class::Container {
            return Err(container_only(state, "binding files"));
        }
        let destination = bind.destination.as_deref().unwrap_or(&bind.source);
        for (parameter, path) in [("source", bind.source.as_str()), ("destination", destination)] {
            if !path.starts_with('/') || path.contains('\0') {
                return Err(Error::Invalid { parameter, why: format!("{path:?} is no absolute path") });
            }
        }
        let mut arguments = vec!["bind"];
        arguments.extend(bind.read_only.then_some("--read-only"));
        arguments.extend(bind.make_destination.then_some("--mkdir"));
        arguments.extend(["--", &state.name, &bind.source, destination]);
        run(&arguments)
    }
}

fn container_only(state: &State, what: &'static str) -> Error {
    let why = if state.name == HOST { "it is this host itself" } else { "only containers have it" };
    Error::NotSupported { machine: state.name.clone(), what, why: why.to_owned() }
}

/// Runs a verb of redd's.
fn run(arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("/proc/self/exe");
    std::os::unix::process::CommandExt::arg0(&mut command, "redd");
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let failed = |error: std::io::Error| Error::System {
        what: format!("run redd {}", arguments[0]),
        source: Errno::from_io_error(&error).unwrap_or(Errno::IO),
    };
    let output = output.map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().next().unwrap_or("it has ended without a word");
    Err(Error::Worker(line.strip_prefix("redd: ").unwrap_or(line).to_owned()))
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
        let bind = Bind { source: "/etc".to_owned(), destination: None, read_only: true, make_destination: false };
        assert!(matches!(service.bind(&host, &bind), Err(Error::NotSupported { .. })));
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
