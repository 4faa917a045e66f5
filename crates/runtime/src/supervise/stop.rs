//! When the container is asked to stop, and when it is killed. No clock and no process in here: times come in, actions go out.

use std::time::{Duration, Instant};

/// How long PID 1 may take to stop once it was asked to, before it is killed; the value of `DefaultTimeoutStopSec=` of
/// systemd-system.conf(5).
pub(super) const STOP_TIMEOUT: Duration = Duration::from_secs(90);

/// What is to be done to PID 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Nothing at the moment.
    Nothing,
    /// Send it this signal.
    Send(i32),
    /// Kill it, and with it everything in the container.
    Kill,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Running,
    Asked { deadline: Instant },
    Killed,
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
                self.state = State::Asked { deadline: now + STOP_TIMEOUT };
                Action::Send(signal)
            }
            _ => self.kill(),
        }
    }

    /// Somebody wants the container to be killed.
    pub(super) fn kill(&mut self) -> Action {
        self.state = State::Killed;
        Action::Kill
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now: Instant) -> Action {
        match self.state {
            State::Asked { deadline } if deadline <= now => self.kill(),
            _ => Action::Nothing,
        }
    }

    /// When [`Stop::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Asked { deadline } => Some(deadline),
            _ => None,
        }
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
    fn without_a_signal_it_is_killed_at_once() {
        assert_eq!(Stop::new(None).request(Instant::now()), Action::Kill);
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
