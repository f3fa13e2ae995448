//! `--cache-to` and `--cache-from`: results of steps, handed from one data root to another.
//!
//! ```text
//! manifest ─► configuration (application/vnd.buildkit.cacheconfig.v0)
//!    │          layers    blob, diff id and size of each
//!    │          records   as BuildKit has them: keys, and the layers they result in
//!    │          tug       the same with what tug needs besides: sizes, times, titles, sums of stages
//!    └─► the layers
//! ```
//!
//! A cache says which layers a key results in: that is taken for true, as everybody takes it who names a cache. What
//! its layers hold is proven by their digests, both of the blob and of the files' tar. Nothing is fetched before
//! somebody needs the files: a step whose result is known by its key alone leaves its layers where they are. The sums
//! of stages' files count only while those files are not here, and are not kept.

use crate::error::BuildError;
use crate::ops::Layer;
use crate::request::{CachePlace, CacheTo};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tug_engine::{CACHE_CONFIG, CacheBlob, Engine, RemoteCache};
use tug_store::Lease;
use tug_types::{DiffId, Digest};

/// Changes with what is kept under `tug`.
const VERSION: u32 = 1;

/// What is known of steps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Records {
    version: u32,
    /// By key.
    pub steps: BTreeMap<String, Record>,
    /// What patterns select in stages, by stage and pattern.
    #[serde(default)]
    pub sums: BTreeMap<String, String>,
}

/// One step's result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// `[2/4] RUN make`
    pub title: String,
    /// `exec`, `file`
    pub kind: String,
    pub layers: Vec<Layer>,
}

impl Records {
    /// Those of several caches.
    fn join(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.sums.extend(other.sums);
    }

    pub(crate) fn new(steps: BTreeMap<String, Record>, sums: BTreeMap<String, String>) -> Self {
        Self { version: VERSION, steps, sums }
    }

    /// Those layers, each once, that an image is made of: what `mode=min` hands on. Of the other steps it says only
    /// what they result in, which is enough for whoever needs none of their files.
    pub(crate) fn layers_within(&self, image: &[Layer]) -> Vec<DiffId> {
        let ids: BTreeSet<DiffId> = image.iter().map(|layer| layer.diff_id).collect();
        self.layers().into_iter().filter(|id| ids.contains(id)).collect()
    }

    /// All layers, each once, those that come first first.
    pub(crate) fn layers(&self) -> Vec<DiffId> {
        let mut seen = BTreeSet::new();
        let all = self.steps.values().flat_map(|record| &record.layers);
        all.map(|layer| layer.diff_id).filter(|id| seen.insert(*id)).collect()
    }

    /// The configuration of a cache with these blobs.
    fn config(&self, blobs: &[(DiffId, CacheBlob)]) -> Vec<u8> {
        let place: BTreeMap<DiffId, usize> =
            blobs.iter().enumerate().map(|(at, (id, _))| (*id, at)).collect();
        let layers: Vec<Value> = blobs
            .iter()
            .map(|(id, blob)| {
                json!({"blob": blob.digest, "parent": -1, "annotations": {
                    "mediaType": blob.media_type, "diffID": id, "size": blob.size,
                    "createdAt": "1970-01-01T00:00:00Z",
                }})
            })
            .collect();
        let records: Vec<Value> = self
            .steps
            .iter()
            .map(|(key, record)| {
                let ids = record.layers.iter();
                let at: Vec<usize> =
                    ids.filter_map(|layer| place.get(&layer.diff_id).copied()).collect();
                let chain = json!({"layers": at, "createdAt": "1970-01-01T00:00:00Z"});
                json!({"digest": format!("sha256:{key}"), "chains": [chain]})
            })
            .collect();
        json!({"layers": layers, "records": records, "tug": self}).to_string().into_bytes()
    }
}

/// A cache to take results from.
pub(crate) struct Import {
    /// As messages call it.
    pub name: String,
    records: Records,
    /// Each with the number of the cache it is in, where there are several.
    blobs: BTreeMap<DiffId, (usize, CacheBlob)>,
    place: Place,
    /// What turned out to be missing or damaged.
    lost: Mutex<BTreeSet<DiffId>>,
}

enum Place {
    /// One, or those of all images of an index.
    Registry(Vec<RemoteCache>),
    Local(PathBuf),
}

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    layers: Vec<ConfigLayer>,
    tug: Option<Records>,
}

