//! Names and ids.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("host name", &["--hostname=other"], "uname -n").prints("other\n"),
];
