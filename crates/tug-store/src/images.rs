//! Images as the store knows them: config, layers and names. An image is there whole or not at all:
//! [`Store::put_image`] is one transaction after every layer is in place.

use crate::{Error, Result, Store, settle, variants};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::BTreeSet;
use tug_types::{DiffId, Digest, ImageReference};

/// One image.
#[derive(Clone, Debug)]
pub struct ImageRow {
    /// Config digest.
    pub id: Digest,
    /// The config's own bytes.
    pub config: Vec<u8>,
    /// Digest of the manifest it came with.
    pub manifest_digest: Option<Digest>,
    /// Seconds since the epoch.
    pub created: i64,
    /// Bytes of all layers' files.
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub tagged: i64,
    /// Tags, in order.
    pub tags: Vec<ImageReference>,
    /// Names by digest.
    pub digests: Vec<ImageReference>,
}

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerEntry {
    /// Which.
    pub diff_id: DiffId,
    /// Bytes of its files.
    pub size: u64,
    /// Digest of the compressed blob it came as.
    pub blob: Option<Digest>,
    /// Media type of that blob.
    pub media_type: Option<String>,
}

/// An image to be recorded.
#[derive(Clone, Debug)]
pub struct NewImage<'a> {
    /// Digest of `config`.
    pub id: Digest,
    /// The config's own bytes.
    pub config: &'a [u8],
    /// Digest of its manifest, whose bytes are in the blobs.
    pub manifest_digest: Option<Digest>,
    /// Seconds since the epoch.
    pub created: i64,
    /// A name given to it now is one a person gave it here: by a build or a commit, and not by a
    /// registry or an archive.
    pub tagged: bool,
    /// Base first. All are in place.
    pub layers: &'a [LayerEntry],
    /// Tags that point at it from now on.
    pub tags: &'a [ImageReference],
    /// Names by digest (`repository@sha256:...` of manifest or index).
    pub digests: &'a [ImageReference],
    /// The index that names the manifest, when the names stand for an index; its bytes are in the
    /// blobs.
    pub index: Option<Digest>,
    /// The image's platform, normalised: `linux/arm64`.
    pub platform: &'a str,
}

/// What is left to remove after a name or an image was forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untagged {
    /// Layers nobody refers to any more.
    pub layers: Vec<DiffId>,
    /// Blobs it had; others may refer to them too. [`Store::discard`] looks.
    pub blobs: Vec<Digest>,
}

const COLUMNS: &str = "id, config, manifest_digest, created, size, tagged";

