//! What a bundle says of the file systems that every container has: it is carried out, or so anyway, or refused.

use serde::Serialize;

use super::mounts::{AccessTimes, MountAttributes};
use super::node::Node;
use super::{BundleError, BundleSpec};
use crate::AbsPath;

/// The permissions of terminals where nothing else is said.
pub const TERMINAL_MODE: u32 = 0o600;
/// Those of `/dev/ptmx`.
pub const PTMX_MODE: u32 = 0o666;
/// The group that owns terminals.
pub const TTY_GROUP: u32 = 5;

const NONE: MountAttributes = MountAttributes {
    read_only: false,
    no_suid: false,
    no_dev: false,
    no_exec: false,
    no_symfollow: false,
    no_diratime: false,
};
const NO_PROGRAMS: MountAttributes = MountAttributes { no_exec: true, ..NONE };
const NO_SUID_DEV: MountAttributes = MountAttributes { no_suid: true, no_dev: true, ..NONE };
const API: MountAttributes = MountAttributes { no_exec: true, ..NO_SUID_DEV };
/// What may be said of memory in which nothing of the container's own is looked up.
const MEMORY: MountAttributes = MountAttributes { no_symfollow: true, no_diratime: true, ..NO_PROGRAMS };

/// A file system that every container has.
pub(super) struct Known {
    place: &'static str,
    /// The types that a bundle may ask for there.
    kinds: &'static [&'static str],
    /// How it is mounted, where nothing else can be said.
    has: MountAttributes,
    /// What a bundle decides.
    free: MountAttributes,
    content: Content,
}

/// What can be said of one beyond attributes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    /// The size, the permissions of its root, and when access times are written, which is always if nothing is said.
    Memory,
    /// The permissions of terminals.
    Terminals,
    /// Nothing.
    Kernel,
}

const KNOWN: [Known; 8] = [
    Known { place: "/proc", kinds: &["proc"], has: API, free: NONE, content: Content::Kernel },
    Known {
        place: "/dev",
        kinds: &["tmpfs", "devtmpfs"],
        has: MountAttributes { no_suid: true, ..NONE },
        free: NO_PROGRAMS,
        content: Content::Memory,
    },
    Known {
        place: "/dev/pts",
        kinds: &["devpts"],
        has: MountAttributes { no_suid: true, no_exec: true, ..NONE },
        free: NONE,
        content: Content::Terminals,
    },
    Known { place: "/dev/mqueue", kinds: &["mqueue"], has: API, free: NONE, content: Content::Kernel },
    Known { place: "/dev/shm", kinds: &["tmpfs"], has: NO_SUID_DEV, free: MEMORY, content: Content::Memory },
    Known { place: "/run", kinds: &["tmpfs"], has: NO_SUID_DEV, free: MEMORY, content: Content::Memory },
    Known {
        place: "/sys",
        kinds: &["sysfs"],
        has: MountAttributes { read_only: true, ..API },
        free: NONE,
        content: Content::Kernel,
    },
    Known {
        place: "/sys/fs/cgroup",
        kinds: &["cgroup", "cgroup2"],
        has: API,
        free: MountAttributes { read_only: true, ..NONE },
        content: Content::Kernel,
    },
];

/// What is said of a file system that every container has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OwnFileSystem {
    /// Which.
    pub place: AbsPath,
    /// How large it may become, as the kernel takes it; as usual where absent.
    pub size: Option<String>,
    /// The permissions of its root, or those of terminals; as usual where absent.
    pub mode: Option<u32>,
    /// Attributes beyond the usual ones.
    pub set: MountAttributes,
    /// When access times are written; as usual where absent.
    pub access_times: Option<AccessTimes>,
}

impl BundleSpec {
    /// What is said of the file system at this place, if it is one that every container has.
    #[must_use]
    pub fn said_of(&self, place: &str) -> Option<&OwnFileSystem> {
        self.own_file_systems.iter().find(|own| own.place.as_path() == std::path::Path::new(place))
    }
}

/// The one at this place.
pub(super) fn at(place: &AbsPath) -> Option<&'static Known> {
    KNOWN.iter().find(|known| place.as_path() == std::path::Path::new(known.place))
}

impl Known {
    /// Whether a bundle may ask for this type.
    pub(super) fn is(&self, kind: &str) -> bool {
        self.kinds.contains(&kind)
    }

    /// Takes all that is said of it, which replaces what was said before.
    pub(super) fn read(&self, place: AbsPath, options: &[Node], bundle: &mut BundleSpec) -> Result<(), BundleError> {
        let mut own = OwnFileSystem { place, size: None, mode: None, set: NONE, access_times: None };
        for option in options {
            if !self.take(&mut own, option)? {
                return Err(option.refused("the container's own file system is not so, and cannot be made so"));
            }
        }
        bundle.read_only.retain(|path| *path != own.place);
        bundle.own_file_systems.retain(|known| known.place != own.place);
        if self.content == Content::Kernel {
            if own.set.read_only {
                bundle.read_only.push(own.place);
            }
        } else {
            bundle.own_file_systems.push(own);
        }
        Ok(())
    }

    /// False for what is not so. The last word counts.
    fn take(&self, own: &mut OwnFileSystem, option: &Node) -> Result<bool, BundleError> {
        let text = option.text()?;
        if let Some((attribute, on)) = MountAttributes::named(text) {
            let (mut has, mut free) = (self.has, self.free);
            if *attribute(&mut free) {
                *attribute(&mut own.set) = on;
                return Ok(true);
            }
            return Ok(*attribute(&mut has) == on);
        }
        if let Some(times) = AccessTimes::named(text) {
            own.access_times = Some(times);
            return Ok(self.content == Content::Memory || times == AccessTimes::Relative);
        }
        let memory = self.content == Content::Memory;
        let terminals = self.content == Content::Terminals;
        // Nothing of it is mounted on the host, and nothing of the host's in it.
        if ["private", "rprivate", "slave", "rslave", "defaults", "silent", "loud"].contains(&text) {
            return Ok(true);
        }
        Ok(match text.split_once('=') {
            None => terminals && text == "newinstance",
            Some(("size", size)) if memory => {
                if !is_size(size) {
                    return Err(option.error("it is no size, such as size=64m"));
                }
                own.size = Some(size.to_owned());
                true
            }
            Some(("mode", mode)) if memory || terminals => {
                let mode = octal(mode).ok_or_else(|| option.error("these are no permissions, such as mode=0755"))?;
                own.mode = Some(mode);
                true
            }
            Some(("ptmxmode", mode)) => terminals && octal(mode) == Some(PTMX_MODE),
            Some(("gid", group)) => terminals && group.parse() == Ok(TTY_GROUP),
            Some(_) => false,
        })
    }
}

fn octal(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = digits.then(|| u32::from_str_radix(text, 8).ok()).flatten();
    mode.filter(|mode| *mode <= 0o7777)
}

/// A number, with a unit or as a share of the memory (tmpfs(5)).
fn is_size(text: &str) -> bool {
    let digits = text.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = &text[digits.len()..];
    let known = ["", "%", "k", "m", "g", "t", "p", "e"].iter().any(|known| unit.eq_ignore_ascii_case(known));
    known && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}
