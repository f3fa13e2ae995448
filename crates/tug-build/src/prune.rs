//! What builds keep, listed and taken away: results in the store, and the directories of cache mounts.
//!
//! A cache mount that is marked as being written and whose lock is free had a user that was killed; one
//! without a record was evicted while it was used. Whoever looks measures such a one and records it, or takes
//! it away when there is no room ([`begin`]).

use crate::error::BuildError;
use crate::execute::{WRITTEN, caches_dir, now, take_cache};
use crate::files::rooted;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;
use tug_engine::Settings;
use tug_store::{CacheMount, CacheRow, Chosen, Evicted, Spared, Store};

/// Something a build keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// Names it.
    pub id: String,
    /// `regular`, `exec.cachemount`: Docker's words.
    pub kind: &'static str,
    /// The step, or the id of the cache mount.
    pub description: String,
    /// Bytes of its own layer, or of its directory when it was used last.
    pub size: u64,
    /// An image or a container has its layer too.
    pub shared: bool,
    /// A build uses it now.
    pub in_use: bool,
    /// It can change: a cache mount.
    pub mutable: bool,
    /// Nanoseconds since the epoch.
    pub created: i64,
    /// Nanoseconds since its last use.
    pub unused: i64,
    /// How often it was used.
    pub uses: u64,
}

/// What to look at. All that are given must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheFilter {
    /// A part of the id.
    Id(String),
    /// The kind.
    Type(String),
    /// The whole description.
    Description(String),
    /// Whether a build uses it.
    InUse(bool),
    /// Whether it can change.
    Mutable(bool),
    /// Whether an image or a container has it too.
    Shared(bool),
    /// Not used for so long, in nanoseconds.
    Unused(i64),
}

impl CacheFilter {
    /// Whether it lets this through.
    pub fn takes(&self, entry: &CacheEntry) -> bool {
        match self {
            Self::Id(part) => entry.id.contains(part.as_str()),
            Self::Type(kind) => entry.kind == kind,
            Self::Description(text) => entry.description == *text,
            Self::InUse(wanted) => entry.in_use == *wanted,
            Self::Mutable(wanted) => entry.mutable == *wanted,
            Self::Shared(wanted) => entry.shared == *wanted,
            Self::Unused(age) => entry.unused >= *age,
        }
    }
}

/// What is to be taken away.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// Also what images share.
    pub all: bool,
    /// Only this.
    pub filters: Vec<CacheFilter>,
    /// So many bytes may stay.
    pub most: u64,
    /// So many bytes stay in any case.
    pub reserved: u64,
    /// So much of the disk is to be free afterwards.
    pub free: u64,
}

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// What it was.
    pub entries: Vec<CacheEntry>,
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
    settle_all(&store)?;
    listed(&store).map(|all| all.into_iter().map(|(entry, _)| entry).collect())
}

/// Everything, used last first, and as what the store knows it.
fn listed(store: &Store) -> Result<Vec<(CacheEntry, Chosen)>, BuildError> {
    let (rows, mounts) = store.cache_listing()?;
    let time = now();
    let of_row = |row: CacheRow| {
        let entry = CacheEntry {
            id: row.key[..row.key.len().min(25)].to_owned(),
            kind: "regular",
            description: row.description,
            size: row.size,
            shared: row.shared,
            in_use: false,
            mutable: false,
            created: row.created,
            unused: time.saturating_sub(row.used),
            uses: row.uses,
        };
        (entry, Chosen::Result(row.key), row.layers.len())
    };
    let of_mount = |mount: CacheMount| {
        let dir = caches_dir(store.root()).join(&mount.name);
        let entry = CacheEntry {
            id: mount.name.clone(),
            kind: "exec.cachemount",
            description: format!("cached mount with id {:?}", mount.id),
            size: mount.size,
            shared: false,
            in_use: is_in_use(&dir),
            mutable: true,
            created: mount.created,
            unused: time.saturating_sub(mount.used),
            uses: mount.uses,
        };
        (entry, Chosen::Mount(mount.name), 0)
    };
    let mut all: Vec<_> = rows.into_iter().map(of_row).collect();
    all.extend(mounts.into_iter().map(of_mount));
    // Of what was used together, what others stand on first: it goes last.
    all.sort_by_key(|(entry, _, depth)| (entry.unused, *depth));
    Ok(all.into_iter().map(|(entry, chosen, _)| (entry, chosen)).collect())
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

/// The cache mounts that builds use at the moment, as their entries name them.
pub fn mounts_in_use(settings: &Settings) -> Vec<String> {
    let mut names = mount_names(&settings.data_root);
    names.retain(|name| is_in_use(&caches_dir(&settings.data_root).join(name)));
    names
}

/// Asked only when it was marked: for that moment somebody's private cache would look taken.
fn is_in_use(dir: &Path) -> bool {
    dir.join(WRITTEN).exists() && take_cache(dir).is_none()
}

/// Before a build: what may be kept from now on, and what killed builds left.
pub(crate) fn begin(store: &Store, bytes: u64) -> Result<(), BuildError> {
    let evicted = store.set_cache_limit(bytes)?;
    delete(store, &evicted)?;
    settle_all(store)
}

/// The directories of cache mounts, by name.
fn mount_names(root: &Path) -> Vec<String> {
    let dirs = std::fs::read_dir(caches_dir(root)).into_iter().flatten().flatten();
    dirs.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// Cache mounts that somebody uses, or was killed using.
pub(crate) fn marked_mounts(root: &Path) -> BTreeSet<String> {
    let dir = caches_dir(root);
    let mut names = mount_names(root);
    names.retain(|name| dir.join(name).join(WRITTEN).exists());
    names.into_iter().collect()
}

/// Records cache mounts whose size nobody recorded.
fn settle_all(store: &Store) -> Result<(), BuildError> {
    for name in mount_names(store.root()) {
        let dir = caches_dir(store.root()).join(&name);
        if !dir.join(WRITTEN).exists() && store.cache_mount(&name)?.is_some() {
            continue;
        }
        let Some(lock) = take_cache(&dir) else { continue };
        let size = tree_size(&dir.join("data"));
        let spared = Spared { mounts: marked_mounts(store.root()), ..Spared::default() };
        record_mount(store, &lock, &dir, size, u64::MAX, &spared)?;
    }
    Ok(())
}

/// Records what a cache mount takes, or takes it away when that does not fit; whether it is kept. Its lock
/// must be the caller's alone.
pub(crate) fn record_mount(
    store: &Store,
    _lock: &OwnedFd,
    dir: &Path,
    size: u64,
    within: u64,
    spared: &Spared,
) -> Result<bool, BuildError> {
    let name = dir.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
    let id = std::fs::read_to_string(dir.join("id")).unwrap_or_default();
    let evicted = match dir.join("data").exists() {
        true => store.put_cache_mount(&name, &id, size, within, spared)?,
        false => None,
    };
    let Some(evicted) = evicted else {
        store.forget_cache_mount(&name)?;
        store.take_out(dir)?.delete()?;
        return Ok(false);
    };
    // After the record: killed in between, it is recorded once more.
    let mark = dir.join(WRITTEN);
    match std::fs::remove_file(&mark) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(BuildError::files("remove", &mark)(error));
        }
        _ => {}
    }
    delete(store, &evicted)?;
    Ok(true)
}

