//! `io.systemd.Machine`.

use std::os::fd::OwnedFd;

use machine::Process;
use machine::control::protocol::Whom;
use machine::state::{Class, State};
use serde_json::{Map, Value, json};

use super::{Call, MACHINES, Parameters, Refusal, Reply};
use crate::service::access::{self, action};
use crate::service::inside::{Files, bytes_of};
use crate::service::terminals::{Shell, Wanted};
use crate::service::users::Kind;
use crate::service::{Error, Registration, Service, Which};

fn refused(error: Error) -> Refusal {
    Refusal::of(MACHINES.name, &error)
}

/// Carries out a method.
pub(super) fn call(call: &Call<'_>, method: &str, parameters: Parameters) -> Result<Reply, Refusal> {
    match method {
        "Register" => register(call, parameters),
        "Unregister" => unregister(call, parameters),
        "Terminate" => terminate(call, parameters),
        "Kill" => kill(call, parameters),
        "List" => list(call, parameters),
        "Open" => open(call, parameters),
        "MapFrom" => map_from(call, parameters),
        "MapTo" => map_to(call, parameters),
        "BindMount" => bind_mount(call, parameters),
        "CopyFrom" => copy(call, parameters, true),
        "CopyTo" => copy(call, parameters, false),
        "OpenRootDirectory" => open_root_directory(call, parameters),
        other => Err(Refusal::method_not_found(&format!("{}.{other}", MACHINES.name))),
    }
}

/// Which machine is meant, and whether a person may be asked.
struct Target {
    which: Option<Which>,
    interactive: bool,
}

impl Target {
    fn take(call: &Call<'_>, parameters: &mut Parameters) -> Result<Self, Refusal> {
        let name = parameters.text("name")?;
        let pid = process(call, parameters, "pid")?.map(|process| process.pid);
        let which = match (name, pid) {
            (None, None) => None,
            (Some(name), None) => Some(Which::Name(name)),
            (None, Some(pid)) => Some(Which::Process(pid)),
            (Some(name), Some(pid)) => Some(Which::Both(name, pid)),
        };
        let interactive = parameters.flag("allowInteractiveAuthentication")?.unwrap_or(false);
        Ok(Self { which, interactive })
    }

    fn which(&self) -> Result<&Which, Refusal> {
        self.which.as_ref().ok_or_else(|| Refusal::parameter("name"))
    }

    fn state(&self, call: &Call<'_>) -> Result<State, Refusal> {
        call.service.machine(self.which()?).map_err(refused)
    }

    /// Lets those pass who may manage machines.
    fn permit(&self, call: &Call<'_>, state: &State, verb: &str) -> Result<(), Refusal> {
        let details = [("machine", state.name.as_str()), ("verb", verb)];
        access::check(call.caller, action::MANAGE_MACHINES, self.interactive, &details).map_err(refused)
    }

    /// The same, and those that the machine belongs to.
    fn permit_owner(&self, call: &Call<'_>, state: &State, verb: &str) -> Result<(), Refusal> {
        let owner = state.class != Class::Host && state.uid != 0 && state.uid == call.caller.uid();
        if owner { Ok(()) } else { self.permit(call, state, verb) }
    }
}

/// A process: a number, or a `ProcessId`. The number 0 is the caller's.
fn process(call: &Call<'_>, parameters: &mut Parameters, name: &'static str) -> Result<Option<Process>, Refusal> {
    let wrong = || Refusal::parameter(name);
    let Some(value) = parameters.value(name)? else { return Ok(None) };
    let (pid, id, boot) = match &value {
        Value::Number(_) => (value.as_i64(), None, None),
        Value::Object(fields) => {
            let known = ["pid", "pidfdId", "bootId"];
            if fields.keys().any(|key| !known.contains(&key.as_str())) {
                return Err(wrong());
            }
            let field = |name: &str| fields.get(name).filter(|value| !value.is_null());
            let id = field("pidfdId").map(|id| id.as_u64().ok_or_else(wrong)).transpose()?;
            let boot = field("bootId").map(|id| id.as_str().and_then(|id| id.parse().ok()).ok_or_else(wrong));
            (fields.get("pid").and_then(Value::as_i64), id, boot.transpose()?)
        }
        _ => return Err(wrong()),
    };
    let pid = pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid >= 0).ok_or_else(wrong)?;
    let pid = if pid == 0 { call.caller.pid() } else { pid };
    let gone = || Refusal::of(MACHINES.name, &Error::NoMachineForProcess(pid));
    let found = Process::of(pid).map_err(|_| gone())?;
    // Another process has its number by now, or it is of another boot.
    let same = id.is_none_or(|id| found.pidfd_id.is_none_or(|own| own == id))
        && boot.is_none_or(|boot: uuid::Uuid| boot == found.boot_id);
    if same { Ok(Some(found)) } else { Err(gone()) }
}

