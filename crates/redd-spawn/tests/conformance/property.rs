//! The unit and the registration.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::refused("no such mode", &["--register=maybe"]),
];
