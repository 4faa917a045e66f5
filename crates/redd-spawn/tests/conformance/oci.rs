//! OCI bundles.

use super::case::Case;

pub(crate) const CASES: &[Case] = &[
    Case::refused("no bundle", &["--oci-bundle={host}/nonexistent"]),
];