fn register(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let name = parameters.text("name")?;
    let id = parameters.text("id")?;
    let service = parameters.text("service")?;
    let class =
        parameters.word("class", &[("container", Class::Container), ("vm", Class::Vm), ("host", Class::Host)])?;
    let leader_number = process(call, &mut parameters, "leader").map_err(|_| Refusal::parameter("leader"))?;
    let leader =
        process(call, &mut parameters, "leaderProcessId").map_err(|_| Refusal::parameter("leaderProcessId"))?;
    let supervisor_number =
        process(call, &mut parameters, "supervisor").map_err(|_| Refusal::parameter("supervisor"))?;
    let supervisor =
        process(call, &mut parameters, "supervisorProcessId").map_err(|_| Refusal::parameter("supervisorProcessId"))?;
    let registration = Registration {
        name: name.unwrap_or_default(),
        id: id.map(|id| id.parse().map_err(|_| Refusal::parameter("id"))).transpose()?,
        service,
        class: class.unwrap_or(Class::Host),
        leader: leader.or(leader_number),
        supervisor: supervisor.or(supervisor_number),
        root_directory: parameters.text("rootDirectory")?,
        network_interfaces: parameters.numbers("ifIndices")?,
        v_sock_cid: cid(&mut parameters)?,
        ssh_address: parameters.text("sshAddress")?,
        ssh_private_key_path: parameters.text("sshPrivateKeyPath")?,
        control_address: parameters.text("controlAddress")?,
        unit: parameters.flag("allocateUnit")?.unwrap_or(false).then(Vec::new),
    };
    let interactive = parameters.flag("allowInteractiveAuthentication")?.unwrap_or(false);
    parameters.end()?;
    let action = if registration.unit.is_some() { action::CREATE_MACHINE } else { action::REGISTER_MACHINE };
    let details = [("name", registration.name.as_str()), ("class", registration.class.name())];
    access::check(call.caller, action, interactive, &details).map_err(refused)?;
    call.service.register(registration, call.caller).map_err(refused)?;
    Ok(Reply::none())
}

fn cid(parameters: &mut Parameters) -> Result<Option<u32>, Refusal> {
    let number = parameters.size("vSockCid")?;
    number.map(|cid| u32::try_from(cid).map_err(|_| Refusal::parameter("vSockCid"))).transpose()
}

fn unregister(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    parameters.end()?;
    let state = target.state(call)?;
    target.permit_owner(call, &state, "unregister")?;
    call.service.unregister(&Which::Name(state.name), call.caller).map_err(refused)?;
    Ok(Reply::none())
}

fn terminate(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    parameters.end()?;
    let state = target.state(call)?;
    target.permit_owner(call, &state, "terminate")?;
    call.service.terminate(&Which::Name(state.name)).map_err(refused)?;
    Ok(Reply::none())
}

fn kill(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    let whom = parameters.word("whom", &Whom::ALL.map(|whom| (whom.name(), whom)))?.unwrap_or_default();
    let signal = parameters.number("signal")?;
    parameters.end()?;
    let signal = signal.ok_or_else(|| Refusal::parameter("signal"))?;
    let state = target.state(call)?;
    target.permit_owner(call, &state, "kill")?;
    call.service.kill(&Which::Name(state.name), whom, signal).map_err(refused)?;
    Ok(Reply::none())
}

/// Whether what has to be looked for in a machine or image is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Acquire {
    /// It is not.
    No,
    /// It is.
    Yes,
    /// Where it is to be had.
    Graceful,
}

