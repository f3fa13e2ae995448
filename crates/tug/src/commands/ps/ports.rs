//! The `PORTS` column.

use std::net::Ipv4Addr;
use tug_net::PublishedPort;

/// A port of a container. The order of the fields is the order they are shown in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Port<'a> {
    inside: u16,
    /// Address and port on the host, when it is published.
    outside: Option<(Ipv4Addr, u16)>,
    protocol: &'a str,
}

/// Ports that follow each other under one protocol at one address, or nowhere.
#[derive(Clone, Copy)]
struct Run<'a> {
    address: Option<Ipv4Addr>,
    protocol: &'a str,
    first: u16,
    last: u16,
}

/// `0.0.0.0:8000-8002->8000-8002/tcp, 9000/udp`: runs of ports that are published under their own
/// number, or only exposed, become ranges; the others follow one by one.
pub(super) fn shown(published: &[PublishedPort], exposed: &[String]) -> String {
    let published = published.iter().map(|port| Port {
        inside: port.container_port,
        outside: Some((port.host_ip, port.host_port)),
        protocol: port.protocol.as_str(),
    });
    let exposed = exposed.iter().filter_map(|text| exposed_port(text));
    let exposed = exposed.map(|(inside, protocol)| Port { inside, outside: None, protocol });
    let mut ports: Vec<Port<'_>> = published.chain(exposed).collect();
    ports.sort_unstable();
    let (mut ended, mut open, mut mapped) = (Vec::new(), Vec::<Run<'_>>::new(), Vec::new());
    for Port { inside, outside, protocol } in ports {
        if let Some((address, port)) = outside
            && port != inside
        {
            mapped.push(format!("{address}:{port}->{inside}/{protocol}"));
            continue;
        }
        let address = outside.map(|(address, _)| address);
        let fresh = Run { address, protocol, first: inside, last: inside };
        match open.iter_mut().find(|run| (run.address, run.protocol) == (address, protocol)) {
            Some(run) if run.last.checked_add(1) == Some(inside) => run.last = inside,
            Some(run) => ended.push(std::mem::replace(run, fresh).to_string()),
            None => open.push(fresh),
        }
    }
    ended.extend(open.iter().map(ToString::to_string));
    ended.extend(mapped);
    ended.join(", ")
}

impl std::fmt::Display for Run<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let range = match self.first == self.last {
            true => self.first.to_string(),
            false => format!("{}-{}", self.first, self.last),
        };
        match self.address {
            Some(address) => write!(f, "{address}:{range}->{range}/{}", self.protocol),
            None => write!(f, "{range}/{}", self.protocol),
        }
    }
}

/// Number and protocol of `80/tcp`.
pub(super) fn exposed_port(text: &str) -> Option<(u16, &str)> {
    let (number, protocol) = text.split_once('/')?;
    Some((number.parse().ok()?, protocol))
}
