//! The network.

use super::{Argument, Effect, Given, Merge, OptionRow, Problem, ValueKind, only_away, trusted};
use crate::SpecPatch;

const BASE: OptionRow = OptionRow::BASE;
const LINKS: Effect = Effect::Later("no links are made or moved yet; --private-network is a network with none");

/// An option that adds a link, and may be used more than once.
const LINK: OptionRow =
    OptionRow { argument: Argument::Required("HOST[:CONTAINER]"), merge: Merge::List, effect: LINKS, ..BASE };

pub(super) const ROWS: &[OptionRow] = &[
    OptionRow {
        long: "private-network",
        setting: only_away("Network", "Private", |said| said.private_network == Some(false)),
        help: "A network of its own, with nothing in it",
        details: "The container has the loopback link alone and keeps CAP_NET_ADMIN, which can do nothing to the host's \
                  network then. Without this option it uses the host's network.",
        effect: Effect::Patch(private_network),
        ..BASE
    },
    OptionRow {
        long: "network-interface",
        setting: trusted("Network", "Interface"),
        kind: ValueKind::Link,
        help: "Move a link of the host inside",
        details: "It comes back at the end.",
        ..LINK
    },
    OptionRow {
        long: "network-macvlan",
        setting: trusted("Network", "MACVLAN"),
        kind: ValueKind::Link,
        help: "Add a macvlan link",
        details: "On top of a link of the host.",
        ..LINK
    },
    OptionRow {
        long: "network-ipvlan",
        setting: trusted("Network", "IPVLAN"),
        kind: ValueKind::Link,
        help: "Add an ipvlan link",
        details: "On top of a link of the host.",
        ..LINK
    },
    OptionRow {
        long: "network-veth",
        short: Some('n'),
        setting: trusted("Network", "VirtualEthernet"),
        help: "Add a virtual cable between host and container",
        details: "The end inside is host0.",
        effect: LINKS,
        ..BASE
    },
    OptionRow {
        long: "network-veth-extra",
        setting: trusted("Network", "VirtualEthernetExtra"),
        help: "Add another virtual cable, with names of your own",
        details: "The same name at both ends where only one is given.",
        ..LINK
    },
    OptionRow {
        long: "network-bridge",
        argument: Argument::Required("BRIDGE"),
        setting: trusted("Network", "Bridge"),
        kind: ValueKind::Link,
        help: "Add a virtual cable to a bridge of the host",
        details: "The bridge has to exist.",
        effect: LINKS,
        ..BASE
    },
    OptionRow {
        long: "network-zone",
        argument: Argument::Required("NAME"),
        setting: trusted("Network", "Zone"),
        help: "Add a virtual cable to a bridge shared by a zone",
        details: "The bridge comes with the first container of the zone and goes with the last.",
        effect: LINKS,
        ..BASE
    },
    OptionRow {
        long: "network-namespace-path",
        argument: Argument::Required("PATH"),
        setting: trusted("Network", "NamespacePath"),
        kind: ValueKind::Path,
        help: "Use a network namespace that exists",
        details: "Such as the ones that ip-netns(8) keeps below /run/netns.",
        effect: Effect::Later("network namespaces that exist are not entered yet"),
        ..BASE
    },
    OptionRow {
        long: "port",
        short: Some('p'),
        argument: Argument::Required("[PROTOCOL:]HOST[:CONTAINER]"),
        setting: trusted("Network", "Port"),
        merge: Merge::List,
        help: "Forward a port of the host",
        details: "The protocol is tcp or udp.",
        effect: Effect::Later("ports are not forwarded yet"),
        ..BASE
    },
];

fn private_network(patch: &mut SpecPatch, _: &Given<'_>) -> Result<(), Problem> {
    patch.private_network = Some(true);
    Ok(())
}
