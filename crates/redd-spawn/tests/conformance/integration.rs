//! The host's configuration inside.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::refused("no mode", &["--resolv-conf=bogus"]),
];
