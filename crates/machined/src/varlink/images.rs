//! `io.systemd.MachineImage`.

use image::pool::{Clean, Image, Metadata, UNKNOWN};
use serde_json::{Map, Value, json};

use super::machines::{Acquire, acquire};
use super::{Call, IMAGES, Parameters, Refusal, Reply};
use crate::service::access::{self, action};
use crate::service::{Error, Service};

/// A name that an image can have.
fn new_name(name: String) -> Result<String, Refusal> {
    if image::pool::image::is_name(&name) { Ok(name) } else { Err(Refusal::parameter("newName")) }
}

fn refused(error: Error) -> Refusal {
    Refusal::of(IMAGES.name, &error)
}

/// Carries out a method.
pub(super) fn call(call: &Call<'_>, method: &str, parameters: Parameters) -> Result<Reply, Refusal> {
    match method {
        "List" => list(call, parameters),
        "Update" => update(call, parameters),
        "Clone" => clone(call, parameters),
        "Remove" => remove(call, parameters),
        "SetPoolLimit" => set_pool_limit(call, parameters),
        "CleanPool" => clean_pool(call, parameters),
        other => Err(Refusal::method_not_found(&format!("{}.{other}", IMAGES.name))),
    }
}

fn permit(call: &Call<'_>, name: Option<&str>, verb: &str, interactive: Option<bool>) -> Result<(), Refusal> {
    let mut details = vec![("verb", verb)];
    details.extend(name.map(|name| ("image", name)));
    access::check(call.caller, action::MANAGE_IMAGES, interactive.unwrap_or(false), &details).map_err(refused)
}

fn list(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let name = parameters.text("name")?;
    let acquire = acquire(&mut parameters)?;
    parameters.flag("allowInteractiveAuthentication")?;
    parameters.end()?;
    if let Some(name) = name {
        let image = call.service.image(&name).map_err(refused)?;
        return Ok(Reply::of(described(call.service, &image, acquire)?));
    }
    if !call.more {
        return Err(Refusal::expected_more());
    }
    let images = call.service.images().map_err(refused)?;
    let all = images.iter().map(|image| described(call.service, image, acquire)).collect::<Result<Vec<_>, _>>()?;
    if all.is_empty() { Err(refused(Error::NoSuchImage(String::new()))) } else { Ok(Reply::Many(all)) }
}

fn described(service: &Service, image: &Image, acquire: Acquire) -> Result<Value, Refusal> {
    let time = |microseconds: u64| (microseconds != 0).then_some(microseconds);
    let known = |size: u64| (size != UNKNOWN).then_some(size);
    let mut fields = Map::new();
    let mut add = |name: &str, value: Value| {
        if !value.is_null() {
            fields.insert(name.to_owned(), value);
        }
    };
    add("name", json!(image.name));
    add("path", json!(image.path.to_string_lossy()));
    add("type", json!(image.kind.name()));
    add("class", json!("machine"));
    add("readOnly", json!(image.read_only));
    add("creationTimestamp", json!(time(image.created)));
    add("modificationTimestamp", json!(time(image.modified)));
    add("usage", json!(known(image.usage)));
    add("usageExclusive", json!(known(image.usage_exclusive)));
    add("limit", json!(known(image.limit)));
    add("limitExclusive", json!(known(image.limit_exclusive)));
    let metadata = match acquire {
        Acquire::No => None,
        Acquire::Yes => Some(service.metadata(image).map_err(refused)?),
        Acquire::Graceful => service.metadata(image).ok(),
    };
    if let Some(Metadata { hostname, machine_id, machine_info, os_release }) = metadata {
        let lines = |pairs: Vec<(String, String)>| {
            let lines: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
            (!lines.is_empty()).then_some(lines)
        };
        add("hostname", json!(hostname));
        add("machineId", json!(machine_id.map(|id| uuid::Uuid::from_bytes(id).as_simple().to_string())));
        add("machineInfo", json!(lines(machine_info)));
        add("OSRelease", json!(lines(os_release)));
    }
    Ok(Value::Object(fields))
}

