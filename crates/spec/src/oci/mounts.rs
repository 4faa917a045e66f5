//! `mounts`: what is bound from the host, file systems in memory, and those that every container has anyway.

use std::path::Path;

use super::node::Node;
use super::{BundleError, Restriction, inside};
use crate::{AbsPath, BindSource, CustomMount, IdMapping, SpecPatch};

/// File systems that every container has at these places, and the types that a bundle may ask for there.
const ALWAYS: [(&str, &[&str]); 7] = [
    ("/proc", &["proc"]),
    ("/dev", &["tmpfs", "devtmpfs"]),
    ("/dev/pts", &["devpts"]),
    ("/dev/mqueue", &["mqueue"]),
    ("/dev/shm", &["tmpfs"]),
    ("/sys", &["sysfs"]),
    ("/sys/fs/cgroup", &["cgroup", "cgroup2"]),
];

/// What is said of those in the bundles that runtimes make, which holds anyway or makes no difference for the container.
const USUAL: [&str; 10] =
    ["nosuid", "noexec", "nodev", "relatime", "strictatime", "newinstance", "rw", "ptmxmode=0666", "gid=5", "rprivate"];

pub(super) fn read(node: Node, directory: &Path, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut mount = node.object()?;
    let place = mount.need("destination")?;
    let destination = inside(&place)?;
    let kind = mount.take("type");
    let name = kind.as_ref().map(Node::text).transpose()?.unwrap_or("none").to_owned();
    let source = mount.take("source");
    let options = mount.take("options").map(Node::array).transpose()?.unwrap_or_default();
    mount.refuse(&[
        ("uidMappings", "the ids of a single mount are not mapped"),
        ("gidMappings", "the ids of a single mount are not mapped"),
    ])?;
    mount.finish()?;
    let has = |wanted: &[&str]| options.iter().any(|option| option.text().is_ok_and(|text| wanted.contains(&text)));
    let known = ALWAYS.iter().find(|(place, _)| destination.as_path() == Path::new(place));
    if has(&["bind", "rbind"]) || name == "bind" {
        let source = source.ok_or_else(|| BundleError::Missing(format!("the source of the mount {}", place.path)))?;
        return bind(destination, &source, &options, directory, patch);
    }
    match (known, name.as_str()) {
        (Some((_, kinds)), name) if kinds.contains(&name) => always(destination, &options, patch),
        (None, "tmpfs") => tmpfs(destination, &place, &options, patch),
        (Some(_), _) => Err(place.refused("another file system is there in every container")),
        (None, _) => {
            Err(kind.unwrap_or(place).refused("only tmpfs and bind mounts are made; mount it on the host, and bind it"))
        }
    }
}

/// The container's own file system stays; what is said about it must hold.
fn always(destination: AbsPath, options: &[Node], patch: &mut SpecPatch) -> Result<(), BundleError> {
    let place = destination.as_path().to_owned();
    for option in options {
        match option.text()? {
            text if USUAL.contains(&text) || text.starts_with("mode=") || text.starts_with("size=") => {}
            "ro" if place == Path::new("/sys") => {}
            "ro" if place == Path::new("/sys/fs/cgroup") => {
                patch.bundle.get_or_insert_default().read_only.push(destination.clone());
            }
            "private" | "slave" | "rslave" | "nosymfollow" => {}
            _ => return Err(option.refused("this file system is the container's own, with options of its own")),
        }
    }
    Ok(())
}

fn tmpfs(destination: AbsPath, place: &Node, options: &[Node], patch: &mut SpecPatch) -> Result<(), BundleError> {
    if destination.as_path().parent().is_none() {
        return Err(place.error("the root cannot be replaced like this"));
    }
    let mut words = Vec::new();
    for option in options {
        let text = option.text()?;
        if text.contains(',') {
            return Err(option.error("it has a comma in it"));
        }
        match text {
            "private" | "rprivate" | "slave" | "rslave" => {}
            text => words.push(text),
        }
    }
    let options = Some(words.join(",")).filter(|options| !options.is_empty());
    patch.mounts.get_or_insert_default().push(CustomMount::Tmpfs { destination, options });
    Ok(())
}

/// What the host mounts later below the source is seen inside, and nothing goes the other way: that is all that is
/// made of propagation.
fn bind(
    destination: AbsPath,
    source: &Node,
    options: &[Node],
    directory: &Path,
    patch: &mut SpecPatch,
) -> Result<(), BundleError> {
    let (mut read_only, mut recursive) = (false, false);
    let mut more = Restriction { path: destination.clone(), no_suid: false, no_dev: false, no_exec: false };
    for option in options {
        match option.text()? {
            "bind" => {}
            "rbind" => recursive = true,
            "ro" => read_only = true,
            "rw" => read_only = false,
            "nosuid" => more.no_suid = true,
            "suid" => more.no_suid = false,
            "nodev" => more.no_dev = true,
            "dev" => more.no_dev = false,
            "noexec" => more.no_exec = true,
            "exec" => more.no_exec = false,
            "private" | "rprivate" | "slave" | "rslave" | "relatime" => {}
            "shared" | "rshared" => return Err(option.refused("mounts made inside do not reach the host")),
            _ => return Err(option.refused("a bind mount has no such option")),
        }
    }
    if source.text()?.is_empty() {
        return Err(source.error("it is empty"));
    }
    let path = directory.join(source.text()?);
    patch.mounts.get_or_insert_default().push(CustomMount::Bind {
        source: BindSource::Host(path),
        destination,
        read_only,
        recursive,
        ids: IdMapping::Unmapped,
    });
    if more.no_suid || more.no_dev || more.no_exec {
        patch.bundle.get_or_insert_default().restricted.push(more);
    }
    Ok(())
}
