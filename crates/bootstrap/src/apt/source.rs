use std::path::PathBuf;

use super::distribution::Distribution;
use super::host_configuration::HostConfiguration;

/// Where packages are taken from and whose signature they need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The URL below which `dists` and `pool` lie: `http`, `https`, without a slash at the end.
    pub mirror: String,
    /// The release: `trixie`, `stable`, `noble-updates`, …
    pub suite: String,
    /// The components: `main`, `universe`, …
    pub components: Vec<String>,
    /// The architecture by Debian's name. Packages of the architecture `all` belong to every one.
    pub architecture: String,
    /// Whose signatures are accepted.
    pub keyring: Keyring,
    /// Accept a release file whose time is over.
    pub accept_expired: bool,
    /// The proxy to use for the mirror, `http://[user:password@]host:port`.
    pub proxy: Option<String>,
}

/// The certificates whose signatures are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keyring {
    /// Those built into this program.
    Embedded(Distribution),
    /// Those of a file: OpenPGP packets, plain or armoured.
    File(PathBuf),
}

impl Source {
    /// The distribution's default suite and components, from the mirror and by the proxy that the host's own apt uses.
    pub fn new(distribution: Distribution, architecture: &str, host: &HostConfiguration) -> Self {
        let mirror = host.mirror(distribution, architecture);
        let source = Self {
            mirror: String::new(),
            suite: distribution.default_suite().to_owned(),
            components: distribution.default_components().iter().map(|name| (*name).to_owned()).collect(),
            architecture: architecture.to_owned(),
            keyring: Keyring::Embedded(distribution),
            accept_expired: false,
            proxy: None,
        };
        source.with_mirror(mirror.unwrap_or(distribution.default_mirror(architecture)), host)
    }

    /// The same from another mirror, by the proxy that the host uses for that one.
    #[must_use]
    pub fn with_mirror(mut self, mirror: &str, host: &HostConfiguration) -> Self {
        self.mirror = mirror.trim_end_matches('/').to_owned();
        self.proxy = host.proxy(&self.mirror);
        self
    }
}
