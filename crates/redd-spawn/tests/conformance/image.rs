//! The tree.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("read-only", &["--read-only"], "touch /x 2>/dev/null || echo no").prints("no\n"),
];
