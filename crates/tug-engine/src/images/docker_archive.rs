//! What `docker save` writes: `manifest.json`, a list of images, each with the names of its
//! configuration, its layers and its tags.

use super::archive::{Archive, LayerMember};
use super::error::ImageError;
use super::load::{Found, match_layers};
use crate::Error;
use serde::Deserialize;
use tug_store::LayerEntry;
use tug_types::{Digest, ImageReference};

const TABLE: &str = "manifest.json";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Option<Vec<String>>,
}

/// All images of the archive.
pub(super) fn images(archive: &Archive) -> Result<Vec<Found>, Error> {
    let entries: Vec<Entry> = archive.json("the archive", TABLE)?;
    entries.iter().map(|entry| image(archive, entry)).collect()
}

fn image(archive: &Archive, entry: &Entry) -> Result<Found, Error> {
    let (config, digest) = archive.metadata(TABLE, &entry.config)?;
    if digest_in(&entry.config).is_some_and(|named| named != digest) {
        let actual = digest;
        return Err(ImageError::WrongDigest { name: entry.config.clone(), actual }.into());
    }
    let names = entry.layers.as_deref().unwrap_or_default();
    let members: Vec<(String, LayerMember)> = names
        .iter()
        .map(|name| Ok((name.clone(), archive.layer(TABLE, name)?)))
        .collect::<Result<_, Error>>()?;
    match_layers(config, &members)?;
    let entries = members.iter().map(|(_, layer)| LayerEntry {
        diff_id: layer.diff_id,
        size: layer.size,
        blob: None,
        media_type: None,
    });
    let tags = entry.repo_tags.as_deref().unwrap_or_default();
    Ok(Found {
        config: config.to_vec(),
        manifest: None,
        index: None,
        layers: entries.collect(),
        tags: tags.iter().map(|tag| reference(TABLE, tag)).collect::<Result<_, _>>()?,
    })
}

/// A tag as an archive spells it.
pub(super) fn reference(by: &str, text: &str) -> Result<ImageReference, Error> {
    let parsed = ImageReference::parse(text);
    Ok(parsed.map_err(|source| ImageError::Reference { by: by.to_owned(), source })?)
}

/// `<hex>.json` and `blobs/sha256/<hex>` promise a digest; other names promise nothing.
fn digest_in(name: &str) -> Option<Digest> {
    let last = name.rsplit('/').next().unwrap_or(name);
    Digest::from_hex(last.strip_suffix(".json").unwrap_or(last))
}
