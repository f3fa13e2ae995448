//! `inspect`: everything known of one container, in Docker's shape.

use crate::list::{network_name, port_key, shown_status};
use crate::model::{HostConfig, PortBinding};
use crate::record::{NetworkMode, Record};
use crate::time::rfc3339;
use crate::view::{ContainerInspect, EndpointSettings, GraphDriver, NetworkSettings, State};
use crate::{Engine, Error};
use std::collections::BTreeMap;
use std::path::PathBuf;
use tug_monitor::RunState;
use tug_net::BridgeConfig;
use tug_runtime::defaults;
use tug_store::{ContainerRow, ContainerState};
use tug_types::ContainerPath;

/// The host's side with the paths that are covered by default.
fn shown(mut host: HostConfig) -> HostConfig {
    let texts = |paths: Vec<ContainerPath>| paths.iter().map(ToString::to_string).collect();
    host.masked_paths.get_or_insert_with(|| texts(defaults::masked_paths()));
    host.readonly_paths.get_or_insert_with(|| texts(defaults::readonly_paths()));
    host
}

impl Engine {
    /// One container in full; `size` walks its files.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn inspect(&self, name: &str, size: bool) -> Result<ContainerInspect, Error> {
        let row = self.container(name)?;
        let record = Record::read(&row)?;
        let run = self.run_state(&row)?;
        let sizes = size.then(|| self.sizes(&row)).transpose()?;
        let dir = self.container_dir(&row.id);
        let mut words = record.command().into_iter();
        let network_settings = self.network_settings(&row, &record, run.as_ref())?;
        Ok(ContainerInspect {
            created: rfc3339(row.created),
            path: words.next().unwrap_or_default(),
            args: words.collect(),
            state: state(&row, run.as_ref()),
            image: row.image,
            resolv_conf_path: dir.join("resolv.conf"),
            hostname_path: dir.join("hostname"),
            hosts_path: dir.join("hosts"),
            log_path: dir.join("log"),
            name: format!("/{}", row.name),
            restart_count: 0,
            driver: "overlay2",
            platform: "linux",
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            exec_ids: None,
            graph_driver: self.graph_driver(&record, dir),
            size_rw: sizes.map(|(own, _)| own),
            size_root_fs: sizes.map(|(_, all)| all),
            mounts: record.mounts.iter().filter(|mount| mount.kind != "tmpfs").cloned().collect(),
            network_settings,
            host_config: shown(record.host),
            config: record.config,
            id: row.id,
        })
    }

    fn graph_driver(&self, record: &Record, dir: PathBuf) -> GraphDriver {
        let layers = self.store.layers();
        let trees: Vec<String> = record
            .layers
            .iter()
            .rev()
            .map(|layer| layers.tree(layer).display().to_string())
            .collect();
        let data = [
            ("LowerDir", trees.join(":")),
            ("UpperDir", dir.join("upper").display().to_string()),
            ("WorkDir", dir.join("work").display().to_string()),
        ];
        GraphDriver {
            data: data.map(|(name, value)| (name.to_owned(), value)).into(),
            name: "overlay2",
        }
    }

    fn network_settings(
        &self,
        row: &ContainerRow,
        record: &Record,
        run: Option<&RunState>,
    ) -> Result<NetworkSettings, Error> {
        let bridge = match record.network() {
            NetworkMode::Bridge => self.known_bridge()?,
            _ => None,
        };
        let endpoint = endpoint(row, run, bridge.as_ref());
        let bridged = record.network() == NetworkMode::Bridge;
        let top = if bridged { endpoint.clone() } else { EndpointSettings::default() };
        let networks = match record.network() {
            NetworkMode::Container(_) => BTreeMap::new(),
            _ => [(network_name(record), endpoint)].into(),
        };
        Ok(NetworkSettings {
            bridge: String::new(),
            sandbox_id: run.map(|_| row.id.to_string()).unwrap_or_default(),
            sandbox_key: run.map(|run| format!("/proc/{}/ns/net", run.pid)).unwrap_or_default(),
            ports: ports(record, run),
            hairpin_mode: false,
            link_local_ipv6_address: String::new(),
            link_local_ipv6_prefix_len: 0,
            secondary_ip_addresses: None,
            secondary_ipv6_addresses: None,
            endpoint_id: top.endpoint_id,
            gateway: top.gateway,
            global_ipv6_address: String::new(),
            global_ipv6_prefix_len: 0,
            ip_address: top.ip_address,
            ip_prefix_len: top.ip_prefix_len,
            ipv6_gateway: String::new(),
            mac_address: top.mac_address,
            networks,
        })
    }
}

fn endpoint(
    row: &ContainerRow,
    run: Option<&RunState>,
    bridge: Option<&BridgeConfig>,
) -> EndpointSettings {
    let (Some(address), Some(bridge), Some(_)) = (row.address, bridge, run) else {
        return EndpointSettings::default();
    };
    EndpointSettings {
        mac_address: tug_net::mac_text(tug_net::mac_of(address)),
        network_id: bridge.bridge.clone(),
        endpoint_id: row.id.to_string(),
        gateway: bridge.gateway.to_string(),
        ip_address: address.to_string(),
        ip_prefix_len: bridge.subnet.prefix_len(),
        ..EndpointSettings::default()
    }
}

/// While it runs: every exposed port, with its bindings where it is published.
fn ports(record: &Record, run: Option<&RunState>) -> BTreeMap<String, Option<Vec<PortBinding>>> {
    let Some(run) = run else { return BTreeMap::new() };
    let mut ports: BTreeMap<String, Option<Vec<PortBinding>>> =
        record.config.exposed_ports.keys().map(|port| (port.clone(), None)).collect();
    for port in &run.ports {
        let binding = PortBinding {
            host_ip: port.host_ip.to_string(),
            host_port: port.host_port.to_string(),
        };
        ports.entry(port_key(port)).or_default().get_or_insert_default().push(binding);
    }
    ports
}

fn state(row: &ContainerRow, run: Option<&RunState>) -> State {
    let running = row.state == ContainerState::Running && run.is_some();
    State {
        status: shown_status(row.state, run),
        running,
        paused: false,
        restarting: false,
        oom_killed: !running && row.oom_killed,
        dead: false,
        pid: run.map_or(0, |run| run.pid),
        exit_code: if running { 0 } else { row.exit_code },
        error: if running { String::new() } else { row.error.clone() },
        started_at: rfc3339(run.map_or(row.started, |run| run.started_at)),
        finished_at: rfc3339(row.finished),
    }
}
