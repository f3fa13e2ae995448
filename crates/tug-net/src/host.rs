//! What the host's routing table says: which ranges are taken, and how large packets may be.

use crate::facts::LinkFacts;
use crate::socket::Netlink;
use crate::{Error, Result, link};
use ipnet::Ipv4Net;
use netlink_packet_core::ParseableParametrized;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use std::net::Ipv4Addr;

/// Ethernet's, used where no default route says otherwise.
const DEFAULT_MTU: u32 = 1500;
/// `RT_TABLE_MAIN`
const MAIN: u32 = 254;

/// The destinations of the host's IPv4 routes in all tables, without default routes.
///
/// # Errors
/// When the kernel does not list them.
pub fn host_routes() -> Result<Vec<Ipv4Net>> {
    let mut nets = Vec::new();
    each_route(|route| nets.extend(destination(route)))?;
    nets.sort();
    nets.dedup();
    Ok(nets)
}

/// MTU of the link that the default route with the lowest metric uses, 1500 when there is none.
///
/// # Errors
/// When the kernel lists neither routes nor that link.
pub fn uplink_mtu() -> Result<u32> {
    let mut best: Option<(u32, u32)> = None;
    each_route(|route| {
        if let Some(candidate) = default_link(route) {
            best = Some(best.map_or(candidate, |best| best.min(candidate)));
        }
    })?;
    let Some((_, index)) = best else { return Ok(DEFAULT_MTU) };
    let facts = Netlink::route()?
        .get(&link::get_link_by_index(index), |_, payload| LinkFacts::read(payload))
        .map_err(|source| Error::InspectLink { link: format!("#{index}"), source })?;
    facts.map(|facts| facts.mtu).ok_or(Error::Answer { request: "RTM_GETLINK" })
}

fn each_route(mut each: impl FnMut(&RouteMessage)) -> Result<()> {
    Netlink::route()?
        .dump(&link::list_routes(), |kind, payload| {
            if let Ok(RouteNetlinkMessage::NewRoute(route)) =
                RouteNetlinkMessage::parse_with_param(payload, kind)
            {
                each(&route);
            }
        })
        .map(drop)
        .map_err(|source| Error::ListRoutes { source })
}

/// Where a route leads, unless it is a default route or the kernel's own for an address.
fn destination(route: &RouteMessage) -> Option<Ipv4Net> {
    let own = matches!(
        route.header.kind,
        RouteType::Local | RouteType::Broadcast | RouteType::Multicast | RouteType::Anycast
    );
    let address = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some(*address),
        _ => None,
    });
    let prefix = route.header.destination_prefix_length;
    if own || prefix == 0 {
        return None;
    }
    Ipv4Net::new(address.unwrap_or(Ipv4Addr::UNSPECIFIED), prefix).ok()
}

/// Metric and link of a default route of the main table.
fn default_link(route: &RouteMessage) -> Option<(u32, u32)> {
    let header = &route.header;
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return None;
    }
    let (mut table, mut metric, mut link) = (u32::from(header.table), 0, None);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Table(id) => table = *id,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::Oif(index) => link = Some(*index),
            RouteAttribute::MultiPath(hops) => {
                link = link.or(hops.first().map(|hop| hop.interface_index));
            }
            _ => {}
        }
    }
    (table == MAIN).then_some((metric, link?))
}
