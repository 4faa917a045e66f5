//! The steps of each stage. A stage has its own step type, so that a step in the wrong stage cannot be written.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::{EphemeralKind, Hierarchy, PartitionRole, json};
use serde::Serialize;

use uuid::Uuid;

use spec::{AbsPath, PivotRoot, Property, Secret, UidRange};

/// What is done once, by the caller itself, before the first process is made. Each registers its undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ParentStep {
    /// Nobody else may use the machine's name while it runs.
    LockName,
    /// Nobody else may write to the tree while the container does.
    LockTree {
        /// Readers may share it.
        shared: bool,
    },
    /// Nobody else may use these user and group ids while the container runs.
    LockIdRange(UidRange),
    /// Nobody may pick a range that shares ids with this one while the container runs; others that were given the same
    /// one may share it.
    ShareIdRange(UidRange),
    /// Make the tree from a template.
    CopyTemplate {
        /// The template.
        from: PathBuf,
        /// The tree.
        to: PathBuf,
    },
    /// Make the ephemeral copy of the tree; it is removed at the end.
    MakeEphemeral {
        /// How.
        kind: EphemeralKind,
        /// The directory in which its own is made.
        place: PathBuf,
    },
    /// Give the tree, or its copy, to the 65536 user and group ids that begin here.
    ShiftTree {
        /// The first one.
        base: u32,
    },
    /// Prepare the directory of the machine's journal, `/var/log/journal/ID`; undone if the container does not start.
    LinkJournal {
        /// The id.
        id: String,
        /// What it becomes a link to; a directory where absent.
        guest: Option<PathBuf>,
    },
    /// See to it that systemd-machined knows no dead machine of this name any more. As long as it does, it may still ask
    /// the service manager to stop the unit of that one, which has the same name, and it takes no other one of the name.
    ForgetMachine(ServiceManager),
    /// Move to a scope of the service manager's, which is gone with its last process.
    StartScope(Scope),
    /// Make a directory below `/var/tmp` for a custom mount; it is removed at the end.
    MakeTemporary {
        /// The mount's number.
        number: usize,
        /// Whom it belongs to, on the host.
        owner: u32,
    },
    /// Make the directories that a writable overlay needs beside its layers; they are removed at the end.
    MakeLayers {
        /// The mount's number.
        number: usize,
        /// The directory that the upper layer is in; absent where that is a temporary one, below `/var/tmp`.
        beside: Option<PathBuf>,
        /// The upper layer, where it is to be made. It stays.
        missing: Option<PathBuf>,
        /// Whom they belong to, on the host.
        owner: u32,
    },
}

/// What the caller does before each start (a reboot starts again).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LaunchStep {
    /// Make the payload's control group.
    MakeControlGroup(GroupPlace),
    /// Limit the control group that was made.
    LimitGroup {
        /// The controllers that it needs.
        controllers: Vec<String>,
        /// What is written.
        files: Vec<GroupFile>,
    },
    /// Make a group in a hierarchy of version 1, with limits, and one below it for the payload, which joins it before it
    /// starts.
    LimitHierarchy(HierarchyGroup),
    /// Take the mount that becomes the root, detached from the host.
    TakeTree {
        /// A directory in it instead of the tree itself.
        subdirectory: Option<&'static str>,
        /// Its submounts too.
        recursive: bool,
    },
    /// Mount a partition of the disk image, detached from the host.
    TakePartition {
        /// Which.
        role: PartitionRole,
        /// It gets an upper layer, whose root directory is to be like its own: the one for the mount with this number.
        layers: Option<usize>,
    },
    /// Take the directory that was made for the custom mount with this number.
    TakeTemporary(usize),
    /// Take the directory that holds the upper layer and the work directory of the overlay with this number.
    TakeLayers {
        /// The mount's number.
        number: usize,
        /// The directory that the upper layer is in; absent where that is a temporary one.
        from: Option<PathBuf>,
    },
    /// Take the mount of a path of the host, detached from it, for the mount with this number.
    TakeSource {
        /// Where it is found.
        path: PathBuf,
        /// Its submounts too.
        recursive: bool,
        /// The number that [`FileStep::Attach`] uses.
        number: SourceNumber,
    },
}

