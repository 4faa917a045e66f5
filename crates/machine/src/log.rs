//! Where the output of machines is kept that run in the background without a service manager.
//!
//! Machines that were started with `redd start` on such a host have what they and their supervisor print written there, as
//! it is: it comes from inside and is not to be trusted. The directory is root's alone.

use std::path::{Path, PathBuf};

/// The directory of the logs; it vanishes with the host's reboot.
pub const DIRECTORY: &str = "/run/redd/logs";

/// How long the file of [`log_path`] becomes, in bytes, before it takes the place of that of [`former_log_path`].
pub const LONGEST: u64 = 4 << 20;

/// The log of a machine of this name, whether there is one or not. It is appended to, and renamed to
/// [`former_log_path`] when it has become [`LONGEST`]; whoever follows it finds the next one under the same name.
#[must_use]
pub fn log_path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// What was in the log before, if it was long. No machine's name begins with a dot, so it is nobody else's log.
#[must_use]
pub fn former_log_path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!(".{name}.former"))
}
