//! One container from the plan to its end.

use std::cell::Cell;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;

use plan::{CallerFacts, LaunchStep, ParentStep, Plan};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use spec::{ContainerSpec, DryRun, PrivateUsers};

use crate::first::{self, Start};
use crate::proto::{self, Message, Receiver, Report, Stage};
use crate::registration::{self, Registered};
use crate::stage::files::Failure;
use crate::stage::kept::Kept;
use crate::stage::launch::{self, Launched};
use crate::stage::payload::{HOME, LOWER_LIMIT, Prepared};
use crate::supervise::{self, Outcome, Signals, Supervised, Upstream};
use crate::{facts, filter, id_range, inotify_limit, journal_remote, parent, publication};

/// How often a range of ids is picked again that somebody else was quicker to take.
const PICKED_AT_ONCE: u32 = 64;

/// How often a tree is looked at again that somebody else has changed before it was locked.
const LOOKED_AT_AGAIN: u32 = 3;

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
    #[error("cannot show the plan as JSON (--dry-run shows it as text)")]
    Json(#[from] serde_json::Error),
    /// Locks and copies.
    #[error(transparent)]
    Parent(#[from] parent::Error),
    /// Mounts and control groups.
    #[error(transparent)]
    Launch(#[from] launch::Error),
    /// The system call filter.
    #[error(transparent)]
    Filter(#[from] filter::Error),
    /// A stage.
    #[error("{0}")]
    Stage(String),
    /// The first process.
    #[error(transparent)]
    First(#[from] first::Error),
    /// A process.
    #[error("cannot {0}")]
    System(&'static str, #[source] Errno),
    /// `$NOTIFY_SOCKET`.
    #[error("$NOTIFY_SOCKET is no address of a socket; unset it, or start redd from a service of Type=notify")]
    NotifySocket(#[source] Errno),
    /// `$LISTEN_FDS`.
    #[error(
        "not all of the descriptors that $LISTEN_FDS speaks of are open; unset it, or start redd from a socket unit"
    )]
    Listen(#[source] Errno),
    /// A signal came before the payload ran.
    #[error("interrupted before the container has started")]
    Interrupted,
    /// The list of machines of systemd-machined.
    #[error(transparent)]
    Registration(#[from] registration::Error),
    /// Our own.
    #[error(transparent)]
    Publication(#[from] machine::registry::Error),
    /// The forwarded journal.
    #[error(transparent)]
    JournalRemote(#[from] journal_remote::Error),
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

/// How often it is worth while to look again after this error, which another run has caused.
fn tries_after(error: Option<&parent::Error>, spec: &ContainerSpec) -> u32 {
    let picks = matches!(spec.users().private_users, PrivateUsers::Pick | PrivateUsers::Managed);
    match error {
        // Who looks again sees what the other one has made of it.
        Some(parent::Error::Changed(_)) => LOOKED_AT_AGAIN,
        // Somebody else has picked the same range meanwhile; who looks again finds another one.
        Some(parent::Error::Range(id_range::Error::InUse(_))) if picks => PICKED_AT_ONCE,
        _ => 0,
    }
}

/// Runs a container until it ends. `say` is given what a person should know meanwhile.
///
/// # Errors
/// An [`Error`]; the host is then as before.
pub fn run(spec: &ContainerSpec, caller: CallerFacts, say: &dyn Fn(&str)) -> Result<Done, Error> {
    if spec.run().cleanup {
        return Ok(cleanup(spec, say));
    }
    if let Some(listen) = &caller.listen {
        // What we start ourselves does not get them.
        sys::inherited::inherit(listen.count, false).map_err(Error::Listen)?;
    }
    let progress = caller.console.output_is_terminal && !spec.run().quiet;
    let (mut facts, mut tree, mut managed) = facts::probe(spec, caller)?;
    let mut plan = plan::resolve(spec, &facts)?;
    match spec.run().dry_run {
        Some(DryRun::Text) => return Ok(Done::Text(plan::explain(&plan))),
        Some(DryRun::Json) => return Ok(Done::Text(serde_json::to_string_pretty(&plan)? + "\n")),
        None => {}
    }
    let upstream =
        plan.supervision.notify_socket.as_deref().map(Upstream::new).transpose().map_err(Error::NotifySocket)?;
    let signals = Signals::block().map_err(|errno| Error::System("take signals", errno))?;
    let prepared = Prepared { filters: filter::compile(&plan.limits, say)? };
    let watcher = Watcher { signals, upstream, say, said_shortage: Cell::new(false) };
    let asked_to_end = parent::Caller { say, interrupted: &sys::signal::end_is_pending, progress };
    let mut acquired = {
        let mut tries = 0;
        loop {
            let done = parent::run(&plan, tree, asked_to_end);
            if tries >= tries_after(done.as_ref().err(), spec) {
                break done?;
            }
            tries += 1;
            (facts, tree, managed) = facts::probe(spec, facts.caller)?;
            plan = plan::resolve(spec, &facts)?;
        }
    };
    acquired.hold_users(managed);
    if !plan.quiet {
        plan.notices.iter().for_each(|notice| say(notice));
        say(&format!("Running {} from {}.", plan.machine, plan.tree.display()));
        if plan.supervision.console == spec::ConsoleMode::Interactive {
            say("Press ^] three times within a second to end it.");
        }
    }
    let mut kept = Kept::default();
    let mut entry = None;
    let result = loop {
        match live(&plan, &prepared, (&acquired, &mut kept, &mut entry), &watcher) {
            Ok(Outcome::Rebooted) => {
                acquired.keep_journal();
                if !plan.quiet {
                    say(&format!("{} reboots.", plan.machine));
                }
                // All stays as it was, but for the id of the boot.
                plan = match facts::another_boot(&mut facts)
                    .map_err(Error::from)
                    .and_then(|()| Ok(plan::resolve(spec, &facts)?))
                {
                    Ok(plan) => plan,
                    Err(error) => break Err(error),
                };
            }
            other => break other,
        }
    };
    if result.is_ok() {
        acquired.keep_journal();
    }
    watcher.tell("STOPPING=1\nSTATUS=Terminating...\n");
    drop(kept);
    let left = acquired.release();
    // Whoever waits for the machine's end finds its tree and name free.
    drop(entry);
    let code = match &result {
        Ok(Outcome::Exited(code)) => u8::try_from(*code).unwrap_or(255),
        Ok(Outcome::Killed(signal)) => 128 + u8::try_from(*signal).unwrap_or(0),
        Ok(Outcome::Rebooted | Outcome::PoweredOff) => 0,
        Err(_) => 1,
    };
    if plan.supervision.boot && !plan.quiet {
        // Whoever sits at its console has not asked for that, perhaps.
        match &result {
            Ok(Outcome::Rebooted | Outcome::PoweredOff) => say(&format!("{} has powered off.", plan.machine)),
            Ok(Outcome::Killed(signal)) => say(&format!("{} was killed (signal {signal}).", plan.machine)),
            _ => {}
        }
    }
    watcher.tell(&format!("EXIT_STATUS={code}\n"));
    if let Some(upstream) = &watcher.upstream {
        upstream.finish();
    }
    result?;
    Ok(Done::Ended(ExitCode::from(code), left))
}

/// From one start to its end.
fn live(
    plan: &Plan,
    prepared: &Prepared,
    (acquired, kept, entry): (&parent::Acquired, &mut Kept, &mut Option<publication::Entry>),
    watcher: &Watcher<'_>,
) -> Result<Outcome, Error> {
    let launched = launch::run(plan, acquired, kept)?;
    let outcome = start(plan, prepared, (&launched, entry), acquired.users(), watcher);
    // Whatever it was: nothing of it goes on.
    let killed = killed_for_memory(plan, &launched);
    let ended = launched.end();
    let outcome = outcome?;
    if let (Some(count @ 1..), false) = (killed, plan.quiet) {
        let who = if count == 1 { "1 process was".to_owned() } else { format!("{count} processes were") };
        (watcher.say)(&format!("The memory limit was reached: {who} killed."));
    }
    ended?;
    let failed = matches!(outcome, Outcome::Exited(1..) | Outcome::Killed(_));
    if plan.supervision.boot && failed {
        inotify_limit::tell_after_failure(watcher.said_shortage.get(), watcher.say);
    }
    Ok(outcome)
}

/// How many processes the kernel killed because the container had used up the memory that it may use.
fn killed_for_memory(plan: &Plan, launched: &Launched) -> Option<u64> {
    let unified = plan.launch.iter().any(|step| matches!(step, LaunchStep::LimitGroup { .. }))
        || plan.parent.iter().any(|step| matches!(step, ParentStep::StartScope(scope) if scope.limits_memory()));
    let unified = if unified { launched.group.killed_for_memory() } else { None };
    unified.or_else(|| launched.limits.iter().find_map(cgroup::limit::v1::Group::killed_for_memory))
}

/// `--cleanup`.
fn cleanup(spec: &ContainerSpec, say: &dyn Fn(&str)) -> Done {
    let undone = crate::undo::cleanup(spec);
    if !spec.run().quiet {
        undone.removed.iter().for_each(|what| say(&format!("Removed {what}.")));
    }
    let code = if undone.errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    Done::Ended(code, undone.errors)
}

/// Who hears of the container, and whom it hears from.
struct Watcher<'a> {
    signals: Signals,
    upstream: Option<Upstream>,
    say: &'a dyn Fn(&str),
    said_shortage: Cell<bool>,
}

impl Watcher<'_> {
    /// Tells the service manager that started us, if one did.
    fn tell(&self, text: &str) {
        if let Some(upstream) = &self.upstream {
            upstream.tell(text);
        }
    }
}

/// One start: makes the processes, waits until the payload runs, watches over it.
fn start(
    plan: &Plan,
    prepared: &Prepared,
    (launched, entry): (&Launched, &mut Option<publication::Entry>),
    users: Option<BorrowedFd<'_>>,
    watcher: &Watcher<'_>,
) -> Result<Outcome, Error> {
    let (mut receiver, sender) = proto::channel().map_err(|errno| Error::System("make a socket pair", errno))?;
    let first = Start { plan, prepared, launched, sender: &sender, users }.clone_first()?;
    drop(sender);
    let finished = launch::finish_group(plan, &launched.group);
    let mut found = match first.found() {
        Ok(found) => found,
        // The helper's own words, if it had any.
        Err(error) => {
            return Err(await_payload(plan, &mut receiver, watcher, None).err().unwrap_or_else(|| error.into()));
        }
    };
    let limited = launched.limit(plan, found.pid.as_raw_nonzero().get());
    let mut registered = None;
    let started = finished.and(limited).map_err(Error::from).and_then(|()| {
        let first = (found.pid.as_raw_nonzero().get(), &found.pidfd);
        publication::publish(entry, (plan, &prepared.filters), launched, first)?;
        registered = registration::register(plan, found.pid.as_raw_nonzero().get())?;
        // If nobody is there any more to hear it, their last message says why.
        let _ = receiver.let_go();
        await_payload(plan, &mut receiver, watcher, Some(found.pidfd.as_fd()))
    });
    let served = match started {
        Ok(served) => served,
        Err(error) => {
            registered.into_iter().for_each(Registered::end);
            found.abandon();
            return Err(error);
        }
    };
    found.reap_helper();
    let remote = plan.supervision.forward_journal.as_ref().zip(served.journal.as_ref());
    let remote = match remote.map(|(remote, socket)| journal_remote::start(remote, socket)).transpose() {
        Ok(remote) => remote,
        Err(error) => {
            registered.into_iter().for_each(Registered::end);
            found.abandon();
            return Err(error.into());
        }
    };
    drop(served.journal);
    let supervised = Supervised {
        pidfd: found.pidfd.as_fd(),
        pid: found.pid.as_raw_nonzero().get(),
        master: served.master,
        notify: served.notify,
        said_shortage: &watcher.said_shortage,
    };
    inotify_limit::tell_shortage(plan.supervision.boot, watcher.say);
    let server = entry.as_mut().map(|entry| &mut entry.server);
    let upstream = watcher.upstream.as_ref();
    let outcome = supervise::run(&plan.supervision, &supervised, &watcher.signals, upstream, server);
    registered.into_iter().for_each(Registered::end);
    let outcome = match outcome {
        // Whoever has asked for the end meanwhile does not want a new beginning.
        Ok(Outcome::Rebooted) => watcher.signals.asks_for_end(|| Ok(true)).map(|asks| match asks {
            true => Outcome::PoweredOff,
            false => Outcome::Rebooted,
        }),
        other => other,
    };
    if let Some(complaint) = remote.and_then(journal_remote::Running::stop) {
        (watcher.say)(&complaint);
    }
    // Readers of the container's /proc/kmsg wait as long as somebody could write to it.
    drop(served.kmsg);
    outcome.map_err(|errno| Error::System("watch over the container", errno))
}

/// What the payload's side of the container serves.
struct Served {
    notify: OwnedFd,
    kmsg: OwnedFd,
    journal: Option<OwnedFd>,
    master: Option<OwnedFd>,
}

/// Reads messages until the payload runs. A signal that asks for an end is not kept waiting.
fn await_payload(
    plan: &Plan,
    receiver: &mut Receiver,
    watcher: &Watcher<'_>,
    first: Option<BorrowedFd<'_>>,
) -> Result<Served, Error> {
    let ended = || first.map_or(Ok(false), supervise::has_ended);
    let failed = |errno| Error::System("hear from the container's first process", errno);
    let mut served = None;
    loop {
        let mut fds = [PollFd::new(receiver, PollFlags::IN), PollFd::new(&watcher.signals, PollFlags::IN)];
        rustix::io::retry_on_intr(|| poll(&mut fds, None)).map_err(failed)?;
        let [message, signal] = fds.map(|fd| !fd.revents().is_empty());
        // Messages first: they tell why a start has ended that systemd-machined wants to end too.
        if !message {
            if signal && watcher.signals.asks_for_end(ended).map_err(failed)? {
                return Err(Error::Interrupted);
            }
            continue;
        }
        match receiver.receive().map_err(failed)? {
            Some(Message::Failed(report)) => return Err(Error::Stage(describe(plan, &report))),
            Some(Message::Note(report)) if !plan.quiet => {
                (watcher.say)(&format!("Note: {}.", describe(plan, &report)));
            }
            Some(Message::Note(_)) => {}
            Some(Message::Descriptors(fds)) => {
                let mut fds = fds.into_iter();
                if let (Some(notify), Some(kmsg)) = (fds.next(), fds.next()) {
                    let journal = plan.supervision.forward_journal.as_ref().and_then(|_| fds.next());
                    served = Some(Served { notify, kmsg, journal, master: fds.next() });
                }
            }
            None => return served.ok_or_else(|| Error::Stage("the container's first process died early".into())),
        }
    }
}

fn describe(plan: &Plan, report: &Report) -> String {
    let step = match report.stage {
        Stage::Outer => plan.outer.get(report.step).map(ToString::to_string),
        Stage::Inner => plan.inner.get(report.step).map(ToString::to_string),
        Stage::Payload if report.step == LOWER_LIMIT => {
            Some("set a limit as high as was asked for, and has set the highest that the host has".to_owned())
        }
        Stage::Payload if report.step == HOME => Some("make the user's home".to_owned()),
        Stage::Payload => Some("start the program".to_owned()),
    };
    let failure = Failure { errno: report.errno, detail: report.detail.clone() };
    format!("cannot {}{}", step.unwrap_or_else(|| "set the container up".to_owned()), launch::detail(&failure))
}
