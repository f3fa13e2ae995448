//! `EXPOSE`: port words into `80/tcp`.

/// One word of an `EXPOSE` after reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExposedPorts {
    /// As written, variables replaced.
    pub word: String,
    /// `80/tcp`, one for each port of a range.
    pub ports: Vec<String>,
    /// The protocol was not in lower case.
    pub protocol_casing: bool,
    /// An address or a host port was given, which `EXPOSE` has no use for.
    pub has_host_part: bool,
}

/// A port word that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nothing before the protocol.
    #[error("invalid port: {0:?}: no port specified")]
    NoPort(String),
    /// Neither tcp, udp nor sctp.
    #[error("invalid port: {word:?}: invalid proto: {protocol}")]
    Protocol {
        /// The word.
        word: String,
        /// Behind the slash.
        protocol: String,
    },
    /// The address is none.
    #[error("invalid IP address: {0}")]
    Address(String),
    /// The container's part is no port or range.
    #[error("invalid containerPort: {0}")]
    Container(String),
    /// The host's part is no port or range.
    #[error("invalid hostPort: {0}")]
    Host(String),
    /// Ranges of different length.
    #[error("invalid ranges specified for container and host Ports: {container} and {host}")]
    Ranges {
        /// The container's.
        container: String,
        /// The host's.
        host: String,
    },
}

/// Reads one word, `[ip:][host:]port[-port][/protocol]`, variables replaced.
///
/// # Errors
/// When a part is no address, port, range or protocol.
pub fn parse_ports(word: &str) -> Result<ExposedPorts, PortError> {
    let (front, container) = word.rsplit_once(':').unwrap_or(("", word));
    let (address, host) = front.rsplit_once(':').unwrap_or(("", front));
    let (port, protocol) = container.split_once('/').unwrap_or((container, ""));
    if port.is_empty() {
        return Err(PortError::NoPort(word.to_owned()));
    }
    let lower = match protocol.to_lowercase() {
        lower if lower.is_empty() => "tcp".to_owned(),
        lower if ["tcp", "udp", "sctp"].contains(&lower.as_str()) => lower,
        _ => {
            return Err(PortError::Protocol {
                word: word.to_owned(),
                protocol: protocol.to_owned(),
            });
        }
    };
    let plain =
        address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    if !plain.is_empty() && plain.parse::<std::net::IpAddr>().is_err() {
        return Err(PortError::Address(plain.to_owned()));
    }
    let (first, last) = range(port).ok_or_else(|| PortError::Container(port.to_owned()))?;
    if !host.is_empty() {
        let (host_first, host_last) =
            range(host).ok_or_else(|| PortError::Host(host.to_owned()))?;
        if last - first != host_last - host_first && first != last {
            return Err(PortError::Ranges { container: port.to_owned(), host: host.to_owned() });
        }
    }
    Ok(ExposedPorts {
        word: word.to_owned(),
        ports: (first..=last).map(|port| format!("{port}/{lower}")).collect(),
        protocol_casing: protocol != protocol.to_lowercase(),
        has_host_part: !address.is_empty() || !host.is_empty(),
    })
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_ports;

    #[test]
    fn words_into_ports() {
        for (word, ports) in [
            ("80", "80/tcp"),
            ("80/udp", "80/udp"),
            ("80/TCP", "80/tcp"),
            ("8000-8002", "8000/tcp 8001/tcp 8002/tcp"),
            ("8080:80/sctp", "80/sctp"),
            ("127.0.0.1:8080:80", "80/tcp"),
            ("[::1]:8080:80", "80/tcp"),
            ("::1:8080:80", "80/tcp"),
            ("8000-8010:80", "80/tcp"),
            ("0", "0/tcp"),
        ] {
            assert_eq!(
                parse_ports(word).map(|read| read.ports.join(" ")),
                Ok(ports.to_owned()),
                "{word}"
            );
        }
        for word in
            ["", "/tcp", "80/foo", "99999", "80-70", "a", "x:1:2", "80-81:90-95:1", "10-20:1-2"]
        {
            assert!(parse_ports(word).is_err(), "{word}");
        }
        assert!(parse_ports("1:2").unwrap().has_host_part);
        assert!(parse_ports("2/Tcp").unwrap().protocol_casing);
    }
}
