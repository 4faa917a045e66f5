//! What the objects' methods do. The manager's take a name, those of machines and images have it; otherwise they are the same.
//!
//! All of it may wait: it is called on threads for that ([`super::face::Face::run`]).

use image::pool::{Clean, UNKNOWN};
use machine::control::protocol::Whom;
use machine::state::{Class, State};

use super::refusal::Refusal;
use crate::service::access::{self, action};
use crate::service::inside::{Files, bytes_of};
use crate::service::terminals::{Shell, Wanted};
use crate::service::{Caller, Error, Service, Which};

/// Who asks, and whether a person may be asked whether that is permitted.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    pub(super) caller: Caller,
    pub(super) interactive: bool,
}

impl Asker {
    fn may(&self, action: &'static str, details: &[(&str, &str)]) -> Result<(), Error> {
        access::check(&self.caller, action, self.interactive, details)
    }

    /// Lets those pass who may manage machines.
    fn may_manage(&self, state: &State, verb: &str) -> Result<(), Error> {
        self.may(action::MANAGE_MACHINES, &[("machine", &state.name), ("verb", verb)])
    }

    /// The same, and whoever the machine belongs to.
    fn may_end(&self, state: &State, verb: &str) -> Result<(), Error> {
        let owner = state.class != Class::Host && state.uid != 0 && state.uid == self.caller.uid();
        if owner { Ok(()) } else { self.may_manage(state, verb) }
    }

    fn may_change_image(&self, name: &str, verb: &str) -> Result<(), Error> {
        self.may(action::MANAGE_IMAGES, &[("verb", verb), ("image", name)])
    }

    fn may_change_pool(&self, verb: &str) -> Result<(), Error> {
        self.may(action::MANAGE_IMAGES, &[("verb", verb)])
    }

    /// Lets those pass who may register machines, with a unit of their own or without.
    pub(super) fn may_register(&self, name: &str, class: Class, unit: bool) -> Result<(), Error> {
        let action = if unit { action::CREATE_MACHINE } else { action::REGISTER_MACHINE };
        self.may(action, &[("name", name), ("class", class.name())])
    }
}

/// The machine of this name.
pub(super) fn machine(service: &Service, name: &str) -> Result<State, Error> {
    service.machine(&Which::Name(name.to_owned()))
}

pub(super) fn unregister(service: &Service, asker: &Asker, name: &str) -> Result<(), Error> {
    asker.may_end(&machine(service, name)?, "unregister")?;
    service.unregister(&Which::Name(name.to_owned()), &asker.caller)
}

pub(super) fn terminate(service: &Service, asker: &Asker, name: &str) -> Result<(), Error> {
    asker.may_end(&machine(service, name)?, "terminate")?;
    service.terminate(&Which::Name(name.to_owned()))
}

/// Whom a signal goes to; all processes where nobody is named.
pub(super) fn kill(service: &Service, asker: &Asker, name: &str, (whom, signal): (&str, i32)) -> Result<(), Error> {
    let whom = match whom {
        "" => Whom::All,
        word => Whom::from_name(word).ok_or_else(|| Error::Invalid {
            parameter: "whom",
            why: format!("{word:?} is none of leader, supervisor and all"),
        })?,
    };
    asker.may_end(&machine(service, name)?, "kill")?;
    service.kill(&Which::Name(name.to_owned()), whom, i64::from(signal))
}

/// Families and bytes.
pub(super) fn addresses(service: &Service, name: &str) -> Result<Vec<(i32, Vec<u8>)>, Error> {
    let all = service.addresses(&machine(service, name)?)?;
    Ok(all.into_iter().map(|one| bytes_of(one.address)).collect())
}

