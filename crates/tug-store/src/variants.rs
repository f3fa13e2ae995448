//! Several platforms under one name, and what a name stands for where it came from.
//!
//! A tag points at one image, the one used where no platform is asked for, and remembers its
//! `target`: the digest of the index or manifest it names in its registry. The images of one index
//! that are here are its variants. The index's and the manifests' own bytes are blobs, so both can
//! be handed on as they are.

use crate::{Error, NewImage, Result, Store};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use tug_types::{DiffId, Digest, ImageReference};

/// One platform of an index that is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The image.
    pub image: Digest,
    /// Normalised: `linux/arm64`.
    pub platform: String,
    /// The manifest the index names for it.
    pub manifest: Digest,
}

/// A compressed form of a layer that was seen or made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobRecord {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Media type.
    pub media_type: String,
    /// How tug compressed it and can do so again bit by bit; empty when somebody else did.
    pub recipe: String,
}

impl Store {
    /// What a name stands for in its registry: the digest of an index or a manifest. `None` for
    /// names that came from nowhere (`import`, `commit`) and unknown ones.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub fn target(&self, reference: &ImageReference) -> Result<Option<Digest>> {
        if let Some(digest) = reference.digest() {
            return Ok(Some(*digest));
        }
        let target: Option<Option<String>> = self
            .connection()?
            .prepare_cached("SELECT target FROM tags WHERE reference = ?1")?
            .query_row([reference.to_string()], |row| row.get(0))
            .optional()?;
        target.flatten().map(|text| digest(&text)).transpose()
    }

    /// The images of an index that are here, in no particular order.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn variants(&self, index: &Digest) -> Result<Vec<Variant>> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT image, platform, manifest FROM index_images WHERE target = ?1",
        )?;
        let rows = statement.query_map([index.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get(1)?, row.get::<_, String>(2)?))
        })?;
        rows.map(|row| {
            let (image, platform, manifest) = row?;
            Ok(Variant { image: digest(&image)?, platform, manifest: digest(&manifest)? })
        })
        .collect()
    }

    /// Remembers a compressed form of a layer: the next push or save need not find out again.
    ///
    /// # Errors
    /// When the database fails.
    pub fn remember_blob(&self, layer: &DiffId, blob: &BlobRecord) -> Result<()> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO layer_blobs (diff_id, digest, size, media_type, recipe)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    layer.to_string(),
                    blob.digest.to_string(),
                    i64::try_from(blob.size).unwrap_or(i64::MAX),
                    blob.media_type,
                    blob.recipe
                ],
            )?;
            Ok(())
        })
    }

    /// The compressed forms of a layer that are remembered, those tug can make again first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn layer_blobs(&self, layer: &DiffId) -> Result<Vec<BlobRecord>> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT digest, size, media_type, recipe FROM layer_blobs WHERE diff_id = ?1
             ORDER BY recipe = '', digest",
        )?;
        let rows = statement.query_map([layer.to_string()], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?, row.get(2)?, row.get(3)?))
        })?;
        rows.map(|row| {
            let (text, size, media_type, recipe) = row?;
            let size = u64::try_from(size).unwrap_or(0);
            Ok(BlobRecord { digest: digest(&text)?, size, media_type, recipe })
        })
        .collect()
    }
}

/// Notes that an index has the image; part of recording it.
pub(crate) fn remember(transaction: &Transaction<'_>, new: &NewImage<'_>) -> Result<()> {
    let (Some(index), Some(manifest)) = (new.index, new.manifest_digest) else { return Ok(()) };
    transaction.execute(
        "INSERT OR REPLACE INTO index_images (target, image, platform, manifest)
         VALUES (?1, ?2, ?3, ?4)",
        params![index.to_string(), new.id.to_string(), new.platform, manifest.to_string()],
    )?;
    Ok(())
}

/// What another name of the image stands for: the index rather than the bare manifest.
pub(crate) fn latest_target(connection: &Connection, image: &Digest) -> Result<Option<Digest>> {
    let target: Option<Option<String>> = connection
        .prepare_cached(
            "SELECT coalesce(
                 (SELECT target FROM tags WHERE image = ?1 AND target IS NOT NULL LIMIT 1),
                 (SELECT target FROM index_images WHERE image = ?1 LIMIT 1),
                 (SELECT manifest_digest FROM images WHERE id = ?1))",
        )?
        .query_row([image.to_string()], |row| row.get(0))
        .optional()?;
    target.flatten().map(|text| digest(&text)).transpose()
}

/// Indexes and manifests that are kept for an image's sake.
pub(crate) fn blobs_of(connection: &Connection, image: &Digest) -> Result<Vec<Digest>> {
    let mut statement = connection.prepare_cached(
        "SELECT target FROM index_images WHERE image = ?1
         UNION SELECT manifest FROM index_images WHERE image = ?1
         UNION SELECT target FROM tags WHERE image = ?1 AND target IS NOT NULL
         UNION SELECT substr(reference, -71) FROM repo_digests WHERE image = ?1",
    )?;
    let rows = statement.query_map([image.to_string()], |row| row.get::<_, String>(0))?;
    rows.map(|text| digest(&text?)).collect()
}

fn digest(text: &str) -> Result<Digest> {
    Digest::parse(text).map_err(|_| Error::Identifier { what: format!("blob {text:?}") })
}
