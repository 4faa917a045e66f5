//! Decides how long somebody may wait for a reader that does not keep up. No clock and no descriptor in here.
//!
//! A buffer that is full holds its writer up, as any terminal does. That is right for a reader who is busy, and wrong for one who
//! went away: after a while in which next to nothing was taken, the reader counts as stalled and the oldest (or newest) bytes are
//! to be dropped instead, until half of the buffer is free again.

use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is room, or there was a moment ago.
    Flowing,
    /// Full; so much was taken since then.
    Full { since: Instant, taken: usize },
    /// The reader does not keep up: drop.
    Stalled,
}

/// How a reader keeps up.
#[derive(Debug)]
pub(super) struct Stall {
    pace: usize,
    patience: Duration,
    state: State,
}

impl Stall {
    /// For a reader who should take `pace` bytes within the time of `patience`.
    pub(super) fn new(pace: usize, patience: Duration) -> Self {
        Self { pace, patience, state: State::Flowing }
    }

    /// Somebody cannot go on, because the buffer is full.
    pub(super) fn full(&mut self, now: Instant) {
        if self.state == State::Flowing {
            self.state = State::Full { since: now, taken: 0 };
        }
    }

    /// The reader took `count` bytes; `relaxed` if half of the buffer is free now.
    pub(super) fn taken(&mut self, count: usize, relaxed: bool) {
        if relaxed {
            self.state = State::Flowing;
        } else if let State::Full { taken, .. } = &mut self.state {
            *taken = taken.saturating_add(count);
        }
    }

    /// Time has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        if let State::Full { since, taken } = self.state
            && now.saturating_duration_since(since) >= self.patience
        {
            self.state = if taken >= self.pace { State::Full { since: now, taken: 0 } } else { State::Stalled };
        }
    }

    /// When [`Stall::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Full { since, .. } => Some(since + self.patience),
            _ => None,
        }
    }

    /// Whether bytes are to be dropped rather than waited for.
    pub(super) fn is_stalled(&self) -> bool {
        self.state == State::Stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[test]
    fn a_reader_who_takes_nothing_stalls_after_a_second() {
        let now = Instant::now();
        let mut stall = Stall::new(100, PATIENCE);
        assert_eq!(stall.deadline(), None);
        stall.full(now);
        stall.full(now + PATIENCE / 2);
        assert_eq!(stall.deadline(), Some(now + PATIENCE));
        stall.expire(now + PATIENCE / 2);
        assert!(!stall.is_stalled());
        stall.expire(now + PATIENCE);
        assert!(stall.is_stalled());
        assert_eq!(stall.deadline(), None);
    }

    #[test]
    fn a_reader_at_the_pace_is_waited_for() {
        let mut now = Instant::now();
        let mut stall = Stall::new(100, PATIENCE);
        for _ in 0..5 {
            stall.full(now);
            stall.taken(50, false);
            stall.taken(50, false);
            now += PATIENCE;
            stall.expire(now);
            assert!(!stall.is_stalled());
        }
        stall.taken(99, false);
        stall.expire(now + PATIENCE);
        assert!(stall.is_stalled());
    }

    #[test]
    fn a_stalled_reader_must_catch_up() {
        let now = Instant::now();
        let mut stall = Stall::new(1, PATIENCE);
        stall.full(now);
        stall.expire(now + PATIENCE);
        stall.taken(1000, false);
        assert!(stall.is_stalled());
        stall.taken(1, true);
        assert!(!stall.is_stalled());
        assert_eq!(stall.deadline(), None);
    }
}
