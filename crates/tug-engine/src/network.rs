//! The default network of a data root, and a container's place on it.

use crate::record::{NetworkMode, Record};
use crate::{Engine, Error, ports};
use std::net::Ipv4Addr;
use std::path::Path;
use tug_monitor::NetworkSpec;
use tug_net::hosts::{ExtraHost, Hosts, Target};
use tug_net::{BridgeConfig, Endpoint, resolv};
use tug_types::{ContainerId, Explain};

/// Name of the default network in the store and in `inspect`.
pub(crate) const DEFAULT: &str = "bridge";

impl Engine {
    /// The default bridge; its range is chosen once, clear of what the host routes.
    pub(crate) fn bridge(&self) -> Result<BridgeConfig, Error> {
        let json = self.store.network_or_insert(DEFAULT, || -> Result<String, Error> {
            let bridge = self.choose_bridge()?;
            serde_json::to_string(&bridge)
                .map_err(|source| Error::Record { id: DEFAULT.to_owned(), source })
        })?;
        serde_json::from_str(&json)
            .map_err(|source| Error::Record { id: DEFAULT.to_owned(), source })
    }

    /// The default bridge, if it was ever chosen.
    pub(crate) fn known_bridge(&self) -> Result<Option<BridgeConfig>, Error> {
        let json = self.store.network(DEFAULT)?;
        json.map(|json| serde_json::from_str(&json))
            .transpose()
            .map_err(|source| Error::Record { id: DEFAULT.to_owned(), source })
    }

    fn choose_bridge(&self) -> Result<BridgeConfig, Error> {
        let failed = |error: tug_net::Error| Error::Failed(error.failure());
        let taken = tug_net::host_routes().map_err(failed)?;
        let subnet = tug_net::choose_subnet(&taken).ok_or_else(|| tug_store::Error::NoAddress {
            network: "the default address pools".into(),
        })?;
        let gateway = subnet.hosts().next().unwrap_or(subnet.network());
        let (bridge, table) = link_names(&self.settings.data_root);
        let mtu = tug_net::uplink_mtu().map_err(failed)?;
        Ok(BridgeConfig { bridge, table, subnet, gateway, mtu })
    }

    /// What the monitor sets up for a start, given the address the store allocated.
    pub(crate) fn network_spec(
        &self,
        id: &ContainerId,
        record: &Record,
        bridge: BridgeConfig,
        address: Ipv4Addr,
    ) -> Result<NetworkSpec, Error> {
        let ports = ports::requests(&record.config, &record.host)?;
        Ok(NetworkSpec { bridge, endpoint: endpoint(id, address), ports })
    }

    /// Writes hostname, hosts and resolv.conf of a container for this start.
    pub(crate) fn write_network_files(
        &self,
        id: &ContainerId,
        record: &Record,
        address: Option<(Ipv4Addr, Ipv4Addr)>,
    ) -> Result<Vec<String>, Error> {
        let dir = self.container_dir(id);
        let write = |name: &str, text: &str| {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(Error::files("write", &path))
        };
        write("hostname", &format!("{}\n", record.config.hostname))?;
        if let NetworkMode::Container(other) = record.network() {
            let other = self.container_dir(&self.container_as_recorded(other)?.id);
            for name in ["hosts", "resolv.conf"] {
                let (from, to) = (other.join(name), dir.join(name));
                std::fs::copy(&from, &to).map(drop).map_err(Error::files("copy", &from))?;
            }
            return Ok(Vec::new());
        }
        write("hosts", &hosts(record, address)?)?;
        let (text, warning) = resolv_conf(record)?;
        write("resolv.conf", &text)?;
        Ok(warning.into_iter().collect())
    }
}

/// resolv.conf, and what to warn of.
fn resolv_conf(record: &Record) -> Result<(String, Option<String>), Error> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let host = read("/etc/resolv.conf");
    let overrides = overrides(record)?;
    if record.network() == NetworkMode::Host {
        return Ok((resolv::for_host(&host, &overrides).text, None));
    }
    let systemd = resolv::uses_systemd_stub(&host).then(|| read(resolv::SYSTEMD_RESOLV_CONF));
    let made = resolv::for_bridge(&host, systemd.as_deref(), &overrides);
    let warning = made.public_resolvers.then(|| {
        "the host names no resolver that a container can reach; using 8.8.8.8 and 8.8.4.4, or give --dns"
            .to_owned()
    });
    Ok((made.text, warning))
}

