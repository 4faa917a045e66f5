//! Installation media and other images of systems become machine trees: ISO 9660 with a squashfs or EROFS in it, such
//! file systems alone, archives.
//!
//! All of it is hostile input. What is read here is read by memory-safe code that believes nothing; what the kernel
//! mounts is the kernel's to judge, and only where the caller wants that.
//!
//! | module | holds |
//! |---|---|
//! | [`import`] | from a file to a tree |
//! | [`format`](mod@format) | what a file is |
//! | [`choose`] | which file of a medium has the system |
//! | [`iso`] | ISO 9660 with Rock Ridge and Joliet |
//! | [`squashfs`], [`erofs`] | these file systems, read here |
//! | [`reader`] | what both have in common |
//! | [`unpack`] | from a [`reader`] into a directory |
//! | [`mounted`] | from file systems that the kernel mounts |
//! | [`tarball`] | from an archive |
//! | [`extents`], [`bytes`] | parts of files, fields of bytes |

pub mod bytes;
pub mod choose;
pub mod erofs;
pub mod extents;
pub mod format;
pub mod import;
pub mod iso;
pub mod mounted;
pub mod reader;
pub mod squashfs;
pub mod tarball;
pub mod unpack;
