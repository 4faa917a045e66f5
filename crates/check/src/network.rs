//! Links and packet filters, made in a network namespace of their own that goes away with them.

use rustix::io::Errno;
use rustix::net::{Protocol, netlink};
use rustix::thread::CapabilitySet;
use sys::clone::Namespaces;

use crate::Context;
use crate::attempt::{Attempt, Doing, MAKE_USERS, MAP_USERS, Refused, in_namespaces};
use crate::finding::{Feature, Finding, Need, State, Topic};
use crate::netlink::{ACKNOWLEDGED, CREATE, Message, REQUEST, Socket};

/// One thing to make.
struct Kind {
    feature: Feature,
    make: fn() -> Attempt,
    /// The option of the kernel's configuration.
    option: &'static str,
    /// The module.
    module: &'static str,
}

const fn feature(name: &'static str, need: Need, why: &'static str) -> Feature {
    Feature { name, topic: Topic::Network, need, why }
}

static KINDS: [Kind; 5] = [
    Kind {
        feature: feature(
            "veth",
            Need::Useful,
            "A pair of links, one end in the container, the other on the host: the usual private network.",
        ),
        make: || veth().map(|()| "made a pair".to_owned()),
        option: "VETH",
        module: "veth",
    },
    Kind {
        feature: feature(
            "bridge",
            Need::Useful,
            "It joins the links of several containers, and of the host, to one network.",
        ),
        make: || link("bridge", None).map(|()| "made one".to_owned()),
        option: "BRIDGE",
        module: "bridge",
    },
    Kind {
        feature: feature(
            "macvlan",
            Need::Optional,
            "It puts a container on the network of a link of the host's, with an address of its own.",
        ),
        make: || {
            veth()?;
            link("macvlan", Some(PARENT)).map(|()| "made one".to_owned())
        },
        option: "MACVLAN",
        module: "macvlan",
    },
    Kind {
        feature: feature(
            "ipvlan",
            Need::Optional,
            "The same as macvlan, behind the hardware address of the host's link.",
        ),
        make: || {
            veth()?;
            link("ipvlan", Some(PARENT)).map(|()| "made one".to_owned())
        },
        option: "IPVLAN",
        module: "ipvlan",
    },
    Kind {
        feature: feature(
            "nftables",
            Need::Useful,
            "Containers with addresses of their own reach the world by its address translation, and ports of the host are \
             forwarded to them.",
        ),
        make: || masquerade().map(|()| "made a table that translates addresses".to_owned()),
        option: "NF_TABLES",
        module: "nf_tables",
    },
];

pub(crate) fn findings(context: &Context) -> Vec<Finding> {
    KINDS
        .iter()
        .map(|kind| judge(kind, context, in_namespaces(&context.caller, Namespaces::NETWORK, kind.make)))
        .collect()
}

fn judge(kind: &'static Kind, context: &Context, attempt: Attempt) -> Finding {
    let feature = &kind.feature;
    match attempt {
        Ok(seen) => feature.is(State::Works, seen),
        Err(refused) if [MAKE_USERS, MAP_USERS].contains(&refused.doing.as_str()) => feature
            .is(State::Denied, "takes root or a user namespace, and this caller has neither")
            .advise("Run this as root, or see user namespaces above."),
        // No link of such a kind, or nobody behind the family of messages, or a part of it.
        Err(Refused { errno: Errno::OPNOTSUPP | Errno::NOENT | Errno::PROTONOSUPPORT | Errno::INVAL, doing }) => feature
            .is(State::Missing, context.with_option(kind.option, &format!("the kernel does not {doing}")))
            .advise(context.module_advice(kind.option, kind.module)),
        Err(refused) if !context.caller.has(CapabilitySet::NET_ADMIN) && context.caller.is_privileged() => {
            feature.is(State::Denied, format!("{refused}, without CAP_NET_ADMIN")).advise(
                "A container that this runs in has no network of its own: start it with --private-network, or run redd on the \
                 host.",
            )
        }
        Err(refused) => feature.is(refused.state(), refused.to_string()).advise(
            "What refuses it is a system call filter or a security module, such as those of a container that this runs in: \
             run redd on the host.",
        ),
    }
}