fn update(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let name = parameters.text("name")?;
    let interactive = parameters.flag("allowInteractiveAuthentication")?;
    let new = parameters.text("newName")?.map(new_name).transpose()?;
    let read_only = parameters.flag("readOnly")?;
    let limit = parameters.size("limit")?;
    parameters.end()?;
    let name = name.ok_or_else(|| Refusal::parameter("name"))?;
    call.service.image(&name).map_err(refused)?;
    permit(call, Some(&name), "update", interactive)?;
    // The name last: the others are looked up by it.
    if let Some(limit) = limit {
        call.service.limit_image(&name, (limit != UNKNOWN).then_some(limit)).map_err(refused)?;
    }
    if let (Some(true), Some(new)) = (read_only, &new) {
        // What is immutable has its name for good.
        call.service.rename_image(&name, new).map_err(refused)?;
        call.service.mark_image(new, true).map_err(refused)?;
        return Ok(Reply::none());
    }
    if let Some(read_only) = read_only {
        call.service.mark_image(&name, read_only).map_err(refused)?;
    }
    if let Some(new) = new {
        call.service.rename_image(&name, &new).map_err(refused)?;
    }
    Ok(Reply::none())
}

fn clone(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let name = parameters.text("name")?;
    let interactive = parameters.flag("allowInteractiveAuthentication")?;
    let new = parameters.text("newName")?.map(new_name).transpose()?;
    let read_only = parameters.flag("readOnly")?.unwrap_or(false);
    parameters.end()?;
    let name = name.ok_or_else(|| Refusal::parameter("name"))?;
    let new = new.ok_or_else(|| Refusal::parameter("newName"))?;
    call.service.image(&name).map_err(refused)?;
    permit(call, Some(&name), "clone", interactive)?;
    call.service.clone_image(&name, &new, read_only).map_err(refused)?;
    Ok(Reply::none())
}

fn remove(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let name = parameters.text("name")?;
    let interactive = parameters.flag("allowInteractiveAuthentication")?;
    parameters.end()?;
    let name = name.ok_or_else(|| Refusal::parameter("name"))?;
    call.service.image(&name).map_err(refused)?;
    permit(call, Some(&name), "remove", interactive)?;
    call.service.remove_image(&name).map_err(refused)?;
    Ok(Reply::none())
}

fn set_pool_limit(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let interactive = parameters.flag("allowInteractiveAuthentication")?;
    let limit = parameters.size("limit")?;
    parameters.end()?;
    let limit = limit.ok_or_else(|| Refusal::parameter("limit"))?;
    permit(call, None, "set_limit", interactive)?;
    call.service.limit_pool((limit != UNKNOWN).then_some(limit)).map_err(refused)?;
    Ok(Reply::none())
}

fn clean_pool(call: &Call<'_>, mut parameters: Parameters) -> Result<Reply, Refusal> {
    let interactive = parameters.flag("allowInteractiveAuthentication")?;
    let which = parameters.word("mode", &[("all", false), ("hidden", true)])?;
    parameters.end()?;
    let hidden = which.ok_or_else(|| Refusal::parameter("mode"))?;
    if !call.more {
        return Err(Refusal::expected_more());
    }
    permit(call, None, "clean_pool", interactive)?;
    let cleaned = call.service.clean_pool(if hidden { Clean::Hidden } else { Clean::All }).map_err(refused)?;
    for (_, error) in &cleaned.failed {
        crate::log::warn(error);
    }
    let removed: Vec<Value> = cleaned
        .removed
        .iter()
        .map(|(name, space)| {
            let mut one = json!({ "name": name });
            if *space != UNKNOWN {
                one["usageExclusive"] = json!(space);
            }
            one
        })
        .collect();
    match (removed.is_empty(), cleaned.failed.into_iter().next()) {
        (_, Some((_, error))) => Err(refused(error.into())),
        // Nothing to remove is nothing to tell of: the interface has this error for it.
        (true, None) => Err(refused(Error::NoSuchImage(String::new()))),
        (false, None) => Ok(Reply::Many(removed)),
    }
}
