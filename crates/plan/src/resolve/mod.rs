//! The one place where options and facts meet.

mod api_mounts;
mod bind_user;
mod bundle;
mod credentials;
mod custom_mounts;
mod delegation;
mod forward_journal;
mod image;
mod integration;
mod journal;
mod limits;
mod payload;
mod root;
mod selinux;
mod unit;
mod users;

use spec::{Background, ConsoleMode, ContainerSpec, Source, StartMode, Volatile};
use thiserror::Error;
use uuid::Uuid;

pub use bind_user::{BOUND_IDS, Error as BindUserError};

use crate::{
    DeviceRule, EphemeralFacts, EphemeralKind, FileStep, FileSystem, HostFacts, InnerStep, LaunchStep, Lifecycle,
    Limits, Namespaces, OuterStep, ParentStep, Plan, Registration, ResourceLimit, Supervision, Tint, TreeFacts,
    UserNamespace,
};

pub use journal::JOURNALS;
use journal::Linking;

/// Why there is no plan. The second line of the message is the next step.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum Error {
    /// The host's own root would be changed.
    #[error("the host's own root directory is used only with --ephemeral or a --volatile mode")]
    HostRoot,
    /// `-b` on something that is no operating system.
    #[error("{0} has neither /usr/lib/os-release nor /etc/os-release, so it is not booted")]
    NoOsRelease(String),
    /// A command in something that is no operating system.
    #[error(
        "{0} has no /usr directory, so it is no operating system and left alone; name the directory of one with -D, or \
         install one with \"redd bootstrap debian DIRECTORY\""
    )]
    NoUsr(String),
    /// `/etc/machine-id` says something that is no id.
    #[error("the file /etc/machine-id in {tree} {problem}; remove it or empty it to have a new one made")]
    MachineId {
        /// The tree.
        tree: String,
        /// Why.
        problem: &'static str,
    },
    /// A name cannot be made of the path.
    #[error("no machine name can be made of {0:?}; give one with --machine=")]
    NoName(String),
    /// The kernel has no user namespaces.
    #[error("the kernel has no user namespaces, which --private-users= needs")]
    NoUserNamespaces,
    /// A network that exists belongs to the host's users.
    #[error("the network {0} exists already and belongs to the host's users: leave out --private-users=")]
    NetworkOfHost(String),
    /// `--private-users=yes` on a tree whose owner does not tell a range.
    #[error(
        "{tree} belongs to user {user} and group {group}, which are in different ranges of 65536 ids; change its owner, \
         or use --private-users=pick"
    )]
    OwnersDiffer {
        /// The tree.
        tree: String,
        /// Owner of its root directory.
        user: u32,
        /// Group of its root directory.
        group: u32,
    },
    /// The ids of the range are not all valid ones.
    #[error("the ids from {0} on are no range; change the owner of the tree, or use --private-users=pick")]
    NoRange(u32),
    /// A change of owners was killed, and this start would not go on with it.
    #[error(
        "the change of the owners of {0} has not come to its end; go on with it by --private-users=pick \
         --private-users-ownership=chown, or undo it by --private-users=0 --private-users-ownership=chown"
    )]
    HalfShifted(String),
    /// The range cannot be told from the upper 16 bits of an id.
    #[error(
        "the owners of files are changed to ranges of 65536 ids from a multiple of 65536 on, and {0} is none; \
         use --private-users-ownership=map"
    )]
    NotShiftable(String),
    /// Owners cannot be changed.
    #[error("{0} is read-only, so the owners of its files cannot be changed; use --private-users-ownership=map or -x")]
    ReadOnlyTree(String),
    /// `--private-users-ownership=foreign` on another tree.
    #[error(
        "{tree} belongs to user {owner}, which is not in the foreign range from 2147352576 on; use \
         --private-users-ownership=auto"
    )]
    NotForeign {
        /// The tree.
        tree: String,
        /// Owner of its root directory.
        owner: u32,
    },
    /// The file system cannot map ids.
    #[error("ids cannot be mapped on the file system of {0}, which --private-users-ownership=map needs")]
    NoIdMapping(String),
    /// The machine's journal cannot be linked.
    #[error("the journal cannot be linked as --link-journal= says: {0}")]
    Journal(String),
    /// `--forward-journal=` without the program for it.
    #[error(
        "systemd-journal-remote, which this host has not, is needed for {0}; install the package \
         systemd-journal-remote, or leave this out"
    )]
    NoJournalRemote(String),
    /// It is too old for this limit.
    #[error("the host's systemd-journal-remote is too old for --forward-journal-{0}=; leave the limit out")]
    OldJournalRemote(&'static str),
    /// `--volatile=yes` needs a merged /usr.
    #[error("--volatile=yes needs an operating system whose /bin is a link into /usr, and {0} is none")]
    NotMergedUsr(String),
    /// The owners of a partition's files cannot be those of the container.
    #[error(
        "the files of the partition for {partition} in {tree} cannot be given to the container's users: its file system \
         cannot map ids, or --private-users-ownership=chown was asked for, which is for trees and images without \
         other partitions; use --private-users=no, or --private-users-ownership=map with ext4, btrfs or xfs"
    )]
    PartitionIds {
        /// The image.
        tree: String,
        /// What the partition is for.
        partition: &'static str,
    },
    /// The source of a bind mount is not there.
    #[error("the source {0} of a bind mount does not exist")]
    NoSource(String),
    /// A mount speaks of ids that the container has not.
    #[error("the mount at {mount} is to have ids that the container has not; its highest one is {last}")]
    IdsOutside {
        /// Where.
        mount: String,
        /// The container's highest id.
        last: u32,
    },
    /// `--user` without a service manager of the user's.
    #[error("--user needs the service manager of a user, and none listens in {0}; see loginctl(1), enable-linger")]
    NoUserManager(String),
    /// The system's service manager does not look after a user's session.
    #[error("--keep-unit does not go with registering the machine in the session of a user; use --register=no")]
    UserSession,
    /// Only a service manager could do it.
    #[error("{0}= is for a service manager, and systemd does not manage this host")]
    NoServiceManager(String),
    /// The kernel, or the host's setup, lacks it.
    #[error(
        "{property}= needs the controller {controller} of control groups, which this host has neither in cgroup2 nor \
             in version 1"
    )]
    NoController {
        /// What was asked for.
        property: String,
        /// The controller's name.
        controller: &'static str,
    },
    /// Version 1 of control groups has no such thing.
    #[error(
        "{property}= cannot be carried out: the controller is one of version 1 of control groups here, and {reason}"
    )]
    Version1 {
        /// What was asked for.
        property: String,
        /// Why not.
        reason: &'static str,
    },
    /// `linux.cgroupsPath` of a bundle.
    #[error(
        "linux.cgroupsPath names a slice, which only a service manager has, and systemd does not manage this host; leave \
         it out"
    )]
    NoSlice,
    /// A device of a bundle's with an owner that there is not.
    #[error("the device {path} is to belong to an id that the container has not; its highest one is {last}")]
    DeviceOwner {
        /// Where.
        path: String,
        /// The container's highest id.
        last: u32,
    },
    /// A limit of a disk that is none.
    #[error("{0} is no block device and does not lie on one, so it has no limits of its own")]
    NoDisk(String),
    /// A device that is none.
    #[error("there is no device {0} that could be allowed")]
    NoDevice(String),
    /// The container has something of its own there.
    #[error("nothing can be mounted at {0}: the container has its own there, which it cannot do without")]
    Reserved(String),
    /// The upper layer of an overlay is in what is thrown away or cannot be written.
    #[error(
        "the upper layer +{path} of the overlay at {target} is in a root whose changes are not kept or that is \
         read-only; leave it empty to have a temporary one"
    )]
    UpperInCopy {
        /// The layer.
        path: String,
        /// The overlay.
        target: String,
    },
    /// The upper layer of an overlay has no place for a work directory beside it.
    #[error("{0} is a mount point or a subvolume, which no upper layer of an overlay can be; give a directory in it")]
    UpperIsMount(String),
    /// Labels without SELinux.
    #[error("{0} needs SELinux, which the kernel of this host does not have or has switched off")]
    NoSelinux(&'static str),
    /// A user of the host.
    #[error(transparent)]
    BindUser(#[from] bind_user::Error),
    /// A path of our own does not parse; a programming error.
    #[error("{0:?} is not an absolute path")]
    Path(String),
}

/// Makes the plan.
///
/// # Errors
/// An [`enum@Error`] where the specification cannot be carried out on this host.
pub fn resolve(spec: &ContainerSpec, facts: &HostFacts) -> Result<Plan, Error> {
    let tree = facts.tree.path.display().to_string();
    let temporary = spec.image().ephemeral || spec.image().volatile != Volatile::No;
    if facts.tree.host_root && !temporary {
        return Err(Error::HostRoot);
    }
    if spec.exec().mode == StartMode::Boot && spec.image().check_os_release && !facts.tree.os_release {
        return Err(Error::NoOsRelease(tree));
    }
    if spec.exec().mode != StartMode::Boot && spec.image().needs_usr && !facts.tree.usr {
        let root = spec.image().pivot_root.as_ref().map(|pivot| format!("{tree}{}", pivot.new));
        return Err(Error::NoUsr(root.unwrap_or(tree)));
    }
    if spec.image().volatile == Volatile::Yes && !facts.tree.merged_usr {
        return Err(Error::NotMergedUsr(tree));
    }
    if let Some(problem) = facts.tree.machine_id_problem
        && spec.image().volatile != Volatile::Yes
    {
        return Err(Error::MachineId { tree, problem });
    }
    let machine = machine_name(spec, facts)?;
    let user = users::resolve(spec, facts)?;
    let adjusted;
    let facts = match users::own_files(facts, user)? {
        Some(copy) => {
            let tree = TreeFacts { ephemeral: Some(copy), ..facts.tree.clone() };
            adjusted = HostFacts { tree, ..facts.clone() };
            &adjusted
        }
        None => facts,
    };
    let private_network = spec.network().private;
    let console = console_mode(spec, facts);
    let uuid = machine_uuid(spec, facts.tree.machine_id, &facts.random);
    let mut context = Context { spec, facts, user, console, uuid, machine: &machine, journal: Linking::Not };
    context.journal = journal::resolve(&context)?;
    let registration = unit::registration(&context)?;
    image::check(&context)?;
    let bounds = limits::resolve(&context)?;
    let (mut outer, mut inner) = (outer_steps(&context)?, inner_steps(&context)?);
    selinux::label(&context, &mut outer, &mut inner)?;
    Ok(Plan {
        tree: facts.tree.path.clone(),
        quiet: spec.run().quiet,
        notices: notices(&context),
        lifecycle: Lifecycle::Supervised,
        namespaces: Namespaces {
            user,
            network: private_network && spec.bundle().network.is_none(),
            cgroup: spec.run().cgroup_namespace,
        },
        parent: parent_steps(&context, registration.as_ref()),
        registration,
        listed: spec.property().register != spec::Register::No,
        launch: launch_steps(&context, bounds.steps),
        outer,
        inner,
        payload: payload::resolve(&context),
        limits: limits(&context, bounds.devices),
        supervision: Supervision {
            console,
            console_size: spec.bundle().console_size.filter(|_| console != ConsoleMode::Pipe),
            title: title(facts, console, &machine),
            tint: tint(spec, facts, console),
            kill_signal: kill_signal(spec),
            boot: spec.exec().mode == StartMode::Boot,
            notify_ready: spec.exec().notify_ready,
            notify_socket: facts.caller.notify_socket.clone(),
            watchdog: facts.caller.watchdog,
            forward_journal: forward_journal::resolve(&context)?,
            uuid,
            api_vfs_writable: spec.security().api_vfs_writable,
        },
        machine,
    })
}

/// What all parts of the resolution share.
struct Context<'a> {
    spec: &'a ContainerSpec,
    facts: &'a HostFacts,
    user: Option<UserNamespace>,
    console: ConsoleMode,
    uuid: Uuid,
    machine: &'a str,
    journal: Linking,
}

