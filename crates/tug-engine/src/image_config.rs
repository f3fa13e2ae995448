//! An image's configuration (OCI image specification, `config.md`) as far as running needs it.
//! Only read: the image's own bytes are what is kept and hashed.

use crate::model::{Empty, Healthcheck};
use serde::Deserialize;
use std::collections::BTreeMap;
use tug_types::DiffId;

/// The configuration blob.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ImageConfig {
    /// GOARCH name.
    pub(crate) architecture: String,
    /// `v8` and the like.
    pub(crate) variant: Option<String>,
    /// GOOS name.
    pub(crate) os: String,
    /// RFC 3339.
    pub(crate) created: Option<String>,
    /// Who made it.
    pub(crate) author: String,
    /// Docker's free text.
    pub(crate) comment: String,
    /// Version of the builder, where it says so.
    pub(crate) docker_version: String,
    /// What a container of it runs.
    pub(crate) config: Option<ImageRunConfig>,
    /// Its layers.
    pub(crate) rootfs: ImageRootFs,
}

/// `rootfs` of the configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ImageRootFs {
    /// Base first.
    pub(crate) diff_ids: Vec<DiffId>,
}

/// `config` of the configuration. Absent and `null` mean the same.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct ImageRunConfig {
    pub(crate) user: String,
    pub(crate) exposed_ports: Option<BTreeMap<String, Empty>>,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) volumes: Option<BTreeMap<String, Empty>>,
    pub(crate) working_dir: String,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    pub(crate) stop_signal: Option<String>,
    pub(crate) stop_timeout: Option<i64>,
    pub(crate) args_escaped: bool,
    pub(crate) healthcheck: Option<Healthcheck>,
    pub(crate) on_build: Option<Vec<String>>,
    pub(crate) shell: Option<Vec<String>>,
}

/// One step that made an image.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ImageStep {
    /// RFC 3339.
    pub(crate) created: Option<String>,
    pub(crate) created_by: String,
    pub(crate) comment: String,
    /// It made no layer.
    pub(crate) empty_layer: bool,
}

/// The steps that made an image, the first one first.
///
/// # Errors
/// When the configuration is no JSON of that shape.
pub(crate) fn steps_of(config: &[u8]) -> Result<Vec<ImageStep>, serde_json::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Steps {
        history: Option<Vec<ImageStep>>,
    }
    Ok(serde_json::from_slice::<Steps>(config)?.history.unwrap_or_default())
}

/// The labels of a configuration, the rest of which is passed over.
///
/// # Errors
/// When the configuration is no JSON of that shape.
pub(crate) fn labels_of(config: &[u8]) -> Result<BTreeMap<String, String>, serde_json::Error> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Outer {
        config: Option<Inner>,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Inner {
        #[serde(rename = "Labels")]
        labels: Option<BTreeMap<String, String>>,
    }
    let outer: Outer = serde_json::from_slice(config)?;
    Ok(outer.config.and_then(|inner| inner.labels).unwrap_or_default())
}
