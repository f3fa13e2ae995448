//! Published ports: from `PortBindings` to what the network is asked for. Pure.

use crate::Error;
use crate::model::{Config, HostConfig, PortBinding};
use std::net::Ipv4Addr;
use tug_net::{PortRequest, Protocol};

/// Everything to publish: the bindings asked for, and with `-P` every exposed port besides.
pub(crate) fn requests(config: &Config, host: &HostConfig) -> Result<Vec<PortRequest>, Error> {
    let mut requests = Vec::new();
    for (port, bindings) in &host.port_bindings {
        let (container_port, protocol) = container_port(port)?;
        let any = [PortBinding::default()];
        let bindings = if bindings.is_empty() { &any[..] } else { bindings };
        for binding in bindings {
            requests.push(PortRequest {
                host_ip: host_ip(&binding.host_ip)?,
                host_ports: host_ports(&binding.host_port)?,
                container_port,
                protocol,
            });
        }
    }
    if host.publish_all_ports {
        for port in config.exposed_ports.keys() {
            let (container_port, protocol) = container_port(port)?;
            let there = |request: &PortRequest| {
                (request.container_port, request.protocol) == (container_port, protocol)
            };
            if !requests.iter().any(there) {
                let host_ip = Ipv4Addr::UNSPECIFIED;
                requests.push(PortRequest {
                    host_ip,
                    host_ports: (0, 0),
                    container_port,
                    protocol,
                });
            }
        }
    }
    Ok(requests)
}

/// `80/tcp`, `80`.
pub(crate) fn container_port(text: &str) -> Result<(u16, Protocol), Error> {
    let bad = |why: &str| Error::BadValue {
        what: "container port",
        value: text.to_owned(),
        why: why.to_owned(),
    };
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number: u16 = number.parse().map_err(|_| bad("expected a number from 1 to 65535"))?;
    if number == 0 {
        return Err(bad("expected a number from 1 to 65535"));
    }
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        "sctp" => Protocol::Sctp,
        _ => return Err(bad("expected tcp, udp or sctp")),
    };
    Ok((number, protocol))
}

fn host_ip(text: &str) -> Result<Ipv4Addr, Error> {
    if text.is_empty() {
        return Ok(Ipv4Addr::UNSPECIFIED);
    }
    text.parse().map_err(|_| Error::BadValue {
        what: "IP address to publish on",
        value: text.to_owned(),
        why: "expected an IPv4 address; publishing on IPv6 is not supported by tug".to_owned(),
    })
}

fn host_ports(text: &str) -> Result<(u16, u16), Error> {
    let bad = || Error::BadValue {
        what: "host port",
        value: text.to_owned(),
        why: "expected a number from 1 to 65535 or a range".to_owned(),
    };
    if text.is_empty() || text == "0" {
        return Ok((0, 0));
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u16, u16) =
        (first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?);
    if first == 0 || first > last { Err(bad()) } else { Ok((first, last)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(ip: &str, port: &str) -> Vec<PortBinding> {
        vec![PortBinding { host_ip: ip.to_owned(), host_port: port.to_owned() }]
    }

    #[test]
    fn bindings_and_exposed_ports_come_together() {
        let config = Config {
            exposed_ports: ["80/tcp", "53/udp"].map(|p| (p.to_owned(), Default::default())).into(),
            ..Config::default()
        };
        let host = HostConfig {
            port_bindings: [("80/tcp".to_owned(), binding("127.0.0.1", "8080-8090"))].into(),
            publish_all_ports: true,
            ..HostConfig::default()
        };
        let list = requests(&config, &host).unwrap();
        assert_eq!(list.len(), 2);
        assert_eq!((list[0].host_ip, list[0].host_ports), (Ipv4Addr::LOCALHOST, (8080, 8090)));
        assert_eq!((list[1].container_port, list[1].protocol), (53, Protocol::Udp));
        assert_eq!(list[1].host_ports, (0, 0));
    }

    #[test]
    fn nonsense_is_refused() {
        for (port, ip, host_port) in [
            ("0/tcp", "", ""),
            ("80/foo", "", ""),
            ("80/tcp", "::1", ""),
            ("80/tcp", "", "9-8"),
            ("x", "", ""),
        ] {
            let host = HostConfig {
                port_bindings: [(port.to_owned(), binding(ip, host_port))].into(),
                ..HostConfig::default()
            };
            assert!(requests(&Config::default(), &host).is_err(), "{port} {ip} {host_port}");
        }
    }
}
