//! Trees: where they are found, the locks that keep writers apart, ephemeral copies in constant time.
//!
//! Everything here runs in the parent stage: as the caller, in the host's namespaces, before any clone, on one thread.
//!
//! | module | holds |
//! |---|---|
//! | [`tree`] | an opened and examined directory tree |
//! | [`locate`] | from a path or a machine name to a tree |
//! | [`lock`] | who may use a tree or a name at the same time |
//! | [`ephemeral`] | a temporary copy: the upper layer of an overlay |

pub mod ephemeral;
mod escape;
pub mod locate;
pub mod lock;
pub mod lock_file;
pub mod run_directory;
pub mod tree;

pub use run_directory::RunDirectory;
pub use tree::{FileSystem, Identity, Tree};
