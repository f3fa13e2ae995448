//! What builds keep, listed and taken away: results in the store, and the directories of cache mounts.

use crate::error::BuildError;
use crate::execute::{WRITTEN, caches_dir, now, take_cache};
use crate::files::rooted;
use std::collections::BTreeSet;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tug_engine::Settings;
use tug_store::{CacheRow, Store};
use tug_types::DiffId;

/// Something a build keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// Names it.
    pub id: String,
    /// `exec`, `file`, `source`, `cachemount`
    pub kind: String,
    /// The step, or the id of the cache mount.
    pub description: String,
    /// Bytes of its own layer, or of its directory.
    pub size: u64,
    /// An image or a container has its layer too.
    pub shared: bool,
    /// A build uses it now.
    pub in_use: bool,
    /// Nanoseconds since its last use.
    pub unused: i64,
    /// How often it was used.
    pub uses: u64,
}

/// What is to be taken away.
#[derive(Clone, Copy, Debug, Default)]
pub struct PruneOptions {
    /// Also what images share.
    pub all: bool,
    /// So many bytes may stay.
    pub keep: u64,
    /// Only what was not used for so long, in nanoseconds.
    pub older_than: Option<i64>,
}

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Names.
    pub entries: Vec<String>,
    /// Bytes.
    pub bytes: u64,
}

/// Everything builds keep, used last first.
///
/// # Errors
/// When the store cannot be read.
pub fn cache_entries(settings: &Settings) -> Result<Vec<CacheEntry>, BuildError> {
    if !settings.data_root.join("state.db").exists() {
        return Ok(Vec::new());
    }
    let store = Store::new(&settings.data_root);
    let time = now();
    let mut counted = BTreeSet::new();
    let of_row = |row: CacheRow| CacheEntry {
        size: own_size(&row, &mut counted),
        id: row.key[..row.key.len().min(25)].to_owned(),
        kind: row.kind,
        description: row.description,
        shared: row.shared,
        in_use: false,
        unused: time.saturating_sub(row.used),
        uses: row.uses,
    };
    let mut entries: Vec<CacheEntry> = store.cache_rows()?.into_iter().map(of_row).collect();
    entries.extend(mounts(settings, true).into_iter().map(|mount| mount.entry));
    entries.sort_by_key(|entry| entry.unused);
    Ok(entries)
}

/// Bytes of a result's uppermost layer, each layer counted once.
fn own_size(row: &CacheRow, counted: &mut BTreeSet<DiffId>) -> u64 {
    match row.layers.last() {
        Some((layer, size)) if counted.insert(*layer) => *size,
        _ => 0,
    }
}

struct MountDir {
    dir: PathBuf,
    entry: CacheEntry,
}

/// The directories of cache mounts. `measured`: their sizes by looking, not by what was noted last, and
/// whether they are in use.
fn mounts(settings: &Settings, measured: bool) -> Vec<MountDir> {
    let dirs = std::fs::read_dir(caches_dir(&settings.data_root));
    let dirs = dirs.into_iter().flatten().flatten().map(|entry| entry.path());
    dirs.map(|dir| {
        let id = dir.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let used = std::fs::metadata(dir.join("lock")).map_or(0, |metadata| {
            metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
        });
        let mark = dir.join(WRITTEN);
        // Asked only when it matters: for that moment somebody's private cache would look taken.
        let lock = (measured || mark.exists()).then(|| take_cache(&dir)).flatten();
        let killed = lock.is_some() && mark.exists();
        let size = match measured || killed {
            true => tree_size(&dir.join("data")),
            false => known_size(&dir),
        };
        if killed {
            // Else it is measured again.
            let noted = std::fs::write(dir.join("size"), size.to_string());
            let _ = noted.and_then(|()| std::fs::remove_file(mark));
        }
        let entry = CacheEntry {
            id,
            kind: "cachemount".to_owned(),
            description: std::fs::read_to_string(dir.join("id")).unwrap_or_default(),
            size,
            shared: false,
            in_use: lock.is_none(),
            unused: now().saturating_sub(used),
            uses: 0,
        };
        MountDir { dir, entry }
    })
    .collect()
}

/// The size of a cache mount after its last use; measured when nobody noted it.
pub(crate) fn known_size(dir: &Path) -> u64 {
    let noted = std::fs::read_to_string(dir.join("size")).ok();
    let noted = noted.and_then(|text| text.trim().parse().ok());
    noted.unwrap_or_else(|| tree_size(&dir.join("data")))
}

