//! From layers and a configuration to an image: in the store, where there is nothing to export because the
//! layers are where images have them; in an archive; or as files.
//!
//! An image that is annotated or one of several platforms has its manifest at once, over its layers as plain
//! tars. A push compresses them and writes the manifest anew, annotations and all.

use crate::error::BuildError;
use crate::execute::{Files, Worker};
use crate::image::{ImageConfig, rfc3339};
use crate::ops::Layer;
use crate::out::Out;
use crate::request::{Annotation, AnnotationLevel, Archive, BuildRequest, FilesTo};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use tug_dockerfile::Platform;
use tug_engine::{Engine, Labels, PackedLayer, Unsaved};
use tug_store::{LayerEntry, Lease, NewImage, Store};
use tug_types::{DiffId, Digest, ImageReference};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// Whether what is asked for can be written, before anything is built.
pub(crate) fn check(request: &BuildRequest) -> Result<(), BuildError> {
    let several = request.platforms.len() > 1;
    let of_index = |annotation: &Annotation| {
        matches!(annotation.on, AnnotationLevel::Index | AnnotationLevel::IndexDescriptor)
    };
    let all = request.annotations.iter().chain(&request.own_annotations);
    let archives = request.outputs.iter().filter_map(|output| match output {
        FilesTo::Archive(archive) => Some(archive),
        _ => None,
    });
    let of_archives = archives.clone().flat_map(|archive| &archive.annotations);
    if !several && all.chain(of_archives).any(of_index) {
        return Err(BuildError::IndexAnnotation);
    }
    for archive in archives {
        if several && archive.docker {
            return Err(BuildError::SeveralPlatforms);
        }
        let noted = !(request.annotations.is_empty() && archive.annotations.is_empty());
        if noted && archive.docker_types {
            return Err(BuildError::DockerAnnotation);
        }
    }
    let places = request.outputs.iter().map(|output| match output {
        FilesTo::Dir { path, .. } | FilesTo::Tar { path, .. } => path,
        FilesTo::Archive(archive) => &archive.path,
    });
    let mut seen = std::collections::BTreeSet::new();
    for path in places {
        if !seen.insert(path) {
            return Err(BuildError::SamePlace { path: path.clone() });
        }
    }
    Ok(())
}

/// An image to be recorded.
pub(crate) struct Whole<'a> {
    image: ImageConfig,
    layers: &'a [Layer],
    platform: String,
    id: Digest,
    config: Vec<u8>,
}

/// What names images: a manifest for each, and the index over several.
pub(crate) struct Manifests {
    each: Vec<Vec<u8>>,
    index: Option<Vec<u8>>,
}

/// What came of a build.
pub(crate) struct Exported {
    pub image: Digest,
    pub digest: Option<Digest>,
    pub descriptor: Option<Value>,
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
        Self { image, layers, platform, id: digest_of(&config), config }
    }

    fn diff_ids(&self) -> Vec<DiffId> {
        self.layers.iter().map(|layer| layer.diff_id).collect()
    }

    /// A manifest over the layers as they are packed.
    fn manifest(
        &self,
        packed: &[PackedLayer],
        docker_types: bool,
        annotations: &BTreeMap<String, String>,
    ) -> Vec<u8> {
        let line = |layer: &PackedLayer| descriptor(layer.media_type, layer.digest, layer.size);
        let layers: Vec<Value> = packed.iter().map(line).collect();
        let (own, config) = match docker_types {
            true => (DOCKER_MANIFEST, DOCKER_CONFIG),
            false => (MANIFEST, CONFIG),
        };
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": own,
            "config": descriptor(config, self.id, self.config.len() as u64),
            "layers": layers,
        });
        annotate(&mut manifest, annotations);
        manifest.to_string().into_bytes()
    }

    /// The same of the layers as plain tars, for an image in the store.
    fn draft(
        &self,
        engine: &Engine,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Vec<u8>, BuildError> {
        let packed = engine.pack_layers(Path::new(""), &self.diff_ids(), None, false)?;
        Ok(self.manifest(&packed, false, annotations))
    }
}

