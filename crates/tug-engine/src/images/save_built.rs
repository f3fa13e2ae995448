//! An archive of what a build made without keeping it: the same layout as `save`'s, of layers that are
//! here and of configurations and manifests that are in no store.

use super::save::{Contents, Save, Source};
use crate::{Engine, Error};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tug_registry::{ConfigHead, media};
use tug_types::{DiffId, ImageReference};

/// One platform's image.
#[derive(Clone, Debug)]
pub struct Unsaved {
    /// The configuration's own bytes.
    pub config: Vec<u8>,
    /// Base first. All are here, and protected.
    pub layers: Vec<DiffId>,
    /// The manifest's own bytes, over the layers as plain tars.
    pub manifest: Vec<u8>,
}

/// What an archive is called and what its list says.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    /// Names; there may be none.
    pub names: Vec<ImageReference>,
    /// Annotations of the line in `index.json`.
    pub annotations: BTreeMap<String, String>,
    /// With `manifest.json`, for readers of Docker's own format.
    pub docker: bool,
}

impl Engine {
    /// Looks everything up that [`Save::write`] needs. `index` are the bytes of an index over all images.
    ///
    /// # Errors
    /// When a layer is not here.
    pub fn save_unsaved(
        &self,
        images: &[Unsaved],
        index: Option<&[u8]>,
        labels: &Labels,
    ) -> Result<Save<'_>, Error> {
        let mut contents = Contents::default();
        for image in images {
            let mut paths = Vec::new();
            for layer in &image.layers {
                let source = self.plain(layer)?;
                let Source::Layer(_, size) = source else { continue };
                contents.blobs.insert(layer.0, source);
                paths.push((layer.0, size, media::OCI_LAYER.to_owned()));
            }
            let config = contents.put(&image.config);
            contents.put(&image.manifest);
            if index.is_none() {
                contents.list_with(&labels.names, &line(image), &labels.annotations);
            }
            if labels.docker {
                contents.list_image_for_docker(config, &labels.names, &paths);
            }
        }
        if let Some(bytes) = index {
            let digest = contents.put(bytes);
            let line =
                json!({"mediaType": media::OCI_INDEX, "digest": digest, "size": bytes.len()});
            contents.list_with(&labels.names, &line, &labels.annotations);
        }
        Ok(Save::of(self, contents))
    }
}

/// What `index.json` says of one image.
fn line(image: &Unsaved) -> Value {
    let head: ConfigHead = serde_json::from_slice(&image.config).unwrap_or_default();
    let platform = head.platform();
    let mut place = json!({"architecture": platform.architecture, "os": platform.os});
    if !platform.variant.is_empty() {
        place["variant"] = json!(platform.variant);
    }
    let digest = super::intake::digest_of(&image.manifest);
    let size = image.manifest.len();
    json!({"mediaType": media::OCI_MANIFEST, "digest": digest, "size": size, "platform": place})
}
