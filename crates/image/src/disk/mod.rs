//! Disk images: a file or block device with a file system in it, or with a partition table and several.
//!
//! An image is hostile input. What is read here is compared with what is there before it is used; the file systems
//! themselves are the kernel's to judge.
//!
//! | module | holds |
//! |---|---|
//! | [`storage`] | bytes to read |
//! | [`format`](mod@format) | what a partition holds |
//! | [`role`] | what a partition is for |
//! | `gpt`, `mbr` | tables of partitions |
//! | [`layout`] | which partitions are used |
//! | `version` | which of two is newer |
//! | [`range`] | one file system somewhere in a file, mounted to be read
//! | [`attach`] | loop devices and mounts |
//! | `usr_root` | the root of images that have `/usr` alone |

pub mod attach;
pub mod format;
mod gpt;
pub mod layout;
mod mbr;
pub mod range;
pub mod role;
pub mod storage;
mod usr_root;
pub(crate) mod version;

pub use attach::Disk;
pub use format::Format;
pub use layout::{Layout, dissect};
pub use role::Role;

#[cfg(test)]
mod tests;
