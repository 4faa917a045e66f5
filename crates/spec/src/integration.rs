//! What of the host's configuration is seen inside: the types of the group "Integration with the host".

use std::path::PathBuf;

use serde::Serialize;

/// All of the group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct IntegrationSpec {
    /// How `/etc/resolv.conf` gets inside.
    pub resolv_conf: ResolvConfMode,
    /// How `/etc/localtime` gets inside.
    pub timezone: TimezoneMode,
    /// Whether the host sees the container's journal.
    pub link_journal: LinkJournal,
    /// Where the container's journal is written on the host, beside its own.
    pub forward_journal: Option<ForwardJournal>,
}

/// How a file of the host gets inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Conveyance {
    /// Copied, unless something else than a regular file is there.
    Copy,
    /// Copied, in place of whatever is there.
    Replace,
    /// Mounted on top, read-only.
    Bind,
}

/// `--resolv-conf=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum ResolvConfMode {
    /// As it is in the tree.
    Off,
    /// This file of the host's, in this way.
    Take(Conveyance, ResolvConfSource),
    /// There is none inside.
    Delete,
    /// As fits the network and the tree.
    #[default]
    Auto,
}

/// Which of the host's files says how names are resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum ResolvConfSource {
    /// Its `/etc/resolv.conf`.
    Host,
    /// The one that comes with systemd-resolved.
    Static,
    /// systemd-resolved's, with the servers that it asks.
    Uplink,
    /// systemd-resolved's, with itself as the server.
    Stub,
}

impl ResolvConfSource {
    /// Where the host has it, see systemd-resolved.service(8).
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Host => "/etc/resolv.conf",
            Self::Static => "/usr/lib/systemd/resolv.conf",
            Self::Uplink => "/run/systemd/resolve/resolv.conf",
            Self::Stub => "/run/systemd/resolve/stub-resolv.conf",
        }
    }
}

/// `--timezone=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum TimezoneMode {
    /// As it is in the tree.
    Off,
    /// A copy of the host's, in place of whatever is there.
    Copy,
    /// The host's is mounted on top, read-only.
    Bind,
    /// A link to the container's own data of the same zone.
    Symlink,
    /// There is none inside.
    Delete,
    /// As fits the host's file and the tree.
    #[default]
    Auto,
}

/// `--link-journal=`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LinkJournal {
    /// It does not.
    No,
    /// It is written to a directory of the host's.
    Host {
        /// If the host keeps journals.
        optional: bool,
    },
    /// The host has a link to the container's directory.
    Guest {
        /// If the host keeps journals.
        optional: bool,
    },
    /// As an earlier start has prepared it.
    #[default]
    Auto,
}

/// `--forward-journal=`, and the limits that go with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ForwardJournal {
    /// A file where it ends in `.journal`, else a directory.
    pub path: PathBuf,
    /// How much it may take.
    pub limits: JournalLimits,
}

/// How much forwarded journals may take, see journal-remote.conf(5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JournalLimits {
    /// All files together, in bytes.
    pub max_use: Option<u64>,
    /// What they leave free on the file system, in bytes.
    pub keep_free: Option<u64>,
    /// One file, in bytes.
    pub max_file_size: Option<u64>,
    /// The number of files.
    pub max_files: Option<u64>,
}

impl JournalLimits {
    /// Each as a switch of systemd-journal-remote(8) has it.
    #[must_use]
    pub fn all(&self) -> [(&'static str, Option<u64>); 4] {
        [
            ("max-use", self.max_use),
            ("keep-free", self.keep_free),
            ("max-file-size", self.max_file_size),
            ("max-files", self.max_files),
        ]
    }

    /// The options that have set them, for messages: `--forward-journal-max-use=, --forward-journal-max-files=`. Empty
    /// where none has.
    #[must_use]
    pub fn options(&self) -> String {
        let given = self.all().into_iter().filter(|(_, value)| value.is_some());
        given.map(|(name, _)| format!("--forward-journal-{name}=")).collect::<Vec<_>>().join(", ")
    }
}
