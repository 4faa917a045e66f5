//! The stages that carry a plan out, one module each. Data flows one way: launch → outer → inner → payload.

mod credentials;
mod custom_overlay;
mod delegated_mount;
mod destination;
mod device;
pub mod files;
mod host_file;
pub(crate) mod id_map;
pub mod inner;
mod journal;
pub mod kept;
pub mod launch;
mod new_mount;
pub mod outer;
pub mod overlay;
mod partition;
pub mod payload;
mod stub_init;

use std::path::Path;

/// Where the new root is put together, in a mount namespace that nobody else sees: a directory that every host has and
/// no tree lies in.
pub const ASSEMBLY: &str = "/dev";

fn assembly() -> &'static Path {
    Path::new(ASSEMBLY)
}
