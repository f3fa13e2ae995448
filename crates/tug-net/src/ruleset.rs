//! tug's nftables table as a value: what [`crate::ensure_bridge`] makes true.
//!
//! ```text
//! table ip tug {
//!   map anywhere { type inet_proto . inet_service : ipv4_addr . inet_service }
//!   map at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service }
//!   chain guard { type filter hook prerouting priority raw
//!     iifname != "lo" ip daddr 127.0.0.0/8 drop comment "tug 1 tug0 172.17.0.0/16" }
//!   chain prerouting { type nat hook prerouting priority dstnat
//!     fib daddr type local dnat to ip daddr . meta l4proto . th dport map @at
//!     fib daddr type local dnat to meta l4proto . th dport map @anywhere }
//!   chain output { type nat hook output priority dstnat; the same two rules }
//!   chain postrouting { type nat hook postrouting priority srcnat
//!     ip saddr SUBNET oifname != BRIDGE masquerade
//!     ip saddr SUBNET oifname BRIDGE ct status dnat masquerade
//!     ip saddr 127.0.0.0/8 oifname BRIDGE masquerade }
//!   chain forward { type filter hook forward priority filter
//!     oifname != BRIDGE accept
//!     ct state established,related accept
//!     iifname BRIDGE accept
//!     ct status dnat accept
//!     drop }
//! }
//! ```
//!
//! A published port is an element of a map, never a rule. The guard runs before anything is
//! translated: it keeps ports published on 127.0.0.1, and whatever else listens there, from
//! neighbours who send packets for 127.0.0.1, which `route_localnet` on the bridge would let in.
//! Its comment says which version of these rules, for which bridge and subnet, is in force.
//!
//! Verdicts are per table: accepting here does not overrule a host firewall whose own forward
//! chain drops. What it drops stays dropped; it then needs a rule of its own for the bridge.

use crate::BridgeConfig;
use crate::nft::{self, Chain, Expression, MapType};
use crate::socket::Request;
use ipnet::Ipv4Net;
use netlink_packet_netfilter::NetfilterMessage;
use netlink_packet_netfilter::nftables::{InetHookNumber, MetaKey, Operator, Register};
use std::net::Ipv4Addr;

/// Raised whenever the rules below change, so that a table of an older tug is rewritten.
const VERSION: u32 = 1;

/// Ports published on all of the host's addresses.
pub(crate) const ANYWHERE: &str = "anywhere";
/// Ports published on one of the host's addresses.
pub(crate) const AT: &str = "at";
/// The chain whose only rule carries the version.
pub(crate) const GUARD: &str = "guard";

const PREROUTING: &str = "prerouting";
const OUTPUT: &str = "output";
const POSTROUTING: &str = "postrouting";
const FORWARD: &str = "forward";

// Type numbers of the nft program: six bits each, first field highest.
const PROTO_PORT: MapType = MapType { number: 12 << 6 | 13, length: 8 };
const ADDRESS_PROTO_PORT: MapType = MapType { number: 7 << 12 | 12 << 6 | 13, length: 12 };
const ADDRESS_PORT: MapType = MapType { number: 7 << 6 | 13, length: 8 };

fn chains() -> [Chain; 5] {
    let chain = |name, kind, hook, priority| Chain { name, kind, hook, priority };
    [
        chain(GUARD, "filter", InetHookNumber::PreRouting, -300),
        chain(PREROUTING, "nat", InetHookNumber::PreRouting, -100),
        chain(OUTPUT, "nat", InetHookNumber::LocalOut, -100),
        chain(POSTROUTING, "nat", InetHookNumber::PostRouting, 100),
        chain(FORWARD, "filter", InetHookNumber::Forward, 0),
    ]
}

/// What the guard's comment says when the table is as this version wants it.
pub(crate) fn mark(config: &BridgeConfig) -> String {
    format!("tug {VERSION} {} {}", config.bridge, config.subnet)
}

