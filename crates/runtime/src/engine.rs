//! One container from the plan to its end.

use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;

use plan::{CallerFacts, Plan};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use spec::{ContainerSpec, DryRun};
use sys::clone::{Forked, Namespaces, Options};

use crate::console::{self, Outcome};
use crate::proto::{self, Message, Receiver, Report, Sender, Stage};
use crate::stage::files::Failure;
use crate::stage::launch::{self, Launched};
use crate::stage::payload::{self, Prepared};
use crate::stage::{inner, outer, overlay};
use crate::{facts, parent};

/// Why a container did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host or the tree could not be looked at.
    #[error(transparent)]
    Facts(#[from] facts::Error),
    /// The options do not fit the host or the tree.
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// The plan cannot be shown.
    #[error("cannot show the plan")]
    Json(#[from] serde_json::Error),
    /// Locks and copies.
    #[error(transparent)]
    Parent(#[from] parent::Error),
    /// Mounts and control groups.
    #[error(transparent)]
    Launch(#[from] launch::Error),
    /// The system call filter.
    #[error(transparent)]
    Filter(#[from] seccomp::Error),
    /// A stage.
    #[error("{0}")]
    Stage(String),
    /// A process.
    #[error("cannot {0}")]
    System(&'static str, #[source] Errno),
    /// The container's control group stays.
    #[error(transparent)]
    Group(#[from] cgroup::Error),
}

/// What became of it.
#[derive(Debug)]
pub enum Done {
    /// Text for the caller: the plan.
    Text(String),
    /// The payload ended like this; the strings are what could not be tidied up.
    Ended(ExitCode, Vec<String>),
}

/// Runs a container until it ends. `say` is given what a person should know meanwhile.
///
/// # Errors
/// An [`Error`]; the host is then as before.
pub fn run(spec: &ContainerSpec, caller: CallerFacts, say: &dyn Fn(&str)) -> Result<Done, Error> {
    let (facts, tree) = facts::probe(spec, caller)?;
    let plan = plan::resolve(spec, &facts)?;
    match spec.run().dry_run {
        Some(DryRun::Text) => return Ok(Done::Text(plan::explain(&plan))),
        Some(DryRun::Json) => return Ok(Done::Text(serde_json::to_string_pretty(&plan)? + "\n")),
        None => {}
    }
    let prepared = Prepared {
        filter: filter(&plan)?,
        signal_mask: sys::process::SignalSet::blocked()
            .map_err(|errno| Error::System("read the signal mask", errno))?,
    };
    let signals = sys::process::signals_as_descriptor().map_err(|errno| Error::System("take signals", errno))?;
    let acquired = parent::run(&plan, tree)?;
    if !plan.quiet {
        say(&format!("Running {} from {}.", plan.machine, plan.tree.display()));
        if plan.supervision.console == spec::ConsoleMode::Interactive {
            say("Press ^] three times within a second to end it.");
        }
    }
    let result = loop {
        let outcome = launch::run(&plan, &acquired).map_err(Error::from).and_then(|launched| {
            let outcome = start(&plan, &prepared, &launched, &signals, say);
            // Whatever it was: nothing of it goes on.
            let ended = launched.group.end();
            outcome.and_then(|outcome| ended.map(|()| outcome).map_err(Error::from))
        });
        match outcome {
            Ok(Outcome::Rebooted) => say("The container reboots."),
            other => break other,
        }
    };
    let left = acquired.release();
    let code = match result? {
        Outcome::Exited(code) => ExitCode::from(u8::try_from(code).unwrap_or(255)),
        Outcome::Killed(signal) => ExitCode::from(128 + u8::try_from(signal).unwrap_or(0)),
        Outcome::Rebooted | Outcome::PoweredOff => ExitCode::SUCCESS,
    };
    Ok(Done::Ended(code, left))
}

fn filter(plan: &Plan) -> Result<Vec<sys::seccomp::Instruction>, Error> {
    let edits: Vec<_> = plan
        .limits
        .system_call_filter
        .iter()
        .map(|item| seccomp::Edit { allow: item.allow, name: item.name.clone() })
        .collect();
    let policy = seccomp::Policy::container_default(plan.limits.capabilities.bits(), &edits)?;
    let program = seccomp::compile(&policy, seccomp::Arch::native())?;
    Ok(program
        .iter()
        .map(|one| sys::seccomp::Instruction { code: one.code, jt: one.jt, jf: one.jf, k: one.k })
        .collect())
}

/// One start: makes the processes, waits until the payload runs, watches over it.
fn start(
    plan: &Plan,
    prepared: &Prepared,
    launched: &Launched,
    signals: &OwnedFd,
    say: &dyn Fn(&str),
) -> Result<Outcome, Error> {
    let (mut receiver, sender) = proto::channel().map_err(|errno| Error::System("make a socket pair", errno))?;
    let first = match plan.namespaces.user {
        None => clone_directly(plan, prepared, launched, &sender)?,
        Some(user) => clone_with_users(plan, prepared, launched, &sender, user)?,
    };
    drop(sender);
    let restricted = launch::restrict_devices(plan, &launched.group);
    let pidfd = match first.found() {
        Ok(pidfd) => pidfd,
        // The helper's own words, if it had any.
        Err(error) => return Err(await_payload(plan, &mut receiver, say).err().unwrap_or(error)),
    };
    let started = restricted.map_err(Error::from).and_then(|()| {
        // If nobody is there any more to hear it, their last message says why.
        let _ = receiver.let_go();
        await_payload(plan, &mut receiver, say)
    });
    let served = match started {
        Ok(served) => served,
        Err(error) => {
            // It is about to leave, or hangs in a step that failed elsewhere.
            let _ = rustix::process::pidfd_send_signal(&pidfd, Signal::KILL);
            let _ = waitid(WaitId::PidFd(pidfd.as_fd()), WaitIdOptions::EXITED);
            return Err(error);
        }
    };
    let master = if plan.supervision.console == spec::ConsoleMode::Pipe { None } else { served.get(2) };
    console::watch(&plan.supervision, pidfd.as_fd(), master, &served[0], signals)
        .map_err(|errno| Error::System("watch over the container", errno))
}

/// The container's first process, or who makes it.
enum First {
    /// A child of ours.
    Known(OwnedFd),
    /// It will be a child of ours, too, and the helper writes its number to the pipe.
    MadeBy { helper: OwnedFd, number: OwnedFd },
}

impl First {
    /// A descriptor of it, once the helper is done.
    fn found(self) -> Result<OwnedFd, Error> {
        let (helper, number) = match self {
            Self::Known(pidfd) => return Ok(pidfd),
            Self::MadeBy { helper, number } => (helper, number),
        };
        let failed = |errno| Error::System("wait for the process that makes the mounts", errno);
        let mut bytes = [0; 4];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&number, &mut bytes));
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(helper.as_fd()), WaitIdOptions::EXITED)).map_err(failed)?;
        if length != Ok(bytes.len()) {
            return Err(failed(Errno::CHILD));
        }
        let pid = Pid::from_raw(i32::from_ne_bytes(bytes)).ok_or(failed(Errno::SRCH))?;
        // Our own child, not waited for yet: the number is nobody else's.
        rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).map_err(failed)
    }
}

fn namespaces(plan: &Plan) -> Namespaces {
    let mut all = Namespaces::PID | Namespaces::UTS | Namespaces::IPC;
    if plan.namespaces.cgroup {
        all = all | Namespaces::CGROUP;
    }
    if plan.namespaces.network {
        all = all | Namespaces::NETWORK;
    }
    all
}

/// Without users of its own one process carries out all stages.
fn clone_directly(plan: &Plan, prepared: &Prepared, launched: &Launched, sender: &Sender) -> Result<First, Error> {
    let options = Options {
        namespaces: namespaces(plan) | Namespaces::MOUNT,
        cgroup: Some(launched.group.payload()),
        sibling: false,
    };
    match sys::clone::fork(&options).map_err(|errno| Error::System("make the container's first process", errno))? {
        Forked::Parent { pidfd, .. } => Ok(First::Known(pidfd)),
        Forked::Child => {
            sender.die_with_supervisor();
            match outer::run(plan, launched, None) {
                Ok(files) => become_payload(plan, prepared, launched, Some(files), sender),
                Err((step, failure)) => fail(sender, Stage::Outer, step, failure),
            }
        }
    }
}

/// With users of its own a process with the host's privileges makes what lies outside, and the container's first
/// process, which waits for it, what lies inside.
fn clone_with_users(
    plan: &Plan,
    prepared: &Prepared,
    launched: &Launched,
    sender: &Sender,
    user: plan::UserNamespace,
) -> Result<First, Error> {
    let (number, theirs) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|errno| Error::System("make a pipe", errno))?;
    let outside = Options { namespaces: Namespaces::MOUNT, ..Options::default() };
    match sys::clone::fork(&outside).map_err(|errno| Error::System("make a process", errno))? {
        Forked::Parent { pidfd: helper, .. } => Ok(First::MadeBy { helper, number }),
        Forked::Child => {
            drop(number);
            sender.die_with_supervisor();
            match outside_with_users(plan, prepared, launched, sender, user, &theirs) {
                Ok(()) => sys::clone::exit_now(0),
                Err((step, failure)) => fail(sender, Stage::Outer, step, failure),
            }
        }
    }
}

