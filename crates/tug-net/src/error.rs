//! What can go wrong with networks, a variant per thing attempted.

use crate::{PortHolder, Protocol};
use std::io;
use std::net::Ipv4Addr;
use tug_types::{Explain, Kind, Subject};

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a network operation failed. The `source` is the kernel's answer.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the fields are the names the message shows")]
pub enum Error {
    /// No netlink socket of this protocol.
    #[error("open a netlink socket for {protocol}")]
    Socket { protocol: &'static str, source: io::Error },
    /// An answer of the kernel that this version cannot read.
    #[error("unexpected netlink answer to {request}")]
    Answer { request: &'static str },
    /// A link name the kernel would not take: empty, over 15 bytes, or with `/` or blanks.
    #[error("{name:?} cannot name a network link")]
    LinkName { name: String },
    /// Looking a link up failed.
    #[error("look up network link {link}")]
    InspectLink { link: String, source: io::Error },
    /// Something else has the bridge's name.
    #[error("network link {link} exists and is not a bridge")]
    NotABridge { link: String },
    /// Creating the bridge failed.
    #[error("create bridge {bridge}")]
    CreateBridge { bridge: String, source: io::Error },
    /// Address, MTU or state of the bridge could not be set.
    #[error("configure bridge {bridge} with {address}")]
    ConfigureBridge { bridge: String, address: String, source: io::Error },
    /// Removing a link failed.
    #[error("remove network link {link}")]
    RemoveLink { link: String, source: io::Error },
    /// Creating the pair that joins a container to its bridge failed.
    #[error("connect {host_link} to bridge {bridge}")]
    CreateLink { host_link: String, bridge: String, source: io::Error },
    /// Entering the container's network namespace failed.
    #[error("enter the container's network namespace")]
    EnterNamespace { source: io::Error },
    /// Coming back from the container's network namespace failed; the process must not go on.
    #[error("return to the host's network namespace")]
    LeaveNamespace { source: io::Error },
    /// Address, route or state of the container's link could not be set.
    #[error("configure {link} in the container with {address}")]
    ConfigureLink { link: String, address: Ipv4Addr, source: io::Error },
    /// The container's loopback stayed down.
    #[error("bring up lo in the container")]
    Loopback { source: io::Error },
    /// A kernel setting could not be read or written.
    #[error("set {path} to 1")]
    Sysctl { path: &'static str, source: io::Error },
    /// The kernel has no nftables, or not the parts that are needed.
    #[error("the kernel offers no nftables to this process (table {table})")]
    NoNftables { table: String, source: io::Error },
    /// Creating or refreshing the table failed.
    #[error("write nftables table ip {table}")]
    WriteTable { table: String, source: io::Error },
    /// Reading the table failed.
    #[error("read nftables table ip {table}")]
    ReadTable { table: String, source: io::Error },
    /// Removing the table failed.
    #[error("remove nftables table ip {table}")]
    RemoveTable { table: String, source: io::Error },
    /// Adding or removing map elements failed.
    #[error("publish ports of {address} in nftables table ip {table}")]
    WritePorts { table: String, address: Ipv4Addr, source: io::Error },
    /// Another container has the port. The words are Docker's.
    #[error("Bind for {ip}:{port} failed: port is already allocated")]
    PortAllocated { ip: Ipv4Addr, port: u16, protocol: Protocol, container: Ipv4Addr },
    /// A process of the host has the port. The words are Docker's.
    #[error("failed to bind host port {ip}:{port}/{protocol}: address already in use")]
    PortTaken { ip: Ipv4Addr, port: u16, protocol: Protocol, holder: Option<PortHolder> },
    /// No port of the asked range is free.
    #[error("no host port from {first} to {last}/{protocol} is free on {ip}")]
    NoFreePort { ip: Ipv4Addr, first: u16, last: u16, protocol: Protocol },
    /// The host has no such address, or the port may not be bound.
    #[error("failed to bind host port {ip}:{port}/{protocol}")]
    BindPort { ip: Ipv4Addr, port: u16, protocol: Protocol, source: io::Error },
    /// A range whose end lies before its start.
    #[error("host port range {first}-{last} is empty")]
    PortRange { first: u16, last: u16 },
    /// SCTP ports cannot be held against host processes yet.
    #[error("publish container port {container_port}/sctp: only tcp and udp can be published")]
    Sctp { container_port: u16 },
    /// Reading the host's routes failed.
    #[error("list the host's routes")]
    ListRoutes { source: io::Error },
}

impl Error {
    fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Socket { source, .. }
            | Self::InspectLink { source, .. }
            | Self::CreateBridge { source, .. }
            | Self::ConfigureBridge { source, .. }
            | Self::RemoveLink { source, .. }
            | Self::CreateLink { source, .. }
            | Self::EnterNamespace { source }
            | Self::LeaveNamespace { source }
            | Self::ConfigureLink { source, .. }
            | Self::Loopback { source }
            | Self::Sysctl { source, .. }
            | Self::NoNftables { source, .. }
            | Self::WriteTable { source, .. }
            | Self::ReadTable { source, .. }
            | Self::RemoveTable { source, .. }
            | Self::WritePorts { source, .. }
            | Self::BindPort { source, .. }
            | Self::ListRoutes { source } => Some(source),
            _ => None,
        }
    }
}

impl Explain for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::PortAllocated { .. } | Self::PortTaken { .. } | Self::NoFreePort { .. } => {
                Kind::Conflict
            }
            Self::NotABridge { .. } => Kind::Conflict,
            Self::LinkName { .. } | Self::PortRange { .. } | Self::Sctp { .. } => Kind::Invalid,
            Self::BindPort { source, .. } if source.raw_os_error() == Some(libc::EADDRNOTAVAIL) => {
                Kind::Invalid
            }
            Self::NoNftables { .. } => Kind::Unavailable,
            Self::CreateBridge { source, .. } | Self::CreateLink { source, .. }
                if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
            {
                Kind::Unavailable
            }
            _ => match self.cause().and_then(io::Error::raw_os_error) {
                Some(libc::EPERM | libc::EACCES) => Kind::Denied,
                _ => Kind::Internal,
            },
        }
    }

    fn subject(&self) -> Option<Subject> {
        match self {
            Self::PortAllocated { container, .. } => Some(Subject::ContainerAt(*container)),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        let denied = || "networks need root (CAP_NET_ADMIN); --network host needs none".to_owned();
        Some(match self {
            Self::NotABridge { link } => format!("remove or rename it: ip link delete {link}"),
            Self::PortAllocated { port, protocol, container, .. } => {
                format!("port {port}/{protocol} is published by the container at {container}")
            }
            Self::PortTaken { port, protocol, holder: Some(holder), .. } => {
                let PortHolder { pid, name } = holder;
                format!("port {port}/{protocol} is held by {name} (process {pid})")
            }
            Self::PortTaken { protocol, .. } => {
                let letter = if *protocol == Protocol::Udp { 'u' } else { 't' };
                format!("choose another host port, or see who has it: ss -{letter}anp")
            }
            Self::NoFreePort { .. } => "widen the range of host ports".to_owned(),
            Self::BindPort { ip, source, .. }
                if source.raw_os_error() == Some(libc::EADDRNOTAVAIL) =>
            {
                format!("{ip} is no address of this host; leave it out to publish on all of them")
            }
            Self::NoNftables { .. } => {
                "the kernel needs CONFIG_NF_TABLES, CONFIG_NFT_NAT, CONFIG_NFT_MASQ and \
                 CONFIG_NFT_FIB_IPV4 (modprobe nf_tables); --network host works without"
                    .to_owned()
            }
            Self::CreateBridge { source, .. }
                if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
            {
                "the kernel needs CONFIG_BRIDGE (modprobe bridge)".to_owned()
            }
            Self::CreateLink { source, .. } if source.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                "the kernel needs CONFIG_VETH (modprobe veth)".to_owned()
            }
            Self::Sysctl { path, .. } => format!("set it by hand: echo 1 > {path}"),
            _ if self.kind() == Kind::Denied => denied(),
            _ => return None,
        })
    }
}
