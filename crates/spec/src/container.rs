//! The container specification: what is wanted, checked, without any word about how.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde::Serialize;
use uuid::Uuid;

use crate::oci::BundleSpec;
use crate::{
    AbsPath, AddressFamilies, Background, BindUsersSpec, CapabilitySet, CpuSet, Credential, HostName, IntegrationSpec,
    MachineName, Property, Resource, Rlimit, Signal, SliceName, UidRange,
};

/// All that is wanted of one container. Made by [`SpecPatch::validate`](crate::SpecPatch::validate) alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContainerSpec {
    pub(crate) run: RunSpec,
    pub(crate) image: ImageSpec,
    pub(crate) exec: ExecSpec,
    pub(crate) identity: IdentitySpec,
    pub(crate) property: PropertySpec,
    pub(crate) users: UsersSpec,
    pub(crate) network: NetworkSpec,
    pub(crate) security: SecuritySpec,
    pub(crate) resources: ResourcesSpec,
    pub(crate) integration: IntegrationSpec,
    pub(crate) mounts: Vec<CustomMount>,
    pub(crate) bind_users: BindUsersSpec,
    pub(crate) bundle: BundleSpec,
    pub(crate) credentials: Vec<Credential>,
    pub(crate) console: ConsoleSpec,
}

macro_rules! getters {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        impl ContainerSpec {
            $($(#[$doc])* #[must_use] pub fn $name(&self) -> &$type { &self.$name })*
        }
    };
}

getters! {
    /// How the run itself goes.
    run: RunSpec,
    /// The tree.
    image: ImageSpec,
    /// The program.
    exec: ExecSpec,
    /// Names.
    identity: IdentitySpec,
    /// The unit and the registration.
    property: PropertySpec,
    /// User namespaces.
    users: UsersSpec,
    /// The network.
    network: NetworkSpec,
    /// What the payload may do.
    security: SecuritySpec,
    /// What the payload may use.
    resources: ResourcesSpec,
    /// What of the host's configuration is seen inside.
    integration: IntegrationSpec,
    /// Mounts beside the root, in the order given.
    mounts: Vec<CustomMount>,
    /// Users of the host.
    bind_users: BindUsersSpec,
    /// Credentials.
    credentials: Vec<Credential>,
    /// What only an OCI bundle can ask for.
    bundle: BundleSpec,
    /// The console.
    console: ConsoleSpec,
}

/// How the run itself goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunSpec {
    /// No words of our own.
    pub quiet: bool,
    /// Whether a settings file is looked for.
    pub settings: SettingsMode,
    /// Remove what a crashed run left, start nothing.
    pub cleanup: bool,
    /// Show what would happen, do nothing.
    pub dry_run: Option<DryRun>,
    /// A cgroup namespace of its own (`SYSTEMD_NSPAWN_USE_CGNS`).
    pub cgroup_namespace: bool,
}

/// `--settings=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum SettingsMode {
    /// None is read.
    No,
    /// Read; the command line wins; a file beside the tree is not trusted.
    Yes,
    /// Read; the file wins.
    Override,
    /// Read; trusted wherever it was found.
    Trusted,
}

/// `--dry-run=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum DryRun {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSpec {
    /// Where it is.
    pub source: Source,
    /// What it is copied from if it does not exist.
    pub template: Option<PathBuf>,
    /// Run a copy that is removed at the end.
    pub ephemeral: bool,
    /// Nothing in it can be changed.
    pub read_only: bool,
    /// Changes are kept in memory.
    pub volatile: Volatile,
    /// Another directory in it becomes the root.
    pub pivot_root: Option<PivotRoot>,
    /// Only an operating system is booted (`SYSTEMD_NSPAWN_CHECK_OS_RELEASE`).
    pub check_os_release: bool,
    /// Only a tree with a `/usr` is run. An OCI bundle may have a root with nothing but a program.
    pub needs_usr: bool,
    /// `/tmp` is in memory (`SYSTEMD_NSPAWN_TMPFS_TMP`).
    pub tmpfs_tmp: bool,
}

/// Where the tree is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Source {
    /// A directory of the host.
    Directory(PathBuf),
    /// A disk image of the host: a file or block device.
    Image(PathBuf),
    /// A name that is searched for in the machine directories.
    Machine(MachineName),
}

/// `--volatile=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Volatile {
    /// Changes stay.
    No,
    /// The root is a tmpfs with the tree's /usr.
    Yes,
    /// /var is a tmpfs, the rest read-only.
    State,
    /// A tmpfs lies over the tree.
    Overlay,
}

/// `--pivot-root=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PivotRoot {
    /// Becomes the root.
    pub new: AbsPath,
    /// Where the old root goes; it is gone where absent.
    pub old: Option<AbsPath>,
}

/// The program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ExecSpec {
    /// As which process.
    pub mode: StartMode,
    /// The program and its arguments; for an init system its arguments alone.
    pub arguments: Vec<OsString>,
    /// Where it starts.
    pub chdir: Option<AbsPath>,
    /// Variables beside the usual ones.
    pub environment: Vec<(OsString, OsString)>,
    /// As whom.
    pub user: Option<String>,
    /// What asks it to end.
    pub kill_signal: Option<Signal>,
    /// It says itself when it is ready.
    pub notify_ready: bool,
}

