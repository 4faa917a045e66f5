//! Resource limits: their names, from ours to the system call's, and how far they can be set.

use rustix::process::{Resource, Rlimit};

/// The same resource as getrlimit(2) takes it.
#[must_use]
pub fn resource(resource: spec::Resource) -> Resource {
    use spec::Resource as R;
    match resource {
        R::Cpu => Resource::Cpu,
        R::FileSize => Resource::Fsize,
        R::Data => Resource::Data,
        R::Stack => Resource::Stack,
        R::Core => Resource::Core,
        R::ResidentSet => Resource::Rss,
        R::Processes => Resource::Nproc,
        R::OpenFiles => Resource::Nofile,
        R::LockedMemory => Resource::Memlock,
        R::AddressSpace => Resource::As,
        R::Locks => Resource::Locks,
        R::PendingSignals => Resource::Sigpending,
        R::MessageQueue => Resource::Msgqueue,
        R::Nice => Resource::Nice,
        R::RealTimePriority => Resource::Rtprio,
        R::RealTimeTimeout => Resource::Rttime,
    }
}

/// The limit that is as wanted, as far as who has this one may have it: who cannot raise it keeps to what there is.
#[must_use]
pub fn within(wanted: &Rlimit, present: &Rlimit) -> Rlimit {
    let maximum = least(wanted.maximum, present.maximum);
    Rlimit { current: least(wanted.current, maximum), maximum }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lesser_limit_counts() {
        let limit = |current, maximum| Rlimit { current, maximum };
        assert_eq!(within(&limit(Some(1), None), &limit(Some(5), Some(3))), limit(Some(1), Some(3)));
        assert_eq!(within(&limit(None, None), &limit(Some(5), None)), limit(None, None));
        assert_eq!(within(&limit(Some(9), Some(9)), &limit(Some(1), Some(2))), limit(Some(2), Some(2)));
    }
}
