//! A distribution as those are that pacman installs: packages, signed repositories, keyrings, and hosts that use them.
//!
//! Nothing of it comes from a mirror: the packages are made here with the real makepkg(8) of the files of a Debian.

mod cut;
mod host;
mod keys;
mod recipe;
mod repository;
mod system;
mod work;

pub use host::{Host, Installer};
pub use system::System;
