//! Disk images.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::refused("no image", &["--image={host}/nonexistent"]),
];
