//! Users of the host inside.

use serde::Serialize;

use crate::AbsPath;

/// `--bind-user=` and what belongs to it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BindUsersSpec {
    /// Their names on the host, each once.
    pub users: Vec<String>,
    /// Their login shell.
    pub shell: UserShell,
    /// Groups of the container that they are members of, each once.
    pub groups: Vec<String>,
}

/// `--bind-user-shell=`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub enum UserShell {
    /// What the container gives to who has none of his own.
    #[default]
    Containers,
    /// The one that they have on the host.
    Hosts,
    /// This one.
    Path(AbsPath),
}

/// Whether this can be the name of a user or a group everywhere (<https://systemd.io/USER_NAMES>).
#[must_use]
pub fn is_user_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    first && name.len() <= 31 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