impl Store {
    /// Records an image and its names; names move from where they pointed.
    /// True when the image itself was not there before.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_image(&self, new: &NewImage<'_>) -> Result<bool> {
        let boot = self.boot_if_unsettled(new.layers.iter().map(|layer| layer.diff_id))?;
        self.write(|transaction| {
            let size: u64 = new.layers.iter().map(|layer| layer.size).sum();
            let added = transaction.execute(
                "INSERT OR IGNORE INTO images (id, config, manifest_digest, created, size, tagged)
                 VALUES (?1, ?2, ?3, ?4, ?5, 0)",
                params![
                    new.id.to_string(),
                    new.config,
                    new.manifest_digest.map(|digest| digest.to_string()),
                    new.created,
                    i64::try_from(size).unwrap_or(i64::MAX),
                ],
            )?;
            if added == 0
                && let Some(manifest) = new.manifest_digest
            {
                // The same image compressed otherwise: what came last is what is handed on.
                transaction.execute(
                    "UPDATE images SET manifest_digest = ?2 WHERE id = ?1",
                    params![new.id.to_string(), manifest.to_string()],
                )?;
            }
            for (position, layer) in new.layers.iter().enumerate() {
                transaction.execute(
                    "INSERT INTO image_layers (image, position, diff_id, size, blob, media_type)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (image, position) DO UPDATE SET blob = coalesce(?5, blob),
                     media_type = coalesce(?6, media_type)",
                    params![
                        new.id.to_string(),
                        i64::try_from(position).unwrap_or(i64::MAX),
                        layer.diff_id.to_string(),
                        i64::try_from(layer.size).unwrap_or(i64::MAX),
                        layer.blob.map(|digest| digest.to_string()),
                        layer.media_type
                    ],
                )?;
            }
            if let Some(boot) = &boot {
                settle::remember(transaction, &new.id, boot)?;
            }
            variants::remember(transaction, new)?;
            for tag in new.tags {
                point(transaction, tag, &new.id, new.index.or(new.manifest_digest))?;
            }
            if new.tagged && !new.tags.is_empty() {
                touch(transaction, &new.id)?;
            }
            for digest in new.digests {
                point_digest(transaction, digest, &new.id)?;
            }
            Ok(added > 0)
        })
    }

    /// Points a tag at an image, and at the index or manifest the image came with.
    ///
    /// # Errors
    /// When the database fails.
    pub fn tag_image(&self, id: &Digest, tag: &ImageReference) -> Result<()> {
        self.write(|transaction| {
            let target = variants::latest_target(transaction, id)?;
            point(transaction, tag, id, target)?;
            touch(transaction, id)
        })
    }

    /// Gives an image a name by digest: a registry has it under that name.
    ///
    /// # Errors
    /// When the database fails, also because the image is gone.
    pub fn digest_image(&self, id: &Digest, name: &ImageReference) -> Result<()> {
        self.write(|transaction| point_digest(transaction, name, id))
    }

    /// Takes a tag away. False when it was not there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn untag_image(&self, tag: &ImageReference) -> Result<bool> {
        self.write(|transaction| {
            let removed =
                transaction.execute("DELETE FROM tags WHERE reference = ?1", [tag.to_string()])?;
            Ok(removed > 0)
        })
    }

    /// Takes a name by digest away. False when it was not there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_repo_digest(&self, reference: &ImageReference) -> Result<bool> {
        self.write(|transaction| {
            let removed = transaction.execute(
                "DELETE FROM repo_digests WHERE reference = ?1",
                [reference.to_string()],
            )?;
            Ok(removed > 0)
        })
    }

    /// Forgets an image with its names. `protected` layers (of live leases) are kept for the next
    /// collection.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_image(&self, id: &Digest, protected: &BTreeSet<DiffId>) -> Result<Untagged> {
        self.write(|transaction| {
            let layers = layers_of(transaction, id)?;
            let manifest: Option<String> = transaction
                .query_row(
                    "SELECT manifest_digest FROM images WHERE id = ?1",
                    [id.to_string()],
                    |row| row.get(0),
                )
                .optional()?
                .flatten();
            let targets = variants::blobs_of(transaction, id)?;
            transaction.execute("DELETE FROM images WHERE id = ?1", [id.to_string()])?;
            let mut left = Untagged { blobs: vec![*id], ..Untagged::default() };
            left.blobs.extend(manifest.and_then(|text| Digest::parse(&text).ok()));
            left.blobs.extend(targets);
            left.blobs.extend(layers.iter().filter_map(|layer| layer.blob));
            left.blobs.sort();
            left.blobs.dedup();
            for layer in layers {
                if !protected.contains(&layer.diff_id)
                    && !is_referenced(transaction, &layer.diff_id)?
                {
                    left.layers.push(layer.diff_id);
                }
            }
            // What only the build cache has now must fit into it.
            left.layers.extend(crate::room::fit(transaction)?);
            left.layers.sort();
            left.layers.dedup();
            Ok(left)
        })
    }

    /// Of the layers given, those that neither an image nor a container refers to.
    ///
    /// # Errors
    /// When the database fails.
    pub fn unreferenced_layers(&self, layers: &[DiffId]) -> Result<Vec<DiffId>> {
        let connection = self.connection()?;
        let mut unreferenced = Vec::new();
        for diff_id in layers {
            if !is_referenced(&connection, diff_id)? {
                unreferenced.push(*diff_id);
            }
        }
        Ok(unreferenced)
    }

    /// The image a tag or a name by digest points at.
    ///
    /// # Errors
    /// When the database fails or the row cannot be read.
    pub fn image_by_reference(&self, reference: &ImageReference) -> Result<Option<ImageRow>> {
        let connection = self.connection()?;
        let table = if reference.digest().is_some() { "repo_digests" } else { "tags" };
        let named = match (reference.tag(), reference.digest()) {
            // `name:tag@digest` names the digest; the tag is only talk.
            (Some(_), Some(digest)) => reference.with_digest(*digest),
            _ => reference.clone(),
        };
        let row = connection
            .prepare_cached(&format!(
                "SELECT {COLUMNS} FROM images WHERE id = (SELECT image FROM {table} WHERE reference = ?1)"
            ))?
            .query_row([named.to_string()], |row| Ok(read(row)))
            .optional()?
            .transpose()?;
        row.map(|row| with_names(&connection, row)).transpose()
    }

    /// Images whose id starts with the given hexadecimal digits.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn images_by_prefix(&self, digits: &str) -> Result<Vec<ImageRow>> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.is_empty() || !digits.bytes().all(hex) {
            return Ok(Vec::new());
        }
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM images WHERE id >= 'sha256:' || ?1 AND id < 'sha256:' || ?1 || 'g'"
        ))?;
        let rows: Vec<ImageRow> = statement
            .query_map([digits], |row| Ok(read(row)))?
            .map(|row| row?)
            .collect::<Result<_>>()?;
        rows.into_iter().map(|row| with_names(&connection, row)).collect()
    }

    /// All images, newest first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn images(&self) -> Result<Vec<ImageRow>> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare(&format!("SELECT {COLUMNS} FROM images ORDER BY created DESC, id"))?;
        let rows: Vec<ImageRow> =
            statement.query_map([], |row| Ok(read(row)))?.map(|row| row?).collect::<Result<_>>()?;
        rows.into_iter().map(|row| with_names(&connection, row)).collect()
    }

    /// An image's layers, base first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn image_layers(&self, id: &Digest) -> Result<Vec<LayerEntry>> {
        layers_of(&*self.connection()?, id)
    }

    /// Ids and names of the containers made of an image.
    ///
    /// # Errors
    /// When the database fails.
    pub fn image_users(&self, id: &Digest) -> Result<Vec<(String, String)>> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare("SELECT id, name FROM containers WHERE image = ?1 ORDER BY created")?;
        let rows = statement.query_map([id.to_string()], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}

