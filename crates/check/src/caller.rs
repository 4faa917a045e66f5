//! Who asks, and what may be done by whom.

use std::path::PathBuf;

use rustix::thread::CapabilitySet;

/// The caller.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The effective user.
    pub uid: u32,
    /// The effective group.
    pub gid: u32,
    /// The user's name, where the host has one.
    pub name: Option<String>,
    /// The home directory.
    pub home: Option<PathBuf>,
    /// All ids of the kernel are there: this is no user namespace, or one that has them all.
    pub has_all_ids: bool,
    pub(crate) capabilities: CapabilitySet,
}

impl Caller {
    /// The calling process.
    #[must_use]
    pub fn probe() -> Self {
        let uid = rustix::process::geteuid().as_raw();
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let (name, home) = account(&passwd, uid).unzip();
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        Self {
            uid,
            gid: rustix::process::getegid().as_raw(),
            name,
            home: std::env::var_os("HOME").map(PathBuf::from).filter(|path| path.is_absolute()).or(home),
            has_all_ids: map.split_whitespace().eq(["0", "0", "4294967295"]),
            capabilities: rustix::thread::capabilities(None)
                .map(|sets| sets.effective)
                .unwrap_or(CapabilitySet::empty()),
        }
    }

    /// May make namespaces and mounts without users of its own.
    #[must_use]
    pub fn is_privileged(&self) -> bool {
        self.has(CapabilitySet::SYS_ADMIN)
    }

    pub(crate) fn has(&self, capability: CapabilitySet) -> bool {
        self.capabilities.contains(capability)
    }

    /// The user, for people.
    #[must_use]
    pub fn shown(&self) -> String {
        match (&self.name, self.uid) {
            (Some(name), _) => spec::printable(name),
            (None, 0) => "root".to_owned(),
            (None, uid) => format!("user {uid}"),
        }
    }
}

/// Name and home directory of a user, see [passwd(5)](https://man7.org/linux/man-pages/man5/passwd.5.html).
fn account(passwd: &str, uid: u32) -> Option<(String, PathBuf)> {
    let line = passwd.lines().find(|line| line.split(':').nth(2).is_some_and(|id| id.parse() == Ok(uid)))?;
    Some((line.split(':').next()?.to_owned(), PathBuf::from(line.split(':').nth(5)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nme:x:1000:1000::/home/me:/bin/sh\n";
        assert_eq!(account(passwd, 1000), Some(("me".to_owned(), PathBuf::from("/home/me"))));
        assert_eq!(account(passwd, 1), None);
    }
}
