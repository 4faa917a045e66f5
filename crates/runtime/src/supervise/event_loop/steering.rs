//! What is asked of the container by way of its control socket, and how its first process is asked to end.
//!
//! A signal that nobody takes is lost to the first process of a container, and right after its start nobody does: so what is
//! asked for waits until it can be heard.

use std::path::Path;
use std::time::{Duration, Instant};

use machine::State;
use machine::control::protocol::{Call, Refusal, VERSION, Whom};
use machine::group::Group;
use machine::init::{self, Init, Means, Wish};
use rustix::io::Errno;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::super::stop::STOP_TIMEOUT;
use super::{Loop, has_ended};

/// How long an init system may take until it can be asked for a reboot.
const UNTIL_IT_HEARS: Duration = Duration::from_secs(30);
/// How long after its start a program that is no init system may begin to hear that it is asked to end.
const UNTIL_A_PROGRAM_HEARS: Duration = Duration::from_secs(2);
/// How long a first process that is no init system that is known is asked for a sign that it hears.
const PATIENCE_WITH_STRANGERS: Duration = Duration::from_secs(5);
/// How soon it is tried again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(200));

/// What the first process is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// To end, by this signal, or as its init system does.
    Stop(i32),
    /// To do this.
    Wish(Wish),
}

/// A question that is not heard yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unheard {
    question: Question,
    next: Instant,
    pause: Duration,
    /// It has had time to hear: from now on what is asked of it is sent anyway, as nobody knows every way of hearing.
    patient_until: Instant,
    /// Afterwards it is not asked any more.
    until: Instant,
}

impl Unheard {
    pub(super) fn deadline(&self) -> Instant {
        self.next.min(self.until)
    }
}