/// `--boot`, `--as-pid2`, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum StartMode {
    /// The program is process 1.
    Pid1,
    /// A stub is process 1, the program process 2.
    Pid2,
    /// An init system is looked for and is process 1.
    Boot,
}

/// Names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentitySpec {
    /// The machine's name.
    pub machine: Option<MachineName>,
    /// The host name inside, if it is another.
    pub hostname: Option<HostName>,
    /// The machine's id.
    pub uuid: Option<Uuid>,
    /// What programs inside are told about who runs them (`SYSTEMD_NSPAWN_CONTAINER_SERVICE`).
    pub container_service: String,
}

/// The unit and the registration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PropertySpec {
    /// Stay in the caller's unit.
    pub keep_unit: bool,
    /// Whether the machine is registered.
    pub register: Register,
    /// The service manager of the caller is asked, not the system's (`--user`).
    pub user_manager: bool,
    /// The slice of its unit, if it is another than the usual one.
    pub slice: Option<SliceName>,
    /// Properties of its unit, in the order given.
    pub properties: Vec<Property>,
    /// `--memory=`, `--cpus=` and `--pids=` as properties.
    pub limits: Vec<Property>,
}

/// `--register=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Register {
    /// Never.
    No,
    /// It must be.
    Yes,
    /// If it can be.
    Auto,
}

/// User namespaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UsersSpec {
    /// Which ids.
    pub private_users: PrivateUsers,
    /// The host's where the kernel has no user namespaces (`-U`).
    pub optional: bool,
    /// How the tree's files get them.
    pub ownership: Ownership,
    /// How many further ranges containers inside may have, at most 16 (`--private-users-delegate=`).
    pub delegate: u32,
}

/// `--private-users=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PrivateUsers {
    /// The host's.
    No,
    /// Its own, each the same as outside.
    Identity,
    /// The range that the owner of the tree's root directory is in.
    Owner,
    /// A range that nobody uses.
    Pick,
    /// A range that a service of the host gives (`systemd-nsresourced`).
    Managed,
    /// This range.
    Range(UidRange),
}

/// `--private-users-ownership=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Ownership {
    /// They have them on disk.
    Off,
    /// They are given to them on disk.
    Chown,
    /// The mount maps them.
    Map,
    /// The mount maps them, and on disk they are in the foreign range.
    Foreign,
    /// As fits.
    Auto,
}

/// The network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NetworkSpec {
    /// Its own, with nothing but the loopback link.
    pub private: bool,
}

/// What the payload may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SecuritySpec {
    /// The bounding set of a bundle, to which the next two are applied in place of the default ones.
    pub bounding: Option<CapabilitySet>,
    /// Kept in addition to the default ones.
    pub capabilities: CapabilitySet,
    /// Not kept.
    pub drop_capabilities: CapabilitySet,
    /// Nothing it executes gets more privileges.
    pub no_new_privileges: bool,
    /// Put in the ambient set of the program.
    pub ambient_capabilities: CapabilitySet,
    /// Changes to the default system call filter.
    pub system_call_filter: Vec<FilterItem>,
    /// The families of sockets that it may make.
    pub address_families: AddressFamilies,
    /// The SELinux label of its processes.
    pub selinux_context: Option<String>,
    /// The SELinux label of the kernel's file systems.
    pub selinux_apifs_context: Option<String>,
    /// Calls that write data through to the disk do nothing.
    pub suppress_sync: bool,
    /// Which of the kernel's interfaces can be written (`SYSTEMD_NSPAWN_API_VFS_WRITABLE`).
    pub api_vfs_writable: ApiVfs,
}

impl SecuritySpec {
    /// Whether the ambient capabilities fit to the rest.
    pub(crate) fn check(
        &self,
        mode: StartMode,
        users: PrivateUsers,
        private_network: bool,
    ) -> Result<(), crate::command_line::UsageError> {
        use crate::command_line::UsageError::Conflict;
        if self.ambient_capabilities == CapabilitySet::EMPTY {
            return Ok(());
        }
        if mode == StartMode::Boot {
            return Err(Conflict(
                "--boot and --ambient-capability= exclude each other: an init system has all of them",
            ));
        }
        let bounds = self.effective_capabilities(users != PrivateUsers::No, private_network);
        if self.ambient_capabilities.without(bounds) != CapabilitySet::EMPTY {
            return Err(Conflict(
                "--ambient-capability= names capabilities that the container is not to have; add them by --capability=",
            ));
        }
        Ok(())
    }

