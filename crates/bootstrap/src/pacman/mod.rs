//! Arch Linux and whatever else is packaged for pacman(8).
//!
//! What pacman does for a fresh root, without a pacman on the host: [`Package`] is what every part speaks of.

pub mod config;
#[allow(dead_code, reason = "databases and packages are read with it")]
mod decoder;
pub mod dependency;
pub mod desc;
pub mod fetch;
pub mod keyring;
pub mod package;
pub mod pattern;
pub mod sig_level;
pub mod verify;
pub mod version;

pub use config::Config;
pub use dependency::Dependency;
pub use keyring::Keyring;
pub use package::{Candidate, Package};
pub use sig_level::SigLevel;
pub use version::Version;
