//! What the plan has to know about the host, the caller and the tree. Probed once, before anything is changed.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;
use spec::{ConsoleMode, ResolvConfSource, Resource, Rlimit, Secret};
use uuid::Uuid;

/// Everything that [`resolve`](crate::resolve) may look at beside the specification.
#[derive(Clone, Debug, Serialize)]
pub struct HostFacts {
    /// The environment and the standard streams of the caller.
    pub caller: CallerFacts,
    /// The host.
    pub host: HostSystem,
    /// The tree that becomes the root.
    pub tree: TreeFacts,
    /// The sources of the bind mounts, in the order of the specification's mounts; `None` for mounts without a source
    /// on the host.
    pub sources: Vec<Option<SourceFacts>>,
    /// The layers of the overlays, likewise; empty for other mounts.
    pub layers: Vec<Vec<LayerFacts>>,
    /// Users of the host that are taken inside. Absent where there are none.
    pub bind_users: Option<BindUserFacts>,
    /// The contents of the credentials, in the order of the specification's.
    pub credentials: Vec<Secret>,
    /// First id of a range of 65536 user and group ids that nobody uses. Absent where none is asked for.
    pub free_id_range: Option<u32>,
    /// The first ids of the ranges that a service has given for containers inside.
    pub delegated_ranges: Vec<u32>,
    /// The sockets in the host's `/run/systemd` that containers inside get theirs by, where there are such ranges.
    pub delegation_sockets: Vec<String>,
    /// What limits are relative to and put on. Absent where none is asked for.
    pub limits: Option<LimitFacts>,
    /// What the host has of the machine's journal. Absent where nobody asks.
    pub journal: Option<JournalFacts>,
    /// The host's systemd-journal-remote, if it has one and it is asked for.
    pub journal_remote: Option<JournalRemoteFacts>,
    /// Random values, made once so that the plan is a pure function.
    pub random: Random,
}

/// The caller's side.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CallerFacts {
    /// `$TERM`.
    pub term: Option<OsString>,
    /// `$COLORTERM`.
    pub colorterm: Option<OsString>,
    /// `$NO_COLOR`.
    pub no_color: Option<OsString>,
    /// `$SYSTEMD_TINT_BACKGROUND`: no means no tint.
    pub tint_background: Option<OsString>,
    /// `$NOTIFY_SOCKET`: where the caller's service manager listens, see sd_notify(3).
    pub notify_socket: Option<OsString>,
    /// `$WATCHDOG_USEC`, if it is meant for the caller: within how many microseconds it has to give a sign of life, see
    /// sd_watchdog_enabled(3).
    pub watchdog: Option<u64>,
    /// The descriptors that the caller's service manager has passed, see sd_listen_fds(3).
    pub listen: Option<Listen>,
    /// `$XDG_RUNTIME_DIR`: where the caller's own service manager listens.
    pub runtime_directory: Option<OsString>,
    /// What the standard streams suggest for the console where none is asked for.
    pub console: StandardStreams,
}

/// Descriptors from number 3 on that a service manager passes to what it starts, see sd_listen_fds(3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listen {
    /// How many.
    pub count: u32,
    /// `$LISTEN_FDNAMES`: their names, with colons between them.
    pub names: Option<OsString>,
}

/// Whether the standard streams are terminals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct StandardStreams {
    /// Standard input is a terminal.
    pub input_is_terminal: bool,
    /// Standard output is a terminal.
    pub output_is_terminal: bool,
}

impl StandardStreams {
    /// The mode where none is asked for: interactive on a terminal, read-only elsewhere (systemd-nspawn(1),
    /// `--console=`).
    #[must_use]
    pub fn default_mode(self) -> ConsoleMode {
        if self.input_is_terminal && self.output_is_terminal { ConsoleMode::Interactive } else { ConsoleMode::ReadOnly }
    }
}