impl Loop<'_> {
    /// Carries a call out.
    pub(super) fn call(&mut self, state: &State, call: &Call, now: Instant) -> Result<Value, Refusal> {
        let group = || open_group(state);
        match call {
            Call::Describe => {
                let paused = group().and_then(|group| group.is_frozen().map_err(refused("look at"))).unwrap_or(false);
                let stopping = self.stop.is_requested();
                Ok(json!({ "version": VERSION, "state": state, "paused": paused, "stopping": stopping }))
            }
            Call::Kill { whom: Whom::Leader, signal } => {
                sys::signal::send(self.supervised.pidfd, *signal).or_else(gone).map_err(refused("signal"))?;
                Ok(json!({}))
            }
            Call::Kill { whom: Whom::Supervisor, signal } => {
                self.own_signal = Some(*signal);
                Ok(json!({}))
            }
            Call::Kill { whom: Whom::All, signal } => {
                group()?.signal(*signal).or_else(gone).map_err(refused("signal"))?;
                Ok(json!({}))
            }
            Call::PowerOff { timeout } => self.power_off(state, timeout.unwrap_or(STOP_TIMEOUT), now),
            Call::Reboot => self.reboot(state, now),
            Call::Terminate => {
                let action = self.stop.terminate();
                self.act(action, now).map_err(refused("kill"))?;
                Ok(json!({}))
            }
            Call::Pause => {
                if self.stop.is_requested() {
                    return Err(Refusal::Stopping);
                }
                freeze(&group()?, true)
            }
            Call::Resume => freeze(&group()?, false),
            Call::Resize { columns, rows } => {
                let console = self.console.as_ref().ok_or(Refusal::NoConsole)?;
                console.resize(*columns, *rows).map_err(refused("resize"))?;
                Ok(json!({}))
            }
            // The server's own.
            Call::GetInfo | Call::GetInterfaceDescription(_) => Err(Refusal::NotSupported("not here")),
        }
    }

    fn power_off(&mut self, state: &State, timeout: Duration, now: Instant) -> Result<Value, Refusal> {
        // Who is frozen hears nothing.
        thaw(state);
        if self.stop.ask(now + timeout) {
            self.tell_stopping();
            let question = match self.plan.kill_signal {
                Some(signal) => Question::Stop(signal),
                None => Question::Wish(Wish::PowerOff),
            };
            self.ask(question, now).map_err(refused("ask"))?;
        }
        let timeout = self.stop.deadline().map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(now));
        let timeout = u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX);
        Ok(json!({ "init": self.first_process(), "timeoutUSec": timeout }))
    }

    fn reboot(&mut self, state: &State, now: Instant) -> Result<Value, Refusal> {
        if self.stop.is_requested() {
            return Err(Refusal::Stopping);
        }
        let pid = self.supervised.pid;
        if !self.plan.boot && Init::of(pid).is_none() && !init::takes(pid, Signal::INT.as_raw()) {
            return Err(Refusal::NoInit(init::name_of(pid)));
        }
        thaw(state);
        self.ask(Question::Wish(Wish::Reboot), now).map_err(refused("ask"))?;
        Ok(json!({ "init": self.first_process() }))
    }

    /// What people call it.
    fn first_process(&self) -> String {
        let pid = self.supervised.pid;
        Init::of(pid).map_or_else(|| init::name_of(pid), |init| init.name().to_owned())
    }

    /// Asks the first process, now or as soon as it can hear. A later question takes the place of one that it has not
    /// heard.
    pub(super) fn ask(&mut self, question: Question, now: Instant) -> rustix::io::Result<()> {
        let until = match question {
            Question::Wish(Wish::Reboot) => now + UNTIL_IT_HEARS,
            _ if self.plan.boot || !self.stop.is_gentle() => now + STOP_TIMEOUT,
            _ => self.started + UNTIL_A_PROGRAM_HEARS,
        };
        let (pause, _) = AGAIN;
        let patient_until = now + PATIENCE_WITH_STRANGERS;
        self.unheard = Some(Unheard { question, next: now, pause, patient_until, until });
        self.ask_again(now)
    }

    /// Time has passed.
    pub(super) fn ask_again(&mut self, now: Instant) -> rustix::io::Result<()> {
        let Some(unheard) = &mut self.unheard else { return Ok(()) };
        let question = unheard.question;
        if now < unheard.next && now < unheard.until {
            return Ok(());
        }
        let (over, patient) = (now >= unheard.until, now < unheard.patient_until);
        unheard.next = now + unheard.pause;
        unheard.pause = (unheard.pause * 2).min(AGAIN.1);
        match self.try_to_ask(question) {
            Err(Errno::AGAIN) if !over && (patient || Init::of(self.supervised.pid).is_some()) => return Ok(()),
            Err(Errno::AGAIN) if !over => {
                let signal = match question {
                    Question::Stop(signal) => signal,
                    Question::Wish(Wish::PowerOff) => Signal::TERM.as_raw(),
                    Question::Wish(Wish::Reboot) => Signal::INT.as_raw(),
                };
                // Who does not hear it is not hurt either: the first process of a container is safe from its host's signals.
                sys::signal::send(self.supervised.pidfd, signal).or_else(gone)?;
            }
            Err(Errno::AGAIN) if question != Question::Wish(Wish::Reboot) => {
                // It takes no signal that asks: no use in waiting any longer.
                let action = self.stop.give_up(now);
                self.unheard = None;
                return self.act(action, now);
            }
            // It has ended just now, or cannot be asked; in the end it is killed.
            _ => {}
        }
        self.unheard = None;
        Ok(())
    }

    fn try_to_ask(&self, question: Question) -> rustix::io::Result<()> {
        let (pid, pidfd) = (self.supervised.pid, self.supervised.pidfd);
        let ask = |means| init::ask(means, pid, pidfd);
        match (question, Init::of(pid)) {
            // It is systemd's own by default: another init system has another way.
            (Question::Stop(signal), Some(init)) if signal == orderly_shutdown() && init != Init::Systemd => {
                ask(init.means(Wish::PowerOff, pid))
            }
            (Question::Stop(signal), None) if signal == orderly_shutdown() => match ask(Means::Signal(signal)) {
                Err(Errno::AGAIN) => ask(Means::Signal(Signal::TERM.as_raw())),
                other => other,
            },
            (Question::Stop(signal), _) => ask(Means::Signal(signal)),
            (Question::Wish(wish), Some(init)) => ask(init.means(wish, pid)),
            (Question::Wish(Wish::PowerOff), None) => ask(Means::Signal(Signal::TERM.as_raw())),
            (Question::Wish(Wish::Reboot), None) => ask(Means::Signal(Signal::INT.as_raw())),
        }
    }

    /// Asks all processes to end, once the first one was asked in vain.
    pub(super) fn terminate_all(&mut self, now: Instant) -> rustix::io::Result<()> {
        self.unheard = None;
        let Some(group) = self.control.as_ref().and_then(|control| open_group(control.state()).ok()) else {
            return Ok(());
        };
        let alone = group.processes().is_ok_and(|processes| processes.len() <= 1);
        if alone && !init::takes(self.supervised.pid, Signal::TERM.as_raw()) && !has_ended(self.supervised.pidfd)? {
            let action = self.stop.kill();
            return self.act(action, now);
        }
        // Whom this does not reach is killed.
        let _ = group.signal(Signal::TERM.as_raw());
        Ok(())
    }
}

/// What `--kill-signal=` is for systems that are booted, unless something else was chosen.
fn orderly_shutdown() -> i32 {
    sys::signal::real_time_minimum() + 3
}

fn open_group(state: &State) -> Result<Group, Refusal> {
    let path = state.control_group.as_deref().ok_or(Refusal::NotSupported("its control group is not known"))?;
    Group::open(Path::new(path)).map_err(refused("open the control group of"))
}

fn thaw(state: &State) {
    if let Ok(group) = open_group(state) {
        // Where the kernel cannot freeze, nobody is.
        let _ = group.freeze(false);
    }
}

fn freeze(group: &Group, frozen: bool) -> Result<Value, Refusal> {
    match group.freeze(frozen) {
        Ok(()) => Ok(json!({})),
        Err(Errno::NOENT) => Err(Refusal::NotSupported("the kernel cannot freeze control groups (Linux 5.2)")),
        Err(errno) => Err(refused(if frozen { "pause" } else { "resume" })(errno)),
    }
}

/// Whoever has ended just now needs no signal.
fn gone(errno: Errno) -> rustix::io::Result<()> {
    match errno {
        Errno::SRCH | Errno::NODEV => Ok(()),
        other => Err(other),
    }
}

fn refused(what: &'static str) -> impl Fn(Errno) -> Refusal {
    move |errno| Refusal::System { what, errno }
}
