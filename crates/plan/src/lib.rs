//! From a specification and the facts of the host to the steps of each stage. Pure: nothing here touches the system.

mod explain;
mod facts;
mod json;
mod resolve;
mod step;

use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;
use spec::oci::{BundleDeviceRule, BundleUser, CallProfile, ProgramSets, WindowSize};
use spec::{
    AbsPath, AddressFamilies, ApiVfs, CapabilitySet, ConsoleMode, FilterItem, Personality, Resource, Rlimit, UidRange,
};
use uuid::Uuid;

pub use explain::explain;
pub use facts::{
    BindUserFacts, CallerFacts, DeviceNumber, EphemeralFacts, EphemeralKind, Hierarchy, HostFacts, HostSystem,
    JournalEntry, JournalFacts, JournalRemoteFacts, LayerFacts, LimitFacts, Listen, Localtime, NodeKind,
    PartitionFacts, PartitionRole, Random, ResolvConf, SourceFacts, StandardStreams, TreeFacts, UserFacts,
};
pub use resolve::{BOUND_IDS, BindUserError, Error, JOURNALS, machine_name, machine_name_of, machine_uuid, resolve};
pub use step::{
    CredentialsStep, FileStep, FileSystem, GroupFile, GroupPlace, HierarchyGroup, IdLine, InnerStep, LaunchStep,
    LayerSource, MountFlags, MountIds, OuterStep, OverlayLayer, OverlayStep, ParentStep, Registration, Root, RootIds,
    Scope, ServiceManager, SourceNumber, SpecialKind, UpperLayer,
};

/// Everything that happens for one container, in the order in which it happens.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// The machine's name.
    pub machine: String,
    /// The tree, without symbolic links.
    pub tree: PathBuf,
    /// Say nothing about what is started and how it is ended.
    pub quiet: bool,
    /// What a person should know, as sentences.
    pub notices: Vec<String>,
    /// Who looks after the container.
    pub lifecycle: Lifecycle,
    /// The namespaces beside mount, PID, UTS and IPC, which it always has.
    pub namespaces: Namespaces,
    /// How it is registered, if it is, before the payload starts.
    pub registration: Option<Registration>,
    /// It is in the registry of machines, and can be steered from outside.
    pub listed: bool,
    /// Done once by the caller.
    pub parent: Vec<ParentStep>,
    /// Done by the caller before each start.
    pub launch: Vec<LaunchStep>,
    /// Done with the host's privileges in the container's own mount namespace.
    pub outer: Vec<OuterStep>,
    /// Done inside all namespaces.
    pub inner: Vec<InnerStep>,
    /// The program.
    pub payload: Payload,
    /// What it may do.
    pub limits: Limits,
    /// What stays beside it.
    pub supervision: Supervision,
}

/// Who looks after the container while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Lifecycle {
    /// The caller stays until the container ends.
    Supervised,
    /// Somebody else starts and ends it; nothing stays.
    Detached,
}

/// The namespaces that a container may have or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Namespaces {
    /// User and group ids of its own, mapped to this range of the host's.
    pub user: Option<UserNamespace>,
    /// A network of its own.
    pub network: bool,
    /// Control groups of its own (`SYSTEMD_NSPAWN_USE_CGNS`).
    pub cgroup: bool,
}

/// How ids inside are ids outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct UserNamespace {
    /// The range on the host; inside it starts at zero.
    pub range: UidRange,
    /// The tree's files belong to other ids and are mapped by the mount.
    pub map_tree: bool,
    /// The first of the ids that they belong to on disk then: zero, but for trees of the foreign range or another
    /// container's.
    pub tree_base: u32,
    /// The tree's files are first given to the range, on disk.
    pub shift_tree: bool,
    /// A service has mapped it, and the container joins it (`--private-users=managed`).
    pub given: bool,
}

/// The program and how it is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Payload {
    /// Tried in this order until one exists.
    pub programs: Vec<Program>,
    /// A stub is process 1, the program process 2.
    pub stub_init: bool,
    /// The environment, without what depends on the user.
    #[serde(serialize_with = "json::texts")]
    pub environment: Vec<OsString>,
    /// Set by the caller's words: wins over what depends on the user.
    #[serde(serialize_with = "json::variables")]
    pub environment_override: Vec<(OsString, OsString)>,
    /// The user, by name or number, looked up in the container's own database; root where absent.
    pub user: Option<String>,
    /// The user by numbers, without a look at any database, in place of the other.
    pub user_ids: Option<BundleUser>,
    /// The mask of the modes of new files.
    pub umask: u32,
    /// The working directory.
    pub directory: WorkingDirectory,
    /// How many of our own descriptors from number 3 on it gets, under the same numbers.
    pub inherited: u32,
}

