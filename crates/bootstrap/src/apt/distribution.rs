//! The distributions and where they are found.

use std::fmt;
use std::str::FromStr;

/// A distribution that is installed from an archive of `.deb` packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Distribution {
    /// Debian.
    Debian,
    /// Ubuntu.
    Ubuntu,
}

/// The name is no known distribution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a distribution that can be installed: debian, ubuntu")]
pub struct Unknown(String);

impl FromStr for Distribution {
    type Err = Unknown;

    fn from_str(name: &str) -> Result<Self, Unknown> {
        match name {
            "debian" => Ok(Self::Debian),
            "ubuntu" => Ok(Self::Ubuntu),
            other => Err(Unknown(other.to_owned())),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Distribution {
    /// The name, as in the `ID=` of os-release(5).
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::Ubuntu => "ubuntu",
        }
    }

    /// The suite that is installed where none is asked for: the stable release, the newest with long-term support.
    pub fn default_suite(self) -> &'static str {
        match self {
            Self::Debian => "trixie",
            Self::Ubuntu => "noble",
        }
    }

    /// The components that are used where none are asked for.
    pub fn default_components(self) -> &'static [&'static str] {
        match self {
            Self::Debian | Self::Ubuntu => &["main"],
        }
    }

    /// The distribution's own mirror, which has all suites that are still supported.
    pub fn default_mirror(self, architecture: &str) -> &'static str {
        match self {
            Self::Debian => "http://ftp.debian.org/debian",
            Self::Ubuntu if matches!(architecture, "amd64" | "i386") => "http://archive.ubuntu.com/ubuntu",
            Self::Ubuntu => "http://ports.ubuntu.com/ubuntu-ports",
        }
    }

    /// The certificates of the archive, in the OpenPGP packet format, as built into this program.
    pub fn keyring(self) -> &'static [u8] {
        match self {
            Self::Debian => include_bytes!("../../keyrings/debian-archive-keyring.pgp"),
            Self::Ubuntu => include_bytes!("../../keyrings/ubuntu-archive-keyring.pgp"),
        }
    }

    /// Whether `suite` is the name of a release (not of its updates, its backports and the like).
    pub fn has_release(self, suite: &str) -> bool {
        let releases: &[&str] = match self {
            Self::Debian => &[
                "bullseye",
                "bookworm",
                "trixie",
                "forky",
                "duke",
                "sid",
                "oldoldstable",
                "oldstable",
                "stable",
                "testing",
                "unstable",
            ],
            Self::Ubuntu => &["focal", "jammy", "noble", "oracular", "plucky", "questing", "resolute", "devel"],
        };
        releases.contains(&suite)
    }
}

/// This machine's architecture by its name in Debian, where Debian has it.
pub fn host_architecture() -> Option<&'static str> {
    Some(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "x86" => "i386",
        "aarch64" => "arm64",
        "arm" => "armhf",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64el",
        "riscv64" => "riscv64",
        "s390x" => "s390x",
        "loongarch64" => "loong64",
        _ => return None,
    })
}
