//! Holds host ports against everybody else.
//!
//! Translation happens before a packet meets a socket, so a published port needs none. One is bound
//! all the same, and never listens: the kernel then refuses the port to any other process, a second
//! container finds out who came first without a table of tug's own, and all of it ends with the
//! process that holds it.

use crate::holder::port_holder;
use crate::{Error, PortRequest, Protocol, PublishedPort, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_recv_buffer_size, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, OwnedFd};

/// Sockets bound to published ports. Dropping it frees the ports; it must live as long as they are
/// published. The descriptors are closed on exec.
#[derive(Debug, Default)]
pub struct Reservation {
    sockets: Vec<OwnedFd>,
}

impl Reservation {
    /// How many ports are held.
    pub fn len(&self) -> usize {
        self.sockets.len()
    }

    /// Whether no port is held.
    pub fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Binds the first free port of the request.
    pub(crate) fn take(&mut self, request: &PortRequest) -> Result<PublishedPort> {
        let PortRequest { host_ip: ip, protocol, .. } = *request;
        let (first, last) = request.host_ports;
        if protocol == Protocol::Sctp {
            return Err(Error::Sctp { container_port: request.container_port });
        }
        if first > last || (first == 0 && last != 0) {
            return Err(Error::PortRange { first, last });
        }
        for port in first..=last {
            match bind(ip, port, protocol) {
                Ok((socket, host_port)) => {
                    self.sockets.push(socket);
                    let container_port = request.container_port;
                    return Ok(PublishedPort { host_ip: ip, host_port, container_port, protocol });
                }
                Err(Errno::ADDRINUSE) => {}
                Err(errno) => {
                    return Err(Error::BindPort { ip, port, protocol, source: errno.into() });
                }
            }
        }
        Err(if first == last && first != 0 {
            let holder = port_holder(ip, first, protocol);
            Error::PortTaken { ip, port: first, protocol, holder }
        } else {
            Error::NoFreePort { ip, first, last, protocol }
        })
    }
}

/// Port 0 lets the kernel choose from `ip_local_port_range`, less the reserved ones.
fn bind(ip: Ipv4Addr, port: u16, protocol: Protocol) -> Result<(OwnedFd, u16), Errno> {
    let kind = if protocol == Protocol::Udp { SocketType::DGRAM } else { SocketType::STREAM };
    let open = || rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None);
    let address = SocketAddrV4::new(ip, port);
    let mut socket = open()?;
    match rustix::net::bind(&socket, &address) {
        // Connections of an earlier server may linger on the port (TIME_WAIT). They do not keep it
        // from a listener that says it knows of them; only then is listening needed to keep others
        // from saying the same.
        Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => {
            socket = open()?;
            set_socket_reuseaddr(&socket, true)?;
            rustix::net::bind(&socket, &address)?;
            rustix::net::listen(&socket, 0)?;
        }
        outcome => outcome?,
    }
    if protocol == Protocol::Udp {
        // What is not translated (broadcasts) would pile up in a socket nobody reads.
        set_socket_recv_buffer_size(&socket, 0)?;
    }
    let port = if port == 0 { local_port(&socket)? } else { port };
    Ok((socket, port))
}

fn local_port(socket: impl AsFd) -> Result<u16, Errno> {
    Ok(SocketAddrV4::try_from(rustix::net::getsockname(socket)?)?.port())
}
