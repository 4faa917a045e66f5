//! The network.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("private", &["--private-network"], "ls /sys/class/net").prints("lo\n"),
];
