//! The Varlink face: `io.systemd.Machine` and `io.systemd.MachineImage`, user and group records of machines
//! (`io.systemd.UserDatabase`), and what every service of systemd has (`io.systemd.service`, `org.varlink.service`).
//!
//! The server is a small one of our own on tokio: descriptions of interfaces are given out as the text that they are kept in,
//! descriptors go with answers, the length of a message and the number of connections have a limit for each user, and an
//! unknown or wrong parameter is answered by its name. Libraries that make all of this from types of the program (zlink) write
//! the descriptions anew in a form of their own, and leave limits to who uses them.
//!
//! | module | holds |
//! |---|---|
//! | `server` | sockets and connections |
//! | `framing` | messages of one connection |
//! | `parameters` | what comes with a call |
//! | `machines`, `images`, `users`, `service` | the interfaces |

mod framing;
mod images;
mod machines;
mod parameters;
mod server;
mod service;
mod users;

use std::os::fd::OwnedFd;

use serde_json::{Map, Value, json};

use crate::service::{Caller, Error, Service};
use parameters::Parameters;

pub use server::{Connections, answers, serve};

/// What a socket offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Machines and images.
    Machines,
    /// Records of users and groups.
    Users,
}

/// An interface: its name, its text, and what carries out its methods.
struct Interface {
    name: &'static str,
    description: &'static str,
    call: fn(&Call<'_>, &str, Parameters) -> Result<Reply, Refusal>,
}

const MACHINES: Interface = Interface {
    name: "io.systemd.Machine",
    description: include_str!("../../interfaces/io.systemd.Machine.varlink"),
    call: machines::call,
};
const IMAGES: Interface = Interface {
    name: "io.systemd.MachineImage",
    description: include_str!("../../interfaces/io.systemd.MachineImage.varlink"),
    call: images::call,
};
const USERS: Interface = Interface {
    name: "io.systemd.UserDatabase",
    description: include_str!("../../interfaces/io.systemd.UserDatabase.varlink"),
    call: users::call,
};
const DAEMON: Interface = Interface {
    name: "io.systemd.service",
    description: include_str!("../../interfaces/io.systemd.service.varlink"),
    call: service::daemon,
};
const VARLINK: Interface = Interface {
    name: "org.varlink.service",
    description: include_str!("../../interfaces/org.varlink.service.varlink"),
    call: service::varlink,
};

impl Face {
    fn interfaces(self) -> &'static [Interface] {
        match self {
            Self::Machines => &[MACHINES, IMAGES, DAEMON, VARLINK],
            Self::Users => &[USERS, DAEMON, VARLINK],
        }
    }
}

/// A call, as far as all methods need it.
struct Call<'a> {
    service: &'a Service,
    caller: &'a Caller,
    face: Face,
    /// The caller takes several answers.
    more: bool,
}

/// What is answered.
#[derive(Debug)]
enum Reply {
    /// These parameters, and descriptors that they name by their place.
    One(Value, Vec<OwnedFd>),
    /// Several, at least one.
    Many(Vec<Value>),
}

impl Reply {
    fn none() -> Self {
        Self::One(json!({}), Vec::new())
    }

    fn of(parameters: Value) -> Self {
        Self::One(parameters, Vec::new())
    }
}

/// An error that is answered.
#[derive(Debug)]
struct Refusal {
    name: String,
    parameters: Value,
}

impl Refusal {
    fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), parameters: json!({}) }
    }

    fn varlink(name: &str, parameters: Value) -> Self {
        Self { name: format!("org.varlink.service.{name}"), parameters }
    }

    /// This parameter is not known, missing, or of the wrong type.
    fn parameter(name: &str) -> Self {
        Self::varlink("InvalidParameter", json!({ "parameter": name }))
    }

    fn method_not_found(method: &str) -> Self {
        Self::varlink("MethodNotFound", json!({ "method": method }))
    }

    fn expected_more() -> Self {
        Self::varlink("ExpectedMore", json!({}))
    }

    /// An error of the system, as systemd's services put it.
    fn system(error: &Error) -> Self {
        let errno = error.errno();
        let mut parameters =
            json!({ "origin": "linux", "errno": errno.raw_os_error(), "message": crate::log::chain(error) });
        if let Some(name) = errno_name(errno) {
            parameters["errnoName"] = name.into();
        }
        Self { name: "io.systemd.System".to_owned(), parameters }
    }

    /// The error of an interface that stands for it, where there is one.
    fn of(interface: &str, error: &Error) -> Self {
        let named = |name: &str| Self::new(format!("{interface}.{name}"));
        let machines = interface == MACHINES.name;
        match error {
            Error::NoSuchMachine(_) | Error::NoMachineForProcess(_) if machines => named("NoSuchMachine"),
            Error::MachineExists(_) if machines => named("MachineExists"),
            Error::NoPrivateNetworking(_) if machines => named("NoPrivateNetworking"),
            Error::NoOsRelease(_) if machines => named("NoOSReleaseInformation"),
            Error::NoUidShift(_) if machines => named("NoUIDShift"),
            Error::NotAvailable { .. } if machines => named("NotAvailable"),
            Error::NoSuchUser(_) | Error::NoUserNamed(_) if machines => named("NoSuchUser"),
            Error::NoSuchGroup(_) if machines => named("NoSuchGroup"),
            Error::UserInHostRange(_) if machines => named("UserInHostRange"),
            Error::GroupInHostRange(_) if machines => named("GroupInHostRange"),
            Error::Control(machine::control::Error::Ended(_)) if machines => named("NoSuchMachine"),
            Error::NoSuchImage(_) if !machines => named("NoSuchImage"),
            Error::TooManyOperations if !machines => named("TooManyOperations"),
            Error::Image(
                image::pool::Error::Unsupported { .. }
                | image::pool::Error::NotBtrfs(_)
                | image::pool::Error::Protected { .. },
            ) if !machines => named("NotSupported"),
            Error::NotSupported { .. } => named("NotSupported"),
            Error::Control(
                machine::control::Error::NotSupported { .. }
                | machine::control::Error::NoGroup(_)
                | machine::control::Error::NoSupervisor(_),
            ) => named("NotSupported"),
            Error::NotPermitted(_) | Error::Control(machine::control::Error::NotPermitted(_)) => {
                Self::varlink("PermissionDenied", json!({}))
            }
            Error::Interactive(_) => Self::new("io.systemd.InteractiveAuthenticationRequired"),
            Error::Invalid { parameter, .. } => Self::parameter(parameter),
            error => Self::system(error),
        }
    }
}

