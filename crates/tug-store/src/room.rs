//! How much the build cache takes, and what makes room for more.
//!
//! What it takes is the bytes of the layers that only remembered results have, and of the directories of
//! cache mounts as they were when nobody used them last. Both are rows here, so that one transaction sees
//! all of it: nothing is recorded that would lift the sum over the limit, and what does not fit even after
//! everything older went is not recorded at all. The limit itself is a row, too: a layer becomes the
//! cache's alone when an image goes, whoever removes that.

use crate::cache::{self, CacheRow, NewCacheRow};
use crate::{Result, Store, images};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use tug_types::{DiffId, Digest};

/// Version 7.
pub(crate) const SCHEMA: &str = "
CREATE TABLE build_mounts (
    name TEXT PRIMARY KEY,           -- its directory
    id TEXT NOT NULL,                -- what Dockerfiles call it
    size INTEGER NOT NULL,           -- bytes when its last user had ended
    created INTEGER NOT NULL,        -- nanoseconds since the epoch
    used INTEGER NOT NULL,           -- nanoseconds since the epoch
    uses INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE build_limit (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    bytes INTEGER NOT NULL           -- what the build cache may take
);
CREATE TABLE build_layers (          -- each layer of build_cache_layers once: there, bases stand in every row
    diff_id TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    results INTEGER NOT NULL         -- that have it
) WITHOUT ROWID;
INSERT INTO build_layers SELECT diff_id, max(size), count(*) FROM build_cache_layers GROUP BY diff_id;
CREATE TRIGGER build_layers_more AFTER INSERT ON build_cache_layers BEGIN
    INSERT INTO build_layers VALUES (new.diff_id, new.size, 1)
    ON CONFLICT (diff_id) DO UPDATE SET results = results + 1;
END;
CREATE TRIGGER build_layers_fewer AFTER DELETE ON build_cache_layers BEGIN
    UPDATE build_layers SET results = results - 1 WHERE diff_id = old.diff_id;
    DELETE FROM build_layers WHERE diff_id = old.diff_id AND results = 0;
END;
";

/// The image that steps of builds run on: none. What they run on is the cache's all the same.
pub const STEP_IMAGE: Digest = Digest::from_sha256([0; 32]);

/// Layers that images have, and containers but for steps of builds.
pub(crate) const OTHERS: &str =
    "SELECT diff_id FROM image_layers UNION SELECT diff_id FROM container_layers
     WHERE container NOT IN (SELECT id FROM containers
     WHERE image = 'sha256:0000000000000000000000000000000000000000000000000000000000000000')";

/// A cache mount of builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheMount {
    /// Its directory.
    pub name: String,
    /// What Dockerfiles call it.
    pub id: String,
    /// Bytes when its last user had ended.
    pub size: u64,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// Nanoseconds since the epoch.
    pub used: i64,
    /// How often.
    pub uses: u64,
}

/// What is not to go when room is made.
#[derive(Clone, Debug, Default)]
pub struct Spared {
    /// Keys of results.
    pub results: BTreeSet<String>,
    /// Cache mounts.
    pub mounts: BTreeSet<String>,
}

/// What made room. It is forgotten; its files are the caller's to delete.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evicted {
    /// Keys of results.
    pub results: Vec<String>,
    /// Layers nobody refers to any more.
    pub layers: Vec<DiffId>,
    /// Cache mounts.
    pub mounts: Vec<String>,
    /// Bytes less.
    pub bytes: u64,
}

