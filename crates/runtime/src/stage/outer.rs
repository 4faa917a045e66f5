//! With the host's privileges, in the container's own mount namespace: the root and all that lies in it.
//!
//! Trusts the plan and the mounts that were taken from the host. Trusts nothing in the tree: every path in it is
//! resolved inside of it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use plan::{FileSystem, MountFlags, OuterStep, Plan, Root, SourceNumber, UserNamespace};
use rustix::fs::{Mode, OFlags, readlinkat, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, ThreadNameSpaceType, move_into_link_name_space, move_into_thread_name_spaces};
use sys::mount::{Attributes, Change, set_attributes};
use sys::pidfd;

use super::files::{About, Failure, Files, place_on_host, restrict};
use super::launch::Launched;
use super::new_mount::{mount_proc_of, new_mount};
use super::{assembly, credentials, custom_overlay, delegated_mount, host_file, journal, overlay};
use crate::proto::{Report, Sender, Stage};

/// The links that a tree with a merged /usr has in its root.
const USR_LINKS: [&str; 8] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32", "libexec"];

/// The namespaces of the container's first process, where that is another process than this one.
#[derive(Debug)]
pub struct Inside {
    /// Users.
    users: OwnedFd,
    /// Process ids.
    processes: OwnedFd,
    /// The first process.
    first: OwnedFd,
    /// A byte comes from there when it has made a network of its own, and its end when the payload is executed.
    told: OwnedFd,
}

impl Inside {
    /// Those of the process with this number and descriptor, which is heard at `told`.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn of(pid: Pid, first: OwnedFd, told: OwnedFd) -> rustix::io::Result<Self> {
        let users = namespace(pid, &first, pidfd::Kind::User)?;
        let processes = namespace(pid, &first, pidfd::Kind::Pid)?;
        Ok(Self { users, processes, first, told })
    }

    /// Waits until the first process executes the payload, or is gone.
    ///
    /// Whoever leaves a mount namespace last takes it down, and waits until all processors have seen that. That shall
    /// neither be the process that others wait for, nor be in the way of what that one mounts.
    pub fn await_payload(&self) {
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&self.told, &mut [0; 1]));
    }
}

