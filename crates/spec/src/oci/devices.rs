//! `linux.devices`: nodes that are made, and `linux.resources.devices`: what may be done with devices.

use serde::Serialize;

use super::node::{Node, Object};
use super::{BundleError, inside, own};
use crate::{AbsPath, SpecPatch};

/// The highest numbers that the kernel has for a driver and for a device of it (makedev(3) and `dev_t` of the kernel).
pub(super) const HIGHEST: (u64, u64) = ((1 << 12) - 1, (1 << 20) - 1);
/// The permissions of a node of which none are said, as systemd-nspawn(1) makes it.
const USUAL_MODE: u32 = 0o644;
/// So many rules at the most: the kernel walks through all of them whenever a device is opened.
const MOST_RULES: usize = 1000;

/// Where a node is of no use: file systems of the kernel's own, and those on which no device can be opened.
const PLACES: [(&str, bool); 7] = [
    ("/proc", false),
    ("/sys", false),
    ("/dev/pts", false),
    ("/dev/mqueue", false),
    ("/dev/shm", true),
    ("/run", true),
    ("/tmp", true),
];

/// A device, fifo included, that is made inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BundleDevice {
    /// Where.
    pub path: AbsPath,
    /// What.
    pub kind: BundleDeviceKind,
    /// Its permissions.
    pub mode: u32,
    /// Its owner inside; root where absent.
    pub uid: Option<u32>,
    /// Its group inside; that of root where absent.
    pub gid: Option<u32>,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum BundleDeviceKind {
    /// A device.
    Device {
        /// It is a block device.
        block: bool,
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
}

/// What may be done with devices, or may not. Later ones win.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct BundleDeviceRule {
    /// It may.
    pub allow: bool,
    /// Block devices, or character devices; both where absent.
    pub block: Option<bool>,
    /// The driver; all where absent.
    pub major: Option<u32>,
    /// The number there; all where absent.
    pub minor: Option<u32>,
    /// Opened for reading.
    pub read: bool,
    /// Opened for writing.
    pub write: bool,
    /// Nodes made.
    pub make: bool,
}

impl BundleDeviceRule {
    /// It is about everything.
    #[must_use]
    pub fn is_about_everything(&self) -> bool {
        self.block.is_none() && self.major.is_none() && self.read && self.write && self.make
    }
}

/// `linux.devices`
pub(super) fn read(list: Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let mut made: Vec<BundleDevice> = Vec::new();
    for entry in list.array()? {
        let mut entry = entry.object()?;
        let place = entry.need("path")?;
        let Some(device) = device(&place, entry, patch)? else { continue };
        if made.iter().any(|known| known.path == device.path) {
            return Err(place.error("there is another device at the same place"));
        }
        made.push(device);
    }
    patch.bundle.get_or_insert_default().devices.extend(made);
    Ok(())
}

/// `None` for a terminal that the container has of its own.
fn device(place: &Node, mut entry: Object, patch: &SpecPatch) -> Result<Option<BundleDevice>, BundleError> {
    let path = inside(place)?;
    let kind = entry.need("type")?;
    let numbers = (entry.take("major"), entry.take("minor"));
    let kind = match (kind.text()?, numbers) {
        ("p", (major, minor)) => {
            // Written by those who have no other way to leave them out.
            for node in [major, minor].into_iter().flatten() {
                if node.unsigned()? != 0 {
                    return Err(node.error("a fifo has no numbers"));
                }
            }
            BundleDeviceKind::Fifo
        }
        (name @ ("b" | "c" | "u"), (major, minor)) => {
            let needed = |node: Option<Node>, name: &str| {
                node.ok_or_else(|| place.error(format!("a device has to have a {name} number")))
            };
            let major = number(&needed(major, "major")?, HIGHEST.0)?;
            let minor = number(&needed(minor, "minor")?, HIGHEST.1)?;
            BundleDeviceKind::Device { block: name == "b", major, minor }
        }
        _ => return Err(kind.error("it is none of b, c, u and p")),
    };
    let (mode, uid, gid) = (entry.take("fileMode"), entry.take("uid"), entry.take("gid"));
    entry.finish()?;
    if let Some(own) = own_terminal(&path, kind, patch) {
        own.is_as_said(mode, uid, gid)?;
        return Ok(None);
    }
    let mode = match mode {
        None => USUAL_MODE,
        Some(node) => match node.unsigned()? {
            mode @ 0..=0o777 => mode as u32,
            0o1000..=0o7777 => return Err(node.refused("a device is executed by nobody, so it has permissions alone")),
            _ => return Err(node.error("these are no permissions")),
        },
    };
    let id = |node: Option<Node>| node.map(|node| node.id()).transpose();
    let device = BundleDevice { path, kind, mode, uid: id(uid)?, gid: id(gid)? };
    useful(place, &device)?;
    Ok(Some(device))
}

/// A terminal that the container has in any case, with permissions that its terminals need.
struct OwnTerminal {
    mode: u32,
    group: u32,
}

