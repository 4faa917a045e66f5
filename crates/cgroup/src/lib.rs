//! Control groups: where they are on this host, the group of a payload, and the unit that it may be in.

pub mod device;
mod group;
mod layout;
mod leftover;
pub mod limit;
pub mod scope;
mod subtree;
pub mod unit;
pub mod usage;
pub mod view;

pub use group::{Error, Group};
pub use layout::Layout;
pub use leftover::{Certainty, is_left, machines, remove_dead};
pub use view::View;
