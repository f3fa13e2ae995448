//! `port`.

use crate::context::Context;
use crate::flags::{Arguments, Command, Parsed};
use crate::quit::Quit;
use tug_net::PublishedPort;
use tug_types::{Failure, Kind};

pub(crate) static COMMAND: Command = Command {
    names: &["port", "container port"],
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    about: "List port mappings, or one of them, of a container",
    flags: &[],
    arguments: Arguments::Between(1, 2),
    verbatim: false,
    run,
};

fn run(ctx: &Context, parsed: &Parsed<'_>) -> Result<u8, Quit> {
    let mut ports = ctx.engine.ports(parsed.first())?;
    ports.sort_by_key(|port| (port.container_port, port.protocol, port.host_ip, port.host_port));
    let lines = match parsed.arguments.get(1) {
        None => all(&ports),
        Some(wanted) => one(&ports, wanted, parsed.first())?,
    };
    ctx.print(lines).map(|()| 0)
}

fn all(ports: &[PublishedPort]) -> String {
    let line = |port: &PublishedPort| {
        format!(
            "{}/{} -> {}:{}\n",
            port.container_port,
            port.protocol.as_str(),
            port.host_ip,
            port.host_port
        )
    };
    ports.iter().map(line).collect()
}

fn one(ports: &[PublishedPort], wanted: &str, container: &str) -> Result<String, Quit> {
    let (number, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let bad = |_| {
        Quit::invalid(format!("Error: invalid port '{number}': expected a number from 0 to 65535"))
    };
    let number: u16 = number.parse().map_err(bad)?;
    let matching =
        |port: &&PublishedPort| port.container_port == number && port.protocol.as_str() == protocol;
    let lines: String = ports
        .iter()
        .filter(matching)
        .map(|port| format!("{}:{}\n", port.host_ip, port.host_port))
        .collect();
    if lines.is_empty() {
        let message = format!("no public port '{wanted}' published for {container}");
        return Err(Failure::new(Kind::NotFound, message)
            .with_hint(format!("`tug port {container}` lists them"))
            .into());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use tug_net::Protocol;

    fn ports() -> Vec<PublishedPort> {
        let port = |host_port, container_port, protocol| PublishedPort {
            host_ip: Ipv4Addr::UNSPECIFIED,
            host_port,
            container_port,
            protocol,
        };
        vec![port(8080, 80, Protocol::Tcp), port(5353, 53, Protocol::Udp)]
    }

    #[test]
    fn lines_are_dockers() {
        assert_eq!(all(&ports()), "80/tcp -> 0.0.0.0:8080\n53/udp -> 0.0.0.0:5353\n");
        assert_eq!(one(&ports(), "80", "web").unwrap(), "0.0.0.0:8080\n");
        assert_eq!(one(&ports(), "53/udp", "web").unwrap(), "0.0.0.0:5353\n");
        let error = one(&ports(), "53", "web").unwrap_err();
        assert_eq!(error.to_string(), "no public port '53' published for web");
        assert!(one(&ports(), "x", "web").is_err());
    }
}
