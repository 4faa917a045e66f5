//! What of the host's configuration may get inside. Read only as far as it is asked for.

use std::path::Path;

use plan::{Localtime, ResolvConf};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use spec::{ContainerSpec, ResolvConfMode, ResolvConfSource, TimezoneMode};

/// Where systemd-resolved takes calls.
const RESOLVED: &str = "/run/systemd/resolve/io.systemd.Resolve";

/// The file that is asked for. For `auto` the stub's of systemd-resolved where that runs: it is the one that works in a
/// container that shares the network.
pub(super) fn resolv_conf(spec: &ContainerSpec) -> Option<ResolvConf> {
    let read =
        |source: ResolvConfSource| std::fs::read(source.path()).ok().map(|contents| ResolvConf { source, contents });
    match spec.integration().resolv_conf {
        ResolvConfMode::Off | ResolvConfMode::Delete => None,
        ResolvConfMode::Take(_, source) => read(source),
        ResolvConfMode::Auto if spec.network().private => None,
        ResolvConfMode::Auto => {
            read(ResolvConfSource::Stub).filter(|_| resolved_runs()).or_else(|| read(ResolvConfSource::Host))
        }
    }
}

/// Its files stay when it is stopped, so it is called.
fn resolved_runs() -> bool {
    let connect = || {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(RESOLVED)?)
    };
    // Too many callers at once: somebody is there.
    matches!(connect(), Ok(()) | Err(Errno::AGAIN))
}

/// The host's own time zone. What the file says is read only where a copy of it may be wanted.
pub(super) fn localtime(spec: &ContainerSpec) -> Localtime {
    let path = Path::new("/etc/localtime");
    let mode = spec.integration().timezone;
    if matches!(mode, TimezoneMode::Off | TimezoneMode::Delete) {
        return Localtime::Absent;
    }
    let contents = || std::fs::read(path).ok();
    match std::fs::read_link(path) {
        Ok(link) => Localtime::Link {
            zone: link.to_str().and_then(zone),
            contents: if mode == TimezoneMode::Copy { contents() } else { None },
        },
        Err(error) if error.kind() == std::io::ErrorKind::InvalidInput => Localtime::File { contents: contents() },
        Err(_) => Localtime::Absent,
    }
}

/// A link to the container's own data may be wanted.
pub(super) fn links_timezone(spec: &ContainerSpec) -> bool {
    matches!(spec.integration().timezone, TimezoneMode::Auto | TimezoneMode::Symlink)
}

/// The zone that a link into the database stands for.
fn zone(link: &str) -> Option<String> {
    let zone = link.split_once("zoneinfo/")?.1;
    let fine = !zone.is_empty() && !zone.split('/').any(|part| part.is_empty() || part == "..");
    fine.then(|| zone.to_owned())
}

#[cfg(test)]
mod tests {
    use super::zone;

    #[test]
    fn zones_of_links() {
        assert_eq!(zone("/usr/share/zoneinfo/Europe/Berlin").as_deref(), Some("Europe/Berlin"));
        assert_eq!(zone("../usr/share/zoneinfo/UTC").as_deref(), Some("UTC"));
        for none in ["/etc/other", "/usr/share/zoneinfo/", "/usr/share/zoneinfo/../../../x", "zoneinfo/a//b"] {
            assert_eq!(zone(none), None, "{none}");
        }
    }
}
