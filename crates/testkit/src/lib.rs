//! What the tests of redd share.
//!
//! - [`arch`]: a distribution as those are that pacman installs.
//! - [`requires!`]: what a test needs of the machine; a test that lacks it says so and does nothing, or fails where
//!   `REDD_REQUIRED=1` is set.
//! - [`fixture`]: trees to run, small ones and a real Debian.
//! - [`disk`]: file systems of a test's own.
//! - [`Isolated`]: mount table, network links and run-time directories that belong to one test alone.
//! - [`HostState`]: what must be the same before and after.
//! - [`group_value`]: what is written in a machine's control groups.
//! - [`ManagedHost`]: a host with systemd, booted for a test.
//! - [`Running`]: a machine that runs while a test looks at it.
//! - [`Screen`]: our end of a terminal that a test was given.
//! - [`Spawn`]: runs the engine, ours or the installed reference, with a time limit.
//! - [`Terminal`]: a program on a pseudo-terminal.
//! - [`TreeState`]: two trees that ought to be equal.

pub mod arch;
mod control_group;
pub mod disk;
pub mod fixture;
mod host_state;
mod isolated;
pub mod managed_host;
mod requirement;
mod running;
mod screen;
mod spawn;
mod terminal;
mod tree_state;
mod watch;

pub use control_group::group_value;
pub use host_state::HostState;
pub use isolated::Isolated;
pub use managed_host::ManagedHost;
pub use requirement::{Requirement, missing};
pub use running::Running;
pub use screen::Screen;
pub use spawn::{Ended, Engine, Spawn, run_limited};
pub use terminal::Terminal;
pub use tree_state::{TreeDifference, TreeDifferenceKind, TreeEntry, TreeState};
pub use watch::OpenWatch;

/// The path of the probe, a static program that runs in any tree. Its first argument says what it does; see its source.
pub const PROBE: &str = env!("REDD_STATIC_PROBE");
