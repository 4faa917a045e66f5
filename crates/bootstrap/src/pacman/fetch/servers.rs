//! Which servers have failed so often that they are not asked any more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::http::without_credentials;
use crate::progress::Progress;

/// So many failures are too many: as pacman.
const TOO_MANY: u32 = 3;

/// Remembers in a run which servers could not be reached, so that they are not waited for again for each file.
#[derive(Debug, Default)]
pub struct Servers {
    /// By their scheme, name and port: what else they have is not to be had, either.
    failures: Mutex<HashMap<String, Failures>>,
}

#[derive(Debug, Default)]
struct Failures {
    count: u32,
    told: bool,
}

impl Servers {
    /// Those of the servers that have not failed too often, or else the last one. Of each that is left out a person is
    /// told once.
    pub(super) fn worth_asking<'s>(&self, servers: &'s [String], progress: &dyn Progress) -> Vec<&'s str> {
        let mut failures = self.lock();
        let (dead, alive): (Vec<&str>, Vec<&str>) = servers
            .iter()
            .map(String::as_str)
            .partition(|server| failures.get(authority(server)).is_some_and(|failed| failed.count >= TOO_MANY));
        let (dead, worth) = match (alive.is_empty(), dead.split_last()) {
            (true, Some((last, others))) => (others.to_vec(), vec![*last]),
            _ => (dead, alive),
        };
        for authority in dead.into_iter().map(authority) {
            if let Some(failed) = failures.get_mut(authority).filter(|failed| !failed.told) {
                failed.told = true;
                let shown = without_credentials(authority);
                progress.notice(&format!("'{shown}' has failed {} times and is not asked any more", failed.count));
            }
        }
        worth
    }

    /// The server could not be reached.
    pub(super) fn failed(&self, server: &str) {
        self.lock().entry(authority(server).to_owned()).or_default().count += 1;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The scheme, name and port in an address.
fn authority(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    url[start..].find('/').map_or(url, |at| &url[..start + at])
}
