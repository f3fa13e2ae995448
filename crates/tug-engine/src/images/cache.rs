//! Build caches at a registry: layers under one manifest whose configuration is the builder's own.
//!
//! The manifest has the form BuildKit gives its caches (`image-manifest=true`), so that registries and their
//! tools know what it is.

use super::compress::Compression;
use super::error::ImageError;
use super::intake::digest_of;
use super::pull::failed;
use super::push::{CacheLayers, Silent};
use crate::{Engine, Error};
use serde_json::json;
use std::io::Read;
use std::sync::Arc;
use tug_registry::{Client, Descriptor, Manifest, Source, media};
use tug_store::Lease;
use tug_types::{DiffId, Digest, ImageReference};

/// BuildKit's name for the configuration of a cache.
pub const CACHE_CONFIG: &str = media::CACHE_CONFIG;

/// A configuration larger than this is not read.
const LARGEST_CONFIG: u64 = 32 << 20;

/// A compressed layer of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheBlob {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Media type.
    pub media_type: String,
}

/// The form of a cache that is written, as BuildKit's options name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheForm {
    /// How its layers are compressed.
    pub compression: Compression,
    /// OCI's media types, or Docker's.
    pub oci: bool,
    /// A manifest over configuration and layers, or an index that lists them all.
    pub image_manifest: bool,
}

impl Default for CacheForm {
    fn default() -> Self {
        Self { compression: Compression::default(), oci: true, image_manifest: true }
    }
}

impl CacheForm {
    /// What names the configuration and the layers: its media type and its bytes.
    pub fn manifest(
        &self,
        config: &[u8],
        blobs: &[(DiffId, CacheBlob)],
    ) -> (&'static str, Vec<u8>) {
        let line = |(_, blob): &(DiffId, CacheBlob)| json!({"mediaType": blob.media_type, "digest": blob.digest, "size": blob.size});
        let mut layers: Vec<serde_json::Value> = blobs.iter().map(line).collect();
        let config =
            json!({"mediaType": CACHE_CONFIG, "digest": digest_of(config), "size": config.len()});
        let media_type = match (self.image_manifest, self.oci) {
            (true, _) => media::OCI_MANIFEST,
            (false, true) => media::OCI_INDEX,
            (false, false) => media::DOCKER_LIST,
        };
        let mut value = json!({"schemaVersion": 2, "mediaType": media_type});
        if self.image_manifest {
            value["config"] = config;
            value["layers"] = layers.into();
        } else {
            layers.push(config);
            value["manifests"] = layers.into();
        }
        (media_type, value.to_string().into_bytes())
    }

    /// What a layer that is written here is called.
    pub fn layer_type(&self) -> &'static str {
        self.compression.method.media_type(!self.oci)
    }
}

/// A cache, or an image with one in its configuration, at a registry.
pub struct RemoteCache {
    client: Arc<Client>,
    source: Source,
    manifest: Manifest,
    /// The configuration's own bytes, proven by their digest.
    pub config: Vec<u8>,
}

impl RemoteCache {
    /// Whether it is a cache and no image.
    pub fn is_bare(&self) -> bool {
        self.manifest.config.media_type == CACHE_CONFIG
    }

    /// Its layers, in the manifest's order.
    pub fn blobs(&self) -> Vec<CacheBlob> {
        let blob = |layer: &Descriptor| CacheBlob {
            digest: layer.digest,
            size: layer.size,
            media_type: layer.media_type.clone(),
        };
        self.manifest.layers.iter().map(blob).collect()
    }

    /// Brings one of them into the store. What comes has to be both the blob and the layer.
    ///
    /// # Errors
    /// When the registry does not deliver, or delivers something else.
    pub fn fetch(
        &self,
        engine: &Engine,
        lease: &Lease,
        blob: Digest,
        diff_id: DiffId,
    ) -> Result<(), Error> {
        let descriptor = self.manifest.layers.iter().find(|layer| layer.digest == blob);
        let descriptor = descriptor.ok_or_else(|| ImageError::Missing {
            by: "the build cache".to_owned(),
            name: blob.to_string(),
        })?;
        let opened = self.client.open(&self.source, descriptor, Arc::new(|_| {}));
        let mut reader = opened.map_err(failed)?;
        let unpacked = engine.store.layers().unpack(lease, &mut reader, Some(diff_id));
        match unpacked {
            Ok(_) => reader.finish().map_err(failed),
            Err(error) => match reader.take_failure() {
                Some(cause) => Err(failed(cause)),
                None => Err(tug_store::Error::from(error).into()),
            },
        }
    }
}

impl Engine {
    /// A cache at a registry, or one of each of an index' images; none when there is nothing of that name.
    ///
    /// # Errors
    /// What the registry answered, or that a configuration is too large.
    pub fn open_caches(&self, reference: &ImageReference) -> Result<Vec<RemoteCache>, Error> {
        let client = Arc::new(Client::new(self.registry_settings()?).map_err(failed)?);
        let Some((manifests, source)) = client.bare_manifests(reference).map_err(failed)? else {
            return Ok(Vec::new());
        };
        let open = |manifest| Self::open_cache(client.clone(), source.clone(), manifest);
        manifests.into_iter().map(open).collect()
    }

    fn open_cache(
        client: Arc<Client>,
        source: Source,
        manifest: Manifest,
    ) -> Result<RemoteCache, Error> {
        if manifest.config.size > LARGEST_CONFIG {
            return Err(ImageError::TooMuchMetadata { limit: LARGEST_CONFIG }.into());
        }
        let opened = client.open(&source, &manifest.config, Arc::new(|_| {}));
        let mut reader = opened.map_err(failed)?;
        let mut config = Vec::new();
        let read = reader.read_to_end(&mut config);
        if let Err(error) = read {
            return Err(match reader.take_failure() {
                Some(cause) => failed(cause),
                None => Error::System { what: "read the build cache", source: error },
            });
        }
        reader.finish().map_err(failed)?;
        Ok(RemoteCache { client, source, manifest, config })
    }

    /// Brings layers and the configuration made for them to a registry.
    ///
    /// # Errors
    /// What the registry answered, or why a layer cannot be read.
    pub fn push_cache(
        &self,
        reference: &ImageReference,
        layers: &[DiffId],
        form: &CacheForm,
        config: impl FnOnce(&[(DiffId, CacheBlob)]) -> Vec<u8>,
    ) -> Result<Digest, Error> {
        let client = Client::new(self.registry_settings()?).map_err(failed)?;
        let destination = client.destination(reference).map_err(failed)?;
        let sender = CacheLayers {
            client: &client,
            destination: &destination,
            progress: &Silent,
            compression: form.compression,
            oci: Some(form.oci),
        };
        let blobs = self.push_cache_layers(&sender, reference, layers)?;
        let config = config(&blobs);
        sender.bytes(&config)?;
        let (media_type, bytes) = form.manifest(&config, &blobs);
        let tag = reference.tag().unwrap_or("latest");
        let published = client.publish(&destination, tag, media_type, &bytes, &|_, _| {});
        published.map_err(failed)
    }
}
