//! What one source of options says, and how several of them become the checked specification.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use uuid::Uuid;

use crate::command_line::UsageError;
use crate::oci::BundleSpec;
use crate::{
    AbsPath, AddressFamilies, ApiVfs, Background, BindUsersSpec, CapabilitySet, ConsoleMode, ConsoleSpec,
    ContainerSpec, CpuSet, Credential, CustomMount, DryRun, ExecSpec, FilterItem, ForwardJournal, HostName,
    IdentitySpec, ImageSpec, IntegrationSpec, JournalLimits, LinkJournal, MachineName, NetworkSpec, Ownership,
    Personality, PivotRoot, PrivateUsers, Property, PropertySpec, Register, ResolvConfMode, Resource, ResourcesSpec,
    Rlimit, RunSpec, SecuritySpec, SettingsMode, Signal, SliceName, Source, StartMode, TimezoneMode, UserShell,
    UsersSpec, Volatile,
};

macro_rules! patch {
    ($($(#[$doc:meta])* $name:ident: $type:ty,)*) => {
        /// What one source says: the command line, a settings file, a bundle. All it does not speak of is absent.
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct SpecPatch {
            $($(#[$doc])* pub $name: Option<$type>,)*
        }

        impl SpecPatch {
            /// Both sources together: where both speak of something, `self` counts alone, for lists too.
            #[must_use]
            pub fn over(self, lower: Self) -> Self {
                Self { $($name: self.$name.or(lower.$name),)* }
            }

            /// Takes back what another source speaks of, too.
            pub(crate) fn yield_to(&mut self, upper: &Self) {
                $(if upper.$name.is_some() { self.$name = None; })*
            }

            /// What it speaks of, by the names of its fields.
            pub(crate) fn said(&self) -> Vec<&'static str> {
                [$((self.$name.is_some(), stringify!($name)),)*]
                    .into_iter()
                    .filter_map(|(said, name)| said.then_some(name))
                    .collect()
            }
        }
    };
}

patch! {
    /// `--quiet`.
    quiet: bool,
    /// `--settings=`.
    settings: SettingsMode,
    /// `--cleanup`.
    cleanup: bool,
    /// `--dry-run=`.
    dry_run: DryRun,
    /// `SYSTEMD_NSPAWN_USE_CGNS`.
    cgroup_namespace: bool,
    /// `SYSTEMD_NSPAWN_CHECK_OS_RELEASE`.
    check_os_release: bool,
    /// `SYSTEMD_NSPAWN_TMPFS_TMP`.
    tmpfs_tmp: bool,
    /// `SYSTEMD_NSPAWN_CONTAINER_SERVICE`.
    container_service: String,
    /// `--oci-bundle=`: the directory that it is in.
    oci_bundle: PathBuf,
    /// What the bundle asks for that no option does.
    bundle: BundleSpec,
    /// `--directory=`.
    directory: PathBuf,
    /// `--image=`.
    image: PathBuf,
    /// `--template=`.
    template: PathBuf,
    /// `--ephemeral`.
    ephemeral: bool,
    /// `--read-only`.
    read_only: bool,
    /// `--volatile=`.
    volatile: Volatile,
    /// `--pivot-root=`.
    pivot_root: PivotRoot,
    /// `--as-pid2`.
    as_pid2: bool,
    /// `--boot`.
    boot: bool,
    /// The program and its arguments.
    arguments: Vec<OsString>,
    /// `--chdir=`.
    chdir: AbsPath,
    /// `--setenv=`; each name is there once.
    environment: Vec<(OsString, OsString)>,
    /// `--uid=`.
    user: String,
    /// `--kill-signal=`.
    kill_signal: Signal,
    /// `--notify-ready=`.
    notify_ready: bool,
    /// `--machine=`.
    machine: MachineName,
    /// `--hostname=`.
    hostname: HostName,
    /// `--uuid=`.
    uuid: Uuid,
    /// `--register=`.
    register: Register,
    /// `--keep-unit`.
    keep_unit: bool,
    /// `--user` or `--system`.
    user_manager: bool,
    /// `--slice=`.
    slice: SliceName,
    /// `--property=`, in the order given.
    properties: Vec<Property>,
    /// `--memory=`.
    memory: Property,
    /// `--cpus=`.
    cpus: Property,
    /// `--pids=`.
    pids: Property,
    /// `--private-users=`.
    private_users: PrivateUsers,
    /// Without user namespaces in the kernel, the host's users are used (`-U`).
    users_optional: bool,
    /// `--private-users-ownership=`.
    ownership: Ownership,
    /// `--private-users-delegate=`.
    private_users_delegate: u32,
    /// `--private-network`.
    private_network: bool,
    /// `--capability=`.
    capabilities: CapabilitySet,
    /// `--drop-capability=`.
    drop_capabilities: CapabilitySet,
    /// `--ambient-capability=`.
    ambient_capabilities: CapabilitySet,
    /// `--no-new-privileges=`.
    no_new_privileges: bool,
    /// `--system-call-filter=`.
    system_call_filter: Vec<FilterItem>,
    /// `--restrict-address-families=`.
    address_families: AddressFamilies,
    /// `--selinux-context=`.
    selinux_context: String,
    /// `--selinux-apifs-context=`.
    selinux_apifs_context: String,
    /// `--suppress-sync=`.
    suppress_sync: bool,
    /// `SYSTEMD_NSPAWN_API_VFS_WRITABLE`.
    api_vfs_writable: ApiVfs,
    /// `--rlimit=`.
    rlimits: BTreeMap<Resource, Rlimit>,
    /// `--oom-score-adjust=`.
    oom_score_adjust: i32,
    /// `--cpu-affinity=`.
    cpu_affinity: CpuSet,
    /// `--personality=`.
    personality: Personality,
    /// `--resolv-conf=`.
    resolv_conf: ResolvConfMode,
    /// `--timezone=`.
    timezone: TimezoneMode,
    /// `--link-journal=`.
    link_journal: LinkJournal,
    /// `--forward-journal=`.
    forward_journal: PathBuf,
    /// `--forward-journal-max-use=` and its like.
    journal_limits: JournalLimits,
    /// `--bind=`, `--tmpfs=` and the like, in the order given.
    mounts: Vec<CustomMount>,
    /// `--bind-user=`; each name is there once.
    bind_users: Vec<String>,
    /// `--bind-user-shell=`.
    bind_user_shell: UserShell,
    /// `--bind-user-group=`; each name is there once.
    bind_user_groups: Vec<String>,
    /// `--load-credential=`, `--set-credential=`; each name is there once.
    credentials: Vec<Credential>,
    /// `--console=`.
    console: ConsoleMode,
    /// `--background=`.
    background: Background,
}

impl SpecPatch {
    /// Checks that everything goes together and fills in the defaults. `current` is the caller's working directory.
    ///
    /// # Errors
    /// A [`UsageError`] for options that exclude each other or miss another one.
    pub fn validate(self, current: &Path) -> Result<ContainerSpec, UsageError> {
        let mode = start_mode(self.boot.unwrap_or(false), self.as_pid2.unwrap_or(false))?;
        self.check_together()?;
        let (ephemeral, cleanup) = (self.ephemeral.unwrap_or(false), self.cleanup.unwrap_or(false));
        let private_users = self.private_users.unwrap_or(PrivateUsers::No);
        let users = self.users(private_users)?;
        let limits: Vec<Property> = [self.memory, self.cpus, self.pids].into_iter().flatten().collect();
        let bind_users = bind_users(self.bind_users, self.bind_user_shell, self.bind_user_groups)?;
        let source = match (self.directory, self.image, &self.machine) {
            (Some(path), ..) => Source::Directory(path),
            (None, Some(path), _) => Source::Image(path),
            (None, None, Some(name)) => Source::Machine(name.clone()),
            (None, None, None) => Source::Directory(current.to_owned()),
        };
        let security = SecuritySpec {
            bounding: self.bundle.as_ref().and_then(|bundle| bundle.bounding),
            capabilities: self.capabilities.unwrap_or_default(),
            drop_capabilities: self.drop_capabilities.unwrap_or_default(),
            ambient_capabilities: self.ambient_capabilities.unwrap_or_default(),
            no_new_privileges: self.no_new_privileges.unwrap_or(false),
            system_call_filter: self.system_call_filter.unwrap_or_default(),
            address_families: self.address_families.unwrap_or_default(),
            selinux_context: self.selinux_context,
            selinux_apifs_context: self.selinux_apifs_context,
            suppress_sync: self.suppress_sync.unwrap_or(false),
            api_vfs_writable: self.api_vfs_writable.unwrap_or(ApiVfs::No),
        };
        let private_network = self.private_network.unwrap_or(false);
        security.check(mode, private_users, private_network)?;
        Ok(ContainerSpec {
            run: RunSpec {
                quiet: self.quiet.unwrap_or(false),
                settings: self.settings.unwrap_or(SettingsMode::Yes),
                cleanup,
                dry_run: self.dry_run,
                cgroup_namespace: self.cgroup_namespace.unwrap_or(true),
            },
            image: ImageSpec {
                source,
                template: self.template,
                ephemeral,
                read_only: self.read_only.unwrap_or(false),
                volatile: self.volatile.unwrap_or(Volatile::No),
                pivot_root: self.pivot_root,
                check_os_release: self.check_os_release.unwrap_or(true),
                needs_usr: self.bundle.is_none(),
                tmpfs_tmp: self.tmpfs_tmp.unwrap_or(true),
            },
            exec: ExecSpec {
                mode,
                arguments: self.arguments.unwrap_or_default(),
                chdir: self.chdir,
                environment: self.environment.unwrap_or_default(),
                user: self.user,
                kill_signal: self.kill_signal,
                notify_ready: self.notify_ready.unwrap_or(false),
            },
            identity: identity(self.machine, self.hostname, self.uuid, self.container_service),
            property: PropertySpec {
                keep_unit: self.keep_unit.unwrap_or(false),
                register: self.register.unwrap_or(Register::Auto),
                user_manager: self.user_manager.unwrap_or(false),
                slice: self.slice,
                properties: self.properties.unwrap_or_default(),
                limits,
            },
            users,
            network: NetworkSpec { private: self.private_network.unwrap_or(false) },
            security,
            resources: ResourcesSpec {
                rlimits: self.rlimits.unwrap_or_default(),
                oom_score_adjust: self.oom_score_adjust,
                cpu_affinity: self.cpu_affinity,
                personality: self.personality,
            },
            integration: IntegrationSpec {
                resolv_conf: self.resolv_conf.unwrap_or_default(),
                timezone: self.timezone.unwrap_or_default(),
                link_journal: self.link_journal.unwrap_or_default(),
                forward_journal: self
                    .forward_journal
                    .map(|path| ForwardJournal { path, limits: self.journal_limits.unwrap_or_default() }),
            },
            bundle: self.bundle.unwrap_or_default(),
            mounts: self.mounts.unwrap_or_default(),
            bind_users,
            credentials: self.credentials.unwrap_or_default(),
            console: ConsoleSpec { mode: self.console, background: self.background },
        })
    }

    /// What excludes each other.
    fn check_together(&self) -> Result<(), UsageError> {
        let (ephemeral, cleanup) = (self.ephemeral.unwrap_or(false), self.cleanup.unwrap_or(false));
        if self.forward_journal.is_none()
            && let Some(limits) = self.journal_limits.filter(|limits| *limits != JournalLimits::default())
        {
            return Err(UsageError::NothingToLimit(limits.options()));
        }
        if let (true, Some(LinkJournal::Host { optional: false } | LinkJournal::Guest { optional: false })) =
            (ephemeral, self.link_journal)
        {
            return Err(UsageError::Conflict("--ephemeral and --link-journal=host or guest exclude each other"));
        }
        if ephemeral && self.template.is_some() {
            return Err(UsageError::Conflict("--ephemeral and --template= exclude each other"));
        }
        if self.image.is_some() && self.directory.is_some() {
            return Err(UsageError::Conflict("--image= and --directory= exclude each other"));
        }
        if self.image.is_some() && self.template.is_some() {
            return Err(UsageError::Conflict("--image= and --template= exclude each other"));
        }
        if self.template.is_some() && self.directory.is_none() && self.machine.is_none() {
            return Err(UsageError::Conflict("--template= needs --directory= or --machine= to know what to make"));
        }
        if cleanup && self.directory.is_none() && self.image.is_none() && self.machine.is_none() {
            return Err(UsageError::Conflict(
                "--cleanup needs --directory=, --image= or --machine= to know what to clean up",
            ));
        }
        if self.keep_unit == Some(true) && [&self.memory, &self.cpus, &self.pids].iter().any(|limit| limit.is_some()) {
            return Err(UsageError::Conflict(
                "--keep-unit and --memory=, --cpus=, --pids= exclude each other: the unit is not redd's to limit",
            ));
        }
        Ok(())
    }

    fn users(&self, private_users: PrivateUsers) -> Result<UsersSpec, UsageError> {
        let usual = if matches!(private_users, PrivateUsers::Pick | PrivateUsers::Managed) {
            Ownership::Auto
        } else {
            Ownership::Off
        };
        if self.private_users_delegate.is_some_and(|count| count > 0) && private_users != PrivateUsers::Managed {
            return Err(UsageError::Conflict("--private-users-delegate= needs --private-users=managed"));
        }
        let temporary = self.volatile.is_some_and(|volatile| volatile != Volatile::No);
        if self.ownership == Some(Ownership::Chown) && (temporary || self.read_only == Some(true)) {
            return Err(UsageError::Conflict(
                "--private-users-ownership=chown changes the tree, which --read-only and --volatile= exclude; use map",
            ));
        }
        Ok(UsersSpec {
            private_users,
            optional: self.users_optional.unwrap_or(false),
            ownership: self.ownership.unwrap_or(usual),
            delegate: self.private_users_delegate.unwrap_or(0),
        })
    }
}

fn start_mode(boot: bool, as_pid2: bool) -> Result<StartMode, UsageError> {
    match (boot, as_pid2) {
        (true, true) => Err(UsageError::Conflict("--boot and --as-pid2 exclude each other")),
        (true, false) => Ok(StartMode::Boot),
        (false, true) => Ok(StartMode::Pid2),
        (false, false) => Ok(StartMode::Pid1),
    }
}

fn bind_users(
    users: Option<Vec<String>>,
    shell: Option<UserShell>,
    groups: Option<Vec<String>>,
) -> Result<BindUsersSpec, UsageError> {
    let bind = BindUsersSpec {
        users: users.unwrap_or_default(),
        shell: shell.unwrap_or_default(),
        groups: groups.unwrap_or_default(),
    };
    match &bind {
        BindUsersSpec { users, .. } if !users.is_empty() => {}
        BindUsersSpec { shell: UserShell::Path(_), .. } => {
            return Err(UsageError::Conflict("--bind-user-shell= needs --bind-user="));
        }
        BindUsersSpec { groups, .. } if !groups.is_empty() => {
            return Err(UsageError::Conflict("--bind-user-group= needs --bind-user="));
        }
        BindUsersSpec { .. } => {}
    }
    Ok(bind)
}

fn identity(
    machine: Option<MachineName>,
    hostname: Option<HostName>,
    uuid: Option<Uuid>,
    container_service: Option<String>,
) -> IdentitySpec {
    let container_service = container_service.unwrap_or_else(|| "systemd-nspawn".to_owned());
    IdentitySpec { machine, hostname, uuid, container_service }
}
