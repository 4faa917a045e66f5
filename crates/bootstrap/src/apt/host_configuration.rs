//! The host's own apt configuration: which mirror and which proxy it uses.

use super::distribution::Distribution;

/// What the host's apt is configured to use; empty on a host without apt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfiguration {
    mirrors: Vec<(Distribution, String)>,
}

impl HostConfiguration {
    /// The mirror the host uses for a distribution, if it uses one for it.
    pub fn mirror(&self, distribution: Distribution, _architecture: &str) -> Option<&str> {
        self.mirrors.iter().find(|(of, _)| *of == distribution).map(|(_, mirror)| mirror.as_str())
    }

    /// The proxy for a URL, `http://[user:password@]host:port`; none where it is to be reached directly.
    pub fn proxy(&self, _url: &str) -> Option<String> {
        None
    }
}
