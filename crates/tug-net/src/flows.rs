//! Forgets UDP flows that the kernel still steers by how ports were published before.
//!
//! Translation is decided on a flow's first packet. A client that keeps sending from one port keeps
//! its flow alive for ever: it would go on to a container that is gone, or miss one that has come.
//! TCP needs nothing of the kind, its connections end by themselves. Selective removal needs
//! Linux 6.8; before, flows die after thirty seconds of silence, as they do everywhere.

use crate::socket::{Netlink, Request};
use crate::{Protocol, PublishedPort};
use netlink_packet_core::{DefaultNla, Emitable, NLA_F_NESTED};
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
    NetfilterSubsystem,
};
use std::net::Ipv4Addr;

const IPCTNL_MSG_CT_DELETE: u8 = 2;
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_FILTER: u16 = 25;
const UDP: u8 = 17;
/// Each removal walks the host's whole flow table, so a large range is left to expire.
const MOST_PORTS: usize = 8;

// Which parts of a tuple a filter compares (`CTA_FILTER_F_*`).
const COMPARE_SOURCE: u32 = 1 << 0;
const COMPARE_PROTOCOL: u32 = 1 << 3;
const COMPARE_DESTINATION_PORT: u32 = 1 << 5;

/// Flows that arrived at newly published ports before they were published. Best effort.
pub(crate) fn forget_arrivals(netlink: &mut Netlink, ports: &[PublishedPort]) {
    let udp = ports.iter().filter(|port| port.protocol == Protocol::Udp);
    let requests: Vec<_> = udp
        .take(MOST_PORTS)
        .map(|port| {
            let protocol = nest(2, &[(1, vec![UDP]), (3, port.host_port.to_be_bytes().to_vec())]);
            forget(CTA_TUPLE_ORIG, vec![protocol], COMPARE_PROTOCOL | COMPARE_DESTINATION_PORT)
        })
        .collect();
    let _ = netlink.batch(&requests, |_| true);
}

/// Flows that a container answers. Best effort.
pub(crate) fn forget_container(netlink: &mut Netlink, address: Ipv4Addr) {
    let source = nest(1, &[(1, address.octets().to_vec())]);
    let protocol = nest(2, &[(1, vec![UDP])]);
    let tuple = vec![source, protocol];
    let request = forget(CTA_TUPLE_REPLY, tuple, COMPARE_SOURCE | COMPARE_PROTOCOL);
    let _ = netlink.batch(&[request], |_| true);
}

fn forget(tuple: u16, parts: Vec<DefaultNla>, compared: u32) -> Request<NetfilterMessage> {
    let flags = [(1u16, CTA_TUPLE_ORIG), (2, CTA_TUPLE_REPLY)].map(|(kind, which)| {
        let bits = if which == tuple { compared } else { 0 };
        (kind, bits.to_ne_bytes().to_vec())
    });
    let inner = NetfilterMessageInner::Other {
        subsys: NetfilterSubsystem::Conntrack,
        message_type: IPCTNL_MSG_CT_DELETE,
        attributes: vec![
            DefaultNla::new(tuple | NLA_F_NESTED, emitted(&parts)),
            nest(CTA_FILTER, &flags),
        ],
    };
    // Version 1 is what makes the kernel look at the family when it filters.
    let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 1, 0);
    (NetfilterMessage::new(header, inner), 0)
}

fn nest(kind: u16, parts: &[(u16, Vec<u8>)]) -> DefaultNla {
    let parts: Vec<_> =
        parts.iter().map(|(kind, value)| DefaultNla::new(*kind, value.clone())).collect();
    DefaultNla::new(kind | NLA_F_NESTED, emitted(&parts))
}

fn emitted(parts: &[DefaultNla]) -> Vec<u8> {
    let mut bytes = vec![0; parts.buffer_len()];
    parts.emit(&mut bytes);
    bytes
}
