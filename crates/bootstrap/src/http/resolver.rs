//! Host names are resolved once: ureq resolves them for every request, even where it has a connection already, and a
//! name server that answers slowly would hold up each of hundreds of files.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// Remembers what names resolve to, as long as the client lives.
#[derive(Debug, Default)]
pub(super) struct Remembering {
    /// Whatever is asked for, this is meant: the proxy.
    always: Option<Uri>,
    resolver: DefaultResolver,
    known: Mutex<HashMap<String, ResolvedSocketAddrs>>,
}

impl Remembering {
    /// Resolves every address to that of one server.
    pub(super) fn always(server: Uri) -> Self {
        Self { always: Some(server), ..Self::default() }
    }
}

impl Resolver for Remembering {
    fn resolve(&self, uri: &Uri, config: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let uri = self.always.as_ref().unwrap_or(uri);
        let name = format!("{}://{}", uri.scheme_str().unwrap_or_default(), uri.authority().map_or("", |a| a.as_str()));
        // Held while the name is resolved, so that it is asked for once.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(addresses) = known.get(&name) {
            return Ok(addresses.clone());
        }
        let addresses = self.resolver.resolve(uri, config, timeout)?;
        known.insert(name, addresses.clone());
        Ok(addresses)
    }
}
