//! What the engine answers: the rows of `ps`, `images` and `volume ls`, and the objects `inspect`
//! prints. Values, not text: formatting belongs to the front ends.

use crate::model::{Config, Empty, Healthcheck, HostConfig};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tug_net::PublishedPort;
use tug_types::{ContainerId, Digest, ImageReference};

/// A container's state as Docker names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "Docker's own names")]
pub enum Status {
    Created,
    Running,
    Paused,
    Restarting,
    Removing,
    Exited,
    Dead,
}

impl Status {
    /// Docker's lower-case name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
        }
    }
}

/// One row of `ps`.
#[derive(Clone, Debug)]
pub struct ContainerSummary {
    /// Full id.
    pub id: ContainerId,
    /// Name without the leading slash.
    pub name: String,
    /// The image as the user wrote it.
    pub image: String,
    /// The image's id.
    pub image_id: Digest,
    /// Entrypoint and command, joined.
    pub command: String,
    /// Seconds since the epoch.
    pub created: i64,
    /// State.
    pub status: Status,
    /// Nanoseconds since the epoch, 0 when it never started.
    pub started_at: i64,
    /// Nanoseconds since the epoch, 0 while it runs.
    pub finished_at: i64,
    /// Of the last run.
    pub exit_code: i32,
    /// Published ports (only while running).
    pub ports: Vec<PublishedPort>,
    /// Exposed but not published, `80/tcp`.
    pub exposed: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Mounts: volume names and host paths, as the `Mounts` column shows them.
    pub mounts: Vec<String>,
    /// Network names, `bridge`.
    pub networks: Vec<String>,
    /// Bytes in the writable layer and of the whole root, when asked for.
    pub size: Option<(u64, u64)>,
}

/// One row of `images`: one per repository and tag; untagged images have neither.
#[derive(Clone, Debug)]
pub struct ImageSummary {
    /// Config digest.
    pub id: Digest,
    /// `busybox`, or `None` for an untagged image.
    pub repository: Option<String>,
    /// `latest`, or `None`.
    pub tag: Option<String>,
    /// The manifest's digest in that repository, when it came from a registry.
    pub digest: Option<Digest>,
    /// Seconds since the epoch, from the image's config.
    pub created: i64,
    /// Bytes of all its layers' files.
    pub size: u64,
    /// Labels of its config.
    pub labels: BTreeMap<String, String>,
    /// Containers made of it.
    pub containers: usize,
}

/// What `rmi` did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageRemoval {
    /// `Untagged: busybox:latest`
    Untagged(String),
    /// `Deleted: sha256:…`
    Deleted(Digest),
}

/// One volume.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Volume {
    /// RFC 3339.
    pub created_at: String,
    /// `local`.
    pub driver: String,
    /// `null` when there are none, as Docker prints.
    pub labels: Option<BTreeMap<String, String>>,
    /// `_data` on the host.
    pub mountpoint: PathBuf,
    /// Name.
    pub name: String,
    /// Driver options.
    pub options: Option<BTreeMap<String, String>>,
    /// `local`.
    pub scope: String,
    /// Made without a name.
    #[serde(skip)]
    pub anonymous: bool,
}

/// One element of `inspect`'s array for a container: Docker 28's keys in Docker's order.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct ContainerInspect {
    pub id: ContainerId,
    pub created: String,
    pub path: String,
    pub args: Vec<String>,
    pub state: State,
    pub image: Digest,
    pub resolv_conf_path: PathBuf,
    pub hostname_path: PathBuf,
    pub hosts_path: PathBuf,
    pub log_path: PathBuf,
    pub name: String,
    pub restart_count: i64,
    pub driver: &'static str,
    pub platform: &'static str,
    pub mount_label: &'static str,
    pub process_label: &'static str,
    pub app_armor_profile: &'static str,
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    pub host_config: HostConfig,
    pub graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    pub mounts: Vec<MountPoint>,
    pub config: Config,
    pub network_settings: NetworkSettings,
}

/// `State` of `inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct State {
    pub status: Status,
    pub running: bool,
    pub paused: bool,
    pub restarting: bool,
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    pub dead: bool,
    pub pid: i32,
    pub exit_code: i32,
    pub error: String,
    pub started_at: String,
    pub finished_at: String,
}

/// `GraphDriver` of `inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct GraphDriver {
    pub data: BTreeMap<String, String>,
    pub name: &'static str,
}

/// One of `Mounts` of `inspect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct MountPoint {
    /// `bind`, `volume` or `tmpfs`.
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub source: String,
    pub destination: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    pub mode: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: String,
}

/// `NetworkSettings` of `inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct NetworkSettings {
    pub bridge: String,
    #[serde(rename = "SandboxID")]
    pub sandbox_id: String,
    pub sandbox_key: String,
    /// `80/tcp` to its bindings, `null` when exposed only.
    pub ports: BTreeMap<String, Option<Vec<crate::model::PortBinding>>>,
    #[serde(rename = "HairpinMode")]
    pub hairpin_mode: bool,
    #[serde(rename = "LinkLocalIPv6Address")]
    pub link_local_ipv6_address: String,
    #[serde(rename = "LinkLocalIPv6PrefixLen")]
    pub link_local_ipv6_prefix_len: u8,
    #[serde(rename = "SecondaryIPAddresses")]
    pub secondary_ip_addresses: Option<Vec<String>>,
    #[serde(rename = "SecondaryIPv6Addresses")]
    pub secondary_ipv6_addresses: Option<Vec<String>>,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    pub mac_address: String,
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// One of `NetworkSettings.Networks` of `inspect`.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct EndpointSettings {
    #[serde(rename = "IPAMConfig")]
    pub ipam_config: Option<()>,
    pub links: Option<Vec<String>>,
    pub aliases: Option<Vec<String>>,
    pub mac_address: String,
    pub driver_opts: Option<BTreeMap<String, String>>,
    pub gw_priority: i64,
    #[serde(rename = "NetworkID")]
    pub network_id: String,
    #[serde(rename = "EndpointID")]
    pub endpoint_id: String,
    pub gateway: String,
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    #[serde(rename = "IPPrefixLen")]
    pub ip_prefix_len: u8,
    #[serde(rename = "IPv6Gateway")]
    pub ipv6_gateway: String,
    #[serde(rename = "GlobalIPv6Address")]
    pub global_ipv6_address: String,
    #[serde(rename = "GlobalIPv6PrefixLen")]
    pub global_ipv6_prefix_len: u8,
    #[serde(rename = "DNSNames")]
    pub dns_names: Option<Vec<String>>,
}

