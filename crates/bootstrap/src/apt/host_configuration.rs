//! The host's own apt configuration: which mirror and which proxy it uses, see sources.list(5), apt.conf(5) and
//! apt-transport-http(1). Proxies that a program has to find (`Acquire::http::Proxy-Auto-Detect`) and mirrors that are
//! not reached by HTTP (`file:`, `cdrom:`, `mirror+…`) are passed over.

mod configuration;
mod sources;

use std::fs;
use std::path::{Path, PathBuf};

use super::distribution::Distribution;
use crate::http::proxies::{self, Proxies};
use configuration::Configuration;
use sources::Entry;

/// What the host's apt is configured to use; empty on a host without apt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostConfiguration {
    entries: Vec<Entry>,
    configuration: Configuration,
    environment: Proxies,
    /// The `ID=` of the host's os-release.
    id: Option<String>,
}

impl HostConfiguration {
    /// Reads the configuration of this machine. Files that are missing or cannot be read add nothing: they are hints,
    /// and what is fetched by them is verified all the same.
    pub fn read() -> Self {
        Self::read_below(Path::new("/"), Proxies::of_environment())
    }

    /// The same of another root and environment.
    fn read_below(root: &Path, environment: Proxies) -> Self {
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
        let (scheme, host) = proxies::scheme_and_host(url)?;
        let schemes: &[&str] = if scheme == "https" { &["https", "http"] } else { &["http"] };
        let configured = schemes.iter().find_map(|scheme| {
            let name = format!("acquire::{scheme}::proxy");
            self.configuration.get(&format!("{name}::{host}")).or_else(|| self.configuration.get(&name))
        });
        match configured.filter(|value| !value.is_empty()) {
            Some("DIRECT" | "false") => None,
            Some(proxy) => Some(proxies::whole(proxy)),
            None => self.environment.for_url(url),
        }
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

#[cfg(test)]
mod tests;
