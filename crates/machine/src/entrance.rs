//! The way into the files of a machine that runs, for a process of the host's: held by descriptors before anything is done,
//! so that what is entered is that machine's and no other's.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets, LinkNameSpaceType, move_into_link_name_space};

use crate::control::client::Described;
use crate::control::{self, Client};
use crate::process::{Process, has_ended};
use crate::registry::{self, Machine, Registry};
use crate::state::{Class, State};

/// Why there is no way in.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The machine has ended.
    #[error("the machine {0} has just ended")]
    Ended(String),
    /// The host itself.
    #[error("{0} is this host, whose files are at hand")]
    Host(String),
    /// Files of a virtual machine are on its own disks.
    #[error("{0} is a virtual machine: only the files of containers can be reached")]
    Virtual(String),
    /// It was registered by somebody, and sees what we see.
    #[error("the machine {0} has no mounts of its own: its files are the host's")]
    SameMounts(String),
    /// We may not.
    #[error("only root may reach the files of the machine {0}")]
    NotPermitted(String),
    /// The registry.
    #[error(transparent)]
    Registry(#[from] registry::Error),
    /// Its supervisor does not say that it is there.
    #[error(transparent)]
    Supervisor(#[from] control::Error),
    /// A step.
    #[error("cannot {action} of the machine {machine}")]
    Step {
        /// What was tried.
        action: &'static str,
        /// With which machine.
        machine: String,
        /// Why it failed.
        source: Errno,
    },
}

/// The first process of a machine, its root directory and its namespaces.
#[derive(Debug)]
pub(crate) struct Entrance {
    /// The machine's name.
    pub(crate) machine: String,
    /// Its first process.
    pub(crate) leader: OwnedFd,
    /// Its mount namespace.
    mounts: OwnedFd,
    /// The root directory of its first process, in that.
    pub(crate) root: OwnedFd,
    /// Its user namespace, if that is not ours.
    pub(crate) users: Option<Users>,
}

/// The user namespace of a machine.
#[derive(Debug)]
pub(crate) struct Users {
    /// It.
    pub(crate) namespace: OwnedFd,
    /// Whether the machine's mounts belong to it: its root may mount then.
    pub(crate) own_mounts: bool,
    /// User and group of the host that its root is.
    pub(crate) root: (u32, u32),
}

impl Entrance {
    /// That of a machine, as soon as it has its files. The caller is the host's root.
    ///
    /// # Errors
    /// An [`Error`].
    pub(crate) fn of(state: &State) -> Result<Self, Error> {
        let machine = state.name.clone();
        match state.class {
            Class::Host => return Err(Error::Host(machine)),
            Class::Vm => return Err(Error::Virtual(machine)),
            Class::Container => {}
        }
        if !rustix::process::geteuid().is_root() {
            return Err(Error::NotPermitted(machine));
        }
        let state = &settled(state)?;
        let leader = state.leader.open_in_this_boot().ok_or_else(|| Error::Ended(machine.clone()))?;
        let directory = format!("/proc/{}", state.leader.pid);
        let open = |name: &str, flags: OFlags| {
            openat(CWD, format!("{directory}/{name}"), flags | OFlags::CLOEXEC, Mode::empty())
        };
        let root = open("root", OFlags::PATH | OFlags::DIRECTORY);
        let mounts = open("ns/mnt", OFlags::RDONLY);
        let users = open("ns/user", OFlags::RDONLY);
        // All of that was found by the number, which was the first process's if it still lives.
        if has_ended(&leader) {
            return Err(Error::Ended(machine));
        }
        let step = |action| {
            let machine = machine.clone();
            move |source| Error::Step { action, machine, source }
        };
        let root = root.map_err(step("open the root directory"))?;
        let (mounts, users) =
            (mounts.map_err(step("open the mount namespace"))?, users.map_err(step("open the user namespace"))?);
        let look = step("look at the namespaces");
        let compared = (|| {
            let same_mounts = is(&mounts, "mnt")?;
            let own_mounts = || same(&sys::namespace::owner(mounts.as_fd())?, &users);
            let own_users = if is(&users, "user")? { None } else { Some(own_mounts()?) };
            rustix::io::Result::Ok((same_mounts, own_users))
        })();
        let (same_mounts, own_users) = compared.map_err(look)?;
        if same_mounts {
            return Err(Error::SameMounts(machine));
        }
        let users = match own_users {
            None => None,
            Some(own_mounts) => {
                let root = root_of(state.leader.pid).map_err(step("look up the root user"))?;
                // Read by the number again.
                if has_ended(&leader) {
                    return Err(Error::Ended(machine));
                }
                Some(Users { namespace: users, own_mounts, root })
            }
        };
        Ok(Self { machine, leader, mounts, root, users })
    }

    /// Enters the machine's mounts, at the root directory of its first process. For a process of one thread that is made
    /// for it.
    ///
    /// # Errors
    /// Those of setns(2), fchdir(2) and chroot(2).
    pub(crate) fn enter_mounts(&self) -> rustix::io::Result<()> {
        move_into_link_name_space(self.mounts.as_fd(), Some(LinkNameSpaceType::Mount))?;
        rustix::process::fchdir(&self.root)?;
        rustix::process::chroot(".")?;
        rustix::process::chdir("/")
    }
}

impl Users {
    /// Becomes the machine's root, without any right on the host. The supplementary groups go, too.
    ///
    /// # Errors
    /// Those of setns(2) and setresuid(2).
    pub(crate) fn enter(&self) -> rustix::io::Result<()> {
        // Inside, this may be denied.
        rustix::thread::set_thread_groups(&[])?;
        move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::User))?;
        rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)
    }
}