#[derive(Deserialize)]
struct ConfigLayer {
    blob: Digest,
    annotations: Option<LayerAnnotations>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerAnnotations {
    media_type: String,
    #[serde(rename = "diffID")]
    diff_id: DiffId,
    size: u64,
}

/// What an image carries of its own build.
#[derive(Deserialize)]
struct Carried {
    #[serde(rename = "tug.build.cache.v1")]
    records: Option<Records>,
    rootfs: crate::image::RootFs,
}

fn unusable(name: &str, why: impl Into<String>) -> BuildError {
    BuildError::Cache { name: name.to_owned(), why: why.into() }
}

impl Import {
    /// Reads what a cache knows.
    pub(crate) fn open(engine: &Engine, from: &CachePlace) -> Result<Self, BuildError> {
        match from {
            CachePlace::Registry(reference) => {
                let name = reference.to_string();
                let caches = engine.open_caches(reference)?;
                if caches.is_empty() {
                    return Err(unusable(&name, "there is no such cache"));
                }
                let mut contents = Contents::default();
                let mut refused = None;
                for (number, cache) in caches.iter().enumerate() {
                    let read = match cache.is_bare() {
                        true => read(&cache.config, &name),
                        false => carried(cache, &name),
                    };
                    match read {
                        Ok((records, blobs)) => {
                            contents.0.join(records);
                            let numbered = blobs.into_iter().map(|(id, blob)| (id, (number, blob)));
                            contents.1.extend(numbered);
                        }
                        Err(error) => refused = Some(error),
                    }
                }
                match refused {
                    Some(error) if contents.0.steps.is_empty() => Err(error),
                    _ => Ok(Self::of(name, contents, Place::Registry(caches))),
                }
            }
            CachePlace::Local { dir, tag, digest } => {
                let name = dir.display().to_string();
                let (records, blobs) = read(&local_config(dir, tag, *digest)?, &name)?;
                let blobs = blobs.into_iter().map(|(id, blob)| (id, (0, blob))).collect();
                Ok(Self::of(name, (records, blobs), Place::Local(dir.clone())))
            }
            CachePlace::Inline => Err(unusable("inline", "name the image as a registry cache")),
        }
    }

    fn of(name: String, (records, blobs): Contents, place: Place) -> Self {
        Self { name, records, blobs, place, lost: Mutex::default() }
    }

    /// Forgets that it has a layer.
    pub(crate) fn lose(&self, layer: DiffId) {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(layer);
    }

    fn blob(&self, layer: &DiffId) -> Option<&(usize, CacheBlob)> {
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        self.blobs.get(layer).filter(|_| !lost.contains(layer))
    }

    /// The result of a key. Layers that are in no cache are taken for granted until somebody needs their files.
    pub(crate) fn find(&self, key: &str, is_here: impl Fn(&DiffId) -> bool) -> Option<&Record> {
        let record = self.records.steps.get(key)?;
        let lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let can = |layer: &Layer| is_here(&layer.diff_id) || !lost.contains(&layer.diff_id);
        record.layers.iter().all(can).then_some(record)
    }

    pub(crate) fn sum(&self, name: &str) -> Option<&String> {
        self.records.sums.get(name)
    }