fn outside_with_users(
    plan: &Plan,
    prepared: &Prepared,
    launched: &Launched,
    sender: &Sender,
    user: plan::UserNamespace,
    supervisor: &OwnedFd,
) -> Result<(), (usize, Failure)> {
    let failed = |errno: Errno| (plan.outer.len(), Failure { errno, detail: "the user namespace".into() });
    let (go, wait) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map(|(r, w)| (w, r)).map_err(failed)?;
    let inside = Options {
        namespaces: namespaces(plan) | Namespaces::USER,
        cgroup: Some(launched.group.payload()),
        sibling: true,
    };
    let pid = match sys::clone::fork(&inside).map_err(failed)? {
        Forked::Child => {
            drop(go);
            sender.die_with_supervisor();
            let mut word = [0; 1];
            if rustix::io::retry_on_intr(|| rustix::io::read(&wait, &mut word)) != Ok(1) {
                sys::clone::exit_now(1);
            }
            become_payload(plan, prepared, launched, None, sender)
        }
        Forked::Parent { pid, .. } => pid,
    };
    drop(wait);
    rustix::io::write(supervisor, &pid.as_raw_nonzero().get().to_ne_bytes()).map_err(failed)?;
    let line = format!("0 {} {}\n", user.range.start(), user.range.count());
    for map in ["uid_map", "gid_map"] {
        std::fs::write(format!("/proc/{}/{map}", pid.as_raw_nonzero()), &line)
            .map_err(|error| failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    }
    let namespace = overlay::user_namespace_of(pid).map_err(failed)?;
    outer::act_for(user).map_err(failed)?;
    outer::run(plan, launched, Some(&namespace))?;
    rustix::io::write(&go, b"g").map_err(failed)?;
    Ok(())
}

fn become_payload(
    plan: &Plan,
    prepared: &Prepared,
    launched: &Launched,
    files: Option<crate::stage::files::Files>,
    sender: &Sender,
) -> ! {
    match inner::run(plan, launched, files, sender) {
        Ok(inside) => {
            // Becoming the container's root has disarmed it.
            sender.die_with_supervisor();
            let failure = match sender.wait() {
                Ok(()) => payload::start(plan, prepared, inside, sender),
                Err(errno) => errno.into(),
            };
            fail(sender, Stage::Payload, 0, failure)
        }
        Err((step, failure)) => fail(sender, Stage::Inner, step, failure),
    }
}

fn fail(sender: &Sender, stage: Stage, step: usize, failure: Failure) -> ! {
    sender.failed(&Report { stage, step, errno: failure.errno, detail: failure.detail });
    sys::clone::exit_now(1)
}

/// Reads messages until the payload runs; what it serves is the result.
fn await_payload(plan: &Plan, receiver: &mut Receiver, say: &dyn Fn(&str)) -> Result<Vec<OwnedFd>, Error> {
    let mut served = None;
    loop {
        match receiver.receive().map_err(|errno| Error::System("hear from the container's first process", errno))? {
            Some(Message::Failed(report)) => return Err(Error::Stage(describe(plan, &report))),
            Some(Message::Note(report)) if !plan.quiet => say(&format!("Note: {}.", describe(plan, &report))),
            Some(Message::Note(_)) => {}
            Some(Message::Descriptors(fds)) => served = Some(fds),
            None => return served.ok_or_else(|| Error::Stage("the container's first process died early".into())),
        }
    }
}

fn describe(plan: &Plan, report: &Report) -> String {
    let step = match report.stage {
        Stage::Outer => plan.outer.get(report.step).map(ToString::to_string),
        Stage::Inner => plan.inner.get(report.step).map(ToString::to_string),
        Stage::Payload => Some("start the program".to_owned()),
    };
    let failure = Failure { errno: report.errno, detail: report.detail.clone() };
    format!("cannot {}{}", step.unwrap_or_else(|| "set the container up".to_owned()), launch::detail(&failure))
}
