//! What tests set up and look at besides the crate under test: plain netlink.

use crate::world::Namespace;
use ipnet::Ipv4Net;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_core::{NetlinkDeserializable, NetlinkSerializable};
use netlink_packet_netfilter::nftables::{
    NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

/// A pair of links that joins this namespace (`up0`) to `outside` (`eth0`) and makes it the way to
/// everywhere.
pub(crate) fn uplink(outside: &Namespace, here: Ipv4Addr, there: Ipv4Addr, mtu: u32) {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName("eth0".into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NetNsFd(outside.fd().as_raw_fd()),
    ];
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName("up0".into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    change(RouteNetlinkMessage::NewLink(link));
    address("up0", here, 24);
    outside.run(|| address("eth0", there, 24));
    route("0.0.0.0/0".parse().unwrap(), there);
}

/// A link of another kind under this name.
pub(crate) fn dummy_link(name: &str) {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.into()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth)]),
    ];
    change(RouteNetlinkMessage::NewLink(link));
}

/// Gives a link an address and brings it up.
pub(crate) fn address(link: &str, ip: Ipv4Addr, prefix: u8) {
    let socket = Socket::new(protocols::NETLINK_ROUTE).unwrap();
    let index = rustix::net::netdevice::name_to_index(socket.as_fd(), link).unwrap();
    let mut address = AddressMessage::default();
    address.header.family = AddressFamily::Inet;
    address.header.prefix_len = prefix;
    address.header.index = index;
    address.attributes = vec![AddressAttribute::Local(ip.into())];
    change(RouteNetlinkMessage::NewAddress(address));
    let mut up = LinkMessage::default();
    up.header.index = index;
    up.header.flags = LinkFlags::Up;
    up.header.change_mask = LinkFlags::Up;
    change(RouteNetlinkMessage::NewLink(up));
}

/// Adds a route over a gateway.
pub(crate) fn route(to: Ipv4Net, gateway: Ipv4Addr) {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.destination_prefix_length = to.prefix_len();
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.kind = RouteType::Unicast;
    route.header.protocol = RouteProtocol::Static;
    route.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    if to.prefix_len() > 0 {
        route.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(to.addr())));
    }
    change(RouteNetlinkMessage::NewRoute(route));
}

/// Takes 127.0.0.1 from the loopback link, where it has it, and routes it over a gateway, as an attacker does.
pub(crate) fn steal_loopback(gateway: Ipv4Addr) {
    std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
    let mut loopback = AddressMessage::default();
    loopback.header.family = AddressFamily::Inet;
    loopback.header.prefix_len = 8;
    loopback.header.index = 1;
    loopback.attributes = vec![AddressAttribute::Local(Ipv4Addr::LOCALHOST.into())];
    if std::net::UdpSocket::bind("127.0.0.1:0").is_ok() {
        change(RouteNetlinkMessage::DelAddress(loopback));
    }
    route("127.0.0.1/32".parse().unwrap(), gateway);
}

/// Names of this namespace's links.
pub(crate) fn links() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap();
    let name = |line: &str| line.split_once(':').map(|(name, _)| name.trim().to_owned());
    text.lines().filter_map(name).collect()
}

/// A link's MAC address.
pub(crate) fn mac(link: &str) -> String {
    let mut request = LinkMessage::default();
    request.attributes = vec![LinkAttribute::IfName(link.into())];
    let socket = Socket::new(protocols::NETLINK_ROUTE).unwrap();
    let request = framed(RouteNetlinkMessage::GetLink(request), NLM_F_REQUEST);
    socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
    let (bytes, _) = socket.recv_from_full().unwrap();
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&bytes).unwrap().payload;
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = answer else {
        panic!("{answer:?}")
    };
    let mac = link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(mac) => Some(mac),
        _ => None,
    });
    tug_net::mac_text(mac.unwrap().try_into().unwrap())
}

