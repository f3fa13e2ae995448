//! Publishing: elements of the two maps, all of a container's in one transaction.
//!
//! An element's key is where packets arrive, its value where they go. Whoever adds one holds the
//! host's port through its [`Reservation`]; an element whose port can be bound is therefore one
//! that a killed process left, and is replaced.

use crate::bridge::{missing_nftables, netfilter};
use crate::reservation::Reservation;
use crate::socket::{Netlink, Refused, Request};
use crate::{BridgeConfig, Error, PortRequest, Protocol, PublishedPort, Result};
use crate::{flows, nft, ruleset};
use netlink_packet_core::{NLM_F_CREATE, ParseableParametrized};
use netlink_packet_netfilter::nftables::{
    DataAttribute, ListAttribute, NfTablesMessage, SetElementAttribute, SetElementList,
    SetElementMessage,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner};
use std::net::Ipv4Addr;

/// Elements in one message: a list attribute cannot be longer than 65,535 bytes.
const ELEMENTS_PER_MESSAGE: usize = 512;
/// How often a transaction is tried anew when others changed the maps in between.
const TRIES: usize = 16;

/// Publishes ports of the container at `address`, choosing host ports where that was left open.
/// All or none. The reservation has to be kept for as long as the ports are published.
///
/// # Errors
/// [`Error::PortAllocated`] or [`Error::PortTaken`] when somebody has a port.
pub fn publish(
    config: &BridgeConfig,
    address: Ipv4Addr,
    requests: &[PortRequest],
) -> Result<(Vec<PublishedPort>, Reservation)> {
    let mut reservation = Reservation::default();
    let mut ports = Vec::with_capacity(requests.len());
    for request in requests {
        ports.push(reservation.take(request).map_err(|error| blame_container(config, error))?);
    }
    republish(config, address, &ports)?;
    Ok((ports, reservation))
}

/// Adds the elements of ports that the caller holds already, replacing what stands in their place:
/// after a firewall's reload has emptied the table, and as the second half of [`publish`].
///
/// # Errors
/// When the table is missing or the kernel refuses.
pub fn republish(config: &BridgeConfig, address: Ipv4Addr, ports: &[PublishedPort]) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut netlink = netfilter(config)?;
    let mut stale = Vec::new();
    for _ in 0..TRIES {
        let mut requests = change(config, &stale, Change::Remove);
        requests.extend(change(config, ports, Change::Add(address)));
        match nft::commit(&mut netlink, &requests) {
            Ok(()) => {
                flows::forget_arrivals(&mut netlink, ports);
                return Ok(());
            }
            // EEXIST, EBUSY before 6.x: a key stands with another value. ENOENT: one to be removed is gone already.
            Err(Refused { errno })
                if matches!(errno, libc::EEXIST | libc::EBUSY)
                    || (errno == libc::ENOENT && !stale.is_empty()) =>
            {
                let standing = list(&mut netlink, config)?;
                let stands = |port: &&PublishedPort| {
                    standing.iter().any(|(other, _)| place(other) == place(port))
                };
                stale = ports.iter().filter(stands).cloned().collect();
            }
            Err(refused) => return Err(write_error(config, address, refused.errno)),
        }
    }
    Err(write_error(config, address, libc::EBUSY))
}

/// Removes every element that leads to `address`, whoever added it. Idempotent; a missing table has
/// none. This is how the leftovers of a killed process go.
///
/// # Errors
/// When the kernel refuses to list or to change the table.
pub fn unpublish(config: &BridgeConfig, address: Ipv4Addr) -> Result<()> {
    let mut netlink = netfilter(config)?;
    for _ in 0..TRIES {
        let mut ports = list(&mut netlink, config)?;
        ports.retain(|(_, target)| *target == address);
        if ports.is_empty() {
            return Ok(());
        }
        let ports: Vec<_> = ports.into_iter().map(|(port, _)| port).collect();
        match remove(&mut netlink, config, address, &ports) {
            Err(Refused { errno: libc::ENOENT }) => {}
            outcome => {
                return outcome.map_err(|refused| write_error(config, address, refused.errno));
            }
        }
    }
    Err(write_error(config, address, libc::ENOENT))
}