/// Where the program starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum WorkingDirectory {
    /// The root directory.
    Root,
    /// The user's home, or the root directory where it has none.
    Home,
    /// This one.
    Path(AbsPath),
}

/// One candidate of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Program {
    /// Its path, or a name that is searched for in `$PATH`.
    #[serde(serialize_with = "json::text")]
    pub path: OsString,
    /// Its arguments, its own name first.
    #[serde(serialize_with = "json::texts")]
    pub arguments: Vec<OsString>,
}

/// What the payload may do and use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Limits {
    /// The capabilities of its bounding set, and of a payload that is root.
    pub capabilities: CapabilitySet,
    /// The highest capability that the kernel knows.
    pub last_capability: u32,
    /// Nothing it executes gets more privileges.
    pub no_new_privileges: bool,
    /// Put in the ambient set of the program.
    pub ambient_capabilities: CapabilitySet,
    /// The sets that the program is executed with, where they are not all that it may have.
    pub program_sets: Option<ProgramSets>,
    /// Changes to the default system call filter.
    pub system_call_filter: Vec<FilterItem>,
    /// A filter that takes the place of the default one.
    pub call_profile: Option<CallProfile>,
    /// The families of sockets that it may make.
    pub address_families: AddressFamilies,
    /// The SELinux label of the program.
    pub selinux_context: Option<String>,
    /// Calls that write data through to the disk do nothing.
    pub suppress_sync: bool,
    /// Resource limits; those that were asked for must be applied exactly.
    pub resources: Vec<ResourceLimit>,
    /// The adjustment of its badness when memory runs out.
    pub oom_score_adjust: Option<i32>,
    /// The processors it may use.
    pub cpu_affinity: Option<Vec<u32>>,
    /// The machine that uname(2) names.
    pub personality: Option<Personality>,
    /// Devices beyond the standard ones that it has nodes of, and what it may do with them.
    pub devices: Vec<DeviceRule>,
    /// Devices that were allowed by number or by driver.
    pub device_access: DeviceAccess,
}

/// `DeviceAllow=` and `DevicePolicy=`, and what a bundle says of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeviceAccess {
    /// Of the devices that are nobody's in particular, such as `/dev/null`, none may be opened that is not named.
    pub strict: bool,
    /// Those that are named.
    pub rules: Vec<DeviceRule>,
    /// What changes all that, the later ones before the earlier ones: the rules of a bundle.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<BundleDeviceRule>,
}

/// What may be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceRule {
    /// It is a block device.
    pub block: bool,
    /// Its driver.
    pub major: u32,
    /// Its number there; all where absent.
    pub minor: Option<u32>,
    /// It may be opened for reading.
    pub read: bool,
    /// It may be opened for writing.
    pub write: bool,
    /// Nodes of it may be made.
    pub make: bool,
}

/// A resource limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceLimit {
    /// What is limited.
    pub resource: Resource,
    /// The limit.
    pub limit: Rlimit,
    /// It was asked for: less is an error. Others are cut down to what the caller itself may have.
    pub exact: bool,
}

/// A systemd-journal-remote(8) beside the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JournalRemote {
    /// The program and its arguments.
    #[serde(serialize_with = "json::texts")]
    pub arguments: Vec<OsString>,
    /// Where it writes; made if it is missing.
    pub directory: PathBuf,
}

/// The background of our terminal while the container has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Tint {
    /// Its own, with a touch of blue.
    Touch,
    /// This one: red, green, blue.
    Colour([u8; 3]),
}

/// What the supervisor has to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Supervision {
    /// The console.
    pub console: ConsoleMode,
    /// Its size at first, where that is not our terminal's.
    pub console_size: Option<WindowSize>,
    /// The title of our terminal while the container runs, where that can have one.
    pub title: Option<String>,
    /// Our terminal is asked for its background, and gets this one if it answers.
    pub tint: Option<Tint>,
    /// The signal that asks process 1 to end; SIGKILL where absent.
    pub kill_signal: Option<i32>,
    /// An init system runs inside.
    pub boot: bool,
    /// Wait for the init system's word that it is ready.
    pub notify_ready: bool,
    /// Where the caller's service manager listens.
    #[serde(serialize_with = "json::optional_text")]
    pub notify_socket: Option<OsString>,
    /// It expects a sign of life within this many microseconds, again and again.
    pub watchdog: Option<u64>,
    /// What writes the container's journal on the host.
    pub forward_journal: Option<JournalRemote>,
    /// The container's id.
    pub uuid: Uuid,
    /// Which of the kernel's interfaces are writable.
    pub api_vfs_writable: ApiVfs,
}
