//! What every way in shares: the lease that protects layers until an image names them, the
//! recording of the image, and the undo of everything when it does not come to that.

use super::error::ImageError;
use crate::time::seconds_of;
use crate::{Engine, Error};
use std::sync::{Mutex, PoisonError};
use tug_store::{LayerEntry, Lease, NewImage};
use tug_types::{DiffId, Digest, ImageReference};

/// An image coming in. Dropped before [`Intake::finish`], it leaves nothing of what it brought.
pub(super) struct Intake<'a> {
    engine: &'a Engine,
    /// Given back before anything is collected.
    claim: Option<Claim>,
    /// Blobs it wrote: collected should no image name them in the end.
    blobs: Vec<Digest>,
}

/// What threads that unpack share.
pub(super) struct Claim {
    lease: Lease,
    /// Layers unpacked or relied on: collected should no image name them in the end.
    layers: Mutex<Vec<DiffId>>,
}

impl Claim {
    /// The lease.
    pub(super) fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Keeps a layer from being collected meanwhile. Before asking whether it is there.
    pub(super) fn protect(&self, layer: DiffId) -> Result<(), Error> {
        self.lease.protect(&layer).map_err(tug_store::Error::from)?;
        self.remember(layer);
        Ok(())
    }

    /// Remembers a layer that was unpacked, and is protected since.
    pub(super) fn remember(&self, layer: DiffId) {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner).push(layer);
    }
}

/// All of an image but its layers' content.
pub(super) struct Whole<'a> {
    /// The config's own bytes.
    pub(super) config: &'a [u8],
    /// The manifest's own bytes, when there is one.
    pub(super) manifest: Option<&'a [u8]>,
    /// The own bytes of the index that names the manifest, when the names stand for an index.
    pub(super) index: Option<&'a [u8]>,
    /// RFC 3339, from the config.
    pub(super) created: Option<&'a str>,
    /// The names are given here, and do not come from elsewhere.
    pub(super) tagged: bool,
    /// Base first.
    pub(super) layers: &'a [LayerEntry],
    /// Tags that point at it from now on.
    pub(super) tags: &'a [ImageReference],
    /// Names by digest.
    pub(super) digests: &'a [ImageReference],
}

/// SHA-256 of some bytes.
pub(super) fn digest_of(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha256(sha2::Sha256::digest(bytes).into())
}

impl<'a> Intake<'a> {
    /// Takes a lease. Clears away on the occasion what killed commands left half-done.
    pub(super) fn begin(engine: &'a Engine) -> Result<Self, Error> {
        let lease = Lease::create(engine.store.root()).map_err(tug_store::Error::from)?;
        // Somebody else's litter must not keep this image out; the next command tries again.
        let _ = tug_store::sweep_dead(engine.store.root());
        let claim = Claim { lease, layers: Mutex::new(Vec::new()) };
        Ok(Self { engine, claim: Some(claim), blobs: Vec::new() })
    }

    /// What this intake has laid claim to.
    pub(super) fn claim(&self) -> Result<&Claim, Error> {
        self.claim.as_ref().ok_or(Error::System {
            what: "use a lease that was given back",
            source: std::io::Error::from(std::io::ErrorKind::InvalidInput),
        })
    }

    /// Writes config, manifest and index; before [`Intake::record`]. Returns the image's id.
    pub(super) fn put_blobs(&mut self, whole: &Whole<'_>) -> Result<Digest, Error> {
        for bytes in [whole.manifest, whole.index].into_iter().flatten() {
            self.put(bytes)?;
        }
        self.put(whole.config)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<Digest, Error> {
        let put = self.engine.store.blobs().put(self.claim()?.lease(), bytes);
        let digest = put.map_err(tug_store::Error::from)?;
        self.blobs.push(digest);
        Ok(digest)
    }

    /// The one transaction that makes it an image.
    pub(super) fn record(&self, id: Digest, whole: &Whole<'_>) -> Result<bool, Error> {
        let head: tug_registry::ConfigHead =
            serde_json::from_slice(whole.config).unwrap_or_default();
        Ok(self.engine.store.put_image(&NewImage {
            id,
            config: whole.config,
            manifest_digest: whole.manifest.map(digest_of),
            created: whole.created.map_or(0, seconds_of),
            tagged: whole.tagged,
            layers: whole.layers,
            tags: whole.tags,
            digests: whole.digests,
            index: whole.index.map(digest_of),
            platform: &head.platform().to_string(),
        })?)
    }

    /// Records an image made here: no registry's manifest, no name by digest. Returns its id; the lease
    /// is still held.
    pub(super) fn record_new(
        &mut self,
        config: &serde_json::Value,
        created: &str,
        layers: &[LayerEntry],
        name: Option<&ImageReference>,
    ) -> Result<Digest, Error> {
        let config = serde_json::to_vec(config).map_err(|source| ImageError::Write { source })?;
        let whole = Whole {
            config: &config,
            manifest: None,
            index: None,
            created: Some(created),
            tagged: true,
            layers,
            tags: name.map_or(&[], std::slice::from_ref),
            digests: &[],
        };
        let id = self.put_blobs(&whole)?;
        self.record(id, &whole)?;
        Ok(id)
    }

    /// Gives the lease back. What it brought and no image names is collected, and on the occasion
    /// what others left.
    pub(super) fn finish(self) -> Result<(), Error> {
        let engine = self.engine;
        self.end()?;
        engine.collect_leftovers();
        Ok(())
    }

    /// The same without looking for what others left.
    pub(super) fn end(mut self) -> Result<(), Error> {
        self.settle()?;
        self.engine.settle_later()
    }

    fn settle(&mut self) -> Result<(), Error> {
        let Some(Claim { lease, layers }) = self.claim.take() else { return Ok(()) };
        drop(lease);
        let layers = layers.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.engine.store.discard(&layers, &std::mem::take(&mut self.blobs))?.delete()?;
        Ok(())
    }
}

impl Drop for Intake<'_> {
    fn drop(&mut self) {
        // Best effort: the failure that led here is the one to report, and the next collection
        // finds what this leaves.
        let _ = self.settle();
    }
}