pub(super) fn acquire(parameters: &mut Parameters) -> Result<Acquire, Refusal> {
    let words = [("no", Acquire::No), ("yes", Acquire::Yes), ("graceful", Acquire::Graceful)];
    Ok(parameters.word("acquireMetadata", &words)?.unwrap_or(Acquire::No))
}

fn list(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    let acquire = acquire(&mut parameters)?;
    parameters.end()?;
    if target.which.is_some() {
        return Ok(Reply::of(described(call.service, &target.state(call)?, acquire)?));
    }
    if !call.more {
        return Err(Refusal::expected_more());
    }
    let states = call.service.machines().map_err(refused)?;
    let all = states.iter().map(|state| described(call.service, state, acquire)).collect::<Result<Vec<_>, _>>()?;
    Ok(Reply::Many(all))
}

fn described(service: &Service, state: &State, acquire: Acquire) -> Result<Value, Refusal> {
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    add("name", json!(state.name));
    add("id", json!(state.id.map(|id| id.as_simple().to_string())));
    add("service", json!(state.service));
    add("class", json!(state.class.name()));
    add("leader", process_id(&state.leader));
    add("supervisor", state.supervisor.as_ref().map_or(Value::Null, process_id));
    add("rootDirectory", json!(state.root_directory));
    add("unit", json!(state.unit));
    add("timestamp", json!({ "realtime": state.timestamp.realtime, "monotonic": state.timestamp.monotonic }));
    add("vSockCid", json!(state.v_sock_cid));
    add("sshAddress", json!(state.ssh_address));
    add("sshPrivateKeyPath", json!(state.ssh_private_key_path));
    add("controlAddress", json!(state.control_address));
    add("subgroup", json!(state.subgroup));
    add("UID", json!(state.uid));
    if acquire != Acquire::No {
        add("addresses", had(addresses(service, state), acquire)?);
        add("OSRelease", had(os_release(service, state), acquire)?);
        add("UIDShift", had(service.uid_shift(state).map(|shift| json!(shift)), acquire)?);
    }
    Ok(Value::Object(fields))
}

/// What is to be had of it, or nothing where that is good enough.
fn had(found: Result<Value, Error>, acquire: Acquire) -> Result<Value, Refusal> {
    match found {
        Err(_) if acquire == Acquire::Graceful => Ok(Value::Null),
        other => other.map_err(refused),
    }
}

fn addresses(service: &Service, state: &State) -> Result<Value, Error> {
    let all = service.addresses(state)?;
    Ok(all
        .iter()
        .map(|one| {
            let (family, bytes) = bytes_of(one.address);
            let mut address = json!({ "family": family, "address": bytes });
            if one.link > 0 {
                address["ifindex"] = json!(one.link);
            }
            address
        })
        .collect())
}

fn os_release(service: &Service, state: &State) -> Result<Value, Error> {
    Ok(service.os_release(state)?.fields().map(|(name, value)| json!(format!("{name}={value}"))).collect())
}

fn process_id(process: &Process) -> Value {
    let mut value = json!({ "pid": process.pid, "bootId": process.boot_id.as_simple().to_string() });
    if let Some(id) = process.pidfd_id {
        value["pidfdId"] = json!(id);
    }
    value
}

fn map_from(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    let uid = parameters.id("uid")?;
    let gid = parameters.id("gid")?;
    parameters.end()?;
    if uid.is_none() && gid.is_none() {
        return Err(Refusal::parameter("uid"));
    }
    let state = target.state(call)?;
    let map = |kind, id: Option<u32>| id.map(|id| call.service.map_from(&state, kind, id)).transpose();
    let uid = map(Kind::User, uid).map_err(refused)?;
    let gid = map(Kind::Group, gid).map_err(refused)?;
    Ok(Reply::of(mapped(uid, gid)))
}

