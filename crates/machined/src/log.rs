//! What the service tells whoever started it: lines on standard error, with the priorities of sd-daemon(3) where the journal
//! reads them.

use std::io::Write;
use std::sync::atomic::{AtomicI64, Ordering};

/// Priorities, see syslog(3).
const ERROR: i64 = 3;
const WARNING: i64 = 4;
/// The lowest priority that is told.
static LEVEL: AtomicI64 = AtomicI64::new(6);

/// Tells from now on what has at least this priority: 0 is the highest, 7 the lowest.
pub(crate) fn set_level(level: i64) {
    LEVEL.store(level, Ordering::Relaxed);
}

/// Tells of something that went wrong without stopping the rest.
pub(crate) fn warn(error: &dyn std::error::Error) {
    tell(WARNING, error);
}

/// Tells of what ends the service.
pub(crate) fn error(error: &dyn std::error::Error) {
    tell(ERROR, error);
}

fn tell(priority: i64, error: &dyn std::error::Error) {
    if LEVEL.load(Ordering::Relaxed) < priority {
        return;
    }
    let text = chain(error);
    let journal = std::env::var_os("JOURNAL_STREAM").is_some();
    let prefix = if journal { format!("<{priority}>") } else { "systemd-machined: ".to_owned() };
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "{prefix}{}", spec::printable(&text));
}

/// An error with its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(&format!(": {error}"));
        source = error.source();
    }
    text
}
