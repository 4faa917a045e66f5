//! The container's first process: how it is made, and which stages it runs in which process.
//!
//! Without users of its own one process carries out all stages. With them a helper with the host's privileges makes what
//! lies outside, and the first process, which waits for it, what lies inside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use machine::login;
use plan::{Plan, UserNamespace};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sys::clone::{Forked, Namespaces, Options};

use crate::proto::{Report, Sender, Stage};
use crate::stage::files::Failure;
use crate::stage::inner::{Before, Gate};
use crate::stage::launch::Launched;
use crate::stage::payload::{self, Prepared};
use crate::stage::{inner, outer};

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action}")]
pub struct Error {
    /// What was tried.
    action: &'static str,
    /// Why it failed.
    source: Errno,
}

fn error(action: &'static str) -> impl Fn(Errno) -> Error {
    move |source| Error { action, source }
}

/// All that the processes of a start work with, as prepared before the clone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start<'a> {
    /// What is to be done.
    pub(crate) plan: &'a Plan,
    /// What the payload needs.
    pub(crate) prepared: &'a Prepared,
    /// Mounts and control group.
    pub(crate) launched: &'a Launched,
    /// The way to the supervisor.
    pub(crate) sender: &'a Sender,
    /// The user namespace to join, if a service has mapped one.
    pub(crate) users: Option<BorrowedFd<'a>>,
}

/// The container's first process, or who makes it.
#[derive(Debug)]
pub(crate) enum First {
    /// A child of ours.
    Known(Pid, OwnedFd),
    /// It will be a child of ours, too, and the helper writes its number to the pipe.
    MadeBy {
        /// The helper.
        helper: OwnedFd,
        /// Where its number is read.
        number: OwnedFd,
    },
}

impl First {
    /// Its number and a descriptor of it.
    ///
    /// # Errors
    /// If the helper died before it had made the process; its words are among the stages' messages.
    pub(crate) fn found(self) -> Result<Found, Error> {
        let (helper, number) = match self {
            Self::Known(pid, pidfd) => return Ok(Found { pid, pidfd, helper: None }),
            Self::MadeBy { helper, number } => (helper, number),
        };
        let failed = error("hear of the container's first process");
        let mut bytes = [[0; 4]; 2];
        if rustix::io::retry_on_intr(|| rustix::io::read(&number, bytes.as_flattened_mut())) != Ok(8) {
            end(&helper, false);
            return Err(failed(Errno::CHILD));
        }
        let [pid, joiner] = bytes.map(|bytes| Pid::from_raw(i32::from_ne_bytes(bytes)));
        if let Some(joiner) = joiner {
            // A child of ours, which ends at once.
            let _ = rustix::io::retry_on_intr(|| waitid(WaitId::Pid(joiner), WaitIdOptions::EXITED));
        }
        let pid = pid.ok_or_else(|| failed(Errno::SRCH))?;
        // Our own child, not waited for yet: the number is nobody else's.
        let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(failed)?;
        Ok(Found { pid, pidfd, helper: Some(helper) })
    }
}

/// The container's first process, a child of ours.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its number.
    pub(crate) pid: Pid,
    /// It itself.
    pub(crate) pidfd: OwnedFd,
    /// Who has made it and may still be at the mounts.
    helper: Option<OwnedFd>,
}

impl Found {
    /// Waits for the helper, which is done when the payload runs.
    pub(crate) fn reap_helper(&mut self) {
        if let Some(helper) = self.helper.take() {
            end(&helper, false);
        }
    }

    /// Ends all that was made: it is about to leave, or hangs in a step that failed elsewhere.
    pub(crate) fn abandon(self) {
        for process in self.helper.iter().chain([&self.pidfd]) {
            end(process, true);
        }
    }
}

/// Waits for a child of ours, killed if need be; it may have ended already.
fn end(process: &OwnedFd, kill: bool) {
    if kill {
        let _ = rustix::process::pidfd_send_signal(process, Signal::KILL);
    }
    let _ = rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(process.as_fd()), WaitIdOptions::EXITED));
}