    /// Brings a layer into the store. False when it is not in this cache.
    pub(crate) fn fetch(
        &self,
        engine: &Engine,
        store: &tug_store::Layers,
        lease: &Lease,
        diff_id: DiffId,
    ) -> Result<bool, BuildError> {
        let Some((number, blob)) = self.blob(&diff_id) else { return Ok(false) };
        match &self.place {
            Place::Registry(caches) => {
                let Some(cache) = caches.get(*number) else { return Ok(false) };
                cache.fetch(engine, lease, blob.digest, diff_id)?;
            }
            Place::Local(dir) => {
                let path = blob_path(dir, &blob.digest);
                let file = File::open(&path).map_err(BuildError::files("open", &path))?;
                store.unpack(lease, file, Some(diff_id)).map_err(tug_store::Error::from)?;
            }
        }
        Ok(true)
    }
}

type Contents = (Records, BTreeMap<DiffId, (usize, CacheBlob)>);
type Found = (Records, BTreeMap<DiffId, CacheBlob>);

fn read(bytes: &[u8], name: &str) -> Result<Found, BuildError> {
    let config: Config = serde_json::from_slice(bytes)
        .map_err(|error| unusable(name, format!("its configuration cannot be read: {error}")))?;
    let records = config.tug.filter(|records| records.version == VERSION);
    let records =
        records.ok_or_else(|| unusable(name, "it was not made by this version of tug"))?;
    let blobs = config.layers.into_iter().filter_map(|layer| {
        let LayerAnnotations { media_type, diff_id, size } = layer.annotations?;
        Some((diff_id, CacheBlob { digest: layer.blob, size, media_type }))
    });
    Ok((records, blobs.collect()))
}

fn carried(cache: &RemoteCache, name: &str) -> Result<Found, BuildError> {
    let config: Carried = serde_json::from_slice(&cache.config)
        .map_err(|error| unusable(name, format!("its configuration cannot be read: {error}")))?;
    let records = config.records.filter(|records| records.version == VERSION);
    let records = records.ok_or_else(|| unusable(name, "the image carries no build cache"))?;
    let ids = config.rootfs.diff_ids.unwrap_or_default();
    Ok((records, ids.into_iter().zip(cache.blobs()).collect()))
}

fn blob_path(dir: &Path, digest: &Digest) -> PathBuf {
    dir.join("blobs").join("sha256").join(digest.hex())
}

/// The configuration of a cache in a directory, proven by its digests.
fn local_config(dir: &Path, tag: &str, wanted: Option<Digest>) -> Result<Vec<u8>, BuildError> {
    let name = dir.display().to_string();
    let file = |path: &Path| std::fs::read(path).map_err(BuildError::files("read", path));
    let digest = |value: &Value| {
        let text = value["digest"].as_str().and_then(|text| Digest::parse(text).ok());
        text.ok_or_else(|| unusable(&name, "a digest is missing"))
    };
    let proven = |digest: Digest| {
        let bytes = file(&blob_path(dir, &digest))?;
        match digest_of(&bytes) == digest {
            true => Ok(bytes),
            false => Err(unusable(&name, format!("{digest} is damaged"))),
        }
    };
    let json = |bytes: &[u8]| {
        serde_json::from_slice::<Value>(bytes)
            .map_err(|error| unusable(&name, format!("it cannot be read: {error}")))
    };
    let top = match wanted {
        Some(wanted) => wanted,
        None => {
            let index = json(&file(&dir.join("index.json"))?)?;
            let lines = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
            let called = |line: &&Value| {
                line["annotations"]["org.opencontainers.image.ref.name"].as_str() == Some(tag)
            };
            // What has no name at all is the only one there is.
            let only =
                lines.first().filter(|line| tag == "latest" && line["annotations"].is_null());
            let found = lines.iter().find(called).or(only);
            digest(found.ok_or_else(|| unusable(&name, format!("it has nothing called {tag}")))?)?
        }
    };
    let manifest = json(&proven(top)?)?;
    let listed = manifest["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut configs = std::iter::once(&manifest["config"]).chain(listed);
    let config = configs.find(|line| line["mediaType"] == CACHE_CONFIG);
    proven(digest(config.ok_or_else(|| unusable(&name, "it is no build cache"))?)?)
}

/// Hands results on.
pub(crate) fn export(
    engine: &Engine,
    records: &Records,
    layers: &[DiffId],
    to: &CacheTo,
) -> Result<(), BuildError> {
    match &to.place {
        // The image carries it.
        CachePlace::Inline => Ok(()),
        CachePlace::Registry(reference) => {
            let config = |blobs: &[(DiffId, CacheBlob)]| records.config(blobs);
            engine.push_cache(reference, layers, &to.form, config)?;
            Ok(())
        }
        CachePlace::Local { dir, tag, .. } => export_local(engine, records, layers, (dir, tag), to),
    }
}

/// An OCI layout. Its layers are plain tars, which costs the least time, unless a compression is asked for.
fn export_local(
    engine: &Engine,
    records: &Records,
    layers: &[DiffId],
    (dir, tag): (&Path, &str),
    to: &CacheTo,
) -> Result<(), BuildError> {
    let blobs = dir.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).map_err(BuildError::files("create", &blobs))?;
    let form = &to.form;
    let how = to.compressed.then_some(&form.compression);
    let mut list = Vec::new();
    for layer in engine.pack_layers(&blobs, layers, how, !form.oci)? {
        engine.place_layer(&layer, &blobs)?;
        let media_type = layer.media_type.to_owned();
        list.push((
            layer.diff_id,
            CacheBlob { digest: layer.digest, size: layer.size, media_type },
        ));
    }
    let bytes = |bytes: &[u8]| {
        let digest = digest_of(bytes);
        put(&blob_path(dir, &digest), |file| std::io::Write::write_all(file, bytes))?;
        Ok::<_, BuildError>(digest)
    };
    let config = records.config(&list);
    bytes(&config)?;
    let (media_type, manifest) = form.manifest(&config, &list);
    let line = json!({
        "mediaType": media_type, "digest": bytes(&manifest)?, "size": manifest.len(),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    });
    // Last: what it names is there.
    Ok(tug_engine::list_in(dir, vec![line])?)
}

/// A file that appears whole.
fn put(
    path: &Path,
    write: impl FnOnce(&mut File) -> std::io::Result<()>,
) -> Result<(), BuildError> {
    let mut pending = tug_engine::PendingFile::create(path)?;
    write(pending.file()).map_err(BuildError::files("write", path))?;
    Ok(pending.keep()?)
}

fn digest_of(bytes: &[u8]) -> Digest {
    use sha2::Digest as _;
    Digest::from_sha256(sha2::Sha256::digest(bytes).into())
}
