//! Credentials.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::refused("no name", &["--set-credential=:x"]),
];
