//! When the container is asked to stop, and when it is killed. No clock and no process in here: times come in, actions go out.

use std::time::{Duration, Instant};

/// How long PID 1 may take to stop once it was asked to, before it is killed; the value of `DefaultTimeoutStopSec=` of
/// systemd-system.conf(5).
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(90);

/// How long all processes may take to end once PID 1 was asked in vain, before they are killed.
const GRACE: Duration = Duration::from_secs(5);

/// What is to be done to PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing at the moment.
    Nothing,
    /// Ask it by this signal.
    Send(i32),
    /// Ask all processes of the container to end.
    TerminateAll,
    /// Kill it, and with it everything in the container.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    /// Gently: what comes at the deadline is not yet its death.
    Asked {
        deadline: Instant,
        gently: bool,
    },
    Terminating {
        deadline: Instant,
    },
    Killed {
        as_asked: bool,
    },
}

/// How far stopping has come.
#[derive(Debug)]
pub(super) struct Stop {
    signal: Option<i32>,
    state: State,
}

impl Stop {
    /// For a container whose PID 1 stops on `signal`, if there is one.
    pub(super) fn new(signal: Option<i32>) -> Self {
        Self { signal, state: State::Running }
    }

    /// Somebody wants the container to end: the first time it is asked, where that is possible, the second time killed.
    pub(super) fn request(&mut self, now: Instant) -> Action {
        match (self.state, self.signal) {
            (State::Running, Some(signal)) => {
                self.state = State::Asked { deadline: now + STOP_TIMEOUT, gently: false };
                Action::Send(signal)
            }
            // Who has been asked gently has not been asked by us before: a service manager that stops everything waits for it, too.
            (State::Asked { deadline, gently: true }, Some(signal)) => {
                self.state = State::Asked { deadline: deadline.min(now + STOP_TIMEOUT), gently: false };
                Action::Send(signal)
            }
            _ => self.kill(),
        }
    }

    /// Somebody wants the container to end until then, in order. True if it is to be asked now; who asks again only makes
    /// it end sooner.
    pub(super) fn ask(&mut self, until: Instant) -> bool {
        match &mut self.state {
            State::Running => {
                self.state = State::Asked { deadline: until, gently: true };
                true
            }
            State::Asked { deadline, .. } => {
                *deadline = until.min(*deadline);
                false
            }
            State::Terminating { .. } | State::Killed { .. } => false,
        }
    }

    /// PID 1 does not hear what it was gently asked for.
    pub(super) fn give_up(&mut self, now: Instant) -> Action {
        match self.state {
            State::Asked { gently: true, .. } => {
                self.state = State::Terminating { deadline: now + GRACE };
                Action::TerminateAll
            }
            _ => Action::Nothing,
        }
    }

    /// Somebody wants the container to be killed.
    pub(super) fn kill(&mut self) -> Action {
        self.state = State::Killed { as_asked: false };
        Action::Kill
    }

    /// The same; where its end was asked for by a signal before, that is how it was meant to end: a service manager stops the unit
    /// of a machine that is to be terminated, and takes what comes of that for a success.
    pub(super) fn terminate(&mut self) -> Action {
        let as_asked = matches!(self.state, State::Asked { gently: false, .. } | State::Killed { as_asked: true });
        self.state = State::Killed { as_asked };
        Action::Kill
    }

    /// Whether its death is the end that was asked for.
    pub(super) fn died_as_asked(&self) -> bool {
        self.state == State::Killed { as_asked: true }
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Action {
        match self.state {
            State::Asked { deadline, gently: true } if deadline <= now => self.give_up(now),
            State::Asked { deadline, .. } | State::Terminating { deadline } if deadline <= now => self.kill(),
            _ => Action::Nothing,
        }
    }

    /// When [`Stop::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Asked { deadline, .. } | State::Terminating { deadline } => Some(deadline),
            _ => None,
        }
    }

    /// Whether what comes at the deadline is not yet its death.
    pub(super) fn is_gentle(&self) -> bool {
        matches!(self.state, State::Asked { gently: true, .. })
    }

    /// Whether the container was asked to end, or killed.
    pub(super) fn is_requested(&self) -> bool {
        self.state != State::Running
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_asks_and_the_second_kills() {
        let now = Instant::now();
        let mut stop = Stop::new(Some(37));
        assert!(!stop.is_requested());
        assert_eq!(stop.request(now), Action::Send(37));
        assert!(stop.is_requested());
        assert_eq!(stop.request(now), Action::Kill);
        assert_eq!(stop.deadline(), None);
    }

    #[test]
    fn who_was_asked_gently_is_asked_by_a_signal_too_and_not_killed() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut stop = Stop::new(Some(37));
        assert!(stop.ask(now + 9 * second));
        assert_eq!(stop.request(now), Action::Send(37));
        assert_eq!(stop.deadline(), Some(now + 9 * second), "no later");
        assert_eq!(stop.request(now), Action::Kill);
    }

    #[test]
    fn who_is_terminated_after_it_was_asked_by_a_signal_dies_as_asked() {
        let now = Instant::now();
        let mut stop = Stop::new(Some(37));
        stop.request(now);
        assert_eq!(stop.terminate(), Action::Kill);
        assert_eq!(stop.terminate(), Action::Kill);
        assert!(stop.died_as_asked());
        let mut unasked = Stop::new(Some(37));
        assert_eq!(unasked.terminate(), Action::Kill);
        let mut late = Stop::new(Some(37));
        late.request(now);
        assert_eq!(late.expire(now + STOP_TIMEOUT), Action::Kill);
        late.terminate();
        assert!(!unasked.died_as_asked() && !late.died_as_asked());
    }

    #[test]
    fn without_a_signal_it_is_killed_at_once() {
        assert_eq!(Stop::new(None).request(Instant::now()), Action::Kill);
    }

    #[test]
    fn who_was_asked_gently_is_terminated_before_it_is_killed() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        let mut stop = Stop::new(None);
        assert_eq!(stop.give_up(now), Action::Nothing);
        assert!(stop.ask(now + 9 * second));
        assert!(stop.is_requested());
        assert!(!stop.ask(now + 30 * second), "no later");
        assert_eq!(stop.deadline(), Some(now + 9 * second));
        assert!(!stop.ask(now + 3 * second), "but sooner");
        assert_eq!(stop.expire(now + 2 * second), Action::Nothing);
        assert_eq!(stop.expire(now + 3 * second), Action::TerminateAll);
        assert_eq!(stop.deadline(), Some(now + 3 * second + GRACE));
        assert!(!stop.ask(now));
        assert_eq!(stop.expire(now + 3 * second), Action::Nothing);
        assert_eq!(stop.expire(now + 3 * second + GRACE), Action::Kill);
        let mut stop = Stop::new(None);
        assert!(stop.ask(now + 9 * second));
        assert_eq!(stop.give_up(now), Action::TerminateAll);
        assert_eq!(stop.request(now), Action::Kill, "a second request");
    }

    #[test]
    fn patience_ends() {
        let now = Instant::now();
        let mut stop = Stop::new(Some(15));
        assert_eq!(stop.expire(now + STOP_TIMEOUT), Action::Nothing);
        stop.request(now);
        let deadline = stop.deadline().unwrap();
        assert_eq!(deadline, now + STOP_TIMEOUT);
        assert_eq!(stop.expire(deadline - Duration::from_millis(1)), Action::Nothing);
        assert_eq!(stop.expire(deadline), Action::Kill);
        assert_eq!(stop.expire(deadline), Action::Nothing);
    }
}
