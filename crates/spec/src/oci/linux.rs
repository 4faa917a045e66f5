//! `linux`: namespaces, kernel parameters, paths that are closed, limits.

use std::path::PathBuf;

use super::node::{Node, Object};
use super::{BundleError, devices, inside, resources};
use crate::{AbsPath, Ownership, Personality, PrivateUsers, SpecPatch, UidRange};

pub(super) fn read(mut linux: Object, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let users = users(&mut linux)?;
    namespaces(&mut linux, users, patch)?;
    if let Some(list) = linux.take("sysctl") {
        for (name, value) in list.object()?.entries() {
            sysctl(&name, &value, patch)?;
        }
    }
    let bundle = patch.bundle.get_or_insert_default();
    for (name, paths) in [("maskedPaths", &mut bundle.masked), ("readonlyPaths", &mut bundle.read_only)] {
        for path in linux.take(name).map(Node::array).transpose()?.unwrap_or_default() {
            let inside = inside(&path)?;
            if inside.as_path().parent().is_none() {
                return Err(path.error("the root itself is none of these; see root.readonly"));
            }
            paths.push(inside);
        }
    }
    if let Some(node) = linux.take("rootfsPropagation") {
        match node.text()? {
            "" | "slave" | "rslave" | "private" | "rprivate" => {}
            "shared" | "rshared" => return Err(node.refused("mounts made inside do not reach the host")),
            "unbindable" | "runbindable" => return Err(node.refused("the root can be bound elsewhere")),
            _ => return Err(node.error("it is no propagation type")),
        }
    }
    if let Some(node) = linux.take("mountLabel") {
        patch.selinux_apifs_context = Some(node.text()?.to_owned()).filter(|label| !label.is_empty());
    }
    if let Some(node) = linux.take("personality") {
        patch.personality = Some(personality(node)?);
    }
    if let Some(node) = linux.take("seccomp") {
        patch.bundle.get_or_insert_default().system_calls = Some(super::seccomp::read(node)?);
    }
    if let Some(node) = linux.take("resources") {
        resources::read(node, patch)?;
    }
    if let Some(list) = linux.take("devices") {
        devices::read(list, patch)?;
    }
    if let Some(node) = linux.take("cgroupsPath").filter(|node| !node.text().is_ok_and(str::is_empty)) {
        resources::place(&node, patch)?;
    }
    linux.refuse(&[
        ("intelRdt", "resource director groups are not joined"),
        ("timeOffsets", "there is no time namespace"),
        ("memoryPolicy", "the memory policy is not set"),
        ("netDevices", "no network devices are moved"),
    ])?;
    linux.finish()
}

/// The range of the mappings, and where it stands.
fn users(linux: &mut Object) -> Result<Option<(UidRange, String)>, BundleError> {
    let mapping = |node: Node| -> Result<(UidRange, String), BundleError> {
        let path = node.path.clone();
        let error = |reason: &str| BundleError::Value { path: path.clone(), reason: reason.to_owned() };
        let mut entries = node.array()?.into_iter();
        let (Some(entry), None) = (entries.next(), entries.next()) else {
            return Err(error("only one entry is carried out"));
        };
        let mut entry = entry.object()?;
        let first = entry.need("containerID")?;
        if first.id()? != 0 {
            return Err(first.error("only mappings from zero on are carried out"));
        }
        let (start, count) = (entry.need("hostID")?.id()?, entry.need("size")?);
        let range = u32::try_from(count.unsigned()?).ok().and_then(|count| UidRange::new(start, count));
        let range = range.ok_or_else(|| count.error("these ids are no range"))?;
        entry.finish()?;
        Ok((range, path))
    };
    let uid = linux.take("uidMappings").filter(|node| !node.is_empty()).map(mapping).transpose()?;
    let gid = linux.take("gidMappings").filter(|node| !node.is_empty()).map(mapping).transpose()?;
    match (uid, gid) {
        (Some((one, path)), Some((other, _))) if one == other => Ok(Some((one, path))),
        (None, None) => Ok(None),
        (Some((_, path)), _) | (None, Some((_, path))) => {
            Err(BundleError::Value { path, reason: "users and groups have to be mapped alike".to_owned() })
        }
    }
}

