//! The compressed form in which layers of a base image came: an image built on it has the same layers, so its
//! manifest should name the same blobs, which registries have already.

use crate::{Engine, Error};
use std::collections::HashMap;
use tug_registry::{Descriptor, Parsed, media};
use tug_store::{BlobRecord, ImageRow, LayerEntry};
use tug_types::{DiffId, Digest, ImageReference};

/// A layer as another image came with it.
pub(in crate::images) struct Ancestor {
    pub(in crate::images) blob: Descriptor,
    /// Where that image came from, as far as it is still known.
    pub(in crate::images) origins: Vec<ImageReference>,
}

impl Engine {
    /// What is known of layers from the images that came with them, and of those that are gone what was noted.
    pub(in crate::images) fn lineage(
        &self,
        layers: &[DiffId],
    ) -> Result<HashMap<DiffId, Ancestor>, Error> {
        let mut known: HashMap<DiffId, Ancestor> = HashMap::new();
        for row in self.store.images()? {
            let entries = self.store.image_layers(&row.id)?;
            if !entries.iter().any(|entry| layers.contains(&entry.diff_id)) {
                continue;
            }
            for (layer, blob) in self.came_as(&row, &entries) {
                if layers.contains(&layer) {
                    let ancestor =
                        known.entry(layer).or_insert(Ancestor { blob, origins: Vec::new() });
                    ancestor.origins.extend(row.digests.iter().cloned());
                }
            }
        }
        for layer in layers {
            let noted =
                self.store.layer_blobs(layer)?.into_iter().find(|blob| blob.recipe.is_empty());
            if let (Some(noted), false) = (noted, known.contains_key(layer)) {
                let blob = descriptor(noted.media_type, noted.digest, noted.size);
                known.insert(*layer, Ancestor { blob, origins: Vec::new() });
            }
        }
        Ok(known)
    }

    /// Notes the compressed forms of a new image's layers, which its base's removal would make forgotten.
    ///
    /// # Errors
    /// When the store fails.
    pub fn note_lineage(&self, layers: &[DiffId]) -> Result<(), Error> {
        let mut unknown = Vec::new();
        for layer in layers {
            if !self.store.layer_blobs(layer)?.iter().any(|blob| blob.recipe.is_empty()) {
                unknown.push(*layer);
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        for (layer, Ancestor { blob, .. }) in self.lineage(&unknown)? {
            let Descriptor { media_type, digest, size, .. } = blob;
            let noted = BlobRecord { digest, size, media_type, recipe: String::new() };
            self.store.remember_blob(&layer, &noted)?;
        }
        Ok(())
    }

    /// The layers of an image that came compressed, with those blobs.
    fn came_as(&self, row: &ImageRow, entries: &[LayerEntry]) -> Vec<(DiffId, Descriptor)> {
        // Made here, or all of it plain.
        if entries.iter().all(|entry| entry.blob.is_none()) {
            return Vec::new();
        }
        let read = |digest: Digest| {
            let bytes = self.store.blobs().read(&digest).ok()?;
            let (Parsed::Manifest(manifest), _) = tug_registry::parse(&bytes, "").ok()? else {
                return None;
            };
            (manifest.layers.len() == entries.len()).then_some(manifest.layers)
        };
        let blobs = row.manifest_digest.and_then(read).unwrap_or_default();
        let pairs = entries.iter().zip(blobs);
        pairs
            .filter(|(entry, blob)| {
                let is_layer = media::layer_kind(&blob.media_type) == media::LayerKind::Tar;
                is_layer && entry.blob == Some(blob.digest)
            })
            .map(|(entry, blob)| (entry.diff_id, blob))
            .collect()
    }
}

fn descriptor(media_type: String, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type, digest, size, platform: None, annotations: None, artifact_type: None }
}