impl Context<'_> {
    /// A private network that the container makes, and that nobody else has prepared.
    fn own_network(&self) -> bool {
        self.private_network() && self.spec.bundle().network.is_none()
    }

    fn private_network(&self) -> bool {
        self.spec.network().private
    }

    /// Nothing that is written to the root stays there or can be written at all.
    fn root_read_only(&self) -> bool {
        let image = self.spec.image();
        (image.read_only || image.volatile == Volatile::State || self.facts.tree.read_only && !image.ephemeral)
            && !matches!(image.volatile, Volatile::Yes | Volatile::Overlay)
    }

    /// The copy that is made of the tree. A volatile mode leaves the tree as it is and needs none.
    fn ephemeral(&self) -> Option<&EphemeralFacts> {
        let image = self.spec.image();
        self.facts.tree.ephemeral.as_ref().filter(|_| image.ephemeral && image.volatile == Volatile::No)
    }

    fn copies(&self, kind: EphemeralKind) -> bool {
        self.ephemeral().is_some_and(|copy| copy.kind == kind)
    }
}

/// The machine's id: that of the tree, else as given, else a random one (systemd-nspawn(1), `--uuid=`).
#[must_use]
pub fn machine_uuid(spec: &ContainerSpec, tree: Option<Uuid>, random: &crate::Random) -> Uuid {
    // With --volatile=yes the tree's /etc is not there.
    let tree = tree.filter(|_| spec.image().volatile != Volatile::Yes);
    tree.or(spec.identity().uuid).unwrap_or(random.container_uuid)
}

