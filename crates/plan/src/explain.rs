//! The plan in words, for `--dry-run`.

use std::fmt::{self, Display, Formatter};

use crate::{
    CredentialsStep, EphemeralKind, FileStep, GroupPlace, InnerStep, LaunchStep, MountFlags, MountIds, NodeKind,
    OuterStep, OverlayStep, ParentStep, Plan, Root, ServiceManager, SourceNumber, SpecialKind, WorkingDirectory,
};

/// One line for each step, under a heading for each stage.
#[must_use]
pub fn explain(plan: &Plan) -> String {
    let mut text = format!("machine {} from {}\n", plan.machine, plan.tree.display());
    section(&mut text, "before the start, by the caller", &plan.parent);
    section(&mut text, "at each start, by the caller", &plan.launch);
    section(&mut text, "outside, with the host's privileges in a mount namespace of its own", &plan.outer);
    section(&mut text, "inside all namespaces", &plan.inner);
    let mut lines = namespaces(plan);
    lines.extend(payload(plan));
    section(&mut text, "the payload", &lines);
    spec::printable_lines(&text)
}

fn section<T: Display>(text: &mut String, heading: &str, lines: &[T]) {
    use fmt::Write as _;
    if lines.is_empty() {
        return;
    }
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n{heading}:");
    for line in lines {
        let _ = writeln!(text, "  {line}");
    }
}

fn namespaces(plan: &Plan) -> Vec<String> {
    let mut own = vec!["mount", "pid", "uts", "ipc"];
    if plan.namespaces.cgroup {
        own.push("cgroup");
    }
    if plan.namespaces.network {
        own.push("network");
    }
    let mut lines = vec![format!("has its own namespaces: {}", own.join(", "))];
    if let Some(user) = plan.namespaces.user {
        let (first, count) = (user.range.start(), user.range.count());
        let how = match (user.map_tree, user.tree_base) {
            (false, _) => "as they are on disk".to_owned(),
            (true, 0) => "mapped by the mount".to_owned(),
            (true, base) => format!("mapped by the mount from {base} on"),
        };
        lines.push(format!("has its own users: 0 to {} are {first} and up on the host, files {how}", count - 1));
    } else {
        lines.push("shares the host's users: root inside is root outside, which is no boundary".into());
    }
    lines
}

fn payload(plan: &Plan) -> Vec<String> {
    let payload = &plan.payload;
    let programs: Vec<_> = payload.programs.iter().map(|program| format!("{}", program.path.display())).collect();
    let number = if payload.stub_init { 2 } else { 1 };
    let mut lines = vec![format!("runs the first of {} that exists as process {number}", programs.join(", "))];
    if let Some(program) = payload.programs.first() {
        lines.push(format!("with the arguments {:?}", program.arguments));
    }
    for variable in &payload.environment {
        lines.push(format!("with {}", variable.display()));
    }
    for (name, value) in &payload.environment_override {
        lines.push(format!("with {}={}", name.display(), value.display()));
    }
    match &payload.user_ids {
        Some(user) => lines.push(format!("as the user {} and the groups {}, {:?}", user.uid, user.gid, user.groups)),
        None => lines.push(format!("as the user {}", payload.user.as_deref().unwrap_or("root"))),
    }
    match &payload.directory {
        WorkingDirectory::Root => lines.push("in /".into()),
        WorkingDirectory::Home => lines.push("in the user's home".into()),
        WorkingDirectory::Path(path) => lines.push(format!("in {path}")),
    }
    if payload.inherited > 0 {
        lines.push(format!("with the {} descriptors from number 3 on", payload.inherited));
    }
    lines.push(format!("with the capabilities {}", plan.limits.capabilities));
    lines.extend(limits(plan));
    lines.push(format!("on the console: {:?}", plan.supervision.console));
    match plan.supervision.kill_signal {
        Some(signal) => lines.push(format!("asked to end by signal {signal}")),
        None => lines.push("killed where it is asked to end".into()),
    }
    if let Some(registration) = &plan.registration {
        let how = if registration.required { ", or else it does not start" } else { ", if that works" };
        let whose = if registration.manager == ServiceManager::System { "the system's" } else { "the user's" };
        lines.push(format!("registered with {whose} systemd-machined{how}"));
    }
    if plan.listed {
        lines.push("in redd's list of machines".into());
    }
    if plan.supervision.notify_ready {
        lines.push("ready when it says so".into());
    }
    lines
}

