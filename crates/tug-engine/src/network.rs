//! The default network of a data root, and a container's place on it.

use crate::record::{NetworkMode, Record};
use crate::{Engine, Error, ports};
use std::net::Ipv4Addr;
use std::path::Path;
use tug_monitor::NetworkSpec;
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
        serde_json::from_str(&json).map_err(|source| Error::Record { id: DEFAULT.to_owned(), source })
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
        let subnet = tug_net::choose_subnet(&taken)
            .ok_or_else(|| tug_store::Error::NoAddress { network: "the default address pools".into() })?;
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
        let (text, warning) = self.resolv_conf(record);
        write("resolv.conf", &text)?;
        Ok(warning.into_iter().collect())
    }

    fn resolv_conf(&self, record: &Record) -> (String, Option<String>) {
        let host_network = record.network() == NetworkMode::Host;
        let own = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let stub = std::fs::read_to_string("/run/systemd/resolve/resolv.conf").ok();
        let overrides = resolv::Overrides {
            servers: record.host.dns.clone(),
            search: record.host.dns_search.clone(),
            options: record.host.dns_options.clone(),
        };
        if host_network && overrides == resolv::Overrides::default() {
            return (own, None);
        }
        let made = resolv::container_resolv_conf(&own, stub.as_deref(), &overrides);
        let warning = made.fell_back.then(|| {
            "the host's resolv.conf names only local resolvers; containers use public ones".to_owned()
        });
        (made.text, warning)
    }
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
    let extra = record.host.extra_hosts.clone().unwrap_or_default();
    let mut names = vec![record.config.hostname.clone()];
    if !record.config.domainname.is_empty() {
        names.insert(0, format!("{}.{}", record.config.hostname, record.config.domainname));
    }
    let host = resolv::HostsFile {
        address: address.map(|(address, _)| address),
        names,
        gateway: address.map(|(_, gateway)| gateway),
        extra,
    };
    host.text().map_err(|error| Error::Failed(error.failure()))
}

/// `tug0` and `tug` for the usual place; names made from the path for any other, so that two data
/// roots on one host never meet.
fn link_names(data_root: &Path) -> (String, String) {
    if data_root == Path::new("/var/lib/tug") {
        return ("tug0".to_owned(), "tug".to_owned());
    }
    use std::os::unix::ffi::OsStrExt;
    // FNV-1a, 32 bits: names need to differ, not to resist anybody.
    let hash = data_root
        .as_os_str()
        .as_bytes()
        .iter()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
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
