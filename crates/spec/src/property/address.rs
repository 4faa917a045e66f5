//! Values that speak of networks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::value::Reason;
use super::{Network, NftSet, PropertyValue, SocketRule};

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;
const IPPROTO_TCP: i32 = 6;
const IPPROTO_UDP: i32 = 17;

/// Names that stand for networks (systemd.resource-control(5), table 1).
fn named(word: &str) -> Option<[Network; 2]> {
    let two = |v4: Ipv4Addr, bits4, v6: Ipv6Addr, bits6| {
        Some([network(IpAddr::V4(v4), bits4), network(IpAddr::V6(v6), bits6)])
    };
    match word {
        "any" => two(Ipv4Addr::UNSPECIFIED, 0, Ipv6Addr::UNSPECIFIED, 0),
        "localhost" => two(Ipv4Addr::new(127, 0, 0, 0), 8, Ipv6Addr::LOCALHOST, 128),
        "link-local" => two(Ipv4Addr::new(169, 254, 0, 0), 16, Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 64),
        "multicast" => two(Ipv4Addr::new(224, 0, 0, 0), 4, Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
        _ => None,
    }
}

fn network(address: IpAddr, prefix: u32) -> Network {
    match address {
        IpAddr::V4(address) => Network { family: AF_INET, address: address.octets().to_vec(), prefix },
        IpAddr::V6(address) => Network { family: AF_INET6, address: address.octets().to_vec(), prefix },
    }
}

/// `IPAddressAllow=`
pub(super) fn networks(text: &str) -> Result<PropertyValue, Reason> {
    const BAD: Reason = "it is no list of addresses such as 10.0.0.0/8 or ::1, any, localhost, link-local, multicast";
    let mut all = Vec::new();
    for word in text.split_ascii_whitespace() {
        if let Some(both) = named(word) {
            all.extend(both);
            continue;
        }
        let (address, prefix) = word.split_once('/').map_or((word, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| BAD)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(width), |prefix| prefix.parse().map_err(|_| BAD))?;
        if prefix > width {
            return Err(BAD);
        }
        all.push(network(address, prefix));
    }
    Ok(PropertyValue::Networks(all))
}

/// `SocketBindAllow=`
pub(super) fn sockets(text: &str) -> Result<PropertyValue, Reason> {
    const BAD: Reason = "it is no [ipv4:|ipv6:][tcp:|udp:][PORT[-PORT]] and not any";
    if text.is_empty() {
        return Ok(PropertyValue::Sockets(Vec::new()));
    }
    let mut rule = SocketRule { family: 0, protocol: 0, count: 0, first: 0 };
    if text == "any" {
        return Ok(PropertyValue::Sockets(vec![rule]));
    }
    let mut words = text.split(':').peekable();
    if let Some(family) = words.peek().and_then(|word| match *word {
        "ipv4" => Some(AF_INET),
        "ipv6" => Some(AF_INET6),
        _ => None,
    }) {
        rule.family = family;
        words.next();
    }
    if let Some(protocol) = words.peek().and_then(|word| match *word {
        "tcp" => Some(IPPROTO_TCP),
        "udp" => Some(IPPROTO_UDP),
        _ => None,
    }) {
        rule.protocol = protocol;
        words.next();
    }
    if let Some(ports) = words.next() {
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or(BAD);
        let (first, last) = (port(first)?, port(last)?);
        if first > last || words.next().is_some() {
            return Err(BAD);
        }
        (rule.first, rule.count) = (first, last - first + 1);
    }
    Ok(PropertyValue::Sockets(vec![rule]))
}

/// `RestrictNetworkInterfaces=`
pub(super) fn links(text: &str) -> Result<PropertyValue, Reason> {
    let (allow, names) = text.strip_prefix('~').map_or((true, text), |names| (false, names));
    let names: Vec<String> = names.split_ascii_whitespace().map(str::to_owned).collect();
    match names.iter().all(|name| is_link(name)) {
        true => Ok(PropertyValue::Links { allow, names }),
        false => Err("it is no list of names of network links"),
    }
}

/// `BindNetworkInterface=`
pub(super) fn link(text: &str) -> Result<PropertyValue, Reason> {
    match text.is_empty() || is_link(text) {
        true => Ok(PropertyValue::Text(text.to_owned())),
        false => Err("it is no name of a network link"),
    }
}

fn is_link(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'%'))
        && !matches!(name, "." | "..")
}

/// `NFTSet=`. The numbers of the sources are the service manager's, those of the families the kernel's.
pub(super) fn sets(text: &str) -> Result<PropertyValue, Reason> {
    const BAD: Reason = "it is no cgroup|user|group:arp|bridge|inet|ip|ip6|netdev:TABLE:SET";
    let mut all = Vec::new();
    for word in text.split_ascii_whitespace() {
        let parts: Vec<&str> = word.split(':').collect();
        let [source, family, table, set] = parts[..] else { return Err(BAD) };
        let source = [("cgroup", 3), ("user", 4), ("group", 5)].into_iter().find(|(name, _)| *name == source);
        let family = [("inet", 1), ("ip", 2), ("arp", 3), ("netdev", 5), ("bridge", 7), ("ip6", 10)]
            .into_iter()
            .find(|(name, _)| *name == family);
        let (Some((_, source)), Some((_, family))) = (source, family) else { return Err(BAD) };
        let named = |name: &str| {
            name.len() < 32
                && name.starts_with(|first: char| first.is_ascii_alphabetic())
                && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'\\' | b'_' | b'.'))
        };
        if !named(table) || !named(set) {
            return Err(BAD);
        }
        all.push(NftSet { source, family, table: table.to_owned(), set: set.to_owned() });
    }
    Ok(PropertyValue::Sets(all))
}
