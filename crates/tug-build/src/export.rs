//! From layers and a configuration to an image: in the store, where there is nothing to export because the
//! layers are where images have them; in an archive; or as files.
//!
//! An image that is annotated or one of several platforms has its manifest at once, over its layers as plain
//! tars. A push compresses them and writes the manifest anew, annotations and all.

use crate::error::BuildError;
use crate::execute::Worker;
use crate::image::{ImageConfig, rfc3339};
use crate::ops::Layer;
use crate::request::{Annotation, AnnotationLevel, BuildRequest, FilesTo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tug_dockerfile::Platform;
use tug_engine::{Engine, Labels, Unsaved};
use tug_store::{LayerEntry, Lease, NewImage, Store};
use tug_types::{Digest, ImageReference};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Whether what is asked for can be written, before anything is built.
pub(crate) fn check(request: &BuildRequest) -> Result<(), BuildError> {
    let several = request.platforms.len() > 1;
    let of_index = |annotation: &Annotation| {
        matches!(annotation.on, AnnotationLevel::Index | AnnotationLevel::IndexDescriptor)
    };
    if !several && request.annotations.iter().any(of_index) {
        return Err(BuildError::IndexAnnotation);
    }
    let kind = request.outputs.iter().find_map(|output| match output {
        FilesTo::Archive { docker: true, .. } => Some("docker"),
        FilesTo::Tar(_) => Some("tar"),
        _ => None,
    });
    match kind {
        Some(kind) if several => Err(BuildError::SeveralPlatforms { kind }),
        _ => Ok(()),
    }
}

/// An image to be recorded.
pub(crate) struct Whole<'a> {
    image: ImageConfig,
    layers: &'a [Layer],
    platform: String,
    id: Digest,
    config: Vec<u8>,
    manifest: Option<Vec<u8>>,
}

/// What came of a build.
pub(crate) struct Exported {
    pub image: Digest,
    pub digest: Option<Digest>,
    pub platform: String,
}

impl<'a> Whole<'a> {
    /// Dates the configuration and writes it.
    pub(crate) fn new(
        mut image: ImageConfig,
        layers: &'a [Layer],
        platform: String,
        epoch: Option<i64>,
    ) -> Self {
        let times: Vec<Option<String>> =
            layers.iter().map(|layer| layer.created.map(rfc3339)).collect();
        let epoch = epoch.map(|seconds| rfc3339(seconds.saturating_mul(1_000_000_000)));
        image.date(&times, epoch.as_deref());
        if image.created.is_none() {
            // Nothing in it has a time: scratch and configuration alone.
            image.created = Some(epoch.unwrap_or_else(|| rfc3339(crate::execute::now())));
            let created = image.created.clone();
            for entry in image.history.iter_mut().filter(|entry| entry.created.is_none()) {
                entry.created.clone_from(&created);
            }
        }
        let ids: Vec<_> = layers.iter().map(|layer| layer.diff_id).collect();
        image.rootfs.diff_ids = Some(ids).filter(|ids| !ids.is_empty());
        let config = image.to_bytes();
        Self { image, layers, platform, id: digest_of(&config), config, manifest: None }
    }

    fn write_manifest(
        &self,
        store: &Store,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, BuildError> {
        let held = store.layers();
        let mut layers = Vec::new();
        for layer in self.layers {
            let info = held.info(&layer.diff_id).map_err(tug_store::Error::from)?;
            layers.push(descriptor(LAYER, layer.diff_id.0, info.tar_size));
        }
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, self.id, self.config.len() as u64),
            "layers": layers,
        });
        annotate(&mut manifest, annotations);
        Ok(manifest.to_string().into_bytes())
    }
}

/// All images of one build.
pub(crate) struct Release<'a> {
    images: Vec<Whole<'a>>,
    /// Over several platforms.
    index: Option<Vec<u8>>,
    /// Which of them names point at.
    main: usize,
}

impl<'a> Release<'a> {
    pub(crate) fn new(images: Vec<Whole<'a>>, request: &BuildRequest) -> Self {
        let host = Platform::host();
        let is_hosts = |platform: &Platform| {
            platform.os == host.os && platform.architecture == host.architecture
        };
        let main = request.platforms.iter().position(is_hosts).unwrap_or(0);
        Self { images, index: None, main }
    }

    pub(crate) fn several(&self) -> bool {
        self.images.len() > 1
    }

    pub(crate) fn exported(&self) -> Exported {
        let main = &self.images[self.main];
        let bytes = self.index.as_ref().or(main.manifest.as_ref());
        Exported {
            image: main.id,
            digest: bytes.map(|bytes| digest_of(bytes)),
            platform: main.platform.clone(),
        }
    }

    /// Writes the manifests, and the index when there are several.
    pub(crate) fn write_manifests(
        &mut self,
        store: &Store,
        request: &BuildRequest,
    ) -> Result<(), BuildError> {
        let mut lines = Vec::new();
        for image in &mut self.images {
            let platform: Option<Platform> = image.platform.parse().ok();
            let chosen = |level| chosen(&request.annotations, level, platform.as_ref());
            let bytes = image.write_manifest(store, &chosen(AnnotationLevel::Manifest))?;
            let mut line = descriptor(MANIFEST, digest_of(&bytes), bytes.len() as u64);
            line["platform"] =
                json!({"architecture": image.image.architecture, "os": image.image.os});
            if !image.image.variant.is_empty() {
                line["platform"]["variant"] = json!(image.image.variant);
            }
            annotate(&mut line, &chosen(AnnotationLevel::ManifestDescriptor));
            lines.push(line);
            image.manifest = Some(bytes);
        }
        if self.several() {
            let mut index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": lines});
            annotate(&mut index, &chosen(&request.annotations, AnnotationLevel::Index, None));
            self.index = Some(index.to_string().into_bytes());
        }
        Ok(())
    }

