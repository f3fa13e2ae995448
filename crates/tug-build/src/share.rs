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
use tug_engine::{CACHE_CONFIG, CacheBlob, Engine, RemoteCache};
use tug_store::{Lease, Store};
use tug_types::{DiffId, Digest};

/// Changes with what is kept under `tug`.
const VERSION: u32 = 1;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

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
    pub(crate) fn new(steps: BTreeMap<String, Record>, sums: BTreeMap<String, String>) -> Self {
        Self { version: VERSION, steps, sums }
    }

    /// Only what leads to an image with these layers, whose blobs it has anyway.
    pub(crate) fn within(&self, image: &[Layer]) -> Self {
        let ids: Vec<DiffId> = image.iter().map(|layer| layer.diff_id).collect();
        let is_part = |record: &Record| {
            let own: Vec<DiffId> = record.layers.iter().map(|layer| layer.diff_id).collect();
            ids.starts_with(&own) || own.iter().all(|id| ids.contains(id))
        };
        let steps = self.steps.iter().filter(|(_, record)| is_part(record));
        let steps = steps.map(|(key, record)| (key.clone(), record.clone())).collect();
        Self { version: VERSION, steps, sums: self.sums.clone() }
    }

    /// All layers, each once, those that come first first.
    fn layers(&self) -> Vec<DiffId> {
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
    records: Records,
    blobs: BTreeMap<DiffId, CacheBlob>,
    place: Place,
}

enum Place {
    Registry(Box<RemoteCache>),
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
                let cache = engine.open_cache(reference)?;
                let cache = cache.ok_or_else(|| unusable(&name, "there is no such cache"))?;
                let (records, blobs) = match cache.is_bare() {
                    true => read(&cache.config, &name)?,
                    false => carried(&cache, &name)?,
                };
                Ok(Self { records, blobs, place: Place::Registry(Box::new(cache)) })
            }
            CachePlace::Local(dir) => {
                let name = dir.display().to_string();
                let (records, blobs) = read(&local_config(dir)?, &name)?;
                Ok(Self { records, blobs, place: Place::Local(dir.clone()) })
            }
            CachePlace::Inline => Err(unusable("inline", "name the image as a registry cache")),
        }
    }

    /// The result of a key, if all its layers can be had.
    pub(crate) fn find(&self, key: &str, is_here: impl Fn(&DiffId) -> bool) -> Option<&Record> {
        let record = self.records.steps.get(key)?;
        let can =
            |layer: &Layer| is_here(&layer.diff_id) || self.blobs.contains_key(&layer.diff_id);
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
        let Some(blob) = self.blobs.get(&diff_id) else { return Ok(false) };
        match &self.place {
            Place::Registry(cache) => cache.fetch(engine, lease, blob.digest, diff_id)?,
            Place::Local(dir) => {
                let path = blob_path(dir, &blob.digest);
                let file = File::open(&path).map_err(BuildError::files("open", &path))?;
                store.unpack(lease, file, Some(diff_id)).map_err(tug_store::Error::from)?;
            }
        }
        Ok(true)
    }
}

type Contents = (Records, BTreeMap<DiffId, CacheBlob>);

fn read(bytes: &[u8], name: &str) -> Result<Contents, BuildError> {
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

fn carried(cache: &RemoteCache, name: &str) -> Result<Contents, BuildError> {
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
fn local_config(dir: &Path) -> Result<Vec<u8>, BuildError> {
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
    let index = json(&file(&dir.join("index.json"))?)?;
    let manifest = json(&proven(digest(&index["manifests"][0])?)?)?;
    if manifest["config"]["mediaType"] != CACHE_CONFIG {
        return Err(unusable(&name, "it is no build cache"));
    }
    proven(digest(&manifest["config"])?)
}

/// Hands results on.
pub(crate) fn export(
    engine: &Engine,
    store: &Store,
    records: &Records,
    to: &CacheTo,
) -> Result<(), BuildError> {
    match &to.place {
        // The image carries it.
        CachePlace::Inline => Ok(()),
        CachePlace::Registry(reference) => {
            engine.push_cache(reference, &records.layers(), |blobs| records.config(blobs))?;
            Ok(())
        }
        CachePlace::Local(dir) => export_local(store, records, dir),
    }
}

/// An OCI layout whose layers are plain tars.
fn export_local(store: &Store, records: &Records, dir: &Path) -> Result<(), BuildError> {
    let blobs = dir.join("blobs").join("sha256");
    std::fs::create_dir_all(&blobs).map_err(BuildError::files("create", &blobs))?;
    let held = store.layers();
    let mut list = Vec::new();
    for id in records.layers() {
        let info = held.info(&id).map_err(tug_store::Error::from)?;
        let path = blob_path(dir, &id.0);
        let there = std::fs::metadata(&path).is_ok_and(|file| file.len() == info.tar_size);
        if !there {
            let mut tar = held.tar(&id).map_err(tug_store::Error::from)?;
            put(&path, |file| std::io::copy(&mut tar, file).map(drop))?;
        }
        let media_type = PLAIN.to_owned();
        list.push((id, CacheBlob { digest: id.0, size: info.tar_size, media_type }));
    }
    let bytes = |bytes: &[u8]| {
        let digest = digest_of(bytes);
        put(&blob_path(dir, &digest), |file| std::io::Write::write_all(file, bytes))?;
        Ok::<_, BuildError>(digest)
    };
    let config = records.config(&list);
    let line = |media_type: &str, digest: Digest, size: u64| json!({"mediaType": media_type, "digest": digest, "size": size});
    let layers: Vec<Value> =
        list.iter().map(|(_, blob)| line(PLAIN, blob.digest, blob.size)).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": line(CACHE_CONFIG, bytes(&config)?, config.len() as u64),
        "layers": layers,
    });
    let manifest = manifest.to_string().into_bytes();
    let main = line(MANIFEST, bytes(&manifest)?, manifest.len() as u64);
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [main]}).to_string();
    let layout = br#"{"imageLayoutVersion":"1.0.0"}"#;
    put(&dir.join("oci-layout"), |file| std::io::Write::write_all(file, layout))?;
    // Last: what it names is there.
    put(&dir.join("index.json"), |file| std::io::Write::write_all(file, index.as_bytes()))
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