/// What was asked for beyond the defaults.
fn limits(plan: &Plan) -> Vec<String> {
    let limits = &plan.limits;
    let mut lines = Vec::new();
    if limits.no_new_privileges {
        lines.push("without ways to get more privileges".into());
    }
    if limits.suppress_sync {
        lines.push("without waiting for the disk".into());
    }
    if let Some(profile) = &limits.call_profile {
        lines.push(format!("with the bundle's own filter of system calls, of {} rules", profile.rules.len()));
    }
    for item in &limits.system_call_filter {
        let how = match item.refusal {
            Some(spec::Refusal::Errno(number)) => format!(", with the error {number}"),
            Some(spec::Refusal::Kill) => ", which end the process".to_owned(),
            None => String::new(),
        };
        lines.push(format!("{} the system calls {}{how}", if item.allow { "allowed" } else { "refused" }, item.name));
    }
    if limits.ambient_capabilities != spec::CapabilitySet::EMPTY {
        lines.push(format!("with the ambient capabilities {}", limits.ambient_capabilities));
    }
    lines.extend(families(&limits.address_families));
    if let Some(label) = &limits.selinux_context {
        lines.push(format!("with the SELinux label {label}"));
    }
    let value = |value: Option<u64>| value.map_or("infinity".to_owned(), |value| value.to_string());
    for one in limits.resources.iter().filter(|one| one.exact) {
        let (soft, hard) = (value(one.limit.soft), value(one.limit.hard));
        lines.push(format!("with the limit RLIMIT_{} {soft}, which it may raise to {hard}", one.resource.name()));
    }
    if let Some(score) = limits.oom_score_adjust {
        lines.push(format!("with the out-of-memory score adjusted by {score}"));
    }
    if let Some(cpus) = &limits.cpu_affinity {
        let cpus: Vec<_> = cpus.iter().map(u32::to_string).collect();
        lines.push(format!("on the processors {}", cpus.join(",")));
    }
    if let Some(personality) = limits.personality {
        lines.push(format!("on a machine that calls itself {personality:?}"));
    }
    lines
}

fn families(families: &spec::AddressFamilies) -> Vec<String> {
    let list = |set: spec::FamilySet| set.names().collect::<Vec<_>>().join(", ");
    let mut lines = Vec::new();
    if let Some(allow) = families.allow {
        lines.push(format!("with sockets of these families alone: {}", list(allow)));
    }
    if families.deny.bits() != 0 {
        lines.push(format!("without sockets of these families: {}", list(families.deny)));
    }
    lines
}