/// [`unpublish`] for the one who published and still holds the ports: goes straight to the
/// elements instead of listing all, and lists only when they are not as they were.
///
/// # Errors
/// As [`unpublish`].
pub fn unpublish_ports(
    config: &BridgeConfig,
    address: Ipv4Addr,
    ports: &[PublishedPort],
) -> Result<()> {
    if ports.is_empty() {
        return Ok(());
    }
    let mut netlink = netfilter(config)?;
    match remove(&mut netlink, config, address, ports) {
        Ok(()) => Ok(()),
        Err(_) => unpublish(config, address),
    }
}

/// Everything the table publishes, with the container's address each port leads to, in the order
/// of the ports.
///
/// # Errors
/// When the kernel refuses to list it; a missing table publishes nothing.
pub fn published(config: &BridgeConfig) -> Result<Vec<(PublishedPort, Ipv4Addr)>> {
    let mut netlink = netfilter(config)?;
    let mut ports = list(&mut netlink, config)?;
    ports.sort_by_key(|(port, _)| (port.host_port, port.protocol, port.host_ip));
    Ok(ports)
}

/// Turns "taken" into "allocated" when the taker is another container on this bridge. A process that
/// listens is the taker whatever the table says; reservations of TCP ports never do.
fn blame_container(config: &BridgeConfig, error: Error) -> Error {
    let Error::PortTaken { ip, port, protocol, ref holder } = error else { return error };
    if protocol == Protocol::Tcp && holder.is_some() {
        return error;
    }
    let clashes = |other: &PublishedPort| {
        let same_ip = other.host_ip == ip || other.host_ip.is_unspecified() || ip.is_unspecified();
        other.host_port == port && other.protocol == protocol && same_ip
    };
    let all = published(config).unwrap_or_default();
    match all.into_iter().find(|(other, _)| clashes(other)) {
        Some((_, container)) => Error::PortAllocated { ip, port, protocol, container },
        None => error,
    }
}

fn write_error(config: &BridgeConfig, address: Ipv4Addr, errno: i32) -> Error {
    let source = std::io::Error::from_raw_os_error(errno);
    Error::WritePorts { table: config.table.clone(), address, source }
}

fn remove(
    netlink: &mut Netlink,
    config: &BridgeConfig,
    address: Ipv4Addr,
    ports: &[PublishedPort],
) -> Result<(), Refused> {
    nft::commit(netlink, &change(config, ports, Change::Remove))?;
    if ports.iter().any(|port| port.protocol == Protocol::Udp) {
        flows::forget_container(netlink, address);
    }
    Ok(())
}

/// Where packets for a port arrive: the element's key.
fn place(port: &PublishedPort) -> (Ipv4Addr, Protocol, u16) {
    (port.host_ip, port.protocol, port.host_port)
}

#[derive(Clone, Copy)]
enum Change {
    /// Elements leading to this address.
    Add(Ipv4Addr),
    Remove,
}

fn change(
    config: &BridgeConfig,
    ports: &[PublishedPort],
    change: Change,
) -> Vec<Request<NetfilterMessage>> {
    let mut requests = Vec::new();
    for (map, anywhere) in [(ruleset::ANYWHERE, true), (ruleset::AT, false)] {
        let ports: Vec<_> =
            ports.iter().filter(|port| port.host_ip.is_unspecified() == anywhere).collect();
        for ports in ports.chunks(ELEMENTS_PER_MESSAGE) {
            let elements = ports.iter().map(|port| element(port, change)).collect();
            let message = SetElementMessage {
                attributes: vec![
                    SetElementList::Table(config.table.clone()),
                    SetElementList::Set(map.to_owned()),
                    SetElementList::Elements(elements),
                ],
            };
            requests.push(match change {
                Change::Add(_) => {
                    (nft::message(NfTablesMessage::NewSetElement(message)), NLM_F_CREATE)
                }
                Change::Remove => (nft::message(NfTablesMessage::DeleteSetElement(message)), 0),
            });
        }
    }
    requests
}

/// Every field fills whole 32-bit words, padded at its end, as the registers of the rules do.
fn element(port: &PublishedPort, change: Change) -> ListAttribute<SetElementAttribute> {
    let mut key = Vec::with_capacity(12);
    if !port.host_ip.is_unspecified() {
        key.extend(port.host_ip.octets());
    }
    key.extend([number_of(port.protocol), 0, 0, 0]);
    key.extend(padded(port.host_port));
    let mut attributes = vec![SetElementAttribute::Key(DataAttribute::Value(key))];
    if let Change::Add(address) = change {
        let data = [address.octets(), padded(port.container_port)].concat();
        attributes.push(SetElementAttribute::Data(DataAttribute::Value(data)));
    }
    ListAttribute::Element(attributes)
}