/// One element of `image inspect`'s array: Docker 28's keys in Docker's order.
///
/// Its configuration has two shapes: templates see what its client reads, `config`; what is printed without
/// one is what its daemon sends, `sent`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct ImageInspect {
    pub id: Digest,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    pub parent: String,
    pub comment: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    pub docker_version: String,
    pub author: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ImageRunInspect>,
    pub architecture: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    pub os: String,
    pub size: u64,
    pub graph_driver: GraphDriver,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: ImageMetadata,
    #[serde(rename = "Config", skip_serializing_if = "Option::is_none")]
    pub sent: Option<SentConfig>,
}

impl ImageInspect {
    /// The same in the shape that is printed without a template.
    #[must_use]
    pub fn as_sent(self) -> Self {
        Self { sent: self.config.map(SentConfig::from), config: None, ..self }
    }
}

/// `Config` of `image inspect`: what is empty is left out.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the OCI image specification, whose names these are")]
pub struct ImageRunInspect {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub volumes: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    #[serde(skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub on_build: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
}

/// [`ImageRunInspect`] as Docker's daemon sends it: in the order of the names, and some are there when they are
/// empty, for those who have always found them there.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the OCI image specification, whose names these are")]
pub struct SentConfig {
    #[serde(skip_serializing_if = "is_false")]
    pub args_escaped: bool,
    pub cmd: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub env: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub exposed_ports: BTreeMap<String, Empty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<serde_json::Value>,
    pub labels: Option<BTreeMap<String, String>>,
    pub on_build: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shell: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stop_signal: String,
    pub user: String,
    pub volumes: Option<BTreeMap<String, Empty>>,
    pub working_dir: String,
}

impl From<ImageRunInspect> for SentConfig {
    fn from(config: ImageRunInspect) -> Self {
        let list = |list: Vec<String>| Some(list).filter(|list| !list.is_empty());
        Self {
            args_escaped: config.args_escaped,
            cmd: list(config.cmd),
            entrypoint: list(config.entrypoint),
            env: list(config.env),
            exposed_ports: config.exposed_ports,
            healthcheck: config.healthcheck.and_then(|check| serde_json::to_value(check).ok()),
            labels: Some(config.labels).filter(|labels| !labels.is_empty()),
            on_build: list(config.on_build),
            shell: config.shell,
            stop_signal: config.stop_signal,
            user: config.user,
            volumes: Some(config.volumes).filter(|volumes| !volumes.is_empty()),
            working_dir: config.working_dir,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

/// `RootFS` of `image inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the Engine API, whose names these are")]
pub struct RootFs {
    #[serde(rename = "Type")]
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<Digest>,
}

/// `Metadata` of `image inspect`.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ImageMetadata {
    /// RFC 3339.
    pub last_tag_time: String,
}

/// What is told while an image comes in. Calls may come from several threads.
pub trait Progress: Send + Sync {
    /// Something happened.
    fn event(&self, event: PullEvent);
}

/// Steps of a pull or a load, in the order of Docker's own lines.
#[derive(Clone, Debug)]
pub enum PullEvent {
    /// `latest: Pulling from library/busybox`
    Resolving {
        /// The reference as resolved.
        reference: ImageReference,
    },
    /// A layer's state changed; `layer` is the first twelve digits of the compressed blob's digest.
    Layer {
        /// Short digest as Docker prints it.
        layer: String,
        /// New state.
        state: LayerState,
    },
    /// All layers are here: `Digest: …`, `Status: …`.
    Done {
        /// Manifest or index digest.
        digest: Digest,
        /// False: `Image is up to date for …`.
        newer: bool,
        /// The reference in full.
        reference: ImageReference,
    },
    /// One tag of several is here: `Digest: …`. The last of them is followed by [`AllDone`].
    ///
    /// [`AllDone`]: Self::AllDone
    TagDone {
        /// Manifest or index digest.
        digest: Digest,
    },
    /// All tags of a repository are here: `Status: …`.
    AllDone {
        /// False: none of them brought anything.
        newer: bool,
        /// The repository, whatever its tag.
        reference: ImageReference,
    },
}

/// A layer's way into the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// `Already exists`
    AlreadyExists,
    /// `Pulling fs layer`
    Waiting,
    /// Bytes so far, of how many if known.
    Downloading(u64, Option<u64>),
    /// `Download complete`
    Downloaded,
    /// `Pull complete`
    Complete,
    /// Attempt number and seconds until the next try.
    Retrying(u32, u64),
}

/// One process of `top`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Top {
    /// Column titles.
    pub titles: Vec<String>,
    /// Rows of texts.
    pub processes: Vec<Vec<String>>,
}