/// A scope of the service manager's for the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// The unit's name.
    pub unit: String,
    /// The slice that it is in.
    pub slice: String,
    /// What people read about it.
    pub description: String,
    /// What was asked for beside that.
    pub properties: Vec<Property>,
    /// Who makes it.
    pub manager: ServiceManager,
}

impl Scope {
    /// A limit of its memory was asked for.
    #[must_use]
    pub fn limits_memory(&self) -> bool {
        self.properties.iter().any(|property| matches!(property.setting, "MemoryMax" | "MemoryLimit"))
    }
}

/// A service manager.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ServiceManager {
    /// The system's.
    System,
    /// The one of the user whose runtime directory this is.
    User(PathBuf),
}

/// How the machine gets into the list of systemd-machined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Registration {
    /// Without it, it does not start.
    pub required: bool,
    /// Whose list.
    pub manager: ServiceManager,
    /// Its id.
    pub id: Uuid,
    /// Its tree, for people.
    pub root: PathBuf,
}

/// A file of a control group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupFile {
    /// The property that it is for.
    pub property: &'static str,
    /// Its name.
    pub file: &'static str,
    /// What is written to it.
    pub value: String,
}

impl GroupFile {
    pub(crate) fn new(property: &'static str, file: &'static str, value: String) -> Self {
        Self { property, file, value }
    }
}

/// A machine's group in a hierarchy of version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HierarchyGroup {
    /// The caller's own group, in which it is made.
    pub own: PathBuf,
    /// The hierarchy's controllers.
    pub controllers: Vec<String>,
    /// What is written to the machine's group.
    pub machine: Vec<GroupFile>,
    /// What is written to the payload's.
    pub payload: Vec<GroupFile>,
}

impl HierarchyGroup {
    pub(crate) fn new(hierarchy: &Hierarchy) -> Self {
        let Hierarchy { controllers, own } = hierarchy.clone();
        Self { own, controllers, machine: Vec::new(), payload: Vec::new() }
    }
}

/// Where the payload's control group is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum GroupPlace {
    /// Below the caller's own.
    Subtree {
        /// The payload gets the controllers that the caller's group can hand on.
        controllers: bool,
    },
    /// In the unit that the caller was started in; below its own group where that is none of cgroup2's.
    CallersUnit,
    /// In the scope; likewise.
    Scope(String),
}

/// Stands for a mount that was taken from the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum SourceNumber {
    /// A partition of the disk image.
    Partition(PartitionRole),
    /// The host's os-release file.
    OsRelease,
    /// The host's resolv.conf file.
    ResolvConf,
    /// The host's `/etc/localtime`.
    Localtime,
    /// The home directory of the user of the host with this number.
    Home(usize),
    /// The host's directory of the machine's journal.
    Journal,
    /// The socket of a service with this number.
    Service(usize),
    /// A directory made for the container alone: the custom mount with this number.
    Temporary(usize),
    /// The custom mount with this number.
    Custom(usize),
    /// The directory around the upper layer of the custom mount with this number.
    Around(usize),
    /// A lower layer of a custom mount.
    Layer {
        /// The mount's number.
        mount: usize,
        /// The layer's, counted from the lowest.
        layer: usize,
    },
}

/// What the root is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Root {
    /// The tree itself, or its snapshot.
    Tree {
        /// Nothing in it can be changed.
        read_only: bool,
    },
    /// The tree below, the ephemeral copy's directory on top.
    Overlay,
    /// The tree below, a tmpfs on top.
    VolatileOverlay,
    /// A tmpfs with the tree's `/usr`, read-only.
    VolatileTmpfs,
}