/// The machine's name: as given, else the last part of the tree's path, for the host's root its host name; ephemeral
/// machines get a random end (systemd-nspawn(1), `--machine=`).
///
/// # Errors
/// [`Error::NoName`] where the path's last part is no valid name.
pub fn machine_name(spec: &ContainerSpec, facts: &HostFacts) -> Result<String, Error> {
    if let Some(name) = &spec.identity().machine {
        return Ok(name.as_str().to_owned());
    }
    if facts.tree.host_root && matches!(spec.image().source, Source::Directory(_)) {
        let host = std::path::Path::new(&facts.host.hostname);
        return machine_name_of(spec, host, facts.random.suffix);
    }
    machine_name_of(spec, &facts.tree.path, facts.random.suffix)
}

/// The same for a tree or disk image at `path`, before anything else is known of it. `suffix` is the random end.
///
/// # Errors
/// [`Error::NoName`].
pub fn machine_name_of(spec: &ContainerSpec, path: &std::path::Path, suffix: u64) -> Result<String, Error> {
    if let Some(name) = &spec.identity().machine {
        return Ok(name.as_str().to_owned());
    }
    let last = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let base = match &spec.image().source {
        Source::Machine(name) => name.as_str().to_owned(),
        Source::Directory(_) => last,
        Source::Image(_) => last.strip_suffix(".raw").map(str::to_owned).unwrap_or(last),
    };
    let Some(name) = spec::MachineName::made_of(&base) else { return Err(Error::NoName(base)) };
    if !spec.image().ephemeral {
        return Ok(name.as_str().to_owned());
    }
    let cut: String = name.as_str().chars().take(64 - 17).collect();
    Ok(format!("{}-{:016x}", cut.trim_end_matches(['-', '.']), suffix))
}

