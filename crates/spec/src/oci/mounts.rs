//! `mounts`: what is bound from the host, file systems of all kinds, and those that every container has anyway.

use std::path::Path;

use serde::Serialize;

use super::node::Node;
use super::{BundleError, inside, own};
use crate::{AbsPath, BindSource, CustomMount, IdMapping, SpecPatch};

/// Kinds that show the kernel that they are mounted in, which is the host's.
const OF_THE_KERNEL: [&str; 18] = [
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "mqueue",
    "proc",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sysfs",
    "tracefs",
];

/// What becomes of a mount once it is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MountChange {
    /// Which of the mounts, from 0 on.
    pub mount: usize,
    /// All mounts below it too.
    pub recursive: bool,
    /// Attributes that it gets.
    pub set: MountAttributes,
    /// Attributes that it loses.
    pub clear: MountAttributes,
    /// When access times are written.
    pub access_times: Option<AccessTimes>,
    /// What the host mounts below its source later is not seen.
    pub private: bool,
}

/// Attributes of a mount, see [`mount_setattr(2)`](https://man7.org/linux/man-pages/man2/mount_setattr.2.html).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MountAttributes {
    /// Nothing can be changed through it.
    pub read_only: bool,
    /// Set-user-id bits have no effect.
    pub no_suid: bool,
    /// Devices cannot be opened.
    pub no_dev: bool,
    /// Nothing can be executed.
    pub no_exec: bool,
    /// Links are not followed.
    pub no_symfollow: bool,
    /// Access times of directories are never written.
    pub no_diratime: bool,
}

/// One of them.
pub(super) type Attribute = fn(&mut MountAttributes) -> &mut bool;

/// When access times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AccessTimes {
    /// Where they are older than a day or than the last change.
    Relative,
    /// Always.
    Strict,
    /// Never.
    Never,
}

impl MountAttributes {
    /// The attribute that an option is about, and whether it sets it; `None` if it is about none.
    pub(super) fn named(word: &str) -> Option<(Attribute, bool)> {
        let field: Attribute = match word {
            "ro" | "rw" => |all| &mut all.read_only,
            "nosuid" | "suid" => |all| &mut all.no_suid,
            "nodev" | "dev" => |all| &mut all.no_dev,
            "noexec" | "exec" => |all| &mut all.no_exec,
            "nosymfollow" | "symfollow" => |all| &mut all.no_symfollow,
            "nodiratime" | "diratime" => |all| &mut all.no_diratime,
            _ => return None,
        };
        Some((field, word == "ro" || word.starts_with("no")))
    }
}

impl AccessTimes {
    /// What an option says of them; `None` if it is about something else.
    pub(super) fn named(word: &str) -> Option<Self> {
        Some(match word {
            "noatime" => Self::Never,
            "strictatime" | "norelatime" => Self::Strict,
            "relatime" | "nostrictatime" | "atime" => Self::Relative,
            _ => return None,
        })
    }
}

impl MountChange {
    /// Takes an option about an attribute; false if it is none.
    fn take(&mut self, word: &str) -> bool {
        if let Some((field, on)) = MountAttributes::named(word) {
            *field(&mut self.set) = on;
            *field(&mut self.clear) = !on;
            return true;
        }
        let times = AccessTimes::named(word);
        self.access_times = times.or(self.access_times);
        times.is_some()
    }

    fn is_nothing(&self) -> bool {
        *self == Self { mount: self.mount, recursive: self.recursive, ..Self::default() }
    }
}

pub(super) fn read(node: Node, directory: &Path, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut mount = node.object()?;
    let place = mount.need("destination")?;
    let destination = inside(&place)?;
    let kind = mount.take("type");
    let name = kind.as_ref().map(Node::text).transpose()?.map(str::to_owned);
    let source = mount.take("source");
    let options = mount.take("options").map(Node::array).transpose()?.unwrap_or_default();
    let why = "the ids of a single mount are not listed; use the option idmap, or --bind= with map=";
    mount.refuse(&[("uidMappings", why), ("gidMappings", why)])?;
    mount.finish()?;
    let known = own::at(&destination);
    let has = |wanted: &[&str]| options.iter().any(|option| option.text().is_ok_and(|text| wanted.contains(&text)));
    match (known, name.as_deref()) {
        (_, None | Some("bind" | "none")) => {}
        (_, Some(_)) if has(&["bind", "rbind"]) => {}
        (Some(known), Some(name)) if known.is(name) => {
            return known.read(destination, &options, patch.bundle.get_or_insert_default());
        }
        (Some(_), _) => return Err(place.refused("another file system is there in every container")),
        (None, Some(name)) if name.is_empty() || name.contains(',') => {
            return Err(kind.unwrap_or(place).error("it is no type of file system"));
        }
        (None, Some(name)) if OF_THE_KERNEL.contains(&name) => {
            let why = "it would show the host's kernel; the container's own are at their usual places";
            return Err(kind.unwrap_or(place).refused(why));
        }
        (None, Some(name)) => {
            if destination.as_path().parent().is_none() {
                return Err(place.error("the root cannot be replaced like this"));
            }
            return file_system(name.to_owned(), (destination, source), &options, patch);
        }
    }
    let source = source.ok_or_else(|| BundleError::Missing(format!("the source of the mount {}", place.path)))?;
    bind(destination, &source, &options, directory, patch)
}

