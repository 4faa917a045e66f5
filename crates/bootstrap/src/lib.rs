//! OS installers: an operating system's packages are fetched, verified, resolved, unpacked and configured into a tree
//! without any of that system's tools on the host.

pub mod apt;
pub mod cache;
pub mod container;
pub mod digest;
pub mod download;
pub mod extract;
pub mod http;
pub mod interrupt;
mod open_files;
pub mod pacman;
pub mod progress;
pub mod staging;
pub mod tar_reader;
pub mod tree;
pub mod trust;

#[cfg(test)]
mod test_server;