/// The first process.
struct Made {
    pid: Pid,
    pidfd: OwnedFd,
    /// Who has made it, where that was a process of its own.
    joiner: Option<Pid>,
}

/// `None` in the new process.
fn with_users_of_its_own(options: Options<'_>) -> rustix::io::Result<Option<Made>> {
    let namespaces = options.namespaces | Namespaces::USER;
    match sys::clone::fork(&Options { namespaces, ..options })? {
        Forked::Child => Ok(None),
        Forked::Parent { pid, pidfd } => Ok(Some(Made { pid, pidfd, joiner: None })),
    }
}

/// The other namespaces have to be made by a process that has joined the users, and then has no privileges on the host.
fn in_users(users: BorrowedFd<'_>, options: Options<'_>) -> rustix::io::Result<Option<Made>> {
    let (told, tell) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let joiner = match sys::clone::fork(&Options { namespaces: Namespaces::NONE, ..options })? {
        Forked::Parent { pid, .. } => pid,
        Forked::Child => {
            drop(told);
            let joined = move_into_link_name_space(users, Some(LinkNameSpaceType::User));
            let word = match joined.and_then(|()| sys::clone::fork(&options)) {
                Ok(Forked::Child) => return Ok(None),
                Ok(Forked::Parent { pid, .. }) => pid.as_raw_nonzero().get(),
                Err(errno) => -errno.raw_os_error(),
            };
            let _ = rustix::io::write(&tell, &word.to_ne_bytes());
            sys::clone::exit_now(0)
        }
    };
    drop(tell);
    let mut word = [0; 4];
    if rustix::io::retry_on_intr(|| rustix::io::read(&told, &mut word))? != word.len() {
        return Err(Errno::CHILD);
    }
    match i32::from_ne_bytes(word) {
        errno if errno < 0 => Err(Errno::from_raw_os_error(-errno)),
        pid => {
            let pid = Pid::from_raw(pid).ok_or(Errno::SRCH)?;
            // Its parent has not heard of it yet, and so not waited for it: the number is nobody else's.
            let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
            Ok(Some(Made { pid, pidfd, joiner: Some(joiner) }))
        }
    }
}

