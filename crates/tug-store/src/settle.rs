//! From recorded to durable.
//!
//! Syncing 640 MB takes a second that nobody who pulls wants to wait for, so an image is recorded
//! while its files are still on their way to the disk, together with the boot it happened in, and a
//! process of its own syncs and strikes it off this list ([`Store::settle`]). After a crash of the
//! machine the list tells which images to doubt: whoever opens the store first proves their layers
//! by digest, and what fails is forgotten as if it had never been there. Killing tug is no crash:
//! what was written to files is in the kernel.

use crate::{Result, Store, layers};
use rusqlite::{Transaction, params};
use std::time::Duration;
use tug_types::{DiffId, Digest};

pub(crate) const SCHEMA: &str = "
CREATE TABLE unsettled (
    image TEXT PRIMARY KEY REFERENCES images(id) ON DELETE CASCADE,
    boot TEXT NOT NULL,              -- the kernel's boot id
    recorded INTEGER NOT NULL        -- nanoseconds since the epoch
) WITHOUT ROWID;
";

/// Part of recording an image.
pub(crate) fn remember(transaction: &Transaction<'_>, image: &Digest, boot: &str) -> Result<()> {
    transaction.execute(
        "INSERT OR REPLACE INTO unsettled (image, boot, recorded) VALUES (?1, ?2, ?3)",
        params![image.to_string(), boot, crate::db::now()],
    )?;
    Ok(())
}

impl Store {
    /// This boot, when one of the layers is not known to be on the disk. Where the kernel does not
    /// name its boots, they are synced on the spot.
    pub(crate) fn boot_if_unsettled(
        &self,
        layers: impl Iterator<Item = DiffId>,
    ) -> Result<Option<String>> {
        let all = self.layers();
        if layers.into_iter().all(|layer| all.is_settled(&layer)) {
            return Ok(None);
        }
        let boot = layers::boot_id();
        if boot.is_empty() {
            all.sync()?;
            return Ok(None);
        }
        Ok(Some(boot))
    }

    /// Whether images wait to be settled for longer than `age`: whoever should have done it was
    /// killed.
    ///
    /// # Errors
    /// When the database fails.
    pub fn is_unsettled(&self, age: Duration) -> Result<bool> {
        let age = i64::try_from(age.as_nanos()).unwrap_or(i64::MAX);
        let before = crate::db::now().saturating_sub(age);
        let connection = self.connection()?;
        let mut statement = connection
            .prepare_cached("SELECT EXISTS (SELECT 1 FROM unsettled WHERE recorded <= ?1)")?;
        Ok(statement.query_row([before], |row| row.get(0))?)
    }

    /// Syncs what was recorded so far. Takes as long as the disk does.
    ///
    /// # Errors
    /// When the disk or the database fails.
    pub fn settle(&self) -> Result<()> {
        let images: Vec<(String, i64)> = {
            let connection = self.connection()?;
            let mut statement = connection.prepare("SELECT image, recorded FROM unsettled")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        if images.is_empty() {
            return Ok(());
        }
        self.layers().sync()?;
        self.write(|transaction| {
            for (image, recorded) in images {
                // Recorded once more meanwhile: with layers this sync may have missed.
                transaction.execute(
                    "DELETE FROM unsettled WHERE image = ?1 AND recorded = ?2",
                    params![image, recorded],
                )?;
            }
            Ok(())
        })
    }

    /// Doubts what was recorded in another boot and not settled in it. Part of opening the database:
    /// reads an almost always empty table.
    pub(crate) fn recover(&self) -> Result<()> {
        let doubted: Vec<(String, String)> = {
            let Ok(connection) = self.connection() else { return Ok(()) };
            let mut statement = connection.prepare("SELECT image, boot FROM unsettled")?;
            let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        if doubted.is_empty() {
            return Ok(());
        }
        let boot = layers::boot_id();
        for (image, recorded_in) in doubted {
            let Ok(image) = Digest::parse(&image) else { continue };
            if recorded_in != boot {
                self.doubt(&image)?;
            }
        }
        Ok(())
    }

    /// Proves the layers of an image, or forgets it.
    fn doubt(&self, image: &Digest) -> Result<()> {
        let (all, mut whole) = (self.layers(), true);
        for layer in self.image_layers(image)? {
            if all.contains(&layer.diff_id) {
                continue;
            }
            match all.verify(&layer.diff_id) {
                Ok(()) => all.mark(&layer.diff_id)?,
                Err(_) => {
                    whole = false;
                    // A container may stand on it: better none of it than half of it.
                    if let Some(path) = all.take_away(&layer.diff_id)? {
                        crate::lease::remove_tree(&path)?;
                    }
                }
            }
        }
        if whole {
            return self.write(|transaction| {
                transaction
                    .execute("DELETE FROM unsettled WHERE image = ?1", [image.to_string()])?;
                Ok(())
            });
        }
        let left = self.forget_image(image, &std::collections::BTreeSet::new())?;
        self.discard(&left.layers, &left.blobs)?.delete()?;
        Ok(())
    }
}