pub(super) fn os_release(service: &Service, name: &str) -> Result<Fields, Error> {
    let release = service.os_release(&machine(service, name)?)?;
    Ok(release.fields().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Assignments, in the order of their names.
pub(super) type Fields = std::collections::BTreeMap<String, String>;

pub(super) fn ssh(service: &Service, name: &str) -> Result<(String, String), Error> {
    service.ssh(&machine(service, name)?)
}

pub(super) fn uid_shift(service: &Service, name: &str) -> Result<u32, Error> {
    service.uid_shift(&machine(service, name)?)
}

pub(super) fn root_directory(service: &Service, asker: &Asker, name: &str) -> Result<zbus::OwnedFd, Error> {
    let state = machine(service, name)?;
    asker.may_manage(&state, "open_root_directory")?;
    Ok(service.root_directory(&state)?.into())
}

/// Files of the host that are shown in a machine.
#[derive(Debug)]
pub(super) struct Bind {
    files: Files,
    read_only: bool,
    make_destination: bool,
}

impl Bind {
    /// An empty destination is the same path.
    pub(super) fn new((source, destination): (String, String), read_only: bool, make_destination: bool) -> Self {
        Self { files: files(source, destination), read_only, make_destination }
    }
}

fn files(source: String, destination: String) -> Files {
    Files { source, destination: Some(destination).filter(|path| !path.is_empty()) }
}

pub(super) fn bind(service: &Service, asker: &Asker, name: &str, bind: Bind) -> Result<(), Error> {
    let state = machine(service, name)?;
    asker.may_manage(&state, "bind")?;
    service.bind(&state, bind.files, bind.read_only, bind.make_destination)
}

/// Files that are copied.
#[derive(Debug)]
pub(super) struct Copy {
    files: Files,
    into_machine: bool,
    replace: bool,
}

/// What is there already is replaced.
const REPLACE: u64 = 1;

impl Copy {
    /// Out of a machine.
    pub(super) fn from(source: String, destination: String, flags: u64) -> Result<Self, Refusal> {
        Self::new(files(source, destination), false, flags)
    }

    /// Into a machine.
    pub(super) fn to(source: String, destination: String, flags: u64) -> Result<Self, Refusal> {
        Self::new(files(source, destination), true, flags)
    }

    fn new(files: Files, into_machine: bool, flags: u64) -> Result<Self, Refusal> {
        if flags & !REPLACE != 0 {
            let known = "1 is to replace what is there, other flags mean nothing";
            return Err(Refusal::argument(format!("bad flags {flags:#x}: {known}")));
        }
        Ok(Self { files, into_machine, replace: flags & REPLACE != 0 })
    }
}

pub(super) fn copy(service: &Service, asker: &Asker, name: &str, copy: Copy) -> Result<(), Error> {
    let state = machine(service, name)?;
    asker.may_manage(&state, "copy")?;
    if copy.into_machine {
        service.copy_to(&state, copy.files, copy.replace)
    } else {
        service.copy_from(&state, copy.files, copy.replace)
    }
}

/// A shell as the interface describes it: user, path, arguments and environment.
pub(super) type Described = (String, String, Vec<String>, Vec<String>);

/// What is wanted for that.
pub(super) fn shell((user, path, arguments, environment): Described) -> Result<Wanted, Error> {
    Shell::new(&user, &path, &arguments, &environment).map(Wanted::Shell)
}

/// Opens a terminal: our end, and the path of the other end where that is.
pub(super) fn open(
    service: &Service,
    asker: &Asker,
    name: &str,
    wanted: Wanted,
) -> Result<(zbus::OwnedFd, String), Error> {
    let state = machine(service, name)?;
    let details = wanted.details(&state);
    let details: Vec<(&str, &str)> = details.iter().map(|(name, value)| (*name, value.as_str())).collect();
    asker.may(wanted.action(&state), &details)?;
    let (terminal, path) = service.open(&state, wanted)?;
    Ok((terminal.into(), path))
}

pub(super) fn remove_image(service: &Service, asker: &Asker, name: &str) -> Result<(), Error> {
    service.image(name)?;
    asker.may_change_image(name, "remove")?;
    service.remove_image(name)
}

pub(super) fn rename_image(service: &Service, asker: &Asker, name: &str, new: &str) -> Result<(), Error> {
    service.image(name)?;
    asker.may_change_image(name, "rename")?;
    service.rename_image(name, new)
}

pub(super) fn clone_image(
    service: &Service,
    asker: &Asker,
    name: &str,
    (new, read_only): (&str, bool),
) -> Result<(), Error> {
    service.image(name)?;
    asker.may_change_image(name, "clone")?;
    service.clone_image(name, new, read_only)
}

pub(super) fn mark_image(service: &Service, asker: &Asker, name: &str, read_only: bool) -> Result<(), Error> {
    service.image(name)?;
    asker.may_change_image(name, "mark_read_only")?;
    service.mark_image(name, read_only)
}

/// All bits of a size set: there is no limit.
fn limit(size: u64) -> Option<u64> {
    (size != UNKNOWN).then_some(size)
}

pub(super) fn limit_image(service: &Service, asker: &Asker, name: &str, size: u64) -> Result<(), Error> {
    service.image(name)?;
    asker.may_change_image(name, "set_limit")?;
    service.limit_image(name, limit(size))
}

pub(super) fn limit_pool(service: &Service, asker: &Asker, size: u64) -> Result<(), Error> {
    asker.may_change_pool("set_limit")?;
    service.limit_pool(limit(size))
}

/// Names of what was removed, and the space that each took for itself.
pub(super) fn clean_pool(service: &Service, asker: &Asker, mode: &str) -> Result<Vec<(String, u64)>, Error> {
    let which = match mode {
        "all" => Clean::All,
        "hidden" => Clean::Hidden,
        _ => return Err(Error::Invalid { parameter: "mode", why: format!("{mode:?} is neither all nor hidden") }),
    };
    asker.may_change_pool("clean_pool")?;
    let cleaned = service.clean_pool(which)?;
    let mut failed = cleaned.failed.into_iter();
    // What was removed is not told of with an error: the first one that stays is.
    let first = failed.next();
    failed.for_each(|(_, error)| crate::log::warn(&error));
    match first {
        Some((_, error)) => Err(error.into()),
        None => Ok(cleaned.removed),
    }
}

pub(super) fn image_hostname(service: &Service, name: &str) -> Result<String, Error> {
    Ok(service.metadata(&service.image(name)?)?.hostname.unwrap_or_default())
}

pub(super) fn image_machine_id(service: &Service, name: &str) -> Result<Vec<u8>, Error> {
    Ok(service.metadata(&service.image(name)?)?.machine_id.map(Vec::from).unwrap_or_default())
}

pub(super) fn image_machine_info(service: &Service, name: &str) -> Result<Fields, Error> {
    Ok(service.metadata(&service.image(name)?)?.machine_info.into_iter().collect())
}

pub(super) fn image_os_release(service: &Service, name: &str) -> Result<Fields, Error> {
    Ok(service.metadata(&service.image(name)?)?.os_release.into_iter().collect())
}
