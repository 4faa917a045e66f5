//! The names of resource limits, from ours to the system call's.

use rustix::process::Resource;

/// The same resource as getrlimit(2) takes it.
pub(crate) fn resource(resource: spec::Resource) -> Resource {
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