fn padded(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn number_of(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    }
}

fn list(netlink: &mut Netlink, config: &BridgeConfig) -> Result<Vec<(PublishedPort, Ipv4Addr)>> {
    let mut ports = Vec::new();
    for map in [ruleset::ANYWHERE, ruleset::AT] {
        let attributes =
            vec![SetElementList::Table(config.table.clone()), SetElementList::Set(map.to_owned())];
        let request =
            nft::message(NfTablesMessage::GetSetElement(SetElementMessage { attributes }));
        ports.extend(list_map(netlink, &request).or_else(
            |source| match source.raw_os_error() {
                Some(libc::ENOENT) => Ok(Vec::new()),
                Some(errno) if missing_nftables(errno) => {
                    Err(Error::NoNftables { table: config.table.clone(), source })
                }
                _ => Err(Error::ReadTable { table: config.table.clone(), source }),
            },
        )?);
    }
    Ok(ports)
}

fn list_map(
    netlink: &mut Netlink,
    request: &NetfilterMessage,
) -> std::io::Result<Vec<(PublishedPort, Ipv4Addr)>> {
    let mut ports = Vec::new();
    // Changes by others while listing are reported; what is listed then may miss elements.
    for _ in 0..TRIES {
        ports.clear();
        let consistent = netlink.dump(request, |kind, payload| {
            if let Ok(message) = NetfilterMessage::parse_with_param(payload, kind) {
                ports.extend(elements_of(message).filter_map(|element| decode(&element)));
            }
        })?;
        if consistent {
            break;
        }
    }
    Ok(ports)
}

fn elements_of(message: NetfilterMessage) -> impl Iterator<Item = Vec<SetElementAttribute>> {
    let attributes = match message.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewSetElement(list)) => list.attributes,
        _ => Vec::new(),
    };
    let lists = attributes.into_iter().filter_map(|attribute| match attribute {
        SetElementList::Elements(elements) => Some(elements),
        _ => None,
    });
    lists.flatten().filter_map(|element| match element {
        ListAttribute::Element(attributes) => Some(attributes),
        _ => None,
    })
}

fn decode(element: &[SetElementAttribute]) -> Option<(PublishedPort, Ipv4Addr)> {
    let (mut key, mut data) = (None, None);
    for attribute in element {
        match attribute {
            SetElementAttribute::Key(DataAttribute::Value(bytes)) => key = Some(bytes.as_slice()),
            SetElementAttribute::Data(DataAttribute::Value(bytes)) => data = Some(bytes.as_slice()),
            _ => {}
        }
    }
    let (host_ip, key) = match key? {
        [a, b, c, d, rest @ ..] if rest.len() == 8 => (Ipv4Addr::new(*a, *b, *c, *d), rest),
        key => (Ipv4Addr::UNSPECIFIED, key),
    };
    let [number, 0, 0, 0, high, low, ..] = *key else { return None };
    let [a, b, c, d, to_high, to_low, ..] = *data? else { return None };
    let protocol = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .into_iter()
        .find(|protocol| number_of(*protocol) == number)?;
    let port = PublishedPort {
        host_ip,
        host_port: u16::from_be_bytes([high, low]),
        container_port: u16::from_be_bytes([to_high, to_low]),
        protocol,
    };
    Some((port, Ipv4Addr::new(a, b, c, d)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_reads_back_as_it_was_written() {
        let address = Ipv4Addr::new(172, 17, 0, 2);
        for host_ip in [Ipv4Addr::UNSPECIFIED, Ipv4Addr::LOCALHOST] {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                let port = PublishedPort { host_ip, host_port: 8080, container_port: 80, protocol };
                let ListAttribute::Element(attributes) = element(&port, Change::Add(address))
                else {
                    panic!("not an element");
                };
                assert_eq!(decode(&attributes), Some((port, address)));
            }
        }
    }

    #[test]
    fn foreign_elements_are_passed_over() {
        let value = |bytes: &[u8]| DataAttribute::Value(bytes.to_vec());
        assert_eq!(decode(&[SetElementAttribute::Key(value(&[6, 0, 0, 0, 1, 2, 0, 0]))]), None);
        assert_eq!(
            decode(&[
                SetElementAttribute::Key(value(&[6])),
                SetElementAttribute::Data(value(&[1; 8]))
            ]),
            None
        );
    }
}