impl Display for ParentStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::LockName => f.write_str("lock the machine's name"),
            Self::LockTree { shared: true } => f.write_str("lock the tree for reading"),
            Self::LockTree { shared: false } => f.write_str("lock the tree for writing"),
            Self::LockIdRange(range) => write!(f, "lock the user and group ids {range}"),
            Self::ShiftTree { base } => write!(f, "give all files of the tree to the ids from {base} on"),
            Self::ShareIdRange(range) => write!(f, "keep others from picking of the user and group ids {range}"),
            Self::CopyTemplate { from, to } => write!(f, "make {} from {}", to.display(), from.display()),
            Self::MakeEphemeral { kind: EphemeralKind::Snapshot, place } => {
                write!(f, "make a snapshot of the tree in {}", place.display())
            }
            Self::MakeEphemeral { kind: EphemeralKind::Copy, place } => {
                write!(f, "make a copy of the tree in {}", place.display())
            }
            Self::LinkJournal { id, guest: Some(guest) } => {
                write!(f, "link the host's /var/log/journal/{id} to {}", guest.display())
            }
            Self::LinkJournal { id, guest: None } => write!(f, "make the host's /var/log/journal/{id}"),
            Self::ForgetMachine(_) => {
                f.write_str("see to it that systemd-machined knows no dead machine of this name any more")
            }
            Self::StartScope(scope) => {
                write!(f, "move to the new unit {} in {} ({:?})", scope.unit, scope.slice, scope.description)?;
                scope.properties.iter().try_for_each(|property| write!(f, ", {property}"))
            }
            Self::MakeEphemeral { place, .. } => {
                write!(f, "make the upper layer of the ephemeral copy in {}", place.display())
            }
            Self::MakeTemporary { number, owner } => {
                write!(f, "make a temporary directory of user {owner} for mount {number}")
            }
            Self::MakeLayers { number, beside: None, owner, .. } => {
                write!(f, "make temporary layers of user {owner} for mount {number}")
            }
            Self::MakeLayers { number, beside: Some(place), missing, .. } => {
                write!(f, "make a work directory in {} for mount {number}", place.display())?;
                match missing {
                    Some(path) => write!(f, ", and {}", path.display()),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Display for LaunchStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeControlGroup(GroupPlace::Subtree { .. }) => f.write_str("make the control group"),
            Self::MakeControlGroup(GroupPlace::CallersUnit) => {
                f.write_str("make the control group in the caller's unit")
            }
            Self::MakeControlGroup(GroupPlace::Scope(unit)) => write!(f, "make the control group in {unit}"),
            Self::LimitGroup { controllers, files } => {
                write!(f, "limit the control group by {}", controllers.join(", "))?;
                files.iter().try_for_each(|one| write!(f, ", {}= as {} = {}", one.property, one.file, one.value))
            }
            Self::LimitHierarchy(group) => {
                write!(f, "make a control group in {}", group.own.display())?;
                group
                    .machine
                    .iter()
                    .try_for_each(|one| write!(f, ", {}= as {} = {}", one.property, one.file, one.value))
            }
            Self::TakeTree { subdirectory, recursive } => {
                let what = subdirectory.map_or("the tree".to_owned(), |name| format!("the tree's /{name}"));
                write!(f, "take a mount of {what}{}", if *recursive { " with all below" } else { "" })
            }
            Self::TakePartition { role, layers } => {
                let how = if layers.is_some() { ", below a temporary layer" } else { "" };
                write!(f, "mount the partition for {} of the disk image{how}", role.name())
            }
            Self::TakeTemporary(number) => write!(f, "take a mount of the temporary directory for mount {number}"),
            Self::TakeLayers { number, from: None } => {
                write!(f, "take a mount of the temporary layers for mount {number}")
            }
            Self::TakeLayers { number, from: Some(path) } => {
                write!(f, "take a mount of {} for the upper layer of mount {number}", path.display())
            }
            Self::TakeSource { path, recursive, .. } => {
                write!(f, "take a mount of {}{}", path.display(), if *recursive { " with all below" } else { "" })
            }
        }
    }
}

