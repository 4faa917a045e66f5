//! A distribution as those are that pacman installs: packages, signed repositories, keyrings, and hosts that use them.
//!
//! Nothing of it comes from a mirror: the packages are made here with the real makepkg(8) of the files of a Debian.

mod crafted;
mod cut;
mod host;
mod keys;
mod listing;
mod recipe;
mod repository;
mod system;
mod work;

pub use crafted::{Crafted, Crafts};
pub use host::{Host, Installer};
pub use listing::Listing;
pub use system::System;