/// The root directory of a machine and its first process, as soon as it has its files: before that the directory may be the
/// host's.
///
/// # Errors
/// An [`Error`].
pub fn root_directory(state: &State) -> Result<(OwnedFd, OwnedFd), Error> {
    let Entrance { root, leader, .. } = Entrance::of(state)?;
    Ok((root, leader))
}

/// The root directory of a machine that has its files by now; nobody is waited for, because whoever lists machines must not
/// hang with one that comes up.
///
/// Until a first process has its own root it sees the caller's, by the same device and inode. Then that is refused: what is
/// the host's is not shown as the machine's. Only of a machine whose tree is said to be `/` it is taken.
///
/// # Errors
/// `EAGAIN` while it has no files yet, `ESRCH` if it has ended, `EACCES` where the caller may not look inside.
pub fn root_at_once(state: &State) -> rustix::io::Result<OwnedFd> {
    Way::of(state).root_at_once()
}

/// What is needed of a machine's state for [`root_at_once`].
pub(crate) struct Way {
    leader: Process,
    /// Whether its first process may have the host's root directory.
    may_be_the_hosts: bool,
}

impl Way {
    pub(crate) fn of(state: &State) -> Self {
        let may_be_the_hosts = !state.supervised || state.root_directory.as_deref() == Some("/");
        Self { leader: state.leader.clone(), may_be_the_hosts }
    }

    pub(crate) fn root_at_once(&self) -> rustix::io::Result<OwnedFd> {
        let root = openat(CWD, format!("/proc/{}/root", self.leader.pid), ROOT, Mode::empty())?;
        // Looked at after it was opened: if the number is the leader's now it was so then, and only who lives has a root.
        if self.leader.open_in_this_boot().is_none() {
            return Err(Errno::SRCH);
        }
        if !self.may_be_the_hosts && node(&root)? == own_root()? {
            return Err(Errno::AGAIN);
        }
        Ok(root)
    }
}

/// How root directories are opened.
const ROOT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Device and inode of the directory that is root for us, which stays for as long as we look into machines.
fn own_root() -> rustix::io::Result<(u64, u64)> {
    static OWN: OnceLock<(u64, u64)> = OnceLock::new();
    match OWN.get() {
        Some(own) => Ok(*own),
        None => {
            let own = node(&openat(CWD, "/", ROOT, Mode::empty())?)?;
            Ok(*OWN.get_or_init(|| own))
        }
    }
}

/// Keeps these capabilities and no others, also where a program were executed.
///
/// # Errors
/// Those of capset(2) and prctl(2).
pub(crate) fn keep_capabilities(keep: CapabilitySet) -> rustix::io::Result<()> {
    let held = keep & rustix::thread::capabilities(None)?.permitted;
    let sets = CapabilitySets { effective: held, permitted: held, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets)?;
    rustix::thread::set_no_new_privs(true)
}

