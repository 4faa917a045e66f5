//! The proxies that the environment names, as curl(1) understands it.

use std::collections::HashMap;
use std::net::IpAddr;

/// The variables that say which proxy to use. `HTTP_PROXY` in capitals is not among them: in a CGI program a client sets it.
const VARIABLES: [&str; 7] =
    ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"];

/// Which proxies are used for which addresses; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    variables: HashMap<String, String>,
}

impl Proxies {
    /// What the variables of this process say.
    #[must_use]
    pub fn of_environment() -> Self {
        let value = |name: &str| Some((name.to_owned(), std::env::var(name).ok()?));
        Self::of(VARIABLES.into_iter().filter_map(value))
    }

    /// The same of other variables. Empty ones say nothing.
    pub(crate) fn of(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().filter(|(_, value)| !value.is_empty()).collect() }
    }

    /// The proxy for a URL, `http://[user:password@]host:port`; none where it is to be reached directly.
    #[must_use]
    pub fn for_url(&self, url: &str) -> Option<String> {
        let (scheme, host) = scheme_and_host(url)?;
        let first = |names: &[&str]| names.iter().find_map(|name| self.variables.get(*name));
        if first(&["no_proxy", "NO_PROXY"]).is_some_and(|list| is_excepted(&host, list)) {
            return None;
        }
        let proxy = match &*scheme {
            "https" => first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
            "http" => first(&["http_proxy", "all_proxy", "ALL_PROXY"]),
            _ => None,
        };
        proxy.map(|proxy| whole(proxy))
    }
}

/// The scheme and the host in an address, in lower case.
pub(crate) fn scheme_and_host(url: &str) -> Option<(String, String)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    Some((scheme.to_ascii_lowercase(), without_port(host).to_ascii_lowercase()))
}

/// The proxy's address with its scheme, and without a slash at the end.
pub(crate) fn whole(proxy: &str) -> String {
    let scheme = if proxy.contains("://") { "" } else { "http://" };
    format!("{scheme}{proxy}").trim_end_matches('/').to_owned()
}

/// A host without its port, and an address of IPv6 without brackets.
fn without_port(host: &str) -> &str {
    if let Some((address, _)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        return address;
    }
    match host.split_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

/// Whether a list such as `localhost,.example.org,10.0.0.0/8` excepts a host from the proxy.
fn is_excepted(host: &str, list: &str) -> bool {
    let entries = list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase());
    entries.filter(|entry| !entry.is_empty()).any(|entry| {
        if let Some((network, bits)) = entry.split_once('/') {
            return is_within(host, without_port(network), bits);
        }
        let entry = without_port(&entry);
        let domain = entry.trim_start_matches("*.").trim_start_matches('.');
        entry == "*" || host == domain || (!domain.is_empty() && host.ends_with(&format!(".{domain}")))
    })
}

/// Whether a host is an address in that network, of which so many bits are given.
fn is_within(host: &str, network: &str, bits: &str) -> bool {
    let (Ok(host), Ok(network), Ok(bits)) = (host.parse(), network.parse(), bits.parse::<u32>()) else { return false };
    match (host, network) {
        (IpAddr::V4(host), IpAddr::V4(network)) if bits <= 32 => {
            (host.to_bits() ^ network.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (IpAddr::V6(host), IpAddr::V6(network)) if bits <= 128 => {
            (host.to_bits() ^ network.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        Proxies::of(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    #[test]
    fn each_scheme_has_its_own() {
        let both = proxies(&[("http_proxy", "p:1"), ("HTTPS_PROXY", "http://s:2/"), ("https_proxy", "")]);
        assert_eq!(both.for_url("http://a/b").as_deref(), Some("http://p:1"));
        assert_eq!(both.for_url("HTTPS://a/b").as_deref(), Some("http://s:2"));
        assert_eq!(both.for_url("file:///a"), None);
        let all = proxies(&[("ALL_PROXY", "a:1"), ("HTTP_PROXY", "of-a-client:1")]);
        assert_eq!(all.for_url("http://a").as_deref(), Some("http://a:1"));
        assert_eq!(all.for_url("https://a").as_deref(), Some("http://a:1"));
        assert_eq!(proxies(&[]).for_url("http://a"), None);
    }

    #[test]
    fn hosts_are_excepted() {
        let list = "localhost, .corp.example,10.0.0.1:80,192.168.0.0/16,::1,[fe80::]/10,*.wild.example,0.0.0.0/40";
        let proxies = proxies(&[("all_proxy", "p:1"), ("no_proxy", list)]);
        let direct = [
            "http://localhost/x",
            "https://me:secret@LOCALHOST:8080/x",
            "http://corp.example",
            "http://mirror.corp.example/x",
            "http://10.0.0.1/x",
            "http://192.168.3.4:1/",
            "http://[::1]:8080/x",
            "http://[fe80::1]/x",
            "http://a.wild.example",
        ];
        for url in direct {
            assert_eq!(proxies.for_url(url), None, "{url}");
        }
        for url in
            ["http://notcorp.example", "http://192.169.0.1", "http://[::2]/", "http://10.0.0.10/", "http://1.2.3.4"]
        {
            assert!(proxies.for_url(url).is_some(), "{url}");
        }
        assert_eq!(super::tests::proxies(&[("all_proxy", "p"), ("NO_PROXY", "*")]).for_url("http://a"), None);
        assert!(is_within("1.2.3.4", "0.0.0.0", "0") && !is_within("1.2.3.4", "::", "0"));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,30}", host in "[a-z0-9.:\\[\\]@/]{0,20}") {
            let proxies = proxies(&[("all_proxy", &text), ("no_proxy", &host)]);
            let _ = (proxies.for_url(&text), proxies.for_url(&format!("http://{host}")), is_excepted(&host, &text));
        }
    }
}
