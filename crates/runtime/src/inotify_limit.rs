//! The one limit of the host that many booted machines reach first: how many inotify(7) instances a user may have. All that
//! runs as root in any machine counts for whoever started the machine, and an init system that gets none gives up with
//! words that do not name the limit.

use std::os::fd::OwnedFd;

use rustix::fs::inotify::{CreateFlags, init};
use rustix::io::Errno;

/// What an init system and the first of its services take, at the least.
const NEEDED: usize = 6;
const LIMIT: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Tells whoever starts a machine that boots if there is not enough left for it.
pub(crate) fn tell_shortage(boots: bool, say: &dyn Fn(&str)) {
    if boots && !available(NEEDED) {
        say(&words(limit()));
    }
}

/// Tells whoever has started a machine that has failed. Its own instances are free again then, and those of others may be:
/// what it `said` on its console is what is left to know it by.
pub(crate) fn tell_after_failure(said: bool, say: &dyn Fn(&str)) {
    if !available(NEEDED) {
        say(&words(limit()));
    } else if said {
        say(&words_of_its_own(limit()));
    }
}

fn limit() -> Option<u64> {
    std::fs::read_to_string(LIMIT).ok().and_then(|text| text.trim().parse().ok())
}

/// Whether there are this many. They are taken, which is the only way to know, and given back at once.
fn available(count: usize) -> bool {
    let mut taken: Vec<OwnedFd> = Vec::with_capacity(count);
    for _ in 0..count {
        match init(CreateFlags::CLOEXEC) {
            Ok(fd) => taken.push(fd),
            // The limit of the user, or of descriptors of this process: that one is far away.
            Err(Errno::MFILE) => return false,
            Err(_) => return true,
        }
    }
    true
}

fn words(limit: Option<u64>) -> String {
    let now = now(limit);
    let more = more(limit);
    format!(
        "The host has no inotify instances left for this machine{now}: its init system fails with \"Too many open \
         files\". {more}"
    )
}

fn words_of_its_own(limit: Option<u64>) -> String {
    let now = now(limit);
    let more = more(limit);
    format!(
        "The machine has said \"Too many open files\": most often all inotify instances of the host were in use when \
         it came up{now}. {more}"
    )
}

fn now(limit: Option<u64>) -> String {
    limit.map_or_else(String::new, |limit| format!(" (fs.inotify.max_user_instances is {limit})"))
}

fn more(limit: Option<u64>) -> String {
    let wanted = limit.unwrap_or(128).saturating_mul(4).max(1024);
    format!("More are allowed with: sysctl fs.inotify.max_user_instances={wanted}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_named_with_the_next_step() {
        let text = words(Some(128));
        assert!(
            text.contains("max_user_instances is 128") && text.ends_with("sysctl fs.inotify.max_user_instances=1024")
        );
        assert!(words(Some(8192)).ends_with("=32768"));
        let text = words_of_its_own(Some(128));
        assert!(text.contains("max_user_instances is 128") && text.ends_with("max_user_instances=1024"));
    }

    #[test]
    fn what_is_taken_is_given_back() {
        for _ in 0..100 {
            assert!(available(1));
        }
    }
}