impl Store {
    /// What the build cache may take; `None` before any build.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cache_limit(&self) -> Result<Option<u64>> {
        limit(&*self.connection()?)
    }

    /// Sets what it may take from now on, and makes it so.
    ///
    /// # Errors
    /// When the database fails.
    pub fn set_cache_limit(&self, bytes: u64) -> Result<Evicted> {
        if self.cache_limit()? == Some(bytes) {
            return Ok(Evicted::default());
        }
        self.write(|transaction| {
            transaction.execute(
                "INSERT OR REPLACE INTO build_limit VALUES (1, ?1)",
                [i64::try_from(bytes).unwrap_or(i64::MAX)],
            )?;
            let plan = Plan::read(transaction)?;
            plan.reach(bytes, &Spared::default()).carry_out(transaction)
        })
    }

    /// Bytes the build cache takes.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cache_size(&self) -> Result<u64> {
        total(&*self.connection()?)
    }

    /// Remembers a result, in place of another one under the same key, when it can be had within so many
    /// bytes (and the limit). `None`: it cannot, and is not remembered.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_cached(
        &self,
        new: &NewCacheRow<'_>,
        within: u64,
        spared: &Spared,
    ) -> Result<Option<Evicted>> {
        self.put(
            within,
            spared,
            |transaction| cache::insert(transaction, new),
            |spared| {
                spared.results.insert(new.key.to_owned());
            },
        )
    }

    /// Records what a cache mount takes now, as [`Store::put_cached`] does a result. `None`: there is no
    /// record of it any more.
    ///
    /// # Errors
    /// When the database fails.
    pub fn put_cache_mount(
        &self,
        name: &str,
        id: &str,
        size: u64,
        within: u64,
        spared: &Spared,
    ) -> Result<Option<Evicted>> {
        let put = |transaction: &Transaction<'_>| {
            let size = i64::try_from(size).unwrap_or(i64::MAX);
            transaction.execute(
                "INSERT INTO build_mounts VALUES (?1, ?2, ?3, ?4, ?4, 1) ON CONFLICT (name)
                 DO UPDATE SET id = ?2, size = ?3, used = ?4, uses = uses + 1",
                params![name, id, size, crate::db::now()],
            )?;
            Ok(())
        };
        let evicted = self.put(within, spared, put, |spared| {
            spared.mounts.insert(name.to_owned());
        })?;
        if evicted.is_none() {
            self.forget_cache_mount(name)?;
        }
        Ok(evicted)
    }

    fn put(
        &self,
        within: u64,
        spared: &Spared,
        put: impl FnOnce(&Transaction<'_>) -> Result<()>,
        spare_it: impl FnOnce(&mut Spared),
    ) -> Result<Option<Evicted>> {
        self.write(|transaction| {
            let within = limit(transaction)?.map_or(within, |limit| limit.min(within));
            transaction.execute_batch("SAVEPOINT put")?;
            put(transaction)?;
            if total(transaction)? <= within {
                return Ok(Some(Evicted::default()));
            }
            let mut spared = spared.clone();
            spare_it(&mut spared);
            let plan = Plan::read(transaction)?;
            let aim = plan.aim(within);
            let plan = plan.reach(aim, &spared);
            if plan.total <= within {
                return plan.carry_out(transaction).map(Some);
            }
            transaction.execute_batch("ROLLBACK TO put")?;
            Ok(None)
        })
    }

    /// Makes room until the cache takes no more than `within`. `None`: it cannot without what is spared,
    /// and nothing was done.
    ///
    /// # Errors
    /// When the database fails.
    pub fn make_cache_room(&self, within: u64, spared: &Spared) -> Result<Option<Evicted>> {
        if self.cache_size()? <= within {
            return Ok(Some(Evicted::default()));
        }
        self.write(|transaction| {
            let plan = Plan::read(transaction)?.reach(within, spared);
            match plan.total <= within {
                true => plan.carry_out(transaction).map(Some),
                false => Ok(None),
            }
        })
    }

    /// Forgets these results and cache mounts, in this order, until the cache takes no more than `keep`.
    ///
    /// # Errors
    /// When the database fails.
    pub fn evict_cached(&self, choice: &[Chosen], keep: Option<u64>) -> Result<Evicted> {
        self.write(|transaction| {
            let mut plan = Plan::read(transaction)?;
            for one in choice {
                if keep.is_some_and(|keep| plan.total <= keep) {
                    break;
                }
                plan.drop_chosen(one);
            }
            plan.carry_out(transaction)
        })
    }

    /// Everything the cache has, at one moment: results, used last first, and cache mounts.
    ///
    /// # Errors
    /// When the database fails or a row cannot be read.
    pub fn cache_listing(&self) -> Result<(Vec<CacheRow>, Vec<CacheMount>)> {
        let mut connection = self.connection()?;
        let transaction = connection.transaction()?;
        Ok((cache::rows(&transaction)?, mounts(&transaction)?))
    }

    /// What is known of a cache mount.
    ///
    /// # Errors
    /// When the database fails.
    pub fn cache_mount(&self, name: &str) -> Result<Option<CacheMount>> {
        let connection = self.connection()?;
        let mut statement = connection
            .prepare_cached(&format!("SELECT {COLUMNS} FROM build_mounts WHERE name = ?1"))?;
        Ok(statement.query_row([name], mount).optional()?)
    }

    /// Forgets a cache mount whose directory is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub fn forget_cache_mount(&self, name: &str) -> Result<()> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM build_mounts WHERE name = ?1", [name])?;
            Ok(())
        })
    }
}

