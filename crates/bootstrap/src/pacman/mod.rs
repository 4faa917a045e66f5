//! Arch Linux and whatever else is packaged for pacman(8).
//!
//! What pacman does for a fresh root, without a pacman on the host: [`Package`] is what every part speaks of.
//!
//! - [`Config`] reads pacman.conf(5): options, and the repositories with their servers and signature levels.
//! - [`SyncDatabase`] reads what a repository offers, each package a [`Candidate`].
//! - [`resolve`](fn@resolve::resolve) decides what is installed, in which order and why; it asks through
//!   [`resolve::Questions`].

pub mod archive;
pub mod config;
pub mod conflict;
pub mod database;
mod decoder;
pub mod dependency;
pub mod desc;
pub mod distribution;
pub mod fetch;
pub mod hook;
pub mod keyring;
pub mod local;
pub mod lock;
mod log;
pub mod mtree;
pub mod package;
pub mod pattern;
pub mod pkginfo;
mod remove;
pub mod resolve;
pub mod scriptlet;
pub mod sig_level;
pub mod space;
pub mod strap;
pub mod target;
#[cfg(test)]
mod test_package;
pub mod transaction;
pub mod unpack;
pub mod verify;
pub mod version;

pub use config::Config;
pub use database::SyncDatabase;
pub use dependency::Dependency;
pub use keyring::Keyring;
pub use package::{Candidate, Package};
pub use sig_level::SigLevel;
pub use transaction::Transaction;
pub use version::Version;
