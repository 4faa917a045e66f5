//! User namespaces.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("a range", &["--private-users=524288:65536"], "cat /proc/self/uid_map").own_tree(),
];