fn namespace(pid: Pid, first: &OwnedFd, kind: pidfd::Kind) -> rustix::io::Result<OwnedFd> {
    match pidfd::namespace(first.as_fd(), kind) {
        Err(Errno::NOTTY | Errno::INVAL) => {}
        other => return other,
    }
    // Before Linux 6.11. A child of the supervisor, which has not waited for it: the number is nobody else's.
    let name = match kind {
        pidfd::Kind::Pid => "pid",
        pidfd::Kind::User => "user",
    };
    let path = format!("/proc/{}/ns/{name}", pid.as_raw_nonzero());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Carries the steps out.
///
/// `inside` are the container's namespaces, if it has users of its own. On success the result is the place to go on
/// with.
///
/// # Errors
/// The number of the step, and why.
pub fn run(
    plan: &Plan,
    launched: &Launched,
    inside: Option<&Inside>,
    sender: &Sender,
) -> Result<Files, (usize, Failure)> {
    let mut files: Option<Files> = None;
    rustix::process::umask(Mode::empty());
    if let Some(inside) = inside.filter(|_| plan.namespaces.user.is_some_and(|user| user.range.start() != 0)) {
        own_host_files(launched, inside);
    }
    for (number, step) in plan.outer.iter().enumerate() {
        let result = match (step, &mut files) {
            (OuterStep::Isolate, _) => isolate(),
            (OuterStep::MakeRoot(root), _) => {
                make_root(root, plan, launched, inside.map(|inside| &inside.users)).map(|made| {
                    files = Some(made);
                })
            }
            (OuterStep::File(step), Some(files)) => files.run(step, &launched.sources),
            (OuterStep::Overlay(step), Some(files)) => {
                custom_overlay::mount(step, plan, launched, files, inside.map(|inside| &inside.users))
            }
            (OuterStep::Credentials(step), Some(files)) => credentials::place(step, files),
            (OuterStep::PivotInside(pivot), Some(files)) => pivot_inside(files, pivot),
            (OuterStep::BindJournal { id, required }, Some(files)) => {
                let users = inside.map(|inside| inside.users.as_fd());
                match journal::bind(files, &launched.sources, id, users) {
                    Err(Failure { errno, detail }) if !required => {
                        sender.note(&Report { stage: Stage::Outer, step: number, errno, detail });
                        Ok(())
                    }
                    other => other,
                }
            }
            (OuterStep::BindHostFile { source, target }, Some(files)) => {
                bind_host_file(files, launched, *source, target.as_path()).map(|result| {
                    result.unwrap_or_else(|errno| {
                        sender.note(&Report { stage: Stage::Outer, step: number, errno, detail: String::new() });
                    });
                })
            }
            (OuterStep::EnterNetwork { path }, _) => enter_network(path),
            (OuterStep::JoinNetwork, _) => join_network(inside),
            (OuterStep::MountProc { target, attributes }, Some(files)) => {
                proc_of(inside, *attributes).and_then(|mount| files.place(&mount, target.as_path(), true))
            }
            (OuterStep::PivotRoot, Some(files)) => files.become_root(),
            (
                OuterStep::File(_)
                | OuterStep::Overlay(_)
                | OuterStep::Credentials(_)
                | OuterStep::BindHostFile { .. }
                | OuterStep::BindJournal { .. }
                | OuterStep::PivotInside(_)
                | OuterStep::PivotRoot
                | OuterStep::MountProc { .. },
                None,
            ) => Err(Errno::BADF.into()),
        };
        result.map_err(|failure| (number, failure))?;
    }
    files.ok_or((plan.outer.len(), Errno::BADF.into()))
}

/// What this stage makes belongs to the container's root: the ids that new files get are set, the privileges kept.
///
/// # Errors
/// Those of prctl(2).
pub fn act_for(user: UserNamespace) -> rustix::io::Result<()> {
    use rustix::thread::CapabilitiesSecureBits as Bits;
    rustix::thread::set_capabilities_secure_bits(Bits::NO_SETUID_FIXUP)?;
    sys::process::set_file_system_ids(user.range.start(), user.range.start());
    Ok(())
}

/// The inner result is why the file is not covered, which is no reason not to start.
fn bind_host_file(
    files: &mut Files,
    launched: &Launched,
    source: SourceNumber,
    target: &Path,
) -> Result<rustix::io::Result<()>, Failure> {
    let (_, mount) = launched.sources.iter().find(|(number, _)| *number == source).ok_or(Errno::BADF)?;
    Ok(host_file::bind(files, mount, target))
}

/// Files of the host's root that the container is shown belong to its own root. Where the file system of the host cannot
/// do that they are a stranger's, as everything of the host.
fn own_host_files(launched: &Launched, inside: &Inside) {
    use plan::SourceNumber::{Localtime, OsRelease, ResolvConf};
    for (_, mount) in launched.sources.iter().filter(|(number, _)| matches!(number, OsRelease | ResolvConf | Localtime))
    {
        let _ = set_attributes(mount.as_fd(), &Change { idmap: Some(inside.users.as_fd()), ..Change::default() });
    }
}

/// The path is the host's, whose root and privileges this process still has.
fn enter_network(path: &Path) -> Result<(), Failure> {
    let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let network = rustix::fs::open(path, flags, Mode::empty()).about(path.display())?;
    match move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)) {
        Err(Errno::INVAL) => Err(Errno::INVAL).about(format_args!("{} is no network namespace", path.display())),
        other => other.about(path.display()),
    }
}

fn join_network(inside: Option<&Inside>) -> Result<(), Failure> {
    let inside = inside.ok_or(Errno::BADF)?;
    if rustix::io::retry_on_intr(|| rustix::io::read(&inside.told, &mut [0; 1]))? != 1 {
        // The process has said why.
        return Err(Errno::CHILD.into());
    }
    Ok(move_into_thread_name_spaces(inside.first.as_fd(), ThreadNameSpaceType::NETWORK)?)
}

/// proc of the container's processes, mounted with the host's privileges: inside the kernel would ask for one that is
/// seen whole, which there is none of where redd itself runs in a container. Since Linux 6.17 the kernel takes the namespace as an option; before, who mounts has to
/// be in it.
fn proc_of(inside: Option<&Inside>, attributes: MountFlags) -> Result<OwnedFd, Failure> {
    let inside = inside.ok_or(Errno::BADF)?;
    match mount_proc_of(inside.processes.as_fd(), attributes) {
        Err(Failure { errno: Errno::INVAL, .. }) => {}
        other => return other,
    }
    // It counts for the children of who joins it.
    move_into_link_name_space(inside.processes.as_fd(), Some(LinkNameSpaceType::ProcessID))?;
    delegated_mount::by(|| new_mount(FileSystem::Proc, &[], attributes))
}