/// What is done with the host's privileges, in a mount namespace of the container's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum OuterStep {
    /// Use a network namespace that the host has, instead of one of its own.
    EnterNetwork {
        /// Where it is found.
        path: PathBuf,
    },
    /// Nothing that is mounted from here on reaches the host.
    Isolate,
    /// Make the root; all later paths are resolved inside of it.
    MakeRoot(Root),
    /// Make a file system object or a mount.
    File(FileStep),
    /// Mount several directories as one.
    Overlay(OverlayStep),
    /// Keep credentials in memory.
    Credentials(CredentialsStep),
    /// Attach a file that was taken from the host, read-only, where that works.
    BindHostFile {
        /// Which.
        source: SourceNumber,
        /// Where; an empty file is made if it is missing.
        target: AbsPath,
    },
    /// Attach the host's directory of the machine's journal, its owner being the container's root.
    BindJournal {
        /// The machine's id.
        id: String,
        /// Without it the container does not start.
        required: bool,
    },
    /// Make another directory the root.
    PivotInside(PivotRoot),
    /// Make the root the root, and let go of the host's.
    PivotRoot,
    /// Join the network of the container's first process, once that has made it, for what shows it.
    JoinNetwork,
    /// Mount proc for the process ids of the container's first process.
    MountProc {
        /// Where.
        target: AbsPath,
        /// The mount's attributes.
        attributes: MountFlags,
    },
}

/// What is done inside all namespaces of the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum InnerStep {
    /// Become root of the user namespace, once that maps ids.
    BecomeRoot,
    /// Make a network of its own, which belongs to the user namespace. [`OuterStep::JoinNetwork`] waits for it.
    MakeNetwork,
    /// Once all outer steps are done, take the mounts over into a mount namespace that belongs to the user namespace.
    TakeMountsOver,
    /// Make a file system object or a mount.
    File(FileStep),
    /// Make the pseudo-terminal that is the console.
    MakeConsole,
    /// Listen at `/run/host/notify`.
    ListenForNotifications,
    /// Listen at `/run/host/journal/socket`.
    ListenForJournal,
    /// Make the fifo that stands for `/proc/kmsg`, and keep it open.
    MakeKmsg,
    /// Write a copy of a file of the host's, unless it says the same already.
    CopyHostFile {
        /// Where.
        target: AbsPath,
        /// What it says.
        #[serde(serialize_with = "json::contents")]
        contents: Vec<u8>,
        /// In place of whatever is there; else something that is no regular file is left alone.
        replace: bool,
    },
    /// Make the directory of the machine's journal.
    MakeJournal {
        /// The machine's id.
        id: String,
        /// Without it the container does not start.
        required: bool,
    },
    /// Remove a file, if there is one.
    DeleteFile(AbsPath),
    /// Point `/etc/localtime` to this zone, if the container knows it.
    LinkTimezone(String),
    /// Bring up the loopback link.
    BringUpLoopback,
    /// Let all groups of the container send ICMP echo requests (`net.ipv4.ping_group_range`), where there is IPv4.
    AllowPing {
        /// The highest group.
        last: u32,
    },
    /// Set a kernel parameter of the container's own namespaces.
    SetParameter {
        /// Its file.
        path: AbsPath,
        /// What is written.
        value: String,
    },
    /// Set the host name.
    SetHostname(String),
    /// Make the root the root, and let go of the host's.
    PivotRoot,
    /// Mounts inside reach the namespaces that the container makes.
    ShareMounts,
}

