//! Users of the host inside.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::refused("a user that is not there", &["--bind-user=nosuchuser", "--private-users=pick"]),
];