/// All images of one build.
pub(crate) struct Release<'a> {
    images: Vec<Whole<'a>>,
    /// Of the images in the store, where they need any.
    own: Option<Manifests>,
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
        Self { images, own: None, main }
    }

    pub(crate) fn several(&self) -> bool {
        self.images.len() > 1
    }

    /// `named`: the manifest or index of an image that is nowhere else.
    pub(crate) fn exported(&self, named: Option<&[u8]>) -> Exported {
        let main = &self.images[self.main];
        let of_own =
            |own: &'_ Manifests| own.index.clone().unwrap_or_else(|| own.each[self.main].clone());
        let bytes = named.map(<[u8]>::to_vec).or_else(|| self.own.as_ref().map(of_own));
        let describe = |bytes: &Vec<u8>| {
            let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
            let media_type = value["mediaType"].as_str().unwrap_or(MANIFEST);
            descriptor(media_type, digest_of(bytes), bytes.len() as u64)
        };
        Exported {
            image: main.id,
            digest: bytes.as_deref().map(digest_of),
            descriptor: bytes.as_ref().map(describe),
            platform: main.platform.clone(),
        }
    }

    /// Writes the manifests of the images in the store, and the index when there are several.
    pub(crate) fn write_own(
        &mut self,
        engine: &Engine,
        request: &BuildRequest,
    ) -> Result<(), BuildError> {
        let annotations = [&request.annotations[..], &request.own_annotations].concat();
        if !self.several() && annotations.is_empty() {
            return Ok(());
        }
        let pack =
            |image: &Whole<'_>| engine.pack_layers(Path::new(""), &image.diff_ids(), None, false);
        let packed = self.images.iter().map(pack).collect::<Result<Vec<_>, _>>()?;
        self.own = Some(self.manifests(&packed, false, &annotations));
        Ok(())
    }

    fn manifests(
        &self,
        packed: &[Vec<PackedLayer>],
        docker_types: bool,
        annotations: &[Annotation],
    ) -> Manifests {
        let (own, list) = match docker_types {
            true => (DOCKER_MANIFEST, DOCKER_LIST),
            false => (MANIFEST, INDEX),
        };
        let (mut each, mut lines) = (Vec::new(), Vec::new());
        for (image, packed) in self.images.iter().zip(packed) {
            let platform: Option<Platform> = image.platform.parse().ok();
            let chosen = |level| chosen(annotations, level, platform.as_ref());
            let bytes = image.manifest(packed, docker_types, &chosen(AnnotationLevel::Manifest));
            let mut line = descriptor(own, digest_of(&bytes), bytes.len() as u64);
            line["platform"] =
                json!({"architecture": image.image.architecture, "os": image.image.os});
            if !image.image.variant.is_empty() {
                line["platform"]["variant"] = json!(image.image.variant);
            }
            annotate(&mut line, &chosen(AnnotationLevel::ManifestDescriptor));
            lines.push(line);
            each.push(bytes);
        }
        let index = self.several().then(|| {
            let mut index = json!({"schemaVersion": 2, "mediaType": list, "manifests": lines});
            annotate(&mut index, &chosen(annotations, AnnotationLevel::Index, None));
            index.to_string().into_bytes()
        });
        Manifests { each, index }
    }

    /// Writes an archive of them, and answers with what names them there. What is compressed for it lies in `dir` meanwhile.
    pub(crate) fn archive(
        &self,
        engine: &Engine,
        dir: &Path,
        to: &Archive,
        request: &BuildRequest,
    ) -> Result<Vec<u8>, BuildError> {
        let pack = |image: &Whole<'_>| {
            engine.pack_layers(dir, &image.diff_ids(), to.compression.as_ref(), to.docker_types)
        };
        let packed = self.images.iter().map(pack).collect::<Result<Vec<_>, _>>()?;
        let annotations = [&request.annotations[..], &to.annotations].concat();
        let Manifests { each, index } = self.manifests(&packed, to.docker_types, &annotations);
        let parts = self.images.iter().zip(packed).zip(each);
        let images: Vec<Unsaved> = parts
            .map(|((image, layers), manifest)| Unsaved {
                config: image.config.clone(),
                layers,
                manifest,
            })
            .collect();
        let (level, platform) = match index {
            Some(_) => (AnnotationLevel::IndexDescriptor, None),
            None => (AnnotationLevel::ManifestDescriptor, request.platforms.first()),
        };
        let mut annotations = chosen(&annotations, level, platform);
        let names = if to.names.is_empty() { &request.tags } else { &to.names };
        if to.unpacked && names.is_empty() {
            // A directory may have several: each has a name there.
            annotations.insert("org.opencontainers.image.ref.name".to_owned(), "latest".to_owned());
        }
        let named = index.clone().unwrap_or_else(|| images[self.main].manifest.clone());
        let labels = Labels { names: names.clone(), annotations, docker: to.docker };
        let save = engine.save_unsaved(&images, index.as_deref(), &labels)?;
        if to.unpacked {
            save.write_into(&to.path)?;
            return Ok(named);
        }
        let mut out = Out::create(&to.path)?;
        save.write(&mut out)?;
        out.keep()?;
        Ok(named)
    }

    /// Copies their files out: of several platforms each into a directory of its own, unless they are to be
    /// together.
    pub(crate) fn hand_out(&self, worker: &Worker<'_>, to: &FilesTo) -> Result<(), BuildError> {
        let split = match to {
            FilesTo::Dir { split, .. } | FilesTo::Tar { split, .. } => *split,
            FilesTo::Archive(_) => None,
        };
        let split = split.unwrap_or(self.several());
        let files = |image: &Whole<'a>| Files {
            layers: image.layers,
            dir: split.then(|| image.platform.replace('/', "_")),
        };
        worker.hand_out(&self.images.iter().map(files).collect::<Vec<_>>(), to)
    }

    /// Records them, the one that is named last: until then nobody sees any.
    pub(crate) fn record(
        &self,
        engine: &Engine,
        store: &Store,
        lease: &Lease,
        tags: &[ImageReference],
    ) -> Result<(), BuildError> {
        let index = self.own.as_ref().and_then(|own| own.index.as_deref());
        let manifest = |at: usize| self.own.as_ref().map(|own| own.each[at].as_slice());
        for (at, image) in self.images.iter().enumerate() {
            if at != self.main {
                record(engine, store, lease, image, &[], manifest(at), index)?;
            }
        }
        let main = &self.images[self.main];
        record(engine, store, lease, main, tags, manifest(self.main), index).map(drop)
    }
}

