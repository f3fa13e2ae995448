//! Networks as values: what is wanted, without how to bring it about.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// A bridge network on this host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BridgeConfig {
    /// Link name, `tug0` for the default data root; at most 15 bytes.
    pub bridge: String,
    /// Name of tug's nftables table (family `ip`), `tug` for the default data root. One table per
    /// data root, so that two never disturb each other.
    pub table: String,
    /// The range addresses come from.
    pub subnet: Ipv4Net,
    /// The bridge's own address, the containers' default route.
    pub gateway: Ipv4Addr,
    /// MTU of bridge and links: the uplink's.
    pub mtu: u32,
}

/// One container's place on a bridge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Name of the host's end of the veth pair; unique on the host, at most 15 bytes.
    pub host_link: String,
    /// Name inside, `eth0`.
    pub container_link: String,
    /// The container's address.
    pub address: Ipv4Addr,
    /// Docker's scheme: 02:42 and the address' bytes.
    pub mac: [u8; 6],
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "protocol names")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// The lower-case name, as in `80/tcp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port asked to be published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PortRequest {
    /// Host address to listen on; `0.0.0.0` for all.
    pub host_ip: Ipv4Addr,
    /// First and last host port to choose from; `0..=0` leaves the choice to tug (ephemeral range),
    /// first == last is exactly that one.
    pub host_ports: (u16, u16),
    /// Port inside.
    pub container_port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

/// A port as it was published.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Host address.
    pub host_ip: Ipv4Addr,
    /// Host port.
    pub host_port: u16,
    /// Port inside.
    pub container_port: u16,
    /// Protocol.
    pub protocol: Protocol,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