fn point(
    transaction: &Transaction<'_>,
    tag: &ImageReference,
    id: &Digest,
    target: Option<Digest>,
) -> Result<()> {
    transaction.execute(
        "INSERT INTO tags (reference, image, target) VALUES (?1, ?2, ?3)
         ON CONFLICT (reference) DO UPDATE SET image = ?2, target = ?3",
        params![tag.to_string(), id.to_string(), target.map(|digest| digest.to_string())],
    )?;
    Ok(())
}

fn point_digest(transaction: &Transaction<'_>, name: &ImageReference, id: &Digest) -> Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO repo_digests (reference, image) VALUES (?1, ?2)",
        params![name.to_string(), id.to_string()],
    )?;
    Ok(())
}

/// Notes the moment a name was given.
fn touch(transaction: &Transaction<'_>, id: &Digest) -> Result<()> {
    transaction.execute(
        "UPDATE images SET tagged = ?2 WHERE id = ?1",
        params![id.to_string(), crate::db::now()],
    )?;
    Ok(())
}

pub(crate) fn is_referenced(connection: &Connection, diff_id: &DiffId) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = ?1)
                 OR EXISTS (SELECT 1 FROM container_layers WHERE diff_id = ?1)
                 OR EXISTS (SELECT 1 FROM build_cache_layers WHERE diff_id = ?1)",
        )?
        .query_row([diff_id.to_string()], |row| row.get(0))?)
}

fn layers_of(connection: &Connection, id: &Digest) -> Result<Vec<LayerEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT diff_id, size, blob, media_type FROM image_layers WHERE image = ?1 ORDER BY position",
    )?;
    let rows = statement.query_map([id.to_string()], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, i64>(1)?,
            row.get::<_, Option<String>>(2)?,
            row.get(3)?,
        ))
    })?;
    rows.map(|row| {
        let (diff_id, size, blob, media_type) = row?;
        let digest = |text: &str| {
            Digest::parse(text).map_err(|_| Error::Identifier { what: format!("layer {text:?}") })
        };
        Ok(LayerEntry {
            diff_id: DiffId(digest(&diff_id)?),
            size: u64::try_from(size).unwrap_or(0),
            blob: blob.as_deref().map(digest).transpose()?,
            media_type,
        })
    })
    .collect()
}

fn with_names(connection: &Connection, mut row: ImageRow) -> Result<ImageRow> {
    let names = |table: &str| -> Result<Vec<ImageReference>> {
        let mut statement = connection.prepare_cached(&format!(
            "SELECT reference FROM {table} WHERE image = ?1 ORDER BY reference"
        ))?;
        let texts = statement.query_map([row.id.to_string()], |row| row.get::<_, String>(0))?;
        texts
            .map(|text| {
                let text = text?;
                ImageReference::parse(&text)
                    .map_err(|_| Error::Identifier { what: format!("image name {text:?}") })
            })
            .collect()
    };
    row.tags = names("tags")?;
    row.digests = names("repo_digests")?;
    Ok(row)
}

fn read(row: &Row<'_>) -> Result<ImageRow> {
    let id: String = row.get(0)?;
    let digest = |text: &str| {
        Digest::parse(text).map_err(|_| Error::Identifier { what: format!("image {text:?}") })
    };
    let manifest: Option<String> = row.get(2)?;
    Ok(ImageRow {
        id: digest(&id)?,
        config: row.get(1)?,
        manifest_digest: manifest.as_deref().map(digest).transpose()?,
        created: row.get(3)?,
        size: u64::try_from(row.get::<_, i64>(4)?).unwrap_or(0),
        tagged: row.get(5)?,
        tags: Vec::new(),
        digests: Vec::new(),
    })
}
