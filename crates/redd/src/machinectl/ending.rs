//! Waiting for the end of machines.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use machine::control::Client;
use machine::process::has_ended;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;

/// How many processes are named.
const NAMED: usize = 8;

/// A machine that is about to end, and the process whose end is its own.
pub(crate) struct Held {
    client: Client,
    process: Option<OwnedFd>,
}

impl Held {
    /// Its supervisor ends last; where nobody is known to look after it, it is the first process.
    pub(crate) fn of(client: Client) -> Self {
        let state = client.state();
        let process = if state.supervised { state.supervisor.as_ref() } else { Some(&state.leader) };
        let process = process.and_then(machine::Process::open_in_this_boot);
        Self { client, process }
    }

    /// It.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Its name.
    pub(crate) fn name(&self) -> &str {
        &self.client.state().name
    }

    fn has_ended(&self) -> bool {
        self.process.as_ref().is_none_or(has_ended)
    }
}

/// What to do about a machine that has not ended in time: wait on until then, or no more.
pub(crate) enum Then {
    /// Wait on.
    Until(Instant),
    /// That was it.
    Failed(Failure),
}

/// Machines that are about to end, and what is known of each.
pub(crate) struct Ending<T> {
    machines: Vec<(Held, T, Instant)>,
}

impl<T> Ending<T> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self { machines: Vec::new() }
    }

    /// One more, that should have ended by then.
    pub(crate) fn add(&mut self, held: Held, about: T, until: Instant) {
        self.machines.push((held, about, until));
    }

    /// Waits for all of them. `late` is asked what to do about each that has not ended in time.
    pub(crate) fn wait(mut self, late: &mut dyn FnMut(&Held, &mut T) -> Then) -> Vec<Failure> {
        let mut failed = Vec::new();
        loop {
            let now = Instant::now();
            let mut waited_for = Vec::with_capacity(self.machines.len());
            for (held, mut about, until) in self.machines {
                if held.has_ended() {
                    continue;
                }
                if until > now {
                    waited_for.push((held, about, until));
                    continue;
                }
                match late(&held, &mut about) {
                    Then::Until(until) => waited_for.push((held, about, until)),
                    Then::Failed(failure) => failed.push(failure),
                }
            }
            self.machines = waited_for;
            let Some(first) = self.machines.iter().map(|(.., until)| *until).min() else { return failed };
            let left = first.saturating_duration_since(now);
            let limit =
                Timespec { tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: left.subsec_nanos().into() };
            let processes = self.machines.iter().filter_map(|(held, ..)| held.process.as_ref());
            let mut fds: Vec<_> = processes.map(|process| PollFd::new(process, PollFlags::IN)).collect();
            // An interruption is as good as an event: all is looked at again.
            let _ = poll(&mut fds, Some(&limit));
        }
    }
}

/// It is not waited for any longer.
pub(crate) fn give_up(held: &Held) -> Then {
    let running = still_running(held.client());
    let error = anyhow!("{} has not ended{running}", held.name());
    Then::Failed(Failure::new(error, Some("a process in it may wait for a device or a network file system")))
}

/// The processes of a machine, for people; nothing if none are known.
pub(crate) fn still_running(client: &Client) -> String {
    let processes = client.processes().unwrap_or_default();
    let named: Vec<_> = processes.iter().take(NAMED).map(|(pid, name)| format!("{name} ({pid})")).collect();
    match (named.len(), processes.len() - named.len()) {
        (0, _) => String::new(),
        (_, 0) => format!("; still running: {}", named.join(", ")),
        (_, more) => format!("; still running: {} and {more} more", named.join(", ")),
    }
}

/// A time as people say it.
pub(crate) fn in_words(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        seconds @ 1..=120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds / 60),
    }
}