impl OwnTerminal {
    /// Of what is said of it nothing may be otherwise.
    fn is_as_said(&self, mode: Option<Node>, uid: Option<Node>, gid: Option<Node>) -> Result<(), BundleError> {
        for (said, there) in [(mode, self.mode), (uid, 0), (gid, self.group)] {
            if let Some(said) = said
                && said.unsigned()? != u64::from(there)
            {
                return Err(said.refused("the container's own terminal is there, which is not so; leave it out"));
            }
        }
        Ok(())
    }
}

fn own_terminal(path: &AbsPath, kind: BundleDeviceKind, patch: &SpecPatch) -> Option<OwnTerminal> {
    let (minor, own) = match path.as_path().to_str() {
        Some("/dev/console") => {
            let said = patch.bundle.as_ref().and_then(|bundle| bundle.said_of("/dev/pts")?.mode);
            (1, OwnTerminal { mode: said.unwrap_or(own::TERMINAL_MODE), group: own::TTY_GROUP })
        }
        Some("/dev/ptmx" | "/dev/pts/ptmx") => (2, OwnTerminal { mode: own::PTMX_MODE, group: 0 }),
        _ => return None,
    };
    (kind == BundleDeviceKind::Device { block: false, major: 5, minor }).then_some(own)
}

fn useful(place: &Node, device: &BundleDevice) -> Result<(), BundleError> {
    let path = device.path.as_path();
    if path.parent().is_none() {
        return Err(place.error("the root itself is no device"));
    }
    for (directory, for_fifos) in PLACES {
        if path.starts_with(directory) && !(for_fifos && device.kind == BundleDeviceKind::Fifo) {
            return Err(place.refused("the file system that is there in every container takes no devices"));
        }
    }
    if ["/dev/console", "/dev/ptmx"].iter().any(|terminal| path == std::path::Path::new(terminal)) {
        return Err(place.refused("the container's own terminal is there"));
    }
    Ok(())
}

pub(super) fn number(node: &Node, highest: u64) -> Result<u32, BundleError> {
    let number = node.unsigned()?;
    if number > highest {
        return Err(node.error(format!("the highest number here is {highest}")));
    }
    Ok(number as u32)
}

/// `linux.resources.devices`
pub(super) fn rules(list: Node, patch: &mut SpecPatch) -> Result<(), BundleError> {
    let path = list.path.clone();
    let mut rules: Vec<BundleDeviceRule> = Vec::new();
    for entry in list.array()? {
        let rule = rule(entry)?;
        if rule.is_about_everything() {
            // What was said before has no effect any more.
            rules.clear();
        }
        // That nothing is allowed beside the devices that every container has is so anyway.
        if rule.allow || !rule.is_about_everything() {
            rules.push(rule);
        }
    }
    if rules.len() > MOST_RULES {
        return Err(BundleError::Value { path, reason: format!("there are more than {MOST_RULES} rules") });
    }
    patch.bundle.get_or_insert_default().device_rules = rules;
    Ok(())
}

fn rule(node: Node) -> Result<BundleDeviceRule, BundleError> {
    let path = node.path.clone();
    let error = |reason: &str| BundleError::Value { path: path.clone(), reason: reason.to_owned() };
    let mut rule = node.object()?;
    let allow = rule.need("allow")?.boolean()?;
    let access = if allow { Some(rule.need("access")?) } else { rule.take("access") };
    let kind = rule.take("type");
    let (major, minor) = (rule.take("major"), rule.take("minor"));
    rule.finish()?;
    let block = match kind.as_ref().map(Node::text).transpose()? {
        None | Some("a") => None,
        Some("b") => Some(true),
        Some("c") => Some(false),
        Some(_) => return Err(kind.map_or_else(|| error("no type"), |kind| kind.error("it is none of a, b and c"))),
    };
    // Some write -1 for all of them.
    let numbered = |node: Option<Node>, highest| match node {
        Some(node) if node.signed().is_ok_and(|number| number == -1) => Ok(None),
        node => node.map(|node| number(&node, highest)).transpose(),
    };
    let (major, minor) = (numbered(major, HIGHEST.0)?, numbered(minor, HIGHEST.1)?);
    if major.is_none() && minor.is_some() {
        return Err(error("a minor number needs a major one"));
    }
    if block.is_none() && major.is_some() {
        return Err(error("a major number means nothing without a type"));
    }
    let letters = match &access {
        None => "rwm",
        Some(node) if node.text()?.is_empty() => return Err(node.error("it is empty, so the rule means nothing")),
        Some(node) if !node.text()?.bytes().all(|letter| matches!(letter, b'r' | b'w' | b'm')) => {
            return Err(node.error("it has other letters than r, w and m"));
        }
        Some(node) => node.text()?,
    };
    let may = |letter| letters.contains(letter);
    Ok(BundleDeviceRule { allow, block, major, minor, read: may('r'), write: may('w'), make: may('m') })
}
