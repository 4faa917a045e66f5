//! What a process has of the login that it was started from, and a machine's shall not.

use rustix::fs::{Mode, OFlags, open};

/// What is left with [`sys::process::leave_session_keyring`].
pub const KEYS: &str = "the keys of the session";

/// Who has logged in, for the kernel's audit. It is a user of the host, and so is the number of the session.
const LOGIN: &str = "/proc/self/loginuid";
/// Nobody, as the file has it.
const NOBODY: &[u8] = b"4294967295";

/// Forgets who has logged in. It takes the host's `CAP_AUDIT_CONTROL`: who has it not is in a container already, whose own
/// number this is; and a kernel without audit has no such number.
///
/// To be called with the host's proc at `/proc`.
pub fn forget() {
    let mut text = [0; 16];
    let read =
        open(LOGIN, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).and_then(|file| rustix::io::read(file, &mut text));
    // Writing it is an entry in the log of audit.
    if read.is_ok_and(|length| !text[..length].starts_with(NOBODY)) {
        let file = open(LOGIN, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
        let _ = file.and_then(|file| rustix::io::write(file, NOBODY));
    }
}