fn isolate() -> Result<(), Failure> {
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC).about("/")
}

fn make_root(root: &Root, plan: &Plan, launched: &Launched, users: Option<&OwnedFd>) -> Result<Files, Failure> {
    let mapped = plan.namespaces.user.is_some_and(|user| user.map_tree);
    // From zero on the container's own users have the map already.
    let other =
        plan.namespaces.user.filter(|user| user.map_tree && user.tree_base != 0).map(from_other_ids).transpose()?;
    let idmap = other.as_ref().or(users.filter(|_| mapped)).map(AsFd::as_fd);
    if let (true, None) = (mapped, idmap) {
        return Err(Errno::BADF.into());
    }
    set_attributes(
        launched.tree.as_fd(),
        &Change { propagation: Some(sys::mount::Propagation::Slave), idmap, recursive: true, ..Change::default() },
    )
    .about(plan.tree.display())?;
    let mount = match root {
        Root::Tree { read_only } => {
            if *read_only {
                set_attributes(
                    launched.tree.as_fd(),
                    &Change { set: Attributes::READ_ONLY, recursive: true, ..Change::default() },
                )?;
            }
            launched.tree.try_clone().map_err(|_| Errno::MFILE)?
        }
        Root::Overlay => {
            let layers = launched.overlay.as_ref().ok_or(Errno::BADF)?;
            overlay::over_tree(plan, launched, layers, idmap, users)?
        }
        Root::VolatileOverlay => overlay::over_tree_in_memory(plan, launched, users)?,
        Root::VolatileTmpfs => volatile_tmpfs(plan, launched)?,
    };
    place_on_host(mount.as_fd(), assembly()).about(assembly().display())?;
    let mut files = Files::new(mount);
    if *root == Root::VolatileTmpfs {
        usr_only(&mut files, launched)?;
    }
    Ok(files)
}

/// A user namespace that maps the ids of a tree to the container's.
fn from_other_ids(user: UserNamespace) -> Result<OwnedFd, Failure> {
    let line = plan::IdLine { file_system: user.tree_base, host: user.range.start(), count: user.range.count() };
    super::id_map::namespace(&[line])
}

/// The owner of what is made here, as mount options of a tmpfs.
pub(super) fn owner(plan: &Plan) -> Vec<String> {
    match plan.namespaces.user.map(|user| user.range.start()) {
        None | Some(0) => Vec::new(),
        Some(start) => vec![format!("uid={start}"), format!("gid={start}")],
    }
}

fn volatile_tmpfs(plan: &Plan, launched: &Launched) -> Result<OwnedFd, Failure> {
    set_attributes(
        launched.tree.as_fd(),
        &Change { set: Attributes::READ_ONLY, recursive: true, ..Change::default() },
    )?;
    let mut options = ["mode=0755", "size=25%", "nr_inodes=1m"].map(str::to_owned).to_vec();
    options.extend(owner(plan));
    new_mount(FileSystem::Tmpfs, &options, MountFlags { strict_atime: true, ..MountFlags::NONE })
}

/// The tree's /usr in an otherwise empty root, and the links into it that the tree has itself.
fn usr_only(files: &mut Files, launched: &Launched) -> Result<(), Failure> {
    restrict(launched.tree.as_fd(), MountFlags::READ_ONLY, true)?;
    files.place(&launched.tree, std::path::Path::new("/usr"), true)?;
    for name in USR_LINKS {
        match readlinkat(&launched.root_directory, name, Vec::new()) {
            Ok(target) => symlinkat(&target, files.root(), name).about(name)?,
            Err(Errno::NOENT | Errno::INVAL) => {}
            Err(errno) => return Err(errno).about(name),
        }
    }
    Ok(())
}

/// Makes another directory the root, as a boot loader's choice would (`--pivot-root=`).
fn pivot_inside(files: &mut Files, pivot: &spec::PivotRoot) -> Result<(), Failure> {
    let at = files.open(pivot.new.as_path(), OFlags::PATH | OFlags::DIRECTORY).about(&pivot.new)?;
    let new = super::files::take_mount(at.as_fd(), true).about(&pivot.new)?;
    let old = super::files::take_mount(files.root(), true)?;
    place_on_host(new.as_fd(), assembly())?;
    let mut inside = Files::new(new);
    if let Some(path) = &pivot.old {
        inside.place(&old, path.as_path(), true)?;
    }
    *files = inside;
    Ok(())
}