/// Records one image. The disk has it soon afterwards: see `tug_store`'s `settle`.
pub(crate) fn record(
    engine: &Engine,
    store: &Store,
    lease: &Lease,
    whole: &Whole<'_>,
    tags: &[ImageReference],
    manifest: Option<&[u8]>,
    index: Option<&[u8]>,
) -> Result<Digest, BuildError> {
    let put = |bytes: &[u8]| store.blobs().put(lease, bytes).map_err(tug_store::Error::from);
    let id = put(&whole.config)?;
    let manifest = match manifest {
        Some(manifest) => Some(manifest.to_owned()),
        None => unannotated(engine, store, whole)?,
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
    // Those of its base: the others were made just now.
    let bases = whole.layers.iter().filter(|layer| layer.created.is_none());
    engine.note_lineage(&bases.map(|layer| layer.diff_id).collect::<Vec<_>>())?;
    Ok(id)
}

/// A manifest for an image that was annotated by an earlier build and is not any more: without one, the old
/// one would stay.
fn unannotated(
    engine: &Engine,
    store: &Store,
    whole: &Whole<'_>,
) -> Result<Option<Vec<u8>>, BuildError> {
    let known = store.images_by_prefix(&whole.id.hex())?.pop();
    let Some(old) = known.and_then(|row| row.manifest_digest) else { return Ok(None) };
    let Ok(bytes) = store.blobs().read(&old) else { return Ok(None) };
    let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let layers = value["layers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let ours = layers.len() == whole.layers.len()
        && layers.iter().zip(whole.layers).all(|(a, b)| a["digest"] == b.diff_id.0.to_string());
    match ours && value.get("annotations").is_some() {
        true => whole.draft(engine, &BTreeMap::new()).map(Some),
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