/// The state of a machine that has its files.
fn settled(state: &State) -> Result<State, Error> {
    if !state.supervised {
        return Ok(state.clone());
    }
    let machine = Registry::system().find(&state.name).map_err(|error| match error {
        registry::Error::NoSuchMachine(_) => Error::Ended(state.name.clone()),
        error => Error::Registry(error),
    })?;
    await_program(&machine).map(|described| described.state)
}

/// Waits until the program of a machine runs, which is when its supervisor answers, and tells its state then. Before that, the
/// first process has other mounts, which may be the host's.
///
/// # Errors
/// [`Error::Ended`], and what keeps its supervisor from answering.
pub(crate) fn await_program(machine: &Machine) -> Result<Described, Error> {
    let others = || Described { state: machine.state.clone(), paused: false, stopping: false };
    if !machine.state.supervised {
        return Ok(others());
    }
    match Client::of(machine).describe() {
        Ok(described) => Ok(described.unwrap_or_else(others)),
        Err(control::Error::Ended(_)) => Err(Error::Ended(machine.state.name.clone())),
        Err(error) => Err(error.into()),
    }
}

/// User and group that are 0 inside, see user_namespaces(7).
fn root_of(pid: i32) -> rustix::io::Result<(u32, u32)> {
    let find = |name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{name}")).map_err(|_| Errno::SRCH)?;
        first_of(&text).ok_or(Errno::OVERFLOW)
    };
    Ok((find("uid_map")?, find("gid_map")?))
}

/// The host's id that a map makes 0 of.
fn first_of(map: &str) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut words = line.split_ascii_whitespace();
        (words.next()? == "0").then(|| words.next()?.parse().ok())?
    })
}

/// Whether a namespace is the one of this kind that we are in.
fn is(namespace: &OwnedFd, kind: &str) -> rustix::io::Result<bool> {
    let own = openat(CWD, format!("/proc/thread-self/ns/{kind}"), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    same(namespace, &own)
}

fn same(one: &OwnedFd, other: &OwnedFd) -> rustix::io::Result<bool> {
    Ok(node(one)? == node(other)?)
}

/// Its device and inode.
fn node(file: &OwnedFd) -> rustix::io::Result<(u64, u64)> {
    let stat = fstat(file)?;
    Ok((stat.st_dev, stat.st_ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whom_a_map_makes_root() {
        assert_eq!(first_of("         0     100000      65536\n"), Some(100_000));
        assert_eq!(first_of("1 7 1\n0 100000 1\n"), Some(100_000));
        assert_eq!(first_of("1 7 1\n"), None);
        assert_eq!(first_of(""), None);
    }

    #[test]
    fn the_host_and_virtual_machines_have_none() {
        let host = crate::machines::host();
        assert!(matches!(Entrance::of(&host), Err(Error::Host(_))));
        let machine = State { class: Class::Vm, ..host };
        assert!(matches!(Entrance::of(&machine), Err(Error::Virtual(_))));
    }

    #[test]
    fn the_host_s_root_is_nobody_else_s() {
        let leader = crate::Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let tree = Some("/trees/a".to_owned());
        let host = crate::machines::host();
        let machine = State { class: Class::Container, leader, supervised: true, root_directory: tree, ..host };
        assert_eq!(root_at_once(&machine).err(), Some(Errno::AGAIN), "it comes up");
        assert!(root_at_once(&State { root_directory: Some("/".to_owned()), ..machine.clone() }).is_ok());
        assert!(root_at_once(&State { supervised: false, ..machine.clone() }).is_ok());
        let mut other = machine.leader.clone();
        (other.pidfd_id, other.start_time) = (other.pidfd_id.map(|id| id + 1), other.start_time.map(|time| time + 1));
        assert_eq!(root_at_once(&State { leader: other, ..machine }).err(), Some(Errno::SRCH));
    }

    #[test]
    fn who_shares_our_mounts_has_none() {
        let leader = crate::Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let machine = State { class: Class::Container, leader, ..crate::machines::host() };
        let expected = |error: &Error| match rustix::process::geteuid().is_root() {
            true => matches!(error, Error::SameMounts(_)),
            false => matches!(error, Error::NotPermitted(_)),
        };
        assert!(Entrance::of(&machine).is_err_and(|error| expected(&error)));
    }
}
