//! What builds keep, listed and taken away: results in the store, and the directories of cache mounts.

use crate::error::BuildError;
use crate::execute::{caches_dir, now};
use std::collections::BTreeSet;
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
    entries.extend(mounts(settings).into_iter().map(|mount| mount.entry));
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

fn mounts(settings: &Settings) -> Vec<MountDir> {
    let dirs = std::fs::read_dir(caches_dir(&settings.data_root));
    let dirs = dirs.into_iter().flatten().flatten().map(|entry| entry.path());
    dirs.map(|dir| {
        let id = dir.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let used = std::fs::metadata(dir.join("lock")).map_or(0, |metadata| {
            metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())
        });
        let entry = CacheEntry {
            id,
            kind: "cachemount".to_owned(),
            description: std::fs::read_to_string(dir.join("id")).unwrap_or_default(),
            size: tree_size(&dir.join("data")),
            shared: false,
            in_use: lock(&dir).is_none(),
            unused: now().saturating_sub(used),
            uses: 0,
        };
        MountDir { dir, entry }
    })
    .collect()
}

/// The lock of a cache mount, if nobody uses it.
fn lock(dir: &Path) -> Option<std::os::fd::OwnedFd> {
    use rustix::fs::{FlockOperation, Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::open(dir.join("lock"), flags, Mode::empty()).ok()?;
    rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(fd)
}

fn tree_size(top: &Path) -> u64 {
    let mut open = vec![top.to_owned()];
    let mut total = 0;
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                open.push(entry.path());
            } else {
                total += metadata.len();
            }
        }
    }
    total
}

/// Takes away what is asked for, the longest unused first.
///
/// # Errors
/// When the store fails or something cannot be deleted.
pub fn prune_cache(settings: &Settings, options: &PruneOptions) -> Result<Pruned, BuildError> {
    let mut pruned = Pruned::default();
    if !settings.data_root.join("state.db").exists() {
        return Ok(pruned);
    }
    let store = Store::new(&settings.data_root);
    let time = now();
    let is_old = |unused: i64| options.older_than.is_none_or(|older_than| unused >= older_than);
    let mut left = store.cache_size()?;
    let mut rows = store.cache_rows()?;
    // Used together: what stands on others goes before them.
    rows.sort_by_key(|row| (row.used, std::cmp::Reverse(row.layers.len())));
    let mut gone = Vec::new();
    for row in rows {
        let wanted = is_old(time.saturating_sub(row.used)) && (options.all || !row.shared);
        if !wanted || options.keep > 0 && left <= options.keep {
            continue;
        }
        gone.extend(store.forget_cached([row.key.as_str()])?);
        pruned.entries.push(row.key[..row.key.len().min(25)].to_owned());
        let now_left = store.cache_size()?;
        pruned.bytes += left.saturating_sub(now_left);
        left = now_left;
    }
    store.discard(&gone, &[])?.delete()?;
    if options.keep == 0 {
        for MountDir { dir, entry } in mounts(settings) {
            let Some(_lock) = lock(&dir).filter(|_| is_old(entry.unused)) else { continue };
            tug_archive::remove_tree(&dir).map_err(BuildError::files("remove", &dir))?;
            pruned.entries.push(entry.id);
            pruned.bytes += entry.size;
        }
    }
    Ok(pruned)
}