/// The whole table as one transaction. It may run at any time, any number of times, in several
/// processes at once: rules are replaced, map elements stay.
pub(crate) fn table(config: &BridgeConfig) -> Vec<Request<NetfilterMessage>> {
    let table = config.table.as_str();
    let mut requests = vec![
        nft::add_table(table),
        nft::add_map(table, ANYWHERE, 1, &PROTO_PORT, &ADDRESS_PORT),
        nft::add_map(table, AT, 2, &ADDRESS_PROTO_PORT, &ADDRESS_PORT),
    ];
    for chain in &chains() {
        requests.push(nft::add_chain(table, chain));
        requests.push(nft::flush_chain(table, chain.name));
    }
    let mark = mark(config);
    for (chain, rule) in rules(config) {
        let comment = (chain == GUARD).then_some(mark.as_str());
        requests.push(nft::add_rule(table, chain, rule, comment));
    }
    requests
}

fn rules(config: &BridgeConfig) -> Vec<(&'static str, Vec<Expression>)> {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let bridge = config.bridge.as_str();
    let to_bridge = || nft::link_is(MetaKey::Oifname, Operator::Equal, bridge);
    let not_to_bridge = || nft::link_is(MetaKey::Oifname, Operator::NotEqual, bridge);
    let from_bridge = || nft::link_is(MetaKey::Iifname, Operator::Equal, bridge);
    let from_outside = || nft::link_is(MetaKey::Iifname, Operator::NotEqual, "lo");
    let from_subnet = || nft::address_in(nft::SADDR, config.subnet.trunc());

    let mut rules = vec![(
        GUARD,
        rule()
            .and(from_outside())
            .and(nft::address_in(nft::DADDR, loopback))
            .then(nft::drop_packet()),
    )];
    for chain in [PREROUTING, OUTPUT] {
        rules.push((chain, translate_at_address()));
        rules.push((chain, translate_anywhere()));
    }
    rules.extend([
        (POSTROUTING, rule().and(from_subnet()).and(not_to_bridge()).then(nft::masquerade())),
        (
            POSTROUTING,
            rule()
                .and(from_subnet())
                .and(to_bridge())
                .and(nft::is_dnatted())
                .then(nft::masquerade()),
        ),
        (
            POSTROUTING,
            rule()
                .and(nft::address_in(nft::SADDR, loopback))
                .and(to_bridge())
                .then(nft::masquerade()),
        ),
        (FORWARD, rule().and(not_to_bridge()).then(nft::accept())),
        (FORWARD, rule().and(nft::is_reply_or_related()).then(nft::accept())),
        (FORWARD, rule().and(from_bridge()).then(nft::accept())),
        (FORWARD, rule().and(nft::is_dnatted()).then(nft::accept())),
        (FORWARD, rule().then(nft::drop_packet())),
    ]);
    rules
}

fn translate_at_address() -> Vec<Expression> {
    rule()
        .and(nft::destination_is_local())
        .and([
            nft::load_address(nft::DADDR, Register::Reg1),
            nft::load_meta(MetaKey::L4Proto, Register::Reg32_01),
            nft::load_port(Register::Reg32_02),
            nft::look_up(AT, 2),
        ])
        .then(nft::dnat_to_registers())
}

fn translate_anywhere() -> Vec<Expression> {
    rule()
        .and(nft::destination_is_local())
        .and([
            nft::load_meta(MetaKey::L4Proto, Register::Reg1),
            nft::load_port(Register::Reg32_01),
            nft::look_up(ANYWHERE, 1),
        ])
        .then(nft::dnat_to_registers())
}

/// Conditions that must all hold, then what happens.
struct Rule(Vec<Expression>);

fn rule() -> Rule {
    Rule(Vec::new())
}

impl Rule {
    fn and(mut self, condition: impl IntoIterator<Item = Expression>) -> Self {
        self.0.extend(condition);
        self
    }

    fn then(mut self, action: Expression) -> Vec<Expression> {
        self.0.push(action);
        self.0
    }
}
