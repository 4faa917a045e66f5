//! What somebody tells of a machine that it runs, in D-Bus's words.

use std::os::fd::{AsRawFd, OwnedFd};

use cgroup::scope::Value;
use machine::Process;
use machine::state::Class;
use uuid::Uuid;
use zbus::{OwnedVariant, Variant};

use super::refusal::Refusal;
use crate::service::Registration;

/// A registration as it was told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) registration: Registration,
}

impl Told {
    /// One in the words of `RegisterMachine` and `CreateMachine`.
    pub(super) fn new(
        name: String,
        (id, service, class): (&[u8], String, &str),
        leader: u32,
        root_directory: String,
    ) -> Result<Self, Refusal> {
        let mut told = Self::of_name(name);
        let registration = &mut told.registration;
        registration.id = id_of(id)?;
        registration.service = Some(service);
        registration.class = class_of(class)?;
        registration.leader = leader_of(leader)?;
        registration.root_directory = Some(root_directory);
        Ok(told)
    }

    fn of_name(name: String) -> Self {
        Self {
            registration: Registration {
                name,
                id: None,
                service: None,
                class: Class::Container,
                leader: None,
                supervisor: None,
                root_directory: None,
                network_interfaces: Vec::new(),
                v_sock_cid: None,
                ssh_address: None,
                ssh_private_key_path: None,
                control_address: None,
                unit: None,
            },
        }
    }

    /// It gets a scope, with these properties.
    pub(super) fn with_unit(&mut self, properties: Vec<(String, OwnedVariant)>) -> Result<(), Refusal> {
        let mut all = Vec::with_capacity(properties.len());
        for (name, value) in properties {
            // What is given for the scope itself is the service's to say.
            let written = value_of(&value).ok_or_else(|| {
                let signature = value.value_signature();
                Refusal::argument(format!(
                    "the scope property {name} has a value of the type {signature}, which cannot be passed on"
                ))
            })?;
            all.push((name, written));
        }
        self.registration.unit = Some(all);
        Ok(())
    }
}

/// None, or 16 bytes.
fn id_of(bytes: &[u8]) -> Result<Option<Uuid>, Refusal> {
    if bytes.is_empty() {
        return Ok(None);
    }
    Uuid::from_slice(bytes).map(Some).map_err(|_| Refusal::argument("an id has 16 bytes, or none"))
}

fn class_of(word: &str) -> Result<Class, Refusal> {
    match word {
        "container" => Ok(Class::Container),
        "vm" => Ok(Class::Vm),
        _ => Err(Refusal::argument(format!("the class {word:?} is neither container nor vm"))),
    }
}

/// The process with this number; 0 is the caller's own.
fn leader_of(pid: u32) -> Result<Option<Process>, Refusal> {
    if pid == 0 {
        return Ok(None);
    }
    let gone = || Refusal::argument(format!("there is no process {pid}"));
    let number = i32::try_from(pid).map_err(|_| gone())?;
    Process::of(number).map(Some).map_err(|_| gone())
}

/// The process of a descriptor.
fn leader_of_descriptor(pidfd: &OwnedFd) -> Result<Process, Refusal> {
    let wrong = || Refusal::argument("LeaderPIDFD refers to no process");
    let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
    let text = std::fs::read_to_string(path).map_err(|_| wrong())?;
    // -1 for one that is gone.
    let pid = text.lines().find_map(|line| line.strip_prefix("Pid:")?.trim().parse().ok());
    let pid: i32 = pid.filter(|pid| *pid > 0).ok_or_else(wrong)?;
    Process::with(pid, pidfd).map_err(|_| wrong())
}

/// One in the words of `RegisterMachineEx` and `CreateMachineEx`.
pub(super) fn of_properties(name: String, properties: Vec<(String, OwnedVariant)>) -> Result<Told, Refusal> {
    let mut told = Told::of_name(name);
    let registration = &mut told.registration;
    let (mut pid, mut pidfd_id, mut leader) = (None, None, None);
    for (key, value) in properties {
        match key.as_str() {
            "Id" => registration.id = id_of(&taken::<Vec<u8>>(&key, value)?)?,
            "Service" => registration.service = Some(taken(&key, value)?),
            "Class" => registration.class = class_of(&taken::<String>(&key, value)?)?,
            "LeaderPIDFD" => leader = Some(leader_of_descriptor(&descriptor(value)?)?),
            "LeaderPID" => pid = Some(taken::<u32>(&key, value)?),
            "LeaderPIDFDID" => pidfd_id = Some(taken::<u64>(&key, value)?),
            "RootDirectory" => registration.root_directory = Some(taken(&key, value)?),
            "NetworkInterfaces" => registration.network_interfaces = taken(&key, value)?,
            _ => return Err(Refusal::argument(format!("{key} is no property of a machine"))),
        }
    }
    registration.leader = match (leader, pid, pidfd_id) {
        (Some(leader), _, _) => Some(leader),
        (None, None, None) => None,
        (None, Some(pid), Some(id)) => {
            let found = leader_of(pid)?;
            // Its number may be another one's by now.
            if found.as_ref().is_some_and(|process| process.pidfd_id.is_some_and(|own| own != id)) {
                return Err(Refusal::argument(format!("the process {pid} is not the one that LeaderPIDFDID names")));
            }
            found
        }
        _ => return Err(Refusal::argument("LeaderPID and LeaderPIDFDID go together")),
    };
    Ok(told)
}