/// The number of the link that others are put on.
const PARENT: u32 = 100;
/// `RTM_NEWLINK`.
const NEW_LINK: u16 = 16;
/// `IFLA_IFNAME`, `IFLA_LINK`, `IFLA_LINKINFO`, `IFLA_INFO_KIND`, `IFLA_INFO_DATA`, `VETH_INFO_PEER`.
const NAME: u16 = 3;
const ON: u16 = 5;
const ABOUT: u16 = 18;
const KIND: u16 = 1;
const DATA: u16 = 2;
const PEER: u16 = 1;

/// `struct ifinfomsg`, see [rtnetlink(7)](https://man7.org/linux/man-pages/man7/rtnetlink.7.html).
fn link_header(number: u32) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[4..8].copy_from_slice(&number.to_ne_bytes());
    bytes
}

/// A pair of links, one of which others can be put on.
fn veth() -> Result<(), Refused> {
    let message =
        Message::new(NEW_LINK, CREATE, 1).fixed(&link_header(PARENT)).text(NAME, "check0").nested(ABOUT, |about| {
            about
                .attribute(KIND, b"veth")
                .nested(DATA, |data| data.nested(PEER, |peer| peer.fixed(&link_header(0)).text(NAME, "check1")))
        });
    call(&message).doing("make links of kind veth")
}

/// A link of this kind, on another one where it needs one.
fn link(kind: &str, on: Option<u32>) -> Result<(), Refused> {
    let message = Message::new(NEW_LINK, CREATE, 1).fixed(&link_header(0)).text(NAME, "check2");
    let message = match on {
        Some(number) => message.attribute(ON, &number.to_ne_bytes()),
        None => message,
    };
    let message = message.nested(ABOUT, |about| about.attribute(KIND, kind.as_bytes()));
    call(&message).doing(&format!("make links of kind {kind}"))
}

/// `NETLINK_ROUTE`, which is 0: what a socket gets that names no protocol.
const ROUTE: Option<Protocol> = None;

fn call(message: &Message) -> rustix::io::Result<()> {
    Socket::open(ROUTE)?.call(message)
}

/// `NFPROTO_IPV4`.
const IPV4: u8 = 2;
/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 16;
const END: u16 = 17;

/// One of nftables' messages, with `struct nfgenmsg`.
fn of_tables(kind: u16, flags: u16, number: u32) -> Message {
    Message::new(NFTABLES << 8 | kind, flags, number).fixed(&[IPV4, 0, 0, 0])
}

/// A table with a chain behind routing whose rule translates addresses, all or nothing.
fn masquerade() -> Result<(), Refused> {
    const TABLE: &str = "check";
    const CHAIN: &str = "out";
    let edge =
        |kind, number| Message::new(kind, REQUEST, number).fixed(&[&[0, 0][..], &NFTABLES.to_be_bytes()].concat());
    // NFT_MSG_NEWTABLE with NFTA_TABLE_NAME.
    let table = of_tables(0, CREATE, 2).text(1, TABLE);
    // NFT_MSG_NEWCHAIN with NFTA_CHAIN_TABLE, _NAME, _HOOK (number 4 and priority 100: behind routing) and _TYPE.
    let hook = |hook: Message| hook.attribute(1, &4u32.to_be_bytes()).attribute(2, &100u32.to_be_bytes());
    let chain = of_tables(3, CREATE, 3).text(1, TABLE).text(3, CHAIN).nested(4, hook).text(7, "nat");
    // NFT_MSG_NEWRULE with NFTA_RULE_TABLE, _CHAIN and _EXPRESSIONS: one that translates.
    let expression = |list: Message| list.nested(1, |one| one.text(1, "masq").nested(2, |none| none));
    let rule = of_tables(6, ACKNOWLEDGED | 0x400, 4).text(1, TABLE).text(2, CHAIN).nested(4, expression);
    let batch: Vec<u8> = [edge(BEGIN, 1), table, chain, rule, edge(END, 5)].iter().flat_map(Message::finish).collect();
    let socket = Socket::open(Some(netlink::NETFILTER)).doing("open a socket of its packet filters")?;
    socket.send(&batch).and_then(|()| socket.acknowledged(3)).doing("make a table that translates addresses")
}
