//! What the payload may do.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("dropped", &["--drop-capability=CAP_KILL"], "grep CapBnd /proc/self/status"),
];
