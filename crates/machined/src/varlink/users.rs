//! `io.systemd.UserDatabase`: records of the users and groups that machines' are on the host, see
//! <https://systemd.io/USER_GROUP_API> and <https://systemd.io/USER_RECORD>.
//!
//! Their names are those that nss-mymachines(8) has: `vu-MACHINE-UID` and `vg-MACHINE-GID`, with the ids of inside.

use machine::machines::HOST;
use serde_json::{Value, json};

use super::{Call, Parameters, Refusal, Reply};
use crate::service::users::Kind;
use crate::service::{Error, Which};

/// What this service is called among those of the database: its socket's name.
const SERVICE: &str = "io.systemd.Machine";
/// The group of those that have none: `nobody` or `nogroup`.
const NOBODY: u32 = 65534;

fn named(name: &str) -> Refusal {
    Refusal::new(format!("io.systemd.UserDatabase.{name}"))
}

/// Carries out a method.
pub(super) fn call(call: &Call<'_>, method: &str, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let (kind, id, name) = match method {
        "GetUserRecord" => (Kind::User, parameters.id("uid")?, parameters.text("userName")?),
        "GetGroupRecord" => (Kind::Group, parameters.id("gid")?, parameters.text("groupName")?),
        "GetMemberships" => {
            parameters.text("userName")?;
            parameters.text("groupName")?;
            expect_service(parameters)?;
            // None of them is in a group beside its own.
            return Err(named("NoRecordFound"));
        }
        other => return Err(Refusal::method_not_found(&format!("io.systemd.UserDatabase.{other}"))),
    };
    expect_service(parameters)?;
    let by_name = name.as_deref().map(|name| by_name(call, kind, name)).transpose()?;
    let found = match (id, by_name) {
        (None, None) => return Err(named("EnumerationNotSupported")),
        (None, Some(found)) => found,
        (Some(id), None) => {
            let (state, inside) = call.service.map_to(kind, id).map_err(|error| refused(&error))?;
            (state.name, inside, id)
        }
        (Some(id), Some(found)) if found.2 == id => found,
        (Some(_), Some(_)) => return Err(named("ConflictingRecordFound")),
    };
    let record = match kind {
        Kind::User => user(&found),
        Kind::Group => group(&found),
    };
    Ok(Reply::of(json!({ "record": record, "incomplete": false })))
}

fn expect_service(mut parameters: Parameters) -> Result<(), Refusal> {
    let service = parameters.text("service")?;
    parameters.end()?;
    match service.as_deref() {
        Some(SERVICE) => Ok(()),
        Some(_) => Err(named("BadService")),
        None => Err(Refusal::parameter("service")),
    }
}

fn refused(error: &Error) -> Refusal {
    match error {
        Error::NoSuchUser(_)
        | Error::NoSuchGroup(_)
        | Error::UserInHostRange(_)
        | Error::GroupInHostRange(_)
        | Error::NoSuchMachine(_)
        | Error::Invalid { .. }
        | Error::NotSupported { .. } => named("NoRecordFound"),
        _ => named("ServiceNotAvailable"),
    }
}

/// The machine, its own id and the host's that a name stands for.
fn by_name(call: &Call<'_>, kind: Kind, name: &str) -> Result<(String, u32, u32), Refusal> {
    let (machine, inside) = split(kind, name).ok_or_else(|| named("NoRecordFound"))?;
    let found = || {
        let state = call.service.machine(&Which::Name(machine.to_owned()))?;
        let host = call.service.map_from(&state, kind, inside)?;
        // A machine without users of its own has none that are not the host's.
        let (owner, _) = call.service.map_to(kind, host)?;
        if owner.name == state.name { Ok(host) } else { Err(Error::NoSuchMachine(machine.to_owned())) }
    };
    let host = found().map_err(|error| refused(&error))?;
    Ok((machine.to_owned(), inside, host))
}

fn split(kind: Kind, name: &str) -> Option<(&str, u32)> {
    let prefix = if kind == Kind::User { "vu-" } else { "vg-" };
    let (machine, id) = name.strip_prefix(prefix)?.rsplit_once('-')?;
    // As it is written by us: neither signs nor zeros in front.
    let number: u32 = id.parse().ok().filter(|number: &u32| number.to_string() == id)?;
    (machine != HOST && !machine.is_empty()).then_some((machine, number))
}

fn user((machine, inside, host): &(String, u32, u32)) -> Value {
    json!({
        "userName": format!("vu-{machine}-{inside}"),
        "realName": format!("UID {inside} of Container {machine}"),
        "uid": host,
        "gid": NOBODY,
        "homeDirectory": "/",
        "shell": "/usr/sbin/nologin",
        "locked": true,
        "disposition": "container",
        "service": SERVICE,
    })
}

fn group((machine, inside, host): &(String, u32, u32)) -> Value {
    json!({
        "groupName": format!("vg-{machine}-{inside}"),
        "description": format!("GID {inside} of Container {machine}"),
        "gid": host,
        "disposition": "container",
        "service": SERVICE,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users() {
        assert_eq!(split(Kind::User, "vu-web-1-0"), Some(("web-1", 0)));
        assert_eq!(split(Kind::Group, "vg-web-4294967294"), Some(("web", 4_294_967_294)));
        for wrong in ["vu-web", "vu-web-", "vu--5", "vu-web-+5", "vu-web-05", "root", "vg-web-0", "vu-.host-5"] {
            assert_eq!(split(Kind::User, wrong), None, "{wrong}");
        }
    }
}