/// Those that are not there are the host's, also where there is no list of them.
fn namespaces(linux: &mut Object, users: Option<(UidRange, String)>, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let path = linux.below("namespaces");
    let mut seen: Vec<String> = Vec::new();
    for entry in linux.take("namespaces").map(Node::array).transpose()?.unwrap_or_default() {
        let mut entry = entry.object()?;
        let kind = entry.need("type")?;
        let name = kind.text()?.to_owned();
        if let Some(path) = entry.take("path") {
            match name.as_str() {
                "network" => patch.bundle.get_or_insert_default().network = Some(host_path(&path)?),
                _ => return Err(path.refused("only network namespaces are joined that exist already; leave it out")),
            }
        }
        entry.finish()?;
        match name.as_str() {
            "mount" | "pid" | "ipc" | "uts" | "network" | "user" | "cgroup" => {}
            "time" => return Err(kind.refused("there is no time namespace")),
            _ => return Err(kind.error("it is no namespace")),
        }
        if seen.contains(&name) {
            return Err(kind.error("the same namespace is there twice"));
        }
        seen.push(name);
    }
    let has = |name: &str| seen.iter().any(|seen| seen == name);
    if let Some(name) = ["mount", "pid", "ipc", "uts"].into_iter().find(|name| !has(name)) {
        let reason = format!("a container always has its own {name} namespace, which has to be in this list");
        return Err(BundleError::Value { path, reason });
    }
    patch.private_network = Some(has("network"));
    patch.cgroup_namespace = Some(has("cgroup"));
    if has("user") && patch.bundle.as_ref().is_some_and(|bundle| bundle.network.is_some()) {
        let reason =
            "a network that exists already belongs to the host's users; leave out its path or the user namespace";
        return Err(BundleError::NotHonoured { path, reason });
    }
    match (has("user"), users) {
        (true, Some((range, _))) => {
            patch.private_users = Some(PrivateUsers::Range(range));
            patch.ownership = Some(Ownership::Off);
        }
        (false, None) => patch.private_users = Some(PrivateUsers::No),
        (true, None) => return Err(BundleError::Missing("linux.uidMappings".to_owned())),
        (false, Some((_, path))) => {
            return Err(BundleError::Value { path, reason: "there is no user namespace to map".to_owned() });
        }
    }
    Ok(())
}

fn host_path(node: &Node) -> Result<PathBuf, BundleError> {
    let path = PathBuf::from(node.text()?);
    if path.is_absolute() { Ok(path) } else { Err(node.error("it is no absolute path")) }
}

/// Those that belong to the container's namespaces; others would change the host.
fn sysctl(name: &str, value: &Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let text = value.text()?;
    let ipc = ["kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall", "kernel.shmmax"];
    let more = ["kernel.shmmni", "kernel.shm_rmid_forced"];
    let own = ipc.contains(&name) || more.contains(&name) || name.starts_with("fs.mqueue.");
    let network = name.starts_with("net.");
    if name.contains('/') || !(own || network) {
        return Err(value.refused("it belongs to the host, not to a namespace of the container's own"));
    }
    if network && patch.private_network != Some(true) {
        return Err(value.refused("the container shares the host's network; add a network namespace"));
    }
    let path = format!("/proc/sys/{}", name.replace('.', "/"));
    let path = AbsPath::try_from(path.as_str()).map_err(|error| value.error(error.to_string()))?;
    patch.bundle.get_or_insert_default().sysctls.push((path, text.to_owned()));
    Ok(())
}

fn personality(node: Node) -> Result<Personality, BundleError> {
    let mut personality = node.object()?;
    let domain = personality.need("domain")?;
    let found = match domain.text()? {
        "LINUX" => Personality::X86_64,
        "LINUX32" => Personality::X86,
        _ => return Err(domain.error("it is neither LINUX nor LINUX32")),
    };
    personality.refuse(&[("flags", "the specification has no flags yet")])?;
    personality.finish()?;
    Ok(found)
}