/// Deletes the files of what was forgotten.
pub(crate) fn delete(store: &Store, evicted: &Evicted) -> Result<(), BuildError> {
    for name in &evicted.mounts {
        let dir = caches_dir(store.root()).join(name);
        // Who uses it records it afterwards, or takes it away; so does who did that this moment.
        let Some(_lock) = take_cache(&dir) else { continue };
        if store.cache_mount(name)?.is_none() {
            store.take_out(&dir)?.delete()?;
        }
    }
    store.discard(&evicted.layers, &[])?.delete()?;
    Ok(())
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
    settle_all(&store)?;
    let wanted = |entry: &CacheEntry| {
        !entry.in_use
            && (options.all || !entry.shared)
            && options.filters.iter().all(|filter| filter.takes(entry))
    };
    let mut entries = BTreeMap::new();
    let mut choice = Vec::new();
    for (entry, chosen) in listed(&store)?.into_iter().rev().filter(|(entry, _)| wanted(entry)) {
        entries.insert(name(&chosen), entry);
        choice.push(chosen);
    }
    let keep = keep(options, store.cache_size()?, || disk_free(&settings.data_root));
    let evicted = store.evict_cached(&choice, keep)?;
    delete(&store, &evicted)?;
    // What killed builds left takes room, too: half-done work, and with nothing else to look at their layers.
    store.sweep().map_err(tug_store::Error::from)?;
    if options.all && options.filters.is_empty() && keep.is_none() {
        store.collect(Duration::ZERO)?.delete()?;
    }
    let gone = evicted.results.iter().chain(&evicted.mounts);
    let gone = gone.filter_map(|name| entries.remove(name)).collect();
    Ok(Pruned { entries: gone, bytes: evicted.bytes })
}

fn name(chosen: &Chosen) -> String {
    let (Chosen::Result(name) | Chosen::Mount(name)) = chosen;
    name.clone()
}

/// How many bytes may stay; `None` when nothing need.
fn keep(options: &PruneOptions, total: u64, free: impl FnOnce() -> u64) -> Option<u64> {
    let PruneOptions { most, reserved, free: wanted, .. } = *options;
    if most == 0 && reserved == 0 && wanted == 0 {
        return None;
    }
    let missing = if wanted > 0 { wanted.saturating_sub(free()) } else { 0 };
    // Nothing is said of how much may stay, and the disk is free enough: all may.
    let only_free = most == 0 && reserved == 0;
    let most = match (most, missing) {
        (0, 0) if only_free => u64::MAX,
        (most, 0) => most,
        (0, missing) => total.saturating_sub(missing),
        (most, missing) => most.min(total.saturating_sub(missing)),
    };
    Some(most.max(reserved))
}

fn disk_free(root: &Path) -> u64 {
    rustix::fs::statvfs(root).map_or(u64::MAX, |fs| fs.f_frsize.saturating_mul(fs.f_bavail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_stay_is_what_buildkit_lets_stay() {
        let of = |most, reserved, free| {
            let options = PruneOptions { most, reserved, free, ..PruneOptions::default() };
            keep(&options, 100, || 50)
        };
        assert_eq!(of(0, 0, 0), None);
        assert_eq!(of(60, 0, 0), Some(60));
        assert_eq!(of(0, 30, 0), Some(30));
        assert_eq!(of(60, 80, 0), Some(80), "what is reserved stays");
        assert_eq!(of(0, 0, 70), Some(80), "twenty bytes more are to be free");
        assert_eq!(of(0, 0, 40), Some(u64::MAX));
        assert_eq!(of(90, 0, 70), Some(80));
        assert_eq!(of(70, 0, 70), Some(70));
        assert_eq!(of(0, 90, 70), Some(90));
    }
}
