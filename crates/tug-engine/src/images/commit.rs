//! `commit`: what a container changed becomes a layer on its image.
//!
//! The container keeps its files and may go on writing to them, so they are copied (sharing blocks
//! where the file system can) while it stands still, and the copy becomes the layer by being
//! renamed. Its tar is only streamed through SHA-256.

use super::changes::{self, Changed};
use super::intake::{Claim, Intake};
use crate::record::Record;
use crate::{Engine, Error, spec};
use serde_json::{Value, json};
use std::path::Path;
use tug_store::{ContainerRow, ContainerState, LayerEntry, LayerInfo};
use tug_types::{Digest, Explain, ImageReference};

/// How to commit.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// The new image's name; it stays unnamed without one.
    pub reference: Option<ImageReference>,
    /// `-a`.
    pub author: String,
    /// `-m`.
    pub message: String,
    /// `-c`: Dockerfile instructions.
    pub changes: Vec<String>,
    /// Whether a running container stands still meanwhile.
    pub pause: bool,
}

impl Engine {
    /// Makes an image of a container. Returns its id.
    ///
    /// # Errors
    /// When there is no such container, a change makes no sense, or a file cannot be part of a
    /// layer. Nothing stays then.
    pub fn commit(&self, name: &str, options: &CommitOptions) -> Result<Digest, Error> {
        let row = self.container(name)?;
        let record = Record::read(&row)?;
        let changed = changes::parse_over(Changed::of(&record.config), &options.changes)?;
        let mut intake = Intake::begin(self)?;
        let base = self.base(&row)?;
        let mut layers = self.base_layers(&row, &record)?;
        let claim = intake.claim()?;
        for layer in &layers {
            claim.protect(layer.diff_id)?;
        }
        let info = self.layer_of(&row, &record, options.pause, claim)?;
        let (diff_id, size) = (info.diff_id, info.size);
        layers.push(LayerEntry { diff_id, size, blob: None, media_type: None });
        let created = crate::time::rfc3339(crate::time::now());
        let config = configuration(&base, &record, options, &changed, &created, &layers);
        let name = options.reference.as_ref();
        let id = intake.record_new(&config, &created, &layers, name)?;
        intake.end()?;
        Ok(id)
    }

    /// The configuration of the container's image; of nothing when the image was removed by force.
    fn base(&self, row: &ContainerRow) -> Result<Value, Error> {
        let image = self.store.images_by_prefix(&row.image.hex())?.pop();
        Ok(image.and_then(|image| serde_json::from_slice(&image.config).ok()).unwrap_or(json!({})))
    }

    fn base_layers(&self, row: &ContainerRow, record: &Record) -> Result<Vec<LayerEntry>, Error> {
        let known = self.store.image_layers(&row.image)?;
        if known.len() == record.layers.len() {
            // With the blobs they came as: a push need not make them anew.
            return Ok(known);
        }
        let entry = |layer: &tug_types::DiffId| {
            let info = self.store.layers().info(layer).map_err(tug_store::Error::from)?;
            Ok(LayerEntry { diff_id: *layer, size: info.size, blob: None, media_type: None })
        };
        record.layers.iter().map(entry).collect()
    }

    fn layer_of(
        &self,
        row: &ContainerRow,
        record: &Record,
        pause: bool,
        claim: &Claim,
    ) -> Result<LayerInfo, Error> {
        let copy = {
            let _still = match pause && row.state == ContainerState::Running {
                true => Some(
                    tug_runtime::cgroup::freeze(&row.id, &spec::cgroup_parent(record))
                        .map_err(|error| Error::Failed(error.failure()))?,
                ),
                false => None,
            };
            self.copy_upper(&row.id, record, claim.lease())?
        };
        leave_out_mount_points(&copy);
        // The overlay gave its root the image's own attributes.
        let info = self.store.layers().adopt(claim.lease(), &copy);
        let info = info.map_err(|error| Error::Store(error.into()))?;
        claim.remember(info.diff_id);
        Ok(info)
    }
}

/// What a start makes where the image has nothing to mount on is no change of the container's.
fn leave_out_mount_points(tree: &Path) {
    for name in ["etc/hostname", "etc/hosts", "etc/resolv.conf", "dev/console", ".dockerenv"] {
        let path = tree.join(name);
        let empty =
            std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_file() && found.len() == 0);
        if empty {
            let _ = std::fs::remove_file(path);
        }
    }
    // Only those that are empty go.
    for name in ["dev/mqueue", "dev/pts", "dev/shm", "dev", "etc", "proc", "sys"] {
        let path = tree.join(name);
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
            let _ = std::fs::remove_dir(path);
        }
    }
}

fn configuration(
    base: &Value,
    record: &Record,
    options: &CommitOptions,
    changed: &Changed,
    created: &str,
    layers: &[LayerEntry],
) -> Value {
    let mut config = json!({
        "architecture": base["architecture"].as_str().unwrap_or_else(|| host_architecture()),
        "os": base["os"].as_str().unwrap_or("linux"),
        "created": created,
        "config": changed.to_json(),
        "rootfs": {
            "type": "layers",
            "diff_ids": layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>(),
        },
    });
    for key in ["variant", "os.version", "os.features"] {
        if let Some(value) = base.get(key) {
            config[key] = value.clone();
        }
    }
    let mut step = json!({
        "created": created,
        "created_by": record.config.cmd.clone().unwrap_or_default().join(" "),
    });
    for (key, text) in [("author", &options.author), ("comment", &options.message)] {
        if !text.is_empty() {
            config[key] = json!(text);
            step[key] = json!(text);
        }
    }
    let mut history = base["history"].as_array().cloned().unwrap_or_default();
    history.push(step);
    config["history"] = Value::Array(history);
    config
}

fn host_architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