impl Display for OuterStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Isolate => f.write_str("keep all mounts from the host"),
            Self::MakeRoot(Root::Tree { read_only: false }) => f.write_str("make the tree the root"),
            Self::MakeRoot(Root::Tree { read_only: true }) => f.write_str("make the tree the root, read-only"),
            Self::MakeRoot(Root::Overlay) => f.write_str("make an overlay over the tree the root"),
            Self::MakeRoot(Root::VolatileOverlay) => f.write_str("make an overlay of tmpfs over the tree the root"),
            Self::MakeRoot(Root::VolatileTmpfs) => f.write_str("make a tmpfs with the tree's /usr the root"),
            Self::File(step) => step.fmt(f),
            Self::Overlay(OverlayStep { lower, upper: None, target, .. }) => {
                write!(f, "mount {} directories as one at {target}, read-only", lower.len())
            }
            Self::Overlay(OverlayStep { lower, upper: Some(_), target, by_users }) => {
                let how = if *by_users { ", as root of the user namespace" } else { "" };
                write!(f, "mount {} directories as one at {target}{how}", lower.len() + 1)
            }
            Self::Credentials(CredentialsStep { target, files, .. }) => {
                write!(f, "make files in memory at {target}, read-only:")?;
                let mut files = files.iter();
                files.try_for_each(|(name, secret)| write!(f, " {name} ({} bytes)", secret.reveal().len()))
            }
            Self::PivotInside(pivot) => match &pivot.old {
                Some(old) => write!(f, "make {} the root, the old one at {old}", pivot.new),
                None => write!(f, "make {} the root", pivot.new),
            },
            Self::BindJournal { id, .. } => write!(f, "mount the host's /var/log/journal/{id} at the same place"),
            Self::BindHostFile { source, target } => write!(f, "mount {source} on top of {target}, read-only"),
            Self::PivotRoot => f.write_str("make the root the root and let go of the host's"),
            Self::EnterNetwork { path } => write!(f, "use the network {}", path.display()),
            Self::JoinNetwork => f.write_str("join the container's network"),
            Self::MountProc { target, attributes } => {
                write!(f, "mount proc of the container's processes at {target}{attributes}")
            }
        }
    }
}

impl Display for InnerStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::BecomeRoot => f.write_str("become root of the user namespace"),
            Self::MakeNetwork => f.write_str("make a network"),
            Self::TakeMountsOver => f.write_str("take the mounts over into the user namespace"),
            Self::File(step) => step.fmt(f),
            Self::MakeConsole => f.write_str("make the console /dev/console"),
            Self::ListenForNotifications => f.write_str("listen at /run/host/notify"),
            Self::ListenForJournal => f.write_str("listen at /run/host/journal/socket"),
            Self::MakeKmsg => f.write_str("make the fifo /run/host/proc-kmsg"),
            Self::CopyHostFile { target, .. } => write!(f, "copy the host's {target}"),
            Self::MakeJournal { id, .. } => write!(f, "make the directory /var/log/journal/{id}"),
            Self::DeleteFile(target) => write!(f, "remove {target}"),
            Self::LinkTimezone(zone) => write!(f, "link /etc/localtime to {zone}"),
            Self::BringUpLoopback => f.write_str("bring up the link lo"),
            Self::AllowPing { last } => write!(f, "let the groups 0 to {last} ping"),
            Self::SetParameter { path, value } => write!(f, "write {value} to {path}"),
            Self::SetHostname(name) => write!(f, "set the host name to {name}"),
            Self::PivotRoot => f.write_str("make the root the root and let go of the host's"),
            Self::ShareMounts => f.write_str("share mounts with the namespaces made inside"),
        }
    }
}