/// A file system object or a mount inside the container. Paths are resolved inside the root, links included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum FileStep {
    /// Mount a new file system.
    Mount {
        /// Its type.
        file_system: FileSystem,
        /// Where; made if it is missing.
        target: AbsPath,
        /// `key` or `key=value`, as mount(8) takes them.
        options: Vec<String>,
        /// Attributes of the mount.
        attributes: MountFlags,
    },
    /// Attach a mount that was taken from the host.
    Attach {
        /// Which.
        source: SourceNumber,
        /// Where; made if it is missing, of the same kind.
        target: AbsPath,
        /// Attributes to add to those it has.
        attributes: MountFlags,
        /// The source is a directory.
        directory: bool,
        /// Whom its files belong to, where that is not as it is on disk.
        ids: Option<MountIds>,
    },
    /// Mount a place inside the container at another one.
    Bind {
        /// What.
        source: AbsPath,
        /// Where.
        target: AbsPath,
        /// Attributes to add to those it has.
        attributes: MountFlags,
        /// Submounts too.
        recursive: bool,
        /// The attributes are for the submounts too.
        attributes_below: bool,
        /// It is no error if the source does not exist.
        optional: bool,
        /// Whom its files belong to, where that is not as the source has it.
        ids: Option<MountIds>,
    },
    /// Mount a file system of any kind.
    MountAny {
        /// The kernel's name of the kind.
        kind: String,
        /// What is mounted.
        source: Option<String>,
        /// Where; made if it is missing.
        target: AbsPath,
        /// `key` or `key=value`, as mount(8) takes them.
        options: Vec<String>,
        /// Attributes of the mount.
        attributes: MountFlags,
    },
    /// Change a mount that is there.
    Change {
        /// Which.
        path: AbsPath,
        /// Attributes to add.
        set: MountFlags,
        /// Attributes to take away.
        clear: MountFlags,
        /// Access times are written where they are older than a day or than the last change.
        relative_times: bool,
        /// What the host mounts below its source later is not seen.
        private: bool,
        /// All mounts below it too.
        recursive: bool,
    },
    /// Add attributes to a mount that is there.
    Restrict {
        /// Which.
        path: AbsPath,
        /// The attributes.
        attributes: MountFlags,
    },
    /// Take a mount away, and the directory that it was at.
    Detach {
        /// Which.
        path: AbsPath,
    },
    /// Cover something with an empty object of the same kind that nobody may touch.
    Mask {
        /// What.
        path: AbsPath,
        /// It is no error if it does not exist.
        optional: bool,
    },
    /// Make a directory, unless there is one.
    Directory {
        /// Where.
        path: AbsPath,
        /// Permissions.
        mode: u32,
    },
    /// Make a regular file.
    File {
        /// Where.
        path: AbsPath,
        /// Permissions.
        mode: u32,
        /// What is in it.
        #[serde(serialize_with = "json::contents")]
        contents: Vec<u8>,
    },
    /// Make a regular file that its owner alone may read.
    PrivateFile {
        /// Where.
        path: AbsPath,
        /// What is in it.
        contents: Secret,
    },
    /// Make a symbolic link.
    Symlink {
        /// Where.
        path: AbsPath,
        /// What is in it.
        #[serde(serialize_with = "json::text")]
        target: OsString,
    },
    /// Make a device node, fifo or socket.
    Node {
        /// Where.
        path: AbsPath,
        /// Permissions.
        mode: u32,
        /// What.
        kind: SpecialKind,
    },
    /// Make a device node or fifo that was asked for, and the directories above it. One that is there already is put in
    /// order; anything else that is there is an error.
    Device {
        /// Where.
        path: AbsPath,
        /// Permissions.
        mode: u32,
        /// What.
        kind: SpecialKind,
        /// Its owner, on the host.
        uid: u32,
        /// Its group, on the host.
        gid: u32,
    },
}

/// A file system in memory that is never swapped out, with a file for each credential, read-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CredentialsStep {
    /// Where.
    pub target: AbsPath,
    /// Whom it belongs to, on the host.
    pub owner: u32,
    /// Everybody inside may read it.
    pub for_everybody: bool,
    /// The names and the contents.
    pub files: Vec<(String, Secret)>,
}

