//! Trees: where they are found, the locks that keep writers apart, ephemeral copies in constant time.
//!
//! Everything here runs in the parent stage: as the caller, in the host's namespaces, before any clone, on one thread.
//!
//! | module | holds |
//! |---|---|
//! | [`tree`] | an opened and examined directory tree |
//! | [`locate`] | from a path or a machine name to a tree |
//! | [`lock`] | who may use a tree or a name at the same time |
//! | [`record`] | what a run has made, for whoever has to undo it |
//! | [`holder`] | temporary directories that are found again |
//! | [`disk`] | disk images: partition tables, loop devices, mounts |
//! | [`ephemeral`] | a temporary copy: snapshot, overlay or faithful copy |
//! | [`template`] | a new tree made from another one |
//! | [`snapshot`], [`copy`] | how both are made |
//! | [`pool`] | the images that are installed |
//! | [`mounted`] | where something is mounted |
//! | [`remove`] | removal of what may be hostile |

pub mod access_list;
pub mod copy;
pub mod disk;
pub mod ephemeral;
mod escape;
pub mod holder;
pub mod locate;
pub mod lock;
pub mod lock_file;
mod marks;
pub mod mounted;
mod peer;
pub mod pool;
pub mod record;
pub mod remove;
pub mod run_directory;
pub mod shift;
pub mod snapshot;
pub mod template;
pub mod tree;

pub use run_directory::RunDirectory;
pub use tree::{FileSystem, Identity, Tree};
