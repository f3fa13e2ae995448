//! Collection: what no row refers to and no living lease protects is taken away.
//!
//! Three parties must not miss each other:
//!
//! - A command that brings something *protects* it in its lease first (holding `tmp/.collect`
//!   shared for that moment), then looks whether it is there, and gives its lease back after its
//!   transaction.
//! - The collector holds `tmp/.collect` exclusively and looks at the leases first, then, inside one
//!   write transaction, at the rows: whoever is not protected any more has its row by then. What
//!   has neither is renamed into `tmp/` before the transaction ends, which is quick; whoever
//!   protects it afterwards finds it gone.
//! - Deleting needs no lock. Killed in the middle, the next [`sweep_dead`](crate::sweep_dead) goes on.

use crate::lease::{self, remove_tree};
use crate::{LeaseError, Result, Store, images};
use rusqlite::Connection;
use rustix::fs::FlockOperation;
use std::collections::HashSet;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tug_types::{DiffId, Digest};

/// What was taken out of its place and is still to be deleted. Dropped, it is deleted later, by
/// whoever sweeps next.
#[derive(Debug, Default)]
#[must_use = "the space is free only after `delete`"]
pub struct Discarded {
    /// Layers.
    pub layers: Vec<DiffId>,
    /// Blobs; those are gone already.
    pub blobs: Vec<Digest>,
    trash: Vec<PathBuf>,
    entries: u64,
}

impl Discarded {
    /// Directories of one owner that are out of their place.
    pub(crate) fn of(trash: Vec<PathBuf>) -> Self {
        Self { trash, ..Self::default() }
    }

    /// This and that.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.layers.extend(other.layers);
        self.blobs.extend(other.blobs);
        self.trash.extend(other.trash);
        self.entries = self.entries.saturating_add(other.entries);
        self
    }

    /// How many files there are to delete, by the layers' records.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// Frees the space: the slow part.
    ///
    /// # Errors
    /// The first that cannot be deleted; the others are deleted all the same.
    pub fn delete(self) -> Result<Collected> {
        let mut result = Ok(());
        for path in &self.trash {
            result = result.and(remove_tree(path));
        }
        result?;
        Ok(Collected { layers: self.layers, blobs: self.blobs })
    }

    /// Whether nothing is left to delete.
    pub fn is_empty(&self) -> bool {
        self.trash.is_empty()
    }
}

/// What was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layers.
    pub layers: Vec<DiffId>,
    /// Blobs.
    pub blobs: Vec<Digest>,
}

impl Store {
    /// Takes away those of the given layers and blobs that neither a row nor a living lease holds.
    ///
    /// # Errors
    /// When leases or rows cannot be read, or something cannot be moved.
    pub fn discard(&self, layers: &[DiffId], blobs: &[Digest]) -> Result<Discarded> {
        if layers.is_empty() && blobs.is_empty() {
            return Ok(Discarded::default());
        }
        let tmp = lease::tmp_dir(self.root())?;
        let _collecting = lease::collecting(&tmp, FlockOperation::LockExclusive)?;
        let held = lease::live_protected_digests(self.root())?;
        self.write(|transaction| {
            let mut discarded = Discarded::default();
            for layer in layers.iter().filter(|layer| !held.contains(&layer.0)) {
                if images::is_referenced(transaction, layer)? {
                    continue;
                }
                let entries = self.layers().info(layer).map_or(u64::MAX, |info| info.entries);
                if let Some(path) = self.layers().take_away(layer)? {
                    discarded.entries = discarded.entries.saturating_add(entries);
                    discarded.layers.push(*layer);
                    discarded.trash.push(path);
                }
            }
            for blob in blobs.iter().filter(|blob| !held.contains(blob)) {
                if !is_blob_referenced(transaction, blob)? && self.blobs().contains(blob) {
                    self.blobs().remove(blob)?;
                    discarded.blobs.push(*blob);
                }
            }
            for layer in &discarded.layers {
                transaction
                    .prepare_cached("DELETE FROM layer_blobs WHERE diff_id = ?1")?
                    .execute([layer.to_string()])?;
            }
            Ok(discarded)
        })
    }

