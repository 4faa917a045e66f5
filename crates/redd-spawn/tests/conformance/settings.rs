//! Settings files.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::refused("no such mode", &["--settings=maybe"]),
];
