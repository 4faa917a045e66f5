//! OCI runtime bundles (`--oci-bundle=`): from `config.json` of the OCI runtime specification 1.x to a
//! [`SpecPatch`]. What is not carried out is refused by its JSON path; nothing is ignored.

mod devices;
mod linux;
mod merge;
mod mounts;
mod node;
mod own;
mod process;
mod resources;
mod seccomp;
mod strict;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use crate::{AbsPath, CapabilitySet, SliceName, SpecPatch};
pub use devices::{BundleDevice, BundleDeviceKind, BundleDeviceRule};
use node::{Node, Object};

pub(crate) use merge::combine;
pub use mounts::{AccessTimes, MountAttributes, MountChange};
pub use own::{OwnFileSystem, PTMX_MODE, TERMINAL_MODE, TTY_GROUP};
pub use seccomp::{CallAction, CallComparison, CallCondition, CallInterface, CallProfile, CallRule};

/// The largest `config.json` that is read, in bytes.
pub const BUNDLE_LIMIT: u64 = 4 << 20;

/// Why a bundle is not run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum BundleError {
    /// It is no JSON.
    #[error("it is no JSON document: {0}")]
    Json(String),
    /// Something that is needed is not there.
    #[error("{0} is missing")]
    Missing(String),
    /// The specification does not have it, or this version does not know it.
    #[error("{0} is not known to this version of redd")]
    Unknown(String),
    /// A value without meaning.
    #[error("{path}: {reason}")]
    Value {
        /// Where.
        path: String,
        /// Why.
        reason: String,
    },
    /// Known, but not carried out.
    #[error("{path} is not carried out by this version of redd: {reason}")]
    NotHonoured {
        /// Where.
        path: String,
        /// Why.
        reason: &'static str,
    },
}

/// What only a bundle can ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BundleSpec {
    /// As whom the program runs, by number alone.
    pub user: Option<BundleUser>,
    /// The mask of the modes of new files.
    pub umask: Option<u32>,
    /// The bounding set, before the command line adds to it and takes from it.
    pub bounding: Option<CapabilitySet>,
    /// The sets that the program is executed with, where they are not the usual ones.
    pub program_sets: Option<ProgramSets>,
    /// Kernel parameters of the container's own namespaces, as below `/proc/sys`.
    pub sysctls: Vec<(AbsPath, String)>,
    /// What is covered, if it exists.
    pub masked: Vec<AbsPath>,
    /// What cannot be changed, if it exists.
    pub read_only: Vec<AbsPath>,
    /// The system calls, instead of the usual filter.
    pub system_calls: Option<CallProfile>,
    /// A network namespace of the host that it shares, instead of one of its own.
    pub network: Option<PathBuf>,
    /// What the console's size is at first.
    pub console_size: Option<WindowSize>,
    /// What becomes of mounts.
    pub changes: Vec<MountChange>,
    /// What is said of the file systems that every container has; each is there once.
    pub own_file_systems: Vec<OwnFileSystem>,
    /// Nodes that are made.
    pub devices: Vec<BundleDevice>,
    /// What may be done with devices beyond what every container may; later ones win.
    pub device_rules: Vec<BundleDeviceRule>,
    /// The slice that the unit is to be in, unless the command line has another one.
    pub slice: Option<SliceName>,
}

/// The sets of capabilities that the kernel makes those of a program from when it is executed, see capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProgramSets {
    /// What is in force.
    pub effective: CapabilitySet,
    /// What can be in force.
    pub permitted: CapabilitySet,
    /// What is handed on; all ambient ones are in it.
    pub inheritable: CapabilitySet,
}

/// Of a terminal, in characters; neither is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WindowSize {
    /// How many lines.
    pub rows: u16,
    /// How many characters a line has.
    pub columns: u16,
}

/// A user by numbers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleUser {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// More groups.
    pub groups: Vec<u32>,
}

/// Reads the `config.json` of the bundle in `directory`, an absolute path.
///
/// # Errors
/// The first part of it that has no meaning or is not carried out.
pub fn read(json: &[u8], directory: &Path) -> Result<SpecPatch, BundleError> {
    let mut document = Node::root(strict::parse(json)?).object()?;
    let mut patch = SpecPatch { bundle: Some(BundleSpec::default()), ..SpecPatch::default() };
    version(&document.need("ociVersion")?)?;
    root(document.need("root")?, directory, &mut patch)?;
    if let Some(name) = document.take("hostname") {
        patch.hostname = Some(name.parsed(str::parse)?);
    }
    if let Some(process) = document.take("process") {
        process::read(process, &mut patch)?;
    }
    for mount in document.take("mounts").map(Node::array).transpose()?.unwrap_or_default() {
        mounts::read(mount, directory, &mut patch)?;
    }
    linux::read(document.take_object("linux")?, &mut patch)?;
    if let Some(annotations) = document.take("annotations") {
        // For those who look at bundles; the specification gives them no effect.
        for (name, value) in annotations.object()?.entries() {
            value.text()?;
            if name.is_empty() {
                return Err(value.error("it has no name"));
            }
        }
    }
    hooks(&mut document)?;
    document.refuse(&[
        ("domainname", "the NIS domain name is not set"),
        ("solaris", "this is Linux"),
        ("windows", "this is Linux"),
        ("vm", "there is no virtual machine"),
        ("zos", "this is Linux"),
    ])?;
    document.finish()?;
    Ok(patch)
}

/// 1.x.y, with or without an end such as -dev: all of them mean the same by what they share (semver.org).
fn version(node: &Node) -> Result<(), BundleError> {
    let numbers = node.text()?.split(['-', '+']).next().unwrap_or_default();
    let parts: Vec<_> = numbers.split('.').map(str::parse::<u32>).collect();
    match parts[..] {
        [Ok(1), Ok(_), Ok(_)] => Ok(()),
        _ => Err(node.error("only versions 1.x.y of the specification are read")),
    }
}

fn root(node: Node, directory: &Path, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut root = node.object()?;
    let path = root.need("path")?;
    if path.text()?.is_empty() {
        return Err(path.error("it is empty"));
    }
    patch.directory = Some(directory.join(path.text()?));
    if let Some(node) = root.take("readonly") {
        patch.read_only = Some(node.boolean()?).filter(|yes| *yes);
    }
    root.finish()
}

/// Hooks run programs of the host; lists without any do no harm.
fn hooks(document: &mut Object) -> Result<(), BundleError> {
    let Some(hooks) = document.take("hooks") else { return Ok(()) };
    let mut hooks = hooks.object()?;
    let why = "programs of the host are not run for a container; run them before and after redd";
    let names = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    hooks.refuse(&names.map(|name| (name, why)))?;
    hooks.finish()
}

/// A path inside the container.
fn inside(node: &Node) -> Result<AbsPath, BundleError> {
    node.parsed(|text| AbsPath::try_from(text))
}