/// An overlay beside the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverlayStep {
    /// What nothing is written to, the lowest first.
    pub lower: Vec<OverlayLayer>,
    /// What is written to; without it the overlay is read-only.
    pub upper: Option<UpperLayer>,
    /// Where; made if it is missing.
    pub target: AbsPath,
    /// It is mounted from inside the user namespace, as its upper layer is mapped.
    pub by_users: bool,
}

/// A lower layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OverlayLayer {
    /// Where it is found.
    pub source: LayerSource,
    /// Whom its files belong to, where that is not as it is on disk.
    pub ids: Option<MountIds>,
}

/// Where a layer is found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum LayerSource {
    /// It was taken from the host.
    Taken(SourceNumber),
    /// Inside the container, as far as that is put together.
    Inside(AbsPath),
}

/// An upper layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum UpperLayer {
    /// One of the host's.
    Host {
        /// The mount's number.
        number: usize,
        /// Its name in the directory around it.
        #[serde(serialize_with = "json::text")]
        name: OsString,
        /// Whom its files belong to, where that is not as it is on disk.
        ids: Option<MountIds>,
    },
    /// A temporary one, for the mount with this number.
    Temporary(usize),
    /// One in memory, which lives as long as the boot.
    Memory,
}

/// Whom the files of a mount belong to; the same for users and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum MountIds {
    /// Ids of the file system and what they are on the host.
    Lines(Vec<IdLine>),
    /// The owner of the source is the container's root.
    OwnerIsRoot(RootIds),
    /// The owner of the source is the owner of the target.
    OwnerIsTargets(RootIds),
}

/// What the container's root is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RootIds {
    /// On the host.
    pub host: u32,
    /// In the tree, on disk, where its mount maps ids.
    pub tree: u32,
}

/// A line of a user namespace's map, see user_namespaces(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IdLine {
    /// The first id, as the file system has it.
    pub file_system: u32,
    /// The first id, as the host sees it.
    pub host: u32,
    /// How many there are.
    pub count: u32,
}

/// A file that is neither a regular file nor a directory nor a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SpecialKind {
    /// A character device.
    Character {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A block device.
    Block {
        /// Its driver.
        major: u32,
        /// Its number there.
        minor: u32,
    },
    /// A named pipe.
    Fifo,
    /// A socket that nobody listens at.
    Socket,
}

/// The types of file systems that a container gets new instances of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileSystem {
    /// cgroup2
    Cgroup2,
    /// devpts
    Devpts,
    /// mqueue
    Mqueue,
    /// proc
    Proc,
    /// sysfs
    Sysfs,
    /// tmpfs
    Tmpfs,
}

impl FileSystem {
    /// The kernel's name for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup2 => "cgroup2",
            Self::Devpts => "devpts",
            Self::Mqueue => "mqueue",
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// Attributes of a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MountFlags {
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
    /// Access times are always written.
    pub strict_atime: bool,
    /// Access times are never written.
    pub no_atime: bool,
    /// Those of directories are never written.
    pub no_diratime: bool,
}

impl MountFlags {
    /// Nothing special.
    pub const NONE: Self = Self {
        read_only: false,
        no_suid: false,
        no_dev: false,
        no_exec: false,
        no_symfollow: false,
        strict_atime: false,
        no_atime: false,
        no_diratime: false,
    };
    /// No set-user-id bits, no devices.
    pub const NO_SUID_DEV: Self = Self { no_suid: true, no_dev: true, ..Self::NONE };
    /// No set-user-id bits, no devices, no programs.
    pub const API: Self = Self { no_exec: true, ..Self::NO_SUID_DEV };
    /// Read-only, no set-user-id bits, no devices, no programs.
    pub const API_READ_ONLY: Self = Self { read_only: true, ..Self::API };
    /// Read-only.
    pub const READ_ONLY: Self = Self { read_only: true, ..Self::NONE };
}
