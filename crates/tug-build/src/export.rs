//! From layers and a configuration to an image in the store. There is nothing to export: the layers are
//! where images have them.

use crate::error::BuildError;
use crate::image::{ImageConfig, rfc3339};
use crate::ops::Layer;
use tug_store::{LayerEntry, Lease, NewImage, Store};
use tug_types::{Digest, ImageReference};

/// An image to be recorded.
pub(crate) struct Whole<'a> {
    pub image: ImageConfig,
    pub layers: &'a [Layer],
    pub tags: &'a [ImageReference],
    pub platform: String,
    pub epoch: Option<i64>,
}

/// Its configuration's bytes, and its id.
pub(crate) fn configuration(whole: &mut Whole<'_>) -> (Digest, Vec<u8>) {
    let times: Vec<Option<String>> =
        whole.layers.iter().map(|layer| layer.created.map(rfc3339)).collect();
    let epoch = whole.epoch.map(|seconds| rfc3339(seconds.saturating_mul(1_000_000_000)));
    whole.image.date(&times, epoch.as_deref());
    if whole.image.created.is_none() {
        // Nothing in it has a time: scratch and configuration alone.
        whole.image.created = Some(epoch.unwrap_or_else(|| rfc3339(crate::execute::now())));
        let created = whole.image.created.clone();
        for entry in whole.image.history.iter_mut().filter(|entry| entry.created.is_none()) {
            entry.created.clone_from(&created);
        }
    }
    let ids: Vec<_> = whole.layers.iter().map(|layer| layer.diff_id).collect();
    whole.image.rootfs.diff_ids = Some(ids).filter(|ids| !ids.is_empty());
    let bytes = whole.image.to_bytes();
    use sha2::Digest as _;
    (Digest::from_sha256(sha2::Sha256::digest(&bytes).into()), bytes)
}

/// Records it. The disk has it soon afterwards: see `tug_store`'s `settle`.
pub(crate) fn record(
    store: &Store,
    lease: &Lease,
    whole: &Whole<'_>,
    bytes: &[u8],
) -> Result<Digest, BuildError> {
    let id = store.blobs().put(lease, bytes).map_err(tug_store::Error::from)?;
    let entry = |layer: &Layer| LayerEntry {
        diff_id: layer.diff_id,
        size: layer.size,
        blob: None,
        media_type: None,
    };
    let entries: Vec<LayerEntry> = whole.layers.iter().map(entry).collect();
    let created = whole.image.created.as_deref().and_then(|time| time.parse().ok());
    store.put_image(&NewImage {
        id,
        config: bytes,
        manifest_digest: None,
        created: created.map_or(0, |time: jiff::Timestamp| time.as_second()),
        layers: &entries,
        tags: whole.tags,
        digests: &[],
        index: None,
        platform: &whole.platform,
    })?;
    Ok(id)
}
