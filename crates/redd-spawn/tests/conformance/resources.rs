//! What the payload may use.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("limit", &["--rlimit=NOFILE=77"], "ulimit -n").prints("77\n"),
];
