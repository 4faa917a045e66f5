//! Whether a machine that has ended is started again.

use std::collections::VecDeque;
use std::fmt::{self, Display, Formatter};
use std::time::{Duration, Instant};

/// How many starts there may be within [`PERIOD`].
const MOST_STARTS: usize = 5;
/// See [`MOST_STARTS`].
const PERIOD: Duration = Duration::from_secs(60);
/// How long after its end a machine is started again.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

/// When a machine that has ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Policy {
    /// Never
    #[default]
    No,
    /// When it has ended with another exit code than 0, or by a signal
    OnFailure,
    /// Whenever it has ended, unless redd was told to end it
    Always,
}

impl Policy {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure => "on-failure",
            Self::Always => "always",
        }
    }

    /// The one of this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::No, Self::OnFailure, Self::Always].into_iter().find(|policy| policy.name() == name)
    }

    /// Whether it is started again after this end.
    pub(super) fn wants(self, end: End) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure => end != End::Code(0),
            Self::Always => true,
        }
    }
}

/// How a supervisor has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// By itself.
    Code(i32),
    /// It was killed.
    Signal(i32),
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "was ended by signal {signal}"),
        }
    }
}

/// Remembers starts, so that what fails at once does not do so for ever.
#[derive(Debug, Default)]
pub(super) struct Limit {
    starts: VecDeque<Instant>,
}

impl Limit {
    /// Notes a start. False if there were too many of late, and there shall be no further one.
    pub(super) fn allows(&mut self, now: Instant) -> bool {
        self.starts.retain(|start| now.saturating_duration_since(*start) < PERIOD);
        if self.starts.len() >= MOST_STARTS {
            return false;
        }
        self.starts.push_back(now);
        true
    }

    /// For people.
    pub(super) fn in_words() -> String {
        format!("it has been started {MOST_STARTS} times within {} s", PERIOD.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies() {
        let ends = [End::Code(0), End::Code(1), End::Signal(9)];
        for (policy, wanted) in [
            (Policy::No, [false, false, false]),
            (Policy::OnFailure, [false, true, true]),
            (Policy::Always, [true, true, true]),
        ] {
            assert_eq!(ends.map(|end| policy.wants(end)), wanted, "{policy:?}");
            assert_eq!(Policy::from_name(policy.name()), Some(policy));
        }
        assert_eq!(Policy::from_name("sometimes"), None);
    }

    #[test]
    fn five_starts_a_minute() {
        let (mut limit, begin) = (Limit::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        for second in 0..5 {
            assert!(limit.allows(at(second)));
        }
        assert!(!limit.allows(at(5)) && !limit.allows(at(59)));
        assert!(limit.allows(at(60)), "the first one is long ago");
        assert!(!limit.allows(at(60)));
    }
}
