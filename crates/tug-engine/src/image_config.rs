//! An image's configuration (OCI image specification, `config.md`) as far as running needs it.
//! Only read: the image's own bytes are what is kept and hashed.

use crate::model::{Empty, Healthcheck};
use serde::Deserialize;
use std::collections::BTreeMap;
use tug_types::DiffId;

/// The configuration blob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// GOARCH name.
    pub architecture: String,
    /// `v8` and the like.
    pub variant: Option<String>,
    /// GOOS name.
    pub os: String,
    /// RFC 3339.
    pub created: Option<String>,
    /// Who made it.
    pub author: String,
    /// Docker's free text.
    pub comment: String,
    /// Version of the builder, where it says so.
    pub docker_version: String,
    /// What a container of it runs.
    pub config: Option<ImageRunConfig>,
    /// Its layers.
    pub rootfs: ImageRootFs,
}

/// `rootfs` of the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct ImageRootFs {
    /// Base first.
    pub diff_ids: Vec<DiffId>,
}

/// `config` of the configuration. Absent and `null` mean the same.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[expect(missing_docs, reason = "documented by the image specification, whose names these are")]
pub struct ImageRunConfig {
    pub user: String,
    pub exposed_ports: Option<BTreeMap<String, Empty>>,
    pub env: Option<Vec<String>>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub volumes: Option<BTreeMap<String, Empty>>,
    pub working_dir: String,
    pub labels: Option<BTreeMap<String, String>>,
    pub stop_signal: Option<String>,
    pub stop_timeout: Option<i64>,
    pub healthcheck: Option<Healthcheck>,
    pub on_build: Option<Vec<String>>,
    pub shell: Option<Vec<String>>,
}
