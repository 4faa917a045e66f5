//! What is asked of the container by way of its control socket, and how its first process is asked to end.
//!
//! A signal that nobody takes is lost to the first process of a container, and right after its start nobody does: so what is
//! asked for waits until it can be heard.

use std::os::fd::BorrowedFd;
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

impl Question {
    /// The signal that is sent where nothing is known of who is asked but what the kernel says of its signals.
    fn bare_signal(self, pid: i32) -> i32 {
        let systemd_s = match self {
            Self::Stop(signal) if signal != orderly_shutdown() => return signal,
            Self::Wish(Wish::Reboot) => return Wish::Reboot.usual_signal(),
            Self::Stop(signal) => signal,
            Self::Wish(Wish::PowerOff) => sys::signal::real_time_minimum() + 4,
        };
        if init::catches(pid, systemd_s) { systemd_s } else { Wish::PowerOff.usual_signal() }
    }
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It has heard, or has ended.
    Heard,
    /// It does not hear yet.
    NotYet {
        /// It is an init system that is known.
        known: bool,
    },
    /// It cannot be asked.
    Failed(Errno),
    /// Its files hang, and it may have heard a signal.
    Silent,
}

impl Answer {
    const KNOWN: u8 = 252;
    const UNKNOWN: u8 = 253;

    /// What [`Answer::told`] reads.
    fn number(self) -> u8 {
        match self {
            Self::Heard | Self::Silent => 0,
            Self::NotYet { known: true } => Self::KNOWN,
            Self::NotYet { known: false } => Self::UNKNOWN,
            Self::Failed(errno) => {
                u8::try_from(errno.raw_os_error()).map_or(u8::MAX, |number| number.min(Self::KNOWN - 1))
            }
        }
    }

    fn told(number: u8) -> Self {
        match number {
            0 => Self::Heard,
            Self::KNOWN => Self::NotYet { known: true },
            Self::UNKNOWN => Self::NotYet { known: false },
            number => Self::Failed(Errno::from_raw_os_error(number.into())),
        }
    }
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
            Call::PowerOff { timeout } => self.power_off(timeout.unwrap_or(STOP_TIMEOUT), now),
            Call::Reboot => self.reboot(now),
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

    fn power_off(&mut self, timeout: Duration, now: Instant) -> Result<Value, Refusal> {
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

    fn reboot(&mut self, now: Instant) -> Result<Value, Refusal> {
        if self.stop.is_requested() {
            return Err(Refusal::Stopping);
        }
        if !self.plan.boot && self.first.init().is_none() && !self.first.takes(Wish::Reboot.usual_signal()) {
            return Err(Refusal::NoInit(init::name_of(self.supervised.pid)));
        }
        self.ask(Question::Wish(Wish::Reboot), now).map_err(refused("ask"))?;
        Ok(json!({ "init": self.first_process() }))
    }

    /// What people call it.
    fn first_process(&mut self) -> String {
        let pid = self.supervised.pid;
        self.first.init().map_or_else(|| init::name_of(pid), |init| init.name().to_owned())
    }

    /// Asks the first process, now or as soon as it can hear. A later question takes the place of one that it has not
    /// heard.
    pub(super) fn ask(&mut self, question: Question, now: Instant) -> rustix::io::Result<()> {
        // Who is frozen hears nothing. Where the kernel cannot freeze, nobody is.
        let _ = self.group.as_ref().map(|group| group.freeze(false));
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
        match self.try_to_ask(question)? {
            Answer::NotYet { known } if !over && (patient || known) => return Ok(()),
            Answer::NotYet { .. } if !over => {
                let signal = match question {
                    Question::Stop(signal) => signal,
                    Question::Wish(wish) => wish.usual_signal(),
                };
                // Who does not hear it is not hurt either: the first process of a container is safe from its host's signals.
                sys::signal::send(self.supervised.pidfd, signal).or_else(gone)?;
            }
            Answer::NotYet { .. } | Answer::Silent if question != Question::Wish(Wish::Reboot) => {
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

    fn try_to_ask(&mut self, question: Question) -> rustix::io::Result<Answer> {
        let asked = self.first.run(|pid, process| {
            let init = Init::of(pid);
            let answer = match try_to_ask(question, init, pid, process) {
                Ok(()) => Answer::Heard,
                Err(Errno::AGAIN) => Answer::NotYet { known: init.is_some() },
                Err(errno) => Answer::Failed(errno),
            };
            answer.number()
        });
        match asked.map(Answer::told) {
            Some(answer) => Ok(answer),
            None => {
                let pid = self.supervised.pid;
                let signal = question.bare_signal(pid);
                sys::signal::send(self.supervised.pidfd, signal).or_else(gone)?;
                Ok(if init::catches(pid, signal) { Answer::Heard } else { Answer::Silent })
            }
        }
    }

    /// Asks all processes to end, once the first one was asked in vain.
    pub(super) fn terminate_all(&mut self, now: Instant) -> rustix::io::Result<()> {
        self.unheard = None;
        let Some(group) = &self.group else { return Ok(()) };
        let alone = group.processes().is_ok_and(|processes| processes.len() <= 1);
        if alone && !self.first.takes(Signal::TERM.as_raw()) && !has_ended(self.supervised.pidfd)? {
            let action = self.stop.kill();
            return self.act(action, now);
        }
        // Whom this does not reach is killed.
        let _ = group.signal(Signal::TERM.as_raw());
        Ok(())
    }
}

/// Asks who may be this init system, by means that may hang.
fn try_to_ask(question: Question, init: Option<Init>, pid: i32, process: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let ask = |means| init::ask(means, pid, process);
    match (question, init) {
        // It is systemd's own by default: another init system has another way.
        (Question::Stop(signal), Some(init)) if signal == orderly_shutdown() && init != Init::Systemd => {
            ask(init.means(Wish::PowerOff, pid))
        }
        (Question::Stop(signal), None) if signal == orderly_shutdown() => match ask(Means::Signal(signal)) {
            Err(Errno::AGAIN) => ask(Means::Signal(Wish::PowerOff.usual_signal())),
            other => other,
        },
        (Question::Stop(signal), _) => ask(Means::Signal(signal)),
        (Question::Wish(wish), Some(init)) => ask(init.means(wish, pid)),
        (Question::Wish(wish), None) => ask(Means::Signal(wish.usual_signal())),
    }
}

/// What `--kill-signal=` is for systems that are booted, unless something else was chosen.
fn orderly_shutdown() -> i32 {
    sys::signal::real_time_minimum() + 3
}

pub(super) fn open_group(state: &State) -> Result<Group, Refusal> {
    let path = state.control_group.as_deref().ok_or(Refusal::NotSupported("its control group is not known"))?;
    Group::open(Path::new(path)).map_err(refused("open the control group of"))
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