/// The host as a whole.
#[derive(Clone, Debug, Serialize)]
pub struct HostSystem {
    /// Its host name.
    pub hostname: String,
    /// Its os-release file, resolved, if it has one.
    pub os_release: Option<PathBuf>,
    /// `ID=`, `VERSION_ID=`, `BUILD_ID=` and `VARIANT_ID=` of it, in lower case, as far as they are there.
    pub os_ids: Vec<(String, String)>,
    /// The file of those of `--resolv-conf=` that is asked for, or that fits, if it has one.
    pub resolv_conf: Option<ResolvConf>,
    /// Its `/etc/localtime`.
    pub localtime: Localtime,
    /// The limits that the kernel gives to a first process.
    pub limits: Vec<(Resource, Rlimit)>,
    /// The highest capability number that the kernel knows.
    pub last_capability: u32,
    /// User namespaces can be made, or none is asked for.
    pub user_namespaces: bool,
    /// systemd manages the host, and the caller may ask the service manager that was chosen for units.
    pub service_manager: bool,
    /// The caller is in the session of a user, whose units are not looked after by the system's service manager. Looked at
    /// only where it matters.
    pub user_session: bool,
    /// The kernel has SELinux mounted or compiled in.
    pub selinux: bool,
}

/// How the host resolves names, see resolv.conf(5).
#[derive(Clone, Debug, Serialize)]
pub struct ResolvConf {
    /// Which file.
    pub source: ResolvConfSource,
    /// What it says.
    pub contents: Vec<u8>,
}

/// The host's `/etc/localtime`, see localtime(5).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Localtime {
    /// There is none, which means UTC.
    Absent,
    /// A link.
    Link {
        /// Its time zone, such as `Europe/Berlin`, where it leads into the zone database.
        zone: Option<String>,
        /// What is there, if it was asked for and can be read.
        contents: Option<Vec<u8>>,
    },
    /// A file of its own.
    File {
        /// What is in it, if it can be read.
        contents: Option<Vec<u8>>,
    },
}

/// The tree that becomes the root.
#[derive(Clone, Debug, Serialize)]
pub struct TreeFacts {
    /// Its path without symbolic links.
    pub path: PathBuf,
    /// It is the host's own root directory.
    pub host_root: bool,
    /// Nothing in it can be changed: a read-only mount or subvolume.
    pub read_only: bool,
    /// Owner of its root directory.
    pub owner: u32,
    /// Group of its root directory.
    pub group: u32,
    /// A change of the owners of its files has not come to its end.
    pub half_shifted: bool,
    /// Ids can be mapped on its file system.
    pub idmap: bool,
    /// How a copy of it is made that lives as long as the container. Absent where none is asked for.
    pub ephemeral: Option<EphemeralFacts>,
    /// The tree does not exist yet and is to be made from this one, which the other facts are about.
    pub template: Option<PathBuf>,
    /// It has an os-release file.
    pub os_release: bool,
    /// It has data of the host's time zone, where a link to them is asked for.
    pub timezone: bool,
    /// The machine id that is set in it.
    pub machine_id: Option<Uuid>,
    /// Why what is in its `/etc/machine-id` is none.
    pub machine_id_problem: Option<&'static str>,
    /// It has a `/usr`, below the directory that becomes the root. A disk image may have it in a partition.
    pub usr: bool,
    /// It has a `/usr` directory and its `/bin` is a link into it.
    pub merged_usr: bool,
    /// The partitions of its disk image beside the one that it is in itself.
    pub partitions: Vec<PartitionFacts>,
}

/// A partition of a disk image beside the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionFacts {
    /// What it is for.
    pub role: PartitionRole,
    /// Where it is mounted; absent where the tree has no place for it.
    pub place: Option<&'static str>,
    /// Nothing in it can be changed.
    pub read_only: bool,
    /// Ids can be mapped on its file system.
    pub idmap: bool,
}

/// What a partition is for (Discoverable Partitions Specification).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum PartitionRole {
    /// The operating system.
    Usr,
    /// The homes of users.
    Home,
    /// What the system serves.
    Srv,
    /// What the system keeps.
    Var,
    /// Temporary files that outlive a reboot.
    Tmp,
    /// The EFI system partition.
    Esp,
    /// More room for boot loaders.
    Xbootldr,
}

impl PartitionRole {
    /// As people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Usr => "usr",
            Self::Home => "home",
            Self::Srv => "srv",
            Self::Var => "var",
            Self::Tmp => "tmp",
            Self::Esp => "esp",
            Self::Xbootldr => "xbootldr",
        }
    }
}

/// The copy that lives as long as the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EphemeralFacts {
    /// How it is made.
    pub kind: EphemeralKind,
    /// The directory in which its own is made.
    pub place: PathBuf,
    /// What a person should know about it, as a sentence.
    pub notice: Option<String>,
}

