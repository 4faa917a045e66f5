//! Control groups: where they are on this host, and the group of a payload.

pub mod device;
mod group;
mod layout;
mod leftover;

pub use group::{Error, Group};
pub use layout::Layout;
pub use leftover::{Certainty, machines, remove_dead};