fn errno_name(errno: rustix::io::Errno) -> Option<&'static str> {
    use rustix::io::Errno;
    Some(match errno {
        Errno::ACCESS => "EACCES",
        Errno::BUSY => "EBUSY",
        Errno::EXIST => "EEXIST",
        Errno::INTR => "EINTR",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::NOENT => "ENOENT",
        Errno::LOOP => "ELOOP",
        Errno::NOTDIR => "ENOTDIR",
        Errno::NOSPC => "ENOSPC",
        Errno::OPNOTSUPP => "EOPNOTSUPP",
        Errno::PERM => "EPERM",
        Errno::ROFS => "EROFS",
        Errno::SRCH => "ESRCH",
        Errno::TIMEDOUT => "ETIMEDOUT",
        _ => return None,
    })
}

/// Carries out a method. Waits for whatever it takes.
fn dispatch(call: &Call<'_>, method: &str, parameters: Map<String, Value>) -> Result<Reply, Refusal> {
    let (interface, name) = method.rsplit_once('.').ok_or_else(|| Refusal::method_not_found(method))?;
    let known = call
        .face
        .interfaces()
        .iter()
        .find(|known| known.name == interface)
        .ok_or_else(|| Refusal::varlink("InterfaceNotFound", json!({ "interface": interface })))?;
    (known.call)(call, name, Parameters::new(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str, word: &str) -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(word)?.split_once('('));
        lines.map(|(name, _)| name.trim().to_owned()).collect()
    }

    /// All methods of the text are carried out: none of them is answered as unknown.
    #[test]
    fn every_method_is_known() {
        let service = Service::system();
        let caller = Caller::Process { pid: 1, start_time: 0, uid: 65533 };
        for face in [Face::Machines, Face::Users] {
            for interface in face.interfaces() {
                let methods = words(interface.description, "method ");
                assert!(!methods.is_empty(), "{}", interface.name);
                let call = Call { service: &service, caller: &caller, face, more: false };
                for method in methods {
                    let wrong = json!({ "no-such-parameter": 1 }).as_object().cloned().unwrap_or_default();
                    let refusal = dispatch(&call, &format!("{}.{method}", interface.name), wrong).unwrap_err();
                    assert_eq!(refusal.name, "org.varlink.service.InvalidParameter", "{method}");
                }
                let unknown = dispatch(&call, &format!("{}.Nothing", interface.name), Map::new()).unwrap_err();
                assert_eq!(unknown.name, "org.varlink.service.MethodNotFound");
            }
        }
    }

    #[test]
    fn errors_have_the_names_of_the_interface() {
        let known = words(MACHINES.description, "error ");
        for error in [
            Error::NoSuchMachine(String::new()),
            Error::MachineExists(String::new()),
            Error::NoPrivateNetworking(String::new()),
            Error::NoOsRelease(String::new()),
            Error::NoUidShift(String::new()),
            Error::NotAvailable { machine: String::new(), what: "" },
            Error::NotSupported { machine: String::new(), what: "", why: String::new() },
            Error::NoSuchUser(1),
            Error::NoSuchGroup(1),
            Error::UserInHostRange(1),
            Error::GroupInHostRange(1),
        ] {
            let name = Refusal::of(MACHINES.name, &error).name;
            let name = name.strip_prefix("io.systemd.Machine.").unwrap_or_default();
            assert!(known.iter().any(|one| one == name), "{error}: {name}");
        }
        let known = words(IMAGES.description, "error ");
        for error in [Error::NoSuchImage(String::new()), Error::TooManyOperations] {
            let name = Refusal::of(IMAGES.name, &error).name;
            assert!(known.iter().any(|one| name.ends_with(&format!("MachineImage.{one}"))), "{error}: {name}");
        }
        let refusal = Refusal::of(MACHINES.name, &Error::Failed);
        assert_eq!((refusal.name.as_str(), &refusal.parameters["errnoName"]), ("io.systemd.System", &json!("EIO")));
    }
}