fn console_mode(spec: &ContainerSpec, facts: &HostFacts) -> ConsoleMode {
    let streams = facts.caller.console;
    match spec.console().mode {
        None => streams.default_mode(),
        Some(ConsoleMode::Autopipe) if streams.input_is_terminal && streams.output_is_terminal => {
            ConsoleMode::Interactive
        }
        Some(ConsoleMode::Autopipe) => ConsoleMode::Pipe,
        Some(mode) => mode,
    }
}

fn title(facts: &HostFacts, console: ConsoleMode, machine: &str) -> Option<String> {
    decorates(facts, console).then(|| format!("Container {machine}"))
}

/// What was asked for; else a touch for a system or a shell, where somebody may forget in which of many terminals they
/// are. A single command would only flash.
fn tint(wanted: &ContainerSpec, facts: &HostFacts, console: ConsoleMode) -> Option<Tint> {
    let exec = wanted.exec();
    let stays = exec.mode == StartMode::Boot || exec.arguments.is_empty();
    let allowed =
        facts.caller.tint_background.as_deref().and_then(|value| value.to_str()).and_then(spec::options::boolean);
    let colours = facts.caller.no_color.as_deref().is_none_or(|value| value.is_empty()) && allowed != Some(false);
    let tint = match wanted.console().background {
        Some(Background::Colour(colour)) => Some(Tint::Colour(colour)),
        Some(Background::Unchanged | Background::NotSaid) => None,
        None => (stays && colours).then_some(Tint::Touch),
    };
    tint.filter(|_| facts.caller.console.input_is_terminal && decorates(facts, console))
}