    /// Writes an archive of them.
    pub(crate) fn archive(
        &self,
        engine: &Engine,
        path: &Path,
        docker: bool,
        request: &BuildRequest,
    ) -> Result<(), BuildError> {
        let unsaved = |image: &Whole<'_>| Unsaved {
            config: image.config.clone(),
            layers: image.layers.iter().map(|layer| layer.diff_id).collect(),
            manifest: image.manifest.clone().unwrap_or_default(),
        };
        let images: Vec<Unsaved> = self.images.iter().map(unsaved).collect();
        let (level, platform) = match self.index {
            Some(_) => (AnnotationLevel::IndexDescriptor, None),
            None => (AnnotationLevel::ManifestDescriptor, request.platforms.first()),
        };
        let annotations = chosen(&request.annotations, level, platform);
        let labels = Labels { names: request.tags.clone(), annotations, docker };
        let save = engine.save_unsaved(&images, self.index.as_deref(), &labels)?;
        let failed = |source| BuildError::Files { action: "write", path: path.to_owned(), source };
        let file = std::fs::File::create(path).map_err(failed)?;
        let mut out = std::io::BufWriter::new(file);
        save.write(&mut out)?;
        std::io::Write::flush(&mut out).map_err(|source| BuildError::Files {
            action: "write",
            path: path.to_owned(),
            source,
        })
    }

    /// Copies their files out: of several platforms each into a directory of its own.
    pub(crate) fn hand_out(&self, worker: &Worker<'_>, to: &FilesTo) -> Result<(), BuildError> {
        for image in &self.images {
            match to {
                FilesTo::Dir(dir) if self.several() => {
                    let dir = dir.join(image.platform.replace('/', "_"));
                    worker.hand_out(image.layers, &FilesTo::Dir(dir))?;
                }
                to => worker.hand_out(image.layers, to)?,
            }
        }
        Ok(())
    }

    /// Records them, the one that is named last: until then nobody sees any.
    pub(crate) fn record(
        &self,
        store: &Store,
        lease: &Lease,
        tags: &[ImageReference],
    ) -> Result<(), BuildError> {
        let index = self.index.as_deref();
        for (at, image) in self.images.iter().enumerate() {
            if at != self.main {
                record(store, lease, image, &[], index)?;
            }
        }
        record(store, lease, &self.images[self.main], tags, index).map(drop)
    }
}

/// Records one image. The disk has it soon afterwards: see `tug_store`'s `settle`.
pub(crate) fn record(
    store: &Store,
    lease: &Lease,
    whole: &Whole<'_>,
    tags: &[ImageReference],
    index: Option<&[u8]>,
) -> Result<Digest, BuildError> {
    let put = |bytes: &[u8]| store.blobs().put(lease, bytes).map_err(tug_store::Error::from);
    let id = put(&whole.config)?;
    let manifest = match &whole.manifest {
        Some(manifest) => Some(manifest.clone()),
        None => unannotated(store, whole)?,
    };
    for bytes in [manifest.as_deref(), index].into_iter().flatten() {
        put(bytes)?;
    }
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
        config: &whole.config,
        manifest_digest: manifest.as_deref().map(digest_of),
        created: created.map_or(0, |time: jiff::Timestamp| time.as_second()),
        tagged: true,
        layers: &entries,
        tags,
        digests: &[],
        index: index.map(digest_of),
        platform: &whole.platform,
    })?;
    Ok(id)
}

/// A manifest for an image that was annotated by an earlier build and is not any more: without one, the old
/// one would stay.
fn unannotated(store: &Store, whole: &Whole<'_>) -> Result<Option<Vec<u8>>, BuildError> {
    let known = store.images_by_prefix(&whole.id.hex())?.pop();
    let Some(old) = known.and_then(|row| row.manifest_digest) else { return Ok(None) };
    let Ok(bytes) = store.blobs().read(&old) else { return Ok(None) };
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let layers = value["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = layers.len() == whole.layers.len()
        && layers.iter().zip(whole.layers).all(|(a, b)| a["digest"] == b.diff_id.0.to_string());
    match ours && value.get("annotations").is_some() {
        true => whole.write_manifest(store, &BTreeMap::new()).map(Some),
        false => Ok(None),
    }
}

fn chosen(
    annotations: &[Annotation],
    level: AnnotationLevel,
    platform: Option<&Platform>,
) -> BTreeMap<String, String> {
    let fits = |annotation: &&Annotation| {
        annotation.on == level
            && annotation.platform.as_ref().is_none_or(|wanted| Some(wanted) == platform)
    };
    let pairs = annotations.iter().filter(fits);
    pairs.map(|annotation| (annotation.key.clone(), annotation.value.clone())).collect()
}

fn annotate(value: &mut Value, annotations: &BTreeMap<String, String>) {
    if !annotations.is_empty() {
        value["annotations"] = json!(annotations);
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
}

fn digest_of(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha256(sha2::Sha256::digest(bytes).into())
}
