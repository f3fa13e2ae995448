//! What builds remember: results by key, the layers they are made of, and notes.
//!
//! A record refers to its layers as an image does, so a layer goes with the last image, container or record
//! that has it. What only records refer to is what the cache costs, and is kept below a budget: those used
//! longest ago go first, and of those used together the ones that stand on others.

use crate::{Result, Store};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use std::collections::{BTreeMap, BTreeSet};
use tug_types::{DiffId, Digest};

pub(crate) const SCHEMA: &str = "
CREATE TABLE build_cache (
    key TEXT PRIMARY KEY,
    kind TEXT NOT NULL,              -- word of the builder's
    description TEXT NOT NULL,       -- the step, as people know it
    result TEXT NOT NULL,            -- JSON of the builder's
    created INTEGER NOT NULL,        -- nanoseconds since the epoch
    used INTEGER NOT NULL,           -- nanoseconds since the epoch
    uses INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE build_cache_layers (
    key TEXT NOT NULL REFERENCES build_cache(key) ON DELETE CASCADE,
    position INTEGER NOT NULL,       -- 0 is the base
    diff_id TEXT NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (key, position)
) WITHOUT ROWID;
CREATE INDEX build_cache_layers_by_diff_id ON build_cache_layers (diff_id);
CREATE TABLE build_notes (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value BLOB NOT NULL,
    written INTEGER NOT NULL,        -- nanoseconds since the epoch
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
";

/// Notes of one kind beyond this number make room for new ones.
const MOST_NOTES: i64 = 20_000;

/// One remembered result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheRow {
    /// Its key.
    pub key: String,
    /// The builder's word for what it is.
    pub kind: String,
    /// The step, as people know it.
    pub description: String,
    /// The builder's own JSON.
    pub result: String,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// Nanoseconds since the epoch.
    pub used: i64,
    /// How often.
    pub uses: u64,
    /// Layers and the sizes of their files, base first.
    pub layers: Vec<(DiffId, u64)>,
    /// An image or a container has its uppermost layer too.
    pub shared: bool,
}

/// A result to be remembered.
#[derive(Clone, Debug)]
pub struct NewCacheRow<'a> {
    /// Its key.
    pub key: &'a str,
    /// The builder's word for what it is.
    pub kind: &'a str,
    /// The step, as people know it.
    pub description: &'a str,
    /// The builder's own JSON.
    pub result: &'a str,
    /// Layers and the sizes of their files, base first. All are in place.
    pub layers: &'a [(DiffId, u64)],
}

impl Store {
    /// The result remembered under a key. Not a use: see [`Store::cache_used`].
    ///
    /// # Errors
    /// When the database fails.
    pub fn cached(&self, key: &str) -> Result<Option<String>> {
        let connection = self.connection()?;
        let mut statement =
            connection.prepare_cached("SELECT result FROM build_cache WHERE key = ?1")?;
        Ok(statement.query_row([key], |row| row.get(0)).optional()?)
    }

