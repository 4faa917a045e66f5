//! Arch Linux itself, for hosts that have no configuration of pacman: its repositories and mirrors.

use std::io;
use std::path::{Path, PathBuf};

use super::config::{Config, Error, Files, HostFiles};

/// The configuration, with a name that messages show.
const CONFIGURATION: (&str, &str) = (
    "(built in)",
    "\
[options]
Architecture = auto
CheckSpace
ParallelDownloads = 5
SigLevel = Required DatabaseOptional
LocalFileSigLevel = Optional
[core]
Include = /etc/pacman.d/mirrorlist
[extra]
Include = /etc/pacman.d/mirrorlist
",
);
/// Where a host, and the new system, has its mirrors.
pub const MIRROR_LIST: &str = "/etc/pacman.d/mirrorlist";
/// Mirrors that the distribution itself and large hosts run, near everywhere.
const MIRRORS: [&str; 3] =
    ["https://geo.mirror.pkgbuild.com", "https://fastly.mirror.pkgbuild.com", "https://mirrors.kernel.org/archlinux"];
/// What Arch Linux is built for.
const MACHINES: [&str; 1] = ["x86_64"];

/// The repositories of Arch Linux, for a host that names none.
#[derive(Debug, Clone)]
pub struct Distribution {
    mirrors: Option<String>,
}

impl Distribution {
    /// Its packages come from `mirror`, or from the host's own mirrors, or from those of the distribution. In the address
    /// `$repo` and `$arch` are replaced; one without them has the layout of a mirror of Arch Linux below it.
    #[must_use]
    pub fn new(mirror: Option<&str>) -> Self {
        let listed = |mirror: &str| {
            let layout = if mirror.contains("$repo") { "" } else { "/$repo/os/$arch" };
            format!("Server = {}{layout}\n", mirror.trim_end_matches('/'))
        };
        let mirrors = match mirror {
            Some(mirror) => Some(listed(mirror)),
            // One without servers is what the package of the list brings: all are commented out.
            None => match std::fs::read_to_string(MIRROR_LIST) {
                Ok(list) if list.lines().any(|line| line.trim_start().starts_with("Server")) => None,
                _ => Some(MIRRORS.map(listed).concat()),
            },
        };
        Self { mirrors }
    }

    /// The configuration.
    ///
    /// # Errors
    /// A mirror list of the host that cannot be read.
    pub fn config(&self) -> Result<Config, Error> {
        let machine = rustix::system::uname().machine().to_string_lossy().into_owned();
        Config::read_with(Path::new(CONFIGURATION.0), self, &machine)
    }

    /// The mirror list that the new system gets, if it is not the host's.
    #[must_use]
    pub fn mirror_list(&self) -> Option<&str> {
        self.mirrors.as_deref()
    }

    /// Whether it is built for this machine.
    #[must_use]
    pub fn runs_here() -> bool {
        MACHINES.iter().any(|name| rustix::system::uname().machine().to_bytes() == name.as_bytes())
    }
}

impl Files for Distribution {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        if path == Path::new(CONFIGURATION.0) {
            return Ok(CONFIGURATION.1.into());
        }
        match &self.mirrors {
            Some(list) if path == Path::new(MIRROR_LIST) => Ok(list.clone().into_bytes()),
            _ => HostFiles.read(path),
        }
    }

    fn expand(&self, pattern: &str) -> Vec<PathBuf> {
        vec![PathBuf::from(pattern)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_has_the_repositories() {
        let distribution = Distribution::new(Some("http://mirror.example/arch/"));
        let config = distribution.config().unwrap();
        let arch = rustix::system::uname().machine().to_string_lossy().into_owned();
        let servers: Vec<&String> = config.repositories.iter().flat_map(|repository| &repository.servers).collect();
        assert_eq!(
            servers,
            [
                &format!("http://mirror.example/arch/core/os/{arch}"),
                &format!("http://mirror.example/arch/extra/os/{arch}")
            ]
        );
        assert!(config.warnings.is_empty(), "{:?}", config.warnings);
        let own = Distribution::new(Some("file:///srv/$repo")).config().unwrap();
        assert_eq!(own.repositories[1].servers, ["file:///srv/extra"]);
    }

    #[test]
    fn without_a_mirror_there_are_some() {
        let config = Distribution::new(None).config().unwrap();
        assert!(config.repositories.iter().all(|repository| !repository.servers.is_empty()));
    }
}
