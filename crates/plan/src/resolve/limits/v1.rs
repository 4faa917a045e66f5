//! What is called otherwise in version 1.

/// The lowest value of `cpu.shares`.
pub(super) const LOWEST_SHARES: u64 = 2;
/// A controller of version 1 alone: cgroup2 counts the time of processors without any.
pub(super) const COUNTED_CPU: &str = "cpuacct";

/// The controller's name.
pub(super) fn controller(unified: &'static str) -> &'static str {
    if unified == "io" { "blkio" } else { unified }
}

/// Limits of a group hold for the groups below it, too. Those of disks do not, see
/// <https://docs.kernel.org/admin-guide/cgroup-v1/blkio-controller.html>.
pub(super) fn is_inherited(controller: &str) -> bool {
    controller != "blkio"
}

/// From a weight to a value of `cpu.shares`: from 100 to 1024, which are the defaults.
pub(super) fn shares(weight: u64) -> u64 {
    (weight * 1024 / 100).clamp(LOWEST_SHARES, 262_144)
}
