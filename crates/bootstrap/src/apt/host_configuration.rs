//! The host's own apt configuration: which mirror and which proxy it uses, see sources.list(5), apt.conf(5) and
//! apt-transport-http(1). Proxies that a program has to find (`Acquire::http::Proxy-Auto-Detect`) and mirrors that are
//! not reached by HTTP (`file:`, `cdrom:`, `mirror+…`) are passed over.

mod configuration;
mod sources;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::distribution::Distribution;
use configuration::Configuration;
use sources::Entry;

/// What the host's apt is configured to use; empty on a host without apt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfiguration {
    entries: Vec<Entry>,
    configuration: Configuration,
    environment: HashMap<String, String>,
    /// The `ID=` of the host's os-release.
    id: Option<String>,
}

/// The variables that say which proxy to use. `HTTP_PROXY` in capitals is not among them: in a CGI program a client sets it.
const VARIABLES: [&str; 6] = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "no_proxy", "NO_PROXY"];

impl HostConfiguration {
    /// Reads the configuration of this machine. Files that are missing or cannot be read add nothing: they are hints,
    /// and what is fetched by them is verified all the same.
    pub fn read() -> Self {
        let value =
            |name: &&str| Some(((*name).to_owned(), std::env::var(name).ok().filter(|value| !value.is_empty())?));
        Self::read_below(Path::new("/"), VARIABLES.iter().filter_map(value).collect())
    }

    /// The same of another root and environment.
    fn read_below(root: &Path, environment: HashMap<String, String>) -> Self {
        let apt = root.join("etc/apt");
        let mut configuration = Configuration::default();
        for path in files(&apt.join("apt.conf.d"), &["conf", ""]).into_iter().chain([apt.join("apt.conf")]) {
            configuration.read(&fs::read_to_string(path).unwrap_or_default());
        }
        let mut entries = sources::read_list(&fs::read_to_string(apt.join("sources.list")).unwrap_or_default());
        for path in files(&apt.join("sources.list.d"), &["list", "sources"]) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let one_line = path.extension().is_some_and(|extension| extension == "list");
            entries.extend(if one_line { sources::read_list(&text) } else { sources::read_deb822(&text) });
        }
        let os_release = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
        let id = os_release
            .lines()
            .find_map(|line| line.strip_prefix("ID="))
            .map(|id| id.trim_matches(['"', '\'']).to_owned());
        Self { entries, configuration, environment, id }
    }

    /// The mirror the host uses for a distribution and an architecture, if it uses one: without a slash at the end.
    pub fn mirror(&self, distribution: Distribution, architecture: &str) -> Option<&str> {
        let mut best: Option<(u8, &str)> = None;
        for entry in &self.entries {
            let evidence = entry.evidence(distribution, architecture, self.id.as_deref());
            if evidence >= sources::ENOUGH && best.is_none_or(|(than, _)| evidence > than) {
                best = Some((evidence, &entry.uri));
            }
        }
        best.map(|(_, uri)| uri)
    }

    /// The proxy for a URL, `http://[user:password@]host:port`; none where it is to be reached directly. apt's
    /// configuration comes before the environment, and what it says of one host before what it says of all.
    pub fn proxy(&self, url: &str) -> Option<String> {
        let (scheme, rest) = url.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = host
            .rsplit_once(':')
            .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
            .map_or(host, |(host, _)| host);
        let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
        let schemes: &[&str] = if scheme == "https" { &["https", "http"] } else { &["http"] };
        let configured = schemes.iter().find_map(|scheme| {
            let name = format!("acquire::{scheme}::proxy");
            self.configuration.get(&format!("{name}::{host}")).or_else(|| self.configuration.get(&name))
        });
        let proxy = match configured.filter(|value| !value.is_empty()) {
            Some("DIRECT" | "false") => return None,
            Some(proxy) => proxy.to_owned(),
            None => {
                let variable = |name: &str| self.environment.get(name);
                if variable("no_proxy").or_else(|| variable("NO_PROXY")).is_some_and(|list| is_excepted(&host, list)) {
                    return None;
                }
                let names: &[&str] = if scheme == "https" {
                    &["https_proxy", "HTTPS_PROXY", "all_proxy"]
                } else {
                    &["http_proxy", "all_proxy"]
                };
                names.iter().find_map(|name| variable(name))?.clone()
            }
        };
        Some(if proxy.contains("://") { proxy } else { format!("http://{proxy}") }.trim_end_matches('/').to_owned())
    }
}

/// The files of a directory that apt reads, in its order: those with one of the extensions ("" for none).
fn files(directory: &Path, extensions: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or(".");
        let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
        let is_name = |part: &str| part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        !stem.is_empty() && is_name(name) && extensions.contains(&extension)
    });
    paths.sort();
    paths
}

/// Whether a list such as `localhost,.example.org,10.0.0.1` excepts a host from the proxy.
fn is_excepted(host: &str, list: &str) -> bool {
    list.split([',', ' ']).map(|entry| entry.trim().to_ascii_lowercase()).filter(|entry| !entry.is_empty()).any(
        |entry| {
            let entry = entry.split_once(':').map_or(entry.as_str(), |(name, _)| name);
            let domain = entry.trim_start_matches("*.").trim_start_matches('.');
            entry == "*" || host == domain || (!domain.is_empty() && host.ends_with(&format!(".{domain}")))
        },
    )
}

#[cfg(test)]
mod tests;