/// The bytes of a tree's files: each file once, and of one with holes only what is there.
pub(crate) fn tree_size(top: &Path) -> u64 {
    let mut linked = BTreeSet::new();
    let mut total: u64 = 0;
    let Ok(root) = rooted::open_root(top) else { return 0 };
    // Of what is being written and deleted meanwhile, as much as there is to be seen.
    let _ = rooted::below(root.as_fd(), |_, _, stat| {
        let directory = rooted::kind(stat).is_dir();
        if !directory && (stat.st_nlink < 2 || linked.insert((stat.st_dev, stat.st_ino))) {
            let there = stat.st_size.min(stat.st_blocks.saturating_mul(512));
            total = total.saturating_add(u64::try_from(there).unwrap_or(0));
        }
        Ok(())
    });
    total
}

/// Something that can be taken away.
enum Candidate {
    Row(CacheRow),
    Mount(MountDir),
}

impl Candidate {
    /// By last use; of what was used together, what stands on others goes before them.
    fn order(&self, time: i64) -> (i64, std::cmp::Reverse<usize>) {
        match self {
            Self::Row(row) => (row.used, std::cmp::Reverse(row.layers.len())),
            Self::Mount(mount) => (time.saturating_sub(mount.entry.unused), std::cmp::Reverse(0)),
        }
    }
}

/// Takes away what is `wanted`, the longest unused first, until no more than `keep` bytes are left. Says what
/// was taken away, and what is left.
fn take_away(
    settings: &Settings,
    store: &Store,
    keep: Option<u64>,
    wanted: impl Fn(&Candidate) -> bool,
) -> Result<(Pruned, u64), BuildError> {
    let mut pruned = Pruned::default();
    let mounts = mounts(settings, false);
    let mut in_mounts: u64 = mounts.iter().map(|mount| mount.entry.size).sum();
    let mut left = store.cache_size()?.saturating_add(in_mounts);
    if keep.is_some_and(|keep| left <= keep) {
        return Ok((pruned, left));
    }
    let time = now();
    let rows = store.cache_rows()?.into_iter().map(Candidate::Row);
    let mut all: Vec<Candidate> = rows.chain(mounts.into_iter().map(Candidate::Mount)).collect();
    all.sort_by_key(|candidate| candidate.order(time));
    let mut gone = Vec::new();
    for candidate in all.into_iter().filter(|candidate| wanted(candidate)) {
        if keep.is_some_and(|keep| left <= keep) {
            break;
        }
        match candidate {
            Candidate::Row(row) => {
                gone.extend(store.forget_cached([row.key.as_str()])?);
                pruned.entries.push(row.key[..row.key.len().min(25)].to_owned());
            }
            Candidate::Mount(MountDir { dir, entry }) => {
                let Some(_lock) = take_cache(&dir) else { continue };
                // The lock goes last: until then whoever wants the cache waits for it.
                let parts = ["data", "data.new", "id", "size", WRITTEN, "lock"];
                for part in parts.map(|name| dir.join(name)) {
                    tug_archive::remove_tree(&part).map_err(BuildError::files("remove", &part))?;
                }
                // Somebody may be making it anew already.
                let _ = std::fs::remove_dir(&dir);
                pruned.entries.push(entry.id);
                in_mounts = in_mounts.saturating_sub(entry.size);
            }
        }
        let now_left = store.cache_size()?.saturating_add(in_mounts);
        pruned.bytes += left.saturating_sub(now_left);
        left = now_left;
    }
    store.discard(&gone, &[])?.delete()?;
    Ok((pruned, left))
}

/// Keeps what builds remember below a budget, but nothing of `used`; what is left in bytes.
pub(crate) fn shrink(
    settings: &Settings,
    store: &Store,
    budget: u64,
    used: &BTreeSet<String>,
) -> Result<u64, BuildError> {
    let wanted = |candidate: &Candidate| match candidate {
        Candidate::Row(row) => !used.contains(&row.key),
        Candidate::Mount(_) => true,
    };
    take_away(settings, store, Some(budget), wanted).map(|(_, left)| left)
}

/// Takes away what is asked for, the longest unused first.
///
/// # Errors
/// When the store fails or something cannot be deleted.
pub fn prune_cache(settings: &Settings, options: &PruneOptions) -> Result<Pruned, BuildError> {
    if !settings.data_root.join("state.db").exists() {
        return Ok(Pruned::default());
    }
    let store = Store::new(&settings.data_root);
    let time = now();
    let is_old = |unused: i64| options.older_than.is_none_or(|older_than| unused >= older_than);
    let wanted = |candidate: &Candidate| match candidate {
        Candidate::Row(row) => {
            is_old(time.saturating_sub(row.used)) && (options.all || !row.shared)
        }
        Candidate::Mount(mount) => is_old(mount.entry.unused),
    };
    let keep = (options.keep > 0).then_some(options.keep);
    let (pruned, _) = take_away(settings, &store, keep, wanted)?;
    // What killed builds left takes room, too.
    store.sweep().map_err(tug_store::Error::from)?;
    Ok(pruned)
}
