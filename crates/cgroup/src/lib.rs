//! Control groups: where they are on this host, and the group of a payload.

pub mod device;
mod group;
mod layout;

pub use group::{Error, Group};
pub use layout::Layout;
