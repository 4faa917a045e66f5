//! Mounts beside the root.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::inside("tmpfs", &["--tmpfs=/mnt"], "stat -f -c %T /mnt").prints("tmpfs\n"),
];