/// Terminals that only write have no title, and the kernel's own console shows the sequence as text.
fn decorates(facts: &HostFacts, console: ConsoleMode) -> bool {
    let able = facts
        .caller
        .term
        .as_deref()
        .and_then(|term| term.to_str())
        .is_some_and(|term| !matches!(term, "" | "dumb" | "linux" | "unknown") && !term.starts_with("vt"));
    able && console == ConsoleMode::Interactive && facts.caller.console.output_is_terminal
}

fn kill_signal(spec: &ContainerSpec) -> Option<i32> {
    /// SIGRTMIN+3: what systemd's process 1 takes as a request to power off.
    const ORDERLY_SHUTDOWN: i32 = 34 + 3;
    match (spec.exec().kill_signal, spec.exec().mode) {
        (Some(signal), _) => Some(signal.number()),
        (None, StartMode::Boot) => Some(ORDERLY_SHUTDOWN),
        (None, _) => None,
    }
}

fn notices(context: &Context<'_>) -> Vec<String> {
    let image = context.spec.image();
    let mut notices: Vec<String> = context.ephemeral().and_then(|copy| copy.notice.clone()).into_iter().collect();
    notices.extend(unit::notice(context));
    if image.template.is_some() && context.facts.tree.template.is_none() {
        notices.push(format!("{} exists, so the template is not used.", context.facts.tree.path.display()));
    }
    notices.extend(image::notices(context));
    notices.extend(integration::notices(context));
    notices.extend(journal::notice(context));
    if context.spec.console().background == Some(Background::NotSaid) {
        notices.push("What --background= says is no colour of a background, so that stays as it is.".to_owned());
    }
    notices.extend(custom_mounts::notices(context));
    notices
}

fn parent_steps(context: &Context<'_>, registration: Option<&Registration>) -> Vec<ParentStep> {
    let image = context.spec.image();
    let mut steps = vec![ParentStep::LockName];
    if let Some(from) = &context.facts.tree.template {
        steps.push(ParentStep::CopyTemplate { from: from.clone(), to: context.facts.tree.path.clone() });
    }
    // The host's own root is in use by the host: nobody could ever have it alone. A copy that is one by itself does not
    // mind who writes to the tree.
    let alone = context.copies(EphemeralKind::Snapshot) || context.copies(EphemeralKind::Copy);
    if !context.facts.tree.host_root && !alone {
        let kept = context.root_read_only() || image.ephemeral || image.volatile != Volatile::No;
        let shared = kept && !image::is_written(context);
        steps.push(ParentStep::LockTree { shared });
    }
    steps.extend(context.user.and_then(|user| users::lock(context.spec, user.range)));
    steps.extend(delegation::parent(context));
    if let Some(EphemeralFacts { kind, place, .. }) = context.ephemeral()
        && *kind != EphemeralKind::Memory
    {
        steps.push(ParentStep::MakeEphemeral { kind: *kind, place: place.clone() });
    }
    if let Some(user) = context.user.filter(|user| user.shift_tree) {
        steps.push(ParentStep::ShiftTree { base: user.range.start() });
    }
    image::parent(context, &mut steps);
    custom_mounts::parent(context, &mut steps);
    steps.extend(journal::parent(context));
    steps.extend(registration.map(|registration| ParentStep::ForgetMachine(registration.manager.clone())));
    // Last: there is no way back out of it.
    steps.extend(unit::scope(context).map(ParentStep::StartScope));
    steps
}