    /// Remembers a result, in place of another one under the same key.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_cached(&self, new: &NewCacheRow<'_>) -> Result<()> {
        self.write(|transaction| {
            let now = crate::db::now();
            transaction
                .prepare_cached("DELETE FROM build_cache WHERE key = ?1")?
                .execute([new.key])?;
            transaction
                .prepare_cached("INSERT INTO build_cache VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0)")?
                .execute(params![new.key, new.kind, new.description, new.result, now])?;
            let mut layer = transaction
                .prepare_cached("INSERT INTO build_cache_layers VALUES (?1, ?2, ?3, ?4)")?;
            for (position, (diff_id, size)) in (0i64..).zip(new.layers) {
                let size = i64::try_from(*size).unwrap_or(i64::MAX);
                layer.execute(params![new.key, position, diff_id.to_string(), size])?;
            }
            Ok(())
        })
    }

    /// Notes that results were used, all at the same moment.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cache_used<'a>(&self, keys: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.write(|transaction| {
            let now = crate::db::now();
            let mut statement = transaction.prepare_cached(
                "UPDATE build_cache SET used = ?2, uses = uses + 1 WHERE key = ?1",
            )?;
            keys.into_iter().try_for_each(|key| statement.execute(params![key, now]).map(drop))?;
            Ok(())
        })
    }

    /// All remembered results, used last first.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn cache_rows(&self) -> Result<Vec<CacheRow>> {
        let connection = self.connection()?;
        let mut layers: BTreeMap<String, Vec<(DiffId, u64)>> = BTreeMap::new();
        let mut statement = connection
            .prepare("SELECT key, diff_id, size FROM build_cache_layers ORDER BY key, position")?;
        let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, layer(row, 1)?)))?;
        for row in rows {
            let (key, layer) = row?;
            layers.entry(key).or_default().extend(layer);
        }
        let mut shared = connection.prepare(OF_OTHERS)?;
        let mut statement = connection.prepare(
            "SELECT key, kind, description, result, created, used, uses FROM build_cache
             ORDER BY used DESC, key",
        )?;
        let rows = statement.query_map([], |row| {
            let key: String = row.get(0)?;
            let layers = layers.remove(&key).unwrap_or_default();
            let top = layers.last().map(|(layer, _)| layer.to_string());
            Ok(CacheRow {
                shared: top.map_or(Ok(false), |top| shared.query_row([top], |row| row.get(0)))?,
                layers,
                key,
                kind: row.get(1)?,
                description: row.get(2)?,
                result: row.get(3)?,
                created: row.get(4)?,
                used: row.get(5)?,
                uses: u64::try_from(row.get::<_, i64>(6)?).unwrap_or(0),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Forgets results. Returns the layers nobody refers to any more.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_cached<'a>(
        &self,
        keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<DiffId>> {
        self.write(|transaction| forget(transaction, keys))
    }

    /// Bytes of the layers that only remembered results refer to.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cache_size(&self) -> Result<u64> {
        let connection = self.connection()?;
        let own = connection.prepare_cached(OWN)?.query_row([], |row| row.get::<_, i64>(0))?;
        Ok(u64::try_from(own).unwrap_or(0))
    }

    /// Forgets the results used longest ago, but none of `keep`, until the layers only results refer to take
    /// no more than `budget` bytes. Returns the layers nobody refers to any more.
    ///
    /// # Errors
    /// When the database fails.
    pub fn shrink_cache(&self, budget: u64, keep: &BTreeSet<String>) -> Result<Vec<DiffId>> {
        if self.cache_size()? <= budget {
            return Ok(Vec::new());
        }
        self.write(|transaction| {
            let mut oldest = transaction.prepare(
                "SELECT key FROM build_cache ORDER BY used,
                 (SELECT count(*) FROM build_cache_layers AS l WHERE l.key = build_cache.key) DESC",
            )?;
            let keys: Vec<String> =
                oldest.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            let mut gone = Vec::new();
            for key in keys.iter().filter(|key| !keep.contains(*key)) {
                gone.extend(forget(transaction, [key.as_str()])?);
                let own: i64 = transaction.prepare_cached(OWN)?.query_row([], |row| row.get(0))?;
                if u64::try_from(own).unwrap_or(0) <= budget {
                    break;
                }
            }
            Ok(gone)
        })
    }

    /// A note of the builder's.
    ///
    /// # Errors
    /// When the database fails.
    pub fn build_note(&self, kind: &str, name: &str) -> Result<Option<Vec<u8>>> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare_cached("SELECT value FROM build_notes WHERE kind = ?1 AND name = ?2")?;
        Ok(statement.query_row([kind, name], |row| row.get(0)).optional()?)
    }

    /// Keeps a note of the builder's. Old ones make room.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_build_note(&self, kind: &str, name: &str, value: &[u8]) -> Result<()> {
        self.write(|transaction| {
            let now = crate::db::now();
            transaction
                .prepare_cached("INSERT OR REPLACE INTO build_notes VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![kind, name, value, now])?;
            // Looked at now and then only: counting is the expensive part.
            if now % 64 == 0 {
                transaction.execute(
                    "DELETE FROM build_notes WHERE kind = ?1 AND name NOT IN
                     (SELECT name FROM build_notes WHERE kind = ?1 ORDER BY written DESC LIMIT ?2)",
                    params![kind, MOST_NOTES],
                )?;
            }
            Ok(())
        })
    }
}

/// Whether an image or a container has a layer.
const OF_OTHERS: &str = "SELECT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = ?1)
    OR EXISTS (SELECT 1 FROM container_layers WHERE diff_id = ?1)";

const OWN: &str = "SELECT coalesce(sum(size), 0) FROM
    (SELECT DISTINCT diff_id, size FROM build_cache_layers AS l
     WHERE NOT EXISTS (SELECT 1 FROM image_layers AS i WHERE i.diff_id = l.diff_id)
       AND NOT EXISTS (SELECT 1 FROM container_layers AS c WHERE c.diff_id = l.diff_id))";

fn layer(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<(DiffId, u64)>> {
    let digest: String = row.get(at)?;
    let size: i64 = row.get(at + 1)?;
    // Only tug writes here; what it cannot read it cannot have.
    let digest = Digest::parse(&digest).ok();
    Ok(digest.map(|digest| (DiffId(digest), u64::try_from(size).unwrap_or(0))))
}

fn forget<'a>(
    transaction: &Transaction<'_>,
    keys: impl IntoIterator<Item = &'a str>,
) -> Result<Vec<DiffId>> {
    let mut candidates = BTreeSet::new();
    for key in keys {
        let mut statement = transaction
            .prepare_cached("SELECT diff_id, size FROM build_cache_layers WHERE key = ?1")?;
        let rows = statement.query_map([key], |row| layer(row, 0))?;
        for row in rows {
            candidates.extend(row?.map(|(layer, _)| layer));
        }
        transaction.prepare_cached("DELETE FROM build_cache WHERE key = ?1")?.execute([key])?;
    }
    let mut unreferenced = Vec::new();
    for layer in candidates {
        if !crate::images::is_referenced(transaction, &layer)? {
            unreferenced.push(layer);
        }
    }
    Ok(unreferenced)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerEntry, NewImage};

    fn id(byte: u8) -> DiffId {
        DiffId(Digest::from_sha256([byte; 32]))
    }

    fn put(store: &Store, key: &str, layers: &[(DiffId, u64)]) {
        let new = NewCacheRow { key, kind: "exec", description: "RUN make", result: "{}", layers };
        store.put_cached(&new).unwrap();
    }

    #[test]
    fn results_are_found_replaced_and_forgotten() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        assert_eq!(store.cached("a").unwrap(), None);
        put(&store, "a", &[(id(1), 10)]);
        put(&store, "a", &[(id(1), 10), (id(2), 5)]);
        put(&store, "b", &[(id(1), 10)]);
        assert_eq!(store.cached("a").unwrap().as_deref(), Some("{}"));
        assert_eq!(store.cache_size().unwrap(), 15, "a shared layer counts once");
        let rows = store.cache_rows().unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows.iter().all(|row| !row.shared && row.uses == 0));
        assert_eq!(store.forget_cached(["a"]).unwrap(), [id(2)]);
        assert_eq!(store.forget_cached(["b"]).unwrap(), [id(1)]);
        assert_eq!(store.cache_size().unwrap(), 0);
    }

    #[test]
    fn layers_of_images_are_not_the_caches() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        put(&store, "a", &[(id(1), 10), (id(2), 5)]);
        let layer = LayerEntry { diff_id: id(1), size: 10, blob: None, media_type: None };
        let new = NewImage {
            id: Digest::from_sha256([9; 32]),
            config: b"{}",
            manifest_digest: None,
            created: 0,
            tagged: false,
            layers: &[layer],
            tags: &[],
            digests: &[],
            index: None,
            platform: "linux/amd64",
        };
        store.put_image(&new).unwrap();
        assert_eq!(store.cache_size().unwrap(), 5);
        assert_eq!(store.forget_cached(["a"]).unwrap(), [id(2)]);
        put(&store, "a", &[(id(1), 10)]);
        assert!(store.cache_rows().unwrap()[0].shared);
        let left = store.forget_image(&new.id, &BTreeSet::new()).unwrap();
        assert!(left.layers.is_empty(), "the cache still has it");
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_stands_on_others_before_them() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        put(&store, "base", &[(id(1), 10)]);
        put(&store, "top", &[(id(1), 10), (id(2), 10)]);
        put(&store, "other", &[(id(3), 10)]);
        store.cache_used(["base", "top"]).unwrap();
        assert_eq!(store.shrink_cache(30, &BTreeSet::new()).unwrap(), []);
        assert_eq!(store.shrink_cache(20, &BTreeSet::new()).unwrap(), [id(3)]);
        assert_eq!(store.shrink_cache(19, &BTreeSet::new()).unwrap(), [id(2)]);
        assert!(store.cached("base").unwrap().is_some());
        let keep = BTreeSet::from(["base".to_owned()]);
        assert_eq!(store.shrink_cache(0, &keep).unwrap(), []);
        assert_eq!(store.shrink_cache(0, &BTreeSet::new()).unwrap(), [id(1)]);
    }

    #[test]
    fn notes_are_replaced() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        assert_eq!(store.build_note("k", "n").unwrap(), None);
        store.put_build_note("k", "n", b"1").unwrap();
        store.put_build_note("k", "n", b"2").unwrap();
        assert_eq!(store.build_note("k", "n").unwrap().as_deref(), Some(&b"2"[..]));
    }
}