/// How a copy of a tree is made that lives as long as the container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EphemeralKind {
    /// A btrfs snapshot.
    Snapshot,
    /// An overlay over the tree, whose upper layer is on disk.
    Overlay,
    /// An overlay over the tree, whose upper layer is in memory.
    Memory,
    /// File by file.
    Copy,
}

impl EphemeralKind {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Snapshot, Self::Overlay, Self::Memory, Self::Copy];
}

/// The host's systemd-journal-remote(8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalRemoteFacts {
    /// The program.
    pub program: PathBuf,
    /// It takes limits as switches.
    pub limits: bool,
}

/// What the host has of a machine's journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalFacts {
    /// The machine has the host's own id.
    pub own: bool,
    /// The host keeps journals: there is a `/var/log/journal`.
    pub kept: bool,
    /// What is there by the machine's id.
    pub entry: JournalEntry,
}

/// What the host has at `/var/log/journal/ID`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum JournalEntry {
    /// Nothing.
    Absent,
    /// A link to this.
    Link(PathBuf),
    /// A directory.
    Directory {
        /// Something is mounted there.
        mount_point: bool,
    },
    /// Something else.
    Other,
}

/// The source of a bind mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SourceFacts {
    /// What it is.
    pub kind: NodeKind,
}

/// A directory that is a layer of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LayerFacts {
    /// One that is found only when the root is there: a path inside.
    Later,
    /// A temporary one, below `/var/tmp`.
    Temporary {
        /// The file system there can hold an upper layer.
        fits: bool,
    },
    /// It is there.
    Present {
        /// Its path without symbolic links.
        path: PathBuf,
        /// Whom it belongs to.
        owner: u32,
        /// It is no part of the mount or the subvolume that the directory above it is in.
        own_mount: bool,
    },
    /// There is no such directory, but the one above it is there.
    Missing {
        /// Where it would be.
        path: PathBuf,
    },
}

/// The kind of a file system object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file, or a fifo or socket: all that a plain file can be a mount point for.
    File,
    /// A character device.
    CharacterDevice {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
}

/// Random values.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Random {
    /// The container's id where it has none of its own.
    pub container_uuid: Uuid,
    /// The boot id that it sees.
    pub boot_id: Uuid,
    /// Makes the name of an ephemeral machine unique.
    pub suffix: u64,
}

/// What limits are relative to, and what they are put on.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LimitFacts {
    /// The host's memory, in bytes.
    pub memory: u64,
    /// Its swap, in bytes.
    pub swap: u64,
    /// How many processes and threads it can have.
    pub tasks: u64,
    /// The controllers that cgroup2 has for the caller's group.
    pub unified: Vec<String>,
    /// The hierarchies of version 1.
    pub hierarchies: Vec<Hierarchy>,
    /// The devices that were named, and what they are: none where there is none.
    pub devices: Vec<(String, Vec<DeviceNumber>)>,
    /// The paths that limits of disks were asked for, and the numbers of the disks that they are or lie on.
    pub disks: Vec<(String, Option<(u32, u32)>)>,
}

/// A hierarchy of version 1 of control groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hierarchy {
    /// Its controllers.
    pub controllers: Vec<String>,
    /// The directory of the caller's own group.
    pub own: PathBuf,
}

/// A device, or all of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceNumber {
    /// A block device.
    pub block: bool,
    /// Its driver.
    pub major: u32,
    /// Its number there; all where absent.
    pub minor: Option<u32>,
}

/// Users of the host that are taken inside, and what stands in their way there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BindUserFacts {
    /// They, in the order of the specification.
    pub users: Vec<UserFacts>,
    /// Those of their names that the container has for users or groups of its own.
    pub taken_names: Vec<String>,
    /// The ids of its own users and groups among [`BOUND_IDS`](crate::BOUND_IDS).
    pub taken_ids: Vec<u32>,
}

/// A user of the host, as far as the container is told about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserFacts {
    /// Its name.
    pub name: String,
    /// Its id.
    pub uid: u32,
    /// The id of its first group.
    pub gid: u32,
    /// That group has the user's name.
    pub own_group: bool,
    /// Its home directory.
    pub home: PathBuf,
    /// Its login shell.
    pub shell: Option<String>,
    /// What kind of user it is, where its record says so.
    pub disposition: Option<String>,
    /// Hashes of its passwords, see crypt(5).
    pub hashed_passwords: Vec<Secret>,
    /// The keys with which it may log in, as authorized_keys files have them.
    pub ssh_keys: Vec<String>,
}