const COLUMNS: &str = "name, id, size, created, used, uses";

fn mount(row: &rusqlite::Row<'_>) -> rusqlite::Result<CacheMount> {
    let number = |at: usize| row.get::<_, i64>(at).map(|n| u64::try_from(n).unwrap_or(0));
    Ok(CacheMount {
        name: row.get(0)?,
        id: row.get(1)?,
        size: number(2)?,
        created: row.get(3)?,
        used: row.get(4)?,
        uses: number(5)?,
    })
}

fn mounts(connection: &Connection) -> Result<Vec<CacheMount>> {
    let mut statement =
        connection.prepare_cached(&format!("SELECT {COLUMNS} FROM build_mounts ORDER BY used"))?;
    let rows = statement.query_map([], mount)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn limit(connection: &Connection) -> Result<Option<u64>> {
    let mut statement = connection.prepare_cached("SELECT bytes FROM build_limit")?;
    let bytes: Option<i64> = statement.query_row([], |row| row.get(0)).optional()?;
    Ok(bytes.map(|bytes| u64::try_from(bytes).unwrap_or(0)))
}

fn total(connection: &Connection) -> Result<u64> {
    // As in OTHERS, but asked layer by layer: the cache may have thousands, and this is asked at every step.
    const QUERY: &str = "
        SELECT (SELECT coalesce(sum(size), 0) FROM build_layers AS own
            WHERE NOT EXISTS (SELECT 1 FROM image_layers WHERE diff_id = own.diff_id)
            AND NOT EXISTS (SELECT 1 FROM container_layers WHERE diff_id = own.diff_id
                AND container NOT IN (SELECT id FROM containers WHERE image =
                'sha256:0000000000000000000000000000000000000000000000000000000000000000')))
         + (SELECT coalesce(sum(size), 0) FROM build_mounts)";
    let bytes: i64 = connection.prepare_cached(QUERY)?.query_row([], |row| row.get(0))?;
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Part of a transaction that took layers away from images or containers: what only the cache has now
/// must fit. Cache mounts stay, they were within the limit.
pub(crate) fn fit(transaction: &Transaction<'_>) -> Result<Vec<DiffId>> {
    let Some(limit) = limit(transaction)? else { return Ok(Vec::new()) };
    if total(transaction)? <= limit {
        return Ok(Vec::new());
    }
    let plan = Plan::read(transaction)?;
    let mounts = plan.mounts.iter().map(|mount| mount.name.clone()).collect();
    let spared = Spared { mounts, ..Spared::default() };
    Ok(plan.reach(limit, &spared).carry_out(transaction)?.layers)
}

/// Something to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// A result, by its key.
    Result(String),
    /// A cache mount, by its directory.
    Mount(String),
}

/// What is there, and what of it is to go.
struct Plan {
    total: u64,
    begun: u64,
    rows: Vec<CacheRow>,
    mounts: Vec<CacheMount>,
    /// How many rows have a layer, and its size where only rows have it.
    layers: HashMap<DiffId, (usize, u64)>,
    gone: Vec<Chosen>,
    seen: HashSet<usize>,
}

impl Plan {
    fn read(connection: &Connection) -> Result<Self> {
        let (rows, mounts, total) =
            (cache::rows(connection)?, mounts(connection)?, total(connection)?);
        let mut layers = HashMap::new();
        for row in &rows {
            for layer in &row.layers {
                let own = if row.is_own(layer.0) { layer.1 } else { 0 };
                layers.entry(layer.0).or_insert((0, own)).0 += 1;
            }
        }
        Ok(Self {
            total,
            begun: total,
            rows,
            mounts,
            layers,
            gone: Vec::new(),
            seen: HashSet::new(),
        })
    }

    /// Where to stop when so much may stay. Of many results some more go at once: a plan reads them all, and
    /// is not to be made anew for each that is added.
    fn aim(&self, within: u64) -> u64 {
        const MANY: usize = 1000;
        if self.rows.len() > MANY { within - within / 20 } else { within }
    }

    /// Chooses what was used longest ago, until no more than `within` is left. Of what was used together,
    /// what stands on others goes before them; what frees nothing by itself goes last.
    fn reach(mut self, within: u64, spared: &Spared) -> Self {
        enum One {
            Row(usize),
            Mount(usize),
        }
        let rows =
            self.rows.iter().enumerate().filter(|(_, row)| !spared.results.contains(&row.key));
        let rows = rows.map(|(at, row)| {
            ((row.shared, row.used, std::cmp::Reverse(row.layers.len())), One::Row(at))
        });
        let mounts = self.mounts.iter().enumerate();
        let mounts = mounts.filter(|(_, mount)| !spared.mounts.contains(&mount.name));
        let mounts =
            mounts.map(|(at, mount)| ((false, mount.used, std::cmp::Reverse(0)), One::Mount(at)));
        let mut all: Vec<_> = rows.chain(mounts).collect();
        all.sort_by_key(|(order, _)| *order);
        for (_, one) in all {
            if self.total <= within {
                break;
            }
            match one {
                One::Row(at) => self.drop_row(at),
                One::Mount(at) => self.drop_mount(at),
            }
        }
        self
    }

    fn drop_chosen(&mut self, one: &Chosen) {
        match one {
            Chosen::Result(key) => {
                if let Some(at) = self.rows.iter().position(|row| row.key == *key)
                    && self.seen.insert(at)
                {
                    self.drop_row(at);
                }
            }
            Chosen::Mount(name) => {
                if let Some(at) = self.mounts.iter().position(|mount| mount.name == *name) {
                    self.drop_mount(at);
                }
            }
        }
    }

    fn drop_row(&mut self, at: usize) {
        for (layer, _) in &self.rows[at].layers {
            if let Some((rows, own)) = self.layers.get_mut(layer) {
                *rows = rows.saturating_sub(1);
                if *rows == 0 {
                    self.total = self.total.saturating_sub(std::mem::take(own));
                }
            }
        }
        self.gone.push(Chosen::Result(self.rows[at].key.clone()));
    }

    fn drop_mount(&mut self, at: usize) {
        let size = std::mem::take(&mut self.mounts[at].size);
        self.total = self.total.saturating_sub(size);
        self.gone.push(Chosen::Mount(self.mounts[at].name.clone()));
    }

    fn carry_out(self, transaction: &Transaction<'_>) -> Result<Evicted> {
        let mut evicted =
            Evicted { bytes: self.begun.saturating_sub(self.total), ..Evicted::default() };
        let rows: BTreeMap<&str, &CacheRow> =
            self.rows.iter().map(|row| (row.key.as_str(), row)).collect();
        let mut candidates = BTreeSet::new();
        for one in self.gone {
            match one {
                Chosen::Result(key) => {
                    transaction
                        .prepare_cached("DELETE FROM build_cache WHERE key = ?1")?
                        .execute([&key])?;
                    let layers = rows.get(key.as_str()).map(|row| &row.layers);
                    candidates.extend(layers.into_iter().flatten().map(|(layer, _)| *layer));
                    evicted.results.push(key);
                }
                Chosen::Mount(name) => {
                    transaction
                        .prepare_cached("DELETE FROM build_mounts WHERE name = ?1")?
                        .execute([&name])?;
                    evicted.mounts.push(name);
                }
            }
        }
        for layer in candidates {
            if !images::is_referenced(transaction, &layer)? {
                evicted.layers.push(layer);
            }
        }
        Ok(evicted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerEntry, NewContainer, NewImage};
    use tug_types::ContainerId;

    fn id(byte: u8) -> DiffId {
        DiffId(Digest::from_sha256([byte; 32]))
    }

    fn row<'a>(key: &'a str, layers: &'a [(DiffId, u64)]) -> NewCacheRow<'a> {
        NewCacheRow { key, kind: "exec", description: "RUN make", result: "{}", layers }
    }

    fn put(store: &Store, key: &str, layers: &[(DiffId, u64)], within: u64) -> Option<Evicted> {
        store.put_cached(&row(key, layers), within, &Spared::default()).unwrap()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        (root, store)
    }

    fn image(byte: u8, layers: &[LayerEntry]) -> NewImage<'_> {
        NewImage {
            id: Digest::from_sha256([byte; 32]),
            config: b"{}",
            manifest_digest: None,
            created: 0,
            tagged: false,
            layers,
            tags: &[],
            digests: &[],
            index: None,
            platform: "linux/amd64",
        }
    }

    fn entry(layer: DiffId, size: u64) -> LayerEntry {
        LayerEntry { diff_id: layer, size, blob: None, media_type: None }
    }

    fn keys(store: &Store) -> Vec<String> {
        let mut keys: Vec<_> =
            store.cache_listing().unwrap().0.into_iter().map(|row| row.key).collect();
        keys.sort();
        keys
    }

    #[test]
    fn results_are_found_replaced_and_forgotten() {
        let (_root, store) = store();
        assert_eq!(store.cached("a").unwrap(), None);
        put(&store, "a", &[(id(1), 10)], 100).unwrap();
        put(&store, "a", &[(id(1), 10), (id(2), 5)], 100).unwrap();
        put(&store, "b", &[(id(1), 10)], 100).unwrap();
        assert_eq!(store.cached("a").unwrap().as_deref(), Some("{}"));
        assert_eq!(store.cache_size().unwrap(), 15, "a shared layer counts once");
        let (rows, _) = store.cache_listing().unwrap();
        assert!(rows.iter().all(|row| !row.shared && row.uses == 0));
        assert_eq!(rows.iter().map(|row| row.size).sum::<u64>(), 15);
        let gone = store.evict_cached(&[Chosen::Result("a".into())], None).unwrap();
        assert_eq!((gone.layers, gone.bytes), (vec![id(2)], 5));
        let gone = store.evict_cached(&[Chosen::Result("b".into())], None).unwrap();
        assert_eq!(gone.layers, [id(1)]);
        assert_eq!(store.cache_size().unwrap(), 0);
    }

    #[test]
    fn nothing_is_recorded_that_does_not_fit_and_nothing_goes_for_it_in_vain() {
        let (_root, store) = store();
        put(&store, "a", &[(id(1), 10)], 30).unwrap();
        put(&store, "b", &[(id(2), 10)], 30).unwrap();
        assert_eq!(put(&store, "c", &[(id(3), 31)], 30), None);
        assert_eq!(keys(&store), ["a", "b"]);
        let evicted = put(&store, "c", &[(id(3), 20)], 30).unwrap();
        assert_eq!((evicted.results, evicted.layers), (vec!["a".to_owned()], vec![id(1)]));
        let spared =
            Spared { results: ["b".to_owned(), "c".to_owned()].into(), ..Spared::default() };
        assert_eq!(store.put_cached(&row("d", &[(id(4), 1)]), 30, &spared).unwrap(), None);
        assert_eq!(keys(&store), ["b", "c"]);
        // A result that is replaced by one that is too big stays.
        assert_eq!(put(&store, "b", &[(id(5), 50)], 30), None);
        assert_eq!(store.cache_size().unwrap(), 30);
    }

    #[test]
    fn cache_mounts_are_part_of_it() {
        let (_root, store) = store();
        let none = Spared::default();
        put(&store, "a", &[(id(1), 10)], 30).unwrap();
        assert!(store.put_cache_mount("m", "/c", 20, 30, &none).unwrap().is_some());
        assert_eq!(store.cache_size().unwrap(), 30);
        let evicted = store.put_cache_mount("m", "/c", 25, 30, &none).unwrap().unwrap();
        assert_eq!(evicted.results, ["a"]);
        let mount = store.cache_mount("m").unwrap().unwrap();
        assert_eq!((mount.size, mount.uses, mount.id.as_str()), (25, 2, "/c"));
        let evicted = put(&store, "b", &[(id(2), 10)], 30).unwrap();
        assert_eq!(evicted.mounts, ["m"]);
        assert_eq!(store.put_cache_mount("m", "/c", 31, 30, &none).unwrap(), None);
        assert_eq!(store.cache_mount("m").unwrap(), None);
        assert_eq!(keys(&store), ["b"], "nothing went for it");
        assert_eq!(
            store.make_cache_room(5, &Spared { results: ["b".into()].into(), ..none }).unwrap(),
            None
        );
    }

    #[test]
    fn layers_of_images_are_not_the_caches_until_the_image_goes() {
        let (_root, store) = store();
        store.set_cache_limit(20).unwrap();
        let layers = [entry(id(1), 100)];
        let kept = image(9, &layers);
        store.put_image(&kept).unwrap();
        put(&store, "a", &[(id(1), 100), (id(2), 5)], 20).unwrap();
        put(&store, "b", &[(id(1), 100)], 20).unwrap();
        put(&store, "c", &[(id(3), 5)], 20).unwrap();
        assert_eq!(store.cache_size().unwrap(), 10);
        assert_eq!(store.cache_listing().unwrap().0.iter().filter(|row| row.shared).count(), 1);
        let left = store.forget_image(&kept.id, &BTreeSet::new()).unwrap();
        assert_eq!(
            left.layers,
            [id(1), id(2)],
            "what has the layer is too big for the cache alone"
        );
        assert_eq!((keys(&store), store.cache_size().unwrap()), (vec!["c".to_owned()], 5));
    }

    #[test]
    fn layers_of_containers_neither_but_those_that_steps_run_on() {
        let (_root, store) = store();
        store.set_cache_limit(20).unwrap();
        let container = |byte: u8, image: &Digest, layer: DiffId| {
            let id = ContainerId::parse(&format!("{byte:02x}").repeat(32)).unwrap();
            let new = NewContainer { id: &id, image, layers: &[layer], record: "{}", volumes: &[] };
            store.insert_container(&new, Some(id.short()), String::new).unwrap();
            id
        };
        let one = container(1, &Digest::from_sha256([8; 32]), id(1));
        put(&store, "a", &[(id(1), 100)], 20).unwrap();
        put(&store, "b", &[(id(2), 10)], 20).unwrap();
        let step = container(2, &STEP_IMAGE, id(2));
        assert_eq!(store.cache_size().unwrap(), 10, "a step hides nothing");
        store.forget_container(&one, &[]).unwrap().delete().unwrap();
        assert_eq!(keys(&store), ["b"], "the container's layer is too big for the cache alone");
        store.forget_container(&step, &[]).unwrap().delete().unwrap();
        assert_eq!(keys(&store), ["b"]);
    }

    #[test]
    fn what_was_used_longest_ago_goes_first_and_what_stands_on_others_before_them() {
        let (_root, store) = store();
        put(&store, "base", &[(id(1), 10)], 100).unwrap();
        put(&store, "top", &[(id(1), 10), (id(2), 10)], 100).unwrap();
        put(&store, "other", &[(id(3), 10)], 100).unwrap();
        store.cache_used(["base", "top"]).unwrap();
        assert_eq!(store.set_cache_limit(30).unwrap().layers, []);
        assert_eq!(store.set_cache_limit(20).unwrap().layers, [id(3)]);
        assert_eq!(store.set_cache_limit(19).unwrap().layers, [id(2)]);
        assert!(store.cached("base").unwrap().is_some());
        assert_eq!(store.set_cache_limit(0).unwrap().layers, [id(1)]);
        assert_eq!(put(&store, "new", &[(id(1), 1)], 100), None, "the limit holds for everybody");
    }

    /// Whatever happens in whatever order, the sum stays within the limit.
    #[test]
    fn no_order_of_events_exceeds_the_limit() {
        let (_root, store) = store();
        let mut state = 0x2545_f491_4f6c_dd1du64;
        let mut roll = |sides: u64| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) % sides
        };
        let mut limit = 60;
        store.set_cache_limit(limit).unwrap();
        for step in 0..1000 {
            let one = u8::try_from(roll(12) + 1).unwrap();
            let size = |layer: u8| u64::from(layer) * 5;
            let chain: Vec<(DiffId, u64)> =
                (1..=one).step_by(3).map(|layer| (id(layer), size(layer))).collect();
            match roll(7) {
                0 | 1 => drop(put(&store, &format!("k{one}"), &chain, 200)),
                2 => {
                    let name = format!("m{}", roll(3));
                    store
                        .put_cache_mount(&name, "x", roll(40), 200, &Spared::default())
                        .map(drop)
                        .unwrap();
                }
                3 => {
                    let layers: Vec<_> =
                        chain.iter().map(|(layer, size)| entry(*layer, *size)).collect();
                    store.put_image(&image(one, &layers)).map(drop).unwrap();
                }
                4 => drop(
                    store.forget_image(&Digest::from_sha256([one; 32]), &BTreeSet::new()).unwrap(),
                ),
                5 => store.cache_used([format!("k{one}").as_str()]).unwrap(),
                _ => {
                    limit = 20 + roll(80);
                    store.set_cache_limit(limit).unwrap();
                }
            }
            let size = store.cache_size().unwrap();
            let counted = store.connection().unwrap().query_row(
                "SELECT (SELECT count(*) FROM (SELECT diff_id, size, count(*)
                 FROM build_cache_layers GROUP BY diff_id EXCEPT SELECT * FROM build_layers))
                 + (SELECT count(*) FROM build_layers WHERE results < 1)",
                [],
                |row| row.get::<_, i64>(0),
            );
            assert_eq!(counted, Ok(0), "step {step}");
            assert!(size <= limit, "{size} of {limit} in step {step}");
            let (rows, mounts) = store.cache_listing().unwrap();
            let shown: u64 = rows.iter().filter(|row| !row.shared).map(|row| row.size).sum::<u64>()
                + mounts.iter().map(|mount| mount.size).sum::<u64>();
            assert_eq!(shown, size, "what is shown in step {step}");
        }
    }
}