fn launch_steps(context: &Context<'_>, bounds: Vec<LaunchStep>) -> Vec<LaunchStep> {
    let image = context.spec.image();
    let mut steps = vec![LaunchStep::MakeControlGroup(unit::group_place(context))];
    steps.extend(bounds);
    steps.push(LaunchStep::TakeTree {
        subdirectory: (image.volatile == Volatile::Yes).then_some("usr"),
        recursive: !image.ephemeral && image.volatile != Volatile::Overlay,
    });
    image::launch(context, &mut steps);
    if let Some(path) = &context.facts.host.os_release {
        let number = crate::SourceNumber::OsRelease;
        steps.push(LaunchStep::TakeSource { path: path.clone(), recursive: false, number });
    }
    integration::sources(context, &mut steps);
    steps.extend(journal::source(context));
    custom_mounts::sources(context, &mut steps);
    bind_user::sources(context, &mut steps);
    steps.extend(delegation::sources(context));
    steps
}

fn outer_steps(context: &Context<'_>) -> Result<Vec<OuterStep>, Error> {
    let mut steps = vec![OuterStep::Isolate];
    bundle::network(context, &mut steps)?;
    root::steps(context, &mut steps)?;
    image::outer(context, &mut steps)?;
    custom_mounts::root(context, &mut steps)?;
    let mut files = Vec::new();
    api_mounts::outer(context, &mut files)?;
    steps.extend(files.into_iter().map(OuterStep::File));
    credentials::outer(context, &mut steps)?;
    bind_user::outer(context, &mut steps)?;
    delegation::outer(context, &mut steps)?;
    custom_mounts::steps(context, &mut steps)?;
    bundle::devices(context, &mut steps)?;
    integration::outer(context, &mut steps)?;
    steps.extend(journal::outer(context));
    if context.user.is_some() {
        let (target, attributes) = api_mounts::proc()?;
        steps.push(OuterStep::MountProc { target, attributes });
        let mut files = Vec::new();
        api_mounts::control_groups(context, &mut files)?;
        steps.extend(files.drain(..).map(OuterStep::File));
        if context.private_network() {
            // It is being made meanwhile: what needs it comes last.
            steps.push(OuterStep::JoinNetwork);
            api_mounts::private_sysfs(context, &mut files)?;
        }
        files.extend(custom_mounts::in_sysfs(context)?);
        steps.extend(files.into_iter().map(OuterStep::File));
        steps.push(OuterStep::PivotRoot);
    }
    Ok(steps)
}