impl Start<'_> {
    /// Makes the processes. The stages begin at once; the payload starts when it is let go.
    ///
    /// # Errors
    /// Those of clone3(2).
    pub(crate) fn clone_first(&self) -> Result<First, Error> {
        match self.plan.namespaces.user {
            None => self.clone_directly(),
            Some(user) => self.clone_with_users(user),
        }
    }

    fn clone_directly(&self) -> Result<First, Error> {
        let options = Options {
            namespaces: self.namespaces() | Namespaces::MOUNT,
            cgroup: Some(self.launched.group.payload()),
            ..Options::default()
        };
        match sys::clone::fork(&options).map_err(error("make the container's first process"))? {
            Forked::Parent { pid, pidfd } => Ok(First::Known(pid, pidfd)),
            Forked::Child => {
                self.sender.die_with_supervisor();
                login::forget();
                match outer::run(self.plan, self.launched, None, self.sender) {
                    Ok(files) => self.become_payload(Before::Done(files)),
                    Err((step, failure)) => self.fail(Stage::Outer, step, failure),
                }
            }
        }
    }

    fn clone_with_users(&self, user: UserNamespace) -> Result<First, Error> {
        let (number, theirs) =
            rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(error("make a pipe"))?;
        // The control group namespace is made here and not with the users: the mount of control groups then is the
        // host's, and the container's root cannot change it.
        let control_groups = if self.plan.namespaces.cgroup { Namespaces::CGROUP } else { Namespaces::NONE };
        let outside = Options {
            namespaces: Namespaces::MOUNT | control_groups,
            cgroup: Some(self.launched.group.payload()),
            ..Options::default()
        };
        match sys::clone::fork(&outside).map_err(error("make the process that makes the mounts"))? {
            Forked::Parent { pidfd: helper, .. } => Ok(First::MadeBy { helper, number }),
            Forked::Child => {
                drop(number);
                self.sender.die_with_supervisor();
                // What it makes has no privilege for that.
                login::forget();
                match self.outside_with_users(user, &theirs) {
                    Ok(()) => sys::clone::exit_now(0),
                    Err((step, failure)) => self.fail(Stage::Outer, step, failure),
                }
            }
        }
    }

    /// The helper: makes the first process as its sibling, gives it its users, and makes the mounts.
    fn outside_with_users(&self, user: UserNamespace, supervisor: &OwnedFd) -> Result<(), (usize, Failure)> {
        let failed = |errno: Errno| (self.plan.outer.len(), Failure { errno, detail: "the user namespace".into() });
        // Before there is a namespace of message queues, whose file system gets its owner when that is made.
        outer::act_for(user).map_err(failed)?;
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (wait, go) = pipe().map_err(failed)?;
        let (told, tell) = pipe().map_err(failed)?;
        let inside = Options {
            // It makes the network itself, while the mounts are made: that takes the kernel long.
            namespaces: self.namespaces().without(Namespaces::CGROUP | Namespaces::NETWORK),
            sibling: true,
            ..Options::default()
        };
        let made_it = match self.users {
            None => with_users_of_its_own(inside),
            Some(users) => in_users(users, inside),
        };
        let Some(Made { pid, pidfd: first, joiner }) = made_it.map_err(failed)? else {
            drop((go, told));
            self.sender.die_with_supervisor();
            let filter = self.prepared.filters.early();
            self.become_payload(Before::Meanwhile(Gate { wait, tell, filter }))
        };
        drop((wait, tell));
        let numbers = [Some(pid), joiner].map(|pid| pid.map_or(0, |pid| pid.as_raw_nonzero().get()).to_ne_bytes());
        rustix::io::write(supervisor, numbers.as_flattened()).map_err(failed)?;
        if self.users.is_none() {
            let line = format!("0 {} {}\n", user.range.start(), user.range.count());
            for map in ["uid_map", "gid_map"] {
                std::fs::write(format!("/proc/{}/{map}", pid.as_raw_nonzero()), &line)
                    .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
            }
        }
        // Only who has something to do meanwhile is woken for it.
        let busy = self.plan.namespaces.network || self.prepared.filters.early().is_some();
        let (early, late) = if busy { (&b"m"[..], &b"g"[..]) } else { (&b""[..], &b"mg"[..]) };
        rustix::io::write(&go, early).map_err(failed)?;
        let inside = outer::Inside::of(pid, first, told).map_err(failed)?;
        outer::run(self.plan, self.launched, Some(&inside), self.sender)?;
        rustix::io::write(&go, late).map_err(failed)?;
        inside.await_payload();
        Ok(())
    }

    fn become_payload(&self, before: Before<'_>) -> ! {
        if let Before::Done(_) = before {
            // Otherwise it is done while the mounts are waited for.
            sys::signal::reset_dispositions();
            if let Err(errno) = sys::process::leave_session_keyring() {
                self.fail(Stage::Payload, 0, Failure { errno, detail: login::KEYS.to_owned() });
            }
        }
        match inner::run(self.plan, self.launched, before, self.sender) {
            Ok(inside) => {
                // Becoming the container's root has disarmed it.
                self.sender.die_with_supervisor();
                let failure = match self.sender.wait() {
                    Ok(()) => payload::start(self.plan, self.prepared, inside, self.sender),
                    Err(errno) => errno.into(),
                };
                self.fail(Stage::Payload, 0, failure)
            }
            Err((step, failure)) => self.fail(Stage::Inner, step, failure),
        }
    }

    fn namespaces(&self) -> Namespaces {
        let mut all = Namespaces::PID | Namespaces::UTS | Namespaces::IPC;
        if self.plan.namespaces.cgroup {
            all = all | Namespaces::CGROUP;
        }
        if self.plan.namespaces.network {
            all = all | Namespaces::NETWORK;
        }
        all
    }

    fn fail(&self, stage: Stage, step: usize, failure: Failure) -> ! {
        self.sender.failed(&Report { stage, step, errno: failure.errno, detail: failure.detail });
        sys::clone::exit_now(1)
    }
}