    /// The bounding set: the default one, CAP_NET_ADMIN with a private network, what was added, without what was
    /// dropped (systemd-nspawn(1), `--capability=`). With users of its own in the host's network CAP_NET_BIND_SERVICE
    /// would mean nothing, and who looks at it is told so. The set of a bundle is what it says, and what was added and
    /// dropped.
    #[must_use]
    pub fn effective_capabilities(&self, private_users: bool, private_network: bool) -> CapabilitySet {
        if let Some(bounding) = self.bounding {
            return bounding.union(self.capabilities).without(self.drop_capabilities);
        }
        let one = |name, wanted| CapabilitySet::named(name).filter(|_| wanted).unwrap_or_default();
        CapabilitySet::container_default()
            .union(one("CAP_NET_ADMIN", private_network))
            .union(self.capabilities)
            .without(self.drop_capabilities)
            .without(one("CAP_NET_BIND_SERVICE", private_users && !private_network))
    }
}

/// A system call or a group of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FilterItem {
    /// Allowed, or refused.
    pub allow: bool,
    /// The call, or `@` and the group.
    pub name: String,
    /// How it is refused; by `EPERM` where absent.
    pub refusal: Option<Refusal>,
}

/// How a system call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Refusal {
    /// It fails with this error number.
    Errno(u16),
    /// It ends the process.
    Kill,
}

/// `SYSTEMD_NSPAWN_API_VFS_WRITABLE`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ApiVfs {
    /// None.
    No,
    /// All of /sys and /proc/sys.
    Yes,
    /// What belongs to the network.
    Network,
}

/// What the payload may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourcesSpec {
    /// Resource limits.
    pub rlimits: BTreeMap<Resource, Rlimit>,
    /// Its badness when memory runs out.
    pub oom_score_adjust: Option<i32>,
    /// The processors.
    pub cpu_affinity: Option<CpuSet>,
    /// The machine that uname(2) names.
    pub personality: Option<Personality>,
}

/// `--personality=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Personality {
    /// 32 bits.
    X86,
    /// 64 bits.
    X86_64,
}

/// A mount beside the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum CustomMount {
    /// `--bind=`, `--bind-ro=`.
    Bind {
        /// What.
        source: BindSource,
        /// Where.
        destination: AbsPath,
        /// Nothing can be changed through it.
        read_only: bool,
        /// Its submounts too.
        recursive: bool,
        /// Whom its files belong to.
        ids: IdMapping,
    },
    /// `--tmpfs=`.
    Tmpfs {
        /// Where.
        destination: AbsPath,
        /// As mount(8) takes them.
        options: Option<String>,
    },
    /// `--overlay=`, `--overlay-ro=`.
    Overlay {
        /// The directories, at least two, the lowest first. Only the last one can be a temporary one; changes go there.
        layers: Vec<BindSource>,
        /// Where.
        destination: AbsPath,
        /// Nothing can be changed through it.
        read_only: bool,
    },
    /// A file system of any kind, as only bundles have it.
    FileSystem {
        /// The kernel's name of the kind.
        kind: String,
        /// What is mounted, as the kind takes it: a device, a directory of another machine.
        source: Option<String>,
        /// Where.
        destination: AbsPath,
        /// Options of the file system, as mount(8) takes them.
        options: Vec<String>,
    },
    /// `--inaccessible=`.
    Inaccessible {
        /// What.
        path: AbsPath,
    },
}

/// Whom the files of a bind mount belong to inside. The same for users and groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum IdMapping {
    /// To the same ids of the host, of which the container knows those in its range (`noidmap`).
    Unmapped,
    /// To the ids with the same numbers inside (`idmap`).
    Same,
    /// Those of the source's owner to root inside, others to nobody (`rootidmap`).
    Root,
    /// Those of the source's owner to the owner of the destination, others to nobody (`owneridmap`).
    Owner,
    /// As these say, others to nobody (`map=`).
    Listed(Vec<IdEntry>),
}

/// Consecutive ids outside and what they are inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct IdEntry {
    /// The first one, as the container sees it.
    pub inside: u32,
    /// The first one, as the source's file system has it.
    pub outside: u32,
    /// How many there are; more than none.
    pub count: u32,
}

impl IdEntry {
    /// The two speak of the same id, inside or outside.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let meet = |one: u32, other_start: u32, other_count: u32| {
            let (one, other) = (u64::from(one), u64::from(other_start));
            one < other + u64::from(other_count) && other < one + u64::from(self.count)
        };
        meet(self.inside, other.inside, other.count) || meet(self.outside, other.outside, other.count)
    }
}

/// The source of a bind mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum BindSource {
    /// A path of the host.
    Host(PathBuf),
    /// A path inside the tree (`+PATH`).
    Tree(AbsPath),
    /// A directory that is made for it and removed at the end.
    Temporary,
}

/// The console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsoleSpec {
    /// How it is connected; as the standard streams suggest where absent.
    pub mode: Option<ConsoleMode>,
    /// The background of the caller's terminal; a tint where absent.
    pub background: Option<Background>,
}

/// `--console=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ConsoleMode {
    /// A terminal, connected to ours in both directions.
    Interactive,
    /// A terminal whose output we show.
    ReadOnly,
    /// A terminal, connected to nothing.
    Passive,
    /// No terminal: our own standard streams.
    Pipe,
    /// Interactive on a terminal, pipe elsewhere.
    Autopipe,
}
