//! rtnetlink messages as values: bridges, veth pairs, addresses and routes.

use crate::socket::Request;
use crate::{BridgeConfig, Endpoint, mac_of};
use ipnet::Ipv4Net;
use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet, AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InetDevConf, InfoBridge, InfoBridgePort,
    InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo,
    LinkMessage, LinkProtoInfoBridge,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

/// `RTEXT_FILTER_SKIP_STATS`: answers about a link leave its counters out.
const SKIP_STATS: u32 = 1 << 3;
const IFLA_EXT_MASK: u16 = 29;
/// The loopback link has this index in every namespace.
const LOOPBACK: u32 = 1;

/// The bridge itself, down and without an address. Its MAC is fixed, for a bridge without one
/// takes over its lowest port's and changes it as containers come and go.
pub(crate) fn create_bridge(config: &BridgeConfig) -> Request<Message> {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(config.bridge.clone()),
        LinkAttribute::Mtu(config.mtu),
        LinkAttribute::Address(mac_of(config.gateway).to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::MulticastSnooping(false)])),
        ]),
    ];
    (Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// Everything about an existing bridge that can be set again and again: settings, MTU, address, up.
pub(crate) fn configure_bridge(config: &BridgeConfig, index: u32) -> Vec<Request<Message>> {
    let mut settings = InetDevConf::default();
    settings.forwarding = 1;
    settings.route_localnet = 1;
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![
        LinkAttribute::Mtu(config.mtu),
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(
            settings,
        )])]),
    ];
    let net = Ipv4Net::new(config.gateway, config.subnet.prefix_len()).unwrap_or(config.subnet);
    vec![(Message::NewLink(link), 0), no_link_local(index), add_address(index, net), up(index)]
}

/// Asks for one link by name, without its counters.
pub(crate) fn get_link(name: &str) -> Message {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Other(DefaultNla::new(IFLA_EXT_MASK, SKIP_STATS.to_ne_bytes().to_vec())),
    ];
    Message::GetLink(link)
}

/// Asks for one link by index, without its counters.
pub(crate) fn get_link_by_index(index: u32) -> Message {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::Other(DefaultNla::new(
        IFLA_EXT_MASK,
        SKIP_STATS.to_ne_bytes().to_vec(),
    ))];
    Message::GetLink(link)
}

/// A veth pair: the host's end up and on the bridge, the other created in `netns` with its name,
/// MAC and MTU, so that it is never seen under another one or outside. One queue each: the default
/// is one per processor, each with entries in sysfs to create, and only XDP makes use of them.
pub(crate) fn create_pair(
    config: &BridgeConfig,
    endpoint: &Endpoint,
    bridge: u32,
    netns: BorrowedFd<'_>,
) -> Request<Message> {
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(endpoint.container_link.clone()),
        LinkAttribute::Mtu(config.mtu),
        LinkAttribute::Address(endpoint.mac.to_vec()),
        LinkAttribute::NetNsFd(netns.as_raw_fd()),
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
    ];
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName(endpoint.host_link.clone()),
        LinkAttribute::Mtu(config.mtu),
        LinkAttribute::Controller(bridge),
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    (Message::NewLink(link), NLM_F_CREATE | NLM_F_EXCL)
}

/// Lets the bridge send a frame back out of the port it came in by. Needed where bridged frames pass
/// through iptables and nftables (`bridge-nf-call-iptables`, on by default where the kernel has
/// br_netfilter): there a container's packet to its own published port is translated on the bridge
/// and never routed.
pub(crate) fn reflect(host_link: &str) -> Request<Message> {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(host_link.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
        ]),
    ];
    (Message::NewLink(link), 0)
}

/// Takes a port out of the bridge's traffic, and the addresses behind it out of the bridge's memory;
/// the kernel does both in this order. Said as `bridge link set` says it: the same setting made by
/// `ip link set` is followed by a notification that enables the port again.
pub(crate) fn retire(index: u32) -> Request<Message> {
    const IFLA_BRPORT_STATE: u16 = 1;
    const IFLA_BRPORT_FLUSH: u16 = 24;
    const DISABLED: u8 = 0;
    let settings = [
        DefaultNla::new(IFLA_BRPORT_STATE, vec![DISABLED]),
        DefaultNla::new(IFLA_BRPORT_FLUSH, Vec::new()),
    ];
    let mut link = LinkMessage::default();
    link.header.interface_family = AddressFamily::Bridge;
    link.header.index = index;
    link.attributes = vec![LinkAttribute::ProtoInfoBridge(
        settings.into_iter().map(LinkProtoInfoBridge::Other).collect(),
    )];
    (Message::SetLink(link), 0)
}

/// What makes a container's end usable: loopback, address, link, default route, in this order.
pub(crate) fn configure_endpoint(
    config: &BridgeConfig,
    endpoint: &Endpoint,
    index: u32,
) -> Vec<Request<Message>> {
    let net = Ipv4Net::new(endpoint.address, config.subnet.prefix_len()).unwrap_or(config.subnet);
    vec![
        up(LOOPBACK),
        no_link_local(index),
        add_address(index, net),
        up(index),
        default_route(config.gateway),
    ]
}

/// Brings the loopback link up; the kernel adds 127.0.0.1 and ::1 by itself.
pub(crate) fn loopback_up() -> Request<Message> {
    up(LOOPBACK)
}

/// Removes a link by name, and its peer with it.
pub(crate) fn remove(name: &str) -> Request<Message> {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    (Message::DelLink(link), 0)
}

/// Asks for the main table's IPv4 routes.
pub(crate) fn list_routes() -> Message {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    Message::GetRoute(route)
}

fn up(index: u32) -> Request<Message> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    (Message::NewLink(link), 0)
}

/// Keeps a link that only speaks IPv4 from taking an fe80:: address, and the kernel from the
/// duplicate detection and router solicitations that come with it.
fn no_link_local(index: u32) -> Request<Message> {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![
        AfSpecInet6::AddrGenMode(In6AddrGenMode::None),
    ])])];
    (Message::NewLink(link), 0)
}

fn add_address(index: u32, net: Ipv4Net) -> Request<Message> {
    let mut address = AddressMessage::default();
    address.header.family = AddressFamily::Inet;
    address.header.prefix_len = net.prefix_len();
    address.header.scope = AddressScope::Universe;
    address.header.index = index;
    address.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(net.addr())),
        AddressAttribute::Address(IpAddr::V4(net.addr())),
        AddressAttribute::Broadcast(net.broadcast()),
    ];
    (Message::NewAddress(address), NLM_F_CREATE | NLM_F_EXCL)
}

fn default_route(gateway: Ipv4Addr) -> Request<Message> {
    let mut route = RouteMessage::default();
    route.header.address_family = AddressFamily::Inet;
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.kind = RouteType::Unicast;
    route.header.protocol = RouteProtocol::Boot;
    route.header.scope = RouteScope::Universe;
    route.attributes = vec![RouteAttribute::Gateway(RouteAddress::Inet(gateway))];
    (Message::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL)
}
