//! Debian and Ubuntu.
//!
//! [`distribution`] and [`host_configuration`] give a [`Source`]; [`archive::Archive::open`] fetches and verifies what
//! the source offers; the packages chosen from it are downloaded into a [`cache::Cache`] that later runs share.

pub mod archive;
pub mod ask_apt;
pub mod bare;
mod compression;
pub mod configure;
pub mod container;
pub mod control;
pub mod deb;
pub mod distribution;
pub mod dpkg_database;
mod extended_states;
pub mod first_boot;
pub mod host_configuration;
pub mod install;
pub mod order;
pub mod package;
pub mod relation;
pub mod release;
pub mod resolve;
mod source;
pub mod unpack;
pub mod variant;
pub mod version;

pub use crate::cache;
pub use source::{Keyring, Source};
