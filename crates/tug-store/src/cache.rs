//! What builds remember: results by key, the layers they are made of, and notes.
//!
//! A record refers to its layers as an image does, so a layer goes with the last image, container or record
//! that has it. What only records refer to is what the cache costs: `room` keeps that below a limit.

use crate::{Result, Store, room};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use std::collections::{BTreeMap, BTreeSet, HashSet};
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
    /// Images or containers have all of its layers too.
    pub shared: bool,
    /// Bytes it stands for: of its uppermost layer, or of those that only the cache has; each layer is counted
    /// for one row. The rows that are not shared are together what results take.
    pub size: u64,
    /// Those of its layers that neither an image nor a container has.
    own: BTreeSet<DiffId>,
}

impl CacheRow {
    /// Whether only the cache has a layer of it.
    pub(crate) fn is_own(&self, layer: DiffId) -> bool {
        self.own.contains(&layer)
    }
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

/// Writes a result over another one of its key.
pub(crate) fn insert(transaction: &Transaction<'_>, new: &NewCacheRow<'_>) -> Result<()> {
    let now = crate::db::now();
    transaction.prepare_cached("DELETE FROM build_cache WHERE key = ?1")?.execute([new.key])?;
    transaction
        .prepare_cached("INSERT INTO build_cache VALUES (?1, ?2, ?3, ?4, ?5, ?5, 0)")?
        .execute(params![new.key, new.kind, new.description, new.result, now])?;
    let mut layer =
        transaction.prepare_cached("INSERT INTO build_cache_layers VALUES (?1, ?2, ?3, ?4)")?;
    for (position, (diff_id, size)) in (0i64..).zip(new.layers) {
        let size = i64::try_from(*size).unwrap_or(i64::MAX);
        layer.execute(params![new.key, position, diff_id.to_string(), size])?;
    }
    Ok(())
}

/// All remembered results, used last first.
pub(crate) fn rows(connection: &Connection) -> Result<Vec<CacheRow>> {
    let mut layers: BTreeMap<String, Vec<(DiffId, u64)>> = BTreeMap::new();
    let mut statement = connection
        .prepare("SELECT key, diff_id, size FROM build_cache_layers ORDER BY key, position")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, layer(row, 1)?)))?;
    for row in rows {
        let (key, layer) = row?;
        layers.entry(key).or_default().extend(layer);
    }
    let mut statement = connection.prepare(room::OTHERS)?;
    let others = statement.query_map([], |row| row.get::<_, String>(0))?;
    let others: HashSet<String> = others.collect::<rusqlite::Result<_>>()?;
    let mut statement = connection.prepare(
        "SELECT key, kind, description, result, created, used, uses FROM build_cache
         ORDER BY used DESC, key",
    )?;
    let rows = statement.query_map([], |row| {
        let key: String = row.get(0)?;
        let layers = layers.remove(&key).unwrap_or_default();
        let is_own = |layer: &DiffId| !others.contains(&layer.to_string());
        let own: BTreeSet<DiffId> = layers.iter().map(|(layer, _)| *layer).filter(is_own).collect();
        Ok(CacheRow {
            shared: own.is_empty() && !layers.is_empty(),
            size: 0,
            own,
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
    let mut rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    count_each_layer_once(&mut rows);
    Ok(rows)
}

fn count_each_layer_once(rows: &mut [CacheRow]) {
    let mut counted = HashSet::new();
    for row in rows.iter_mut() {
        row.size = match row.layers.last() {
            Some((top, size)) if (row.shared || row.own.contains(top)) && counted.insert(*top) => {
                *size
            }
            _ => 0,
        };
    }
    // What no row has uppermost.
    for row in rows.iter_mut() {
        let below = row.layers.iter().filter(|(layer, _)| row.own.contains(layer));
        let below = below.filter(|(layer, _)| counted.insert(*layer));
        row.size += below.map(|(_, size)| *size).sum::<u64>();
    }
}

fn layer(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<(DiffId, u64)>> {
    let digest: String = row.get(at)?;
    let size: i64 = row.get(at + 1)?;
    // Only tug writes here; what it cannot read it cannot have.
    let digest = Digest::parse(&digest).ok();
    Ok(digest.map(|digest| (DiffId(digest), u64::try_from(size).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
