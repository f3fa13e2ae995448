//! An archive of what a build made without keeping it: the same layout as `save`'s, of layers that are
//! here and of configurations and manifests that are in no store.

use super::compress::{Compression, Method};
use super::save::{Contents, Save, Source};
use super::{error::ImageError, intake::digest_of};
use crate::{Engine, Error};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tug_registry::{ConfigHead, media};
use tug_types::{DiffId, Digest, ImageReference};

/// One platform's image.
#[derive(Clone, Debug)]
pub struct Unsaved {
    /// The configuration's own bytes.
    pub config: Vec<u8>,
    /// Base first. All are here, and protected.
    pub layers: Vec<PackedLayer>,
    /// The manifest's own bytes, over these layers.
    pub manifest: Vec<u8>,
}

/// A layer as an archive has it.
#[derive(Clone, Debug)]
pub struct PackedLayer {
    /// Which.
    pub diff_id: DiffId,
    /// Of the bytes in the archive.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// What they are.
    pub media_type: &'static str,
    from: From,
}

#[derive(Clone, Debug)]
enum From {
    /// Made from its files while it is written.
    Files,
    /// The blob it came as.
    Blob,
    /// Compressed for the archive.
    Temporary(PathBuf),
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
    /// Packs layers for an archive: as plain tars, or as `how` says, in files that appear in `dir`. `docker` is the
    /// family of their media types.
    ///
    /// # Errors
    /// When a layer is not here, is damaged, or `dir` does not take it.
    pub fn pack_layers(
        &self,
        dir: &Path,
        layers: &[DiffId],
        how: Option<&Compression>,
        docker: bool,
    ) -> Result<Vec<PackedLayer>, Error> {
        let how = how.filter(|how| how.method != Method::Uncompressed || !how.force);
        let lineage = if how.is_some() { self.lineage(layers)? } else { Default::default() };
        let pack = |layer: &DiffId| {
            let Some(how) = how else { return self.plain_layer(*layer, docker) };
            if let Some(own) = lineage.get(layer) {
                let method = Method::of(&own.blob.media_type);
                let fits = !how.force || method == how.method;
                if fits && self.is_kept(&own.blob.digest, own.blob.size) {
                    let (digest, size) = (own.blob.digest, own.blob.size);
                    let media_type = method.media_type(docker);
                    let from = From::Blob;
                    return Ok(PackedLayer { diff_id: *layer, digest, size, media_type, from });
                }
            }
            match how.method {
                Method::Uncompressed => self.plain_layer(*layer, docker),
                _ => self.compressed_layer(dir, *layer, how, docker),
            }
        };
        layers.iter().map(pack).collect()
    }

    fn plain_layer(&self, diff_id: DiffId, docker: bool) -> Result<PackedLayer, Error> {
        let size = self.store.layers().info(&diff_id).map_err(tug_store::Error::from)?.tar_size;
        let media_type = Method::Uncompressed.media_type(docker);
        Ok(PackedLayer { diff_id, digest: diff_id.0, size, media_type, from: From::Files })
    }

    /// Whether a blob is here and whole.
    fn is_kept(&self, digest: &Digest, size: u64) -> bool {
        let Ok(mut blob) = self.store.blobs().open(digest) else { return false };
        let mut sink = Counted::new(io::sink());
        let copied = io::copy(&mut blob, &mut sink);
        copied.is_ok() && sink.count == size && sink.digest() == *digest
    }

    fn compressed_layer(
        &self,
        dir: &Path,
        diff_id: DiffId,
        how: &Compression,
        docker: bool,
    ) -> Result<PackedLayer, Error> {
        let path = dir.join(format!(".{}.tug-{}", diff_id.0.hex(), std::process::id()));
        let failed = |source| -> Error {
            ImageError::Unreadable { name: diff_id.0.to_string(), source }.into()
        };
        let tar = self.store.layers().tar(&diff_id).map_err(tug_store::Error::from)?;
        let mut packed = how.pack(Box::new(tar)).map_err(failed)?;
        let file = File::create(&path).map_err(Error::files("create", &path))?;
        let mut out = Counted::new(file);
        io::copy(&mut packed, &mut out).map_err(failed)?;
        let (digest, size) = (out.digest(), out.count);
        let media_type = how.method.media_type(docker);
        Ok(PackedLayer { diff_id, digest, size, media_type, from: From::Temporary(path) })
    }

    /// Puts a packed layer into a directory of blobs, where it appears whole.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn place_layer(&self, layer: &PackedLayer, blobs: &Path) -> Result<(), Error> {
        let place = blobs.join(layer.digest.hex());
        let is_there = std::fs::metadata(&place).is_ok_and(|file| file.len() == layer.size);
        if let From::Temporary(path) = &layer.from {
            return match path.parent() == Some(blobs) {
                true => std::fs::rename(path, &place).map_err(Error::files("write", &place)),
                false => put(&place, &mut File::open(path).map_err(Error::files("open", path))?),
            };
        }
        if is_there {
            return Ok(());
        }
        match &layer.from {
            From::Blob => put(
                &place,
                &mut self.store.blobs().open(&layer.digest).map_err(tug_store::Error::from)?,
            ),
            _ => put(
                &place,
                &mut self.store.layers().tar(&layer.diff_id).map_err(tug_store::Error::from)?,
            ),
        }
    }

    /// Looks everything up that [`Save::write`] needs. `index` are the bytes of an index over all images.
    ///
    /// # Errors
    /// When what was written is no manifest.
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
                let source = match &layer.from {
                    From::Files => Source::Layer(layer.diff_id, layer.size),
                    From::Blob => Source::Blob(layer.size),
                    From::Temporary(path) => Source::File(path.clone(), layer.size),
                };
                contents.blobs.insert(layer.digest, source);
                paths.push((layer.digest, layer.size, layer.media_type.to_owned()));
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
            let media_type = declared(bytes, media::OCI_INDEX);
            let line = json!({"mediaType": media_type, "digest": digest, "size": bytes.len()});
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
    let digest = digest_of(&image.manifest);
    let size = image.manifest.len();
    let media_type = declared(&image.manifest, media::OCI_MANIFEST);
    json!({"mediaType": media_type, "digest": digest, "size": size, "platform": place})
}

/// The media type a manifest gives itself.
fn declared(bytes: &[u8], otherwise: &str) -> String {
    let value: Value = serde_json::from_slice(bytes).unwrap_or_default();
    value["mediaType"].as_str().unwrap_or(otherwise).to_owned()
}

/// A file that appears whole.
pub(super) fn put(place: &Path, from: &mut impl Read) -> Result<(), Error> {
    let mut pending = super::PendingFile::create(place)?;
    io::copy(from, pending.file()).map_err(Error::files("write", place))?;
    pending.keep()
}

/// Counts and hashes what goes through it.
struct Counted<W> {
    to: W,
    count: u64,
    hash: Sha256,
}

impl<W> Counted<W> {
    fn new(to: W) -> Self {
        Self { to, count: 0, hash: Sha256::new() }
    }

    fn digest(&self) -> Digest {
        Digest::from_sha256(self.hash.clone().finalize().into())
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.to.write(bytes)?;
        self.hash.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