fn overrides(record: &Record) -> Result<resolv::Overrides, Error> {
    let bad = |value: &String| Error::BadValue {
        what: "nameserver",
        value: value.clone(),
        why: "expected an IP address".to_owned(),
    };
    let servers = record.host.dns.iter().map(|text| text.parse().map_err(|_| bad(text)));
    Ok(resolv::Overrides {
        servers: servers.collect::<Result<_, _>>()?,
        search: record.host.dns_search.clone(),
        options: record.host.dns_options.clone(),
    })
}

/// The end of a veth pair that a container of this id and address gets.
pub(crate) fn endpoint(id: &ContainerId, address: Ipv4Addr) -> Endpoint {
    Endpoint {
        host_link: format!("tug{}", &id.as_str()[..11]),
        container_link: "eth0".to_owned(),
        address,
        mac: tug_net::mac_of(address),
    }
}

fn hosts(record: &Record, address: Option<(Ipv4Addr, Ipv4Addr)>) -> Result<String, Error> {
    if record.network() == NetworkMode::Host {
        return std::fs::read_to_string("/etc/hosts").map_err(Error::files("read", "/etc/hosts"));
    }
    let extra = extra_hosts(record)?;
    if record.step {
        return Ok(step_hosts(record, &extra, address.map(|(_, gateway)| gateway)));
    }
    let file = Hosts {
        address: address.map(|(address, _)| address),
        hostname: &record.config.hostname,
        domainname: &record.config.domainname,
        extra: &extra,
        gateway: address.map(|(_, gateway)| gateway),
        ipv6: true,
    };
    Ok(file.render())
}

/// What a build's command finds: BuildKit's file, which leaves its address out, so that what the command
/// makes of it is the same every time.
fn step_hosts(record: &Record, extra: &[ExtraHost], gateway: Option<Ipv4Addr>) -> String {
    let mut text = format!(
        "127.0.0.1\tlocalhost {}\n::1\tlocalhost ip6-localhost ip6-loopback\n",
        record.config.hostname
    );
    for host in extra {
        let address = match host.target {
            Target::Address(address) => Some(address),
            Target::HostGateway => gateway.map(std::net::IpAddr::V4),
        };
        if let Some(address) = address {
            text.push_str(&format!("{address}\t{}\n", host.name));
        }
    }
    text
}

/// `--add-host NAME:ADDRESS`, also `NAME=ADDRESS`.
pub(crate) fn extra_hosts(record: &Record) -> Result<Vec<ExtraHost>, Error> {
    let parse = |text: &String| {
        let bad = |why: &str| Error::BadValue {
            what: "add-host",
            value: text.clone(),
            why: why.to_owned(),
        };
        let (name, address) = text
            .split_once([':', '='])
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| bad("bad format for add-host: expected NAME:ADDRESS"))?;
        let target = match address.trim_matches(['[', ']']) {
            "host-gateway" => Target::HostGateway,
            address => Target::Address(address.parse().map_err(|_| bad("invalid IP address"))?),
        };
        Ok(ExtraHost { name: name.to_owned(), target })
    };
    record.host.extra_hosts.iter().flatten().map(parse).collect()
}

/// `tug0` and `tug` for the usual place; names made from the path for any other, so that two data
/// roots on one host never meet.
fn link_names(data_root: &Path) -> (String, String) {
    if data_root == Path::new("/var/lib/tug") {
        return ("tug0".to_owned(), "tug".to_owned());
    }
    use std::os::unix::ffi::OsStrExt;
    // FNV-1a, 32 bits: names need to differ, not to resist anybody.
    let hash =
        data_root.as_os_str().as_bytes().iter().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
        });
    (format!("tug-{hash:08x}"), format!("tug_{hash:08x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_roots_get_links_of_their_own() {
        assert_eq!(link_names(Path::new("/var/lib/tug")), ("tug0".to_owned(), "tug".to_owned()));
        let (a, b) = (link_names(Path::new("/a")), link_names(Path::new("/b")));
        assert!(a != b && a.0.len() <= 15);
    }
}