fn taken<T: TryFrom<OwnedVariant>>(key: &str, value: OwnedVariant) -> Result<T, Refusal> {
    let signature = value.value_signature().to_string();
    T::try_from(value).map_err(|_| Refusal::argument(format!("{key} cannot have a value of the type {signature}")))
}

fn descriptor(value: OwnedVariant) -> Result<OwnedFd, Refusal> {
    let wrong = || Refusal::argument("LeaderPIDFD is no descriptor");
    match Variant::from(value) {
        Variant::Fd(fd) => OwnedFd::try_from(fd).map_err(|_| wrong()),
        _ => Err(wrong()),
    }
}

/// A property's value as the service manager is told of it; none for types that no property of a scope has.
fn value_of(value: &OwnedVariant) -> Option<Value> {
    let owned = || value.try_clone().ok().map(Variant::from);
    Some(match value.value_signature().to_string().as_str() {
        "s" => Value::String(owned()?.try_into().ok()?),
        "b" => Value::Boolean(bool::try_from(value).ok()?),
        "u" => Value::U32(u32::try_from(value).ok()?),
        "i" => Value::I32(i32::try_from(value).ok()?),
        "t" => Value::U64(u64::try_from(value).ok()?),
        "as" => Value::Strings(owned()?.try_into().ok()?),
        "au" => Value::U32s(owned()?.try_into().ok()?),
        "ay" => Value::Bytes(owned()?.try_into().ok()?),
        "a(st)" => Value::TextNumbers(owned()?.try_into().ok()?),
        "a(ss)" => Value::TextPairs(owned()?.try_into().ok()?),
        "a(iayu)" => Value::Networks(owned()?.try_into().ok()?),
        "a(iiqq)" => Value::Sockets(owned()?.try_into().ok()?),
        "(bas)" => {
            let (marked, words) = owned()?.try_into().ok()?;
            Value::Marked(marked, words)
        }
        "a(iiss)" => Value::Sets(owned()?.try_into().ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(value: impl Into<Variant<'static>>) -> OwnedVariant {
        OwnedVariant::try_from(value.into()).unwrap()
    }

    fn property(key: &str, value: impl Into<Variant<'static>>) -> Vec<(String, OwnedVariant)> {
        vec![(key.to_owned(), owned(value))]
    }

    #[test]
    fn a_machine_in_properties() {
        let me = std::process::id();
        let own = Process::of(i32::try_from(me).unwrap()).unwrap();
        let told = of_properties(
            "a".to_owned(),
            vec![
                ("Id".to_owned(), owned(vec![7_u8; 16])),
                ("Service".to_owned(), owned("test")),
                ("Class".to_owned(), owned("vm")),
                ("LeaderPID".to_owned(), owned(me)),
                ("LeaderPIDFDID".to_owned(), owned(own.pidfd_id.unwrap_or(0))),
                ("RootDirectory".to_owned(), owned("/x")),
                ("NetworkInterfaces".to_owned(), owned(vec![3_i32, 4])),
            ],
        )
        .unwrap()
        .registration;
        assert_eq!((told.name.as_str(), told.class), ("a", Class::Vm));
        assert_eq!(told.id, Some(Uuid::from_bytes([7; 16])));
        assert_eq!(told.leader, Some(own));
        assert_eq!(told.network_interfaces, [3, 4]);
        assert_eq!(told.root_directory.as_deref(), Some("/x"));
    }

    #[test]
    fn a_leader_by_its_descriptor() {
        use rustix::process::{PidfdFlags, getpid, pidfd_open};
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        let value = Variant::Fd(zbus::Fd::from(pidfd));
        let told = of_properties("a".to_owned(), property("LeaderPIDFD", value)).unwrap();
        assert_eq!(told.registration.leader.map(|one| one.pid), Some(getpid().as_raw_nonzero().get()));
        let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
        assert!(of_properties("a".to_owned(), property("LeaderPIDFD", Variant::Fd(zbus::Fd::from(file)))).is_err());
    }

    #[test]
    fn what_is_no_property_is_refused() {
        let refused = |properties| of_properties("a".to_owned(), properties).is_err();
        assert!(refused(property("Unknown", "x")));
        assert!(refused(property("Class", "host")));
        assert!(refused(property("Class", 1_u32)));
        assert!(refused(property("Id", vec![1_u8, 2])));
        assert!(refused(property("LeaderPID", 1_u32)), "without its id");
        assert!(refused(property("LeaderPIDFD", 3_u32)));
    }

    #[test]
    fn properties_of_scopes() {
        let networks = vec![(2_i32, vec![10_u8, 0, 0, 0], 8_u32)];
        assert_eq!(value_of(&owned("x")), Some(Value::String("x".to_owned())));
        assert_eq!(value_of(&owned(true)), Some(Value::Boolean(true)));
        assert_eq!(value_of(&owned(5_u64)), Some(Value::U64(5)));
        assert_eq!(value_of(&owned(vec!["a", "b"])), Some(Value::Strings(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(value_of(&owned(networks.clone())), Some(Value::Networks(networks)));
        assert_eq!(value_of(&owned(1.5_f64)), None);
    }
}
