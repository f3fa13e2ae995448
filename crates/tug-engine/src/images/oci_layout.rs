//! An OCI image layout (image specification, `image-layout.md`): `index.json` and blobs by digest.

use super::archive::{Archive, LayerMember};
use super::docker_archive::reference;
use super::error::ImageError;
use super::load::{Found, match_layers};
use crate::Error;
use tug_registry::{Descriptor, Index, Manifest, Parsed, Platform, media};
use tug_store::LayerEntry;
use tug_types::{Digest, ImageReference};

const TABLE: &str = "index.json";
/// What containerd and BuildKit write: the whole name.
const FULL_NAME: &str = "io.containerd.image.name";
/// What the specification knows: a name, or only a tag, as the writer likes.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Indexes within indexes.
const DEEPEST: usize = 3;

/// All images of the layout; of a multi-platform one, the wanted platform's or this machine's.
pub(super) fn images(archive: &Archive, platform: Option<&Platform>) -> Result<Vec<Found>, Error> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let (bytes, _) = archive.metadata("the archive", TABLE)?;
    let Parsed::Index(index) = parse(TABLE, bytes, media::OCI_INDEX)? else {
        return Err(ImageError::NoImage.into());
    };
    let mut images: Vec<Found> = Vec::new();
    for descriptor in for_platform(&index, wanted) {
        let mut image = image(archive, descriptor, wanted)?;
        image.tags.extend(name(descriptor)?);
        // Each further tag of an image is an entry of its own.
        match images
            .iter_mut()
            .find(|other| other.config == image.config && other.index == image.index)
        {
            Some(other) => other.tags.append(&mut image.tags),
            None => images.push(image),
        }
    }
    if images.is_empty() { Err(ImageError::NoImage.into()) } else { Ok(images) }
}

/// The entries to load: without those for other machines when there are some for this one.
fn for_platform<'a>(index: &'a Index, wanted: &Platform) -> Vec<&'a Descriptor> {
    let runs = |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| wanted.rank(p).is_some());
    let known = |d: &&Descriptor| d.platform.as_ref().is_none_or(|p| p.os != "unknown");
    let fitting: Vec<_> = index.manifests.iter().filter(known).filter(runs).collect();
    if fitting.is_empty() { index.manifests.iter().filter(known).collect() } else { fitting }
}

fn image(archive: &Archive, top: &Descriptor, wanted: &Platform) -> Result<Found, Error> {
    let mut current = top;
    let mut index;
    let mut outermost = None;
    for _ in 0..=DEEPEST {
        let shown = format!("manifest {}", current.digest);
        let bytes = blob(archive, TABLE, &current.digest)?;
        match parse(&shown, bytes, &current.media_type)? {
            Parsed::Manifest(manifest) => {
                let found = from_manifest(archive, &shown, &manifest, bytes)?;
                return Ok(Found { index: outermost, ..found });
            }
            Parsed::Index(list) => {
                index = list;
                outermost.get_or_insert_with(|| bytes.to_vec());
            }
        }
        let choice = index.choose(wanted);
        current = choice.ok_or_else(|| ImageError::NoPlatform {
            name: format!("index {}", top.digest),
            wanted: wanted.to_string(),
            available: index.platforms(),
        })?;
    }
    Err(ImageError::NoImage.into())
}

fn from_manifest(
    archive: &Archive,
    shown: &str,
    manifest: &Manifest,
    bytes: &[u8],
) -> Result<Found, Error> {
    if !media::is_image_config(&manifest.config.media_type) {
        let kind = manifest.artifact_type.clone();
        let kind = kind.unwrap_or_else(|| manifest.config.media_type.clone());
        return Err(ImageError::Artifact { name: shown.to_owned(), kind }.into());
    }
    let config = blob(archive, shown, &manifest.config.digest)?;
    let mut members: Vec<(String, LayerMember)> = Vec::new();
    let mut layers = Vec::new();
    for descriptor in &manifest.layers {
        let path = path_of(&descriptor.digest);
        let layer = archive.layer(shown, &path)?;
        if layer.blob != descriptor.digest {
            return Err(ImageError::WrongDigest { name: path, actual: layer.blob }.into());
        }
        layers.push(LayerEntry {
            diff_id: layer.diff_id,
            size: layer.size,
            blob: Some(layer.blob),
            media_type: Some(descriptor.media_type.clone()),
        });
        members.push((path, layer));
    }
    match_layers(config, &members)?;
    let manifest = Some(bytes.to_vec());
    Ok(Found { config: config.to_vec(), manifest, index: None, layers, tags: Vec::new() })
}

fn parse(name: &str, bytes: &[u8], declared: &str) -> Result<Parsed, Error> {
    let parsed = tug_registry::parse(bytes, declared);
    let failed = |source| ImageError::Manifest { name: name.to_owned(), source };
    Ok(parsed.map_err(failed)?.0)
}

/// A blob whose content is what its name says.
fn blob<'a>(archive: &'a Archive, by: &str, digest: &Digest) -> Result<&'a [u8], Error> {
    let name = path_of(digest);
    let (bytes, actual) = archive.metadata(by, &name)?;
    if actual == *digest { Ok(bytes) } else { Err(ImageError::WrongDigest { name, actual }.into()) }
}

fn path_of(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// The name of an entry, if it has one. A bare `latest` is a tag of nothing.
fn name(descriptor: &Descriptor) -> Result<Option<ImageReference>, Error> {
    let Some(annotations) = &descriptor.annotations else { return Ok(None) };
    if let Some(full) = annotations.get(FULL_NAME) {
        return reference(TABLE, full).map(Some);
    }
    let name = annotations.get(REF_NAME).filter(|name| name.contains([':', '/']));
    name.map(|name| reference(TABLE, name)).transpose()
}
