//! The console.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("a pipe is no terminal", &["--console=pipe"], "test -t 0 || echo none").prints("none\n"),
];