fn inner_steps(context: &Context<'_>) -> Result<Vec<InnerStep>, Error> {
    let hostname = context.spec.identity().hostname.as_ref().map_or(context.machine, |name| name.as_str());
    let mut steps = Vec::new();
    // With users of its own the outer steps are done by another process at the same time: what takes no mounts comes first.
    if context.user.is_some() {
        steps.push(InnerStep::BecomeRoot);
        if context.private_network() {
            steps.push(InnerStep::MakeNetwork);
        }
    }
    if context.own_network() {
        steps.push(InnerStep::BringUpLoopback);
    }
    steps.push(InnerStep::SetHostname(hostname.to_owned()));
    if context.user.is_some() {
        steps.push(InnerStep::TakeMountsOver);
    }
    let mut files = Vec::new();
    if context.user.is_none() {
        let (target, attributes) = api_mounts::proc()?;
        files.push(FileStep::Mount { file_system: FileSystem::Proc, target, options: Vec::new(), attributes });
    }
    api_mounts::inner(context, &mut files)?;
    if context.user.is_none() {
        api_mounts::control_groups(context, &mut files)?;
        if context.private_network() {
            api_mounts::private_sysfs(context, &mut files)?;
        }
        files.extend(custom_mounts::in_sysfs(context)?);
    }
    steps.extend(files.into_iter().map(InnerStep::File));
    if let (true, Some(user)) = (context.private_network(), context.user) {
        steps.push(InnerStep::AllowPing { last: user.range.count() - 1 });
    }
    if context.console != ConsoleMode::Pipe {
        steps.push(InnerStep::MakeConsole);
    }
    steps.push(InnerStep::ListenForNotifications);
    steps.push(InnerStep::MakeKmsg);
    forward_journal::inner(context, &mut steps)?;
    bundle::parameters(context, &mut steps);
    let mut late = Vec::new();
    bundle::paths(context, &mut late);
    api_mounts::seal(context, &mut late)?;
    integration::inner(context, &mut steps)?;
    steps.extend(journal::inner(context));
    steps.extend(late.into_iter().map(InnerStep::File));
    if context.user.is_none() {
        steps.push(InnerStep::PivotRoot);
    }
    steps.push(InnerStep::ShareMounts);
    Ok(steps)
}

fn limits(context: &Context<'_>, device_access: crate::DeviceAccess) -> Limits {
    let spec = context.spec;
    let security = spec.security();
    let resources = spec.resources();
    let inherited = context.facts.host.limits.iter().filter(|(name, _)| !resources.rlimits.contains_key(name));
    let mut all: Vec<_> = inherited.map(|&(resource, limit)| ResourceLimit { resource, limit, exact: false }).collect();
    all.extend(resources.rlimits.iter().map(|(&resource, &limit)| ResourceLimit { resource, limit, exact: true }));
    Limits {
        capabilities: security.effective_capabilities(context.user.is_some(), context.private_network()),
        last_capability: context.facts.host.last_capability,
        no_new_privileges: security.no_new_privileges,
        ambient_capabilities: security.ambient_capabilities,
        program_sets: spec.bundle().program_sets,
        system_call_filter: security.system_call_filter.clone(),
        call_profile: spec.bundle().system_calls.clone(),
        address_families: security.address_families,
        selinux_context: security.selinux_context.clone(),
        suppress_sync: security.suppress_sync,
        resources: all,
        oom_score_adjust: resources.oom_score_adjust,
        cpu_affinity: resources.cpu_affinity.as_ref().map(|set| set.cpus().to_vec()),
        personality: resources.personality,
        devices: given_devices(context),
        device_access,
    }
}

/// Devices that the container has nodes of beyond the standard ones, from mounts and by a bundle, each once. Whoever has
/// nodes of one at several places may do with it what any of them is for.
fn given_devices(context: &Context<'_>) -> Vec<DeviceRule> {
    let number = |rule: &DeviceRule| (rule.block, rule.major, rule.minor);
    let mut all: Vec<DeviceRule> = Vec::new();
    for device in custom_mounts::devices(context).into_iter().chain(bundle::nodes(context)) {
        match all.iter_mut().find(|known| number(known) == number(&device)) {
            Some(known) => {
                known.read |= device.read;
                known.write |= device.write;
                known.make |= device.make;
            }
            None => all.push(device),
        }
    }
    all
}

/// A path of our own.
fn path(text: &str) -> Result<spec::AbsPath, Error> {
    spec::AbsPath::try_from(text).map_err(|_| Error::Path(text.to_owned()))
}

fn directory(text: &str, mode: u32) -> Result<FileStep, Error> {
    Ok(FileStep::Directory { path: path(text)?, mode })
}
