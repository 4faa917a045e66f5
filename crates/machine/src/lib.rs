//! Machines that run: a directory on the host is the truth, and every machine is steered by its own supervisor.
//!
//! No daemon is needed for any of it. Whoever looks after a machine writes its [`State`] to [`Registry`] and takes it away
//! in the end; who lists machines passes over those whose keeper died, and removes them.
//!
//! | module | holds |
//! |---|---|
//! | [`registry`] | where entries are, how they are made, found and recognised as stale |
//! | [`machines`] | all machines of the host, also those that systemd-machined keeps |
//! | [`addresses`], [`os_release`] | what is seen of a machine from outside |
//! | [`state`] | what an entry says |
//! | [`process`] | a process, recognised beyond its number |
//! | [`confinement`] | what commands that are run inside later may do |
//! | [`control`] | how a machine is steered, by its supervisor or directly |
//! | [`group`] | all processes of a machine |
//! | [`log`] | where the output of machines in the background is kept |
//! | [`init`] | init systems, and how they are asked to end |
//! | [`join`] | commands in a machine that runs |
//! | [`manager`] | logins and shells by the service manager inside |
//! | [`terminal`] | terminals of a machine without anything on them |
//! | [`bind`] | files of the host shown in a machine that runs |
//! | [`transfer`] | files copied into a machine that runs, or out of it |
//! | [`entrance`] | the way to the files of a machine that runs |
//! | [`rlimit`] | resource limits, as far as they can be set |
//! | [`passwd`], [`program`] | users of inside, and becoming one of its programs |

pub mod addresses;
pub mod bind;
pub mod confinement;
pub mod control;
pub mod entrance;
mod entry_file;
mod errand;
pub mod group;
pub mod init;
mod instructions;
pub mod join;
pub mod log;
pub mod login;
pub mod machines;
pub mod manager;
pub mod os_release;
pub mod passwd;
pub mod process;
pub mod program;
mod read;
pub mod registry;
pub mod rlimit;
mod side_by_side;
pub mod state;
pub mod terminal;
pub mod transfer;

pub use confinement::Confinement;
pub use log::{former_log_path, log_path};
pub use os_release::OsRelease;
pub use process::Process;
pub use registry::{Machine, Registry};
pub use state::{Class, State};