impl Display for FileStep {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { file_system, target, options, attributes } => {
                write!(f, "mount a new {} at {target}{attributes}", file_system.name())?;
                if options.is_empty() { Ok(()) } else { write!(f, " with {}", options.join(",")) }
            }
            Self::Attach { source, target, attributes, ids, .. } => {
                write!(f, "mount {source} at {target}{attributes}{}", mapped(ids.as_ref()))
            }
            Self::Bind { source, target, attributes, ids, .. } => {
                write!(f, "mount {source} at {target}{attributes}{}", mapped(ids.as_ref()))
            }
            Self::MountAny { kind, source, target, options, attributes } => {
                let what = source.as_ref().map(|source| format!(" of {source}")).unwrap_or_default();
                let options = if options.is_empty() { String::new() } else { format!(" ({})", options.join(",")) };
                write!(f, "mount a new {kind}{what} at {target}{options}{attributes}")
            }
            Self::Change { path, set, clear, private, recursive, .. } => {
                let below = if *recursive { " and all below it" } else { "" };
                write!(f, "change the mount {path}{below}{set}")?;
                if *clear != MountFlags::NONE {
                    write!(f, ", no longer{clear}")?;
                }
                f.write_str(if *private { ", apart from the host's" } else { "" })
            }
            Self::Restrict { path, attributes } => write!(f, "restrict the mount {path}{attributes}"),
            Self::Detach { path } => write!(f, "take the mount {path} away"),
            Self::Mask { path, .. } => write!(f, "mask {path}"),
            Self::Directory { path, mode } => write!(f, "make the directory {path} ({mode:04o})"),
            Self::PrivateFile { path, contents } => {
                write!(f, "make the file {path} (0600) of {} bytes", contents.reveal().len())
            }
            Self::File { path, mode, contents } => {
                write!(f, "make the file {path} ({mode:04o}) of {} bytes", contents.len())
            }
            Self::Symlink { path, target } => write!(f, "make the link {path} to {}", target.display()),
            Self::Node { path, mode, kind } => write!(f, "make {kind} {path} ({mode:04o})"),
            Self::Device { path, mode, kind, uid, gid } => {
                write!(f, "make {kind} {path} ({mode:04o}) for the user {uid} and the group {gid}")
            }
        }
    }
}

/// Whom the files of a mount belong to, as the end of a sentence; nothing where that is as it is on disk.
fn mapped(ids: Option<&MountIds>) -> String {
    match ids {
        None => String::new(),
        Some(MountIds::Lines(lines)) => {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| {
                    format!("{} of the files' ids from {} on are {} and up", line.count, line.file_system, line.host)
                })
                .collect();
            format!(", where {}", lines.join(", "))
        }
        Some(MountIds::OwnerIsRoot(root)) => format!(", whose owner is {}", root.host),
        Some(MountIds::OwnerIsTargets(_)) => ", whose owner is that of the place".to_owned(),
    }
}

impl Display for SpecialKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Character { major, minor } => write!(f, "the character device {major}:{minor}"),
            Self::Block { major, minor } => write!(f, "the block device {major}:{minor}"),
            Self::Fifo => f.write_str("the fifo"),
            Self::Socket => f.write_str("the socket"),
        }
    }
}

impl Display for SourceNumber {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partition(role) => write!(f, "the partition for {}", role.name()),
            Self::OsRelease => f.write_str("the host's os-release"),
            Self::ResolvConf => f.write_str("the host's resolv.conf"),
            Self::Journal => f.write_str("the host's journal directory"),
            Self::Service(number) => write!(f, "socket {number} for containers inside"),
            Self::Home(number) => write!(f, "the home directory of bound user {number}"),
            Self::Localtime => f.write_str("the host's localtime"),
            Self::Temporary(number) => write!(f, "the temporary directory for mount {number}"),
            Self::Custom(number) => write!(f, "the source of mount {number}"),
            Self::Around(number) => write!(f, "the directory of the upper layer of mount {number}"),
            Self::Layer { mount, layer } => write!(f, "layer {layer} of mount {mount}"),
        }
    }
}

impl Display for NodeKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory => f.write_str("directory"),
            Self::File => f.write_str("file"),
            Self::CharacterDevice { major, minor } => write!(f, "character device {major}:{minor}"),
            Self::BlockDevice { major, minor } => write!(f, "block device {major}:{minor}"),
        }
    }
}

/// The attributes in parentheses, with a space in front; nothing where there are none.
impl Display for MountFlags {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let all = [
            (self.read_only, "ro"),
            (self.no_suid, "nosuid"),
            (self.no_dev, "nodev"),
            (self.no_exec, "noexec"),
            (self.no_symfollow, "nosymfollow"),
            (self.strict_atime, "strictatime"),
            (self.no_atime, "noatime"),
            (self.no_diratime, "nodiratime"),
        ];
        let names: Vec<_> = all.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
        if names.is_empty() { Ok(()) } else { write!(f, " ({})", names.join(",")) }
    }
}
