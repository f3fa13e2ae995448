//! A container's hosts file, line by line as Docker writes it.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

const LOCALHOST: &str = "127.0.0.1\tlocalhost\n";
const IPV6: &str = "::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n";

/// `--add-host NAME:ADDRESS`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub target: Target,
}

/// What an added name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// This address.
    Address(IpAddr),
    /// `host-gateway`: the host as the container sees it.
    HostGateway,
}

/// Everything a container's hosts file is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts<'a> {
    /// The container's own address; none with `--network none`.
    pub address: Option<Ipv4Addr>,
    /// Its host name, with or without a domain.
    pub hostname: &'a str,
    /// `--domainname`, empty when not given.
    pub domainname: &'a str,
    /// `--add-host`, in the order given.
    pub extra: &'a [ExtraHost],
    /// What `host-gateway` stands for: the bridge's address.
    pub gateway: Option<Ipv4Addr>,
    /// Whether the container's loopback has ::1.
    pub ipv6: bool,
}

impl Hosts<'_> {
    /// The file's content. Names for `host-gateway` are left out where there is no gateway.
    pub fn render(&self) -> String {
        let mut text = LOCALHOST.to_owned();
        if self.ipv6 {
            text.push_str(IPV6);
        }
        // Writing into a String cannot fail.
        for ExtraHost { name, target } in self.extra {
            let address = match target {
                Target::Address(address) => Some(*address),
                Target::HostGateway => self.gateway.map(IpAddr::V4),
            };
            if let Some(address) = address {
                let _ = writeln!(text, "{address}\t{name}");
            }
        }
        if let Some(address) = self.address
            && !self.hostname.is_empty()
        {
            let _ = writeln!(text, "{address}\t{}", self.own_names());
        }
        text
    }

    /// The full name, and the part before its first dot where there is one.
    fn own_names(&self) -> String {
        let mut full = self.hostname.to_owned();
        if !self.domainname.is_empty() {
            full = format!("{full}.{}", self.domainname);
        }
        match full.split_once('.') {
            Some((short, _)) => format!("{full} {short}"),
            None => full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Hosts<'static> {
        Hosts {
            address: Some(Ipv4Addr::new(172, 17, 0, 2)),
            hostname: "3f2a7b8c9d0e",
            domainname: "",
            extra: &[],
            gateway: Some(Ipv4Addr::new(172, 17, 0, 1)),
            ipv6: true,
        }
    }

    #[test]
    fn the_plain_file_is_dockers() {
        assert_eq!(
            plain().render(),
            "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::\tip6-localnet\n\
             ff00::\tip6-mcastprefix\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n\
             172.17.0.2\t3f2a7b8c9d0e\n"
        );
    }

    #[test]
    fn added_hosts_come_before_the_containers_own() {
        let extra = [
            ExtraHost { name: "db".into(), target: Target::Address("10.0.0.5".parse().unwrap()) },
            ExtraHost {
                name: "db6".into(),
                target: Target::Address("2001:db8::5".parse().unwrap()),
            },
            ExtraHost { name: "host.docker.internal".into(), target: Target::HostGateway },
        ];
        let text = Hosts { extra: &extra, ipv6: false, hostname: "a.b.c", ..plain() }.render();
        assert_eq!(
            text,
            "127.0.0.1\tlocalhost\n10.0.0.5\tdb\n2001:db8::5\tdb6\n172.17.0.1\thost.docker.internal\n\
             172.17.0.2\ta.b.c a\n"
        );
    }

    #[test]
    fn without_a_network_there_is_only_localhost() {
        let extra = [ExtraHost { name: "h".into(), target: Target::HostGateway }];
        let hosts = Hosts { address: None, gateway: None, extra: &extra, ipv6: false, ..plain() };
        assert_eq!(hosts.render(), "127.0.0.1\tlocalhost\n");
    }

    #[test]
    fn a_domain_name_gives_the_full_and_the_short_name() {
        let text = Hosts { hostname: "web", domainname: "example.org", ..plain() }.render();
        assert!(text.ends_with("172.17.0.2\tweb.example.org web\n"), "{text}");
    }
}