/// Names of this namespace's nftables tables.
pub(crate) fn tables() -> Vec<String> {
    let request = NfTablesMessage::GetTable(TableMessage { attributes: vec![] });
    let mut names = Vec::new();
    for message in nftables(request) {
        if let NfTablesMessage::NewTable(table) = message {
            names.extend(table.attributes.into_iter().filter_map(|attribute| match attribute {
                TableAttribute::Name(name) => Some(name),
                _ => None,
            }));
        }
    }
    names
}

/// How many rules a table has.
pub(crate) fn rules(table: &str) -> usize {
    let attributes = vec![RuleAttribute::Table(table.into())];
    nftables(NfTablesMessage::GetRule(RuleMessage { attributes })).len()
}

/// `delete table ip NAME`
pub(crate) fn delete_table(table: &str) {
    let attributes = vec![TableAttribute::Name(table.into())];
    transaction(NfTablesMessage::DeleteTable(TableMessage { attributes }));
}

/// `delete rule` for all rules of a chain.
pub(crate) fn flush_chain(table: &str, chain: &str) {
    let attributes = vec![RuleAttribute::Table(table.into()), RuleAttribute::Chain(chain.into())];
    transaction(NfTablesMessage::DeleteRule(RuleMessage { attributes }));
}

fn transaction(inner: NfTablesMessage) {
    let message = |inner: NetfilterMessageInner, family, resource| {
        NetfilterMessage::new(NetfilterHeader::new(family, 0, resource), inner)
    };
    let mut datagram = Vec::new();
    for (message, flags) in [
        (message(ControlMessage::BatchBegin.into(), NetfilterProtoFamily::Unspec, 10), 0),
        (message(inner.into(), NetfilterProtoFamily::IPv4, 0), NLM_F_ACK),
        (message(ControlMessage::BatchEnd.into(), NetfilterProtoFamily::Unspec, 10), 0),
    ] {
        datagram.extend(framed(message, NLM_F_REQUEST | flags));
    }
    let socket = Socket::new(protocols::NETLINK_NETFILTER).unwrap();
    socket.send_to(&datagram, &SocketAddr::new(0, 0), 0).unwrap();
    acknowledged::<NetfilterMessage>(&socket);
}

fn nftables(inner: NfTablesMessage) -> Vec<NfTablesMessage> {
    let header = NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, 0);
    let request = framed(NetfilterMessage::new(header, inner), NLM_F_REQUEST | NLM_F_DUMP);
    let socket = Socket::new(protocols::NETLINK_NETFILTER).unwrap();
    socket.send_to(&request, &SocketAddr::new(0, 0), 0).unwrap();
    let mut found = Vec::new();
    loop {
        let (bytes, _) = socket.recv_from_full().unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let message = NetlinkMessage::<NetfilterMessage>::deserialize(rest).unwrap();
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::Done(_) => return found,
                NetlinkPayload::InnerMessage(NetfilterMessage {
                    inner: NetfilterMessageInner::NfTables(inner),
                    ..
                }) => found.push(inner),
                other => panic!("{other:?}"),
            }
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

fn change(message: RouteNetlinkMessage) {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    let socket = Socket::new(protocols::NETLINK_ROUTE).unwrap();
    socket.send_to(&framed(message, flags), &SocketAddr::new(0, 0), 0).unwrap();
    acknowledged::<RouteNetlinkMessage>(&socket);
}

fn acknowledged<M: NetlinkDeserializable + std::fmt::Debug>(socket: &Socket) {
    let (bytes, _) = socket.recv_from_full().unwrap();
    match NetlinkMessage::<M>::deserialize(&bytes).unwrap().payload {
        NetlinkPayload::Error(error) => assert_eq!(error.raw_code(), 0, "{error:?}"),
        other => panic!("{other:?}"),
    }
}

fn framed<M: NetlinkSerializable>(message: M, flags: u16) -> Vec<u8> {
    let mut message = NetlinkMessage::new(
        netlink_packet_core::NetlinkHeader::default(),
        NetlinkPayload::InnerMessage(message),
    );
    message.header.flags = flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}