/// Why an option that the specification has is not carried out, for mounts of both kinds.
fn refusal(word: &str) -> Option<&'static str> {
    Some(match word {
        "shared" | "rshared" => "mounts made inside do not reach the host",
        "unbindable" | "runbindable" => "all that is mounted can be bound elsewhere",
        "remount" => "nothing is mounted again; say all in one entry",
        "tmpcopyup" => "nothing is copied up; bind a directory that has the files",
        _ => return None,
    })
}

/// A new file system. What is no option of every mount is the file system's own business.
fn file_system(
    kind: String,
    (destination, source): (AbsPath, Option<Node>),
    options: &[Node],
    patch: &mut SpecPatch,
) -> Result<(), BundleError> {
    let mounts = patch.mounts.get_or_insert_default();
    let mut change = MountChange { mount: mounts.len(), ..MountChange::default() };
    let mut own = Vec::new();
    for option in options {
        let text = option.text()?;
        if text.contains(',') || text.is_empty() {
            return Err(option.error("it is empty, or has a comma in it"));
        }
        if let Some(why) = refusal(text) {
            return Err(option.refused(why));
        }
        match text {
            "idmap" | "ridmap" => return Err(option.refused("only the ids of what is bound are mapped")),
            // Nothing is below it yet, and nothing of it is mounted on the host.
            "private" | "rprivate" | "slave" | "rslave" | "defaults" | "silent" | "loud" => {}
            text if change.take(text) || text.strip_prefix('r').is_some_and(|text| change.take(text)) => {}
            text => own.push(text.to_owned()),
        }
    }
    let source = source.map(|node| node.text().map(str::to_owned)).transpose()?;
    mounts.push(CustomMount::FileSystem { kind, source, destination, options: own });
    patch.bundle.get_or_insert_default().changes.push(change);
    Ok(())
}

/// What the host mounts later below the source is seen inside, unless it is private; nothing goes the other way.
fn bind(
    destination: AbsPath,
    source: &Node,
    options: &[Node],
    directory: &Path,
    patch: &mut SpecPatch,
) -> Result<(), BundleError> {
    let mounts = patch.mounts.get_or_insert_default();
    let mut one = MountChange { mount: mounts.len(), ..MountChange::default() };
    let mut all = MountChange { recursive: true, ..one.clone() };
    let (mut recursive, mut ids) = (true, IdMapping::Unmapped);
    for option in options {
        let text = option.text()?;
        if let Some(why) = refusal(text) {
            return Err(option.refused(why));
        }
        match text {
            "bind" | "norbind" => recursive = false,
            "rbind" => recursive = true,
            "idmap" | "ridmap" => ids = IdMapping::Same,
            "rootidmap" => ids = IdMapping::Root,
            "owneridmap" => ids = IdMapping::Owner,
            "noidmap" => ids = IdMapping::Unmapped,
            "private" => one.private = true,
            "rprivate" => all.private = true,
            "slave" => one.private = false,
            "rslave" => (one.private, all.private) = (false, false),
            "defaults" | "silent" | "loud" => {}
            text if one.take(text) || text.strip_prefix('r').is_some_and(|text| all.take(text)) => {}
            _ => return Err(option.refused("a bind mount has no such option; it belongs to a file system")),
        }
    }
    if source.text()?.is_empty() {
        return Err(source.error("it is empty"));
    }
    let path = directory.join(source.text()?);
    mounts.push(CustomMount::Bind { source: BindSource::Host(path), destination, read_only: false, recursive, ids });
    let changes = &mut patch.bundle.get_or_insert_default().changes;
    changes.extend([all, one].into_iter().filter(|change| !change.is_nothing()));
    Ok(())
}