    /// Takes a directory of the caller's, which is below the data root, out of its place.
    ///
    /// # Errors
    /// When it cannot be moved. That it is gone already is no failure.
    pub fn take_out(&self, dir: &std::path::Path) -> Result<Discarded> {
        let trash = lease::trash_path(self.root())?;
        match std::fs::rename(dir, &trash) {
            Ok(()) => Ok(Discarded::of(vec![trash])),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Discarded::default()),
            Err(source) => Err(crate::Error::Remove { path: dir.to_owned(), source }),
        }
    }

    /// Takes away everything that nothing refers to and that is older than `grace`: what a killed
    /// command had finished is worth keeping for a while, in case it is repeated.
    ///
    /// # Errors
    /// As [`discard`](Self::discard).
    pub fn collect(&self, grace: Duration) -> Result<Discarded> {
        let known = self.referenced()?;
        let is_old = |path: PathBuf| {
            let modified = path.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|time| SystemTime::now().duration_since(time).ok());
            grace.is_zero() || age.is_some_and(|age| age >= grace)
        };
        let layers: Vec<DiffId> = self
            .layers()
            .list()?
            .into_iter()
            .filter(|layer| !known.contains(&layer.0))
            .filter(|layer| is_old(self.layers().record_path(layer)))
            .collect();
        let blobs: Vec<Digest> = self
            .blobs()
            .list()?
            .into_iter()
            .filter(|blob| !known.contains(blob))
            .filter(|blob| is_old(self.blobs().path(blob)))
            .collect();
        self.discard(&layers, &blobs)
    }

    /// Every digest a row holds: the mark. What it misses is looked at once more by itself.
    fn referenced(&self) -> Result<HashSet<Digest>> {
        let connection = self.connection()?;
        let mut statement = connection.prepare_cached(
            "SELECT diff_id FROM image_layers UNION SELECT diff_id FROM container_layers
             UNION SELECT diff_id FROM build_cache_layers
             UNION SELECT blob FROM image_layers WHERE blob IS NOT NULL
             UNION SELECT id FROM images
             UNION SELECT manifest_digest FROM images WHERE manifest_digest IS NOT NULL
             UNION SELECT target FROM tags WHERE target IS NOT NULL
             UNION SELECT target FROM index_images UNION SELECT manifest FROM index_images
             UNION SELECT substr(reference, -71) FROM repo_digests",
        )?;
        let rows = statement.query_map([], |row| row.get::<_, String>(0))?;
        let mut known = HashSet::new();
        for text in rows {
            known.extend(Digest::parse(&text?).ok());
        }
        Ok(known)
    }

    /// Deletes what was moved out of its place and not deleted yet, and the work of dead leases.
    ///
    /// # Errors
    /// The first directory that cannot be read or removed.
    pub fn sweep(&self) -> std::result::Result<(), LeaseError> {
        lease::sweep_dead(self.root())
    }

    /// Whether something waits in `tmp/` for [`sweep`](Self::sweep): what a removal put there, or the work
    /// of a dead lease.
    ///
    /// # Errors
    /// When `tmp/` cannot be read, or a lease not asked about.
    pub fn has_leftovers(&self) -> std::result::Result<bool, LeaseError> {
        lease::is_anything_dead(self.root())
    }
}

fn is_blob_referenced(connection: &Connection, blob: &Digest) -> Result<bool> {
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM images WHERE id = ?1)
                 OR EXISTS (SELECT 1 FROM images WHERE manifest_digest = ?1)
                 OR EXISTS (SELECT 1 FROM tags WHERE target = ?1)
                 OR EXISTS (SELECT 1 FROM index_images WHERE target = ?1)
                 OR EXISTS (SELECT 1 FROM index_images WHERE manifest = ?1)
                 OR EXISTS (SELECT 1 FROM image_layers WHERE blob = ?1)
                 OR EXISTS (SELECT 1 FROM repo_digests WHERE substr(reference, -71) = ?1)",
        )?
        .query_row([blob.to_string()], |row| row.get(0))?)
}