fn map_to(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let uid = parameters.id("uid")?;
    let gid = parameters.id("gid")?;
    parameters.end()?;
    if uid.is_none() && gid.is_none() {
        return Err(Refusal::parameter("uid"));
    }
    let map = |kind, id: Option<u32>| id.map(|id| call.service.map_to(kind, id)).transpose();
    let user = map(Kind::User, uid).map_err(refused)?;
    let group = map(Kind::Group, gid).map_err(refused)?;
    if let (Some((user, _)), Some((group, _))) = (&user, &group)
        && user.name != group.name
    {
        return Err(refused(Error::NoSuchGroup(gid.unwrap_or_default())));
    }
    let mut answer = mapped(user.as_ref().map(|(_, id)| *id), group.as_ref().map(|(_, id)| *id));
    answer["machineName"] = json!(user.or(group).map(|(state, _)| state.name));
    Ok(Reply::of(answer))
}

fn mapped(uid: Option<u32>, gid: Option<u32>) -> Value {
    let mut answer = json!({});
    if let Some(uid) = uid {
        answer["uid"] = json!(uid);
    }
    if let Some(gid) = gid {
        answer["gid"] = json!(gid);
    }
    answer
}

fn bind_mount(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    let source = parameters.text("source")?;
    let destination = parameters.text("destination")?;
    let read_only = parameters.flag("readOnly")?.unwrap_or(false);
    let make_destination = parameters.flag("mkdir")?.unwrap_or(false);
    parameters.end()?;
    let source = source.ok_or_else(|| Refusal::parameter("source"))?;
    let state = target.state(call)?;
    target.permit(call, &state, "bind")?;
    call.service.bind(&state, Files { source, destination }, read_only, make_destination).map_err(refused)?;
    Ok(Reply::none())
}

/// What is opened.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Terminal,
    Login,
    Shell,
}

fn open(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    let modes = [("tty", Mode::Terminal), ("login", Mode::Login), ("shell", Mode::Shell)];
    let mode = parameters.word("mode", &modes)?;
    let user = parameters.text("user")?.unwrap_or_default();
    let path = parameters.text("path")?.unwrap_or_default();
    let arguments = parameters.texts("args")?.unwrap_or_default();
    let environment = parameters.texts("environment")?.unwrap_or_default();
    parameters.end()?;
    let mode = mode.ok_or_else(|| Refusal::parameter("mode"))?;
    let given = [
        ("user", !user.is_empty()),
        ("path", !path.is_empty()),
        ("args", !arguments.is_empty()),
        ("environment", !environment.is_empty()),
    ];
    let wanted = match (mode, given.iter().find(|(_, given)| *given)) {
        (Mode::Shell, _) => Wanted::Shell(Shell::new(&user, &path, &arguments, &environment).map_err(refused)?),
        // They are for shells: nothing else would heed them.
        (_, Some((name, _))) => return Err(Refusal::parameter(name)),
        (Mode::Terminal, None) => Wanted::Terminal,
        (Mode::Login, None) => Wanted::Login,
    };
    let state = target.state(call)?;
    let details = wanted.details(&state);
    let details: Vec<(&str, &str)> = details.iter().map(|(name, value)| (*name, value.as_str())).collect();
    access::check(call.caller, wanted.action(&state), target.interactive, &details).map_err(refused)?;
    let (terminal, path) = call.service.open(&state, wanted).map_err(refused)?;
    Ok(Reply::One(json!({ "ptyFileDescriptor": 0, "ptyPath": path }), vec![terminal]))
}

fn copy(call: &Call<'_>, mut parameters: Parameters, to_host: bool) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    let source = parameters.text("source")?;
    let destination = parameters.text("destination")?;
    let replace = parameters.flag("replace")?.unwrap_or(false);
    parameters.end()?;
    let files = Files { source: source.ok_or_else(|| Refusal::parameter("source"))?, destination };
    let state = target.state(call)?;
    target.permit(call, &state, "copy")?;
    let copied = if to_host {
        call.service.copy_from(&state, files, replace)
    } else {
        call.service.copy_to(&state, files, replace)
    };
    copied.map_err(refused)?;
    Ok(Reply::none())
}

fn open_root_directory(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let target = Target::take(call, &mut parameters)?;
    parameters.end()?;
    let state = target.state(call)?;
    target.permit(call, &state, "open_root_directory")?;
    let directory: OwnedFd = call.service.root_directory(&state).map_err(refused)?;
    Ok(Reply::One(json!({ "fileDescriptor": 0 }), vec![directory]))
}
