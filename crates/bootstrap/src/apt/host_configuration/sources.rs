//! The lists of sources, in both formats.

use super::super::control::paragraphs;
use super::super::distribution::Distribution;

/// A mirror with a score below this is not taken for one of the distribution.
pub(super) const ENOUGH: u8 = 2;

/// One mirror with one of its suites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Without a slash at the end.
    pub(super) uri: String,
    suite: String,
    components: Vec<String>,
    /// Empty: all.
    architectures: Vec<String>,
    signed_by: String,
}

impl Entry {
    /// How much speaks for this being a mirror of the distribution's main archive: nothing, unless it offers one of its
    /// releases for the architecture. Third parties name their suites after the releases as well, so that alone is not
    /// enough.
    pub(super) fn evidence(&self, distribution: Distribution, architecture: &str, id: Option<&str>) -> u8 {
        let fits = distribution.has_release(&self.suite)
            && self.components.iter().any(|component| component == "main")
            && (self.architectures.is_empty() || self.architectures.iter().any(|name| name == architecture));
        if !fits {
            return 0;
        }
        let name = distribution.name();
        let after_scheme = self.uri.split_once("://").map_or(self.uri.as_str(), |(_, rest)| rest);
        let (host, path) = after_scheme.split_once('/').unwrap_or((after_scheme, ""));
        let last = path.rsplit('/').next().unwrap_or_default();
        // Other architectures of Ubuntu have an archive of their own.
        let ports = last == "ubuntu-ports" || host == "ports.ubuntu.com";
        if distribution == Distribution::Ubuntu && ports == matches!(architecture, "amd64" | "i386") {
            return 0;
        }
        let mut evidence = 0;
        if last == name || (ports && distribution == Distribution::Ubuntu) {
            evidence += 2;
        }
        if self.signed_by.contains(&format!("{name}-archive-keyring")) {
            evidence += 2;
        }
        if host.split('.').any(|label| label == name) {
            evidence += 1;
        }
        if id == Some(name) && evidence > 0 {
            evidence += 1;
        }
        evidence
    }
}

/// A mirror that can be fetched from.
fn usable(uri: &str) -> Option<String> {
    let lower = uri.to_ascii_lowercase();
    (lower.starts_with("http://") || lower.starts_with("https://")).then(|| uri.trim_end_matches('/').to_owned())
}

/// The format of one line an entry: `deb [option=value …] uri suite component …`.
pub(super) fn read_list(text: &str) -> Vec<Entry> {
    text.lines().filter_map(read_line).collect()
}

fn read_line(line: &str) -> Option<Entry> {
    let line = line.split('#').next().unwrap_or_default().trim();
    let mut rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t', '[']) {
        return None;
    }
    rest = rest.trim_start();
    let (mut architectures, mut signed_by) = (Vec::new(), String::new());
    if let Some(options) = rest.strip_prefix('[') {
        let (options, after) = options.split_once(']')?;
        for option in options.split_whitespace() {
            match option.split_once('=') {
                Some(("arch", names)) => architectures = names.split(',').map(str::to_owned).collect(),
                Some(("signed-by", path)) => path.clone_into(&mut signed_by),
                _ => {}
            }
        }
        rest = after;
    }
    let mut words = rest.split_whitespace();
    let uri = usable(words.next()?)?;
    let suite = words.next()?.to_owned();
    Some(Entry { uri, suite, components: words.map(str::to_owned).collect(), architectures, signed_by })
}

/// The format of paragraphs (`Types`, `URIs`, `Suites`, …).
pub(super) fn read_deb822(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for paragraph in paragraphs(text) {
        let words = |name: &str| -> Vec<String> {
            paragraph.field(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
        };
        let off = paragraph.field("Enabled").is_some_and(|value| {
            ["no", "false", "0", "off", "without", "disable"].iter().any(|no| value.eq_ignore_ascii_case(no))
        });
        if off || !words("Types").iter().any(|kind| kind == "deb") {
            continue;
        }
        for uri in words("URIs").iter().filter_map(|uri| usable(uri)) {
            for suite in words("Suites") {
                entries.push(Entry {
                    uri: uri.clone(),
                    suite,
                    components: words("Components"),
                    architectures: words("Architectures"),
                    signed_by: paragraph.field("Signed-By").unwrap_or_default().to_owned(),
                });
            }
        }
    }
    entries
}
